"""The comment in a film's container, in which a film carries the settings it was rendered with.

ffmpeg's metadata files have no limit on length, unlike its command line. mp4, mov, Matroska and WebM store the comment
as a tag; GIF and WebP get it from `deforum.metadata`, as ffmpeg writes none there.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from deforum.metadata import SETTINGS, gif, read_texts, webp
from deforum.metadata.limits import LONGEST
from deforum.video.ffmpeg import ffmpeg_path

_SPECIAL = re.compile(r"([=;#\\\n])")
_COMMENT = re.compile(r"(?im)^comment=((?:\\(?:.|\n)|[^\\\n])*)")
_DEMUXERS = ((4, b"ftyp", "mov"), (0, b"\x1a\x45\xdf\xa3", "matroska"))
"""Films by a few of their first bytes: offset, bytes, ffmpeg's name of the demuxer."""


def metadata_file(comment: str) -> Path:
    """Write a metadata file of ffmpeg's with a comment into the folder for temporary files; the caller deletes it."""
    return _temporary(";FFMETADATA1\ncomment=" + _SPECIAL.sub(r"\\\1", comment) + "\n")


def _temporary(text: str) -> Path:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", errors="replace", newline="\n", suffix=".ffmetadata", delete=False
    ) as file:
        file.write(text)
    return Path(file.name)


@dataclass(frozen=True)
class Chapter:
    """A mark in a film, from a frame to the next chapter."""

    frame: int
    title: str


def chapter_file(chapters: Sequence[Chapter], num_frames: int, fps: Fraction) -> Path:
    """Write a metadata file of ffmpeg's with the chapters of a film, at exact frames; the caller deletes it."""
    lines = [";FFMETADATA1"]
    ends = [chapter.frame for chapter in chapters[1:]]
    for chapter, end in zip(chapters, [*ends, num_frames], strict=True):
        title = _SPECIAL.sub(r"\\\1", chapter.title)
        times = f"START={chapter.frame}\nEND={min(end, num_frames)}"
        lines.append(f"[CHAPTER]\nTIMEBASE={fps.denominator}/{fps.numerator}\n{times}\ntitle={title}")
    return _temporary("\n".join(lines) + "\n")


def add_comment(path: Path, comment: str) -> None:
    """Add a comment to a GIF or animated WebP file in place."""
    if path.suffix == ".gif":
        gif.label_file(path, comment)
    elif path.suffix == ".webp":
        webp.label_file(path, {SETTINGS: comment})


def demuxer_of(head: bytes) -> str | None:
    """Return ffmpeg's demuxer for a film that begins with `head` (12 bytes or more); None for other files."""
    return next((name for at, begins, name in _DEMUXERS if head[at:].startswith(begins)), None)


def read_comment(path: Path) -> str | None:
    """Return the comment of a film, "" if it has none; None if the file is no mp4, mov, Matroska, WebM, GIF or WebP.

    Comments longer than LONGEST are cut. Raises UserError where the file cannot be read.
    """
    with path.open("rb") as file:
        demuxer = demuxer_of(file.read(12))
    if demuxer is None:
        texts = read_texts(path)
        return None if texts is None else texts.get(SETTINGS, texts.get("comment", ""))
    # The demuxer is named, so that a file which only looks like a film cannot lead ffmpeg to other files.
    command = [
        ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-nostdin", "-f", demuxer, "-i", str(path),
        "-f", "ffmetadata", "pipe:1",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as ffmpeg:
        assert ffmpeg.stdout is not None
        listed = ffmpeg.stdout.read(2 * LONGEST).decode(errors="replace")
        ffmpeg.kill()
    found = _COMMENT.search(listed)
    return re.sub(r"\\(.|\n)", r"\1", found[1]) if found else ""
