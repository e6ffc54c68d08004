"""The depth of every frame, saved while a run renders: as maps, as a video, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch

from deforum.animation.depth_camera import keeping_depth
from deforum.animation.stages import Stages
from deforum.background import Background
from deforum.depth import STANDS, DepthSource
from deforum.depth.maps import to_levels, write_exr, write_png
from deforum.depth.scale import OUTSTANDING
from deforum.features.feature import Recording
from deforum.motion.pose import UNITS
from deforum.profiling import staged
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.timeline import Timeline
from deforum.video.ffmpeg import VideoError
from deforum.video.writer import VideoWriter

MapFormat = Literal["png", "exr"]
WRITE: dict[MapFormat, Callable[[Path, torch.Tensor, tuple[float, float]], None]] = {
    "png": lambda path, depth, ends: write_png(path, to_levels(depth, *ends)),
    "exr": lambda path, depth, ends: write_exr(path, depth),
}


def ends_of(settings: Settings, timeline: Timeline) -> tuple[float, float] | None:
    """Return the nearest and the farthest distance of a run in scene units; None where they depend on the maps."""
    profile = PROFILES[settings.profile]
    if profile.depth_steady:
        # Outstanding things may be nearer than `near`: see `steady_depth`.
        return float(timeline.curves.near.min()) / UNITS / OUTSTANDING, float(timeline.curves.far.max()) / UNITS
    stand = STANDS.get(settings.depth_algorithm)
    return None if stand is not None and stand.raw else (1.0, 2.0)


def record(stages: Stages, found: DepthSource | None, recording: Recording) -> Stages:
    """Save depth as the settings ask: as maps in the folder depth, and as a video in the format of the first film."""
    settings = recording.settings
    if not (settings.save_depth_maps or settings.save_depth_video):
        return stages
    keep = DepthRecord(
        recording.folder / "depth" if settings.save_depth_maps else None,
        ends_of(settings, recording.timeline),
        format=settings.depth_format,
        film=recording.film("_depth") if settings.save_depth_video else None,
    )
    recording.keep_open(keep)
    return replace(stages, camera=keeping_depth(stages.camera, keep))


class DepthRecord:
    """Write the depth of each frame: a 16-bit PNG or EXR named by its index, and a frame of a video.

        with DepthRecord(folder, (1, 50), format="png", film=None) as record:
            record(0, depth)  # (H, W) in scene units

    Frames come in order; a repeated frame replaces the previous one. In the video a missing frame repeats the depth of
    the one before it. White is at the first of `ends`, black at the second, for the whole run. None takes both from the
    first map and widens its range by half on either side. Files under their final names are complete. A full disk
    raises OSError. If the video fails, the maps go on, and VideoError is raised at the end.
    """

    def __init__(
        self, folder: Path | None, ends: tuple[float, float] | None, *, format: MapFormat, film: VideoWriter | None
    ) -> None:
        self._folder, self._ends, self._format, self._film = folder, ends, format, film
        self._waiting: tuple[int, torch.Tensor] | None = None
        self._files: Background[tuple[int, torch.Tensor]] | None = None
        self._error: VideoError | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files = Background(self._write_map, name="depth")
        if self._film is not None:
            self._film.__enter__()
        return self

    def __call__(self, index: int, depth: torch.Tensor) -> None:
        if self._waiting is not None and self._waiting[0] != index:
            self._write(*self._waiting, until=index)
        self._waiting = index, depth

    def _write(self, index: int, depth: torch.Tensor, until: int) -> None:
        if self._ends is None:
            low, high = (float(end) for end in depth.aminmax())
            self._ends = max(low - (high - low) / 2, low / 2), high + (high - low) / 2 + 1e-6
        depth = depth.cpu()
        if self._files is not None:
            self._files.put((index, depth))
        if self._film is None or self._error is not None:
            return
        grey = np.repeat(to_levels(depth, *self._ends)[..., None], 3, axis=2)
        try:
            for _ in range(index, until):
                self._film.write(grey)
        except VideoError as error:
            self._error = error
            self._film.abort()

    @staged("write")
    def _write_map(self, item: tuple[int, torch.Tensor]) -> None:
        index, depth = item
        assert self._folder is not None and self._ends is not None
        path = self._folder / f"{index:09d}.{self._format}"
        unfinished = path.with_suffix(".part")
        WRITE[self._format](unfinished, depth, self._ends)
        unfinished.replace(path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            if self._files is not None:
                self._files.abandon()
            if self._film is not None:
                self._film.abort()
            return
        if self._waiting is not None:
            self._write(*self._waiting, until=self._waiting[0] + 1)
        if self._files is not None:
            self._files.close()
        if self._film is not None and self._error is None:
            self._film.close()
        if self._error is not None and error is None:
            raise self._error
