"""Frames through a filter of ffmpeg's."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deforum import limits
from deforum.profiling import in_context
from deforum.video.ffmpeg import QUIET, VideoError, ffmpeg_path, last_words
from deforum.video.watchdog import Watchdog, kill, start


def filtered(
    frames: Iterator[NDArray[np.uint16]], width: int, height: int, filter: str
) -> Iterator[NDArray[np.uint16]]:
    """Yield frames (H, W, 3), 16 bits RGB, as a filter that gives one for each makes them. Raises VideoError."""
    command = [
        ffmpeg_path(), *QUIET, "-f", "rawvideo", "-pix_fmt", "rgb48le", "-video_size", f"{width}x{height}",
        "-framerate", "25", "-i", "pipe:0", "-vf", filter, "-fps_mode", "passthrough", "-f", "rawvideo",
        "-pix_fmt", "rgb48le", "pipe:1",
    ]  # fmt: skip
    errors: list[BaseException] = []
    with tempfile.TemporaryFile() as said:
        try:
            process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            raise VideoError(f"ffmpeg does not start: {error}") from error
        dog = Watchdog(process, limits.DECODING)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def feed() -> None:
            try:
                for pixels in frames:
                    stdin.write(np.ascontiguousarray(pixels).data)
            except (BrokenPipeError, ValueError):
                return  # ffmpeg has ended, and its messages say why; or its frames are not wanted any more
            except BaseException as error:
                errors.append(error)
            finally:
                with contextlib.suppress(OSError):
                    stdin.close()

        threading.Thread(target=in_context(feed), name="filter", daemon=True).start()
        try:
            while True:
                pixels = np.empty((height, width, 3), np.uint16)
                with dog.waiting():
                    got = stdout.readinto(pixels.data.cast("B"))  # type: ignore[attr-defined]
                if got != pixels.nbytes:
                    break
                yield pixels
            if errors:
                raise errors[0]
            if process.wait():
                said.seek(0)
                why = dog.says("filtering frames") if dog.stopped_it else "ffmpeg stopped while filtering frames"
                raise VideoError(f"{why}:\n{last_words(said.read())}")
        finally:
            kill(process)
            process.wait()
            stdout.close()
