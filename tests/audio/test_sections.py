"""Sections of synthetic songs: F1 of at least 0.8 within a second."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.songs import Part, Song, Style, compose
from deforum.audio.beats import find_beats
from deforum.audio.sections import Section, find_sections
from deforum.audio.spectra import analyse

VERSE = Part(6, "kick hats bass pad", (0, 1, 2, 3))
CHORUS = Part(8, "kick snare hats bass pad tune", (2, 3, 0, 1))
BREAK = Part(6, "pad tune", (4, 5, 4, 3), bright=0.5)


def f1(found: tuple[Section, ...], song: Song) -> float:
    starts = np.array([section.start for section in found[1:]])
    if not len(starts):
        return 0.0
    hit = (np.abs(starts[None] - song.sections[:, None]).min(axis=1) <= 1).sum()
    return float(2 * hit / (len(starts) + len(song.sections)))


@pytest.mark.parametrize(
    ("parts", "bpm"),
    [
        ((VERSE, CHORUS, VERSE, CHORUS), 124),
        ((Part(4, "pad"), VERSE, BREAK, CHORUS), 150),
        ((Part(8, "kick snare hats bass pad"), Part(8, "kick snare hats bass pad", (4, 5, 0, 2), key=60)), 132),
    ],
    ids=["verse and chorus", "with a break", "other chords alone"],
)
def test_sections(parts: tuple[Part, ...], bpm: float) -> None:
    song = compose(parts, bpm, Style(seed=6))
    spectra = analyse([song.samples])
    found = find_sections(spectra, find_beats(spectra.onset_bands))
    assert f1(found, song) >= 0.8
    assert found[0].start == 0 and found[-1].end == spectra.seconds
    assert all(one.end == other.start for one, other in pairwise(found))


def test_one_section_where_nothing_changes() -> None:
    tone = np.sin(np.arange(44_100 * 20) * 0.05).astype(np.float32)[:, None]
    assert [section.label for section in find_sections(analyse([tone]), np.zeros(0))] == ["A"]
