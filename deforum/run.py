"""A run: one folder with its frames, its settings and its film, filled beside the renderer and never overwritten.

    output/Deforum_20260131_2/
        settings.yaml              renders the same again
        frames/000000000.png       each carries its seed, prompt and all its numbers
        Deforum_20260131_2.mp4

What is on the disk under its final name is whole: frames and films are written under another name first.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from deforum import __version__
from deforum.errors import Problem, UserError, disk_error
from deforum.names import new_folder, run_name, runs_folder
from deforum.pictures import PICTURES, describe, encode
from deforum.subtitles import FRAME_FIELDS, Subtitles, subtitle_fields
from deforum.video import (
    FORMATS,
    Background,
    Pixels,
    Soundtrack,
    VideoError,
    VideoWriter,
    command_from_frames,
    exact_fps,
    frozen,
    probe,
)

if TYPE_CHECKING:
    from deforum.depth.saving import DepthRecord
    from deforum.image import Image
    from deforum.models import Models
    from deforum.settings import Settings
    from deforum.timeline import Frame, Timeline

# --- what to write ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Film:
    """One video file of a run. `quality` and `preset` are the codec's; None: its default."""

    format: str = "h264"
    quality: int | None = None
    preset: str | None = None
    soundtrack: Soundtrack | None = None


@dataclass(frozen=True)
class Outputs:
    """What a run writes besides its settings. The first film is the one that is shown as the result."""

    picture: str = "png"
    films: tuple[Film, ...] = (Film(),)
    subtitles: tuple[str, ...] = ()
    """Fields of a frame that subtitles show: seed, prompt, any parameter. Empty: no subtitles."""
    keep_frames: bool = True
    """False: frames are removed once every film is whole, unless the run was stopped early."""

    @staticmethod
    def of(settings: Settings) -> tuple[Outputs, tuple[str, ...]]:
        """Read what settings ask for; also gives notes on what does nothing, one line each."""
        # crf is Deforum's setting, and its scale is that of h264 alone.
        quality = settings.crf if settings.video_format == "h264" else settings.video_quality
        films = [Film(settings.video_format, quality, settings.video_preset, _soundtrack(settings))]
        if settings.make_gif and settings.video_format != "gif":
            films.append(Film("gif"))
        if settings.skip_video_creation:
            films = []
        notes: list[str] = []
        if settings.delete_imgs and not films:
            notes.append("delete_imgs does nothing: without a video the frames are all there is, so they are kept")
        outputs = Outputs(
            picture=settings.frame_format,
            films=tuple(films),
            subtitles=tuple(field for field in re.split(r"[,\s]+", settings.subtitles) if field),
            keep_frames=not (settings.delete_imgs and films),
        )
        return outputs, tuple(notes)

    def check(self, width: int, height: int, fps: float) -> None:
        """Encode one frame in every chosen way. Raises UserError with all that cannot work, before anything renders."""
        problems: list[Problem] = []
        if self.picture not in PICTURES:
            problems.append(Problem(f"{self.picture!r} is no frame format; expected one of {', '.join(PICTURES)}"))
        for film in self.films:
            try:
                probe(film.format, width, height, fps, quality=film.quality, preset=film.preset)
                if film.soundtrack is not None:
                    film.soundtrack.check(film.format)
            except VideoError as error:
                problems += error.problems
        problems += [
            Problem(
                f"subtitles: a frame has no {field!r}; expected {', '.join(FRAME_FIELDS)} or the name of a parameter"
            )
            for field in self.subtitles
            if field not in subtitle_fields()
        ]
        if problems:
            raise UserError(problems)

    @property
    def bits(self) -> Literal[8, 16]:
        """How many bits per channel are worth handing over."""
        deep = PICTURES[self.picture].bits == 16 or any(FORMATS[film.format].bits == 16 for film in self.films)
        return 16 if deep else 8


def _soundtrack(settings: Settings) -> Soundtrack | None:
    if settings.add_soundtrack == "File":
        return Soundtrack(Path(settings.soundtrack_path).expanduser())
    if settings.add_soundtrack == "Init Video":
        clip = Path(settings.video_init_path).expanduser()
        return Soundtrack(clip, seconds_before(settings))
    return None


def seconds_before(settings: Settings) -> float:
    """Say when the first frame used of the clip is shown, in seconds of its sound; 0 for a file without pictures."""
    from deforum.clips import ClipError, video_init

    try:
        return video_init(settings).start
    except ClipError:
        return 0.0


# --- the run ----------------------------------------------------------------------------------------------------------


class Run:
    """Write the frames of one run into its folder, beside the renderer.

        with Run(folder, settings_text, width=512, height=512, fps=24) as run:
            for frame, image in animation.frames():
                run.write(frame, to_bytes(image))

    `folder` exists and is empty. Memory does not grow with the number of frames: `write` waits when the disk or the
    encoder is slower than the renderer. If ffmpeg fails, the frames go on being written; leaving the block then raises
    VideoError, with ffmpeg's words and the command that makes the film from the frames. Leaving the block by an error
    completes what was finished and says where it is (a note on the error); KeyboardInterrupt does not wait.
    """

    def __init__(
        self,
        folder: Path,
        settings_text: str,
        *,
        width: int,
        height: int,
        fps: float,
        outputs: Outputs = Outputs(),
    ) -> None:
        self.folder = folder
        self.frames_folder = folder / "frames"
        self.outputs = outputs
        self.num_frames = 0
        self.keep_frames = outputs.keep_frames
        self.films: tuple[Path, ...] = ()
        """The films that are whole; known when the run is closed."""
        self._settings_text = settings_text
        self._digest = hashlib.sha256(settings_text.encode()).hexdigest()[:16]
        self._size, self._fps = (width, height), fps
        self._writers: list[tuple[Film, VideoWriter]] = []
        self._film_errors: list[VideoError] = []
        self._pictures: Background[tuple[Frame, Pixels]] | None = None
        self._subtitles: Subtitles | None = None

    def film_path(self, film: Film) -> Path:
        """Name a film after the folder, so that it says what it is elsewhere too; the format tells two apart."""
        suffix = FORMATS[film.format].suffix
        first = next(other for other in self.outputs.films if FORMATS[other.format].suffix == suffix)
        return self.folder / f"{self.folder.name}{'' if film == first else f'_{film.format}'}{suffix}"

    def picture_path(self, index: int) -> Path:
        return self.frames_folder / f"{index:09}{PICTURES[self.outputs.picture].suffix}"

    def __enter__(self) -> Run:
        try:
            self.frames_folder.mkdir()
            (self.folder / "settings.yaml").write_text(self._settings_text, encoding="utf-8")
            if self.outputs.subtitles:
                path = self.folder / f"{self.folder.name}.srt"
                self._subtitles = Subtitles(path, self.outputs.subtitles, exact_fps(self._fps))
        except OSError as error:
            raise disk_error(error, self.folder) from error
        for film in self.outputs.films:
            writer = VideoWriter(
                self.film_path(film), *self._size, self._fps,
                format=film.format, quality=film.quality, preset=film.preset, soundtrack=film.soundtrack,
                comment=f"deforum {__version__}, settings {self._digest}",
            )  # fmt: skip
            self._writers.append((film, writer.__enter__()))
        self._pictures = Background(self._write_picture, name="pictures", threads=2)
        return self

    def write(self, frame: Frame, pixels: Pixels) -> None:
        """Hand over the next frame: (H, W, 3) RGB levels, uint8 or uint16. Raises UserError if the disk is full."""
        if self._pictures is None:
            raise ValueError("the run is not open: write inside `with Run(...)`")
        pixels = frozen(pixels)
        try:
            self._pictures.put((frame, pixels))
            if self._subtitles is not None:
                self._subtitles.write(frame)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        for film, writer in list(self._writers):
            try:
                writer.write(pixels)
            except VideoError as error:
                self._lose(film, writer, error)
        self.num_frames += 1

    def _write_picture(self, item: tuple[Frame, Pixels]) -> None:
        frame, pixels = item
        path = self.picture_path(frame.index)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(encode(pixels, self.outputs.picture, describe(frame) | {"run": self._digest}))
        unfinished.replace(path)

    def _lose(self, film: Film, writer: VideoWriter, error: VideoError) -> None:
        """Go on without a film: frames matter more."""
        self._writers.remove((film, writer))
        writer.abort()
        pattern = self.frames_folder / f"%09d{PICTURES[self.outputs.picture].suffix}"
        command = command_from_frames(
            str(pattern), self.film_path(film), *self._size, self._fps,
            format=film.format, quality=film.quality, preset=film.preset,
        )  # fmt: skip
        self._film_errors.append(
            VideoError(
                f"{error}\n  The frames are safe in {self.frames_folder}. "
                f"This makes the film from them, without sound:\n    {command}"
            )
        )

    def close(self) -> None:
        """Wait until all is on the disk. Raises UserError for frames, else VideoError for films, that are not."""
        pictures, self._pictures = self._pictures, None
        if pictures is None:
            return
        errors: list[UserError] = []
        try:
            pictures.close()
            if self._subtitles is not None:
                self._subtitles.close()
        except OSError as error:
            errors.append(disk_error(error, self.folder))
        films: list[Path] = []
        for film, writer in list(self._writers):
            try:
                writer.close()
                if writer.num_frames:
                    films.append(writer.path)
            except VideoError as error:
                self._lose(film, writer, error)
        self.films = tuple(films)
        if not self.num_frames:
            self._remove_empty()
        elif not self.keep_frames and len(films) == len(self.outputs.films) and not errors:
            self._remove_frames()
        if errors or self._film_errors:
            all_errors = [*errors, *self._film_errors]
            problems = [problem for one in all_errors for problem in one.problems]
            raise (UserError(problems) if errors else VideoError(problems)) from all_errors[0]

    def _remove_frames(self) -> None:
        for index in range(self.num_frames):
            self.picture_path(index).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # someone else's files are in it
            self.frames_folder.rmdir()

    def _remove_empty(self) -> None:
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        with contextlib.suppress(OSError):
            self.frames_folder.rmdir()
            self.folder.rmdir()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.close()
            except KeyboardInterrupt as late:
                late.add_note(self._place())
                raise
            return
        assert error is not None
        self.keep_frames = True
        if issubclass(kind, Exception):
            try:
                self.close()
            except UserError as second:
                if str(second) != str(error):
                    error.add_note(str(second))
        else:
            if self._pictures is not None:
                self._pictures.abandon()
            for _, writer in self._writers:
                writer.abort()
        if self.num_frames:
            error.add_note(self._place())

    def _place(self) -> str:
        """Say what is on the disk: not all that was handed over need be."""
        written = sum(1 for _ in self.frames_folder.glob(f"*{PICTURES[self.outputs.picture].suffix}"))
        return f"frames finished: {written}, in {self.folder}"


# --- the library's door -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunResult:
    """What a render left behind. `video` is None where none was asked for; `films` has all of them."""

    video: Path | None
    folder: Path
    frames: int
    films: tuple[Path, ...] = ()
    stopped: bool = False
    """True: `stop` said so before the last frame."""


def levels(image: Image, bits: int) -> Pixels:
    """Round an image to (H, W, 3) RGB levels of 8 or 16 bits; values outside 0..1 are clipped."""
    from deforum.image import to_array, to_bytes

    if bits == 8:
        return to_bytes(image)
    words: NDArray[np.uint16] = np.rint(np.clip(to_array(image), 0, 1) * 65535).astype(np.uint16)
    return words


def check(settings: Settings) -> Timeline:
    """Find every mistake that can be found without loading a model, in the settings and in what is to be written.

    Gives the sampled timeline. Raises UserError with all problems.
    """
    from deforum.build import check as check_animation

    problems: list[Problem] = []
    timeline = None
    try:
        timeline = check_animation(settings)
    except UserError as error:
        problems += error.problems
    try:
        Outputs.of(settings)[0].check(settings.width, settings.height, settings.fps)
    except UserError as error:
        problems += error.problems
    if problems or timeline is None:
        raise UserError(problems)
    return timeline


def render(
    settings: Settings,
    *,
    output: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    models: Models | None = None,
) -> RunResult:
    """Render settings into a new folder under `output` (default: the setting of that name).

    `progress(done, total)` is called once all is loaded (done 0) and after every frame; `stop()` is asked after every
    frame, and ends the run early with everything closed. What is in `models` is not loaded again, and what is loaded
    stays there for further runs. Raises UserError, before rendering wherever that can be known.
    """
    from deforum.build import build, resolve
    from deforum.process import settle_process
    from deforum.settings import dump

    settle_process()
    settings = resolve(settings)
    check(settings)
    outputs, _ = Outputs.of(settings)
    parent = runs_folder(settings, None if output is None else Path(output))
    folder = new_folder(parent, run_name(settings, datetime.now()))
    try:
        animation = build(settings, models)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    if settings.save_disocclusion_masks and settings.animation_mode == "3D":
        animation = animation.saving_disocclusion(folder / "disocclusion")
    if settings.save_masks:
        animation = animation.saving_masks(folder / "masks")
    if settings.hybrid_comp_save_extra_frames:
        animation = animation.saving_composites(folder / "hybrid")
    total, stopped = len(animation.timeline), False
    run = Run(
        folder,
        dump(animation.settings),
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        outputs=outputs,
    )
    with depth_record(settings, animation.timeline, folder, outputs) as record, run:
        animation = animation if record is None else animation.keeping_depth(record)
        progress(0, total)
        for frame, image in animation.frames():
            run.write(frame, levels(image, outputs.bits))
            progress(run.num_frames, total)
            if run.num_frames < total and stop():
                stopped = run.keep_frames = True
                break
    return RunResult(run.films[0] if run.films else None, folder, run.num_frames, run.films, stopped)


def depth_record(
    settings: Settings, timeline: Timeline, folder: Path, outputs: Outputs
) -> contextlib.AbstractContextManager[DepthRecord | None]:
    """Prepare to save depth where that is asked for: as maps in the folder depth, as a video like the first film."""
    if settings.animation_mode != "3D" or not (settings.save_depth_maps or settings.save_depth_video):
        return contextlib.nullcontext()
    from deforum.depth.saving import DepthRecord, ends_of

    film = None
    if settings.save_depth_video:
        of = outputs.films[0] if outputs.films else Film(settings.video_format)
        path = folder / f"{folder.name}_depth{FORMATS[of.format].suffix}"
        size = settings.width, settings.height
        film = VideoWriter(path, *size, settings.fps, format=of.format, quality=of.quality, preset=of.preset)
    maps = folder / "depth" if settings.save_depth_maps else None
    return DepthRecord(maps, ends_of(settings, timeline), format=settings.depth_format, film=film)
