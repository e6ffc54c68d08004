"""From a sound file to a `Sound`, once for all runs: what was heard is kept in a cache, by the file's digest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from deforum.audio.beats import accents_of, find_beats, onset_strength
from deforum.audio.cache import Arrays, kept
from deforum.audio.decode import SoundError, decode
from deforum.audio.sections import Section, find_sections
from deforum.audio.sound import Sound
from deforum.audio.spectra import BANDS, analyse
from deforum.models.digest import digest_of_file
from deforum.paths import is_file
from schedules.quoting import quote


def hear(path: Path) -> Sound:
    """Analyse a sound file, or the sound of a film. Takes about 0.6 s for a minute the first time.

    Raises SoundError where it is missing or has no sound that can be read.
    """
    if not is_file(path):
        raise SoundError(f"there is no file {quote(path)}")
    facts = path.stat()
    return _hear(path.resolve(), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _hear(path: Path, mtime: int, size: int) -> Sound:
    """`mtime` and `size` are part of the cache's key."""
    digest = digest_of_file(path)
    if not digest:
        raise SoundError(f"{path}: cannot be read")
    return _sound(path, digest, kept(digest, lambda: _analysed(path)))


def _analysed(path: Path) -> Arrays:
    spectra = analyse(decode(path))
    onset, parts = onset_strength(spectra.onset_bands)
    beats = find_beats(spectra.onset_bands)
    sections = find_sections(spectra, beats)
    strong = float(np.quantile(onset[onset > 0.02], 0.98)) if (onset > 0.02).any() else 1.0
    return {
        "seconds": np.array(spectra.seconds),
        "envelope": spectra.envelope,
        **{f"level {name}": level for name, level in spectra.levels.items()},
        "onset": np.minimum(onset / strong, 1).astype(np.float32),
        "beats": beats,
        "accents": accents_of(beats, parts, spectra.harmony),
        "section times": np.array([(each.start, each.end) for each in sections]),
        "section labels": np.array([each.label for each in sections]),
    }


def _sound(path: Path, digest: str, arrays: Arrays) -> Sound:
    labels = [str(label) for label in arrays["section labels"]]
    return Sound(
        path=path,
        digest=digest,
        seconds=float(arrays["seconds"]),
        envelope=arrays["envelope"],
        levels={name: arrays[f"level {name}"] for name in BANDS},
        onset=arrays["onset"],
        beats=arrays["beats"],
        accents=arrays["accents"],
        sections=tuple(
            Section(float(start), float(end), label)
            for (start, end), label in zip(arrays["section times"], labels, strict=True)
        ),
    )
