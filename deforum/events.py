"""What happens in a render, as it is told to an observer: a small set of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RunPrepared:
    """Everything is checked and found; nothing is loaded."""

    settings: Settings
    """Resolved: with the seed and the length that the run has."""
    timeline: Timeline


@dataclass(frozen=True)
class Note:
    """Something is not as it was asked for, or has no effect."""

    text: str


@dataclass(frozen=True)
class RunLoaded:
    """The models are loaded; painting begins."""

    folder: Path | None
    """Where the run is written; None where only frames are handed out."""
    total: int
    """Frames to come."""


@dataclass(frozen=True)
class FrameShown:
    """A frame is done."""

    frame: Frame
    picture: torch.Tensor = field(repr=False)
    """(3, H, W) RGB float32 in 0..1, on the render device; not to be changed."""
    done: int
    total: int


@dataclass(frozen=True)
class StageTimes:
    """How long the stages took since the frame before. On a graphics card that is until the work was handed over."""

    frame: Frame
    seconds: Mapping[str, float]
    """By stage: source, before, diffuse, after, show, write, and rest, which is above all motion."""


@dataclass(frozen=True)
class RunFinished:
    """The run is closed, and all that it wrote is on the disk."""

    result: RunResult


@dataclass(frozen=True)
class RunResult:
    """What a render left behind. `video` is None where none was asked for; `films` has all of them."""

    video: Path | None
    folder: Path
    frames: int
    films: tuple[Path, ...] = ()
    stopped: bool = False
    """True: `stop` said so before the last frame."""


Event = RunPrepared | Note | RunLoaded | FrameShown | StageTimes | RunFinished

Observer = Callable[[Event], None]
"""Is told what happens, in order, on the thread that renders; what it takes, the render waits for."""


def nobody(event: Event) -> None:
    """Watch nothing."""
