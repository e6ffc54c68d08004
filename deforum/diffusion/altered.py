"""Changes of a UNet during an evaluation, by hooks on its layers: FreeU, and the perturbed attention of PAG.

While there are hooks, a network runs in its plain form: neither packed nor as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from deforum.models.captured import plainly

Tensor = torch.Tensor


@dataclass(frozen=True)
class FreeU:
    """Factors on the features of the two coarsest levels of the way up (Si et al. 2023, arXiv 2309.11497)."""

    b1: float = 1.0
    b2: float = 1.0
    """On half of the channels that come from below, at the coarsest level and at the next."""
    s1: float = 1.0
    s2: float = 1.0
    """On the lowest frequencies of those that skip the levels below."""

    @property
    def acts(self) -> bool:
        return (self.b1, self.b2, self.s1, self.s2) != (1, 1, 1, 1)


NO_FREE_U = FreeU()


def is_unet(network: Any) -> bool:
    """Whether a network has the levels that these changes are for."""
    return hasattr(network, "up_blocks") and hasattr(network, "mid_block")


@contextmanager
def altered(network: Any, free_u: FreeU, perturbed: Sequence[bool] = ()) -> Iterator[None]:
    """Change a UNet within the block: by FreeU, and in the rows of the batch that are `perturbed`.

    There, self-attention of the middle level is replaced by the values themselves (Ahn et al. 2024, arXiv 2403.17377).
    """
    if not free_u.acts and not any(perturbed):
        yield
        return
    with ExitStack() as hooks:
        hooks.enter_context(plainly(network))
        if free_u.acts:
            below = network.mid_block.resnets[-1].conv2.out_channels
            for block, b, s in zip(network.up_blocks, (free_u.b1, free_u.b2), (free_u.s1, free_u.s2), strict=False):
                for resnet in block.resnets:
                    handle = resnet.register_forward_pre_hook(partial(_scale, channels=below, b=b, s=s))
                    hooks.callback(handle.remove)
                    below = resnet.conv2.out_channels
        if any(perturbed):
            rows = [i for i, is_one in enumerate(perturbed) if is_one]
            for name, layer in network.mid_block.named_modules():
                if name.endswith("attn1"):
                    handle = layer.register_forward_hook(partial(_pass_values, rows=rows))
                    hooks.callback(handle.remove)
        yield


def _scale(resnet: Any, given: tuple[Any, ...], *, channels: int, b: float, s: float) -> tuple[Any, ...]:
    """Scale the features that a layer of the way up is given: `channels` from below, then those that skip."""
    x, *rest = given
    half = channels // 2
    x = torch.cat([x[:, :half] * b, x[:, half:channels], scale_low(x[:, channels:], s)], dim=1)
    return (x, *rest)


def scale_low(x: Tensor, factor: float) -> Tensor:
    """Scale the four lowest frequencies of features (B, C, h, w)."""
    if factor == 1:
        return x
    spectrum = torch.fft.fftshift(torch.fft.fftn(x.float(), dim=(-2, -1)), dim=(-2, -1))
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    spectrum[..., max(row - 1, 0) : row + 1, max(column - 1, 0) : column + 1] *= factor
    back: Tensor = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(-2, -1)), dim=(-2, -1))
    return back.real.to(x.dtype)


def _pass_values(layer: Any, given: tuple[Any, ...], out: Tensor, *, rows: Sequence[int]) -> Tensor:
    """Replace the result of self-attention in some rows by the projected values."""
    x = given[0][rows]
    made: Tensor = out.clone()
    made[rows] = layer.to_out[0](layer.to_v(x)).to(out.dtype)
    return made
