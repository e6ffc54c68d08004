"""Tiny autoencoders that stand in for a model's own: found and checked without torch, then loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from deforum.diffusion.families.find import ModelSource
from deforum.errors import UserError
from deforum.models.catalogue import existing
from deforum.models.config import read_config
from deforum.models.weights import SUFFIXES, read_header, read_weights

_FORMS = (
    "a folder with diffusion_pytorch_model.safetensors or with TAESD's two files, that .safetensors file, or one of "
    "TAESD's files (taesd_decoder, with taesd_encoder beside it)"
)
_USUAL = {"block_out_channels": [64] * 4, "num_encoder_blocks": [1, 3, 3, 3], "num_decoder_blocks": [3, 3, 3, 1]}
LIKE = 0.5
"""Correlation of its latents with those of the model's own autoencoder, below which it belongs to another model."""

_log = logging.getLogger(__name__)


def with_tiny(model: ModelSource, path: str | None) -> ModelSource:
    """Return the model with the tiny autoencoder of `path`; as it is where that is None.

    Raises UserError where there is none, and for one whose latents are not the model's. Does not import torch.
    """
    if path is None or not path.strip():
        return model
    files = _files(path)
    shapes = {name: shape for file in files for name, shape in read_header(file).shapes.items()}
    pair = len(files) == 2
    first = read_header(files[1]).shapes.get("1.weight") if pair else shapes.get("decoder.layers.0.weight")
    encoder = read_header(files[0]).shapes.get("0.weight") if pair else shapes.get("encoder.layers.0.weight")
    if first is None or encoder is None or tuple(encoder) != (64, 3, 3, 3) or first[0] != 64:
        raise UserError(f"tiny_vae: {path}: not the weights of a TAESD autoencoder; expected {_FORMS}")
    if model.path is not None:
        folder = model.path if model.config is None else model.config
        vae = read_config(folder / "vae" / "config.json")
        channels, levels = vae.get("latent_channels", 4), len(vae.get("block_out_channels", [0] * 4))
        if (first[1], 4) != (channels, levels):
            raise UserError(
                f"tiny_vae: {path}: its latents have {first[1]} channels at 1/8 of the size, and those of {model.name} "
                f"{channels} at 1/{2 ** (levels - 1)}; use one that is made for this model"
            )
    return replace(model, tiny_vae=tuple(files))


def load_tiny(files: tuple[Path, ...]) -> Any:
    """Load a tiny autoencoder onto the CPU in float32. Raises UserError where its weights are not whole."""
    import torch

    from deforum.diffusion.networks.autoencoder_tiny import AutoencoderTiny, todays_names

    parts = ("encoder", "decoder") if len(files) == 2 else ("",)
    weights = {
        name: weight.float()
        for file, part in zip(files, parts, strict=True)
        for name, weight in todays_names(read_weights(file), part).items()
    }
    with torch.device("meta"):
        network = AutoencoderTiny(weights["decoder.layers.0.weight"].shape[1])
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"tiny_vae: {files[0]}: not the weights of a TAESD autoencoder ({reason})") from None
    return network


def check_likeness(tiny: Any, own: Any) -> None:
    """Warn of a tiny autoencoder whose latents are not those of the model's own: TAESD's two kinds have one form."""
    import torch

    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    picture = torch.stack([x, y, torch.sin(6 * x) * torch.cos(9 * y)])[None] * 0.8
    with torch.inference_mode():
        found, wanted = (vae.encode(picture.to(vae.dtype)).latent_dist.mode().float() for vae in (tiny, own))
    likeness = float(torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1])
    if not likeness > LIKE:
        _log.warning(
            "tiny_vae: its latents differ from the model's (correlation %.2f): pictures will have false colours. Use "
            "taesd for Stable Diffusion 1 and 2, taesdxl for XL",
            likeness,
        )


def _files(path: str) -> list[Path]:
    """Return the one file of an autoencoder, or its encoder and decoder. Raises UserError."""
    found = existing(path)
    if found is None:
        raise UserError(f"tiny_vae: {path}: no such file or folder; expected {_FORMS}")
    if found.is_dir():
        if (found / "config.json").is_file():
            config = read_config(found / "config.json")
            others = [name for name, value in _USUAL.items() if config.get(name, value) != value]
            if config.get("_class_name", "AutoencoderTiny") != "AutoencoderTiny" or others:
                raise UserError(f"tiny_vae: {found / 'config.json'}: not of TAESD's form; expected {_FORMS}")
        whole = [found / f"diffusion_pytorch_model{end}" for end in (".safetensors", ".bin")]
        pairs = sorted(file for file in found.glob("*_decoder.*") if file.suffix in SUFFIXES)
        inside = [file for file in (*whole, *pairs) if file.is_file()]
        if not inside:
            raise UserError(f"tiny_vae: {path}: no weights in this folder; expected {_FORMS}")
        found = inside[0]
    if found.suffix.lower() not in SUFFIXES:
        raise UserError(f"tiny_vae: {path}: not a file of weights; expected {_FORMS}")
    for one, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if found.stem.endswith(one):
            beside = found.with_name(f"{found.stem.removesuffix(one)}{other}{found.suffix}")
            if not beside.is_file():
                raise UserError(f"tiny_vae: {beside}: missing beside {found.name}; both are needed")
            return [found, beside] if one == "encoder" else [beside, found]
    return [found]
