"""Running ffmpeg."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deforum.errors import UserError


class VideoError(UserError):
    """ffmpeg could not do what was asked; carries ffmpeg's own words."""


def ffmpeg_path() -> str:
    """Find ffmpeg: the variable IMAGEIO_FFMPEG_EXE, else the one that imageio-ffmpeg brings."""
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
    """Take the end of what ffmpeg said, indented: the first lines name the cause, repeats follow."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    kept = list(dict.fromkeys(lines))[:12]
    return "\n".join(f"    {line}" for line in kept) or "    (it said nothing)"


def run_ffmpeg(arguments: Sequence[str], doing: str) -> str:
    """Run ffmpeg to its end and return its stdout; VideoError with its own message where it fails."""
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
    # A line for each packet. (What -progress says will not do: ffmpeg 7.0 counts no frames where it only copies.)
    listed = run_ffmpeg(
        ["-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"],
        f"counting the frames of {path}",
    )
    return sum(bool(line) and not line.startswith("#") for line in listed.splitlines())


def has_sound(path: Path) -> bool:
    """Say whether a file has a sound track that can be read."""
    try:
        run_ffmpeg(["-i", str(path), "-map", "0:a:0", "-c", "copy", "-t", "0.1", "-f", "null", os.devnull], "looking")
    except VideoError:
        return False
    return True
