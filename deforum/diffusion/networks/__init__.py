"""The networks of Stable Diffusion as plain modules, so that a common model starts without diffusers and transformers.

Importing those libraries takes longer than loading the embedded model. Weights have the names of diffusers and
transformers and results are theirs, bit for bit. A part whose configuration asks for anything else, or whose weights
are stored in another form, is read by the library's own class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from deforum.diffusion.networks.autoencoder_kl import AutoencoderKL
from deforum.diffusion.networks.clip_text import ClipText
from deforum.diffusion.networks.files import Config, read_config, read_weights
from deforum.diffusion.networks.tokenizer import read_tokenizer
from deforum.diffusion.networks.unet import UNet

NETWORKS: Mapping[str, type[UNet] | type[AutoencoderKL] | type[ClipText]] = {
    "UNet2DConditionModel": UNet,
    "AutoencoderKL": AutoencoderKL,
    "CLIPTextModel": ClipText,
}
"""By the name of the library's class, as in model_index.json."""


def read_part(folder: Path, name: str, dtype: torch.dtype, variant: str | None) -> Any | None:
    """Load a part of a diffusers folder onto the CPU in `dtype`; `name` is the library's class.

    Returns None where the library has to read it: its configuration is not covered here, its weights are not whole
    safetensors files with today's names, or its files are damaged (the library's error then says how).
    """
    try:
        if name == "CLIPTokenizer":
            return read_tokenizer(folder)
        network = NETWORKS.get(name)
        config = read_config(folder)
        if network is None or not network.covers(config):
            return None
        return _filled(network, config, read_weights(folder, variant), dtype)
    except Exception:  # whatever is wrong with a file or a configuration, the library says it in its own words
        return None


def _filled(
    network: Callable[[Config], torch.nn.Module], config: Config, weights: dict[str, torch.Tensor], dtype: torch.dtype
) -> torch.nn.Module:
    """Make a network from weights; raises RuntimeError where one is missing or has another shape."""
    with torch.device("meta"):  # no memory for weights that are replaced
        module = network(config)
    module.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()}, assign=True)
    return module.eval()
