"""Helpers that several tests share: settings, stand-ins for models, flow. Modules: pictures, films, command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from deforum.animation.painter import Painter
from deforum.build import Animation, LoadedModel, assemble, prepare
from deforum.depth import Gives
from deforum.diffusion.pixel_strength import Paint
from deforum.features.feature import Recording
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.motion.flow_warp import Flow, to_positions
from deforum.motion.positions import Edge, Positions, Sampling, pixels, sample_at
from deforum.pixels.image import CPU, Image
from deforum.settings.options import Settings
from deforum.settings.params import PARAMS, Params
from deforum.timeline.frame import Frame
from deforum.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

# --- settings ---------------------------------------------------------------------------------------------------------

Make = Callable[..., Settings]
"""Makes settings from name=value; each value is text as YAML writes it."""

STILL: dict[str, object] = {
    "zoom": 1, "noise": 0, "antiblur_amount": 0, "color_coherence": "None", "seed": 5, "prompts": {0: "a"},
}  # fmt: skip
"""Settings of a 2D run without motion and without filters."""


def write_settings(folder: Path, values: dict[str, object]) -> Path:
    """Write `settings.yaml`, a line for each name."""
    path = folder / "settings.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in values.items()), encoding="utf-8")
    return path


def settings_maker(folder: Path, usual: dict[str, object], *, to_render: bool = True) -> Make:
    """Return a function that writes and loads `settings.yaml`: the usual values, changed by its arguments."""

    def make(**changes: object) -> Settings:
        return load(write_settings(folder, usual | changes), to_render=to_render).settings

    return make


def params_of(**numbers: float) -> Params[float]:
    """Return a frame's parameters: 0 except the given ones."""
    return Params(**(dict.fromkeys(PARAMS, 0.0) | numbers))


def motion_of(**numbers: float) -> Params[float]:
    """Return a frame's parameters: a camera at rest except for the given numbers."""
    return params_of(**({"fov": 70.0, "aspect_ratio": 1.0, "near": 200.0, "far": 10000.0} | numbers))


# --- animations and stand-ins for models ------------------------------------------------------------------------------


def assembled(settings: Settings, painter: Painter, models: KeptModels | None = None, cell: int = 8) -> Animation:
    """Put an animation together as a render does, but for the model that paints."""
    return assemble(prepare(settings), LoadedModel(painter, CPU, cell), KeptModels() if models is None else models)


def recording(animation: Animation, folder: Path, beside: ExitStack) -> Recording:
    """Say where an animation saves what it is asked to save, films left aside."""

    def film(suffix: str) -> VideoWriter:
        raise AssertionError("no film was asked for")

    return Recording(animation.settings, animation.timeline, folder, film, beside.enter_context)


def keeping(first: Image) -> Callable[[Image | None, Frame], Image]:
    """Return a diffusion that paints `first` without an init, and returns an init unchanged."""
    return lambda init, frame: first if init is None else init


class RecordingPainter:
    """Records its inits and strengths; a subclass says what it paints."""

    def __init__(self) -> None:
        self.inits: list[Image | None] = []
        self.paints: list[Paint | None] = []

    def __call__(
        self, inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        paints = [None] * len(inits) if paints is None else paints
        self.inits += inits
        self.paints += paints
        return [self.paint(*each) for each in zip(inits, frames, paints, strict=True)]

    def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
        raise NotImplementedError


@dataclass(frozen=True)
class SameDepth:
    """A depth model that returns the same map for every frame."""

    depth: torch.Tensor
    gives: Gives = "inverse depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return self.depth


# --- flow -------------------------------------------------------------------------------------------------------------


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


# --- waiting ----------------------------------------------------------------------------------------------------------


def wait_until(true: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait until a condition in another thread or process holds; return False after a timeout."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return found
