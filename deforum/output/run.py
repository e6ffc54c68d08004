"""A run: one folder with its frames, settings and film, written beside the renderer and never overwritten.

    output/Deforum_20260131_2/
        settings.yaml              renders the same again
        frames/000000000.png       each with its seed, prompt and parameters, and the settings of the run
        Deforum_20260131_2.mp4     with the settings of the run

Files under their final names are complete: frames and films are written under another name first.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from deforum.background import Background, queue_room
from deforum.errors import UserError, disk_error
from deforum.output.labels import Label
from deforum.output.pictures import PICTURES, encode
from deforum.output.subtitles import Subtitles
from deforum.profiling import staged
from deforum.program import command_line
from deforum.sources import FRAMES_FOLDER, SETTINGS_FILE
from deforum.video.ffmpeg import VideoError
from deforum.video.formats import FORMATS, exact_fps
from deforum.video.writer import Pixels, VideoWriter, frozen

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame
from deforum.output.choice import PLAIN, Film, Outputs


class Run:
    """Write the frames of one run into its folder, beside the renderer.

        with Run(folder, settings_text, width=512, height=512, fps=24) as run:
            for frame, image in animation.frames():
                run.write(frame, to_bytes(image))

    `folder` must exist and be empty. Memory does not grow with the number of frames: `write` waits when the disk or the
    encoder is slower than the renderer. If ffmpeg fails, frames are still written; leaving the block then raises
    VideoError, with ffmpeg's message. An error in the block completes the files with the frames so far and gets a note
    with their folder and the command that makes a film from them; KeyboardInterrupt does not wait. `label` is written
    into pictures and films; None: they say nothing.
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
    ) -> None:
        self.folder = folder
        self.frames_folder = folder / FRAMES_FOLDER
        self.outputs = outputs
        self.num_frames = 0
        self.keep_frames = outputs.keep_frames
        self.films: tuple[Path, ...] = ()
        """The complete films; set by `close`."""
        self._settings_text = settings_text
        self._label = label
        self._size, self._fps = (width, height), fps
        self._writers: list[tuple[Film, VideoWriter]] = []
        self._film_errors: list[VideoError] = []
        self._pictures: Background[tuple[Frame, Pixels]] | None = None
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
            self.frames_folder.mkdir()
            (self.folder / SETTINGS_FILE).write_text(self._settings_text, encoding="utf-8")
            if self.outputs.subtitles:
                path = self.folder / f"{self.folder.name}.srt"
                self._subtitles = Subtitles(path, self.outputs.subtitles, exact_fps(self._fps))
        except OSError as error:
            raise disk_error(error, self.folder) from error
        for film in self.outputs.films:
            writer = VideoWriter(
                self.film_path(film), *self._size, self._fps,
                format=film.format, quality=film.quality, preset=film.preset, soundtrack=film.soundtrack,
                comment=self._label.comment if self._label else "",
            )  # fmt: skip
            self._writers.append((film, writer.__enter__()))
        width, height = self._size
        room = queue_room(width * height * 3 * self.outputs.bits // 8)
        self._pictures = Background(self._write_picture, name="pictures", threads=2, waiting=room)
        return self

    def write(self, frame: Frame, pixels: Pixels) -> None:
        """Queue the next frame: (H, W, 3) RGB levels, uint8 or uint16. Raises UserError where it cannot be written."""
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

    @staged("write")
    def _write_picture(self, item: tuple[Frame, Pixels]) -> None:
        frame, pixels = item
        path = self.picture_path(frame.index)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(encode(pixels, self.outputs.picture, self._label.texts(frame) if self._label else {}))
        unfinished.replace(path)

    def _lose(self, film: Film, writer: VideoWriter, error: VideoError) -> None:
        """Give up a film and continue with the frames; the error is raised by `close`."""
        self._writers.remove((film, writer))
        writer.abort()
        self._film_errors.append(error)

    def close(self) -> None:
        """Wait until all files are written. Raises UserError if frames failed, VideoError if only films did."""
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
        with contextlib.suppress(OSError):  # it holds files of others
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
                writer.abort()
        if self.num_frames:
            error.add_note(self._place())

    def _place(self) -> str:
        """Return a note on the frames on the disk, which may be fewer than were handed over, and on what to do."""
        written = sum(1 for _ in self.frames_folder.glob(f"*{PICTURES[self.outputs.picture].suffix}"))
        note = f"frames finished: {written}, in {self.folder}"
        return note + (f"\na film from them: {command_line('film', self.folder)}" if written else "")
