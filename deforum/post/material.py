"""What a chain begins with: the frames of a run, or a film, with their rate and sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from deforum.errors import UserError
from deforum.models.digest import sha256_of
from deforum.output.chapters import saved_chapters
from deforum.output.choice import Outputs
from deforum.output.film import film_settings, later
from deforum.output.finished import Film, Frames, Pictures, find_frames, ranges, read_frame
from deforum.output.labels import Label
from deforum.output.ledger import read_entries
from deforum.post.plan import digest
from deforum.post.record import POST_FOLDER
from deforum.settings.options import Settings
from deforum.settings.steps import Reel
from deforum.sources import RUN_FILE
from deforum.video import ClipError, VideoFile, resolve_clip
from deforum.video.ffmpeg import has_sound
from deforum.video.find import ClipSource
from deforum.video.formats import exact_fps
from deforum.video.reader import frames_from
from deforum.video.tags import Chapter
from deforum.video.writer import Pixels, Soundtrack


class Source(Protocol):
    """Frames that steps are made of."""

    @property
    def recipes(self) -> Sequence[str]:
        """A digest of what each frame is."""

    def read(self, start: int) -> Iterator[Pixels]:
        """Yield the frames from `start` on, (H, W, 3) RGB, uint8 or uint16."""


@dataclass(frozen=True)
class PictureSource:
    """Picture files in order; None for one that is missing, which shows the frame before it."""

    paths: tuple[Path | None, ...]
    known: tuple[str, ...] = ()
    """The recipes, where they are known already."""

    @cached_property
    def recipes(self) -> Sequence[str]:
        found: list[str] = list(self.known)
        for path in () if found else self.paths:
            found.append(digest("file", sha256_of(path)) if path is not None else digest("held", *found[-1:]))
        return found

    def read(self, start: int) -> Iterator[Pixels]:
        last: Pixels | None = None
        for index in range(start, -1, -1) if start < len(self.paths) else ():
            path = self.paths[index]
            last = None if path is None else read_frame(path)
            if last is not None:
                break
        if last is None:
            raise UserError(f"{next((path for path in self.paths if path), Path())}: no frame up to it can be read")
        shape = last.shape
        yield last
        for path in self.paths[start + 1 :]:
            pixels = None if path is None else read_frame(path)
            if pixels is not None and pixels.shape != shape:
                sizes = " and ".join(f"{width}x{height}" for height, width, *_ in (shape, pixels.shape))
                raise UserError(f"{path}: frames have different sizes, {sizes}; they are not of one run")
            last = last if pixels is None else pixels
            yield last


@dataclass(frozen=True)
class FilmSource:
    """The frames of a film."""

    clip: ClipSource
    video: VideoFile

    @cached_property
    def recipes(self) -> Sequence[str]:
        whole = sha256_of(self.clip.path)
        return [digest("film", whole, str(index)) for index in range(len(self.clip))]

    def read(self, start: int) -> Iterator[Pixels]:
        for pixels in frames_from(self.clip, start, self.video.width, self.video.height, "stretch"):
            yield pixels[..., :3]


@dataclass(frozen=True)
class Material:
    """Frames, their rate and sound, and where what is made of them goes."""

    home: Path
    """The folder of films."""
    post: Path
    """The folder of the folders of stages."""
    name: str
    """With which the names of films begin."""
    source: Source
    reel: Reel
    bits: int
    """Of the frames, 8 or 16."""
    settings: Settings
    """By which films are made."""
    sound: Soundtrack | None = None
    comment: str = ""
    """For the metadata of films."""
    chapters: tuple[Chapter, ...] = ()
    """Those of a film of these frames."""
    keeps_frames: bool = True
    """Whether the frames of steps are kept, where they do not say it."""
    of: str = "frames"
    """What it is, for records."""
    notes: tuple[str, ...] = ()
    are_finished: bool = False
    """Whether the frames are finished already."""
    films_in: Path | None = None
    """Another folder for films, or a film's file."""


def of_run(
    folder: Path, settings: Settings | None = None, overrides: Sequence[str] = (), output: Path | None = None
) -> Material:
    """Take the frames of a run, finished or not, or of A1111's Deforum.

    `settings` are those of the run where they are known; else they are read from the folder and changed by `overrides`.
    Raises UserError where there are none.
    """
    frames = find_frames(folder)
    if settings is None:
        found = film_settings(folder, frames, overrides, output)
        settings, notes, comment, made_for = found.settings, found.notes, found.comment, found.run.fps
        chapters = found.chapters(frames.first)
        are_finished = found.run.finishes and (folder / RUN_FILE).is_file()
    else:
        are_finished = settings.finishes
        chapters = saved_chapters(settings, frames.first)
        notes, comment, made_for = (), Label.of(settings).comment if settings.save_metadata else "", settings.fps
    source = _source_of(frames, folder)
    first = next(iter(source.read(0)))
    height, width = first.shape[:2]
    film = replace(settings, skip_video_creation=False)
    outputs = Outputs.of(film)[0]
    with_sound = later(outputs.films[0], frames.first / made_for)
    reel = Reel(width, height, len(frames), exact_fps(settings.fps))
    return Material(
        folder, folder / POST_FOLDER, folder.resolve().name, source, reel, 8 * first.dtype.itemsize, settings,
        with_sound.soundtrack, comment, chapters, notes=(*notes, *_gaps(frames)),
        are_finished=are_finished, films_in=output,
    )  # fmt: skip


def _source_of(frames: Frames, folder: Path) -> Source:
    if isinstance(frames, Film):
        return FilmSource(frames.clip, frames.video)
    assert isinstance(frames, Pictures)
    paths = tuple(frames.paths.get(index) for index in range(frames.first, frames.first + len(frames)))
    entries = read_entries(folder)
    by_name = {folder / entry.file: entry.sha256 for entry in entries.values()}
    known: list[str] = []
    for path in paths:
        sha256 = by_name.get(path) if path is not None else ""
        if sha256 is None:
            return PictureSource(paths)
        known.append(digest("file", sha256) if sha256 else digest("held", *known[-1:]))
    return PictureSource(paths, tuple(known))


def _gaps(frames: Frames) -> list[str]:
    if isinstance(frames, Film):
        return [f"the frames were deleted: read from {frames.clip.path.name}, with some loss"]
    assert isinstance(frames, Pictures)
    missing = [index for index in range(frames.first, frames.first + len(frames)) if index not in frames.paths]
    return [f"missing: {ranges(missing)}; the frame before is shown instead"] if missing else []


def of_film(path: Path, settings: Settings, output: Path | None = None) -> Material:
    """Take the frames and the sound of a film. `settings` are those of the films made of it, but for rate and sound."""
    try:
        clip = resolve_clip(path, name="film")
    except ClipError as error:
        raise UserError(error.problems) from None
    if not isinstance(clip.media, VideoFile):
        raise UserError(f"{path}: expected the folder of a run, or a film")
    video = clip.media
    rate = video.rate.limit_denominator(1001)
    reel = Reel(video.width, video.height, len(clip), rate)
    sound = Soundtrack(path, video.delay) if has_sound(path) else None
    return Material(
        path.parent, path.with_name(f"{path.stem}_{POST_FOLDER}"), path.stem, FilmSource(clip, video), reel, 8,
        replace(settings, fps=float(rate)), sound, keeps_frames=False, of=path.name, notes=tuple(clip.notes),
        films_in=output,
    )  # fmt: skip
