"""Events of a render, passed to an observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.profiling import Breakdown
from deforum.settings.options import Settings
from deforum.shots import PlacedShot
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RunPrepared:
    """Everything is checked and found; no model is loaded yet."""

    settings: Settings
    """Resolved: with the final seed and length of the run."""
    timeline: Timeline
    shots: tuple[PlacedShot, ...] = ()
    """Those of the film, whose frames these are in place of those of the timeline; empty: it is one chain."""

    @property
    def count(self) -> int:
        """Number of frames of all of it."""
        return self.shots[-1].place.stop if self.shots else len(self.timeline) - self.settings.first_frame


@dataclass(frozen=True)
class Note:
    """A deviation from the settings, or a setting without effect."""

    text: str


@dataclass(frozen=True)
class RunLoaded:
    """The models are loaded; rendering begins."""

    folder: Path | None
    """The folder of the run; None if nothing is written (`frames`)."""
    total: int
    """Number of frames to render."""


@dataclass(frozen=True)
class FrameShown:
    """A frame is finished; `done` of `total` frames so far."""

    frame: Frame
    picture: torch.Tensor = field(repr=False)
    """(3, H, W) RGB float32 in 0..1, on the render device; must not be modified. Not finished yet, see `finish`."""
    done: int
    total: int


@dataclass(frozen=True)
class StageTimes:
    """Time per stage since the frame before. On a GPU this is the time to queue the work, not to finish it."""

    frame: Frame
    seconds: Mapping[str, float]
    """By part: source, before, diffuse, after, between, show, write, and rest (mostly motion)."""


@dataclass(frozen=True)
class Profiled:
    """The run was profiled; comes before RunFinished."""

    breakdown: Breakdown
    trace: Path
    """For ui.perfetto.dev."""


@dataclass(frozen=True)
class StepBegun:
    """A step behind the render begins."""

    text: str
    """What is done: `upscale 2, lanczos`."""
    path: Path
    """The folder of its frames, or its film."""
    total: int
    """Number of frames to make."""

    @property
    def words(self) -> str:
        return f"{self.text}: {self.total} frame{'s' * (self.total != 1)}"


@dataclass(frozen=True)
class StepFrame:
    """A frame of a step is made; `done` of `total` frames so far."""

    done: int
    total: int


@dataclass(frozen=True)
class RunFinished:
    """The run is closed, and all its files are on the disk."""

    result: RunResult


@dataclass(frozen=True)
class RunResult:
    """The files of a render. `films` are all films, those of steps behind the render last.

    `video` is the last one of steps, else the first film; None if there is none.
    """

    video: Path | None
    folder: Path
    frames: int
    films: tuple[Path, ...] = ()
    stopped: bool = False
    """True: `stop` ended the run before the last frame."""


Event = RunPrepared | Note | RunLoaded | FrameShown | StageTimes | Profiled | StepBegun | StepFrame | RunFinished

Observer = Callable[[Event], None]
"""Called with each event, in order, on the rendering thread; the render waits until it returns."""


def nobody(event: Event) -> None:
    """Ignore the event."""
