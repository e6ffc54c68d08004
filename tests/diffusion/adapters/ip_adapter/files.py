"""IP-Adapters of random weights with the names of the real files, their image encoders, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

Tensor = torch.Tensor
HIDDEN, EMBEDDING = 48, 40


def vision(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=HIDDEN, intermediate_size=64, projection_dim=EMBEDDING, num_hidden_layers=3, num_attention_heads=2,
        image_size=32, patch_size=16,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def attentions(unet: Any) -> list[Any]:
    parts = (unet.down_blocks, unet.up_blocks, unet.mid_block)
    return [module for part in parts for name, module in part.named_modules() if name.endswith("attn2")]


def weights_of(kind: str, unet: Any) -> dict[str, Tensor]:
    """Random weights with the names of the real files."""
    torch.manual_seed(1)
    width = unet.config.cross_attention_dim

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape) * 0.2

    if kind == "plain":
        inner = {"proj.weight": draw(4 * width, EMBEDDING), "proj.bias": draw(4 * width)}
        inner |= {"norm.weight": draw(width), "norm.bias": draw(width)}
    elif kind == "full":
        inner = {"proj.0.weight": draw(HIDDEN, HIDDEN), "proj.0.bias": draw(HIDDEN), "proj.2.bias": draw(width)}
        inner |= {"proj.2.weight": draw(width, HIDDEN), "proj.3.weight": draw(width), "proj.3.bias": draw(width)}
    else:
        wide = 128
        inner = {"latents": draw(1, 6, wide), "proj_in.weight": draw(wide, HIDDEN), "proj_in.bias": draw(wide)}
        inner |= {"proj_out.weight": draw(width, wide), "proj_out.bias": draw(width)}
        inner |= {"norm_out.weight": draw(width), "norm_out.bias": draw(width)}
        for layer in range(4):
            here = f"layers.{layer}"
            for norm in ("0.norm1", "0.norm2", "1.0"):
                inner |= {f"{here}.{norm}.weight": draw(wide), f"{here}.{norm}.bias": draw(wide)}
            inner |= {f"{here}.0.to_q.weight": draw(wide, wide), f"{here}.0.to_kv.weight": draw(2 * wide, wide)}
            inner |= {f"{here}.0.to_out.weight": draw(wide, wide)}
            inner |= {f"{here}.1.1.weight": draw(4 * wide, wide), f"{here}.1.3.weight": draw(wide, 4 * wide)}
    made = {f"image_proj.{name}": each for name, each in inner.items()}
    for number, attention in enumerate(attentions(unet)):
        for each in "kv":
            made[f"ip_adapter.{2 * number + 1}.to_{each}_ip.weight"] = draw(*attention.to_k.weight.shape)
    return made


def photograph(path: Path) -> Path:
    y, x = np.mgrid[0:40, 0:50]
    Image.fromarray(np.stack([x * 5, y * 6, (x + y) * 2], -1).astype(np.uint8)).save(path)
    return path
