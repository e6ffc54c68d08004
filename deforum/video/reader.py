"""An open clip: frames are decoded ahead in a thread beside the renderer, with only a few of them in memory."""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import subprocess
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deforum import limits
from deforum.errors import UserError
from deforum.pixels.files import decode
from deforum.profiling import WAITING, count, each, in_context, stage
from deforum.video.ffmpeg import ffmpeg_path, input_of, last_words
from deforum.video.find import ClipError, ClipSource, Fit, VideoFile, fit_into, resolve_clip
from deforum.video.watchdog import Watchdog, kill, start
from schedules.quoting import printable

if TYPE_CHECKING:
    from deforum.pixels.image import Device, Image, Mask

Levels = NDArray[np.uint8]
"""(H, W, 3) RGB or (H, W, 4) RGBA levels; alpha is straight (not premultiplied)."""

Depth = TypeVar("Depth", bound=np.unsignedinteger[Any])

KEPT = 4
"""Frames kept after decoding, including the newest."""
_AHEAD = 16
_AHEAD_BYTES = 48 * 2**20
_SKIP = 32
"""Farthest frame ahead that is reached by decoding on; beyond it the clip is opened again."""
_MARGIN = 2.0
"""Seconds before the wanted frame to which the file is sought."""

_log = logging.getLogger(__name__)


def open_clip(source: ClipSource, width: int, height: int, *, fit: Fit = "fill", device: Device | None = None) -> Clip:
    """Open a clip for frames of width x height px on a device (None: the CPU). Reading starts with the first frame."""
    return Clip(source, width, height, fit=fit, device=device)


class Clip:
    """A clip at one size: `clip(t)` is its picture for frame t of the animation.

        with open_clip(resolve_clip("walk.mp4", nth=2), 512, 512) as clip:
            for t in range(len(clip)):
                picture = clip(t)  # (3, 512, 512)

    Frames may be asked for in any order. Forward, a thread decodes them ahead; the last few are kept; a jump back opens
    the clip again. Memory does not grow with the clip. Not thread-safe.
    Raises ClipError where ffmpeg cannot decode; a clip that ends early holds its last frame, with a warning.
    """

    def __init__(
        self, source: ClipSource, width: int, height: int, *, fit: Fit = "fill", device: Device | None = None
    ) -> None:
        self.source, self.width, self.height, self.fit = source, width, height, fit
        self._device = device
        self._kept: OrderedDict[int, tuple[Image, Mask | None]] = OrderedDict()
        self._ahead: _Ahead | None = None
        self._next = 0
        """Index, among the frames used, of the next frame from `_ahead`."""

    def __len__(self) -> int:
        """Return the number of frames used, before the clip is held or looped."""
        return len(self.source)

    def __call__(self, t: int) -> Image:
        """Return the picture (3, H, W) of frame t; do not modify it. Raises IndexError where the clip has none."""
        return self._frame(t)[0]

    def alpha(self, t: int) -> Mask | None:
        """Return the alpha of frame t, (H, W): 0 transparent, 1 opaque. None for a clip without an alpha channel."""
        return self._frame(t)[1] if self.source.alpha else None

    def close(self) -> None:
        """Stop decoding ahead; a later call for a frame opens the clip again."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> Clip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _frame(self, t: int) -> tuple[Image, Mask | None]:
        where = self.source.stored(t)
        if where not in self._kept:
            self._seek(where)
            while where not in self._kept:
                self._read_one()
        return self._kept[where]

    def _seek(self, where: int) -> None:
        """Start decoding at a frame, unless decoding on reaches it within _SKIP frames."""
        count = len(self.source)
        distance = (where - self._next) % count if self.source.end == "loop" else where - self._next
        if self._ahead is None or not 0 <= distance <= _SKIP:
            self.close()
            self._ahead = _Ahead(frames_from(self.source, where, self.width, self.height, self.fit), self._room())
            weakref.finalize(self, self._ahead.close)
            self._next = where

    def _room(self) -> int:
        return max(2, min(_AHEAD, _AHEAD_BYTES // (self.width * self.height * 4)))

    def _read_one(self) -> None:
        from deforum.pixels.image import CPU, from_bytes

        assert self._ahead is not None
        levels = self._ahead.get()
        device = self._device or CPU
        image, alpha = from_bytes(levels[..., :3], device), None
        if self.source.alpha:
            alpha = from_bytes(levels[..., 3:], device)[0].contiguous()
        self._kept[self._next] = image, alpha
        self._kept.move_to_end(self._next)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self._next += 1
        if self.source.end == "loop":
            self._next %= len(self.source)


# --- reading ahead ----------------------------------------------------------------------------------------------------


class _Ahead:
    """Run an iterator of frames in a thread; its queue holds at most `room` frames."""

    def __init__(self, frames: Iterator[Levels], room: int) -> None:
        self._line: queue.Queue[Levels | BaseException] = queue.Queue(room)
        self._stopped = threading.Event()
        threading.Thread(target=in_context(self._run), args=(frames,), name="clip", daemon=True).start()

    def _run(self, frames: Iterator[Levels]) -> None:
        try:
            with closing(frames):  # type: ignore[type-var]  # it is a generator
                for levels in each("source", frames):
                    self._line.put(levels)
                    count("clip", self._line.qsize())
                    if self._stopped.is_set():
                        return
            self._line.put(StopIteration())
        except BaseException as error:
            self._line.put(error)

    def get(self) -> Levels:
        """Wait for the next frame, (H, W, 3) or (H, W, 4). Raises the iterator's exceptions."""
        with stage(WAITING):
            got = self._line.get()
        if isinstance(got, BaseException):
            raise got
        return got

    def close(self) -> None:
        """Stop the thread without waiting for it: emptying the queue unblocks its `put`, then it sees the flag."""
        self._stopped.set()
        while True:
            try:
                self._line.get_nowait()
            except queue.Empty:
                return


# --- decoding ---------------------------------------------------------------------------------------------------------


def frames_from(source: ClipSource, where: int, width: int, height: int, fit: Fit) -> Iterator[Levels]:
    """Decode the frames used, from number `where` on; a looped clip continues with the first one, endlessly."""
    yield from _to_the_end(source, where, width, height, fit)
    if source.end == "loop":
        again = functools.partial(_to_the_end, source, 0, width, height, fit)
        if len(source) * width * height * 4 <= _AHEAD_BYTES:
            yield from itertools.cycle(again())  # a short clip is kept whole
        while True:
            yield from again()


def _to_the_end(source: ClipSource, where: int, width: int, height: int, fit: Fit) -> Iterator[Levels]:
    picks = source.picks[where:]
    if isinstance(source.media, VideoFile):
        yield from _video_frames(source.media, picks, width, height, fit)
    else:
        for pick in picks:
            yield read_picture(source.media.paths[pick], width, height, fit, alpha=source.alpha)


def read_picture(path: Path, width: int, height: int, fit: Fit, *, alpha: bool) -> Levels:
    """Read a picture file, fitted to width x height px (area averaging down, Lanczos up): (H, W, 3), or (H, W, 4).

    With `alpha` a picture without an alpha channel is opaque; bars are transparent. Raises ClipError where the file
    cannot be read.
    """
    import cv2

    try:
        levels = decode(path, unchanged=alpha)
    except UserError as error:
        raise ClipError(error.problems) from None
    if alpha:
        if levels.dtype == np.uint16:
            levels = cv2.convertScaleAbs(levels, alpha=1 / 257)
        if levels.ndim == 2:
            levels = cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR)
        opaque = levels.shape[2] == 3
        levels = cv2.cvtColor(levels, cv2.COLOR_BGR2RGBA if opaque else cv2.COLOR_BGRA2RGBA)
    else:
        levels = cv2.cvtColor(levels, cv2.COLOR_BGR2RGB)
    return fit_picture(np.asarray(levels, np.uint8), width, height, fit)


def fit_picture(levels: NDArray[Depth], width: int, height: int, fit: Fit) -> NDArray[Depth]:
    """Fit a picture (H, W, C), uint8 or uint16, to width x height px: area averaging down, Lanczos up."""
    import cv2

    at = fit_into((levels.shape[1], levels.shape[0]), (width, height), fit)
    if levels.shape[:2] != (at.height, at.width):
        shrinks = levels.shape[0] >= at.height and levels.shape[1] >= at.width
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
        levels = np.asarray(cv2.resize(levels, (at.width, at.height), interpolation=way), levels.dtype)
    if levels.shape[:2] == (height, width):
        return levels
    frame = np.zeros((height, width, levels.shape[2]), levels.dtype)
    left, top = max(at.x, 0), max(at.y, 0)
    seen = levels[max(-at.y, 0) :, max(-at.x, 0) :][: height - top, : width - left]
    frame[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return frame


def _video_frames(film: VideoFile, picks: NDArray[np.intp], width: int, height: int, fit: Fit) -> Iterator[Levels]:
    """Decode the stored frames `picks` (ascending, possibly repeated) of a video; the last is held if it ends early."""
    steps = np.unique(np.diff(picks))
    stride = int(steps[0]) if len(steps) == 1 and steps[0] > 0 else 1
    channels = 4 if film.alpha else 3
    with _Decoder(_decoding(film, int(picks[0]), stride, width, height, fit), film.path) as decoder:
        number, levels = int(picks[0]) - stride, None
        for done, pick in enumerate(picks):
            while number < pick:
                got = decoder.read((height, width, channels))
                if got is None:
                    if levels is None:
                        raise ClipError(f"{film.path}: ffmpeg gives no frame {pick}:\n{decoder.last_words()}")
                    says = f"{film.path}: {len(film.times)} frames were expected, but it ends at frame {number}"
                    _log.warning("%s", printable(f"{says}, which is held\n{decoder.last_words()}"))
                    yield from [levels] * (len(picks) - done)
                    return
                number, levels = number + stride, got
            assert levels is not None
            yield levels


class _Decoder:
    """A running ffmpeg that gives raw frames; leaving the block stops it."""

    def __init__(self, command: list[str], path: Path) -> None:
        self.path = path
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        try:
            self._process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said)
        except OSError as error:
            self._said.close()
            raise ClipError(f"ffmpeg does not start: {error}") from error
        self._dog = Watchdog(self._process, limits.DECODING)
        self._count = 0

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *error: object) -> None:
        kill(self._process)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def read(self, shape: tuple[int, ...]) -> Levels | None:
        """Read one frame; None at the end. Raises ClipError where ffmpeg does nothing for too long."""
        assert self._process.stdout is not None
        levels = np.empty(shape, np.uint8)
        with self._dog.waiting():
            # (readinto on a buffered pipe fills the whole array, or reaches the end of the stream.)
            got = self._process.stdout.readinto(levels.data.cast("B"))  # type: ignore[attr-defined]
        if self._dog.stopped_it:
            raise ClipError(self._dog.says(f"decoding {self.path}"))
        return levels if got == levels.nbytes else None

    def last_words(self) -> str:
        """Return ffmpeg's messages at its end, and the signal that ended it, if one did."""
        status = self._process.wait()
        self._said.seek(0)
        words = last_words(self._said.read())
        return f"    (ffmpeg was ended by signal {-status})\n{words}" if status < 0 else words


def grey_frames(path: Path, name: str) -> Iterator[NDArray[np.uint16]]:
    """Decode all frames of a video in order, in 16-bit grey and at their own size: (H, W). Raises ClipError."""
    film = resolve_clip(path, name=name).media
    assert isinstance(film, VideoFile)
    command = [
        ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-nostdin", *input_of(path), "-map", "0:V:0",
        "-vf", f"scale={film.width}:{film.height}", "-fps_mode", "passthrough", "-f", "rawvideo",
        "-pix_fmt", "gray16le", "pipe:1",
    ]  # fmt: skip
    with _Decoder(command, path) as decoder:
        found = False
        while (levels := decoder.read((film.height, film.width * 2))) is not None:
            found = True
            yield levels.view("<u2")
        if not found:
            raise ClipError(f"{name}: {path}: no frame of this video can be read:\n{decoder.last_words()}")


def _decoding(film: VideoFile, start: int, stride: int, width: int, height: int, fit: Fit) -> list[str]:
    """Return the ffmpeg command that decodes every `stride`-th stored frame from `start` on as raw RGB or RGBA."""
    chosen, seek = [], []
    if start:
        # Halfway between the times of two frames; -copyts keeps the file's times.
        chosen.append(f"select='gte(t,{(film.times[start - 1] + film.times[start]) / 2:.9f})'")
        if film.seekable and film.times[start] - film.times[0] > 2 * _MARGIN:
            seek = ["-seek_timestamp", "1", "-noaccurate_seek", "-ss", f"{film.times[start] - _MARGIN:.6f}"]
    if stride > 1:
        chosen.append(f"select='not(mod(n,{stride}))'")
    at = fit_into((film.width, film.height), (width, height), fit)
    shrinks = film.width >= at.width and film.height >= at.height
    # Area averaging down, Lanczos up, as in `image.read`. Without full_chroma_int RGB is two levels too dark.
    flags = f"{'area' if shrinks else 'lanczos'}+accurate_rnd+full_chroma_int"
    matrix = f":in_color_matrix={film.matrix}" if film.matrix else ""
    pixels = "rgba" if film.alpha else "rgb24"
    fitted = [f"scale={at.width}:{at.height}:flags={flags}{matrix}", f"format={pixels}"]
    if at.x < 0 or at.y < 0:
        fitted.append(f"crop={width}:{height}:{max(-at.x, 0)}:{max(-at.y, 0)}")
    if (at.x > 0 or at.y > 0) and fit == "fit":
        fitted.append(f"pad={width}:{height}:{max(at.x, 0)}:{max(at.y, 0)}:color=black@0")
    return [
        ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-nostdin", "-copyts", *seek,
        *(["-c:v", film.decoder] if film.decoder else []), *input_of(film.path), "-map", "0:V:0",
        "-vf", ",".join([*chosen, *fitted]), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "pipe:1",
    ]  # fmt: skip
