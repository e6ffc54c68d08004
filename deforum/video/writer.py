"""Writing video while frames are rendered, with the ffmpeg of imageio-ffmpeg.

A film is made in two steps. While rendering, ffmpeg encodes raw frames from a pipe into a *working file*
(`film.mp4.partial.mp4`) of a container that is playable at any length: fragmented mp4 or mov, Matroska. At the end it
is remuxed (GIF and WebP: encoded) into a file that starts quickly and seeks well, gets its sound, has its frames
counted, and only then takes its final name. So a file with the final name is always complete. If the renderer is
killed, ffmpeg sees the end of the pipe, encodes what it was given and leaves the working file playable; if ffmpeg dies
too, all but the last seconds are playable.

Convention: frames are (H, W, 3) RGB, uint8 or uint16 levels over the full range, sRGB. Formats of luma and chroma
store BT.709 in limited range, with the tags for it.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deforum import limits
from deforum.background import Background, queue_room
from deforum.errors import Problem
from deforum.models.transfer import Arriving
from deforum.paths import as_path
from deforum.profiling import WAITING, staged
from deforum.video.ffmpeg import (
    AT_ITS_TIMES,
    QUIET,
    VideoError,
    count_frames,
    ffmpeg_path,
    has_sound,
    input_of,
    last_words,
    run_ffmpeg,
)
from deforum.video.formats import FORMATS, MKV, Format, exact_fps
from deforum.video.tags import Chapter, add_comment, chapter_file, metadata_file
from deforum.video.watchdog import Watchdog, give_way, start

Pixels = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16


def frozen(pixels: Pixels | Arriving) -> Pixels | Arriving:
    """Return pixels as a read-only, contiguous array; an array that is both already is returned uncopied.

    Pixels on their way from a render device are returned as they are: nobody changes those.
    """
    if isinstance(pixels, Arriving):
        return pixels
    if not pixels.flags.writeable and pixels.flags.c_contiguous:
        return pixels
    copy = np.array(pixels, order="C")
    copy.flags.writeable = False
    return copy


def arrived(pixels: Pixels | Arriving) -> Pixels:
    """Return pixels; waits for those on their way from a render device. For the thread that writes them."""
    return pixels.pixels() if isinstance(pixels, Arriving) else pixels


def to_depth(pixels: Pixels, bits: int) -> Pixels:
    """Convert levels to 8 or 16 bits; 255 becomes 65535, and 16 bits are rounded to 8."""
    if bits == 16 and pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(257)
    if bits == 8 and pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels


@dataclass(frozen=True)
class Soundtrack:
    """Sound for a film: a file with a sound track, played from `start` seconds on and cut at the end of the film."""

    path: Path
    start: float = 0.0
    filters: tuple[str, ...] = ()
    """ffmpeg's filters that it passes through, such as atempo=0.5."""

    def check(self, format: str) -> None:
        """Raise VideoError where `format` has no sound, or the file is missing or has no readable sound."""
        if not FORMATS[format].audio:
            raise VideoError(f"{format} has no sound; leave the soundtrack out or choose another format")
        if not self.path.is_file():
            raise VideoError(f"{self.path}: no such sound file")
        if not has_sound(self.path):
            raise VideoError(f"{self.path}: no sound that can be read")


class VideoWriter:
    """Encode frames into a video file while they are rendered.

        with VideoWriter(Path("film.mp4"), width=512, height=512, fps=23.976) as video:
            for pixels in frames:  # (512, 512, 3) uint8 RGB
                video.write(pixels)

    `quality` is the codec's own number (h264: crf 0..51, lower is better, 17 by default), `preset` its trade-off of
    time and size. Frames are uint8 or uint16; formats with `bits` 16 keep more than 8 bits. Sizes that a format cannot
    store (odd ones, for 4:2:0) are padded at the right and bottom by repeating the last column and row. `comment` is
    a text of any length in the file's metadata; `tags.read_comment` reads it. `chapters`, in order, begin at frame 0;
    those after the last frame are left out, and formats without chapters have none.

    Leaving the block without an error completes the file: it has exactly the frames written, or VideoError is raised
    and the working file stays. An error in the block also completes it, with the frames so far; KeyboardInterrupt
    does not wait, and leaves the working file. Raises VideoError for unusable arguments before ffmpeg starts.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float | Fraction,
        *,
        format: str = "h264",
        quality: int | None = None,
        preset: str | None = None,
        soundtrack: Soundtrack | None = None,
        comment: str = "",
        chapters: Sequence[Chapter] = (),
    ) -> None:
        _check(path, width, height, fps, format, quality, preset, soundtrack)
        self.path = path
        self.working_path = as_path(path.with_name(f"{path.name}.partial{_working_suffix(FORMATS[format])}"))
        self.num_frames = 0
        self._format = FORMATS[format]
        self._name = format
        self._fps = exact_fps(fps)
        self._quality, self._preset = quality, preset
        self._soundtrack, self._comment, self._chapters = soundtrack, comment, chapters
        self._width, self._height = width, height
        self._ffmpeg: subprocess.Popen[bytes] | None = None
        self._dog: Watchdog | None = None
        self._feeder: Background[Pixels | Arriving] | None = None
        self._said: IO[bytes] | None = None
        self._metadata: Path | None = None

    def __enter__(self) -> VideoWriter:
        grid_w, grid_h = self._format.grid
        stored = (-(-self._width // grid_w) * grid_w, -(-self._height // grid_h) * grid_h)
        if self._comment:
            self._metadata = metadata_file(self._comment)
        metadata = (
            ("-f", "ffmetadata", "-i", str(self._metadata), "-map", "0:v", "-map_metadata", "1")
            if self._metadata
            else ()
        )
        command = [
            ffmpeg_path(), *QUIET,
            "-f", "rawvideo", "-pix_fmt", "rgb24" if self._format.bits == 8 else "rgb48le",
            "-video_size", f"{stored[0]}x{stored[1]}", "-framerate", str(self._fps), "-i", "pipe:0",
            *metadata, *_encoding(self._format, self._quality, self._preset),
            "-fps_mode", "passthrough", *self._format.working, str(self.working_path),
        ]  # fmt: skip
        self._said = tempfile.TemporaryFile()
        try:
            self._ffmpeg = start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said)
        except OSError as error:
            self._forget_metadata()
            raise VideoError(f"ffmpeg does not start: {error}") from error
        give_way(self._ffmpeg)  # on all cores it would slow the renderer down, which waits where it falls behind
        self._dog = Watchdog(self._ffmpeg, limits.ENCODING, self.working_path)
        room = queue_room(self._width * self._height * 3 * self._format.bits // 8)
        self._feeder = Background(self._feed, name=self.path.name, waiting=room)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self.abort()
            return
        try:
            self.close()
        except VideoError as second:
            if error is None:
                raise
            error.add_note(str(second))

    def write(self, pixels: Pixels | Arriving) -> None:
        """Queue the next frame: (H, W, 3) RGB. Raises VideoError if ffmpeg has stopped."""
        if pixels.shape != (self._height, self._width, 3) or pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"frame {self.num_frames} is {pixels.shape} {pixels.dtype}; "
                f"expected {(self._height, self._width, 3)} uint8 or uint16"
            )
        if self._feeder is None:
            raise ValueError("the video is not open: write inside `with VideoWriter(...)`")
        self._feeder.put(frozen(pixels))
        self.num_frames += 1

    @staged("write")
    def _feed(self, given: Pixels | Arriving) -> None:
        pixels = to_depth(arrived(given), self._format.bits)
        grid_w, grid_h = self._format.grid
        right, bottom = -self._width % grid_w, -self._height % grid_h
        if right or bottom:
            pixels = np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")
        assert self._ffmpeg is not None and self._ffmpeg.stdin is not None and self._dog is not None
        try:
            with self._dog.waiting():
                self._ffmpeg.stdin.write(np.ascontiguousarray(pixels).data)
        except OSError as error:  # the pipe broke: ffmpeg has ended, and its stderr has the cause
            raise self._failure() from error

    def close(self) -> None:
        """Finish the file. Raises VideoError where the film is incomplete; the working file then stays."""
        feeder, self._feeder = self._feeder, None
        if feeder is None:
            return
        assert self._ffmpeg is not None
        try:
            feeder.close()
        finally:
            status = self._end_of_frames()
        if status:
            raise self._failure()
        if self.num_frames:
            self._finish()
        self.working_path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Stop at once. ffmpeg completes the working file with the frames it has, by itself."""
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            feeder.abandon()
            # In a thread: the feeder may be inside a write that blocks, and closing would wait for it.
            threading.Thread(target=self._end_of_frames, daemon=True).start()

    def discard(self) -> None:
        """Stop at once, and leave nothing."""
        self.abort()
        with contextlib.suppress(OSError):  # Windows deletes no file that ffmpeg has open
            self.working_path.unlink(missing_ok=True)

    @staged(WAITING)
    def _end_of_frames(self) -> int:
        """Close the pipe and wait for ffmpeg to end; returns its exit status."""
        assert self._ffmpeg is not None and self._ffmpeg.stdin is not None and self._dog is not None
        with self._dog.waiting():
            with contextlib.suppress(OSError):  # ffmpeg has ended; its status shows it
                self._ffmpeg.stdin.close()
            status = self._ffmpeg.wait()
        self._forget_metadata()
        return status

    def _forget_metadata(self) -> None:
        if self._metadata is not None:
            self._metadata.unlink(missing_ok=True)

    def _failure(self) -> VideoError:
        assert self._ffmpeg is not None and self._said is not None
        status = self._ffmpeg.wait()
        self._said.seek(0)
        rest = f"\n  The film as far as it got: {self.working_path}" if _is_filled(self.working_path) else ""
        doing = f"encoding {self.path} as {self._name}"
        stopped = f"ffmpeg stopped with status {status} while {doing}"
        why = self._dog.says(doing) if self._dog is not None and self._dog.stopped_it else stopped
        return VideoError(f"{why}:\n{last_words(self._said.read())}{rest}")

    @staged("write")
    def _finish(self) -> None:
        finishing = self.path.with_name(f"{self.path.stem}.finishing{self.path.suffix}")
        row, fps = self._format, self._fps
        seconds = float(Fraction(self.num_frames) / fps)
        sound: list[str] = []
        sound_input: list[str] = []
        if self._soundtrack is not None:
            sound_input = ["-ss", f"{self._soundtrack.start:.6f}", *input_of(self._soundtrack.path)]
            # The sound is cut by a filter, because -t acts on the film too and its rounded times may drop a frame.
            passing = ",".join(
                [AT_ITS_TIMES, *self._soundtrack.filters, f"atrim=end={seconds:.6f}", "asetpts=PTS-STARTPTS"]
            )
            sound = ["-map", "1:a:0", "-af", passing, *row.audio]
        # Matroska rounds times to milliseconds: where frames are encoded again, the exact rate is passed again.
        again = "copy" not in row.finish
        video = () if "-filter_complex" in row.finish else ("-map", "0:v:0")
        quality = _quality_options(row, self._quality) if row.quality_at_end else []
        chapters = [chapter for chapter in self._chapters if chapter.frame < self.num_frames] if row.chapters else []
        marks: Path | None = None
        marked: list[str] = []
        try:
            if len(chapters) > 1:
                marks = chapter_file(chapters, self.num_frames, fps)
                marked = ["-f", "ffmetadata", "-i", str(marks), "-map_chapters", "2" if sound_input else "1"]
            run_ffmpeg(
                [
                    *(("-r", str(fps)) if again else ()), "-i", str(self.working_path), *sound_input, *marked,
                    *video, *row.finish, *quality, *sound,
                    "-fps_mode", "passthrough", "-f", row.muxer, str(finishing),
                ],
                f"completing {self.path}", limits.ENCODING, finishing,
            )  # fmt: skip
            found = count_frames(finishing) if row.countable else self.num_frames
            if found != self.num_frames:
                raise VideoError(f"{self.path}: {self.num_frames} frames went in, {found} came out")
            if self._comment:
                add_comment(finishing, self._comment)
            finishing.replace(self.path)
        except (VideoError, OSError) as error:
            finishing.unlink(missing_ok=True)
            raise VideoError(f"{error}\n  The film without this last step: {self.working_path}") from error
        finally:
            if marks is not None:
                marks.unlink(missing_ok=True)


def _quality_options(row: Format, quality: int | None) -> list[str]:
    if row.quality is None:
        return []
    return [row.quality.option, str(row.quality.default if quality is None else quality)]


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _working_suffix(row: Format) -> str:
    return ".mkv" if row.working is MKV else row.suffix


def _encoding(row: Format, quality: int | None, preset: str | None) -> list[str]:
    """Return ffmpeg's options to encode RGB frames into the working file."""
    options: list[str] = []
    if row.pixels.startswith("yuv"):
        # Both the scaler and the tags must have the matrix: one without the other shifts the colours.
        options += [
            "-vf",
            "scale=in_range=pc:out_range=tv:out_color_matrix=bt709:flags=bicubic+accurate_rnd+full_chroma_int,"
            f"format={row.pixels},setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
            "-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
        ]  # fmt: skip
    options += ["-pix_fmt", row.pixels, *row.encoder]
    if row.presets:
        chosen = preset or row.presets[0]
        options += ["-preset", chosen, *(row.beside if chosen == row.presets[0] else ())]
    if not row.quality_at_end:
        options += _quality_options(row, quality)
    return options


def _check(
    path: Path,
    width: int,
    height: int,
    fps: float | Fraction,
    format: str,
    quality: int | None,
    preset: str | None,
    soundtrack: Soundtrack | None,
) -> None:
    """Raise VideoError with all arguments that cannot work."""
    row = FORMATS.get(format)
    if row is None:
        raise VideoError(f"{format!r} is no video format; expected one of {', '.join(FORMATS)}")
    wrong: list[str] = []
    if path.suffix.lower() != row.suffix:
        wrong.append(f"{path.name}: {format} is stored in a file ending in {row.suffix}")
    if not path.parent.is_dir():
        wrong.append(f"{path.parent}: no such folder")
    if not (1 <= width <= row.largest and 1 <= height <= row.largest):
        wrong.append(f"{format} cannot store {width}x{height}; expected sides from 1 to {row.largest} px")
    if not 0 < fps <= row.max_fps:
        wrong.append(f"fps is {fps}; {format} can show more than 0 and up to {row.max_fps} frames a second")
    if quality is not None:
        if row.quality is None:
            wrong.append(f"{format} has no quality setting; {quality} was asked for")
        elif not row.quality.lowest <= quality <= row.quality.highest:
            wrong.append(f"quality {quality}: {format} knows {row.quality.lowest} to {row.quality.highest}")
    if preset is not None and preset not in row.presets:
        known = ", ".join(sorted(row.presets)) or "none"
        wrong.append(f"{preset!r} is no preset of {format}; it has: {known}")
    problems = [Problem(line) for line in wrong]
    if soundtrack is not None:
        try:
            soundtrack.check(format)
        except VideoError as error:
            problems += error.problems
    if problems:
        raise VideoError(problems)


def probe(
    format: str = "h264",
    width: int = 64,
    height: int = 64,
    fps: float | Fraction = 24,
    *,
    quality: int | None = None,
    preset: str | None = None,
) -> None:
    """Encode one black frame, so that a missing encoder or an impossible size fails before rendering.

    Raises VideoError with ffmpeg's own message.
    """
    suffix = FORMATS[format].suffix if format in FORMATS else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"probe{suffix}"
        with VideoWriter(path, width, height, fps, format=format, quality=quality, preset=preset) as video:
            video.write(np.zeros((height, width, 3), np.uint8))
