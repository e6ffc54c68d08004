"""Whether a film or sound file is all there: what its header says against what was found."""

from __future__ import annotations

import re
from pathlib import Path

_COMPLAINTS = re.compile(r"partial file|ended prematurely|Truncat|truncat|filesize and duration do not match")
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d\.\d+)")
_SLACK = 0.5
"""Seconds that a header may be wrong by."""


def cut_off(path: Path, said: str, seconds: float) -> str:
    """Return what is missing of a file, as the end of a sentence; "" if nothing seems to be.

    `said` are ffmpeg's messages on it, `seconds` what it found.
    """
    told = _DURATION.search(said)
    expected = int(told[1]) * 3600 + int(told[2]) * 60 + float(told[3]) if told else 0.0
    if seconds < expected - max(_SLACK, 0.05 * expected):
        return f"is cut off: its header says {expected:.1f} s, and {seconds:.1f} s are there"
    if _COMPLAINTS.search(said) or _ends_early(path):
        return f"is cut off: {seconds:.1f} s are there, and its header says more"
    return ""


def _ends_early(path: Path) -> bool:
    """Whether a RIFF file (WAV, AVI) is shorter than its own header says, or an Ogg file lacks its last page."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] in (b"WAVE", b"AVI "):
            stated = int.from_bytes(head[4:8], "little")
            return stated not in (0, 0xFFFFFFFF) and stated + 8 > size + 1  # those two: written to a pipe
        if head[:4] == b"OggS":
            file.seek(max(size - (1 << 17), 0))
            page = file.read()
            last = page.rfind(b"OggS")
            return last < 0 or last + 5 >= len(page) or not page[last + 5] & 4
    return False
