"""Families of diffusion models, a row each. This table imports neither torch nor diffusers.

To add a family, write a module beside this one whose `load` returns a `Model` (see model.py and load.py), and add a row
to `FAMILIES`. Single files of the family also need a folder in ../configs that describes them as a diffusers folder
would. Remove the family from the unsupported models in checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby


@dataclass(frozen=True)
class SingleFile:
    """The names of a family's weights in a checkpoint of one file; a part is there if a name begins as given here."""

    network: str
    text_encoder: str
    autoencoder: str
    first_layer: str
    """The weight of the network that reads the latents: (out, channels, ...)."""
    channels: int
    """Channels of the first layer; other numbers belong to inpainting and other special models."""


@dataclass(frozen=True)
class Family:
    """How the models of a family are recognised, what their folders must hold, and what loads them."""

    name: str
    """As `ModelSource.family` has it; configs/<name> describes the family's single files."""
    title: str
    """The name in messages."""
    pipelines: tuple[str, ...]
    """Folder: `_class_name` of model_index.json. Families of the same pipelines have the same parts."""
    file: SingleFile
    load: str
    """Import path of its `Load` (see load.py), module:function."""
    network: str = "unet"
    """Folder: the part that predicts, which the parts vae and scheduler stand beside."""
    network_name: str = "UNet"
    """The network in messages."""
    network_config: Mapping[str, object] = field(default_factory=dict)
    """Folder: values in the network's config.json by which a family is told from others of the same pipelines."""
    channels_per_latent: int = 1
    """Channels that the network takes for each channel of the latents; 4 for networks that read 2x2 latents as one."""
    text_encoders: tuple[str, ...] = ("text_encoder",)
    """Folder: each has a tokenizer of its own, of the same name but for "tokenizer"."""
    usual_prediction: str | None = "epsilon"
    """What a single file predicts that does not say so; None: its loader has to find out."""


_STABLE_DIFFUSION = "deforum.diffusion.families.stable_diffusion:load"
_SD_PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
)


def _ldm(text_encoder: str) -> SingleFile:
    """Name the weights as the original training code of Stable Diffusion does."""
    return SingleFile(
        network="model.diffusion_model.input_blocks.",
        text_encoder=text_encoder,
        autoencoder="first_stage_model.decoder.",
        first_layer="model.diffusion_model.input_blocks.0.0.weight",
        channels=4,
    )


_ROWS = (
    Family(
        name="sdxl",
        title="Stable Diffusion XL",
        pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        file=_ldm("conditioner.embedders.1.model."),
        load="deforum.diffusion.families.stable_diffusion_xl:load",
        text_encoders=("text_encoder", "text_encoder_2"),
    ),
    Family(
        name="sd2",
        title="Stable Diffusion 2.x",
        pipelines=_SD_PIPELINES,
        file=_ldm("cond_stage_model.model."),
        load=_STABLE_DIFFUSION,
        network_config={"cross_attention_dim": 1024},
        usual_prediction=None,  # both kinds are published, with the same names and shapes
    ),
    Family(
        name="sd1",
        title="Stable Diffusion 1.x",
        pipelines=_SD_PIPELINES,
        file=_ldm("cond_stage_model.transformer."),
        load=_STABLE_DIFFUSION,
    ),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ROWS}
"""By name. The first row that fits a model is its family."""


def any_of(families: Iterable[Family] = _ROWS) -> str:
    """Name families for a message: "Stable Diffusion 1.x, 2.x or XL"."""
    words = sorted(family.title.rsplit(" ", 1) for family in families)
    names: list[str] = []
    for _, group in groupby(words, key=lambda title: title[:-1]):
        first, *others = group
        names += [" ".join(first), *(title[-1] for title in others)]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
