"""The motion that two paintings of one scene have in common."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from deforum.motion.flow_warp import Flow, consistency, to_positions
from deforum.motion.positions import sample_at
from deforum.pixels.image import Image, Mask
from deforum.pixels.sharpness import blur

ERROR = (9, 2.5)  # px; kernel and deviation of the blur over which pictures are compared
NEARER = 0.9  # share of their difference that a flow may leave
REACH = 25  # 1/25 of the shorter side: deviation of the blur that carries motion to where none is found
LITTLE = 0.1  # share of places with a known motion at which half of it is carried
FEW, MOST = 0.5, 0.9  # shares of places with a known motion around, from which each place follows its own
EDGE = (11, 2.5)  # px; blur of the border of places that follow their own
COARSE = 4  # px; cells in which motion is carried


def common_flow(a: Image, b: Image, forward: Flow, backward: Flow) -> Flow:
    """Return the motion from one painting of a scene to another, (H, W, 2) px, given the flow in both directions.

    Most of what a model paints anew has no counterpart: optical flow pairs it with anything alike, and pictures that
    follow it show whirls. A flow counts where it agrees with the one back, and brings the pictures (3, H, W) nearer to
    each other. Where most places around count, each follows its own flow; elsewhere all follow the smooth motion of
    those that count, or rest.
    """
    height, width = forward.shape[:2]
    counts = consistency(forward, backward) * helps(a, b, forward)
    known = torch.cat((forward.permute(2, 0, 1) * counts, counts[None]))
    cells = F.avg_pool2d(known[None], COARSE, ceil_mode=True, count_include_pad=False)[0]
    deviation = max(1.0, min(height, width) / REACH / COARSE)
    carried = blur_wide(cells, deviation)
    near = carried[2]
    smooth = torch.cat((carried[:2] / (near + LITTLE), near[None]))
    # Enlarged, that is the same as without `antialias`, for which torch rounds by its number of threads.
    smooth = F.interpolate(smooth[None], (height, width), mode="bilinear", align_corners=False, antialias=True)[0]
    own = ((smooth[2] - FEW) / (MOST - FEW)).clamp(0, 1) * blur(counts[None], *EDGE)[0]
    return torch.lerp(smooth[:2], forward.permute(2, 0, 1), own).permute(1, 2, 0)


def helps(a: Image, b: Image, flow: Flow) -> Mask:
    """Return where a flow (H, W, 2) brings two pictures nearer to each other: (H, W), 1 or 0."""
    unmoved = (a - b).abs().mean(0, keepdim=True)
    moved = (a - sample_at(b, to_positions(flow), "bilinear", "border")).abs().mean(0, keepdim=True)
    return (blur(moved, *ERROR) <= NEARER * blur(unmoved, *ERROR))[0].float()


def blur_wide(values: torch.Tensor, deviation: float) -> torch.Tensor:
    """Blur (C, H, W) as far as its size allows."""
    reach = min(round(3 * deviation), min(values.shape[1:]) - 1)
    return blur(values, 2 * reach + 1, deviation) if reach > 0 else values
