"""Running ffmpeg: its path and errors, frame counts, and a test for sound."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deforum.errors import UserError


class VideoError(UserError):
    """A video that cannot be made: unusable arguments, or a failure of ffmpeg's, with ffmpeg's own message."""


def ffmpeg_path() -> str:
    """Return the path of ffmpeg: variable IMAGEIO_FFMPEG_EXE, else imageio-ffmpeg's. Raises VideoError if missing."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(f"no ffmpeg: {error}. Install imageio-ffmpeg again, or set IMAGEIO_FFMPEG_EXE") from error


# A terminal sends Ctrl-C to the whole process group: ffmpeg must not be in ours, or the film ends before its frames do.
OWN_GROUP: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if os.name == "nt"
    else {"start_new_session": True}
)

QUIET = ("-hide_banner", "-loglevel", "error", "-y")


def last_words(stderr: bytes) -> str:
    """Return the first 12 distinct lines of ffmpeg's messages, indented: they name the cause, repeats follow."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    kept = list(dict.fromkeys(lines))[:12]
    return "\n".join(f"    {line}" for line in kept) or "    (it said nothing)"


def run_ffmpeg(arguments: Sequence[str], doing: str) -> str:
    """Run ffmpeg to its end and return its stdout. Raises VideoError with ffmpeg's message; `doing` names the task."""
    command = [ffmpeg_path(), *QUIET, "-nostdin", *arguments]
    try:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, capture_output=True, check=False, stdin=subprocess.DEVNULL, **OWN_GROUP
        )
    except OSError as error:
        raise VideoError(f"ffmpeg does not start: {error}") from error
    if done.returncode:
        raise VideoError(f"ffmpeg stopped with status {done.returncode} while {doing}:\n{last_words(done.stderr)}")
    return done.stdout.decode(errors="replace")


def count_frames(path: Path) -> int:
    """Count the pictures stored in a video file, without decoding them."""
    # framecrc lists one line per packet. (-progress does not work: ffmpeg 7.0 counts no frames with -c copy.)
    listed = run_ffmpeg(
        ["-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"],
        f"counting the frames of {path}",
    )
    return sum(bool(line) and not line.startswith("#") for line in listed.splitlines())


def has_sound(path: Path) -> bool:
    """Return whether a file has a readable sound track."""
    try:
        run_ffmpeg(["-i", str(path), "-map", "0:a:0", "-c", "copy", "-t", "0.1", "-f", "null", os.devnull], "looking")
    except VideoError:
        return False
    return True


def sound_seconds(path: Path, start: float, most: float) -> float:
    """Return how long the sound of a file goes on after `start`, in seconds, up to `most`; 0 if it has ended by then.

    Raises VideoError for a file without readable sound.
    """
    told = run_ffmpeg(
        ["-ss", f"{start:.6f}", "-t", f"{most:.6f}", "-i", str(path), "-map", "0:a:0", "-c", "copy",
         "-progress", "pipe:1", "-f", "null", os.devnull],
        f"measuring the sound of {path}",
    )  # fmt: skip
    times = [line.partition("=")[2] for line in told.splitlines() if line.startswith("out_time_us=")]
    return int(times[-1]) / 1e6 if times and times[-1].lstrip("-").isdigit() else 0.0
