"""A run: one folder with its frames, settings and film, written beside the renderer and never overwritten.

    output/Deforum_20260131_2/
        settings.yaml              renders the same again
        run.json, frames.jsonl     what it was made with, and a line for each frame; see `deforum.output.record`
        states/000000120.state     from which it is resumed
        frames/000000000.png       each with its seed, prompt and parameters, and the settings of the run
        Deforum_20260131_2.mp4     with the settings of the run

Files under their final names are complete: frames and films are written under another name first.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from deforum.background import queue_room
from deforum.errors import UserError, disk_error
from deforum.models.transfer import Arriving
from deforum.output.choice import PLAIN, Film, Outputs
from deforum.output.frames import FrameFiles
from deforum.output.labels import Label
from deforum.output.ledger import Ledger
from deforum.output.pictures import PICTURES
from deforum.output.subtitles import Subtitles
from deforum.program import command_line
from deforum.sources import FRAMES_FOLDER, SETTINGS_FILE, VALUES_FILES
from deforum.video.ffmpeg import VideoError
from deforum.video.formats import FORMATS, exact_fps
from deforum.video.tags import Chapter
from deforum.video.writer import Pixels, VideoWriter, frozen

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame


_log = logging.getLogger(__name__)


class Run:
    """Write the frames of one run into its folder, beside the renderer.

        with Run(folder, settings_text, width=512, height=512, fps=24) as run:
            for frame, image in animation.frames():
                run.write(frame, to_bytes(image))

    `folder` must exist. Memory does not grow with the number of frames: `write` waits when the disk or the encoder is
    slower than the renderer. If ffmpeg fails, frames are still written, and the film is made of them at the end; if
    that fails too, leaving the block raises VideoError, with ffmpeg's message. An error in the block completes the
    files with the frames so far and gets a note with their folder and the commands that go on; KeyboardInterrupt does
    not wait. `label` is written into pictures and films, `film_label` into films where it is another; None: they say
    nothing. `chapters` are those of the films.

    With a `ledger`, what is written is recorded, so that the run can be resumed. `before` are the frames that are there
    already, from the first one on: films and subtitles begin with them. `first` is the index of the first frame.
    """

    def __init__(
        self,
        folder: Path,
        settings_text: str,
        *,
        width: int,
        height: int,
        fps: float,
        outputs: Outputs = PLAIN,
        label: Label | None = None,
        film_label: Label | None = None,
        ledger: Ledger | None = None,
        chapters: Sequence[Chapter] = (),
        before: Sequence[Frame] = (),
        first: int = 0,
    ) -> None:
        self.folder = folder
        self.frames_folder = folder / FRAMES_FOLDER
        self.outputs = outputs
        self.num_frames = len(before)
        self._first = first
        self.keep_frames = outputs.keep_frames
        self.is_paused = False
        """True: leaving the block completes no films; the run goes on later."""
        self.films: tuple[Path, ...] = ()
        """The complete films; set by `close`."""
        self.changed: list[int] = []
        """Frames that came out different from those that were there."""
        self._settings_text = settings_text
        self._label, self._ledger, self._before = label, ledger, before
        self._chapters = chapters
        self._film_label = label if film_label is None else film_label
        self._size, self._fps = (width, height), fps
        self._writers: list[tuple[Film, VideoWriter]] = []
        self._lost: list[tuple[Film, VideoError]] = []
        self._pictures: FrameFiles | None = None
        self._replay: threading.Thread | None = None
        self._subtitles: Subtitles | None = None

    def film_path(self, film: Film) -> Path:
        """Return the path of a film, named after the folder; of two with one suffix the second has its format added."""
        suffix = FORMATS[film.format].suffix
        first = next(other for other in self.outputs.films if FORMATS[other.format].suffix == suffix)
        return self.folder / f"{self.folder.name}{'' if film == first else f'_{film.format}'}{suffix}"

    def picture_path(self, index: int) -> Path:
        return self.frames_folder / f"{index:09}{PICTURES[self.outputs.picture].suffix}"

    def __enter__(self) -> Run:
        try:
            self.frames_folder.mkdir(exist_ok=True)
            (self.folder / SETTINGS_FILE).write_text(self._settings_text, encoding="utf-8")
            if self.outputs.subtitles and self.outputs.makes_films:
                path = self.folder / f"{self.folder.name}.srt"
                self._subtitles = Subtitles(path, self.outputs.subtitles, exact_fps(self._fps))
                for frame in self._before:
                    self._subtitles.write(frame)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        for film in self.outputs.films if self.outputs.makes_films else ():
            self._writers.append((film, self._new_writer(film).__enter__()))
        width, height = self._size
        room = queue_room(width * height * 3 * self.outputs.bits // 8)
        self._pictures = FrameFiles(self.folder, self.outputs, self._label, self._ledger, room)
        if self._before and self._writers:
            self._replay = threading.Thread(target=self._show_before, name="replay", daemon=True)
            self._replay.start()
        return self

    def _new_writer(self, film: Film) -> VideoWriter:
        path = self.film_path(film)
        writer = VideoWriter(
            path, *self._size, self._fps,
            format=film.format, quality=film.quality, preset=film.preset, soundtrack=film.soundtrack,
            comment=self._film_label.comment if self._film_label else "", chapters=self._chapters,
        )  # fmt: skip
        # The ffmpeg of a run that was killed may still write into its file, which it keeps under no name.
        with contextlib.suppress(OSError):
            writer.working_path.unlink(missing_ok=True)
        return writer

    def _show_before(self) -> None:
        """Begin the films with the frames that are there already."""
        assert self._pictures is not None
        try:
            for pixels in self._pictures.read(frame.index for frame in self._before):
                self._show(frozen(pixels))
        except OSError as error:
            for film, writer in list(self._writers):
                self._lose(film, writer, VideoError(f"{error.filename}: {error.strerror}"))

    def expect(self, frame: Frame) -> None:
        """Announce a frame that will be written later, in order: states of the run wait for it."""
        if self._pictures is not None:
            self._pictures.expect(frame)

    def write(self, frame: Frame, pixels: Pixels | Arriving) -> None:
        """Queue the next frame: (H, W, 3) RGB levels, uint8 or uint16. Raises UserError where it cannot be written.

        Levels on their way from a render device are waited for by the threads that write them.
        """
        if self._pictures is None:
            raise ValueError("the run is not open: write inside `with Run(...)`")
        pixels = frozen(pixels)
        try:
            self._pictures.write(frame, pixels)
            if self._subtitles is not None:
                self._subtitles.write(frame)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        if self._replay is not None:
            self._replay.join()
            self._replay = None
        self._show(pixels)
        self.num_frames += 1

    def _show(self, pixels: Pixels | Arriving) -> None:
        for film, writer in list(self._writers):
            try:
                writer.write(pixels)
            except VideoError as error:
                self._lose(film, writer, error)

    def _lose(self, film: Film, writer: VideoWriter, error: VideoError) -> None:
        """Give up a film for now and continue with the frames; `close` makes it of them."""
        self._writers.remove((film, writer))
        writer.abort()
        self._lost.append((film, error))

    def close(self) -> None:
        """Wait until all files are written. Raises UserError if frames failed, VideoError if only films did."""
        pictures, self._pictures = self._pictures, None
        if pictures is None:
            return
        errors: list[UserError] = []
        try:
            if self._replay is not None:
                self._replay.join()
            pictures.close()
            if self._subtitles is not None:
                self._subtitles.close()
        except OSError as error:
            errors.append(disk_error(error, self.folder))
        self.changed = pictures.changed
        if self.is_paused or (errors and self._ledger is not None):
            # With frames missing the film is nothing; it is made of the frames when the run goes on.
            for _, writer in self._writers:
                writer.discard()
        else:
            errors += self._complete_films(pictures, is_whole=not errors)
        if not self.num_frames:
            self._remove_empty()
        elif (
            self._ledger is None and not self.keep_frames and len(self.films) == len(self.outputs.films) and not errors
        ):
            pictures.remove(self.num_frames)
        if errors:
            problems = [problem for one in errors for problem in one.problems]
            only_films = all(isinstance(error, VideoError) for error in errors)
            raise (VideoError(problems) if only_films else UserError(problems)) from errors[0]

    def _complete_films(self, pictures: FrameFiles, *, is_whole: bool) -> list[VideoError]:
        """Complete all films, those that were lost from the frames; return the errors of those that cannot be made."""
        films: dict[Film, Path] = {}
        for film, writer in list(self._writers):
            try:
                writer.close()
                if writer.num_frames:
                    films[film] = writer.path
            except VideoError as late:
                self._lose(film, writer, late)
        errors: list[VideoError] = []
        can_be_read = pictures.has_copies or self.outputs.is_exact
        for film, error in self._lost:
            if not (is_whole and can_be_read and self.num_frames):
                errors.append(error)
                continue
            try:
                films[film] = self._film_of_frames(film, pictures)
            except (VideoError, OSError):
                errors.append(error)
            else:
                reason = str(error).splitlines()[0].rstrip(":")
                _log.warning("%s; the film was made again from the frames", reason)
        self.films = tuple(films[film] for film in self.outputs.films if film in films)
        return errors

    def _film_of_frames(self, film: Film, pictures: FrameFiles) -> Path:
        with self._new_writer(film) as writer:
            for pixels in pictures.read(range(self._first, self._first + self.num_frames)):
                writer.write(pixels)
        return writer.path

    def _remove_empty(self) -> None:
        for path in self.folder.iterdir():
            if path.is_file() and (path.suffix in (".srt", ".yaml") or path.name in VALUES_FILES.values()):
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
            except (KeyboardInterrupt, UserError) as late:
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
                writer.discard()
            if self._subtitles is not None:
                self._subtitles.abandon()
        if self.num_frames:
            error.add_note(self._place())

    def _place(self) -> str:
        """Return a note on the frames on the disk, which may be fewer than were handed over, and on what to do."""
        if not self.folder.is_dir():
            return f"the folder {self.folder} is gone, and with it the frames that were finished"
        written = sum(1 for _ in self.frames_folder.glob(f"*{PICTURES[self.outputs.picture].suffix}"))
        if not written:
            return f"no frame was finished in {self.folder}"
        notes = [f"frames finished: {written}, in {self.folder}"]
        if self._ledger is not None:
            notes.append(f"to go on: {command_line('--resume', self.folder)}")
        notes.append(f"a film from them: {command_line('film', self.folder)}")
        return "\n".join(notes)
