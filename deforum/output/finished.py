"""The frames of a finished or interrupted run, read back from its folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deforum.errors import UserError
from deforum.output.pictures import is_complete
from deforum.sources import FRAMES_FOLDER, SETTINGS_FILE
from deforum.video.writer import Pixels

if TYPE_CHECKING:
    from deforum.video.find import ClipSource, VideoFile

_NUMBERED = re.compile(r"(.*?)(\d{5,})(\.(?:png|jpe?g|webp))", re.IGNORECASE)
_FILMS = (".mp4", ".mov", ".mkv", ".webm")


class Frames(Protocol):
    """Frames of a run, from the first to the last."""

    @property
    def first(self) -> int:
        """Index of the first frame."""

    def __len__(self) -> int:
        """Number of frames, with those that are missing in between."""

    def read(self, notes: list[str]) -> Iterator[Pixels | None]:
        """Yield each frame, (H, W, 3) RGB, uint8 or uint16; None for one that is missing or cannot be read.

        At the end, notes on those are added to `notes`.
        """


@dataclass(frozen=True)
class Pictures:
    """Picture files by frame index."""

    paths: Mapping[int, Path]

    @property
    def first(self) -> int:
        return min(self.paths)

    def __len__(self) -> int:
        return max(self.paths) - self.first + 1

    def read(self, notes: list[str]) -> Iterator[Pixels | None]:
        torn: list[str] = []
        for index in range(self.first, self.first + len(self)):
            pixels = read_frame(self.paths[index]) if index in self.paths else None
            if pixels is None and index in self.paths:
                torn.append(self.paths[index].name)
            yield pixels
        if torn:
            notes.append(f"skipped, as they are damaged or their writing was cut short: {', '.join(torn)}")
        missing = [index for index in range(self.first, self.first + len(self)) if index not in self.paths]
        if missing:
            notes.append(f"missing: {ranges(missing)}; the frame before is shown instead")


@dataclass(frozen=True)
class Film:
    """The film of a run whose frames were deleted."""

    clip: ClipSource
    video: VideoFile
    first: int = 0

    def __len__(self) -> int:
        return len(self.clip)

    def read(self, notes: list[str]) -> Iterator[Pixels | None]:
        from deforum.video.reader import frames_from

        notes.append(f"the frames were deleted: encoded again from {self.clip.path.name}, with some loss")
        yield from frames_from(self.clip, 0, self.video.width, self.video.height, "stretch")


def read_frame(path: Path) -> Pixels | None:
    """Read a picture file, (H, W, 3) RGB, uint8 or uint16; None where it is damaged or its writing was cut short."""
    import cv2

    try:
        encoded = path.read_bytes()
    except OSError:
        return None
    if not is_complete(encoded):
        return None
    levels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return None if levels is None else np.ascontiguousarray(levels[..., ::-1])


def find_run(path: Path) -> Path:
    """Return the folder of a run: `path`, or its parent where `path` is its folder of frames. Raises UserError."""
    if path.is_file():
        raise UserError(f"{path}: is a file; expected the folder of a run, with its frames")
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; expected the folder of a run")
    resolved = path.resolve()
    is_frames = resolved.name == FRAMES_FOLDER and (resolved.parent / SETTINGS_FILE).is_file()
    return resolved.parent if is_frames else path


def find_frames(folder: Path) -> Frames:
    """Find the frames of a run by their names: `frames/000000012.png`, or `20260131180300_000000012.png` of Deforum.

    Where there are none, its film. Raises UserError where there is neither, or where frames of several runs are mixed.
    """
    for place in (folder / FRAMES_FOLDER, folder):
        series: dict[tuple[str, str], dict[int, Path]] = {}
        for path in sorted(place.iterdir()) if place.is_dir() else []:
            match = _NUMBERED.fullmatch(path.name)
            if match:
                series.setdefault((match[1], match[3].lower()), {})[int(match[2])] = path
        # Depth maps and masks of A1111's Deforum stand beside the frames, as TIMESTRING_depth_000000012.png.
        of_runs = {names: paths for names, paths in series.items() if re.fullmatch(r"(?:\d{14}_)?", names[0])} or series
        if len(of_runs) > 1:
            found = ", ".join(f"{prefix}*{suffix}: {len(paths)}" for (prefix, suffix), paths in of_runs.items())
            raise UserError(f"{place}: frames of several runs ({found}); expected those of one")
        if of_runs:
            return Pictures(next(iter(of_runs.values())))
    film = next((folder / f"{folder.resolve().name}{suffix}" for suffix in _FILMS
                 if (folder / f"{folder.resolve().name}{suffix}").is_file()), None)  # fmt: skip
    if film is None:
        raise UserError(f"{folder}: no frames in it, such as {FRAMES_FOLDER}/000000000.png, and no film of its name")
    from deforum.video.find import VideoFile, resolve_clip

    clip = resolve_clip(film, name="film")
    assert isinstance(clip.media, VideoFile)
    return Film(clip, clip.media)


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers as frames in words: `frames 3 to 5, 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    more = [f"and {len(said) - 10} more gaps"] if len(said) > 10 else []
    return f"frame{'s' * (len(numbers) > 1)} {', '.join([*said[:10], *more])}"
