"""What two pictures have in common: the flow between them, and what of each is hidden in the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from deforum.motion.flow_warp import consistency, to_positions
from deforum.motion.positions import inside
from deforum.pixels.image import Image, Mask
from deforum.pixels.sharpness import blur

FAR = (3, 6, 12, 24)  # half px; distances at which a hidden pixel looks for the surface that it belongs to
AROUND = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))
ALIKE = 0.05  # difference of colours, 0..1, of one surface
NEAR = 16.0  # half px; a distance at which a pixel counts 1/e of a near one


@dataclass(frozen=True)
class Match:
    """One picture's motion towards another, complete: where a pixel is hidden there, with that of its surface."""

    flow: torch.Tensor
    """(2, H, W) px."""
    seen: Mask
    """(H, W), 1 where the pixel is found in the other picture, 0 where it is hidden or beyond the edge."""


def match(image: Image, flow: torch.Tensor, backward: torch.Tensor) -> Match:
    """Complete the flow (H, W, 2) px of a picture (3, H, W) towards another, given the flow back."""
    seen = consistency(flow, backward) * inside(to_positions(flow))
    return Match(complete(flow.permute(2, 0, 1), seen, image), seen)


def complete(flow: torch.Tensor, seen: Mask, image: Image) -> torch.Tensor:
    """Replace the flow (2, H, W) where it is not `seen` by that of seen pixels around it of a like colour."""
    height, width = seen.shape
    even = (slice(0, height - height % 2, 2), slice(0, width - width % 2, 2))
    small_seen, small_flow = seen[even].contiguous(), flow[:, *even]
    colors = blur(image, 5, 1.2)[:, *even].contiguous(memory_format=torch.contiguous_format)
    reach = max(FAR) + 1
    known = F.pad(torch.cat((small_flow * small_seen, small_seen[None])), (reach,) * 4)
    around = F.pad(colors, (reach,) * 4)
    rows, columns = small_seen.shape
    total = torch.zeros((3, rows, columns), device=flow.device)
    for far in FAR:
        for x, y in AROUND:
            top, left = reach + round(far * y), reach + round(far * x)
            there = slice(top, top + rows), slice(left, left + columns)
            unlike = (around[:, *there] - colors).square_().sum(0)
            weight = unlike.mul_(-1 / ALIKE**2).sub_(far / NEAR).exp_().add_(1e-6)
            total += known[:, *there] * weight
    found = total[:2] / total[2].clamp(min=1e-9)
    found = torch.where(total[2] > 1e-5, found, small_flow)
    whole = F.interpolate(found[None], (height, width), mode="bilinear", align_corners=False)[0]
    return torch.lerp(whole, flow, seen)
