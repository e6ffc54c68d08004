"""Running ffmpeg: its path and errors, frame counts, and a test for sound."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum import limits
from deforum.errors import UserError
from deforum.limits import PIXELS, Patience
from deforum.video.watchdog import Watchdog, kill, start
from deforum.video.whole import cut_off


class VideoError(UserError):
    """A video that cannot be made: unusable arguments, or a failure of ffmpeg's, with ffmpeg's own message."""


def ffmpeg_path() -> str:
    """Return the path of ffmpeg: variable IMAGEIO_FFMPEG_EXE, else imageio-ffmpeg's. Raises VideoError if missing."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(f"no ffmpeg: {error}. Install imageio-ffmpeg again, or set IMAGEIO_FFMPEG_EXE") from error


CONTAINERS: tuple[str, ...] = (
    # films
    "mov", "matroska", "avi", "flv", "mpeg", "mpegts", "asf", "ogg", "mxf", "nut", "ivf", "dv", "gif", "apng",
    "webp_anim", "yuv4mpegpipe", "h264", "hevc", "av1", "obu", "m4v", "mpegvideo", "vc1",
    # sound
    "wav", "w64", "mp3", "aac", "flac", "aiff", "caf", "ac3", "eac3", "dts", "amr", "au", "ape", "wv", "tta", "mpc",
    "mpc8", "loas",
)  # fmt: skip
"""ffmpeg's names of the containers that are read: they hold their pictures and sound themselves.

ffmpeg also draws texts and subtitles as pictures, and follows playlists to other files and to the network.
"""

REFUSED = "not a film or sound: a text, subtitles, a playlist, or another kind that is not read here"


def input_of(path: Path) -> list[str]:
    """Return ffmpeg's options for an input file: only that file, only a container in CONTAINERS, no giant frames."""
    return [
        "-protocol_whitelist", "file", "-format_whitelist", ",".join(CONTAINERS), "-max_pixels", str(PIXELS.most),
        "-i", f"file:{path}",
    ]  # fmt: skip


AT_ITS_TIMES = "aresample=async=1:first_pts=0"
"""Filter that fills the gaps of a sound, and the time before its first sample: samples stay at their times in the file.

A film's sound may begin after its pictures."""
QUIET = ("-hide_banner", "-loglevel", "error", "-y")


def last_words(stderr: bytes) -> str:
    """Return the first 12 distinct lines of ffmpeg's messages, indented: they name the cause, repeats follow."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    kept = list(dict.fromkeys(lines))[:12]
    return "\n".join(f"    {line}" for line in kept) or "    (it said nothing)"


@dataclass(frozen=True)
class Said:
    """What ffmpeg gave and said."""

    status: int
    out: str
    err: str


def listen(arguments: Sequence[str], doing: str, patience: Patience | None = None, file: Path | None = None) -> Said:
    """Run ffmpeg to its end. Raises VideoError where it does not start, or does nothing for too long.

    `doing` names the task. `file` is what it writes: while that grows, ffmpeg is alive.
    """
    with tempfile.TemporaryFile() as said:
        try:
            process = start(
                [ffmpeg_path(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            )  # fmt: skip
        except OSError as error:
            raise VideoError(f"ffmpeg does not start: {error}") from error
        dog = Watchdog(process, patience or limits.LOOKING, file)
        given: list[bytes] = []
        try:
            assert process.stdout is not None
            more = True
            while more:
                with dog.waiting():
                    chunk = os.read(process.stdout.fileno(), 1 << 16)
                given.append(chunk)
                more = bool(chunk)
            with dog.waiting():
                status = process.wait()
        finally:
            kill(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if dog.stopped_it:
            raise VideoError(dog.says(doing))
        said.seek(0)
        return Said(status, b"".join(given).decode(errors="replace"), said.read().decode(errors="replace"))


def run_ffmpeg(arguments: Sequence[str], doing: str, patience: Patience | None = None, file: Path | None = None) -> str:
    """Run ffmpeg to its end and return its stdout. Raises VideoError with ffmpeg's message; see `listen`."""
    said = listen([*QUIET, "-nostdin", *arguments], doing, patience, file)
    if said.status:
        raise VideoError(f"ffmpeg stopped with status {said.status} while {doing}:\n{last_words(said.err.encode())}")
    return said.out


def pipe_from(arguments: Sequence[str], doing: str, patience: Patience) -> Iterator[bytes]:
    """Run ffmpeg and yield what it writes to its stdout, as it comes. Stopping early stops ffmpeg.

    Raises VideoError where it does not start or does nothing for too long, and with its message where it fails.
    """
    with tempfile.TemporaryFile() as said:
        command = [ffmpeg_path(), *QUIET, "-nostdin", *arguments]
        try:
            process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            raise VideoError(f"ffmpeg does not start: {error}") from error
        dog = Watchdog(process, patience)
        assert process.stdout is not None
        try:
            while True:
                with dog.waiting():
                    chunk = process.stdout.read(1 << 20)
                if not chunk:
                    break
                yield chunk
            with dog.waiting():
                status = process.wait()
        finally:
            kill(process)
            process.wait()
            process.stdout.close()
        if dog.stopped_it:
            raise VideoError(dog.says(doing))
        if status:
            said.seek(0)
            raise VideoError(f"ffmpeg stopped with status {status} while {doing}:\n{last_words(said.read())}")


def sound_cut_off(path: Path) -> str:
    """Return what is missing of a sound file, as the end of a sentence; "" if nothing seems to be."""
    listed = listen(
        ["-hide_banner", "-nostdin", "-nostats", *input_of(path), "-map", "0:a:0", "-c", "copy", "-f", "framecrc", "-"],
        f"reading the sound of {path}",
    )
    base = re.search(r"^#tb 0: (\d+)/(\d+)", listed.out, re.MULTILINE)
    last = listed.out.rstrip().rpartition("\n")[2].split(",")
    if listed.status or base is None or len(last) < 4 or not int(base[2]):
        return ""
    seconds = (int(last[2]) + int(last[3])) * int(base[1]) / int(base[2])
    return cut_off(path, listed.err, seconds)


def count_frames(path: Path) -> int:
    """Count the pictures stored in a video file, without decoding them."""
    # framecrc lists one line per packet. (-progress does not work: ffmpeg 7.0 counts no frames with -c copy.)
    listed = run_ffmpeg(
        [*input_of(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"],
        f"counting the frames of {path}",
    )
    return sum(bool(line) and not line.startswith("#") for line in listed.splitlines())


def has_sound(path: Path) -> bool:
    """Return whether a file has a readable sound track."""
    try:
        run_ffmpeg([*input_of(path), "-map", "0:a:0", "-c", "copy", "-t", "0.1", "-f", "null", os.devnull], "looking")
    except VideoError:
        return False
    return True


def sound_seconds(path: Path, start: float, most: float) -> float:
    """Return how long the sound of a file goes on after `start`, in seconds, up to `most`; 0 if it has ended by then.

    Raises VideoError for a file without readable sound.
    """
    told = run_ffmpeg(
        ["-ss", f"{start:.6f}", "-t", f"{most:.6f}", *input_of(path), "-map", "0:a:0", "-c", "copy",
         "-progress", "pipe:1", "-f", "null", os.devnull],
        f"measuring the sound of {path}",
    )  # fmt: skip
    times = [line.partition("=")[2] for line in told.splitlines() if line.startswith("out_time_us=")]
    return int(times[-1]) / 1e6 if times and times[-1].lstrip("-").isdigit() else 0.0
