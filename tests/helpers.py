"""What several tests share."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from deforum.animation.painter import Painter
from deforum.build import Animation, LoadedModel, assemble, prepare
from deforum.features.feature import Recording
from deforum.models.kept import KeptModels
from deforum.motion.flow_warp import Flow, to_positions
from deforum.motion.positions import Edge, Positions, Sampling, pixels, sample_at
from deforum.pixels.image import CPU, Image
from deforum.settings.options import Settings
from deforum.video.writer import VideoWriter


def assembled(settings: Settings, painter: Painter, models: KeptModels | None = None, cell: int = 8) -> Animation:
    """Put an animation together as a render does, but for the model that paints."""
    return assemble(prepare(settings), LoadedModel(painter, CPU, cell), KeptModels() if models is None else models)


def recording(animation: Animation, folder: Path, beside: ExitStack) -> Recording:
    """Say where an animation saves what it is asked to save, films left aside."""

    def film(suffix: str) -> VideoWriter:
        raise AssertionError("no film was asked for")

    return Recording(animation.settings, animation.timeline, folder, film, beside.enter_context)


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
