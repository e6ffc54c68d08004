"""The depth of every frame, saved while a run renders: as maps, as a video, or both."""

from __future__ import annotations

import json
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
from deforum.depth.maps import Levels, read_levels, to_exr, to_levels, to_png
from deforum.depth.scale import OUTSTANDING
from deforum.errors import disk_error
from deforum.features.feature import COPIES_FOLDER, Recording, save
from deforum.features.saver import Save
from deforum.motion.pose import UNITS
from deforum.profiling import staged
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.timeline import Timeline
from deforum.video.ffmpeg import VideoError
from deforum.video.writer import VideoWriter

MapFormat = Literal["png", "exr"]
ENCODE: dict[MapFormat, Callable[[torch.Tensor, tuple[float, float]], bytes]] = {
    "png": lambda depth, ends: to_png(to_levels(depth, *ends)),
    "exr": lambda depth, ends: to_exr(depth),
}
RANGE = "range.json"
"""Beside the maps, where their range follows from the first of them: the distances of white and black."""


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
    film = recording.film("_depth") if settings.save_depth_video else None
    maps = recording.folder / "depth" if settings.save_depth_maps else None
    keep = DepthRecord(
        maps,
        ends_of(settings, recording.timeline),
        format=settings.depth_format,
        film=film,
        copies=copies_of(recording.folder, settings) if settings.save_depth_video and recording.keeps_copies else None,
        save=recording.save,
        expect=recording.expect,
        since=recording.since,
        to_the_end=recording.to_the_end,
    )
    recording.keep_open(keep)
    return replace(stages, camera=keeping_depth(stages.camera, keep))


def copies_of(run: Path, settings: Settings) -> Path:
    """Return the folder with the levels of the depth video as 16-bit PNG: the maps themselves, or copies."""
    as_maps = settings.save_depth_maps and settings.depth_format == "png"
    return run / "depth" if as_maps else run / COPIES_FOLDER / "depth"


class DepthRecord:
    """Write the depth of each frame: a 16-bit PNG or EXR named by its index, and a frame of a video.

        with DepthRecord(folder, (1, 50), format="png", film=None) as record:
            record(0, depth)  # (H, W) in scene units

    Frames come in order; a repeated frame replaces the previous one. In the video a missing frame repeats the depth of
    the one before it. White is at the first of `ends`, black at the second, for the whole run. None takes both from the
    first map and widens its range by half on either side. Files under their final names are complete. A full disk
    raises UserError. If the video fails, the maps go on, and VideoError is raised at the end.

    `copies` is a folder for what the video is made from. With `since`, a run is resumed whose files of earlier frames
    are there: the video begins with them. `to_the_end` False leaves out the last frame, whose depth may be found anew.
    """

    def __init__(
        self,
        folder: Path | None,
        ends: tuple[float, float] | None,
        *,
        format: MapFormat,
        film: VideoWriter | None,
        copies: Path | None = None,
        save: Save = save,
        expect: Callable[[Path], None] = lambda path: None,
        since: int = 0,
        to_the_end: bool = True,
    ) -> None:
        self._folder, self._ends, self._format, self._film = folder, ends, format, film
        self._copies, self._since, self._to_the_end = copies, since, to_the_end
        self._save, self._expect = save, expect
        self._waiting: tuple[int, torch.Tensor] | None = None
        self._files: Background[tuple[int, torch.Tensor]] | None = None
        self._shown: tuple[int, Levels] | None = None
        """The last frame of the video, and its index."""
        self._error: VideoError | None = None

    def __enter__(self) -> Self:
        if self._folder is not None or self._copies is not None:
            self._files = Background(self._write_files, name="depth")
        if self._ends is None and self._since:
            self._ends = self._read_range()
        if self._film is not None:
            self._film.__enter__()
            if self._copies is not None and self._since:
                for path in sorted(self._copies.glob("*.png")):
                    if int(path.stem) < self._since:
                        self._show(int(path.stem), read_levels(path))
        return self

    def __call__(self, index: int, depth: torch.Tensor) -> None:
        if self._waiting is not None and self._waiting[0] != index:
            self._write(*self._waiting)
        self._waiting = index, depth

    def _write(self, index: int, depth: torch.Tensor) -> None:
        if self._ends is None:
            low, high = (float(end) for end in depth.aminmax())
            self._ends = max(low - (high - low) / 2, low / 2), high + (high - low) / 2 + 1e-6
            self._write_range(index)
        depth = depth.cpu()
        if self._files is not None:
            for path in self._paths(index):
                self._expect(path)
            self._files.put((index, depth))
        if self._film is not None:
            self._show(index, to_levels(depth, *self._ends))

    def _show(self, index: int, levels: Levels) -> None:
        """Write a frame of the video; the frames without depth before it repeat the last one that has."""
        if self._film is None or self._error is not None:
            return
        last, held = self._shown or (index - 1, levels)
        try:
            for each in (*[held] * (index - last - 1), levels):
                self._film.write(np.repeat(each[..., None], 3, axis=2))
        except VideoError as error:
            self._error = error
            self._film.abort()
        self._shown = index, levels

    @staged("write")
    def _write_files(self, item: tuple[int, torch.Tensor]) -> None:
        index, depth = item
        assert self._ends is not None
        for path, format in self._paths(index).items():
            try:
                self._save(path, index, ENCODE[format](depth, self._ends))
            except OSError as error:
                raise disk_error(error, path) from error

    def _paths(self, index: int) -> dict[Path, MapFormat]:
        """Return the files of a frame: the map, and the copy that the video can be made of again."""
        paths: dict[Path, MapFormat] = {}
        if self._copies is not None:
            paths[self._copies / f"{index:09d}.png"] = "png"
        if self._folder is not None:
            paths[self._folder / f"{index:09d}.{self._format}"] = self._format
        return paths

    def _range_path(self) -> Path | None:
        place = self._copies or self._folder
        return None if place is None else place / RANGE

    def _write_range(self, index: int) -> None:
        path = self._range_path()
        if path is not None and self._ends is not None:
            nearest, farthest = self._ends
            self._save(path, index, json.dumps({"nearest": nearest, "farthest": farthest}).encode())

    def _read_range(self) -> tuple[float, float] | None:
        path = self._range_path()
        try:
            found = json.loads(path.read_text("utf-8")) if path is not None else {}
            return float(found["nearest"]), float(found["farthest"])
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            if self._files is not None:
                self._files.abandon()
            if self._film is not None:
                self._film.abort()
            return
        if self._waiting is not None and self._to_the_end:
            self._write(*self._waiting)
        if self._files is not None:
            self._files.close()
        if self._film is not None and self._error is None:
            self._film.close()
        if self._error is not None and error is None:
            raise self._error
