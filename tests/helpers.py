"""What several tests share."""

from __future__ import annotations

from deforum.motion.flow_warp import Flow, to_positions
from deforum.motion.positions import Edge, Positions, Sampling, pixels, sample_at
from deforum.pixels.image import Image


def to_flow(chart: Positions) -> Flow:
    """Say how far each pixel goes: the inverse of `to_positions`."""
    height, width = chart.shape[1:]
    flow: Flow = (chart - pixels(width, height, chart.device)).permute(1, 2, 0).contiguous()
    return flow


def move_by_flow(
    image: Image, flow: Flow, factor: float = 1, *, edge: Edge = "mirror", sampling: Sampling = "bilinear"
) -> Image:
    """Move a picture along a flow times a factor, as Deforum does: each pixel takes the flow at its own place.

    That is exact where the flow is even; `FlowWarp.of` searches for where each pixel came from.
    """
    return sample_at(image, to_positions(flow, -factor), sampling, edge)


