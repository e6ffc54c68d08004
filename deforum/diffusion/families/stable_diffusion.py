"""Models from disk onto a device, in the precision that suits both."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deforum.diffusion.autoencoder import skip_silent
from deforum.diffusion.families.clip import ClipReader, Encoder
from deforum.diffusion.families.find import ModelSource, check_folder
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.errors import UserError
from deforum.models.device import choose_device, choose_dtype

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """The loaded parts of a Stable Diffusion model."""

    unet: Any
    vae: Any
    text: ClipReader
    schedule: NoiseSchedule
    xl: bool
    aesthetics: bool
    """SDXL time ids end with an aesthetic score instead of the size to reach."""


def load_model(source: ModelSource, device: str, precision: str, *, tiling: bool = False) -> Model:
    """Load a model; raises UserError where its files are not what they seemed."""
    target = choose_device(device)
    dtype = choose_dtype(precision, target)
    if source.kind == "hub":
        source = _fetch(source)
    assert source.path is not None
    try:
        with _quiet():
            model = _load_file(source, dtype) if source.kind == "file" else _load_folder(source, dtype)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        # The libraries say these for damaged, renamed and mismatched files alike, and NotImplementedError for a weight
        # that no file has.
        reason = "some weights are missing" if isinstance(error, NotImplementedError) else str(error).strip()[:500]
        raise UserError(
            f"{source.path}: cannot be loaded ({reason}); expected the weights of a whole Stable Diffusion 1.x, 2.x or "
            f"XL model; fetch it again, or use another"
        ) from error
    if dtype == torch.float16 and not (model.xl and model.vae.config.get("force_upcast")):
        # Otherwise the autoencoder stays in fp32: SDXL's own overflows in fp16; and bf16, which holds fewer digits than
        # the 8 bits of a picture, was seen to darken each frame by 0.15 levels, which adds up in a loop.
        model.vae.to(dtype)
    skip_silent(*model.vae.encoder.down_blocks, model.vae.encoder.mid_block)
    for module in (model.unet, model.vae):
        module.to(target, memory_format=torch.channels_last)
        if tiling:
            _wrap_edges(module)
    for module in (model.unet, model.vae, *model.text.modules):
        module.to(target).eval().requires_grad_(False)
    if not model.schedule.prediction:
        prediction = look_at_prediction(model.unet, model.schedule)
        _log.warning("%s does not say what it predicts; by what it makes of noise it is %s", source.name, prediction)
        model = dataclasses.replace(model, schedule=dataclasses.replace(model.schedule, prediction=prediction))
    return model


def look_at_prediction(unet: Any, schedule: NoiseSchedule) -> str:
    """Tell epsilon from v-prediction by giving the UNet nothing but noise at the highest level.

    There a model that predicts the noise must return it, while v is all but the negative picture.
    """
    config = unet.config
    noise = torch.randn((1, config.in_channels, 32, 32), generator=torch.Generator().manual_seed(0))
    context = torch.zeros((1, 77, config.cross_attention_dim))
    with torch.inference_mode():
        given = (tensor.to(unet.device, unet.dtype) for tensor in (noise, context))
        latent, states = given
        out = unet(latent, len(schedule.sigmas) - 1, encoder_hidden_states=states).sample
    likeness = float(np.corrcoef(noise.flatten().numpy(), out.float().cpu().flatten().numpy())[0, 1])
    return "epsilon" if likeness > 0.5 else "v_prediction"


def _load_folder(source: ModelSource, dtype: torch.dtype) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder = source.path
    assert folder is not None
    xl = source.family == "sdxl"

    def part(cls: Any, name: str, number: torch.dtype = dtype) -> Any:
        module, found = cls.from_pretrained(
            folder,
            subfolder=name,
            torch_dtype=number,
            variant=source.variant,
            local_files_only=True,
            output_loading_info=True,
        )
        # The libraries would go on with random numbers in their place.
        if missing := sorted(found["missing_keys"]):
            raise ValueError(f"{name}/ lacks {len(missing)} weights, among them {missing[0]}")
        return module

    encoders = [Encoder(part(CLIPTextModel, "text_encoder"), CLIPTokenizer.from_pretrained(folder / "tokenizer"))]
    if xl:
        second = part(CLIPTextModelWithProjection, "text_encoder_2")
        encoders.append(Encoder(second, CLIPTokenizer.from_pretrained(folder / "tokenizer_2")))
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Model(
        unet=part(UNet2DConditionModel, "unet"),
        vae=part(AutoencoderKL, "vae", torch.float32),
        text=_reader(encoders, xl, zero_empty=xl and bool(index.get("force_zeros_for_empty_prompt", True))),
        schedule=NoiseSchedule.from_config(scheduler, source.prediction),
        xl=xl,
        aesthetics=bool(index.get("requires_aesthetics_score", False)),
    )


def _load_file(source: ModelSource, dtype: torch.dtype) -> Model:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline

    assert source.path is not None and source.config is not None
    xl = source.family == "sdxl"
    path, common = str(source.path), {"config": str(source.config), "local_files_only": True}
    given: dict[str, Any] = {
        "vae": AutoencoderKL.from_single_file(path, subfolder="vae", torch_dtype=torch.float32, **common),
        "tokenizer": clip_tokenizer("!" if source.family == "sd2" else "<|endoftext|>"),
    }
    given |= {"tokenizer_2": clip_tokenizer("!")} if xl else {"safety_checker": None, "feature_extractor": None}
    cls = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
    pipeline = cls.from_single_file(path, torch_dtype=dtype, **common, **given)
    for name, part in pipeline.components.items():
        lacking = [key for key, weight in part.named_parameters() if weight.is_meta] if hasattr(part, "to") else []
        if lacking:
            raise ValueError(f"the {name} lacks {len(lacking)} weights, among them {lacking[0]}")
    encoders = [Encoder(pipeline.text_encoder, pipeline.tokenizer)]
    if xl:
        encoders.append(Encoder(pipeline.text_encoder_2, pipeline.tokenizer_2))
    scheduler = json.loads((source.config / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    schedule = NoiseSchedule.from_config(scheduler, source.prediction)
    return Model(
        unet=pipeline.unet,
        vae=pipeline.vae,
        text=_reader(encoders, xl, zero_empty=xl),
        # Only SD 2 files may be silent about it; load_model then looks at what the UNet does.
        schedule=schedule if source.prediction else dataclasses.replace(schedule, prediction=""),
        xl=xl,
        aesthetics=False,
    )


def _reader(encoders: Sequence[Encoder], xl: bool, *, zero_empty: bool) -> ClipReader:
    """SDXL reads the layer before the last, without the normalisation, and a summary."""
    return ClipReader(tuple(encoders), 2 if xl else 1, final_norm=not xl, pooled=xl, zero_empty=zero_empty)


def _fetch(source: ModelSource) -> ModelSource:
    """Download a hub model into the hub library's own cache."""
    from diffusers import DiffusionPipeline

    try:
        folder = DiffusionPipeline.download(source.name)
    except Exception as error:
        # The hub library raises many kinds, of several packages; each means the same to the user.
        raise UserError(
            f"{source.name}: could not be fetched from the hub ({str(error).strip()[:300]}); try again, or give a "
            f"folder or .safetensors file"
        ) from error
    return check_folder(source.name, Path(folder), source.prediction)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and advice out of the terminal while they load."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    libraries = (of_diffusers, of_transformers)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (level, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


def _wrap_edges(module: torch.nn.Module) -> None:
    """Make convolutions see the opposite edge beyond an edge, so that pictures tile."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding_mode = "circular"
