"""The table of model families, one row each. It imports neither torch nor diffusers.

To add a family, write a module in this package whose `load` returns a `Model` (see model.py and load.py), and add a row
to `_ROWS`. Single-file checkpoints of the family also need a folder in ../configs with the configurations of a
diffusers folder. Remove the family from the unsupported models in checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal


@dataclass(frozen=True)
class SingleFile:
    """Weight names in a family's single-file checkpoints; each part is recognised by the prefix given here."""

    network: str
    text_encoder: str
    autoencoder: str
    first_layer: str
    """Full name of the network's input layer weight, (out, channels, ...)."""
    channels: int
    """Input channels of that layer; inpainting and other special models have other counts."""
    has_labels: bool = False
    """The network has an embedding of labels (SDXL: of sizes)."""
    cells: int = 1
    """Latent cells that this layer takes at once, as channels, more than the configuration's `in_channels` says."""
    mark: str = ""
    """Name of a weight that families with the same other names do not have."""


@dataclass(frozen=True)
class Family:
    """How to recognise a family's models, the required parts of their folders, and their loader."""

    name: str
    """Key of the family, see `ModelSource.family`; configs/<name> holds the configurations of its single files."""
    title: str
    """The family's name in messages."""
    pipelines: tuple[str, ...]
    """Folder: accepted `_class_name` of model_index.json. Families that share pipelines have the same parts."""
    file: SingleFile
    load: str
    """Import path of its `Load` (see load.py), module:function."""
    network: str = "unet"
    """Folder: subfolder of the denoising network, beside vae/ and scheduler/."""
    network_name: str = "UNet"
    """The network's name in messages."""
    network_config: Mapping[str, object] = field(default_factory=dict)
    """Folder: values in the network's config.json that distinguish the family from others with the same pipelines."""
    channels_per_latent: int = 1
    """Input channels of the network per latent channel; 4 for networks that pack 2x2 latents into one."""
    text_encoders: tuple[str, ...] = ("text_encoder",)
    """Folder: subfolders of the text encoders; each has a tokenizer in the corresponding folder "tokenizer..."."""
    optional: tuple[str, ...] = ()
    """Text encoders that a model may lack."""
    slots: Mapping[str, str] = field(default_factory=dict)
    """Text encoders that may be in files of their own: key of `apart.SLOTS` by the name of the part in a folder."""
    spacing: Literal["linspace", "trailing"] | None = None
    """The family's models are flow-matching, with steps spaced so (see `sampling.flow`); None: they are not."""
    size: int = 0
    """Native width and height in px of a network whose configuration has no `sample_size`; 0: its configurations'."""
    precision: str = "fp16"
    """The precision that `auto` stands for on a graphics card; transformers overflow in fp16."""
    paints: bool = True
    """Whether its models paint pictures alone; a refiner only ends the painting of another model."""
    usual_prediction: str | None = "epsilon"
    """Prediction type of a single file that does not state one; None: the loader determines it."""
    other_sizes: Mapping[str, int] = field(default_factory=dict)
    """Single file: native width and height in px by prediction type, where they differ from its configurations."""


REFINER = "sdxl_refiner"
"""Key of the one family that does not paint alone."""
_STABLE_DIFFUSION = "deforum.diffusion.families.stable_diffusion:load"
_SD_PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
)


def _ldm(text_encoder: str, *, has_labels: bool = False) -> SingleFile:
    """Return the weight names of Stable Diffusion's original training code, with the given text encoder prefix."""
    return SingleFile(
        network="model.diffusion_model.input_blocks.",
        text_encoder=text_encoder,
        autoencoder="first_stage_model.decoder.",
        first_layer="model.diffusion_model.input_blocks.0.0.weight",
        channels=4,
        has_labels=has_labels,
    )


def _dit(
    network: str, first_layer: str, channels: int, *, text_encoder: str, cells: int = 1, mark: str = ""
) -> SingleFile:
    """Return the weight names of a transformer's file, with the prefixes that `checkpoint.todays_names` gives them."""
    return SingleFile(
        network=f"model.diffusion_model.{network}",
        text_encoder=f"text_encoders.{text_encoder}.",
        autoencoder="first_stage_model.decoder.",
        first_layer=f"model.diffusion_model.{first_layer}",
        channels=channels,
        cells=cells,
        mark=mark and f"model.diffusion_model.{mark}",
    )


def _flow(
    name: str,
    title: str,
    pipelines: str,
    file: SingleFile,
    *,
    slots: tuple[str, ...],
    optional: tuple[str, ...] = (),
    spacing: Literal["linspace", "trailing"] = "trailing",
    channels_per_latent: int = 1,
) -> Family:
    """Return the row of a family of flow-matching transformers, trained at 1024x1024."""
    text_encoders = ("text_encoder", "text_encoder_2", "text_encoder_3")[: len(slots)]
    return Family(
        name=name,
        title=title,
        pipelines=tuple(f"{pipeline}Pipeline" for pipeline in pipelines.split()),
        file=file,
        load=f"deforum.diffusion.families.{name}:load",
        network="transformer",
        network_name="transformer",
        channels_per_latent=channels_per_latent,
        text_encoders=text_encoders,
        slots=dict(zip(text_encoders, slots, strict=True)),
        optional=optional,
        spacing=spacing,
        size=1024,
        precision="bf16",
        usual_prediction=None,
    )


_ROWS = (
    _flow(
        "stable_diffusion_3", "Stable Diffusion 3.x", "StableDiffusion3 StableDiffusion3Img2Img",
        _dit("joint_blocks.", "x_embedder.proj.weight", 16, text_encoder="clip_g"),
        slots=("clip_l", "clip_g", "t5xxl"), optional=("text_encoder_3",), spacing="linspace",
    ),
    _flow(
        "flux", "Flux.1", "Flux FluxImg2Img",
        _dit("double_blocks.", "img_in.weight", 64, text_encoder="t5xxl"),
        slots=("clip_l", "t5xxl"), channels_per_latent=4,
    ),
    _flow(
        "z_image", "Z-Image", "ZImage ZImageImg2Img",
        _dit("layers.", "x_embedder.weight", 64, text_encoder="qwen3_4b", cells=4, mark="cap_pad_token"),
        slots=("qwen3_4b",),
    ),
    _flow(
        "lumina_2", "Lumina 2", "Lumina2 Lumina2Text2Img",
        _dit("layers.", "x_embedder.weight", 64, text_encoder="gemma2_2b", cells=4),
        slots=("gemma2_2b",),
    ),
    Family(
        name="sdxl",
        title="Stable Diffusion XL",
        pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        file=_ldm("conditioner.embedders.1.model.", has_labels=True),
        load="deforum.diffusion.families.stable_diffusion_xl:load",
        text_encoders=("text_encoder", "text_encoder_2"),
        usual_prediction=None,
    ),
    Family(
        name=REFINER,
        title="Stable Diffusion XL refiner",
        pipelines=(),  # its folders name XL's pipelines, and lack the first text encoder
        file=_ldm("conditioner.embedders.0.model.", has_labels=True),
        load="deforum.diffusion.families.stable_diffusion_xl:load_refiner",
        text_encoders=("text_encoder_2",),
        paints=False,
    ),
    Family(
        name="sd2",
        title="Stable Diffusion 2.x",
        pipelines=_SD_PIPELINES,
        file=_ldm("cond_stage_model.model."),
        load=_STABLE_DIFFUSION,
        network_config={"cross_attention_dim": 1024},
        usual_prediction=None,  # both kinds are published, with the same names and shapes
        other_sizes={"epsilon": 512},  # the base model; those that predict v were trained at 768
    ),
    Family(
        name="sd1",
        title="Stable Diffusion 1.x",
        pipelines=_SD_PIPELINES,
        file=_ldm("cond_stage_model.transformer."),
        load=_STABLE_DIFFUSION,
    ),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ROWS}
"""Families by name. A model belongs to the first row that fits."""


def any_of(families: Iterable[Family] = _ROWS) -> str:
    """Join the families' titles for a message: "Stable Diffusion 1.x, 2.x or XL"."""
    words = sorted(family.title.rsplit(" ", 1) for family in families if family.paints)
    names: list[str] = []
    for _, group in groupby(words, key=lambda title: title[:-1]):
        first, *others = group
        names += [" ".join(first), *(title[-1] for title in others)]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
