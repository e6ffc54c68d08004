"""Beats of synthetic songs: 95 % of them within 35 ms, at the level that the song is written at."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.songs import Part, Song, Style, change, compose
from deforum.audio.beats import find_beats
from deforum.audio.spectra import SAMPLE_RATE, analyse

FULL = "kick snare hats bass pad tune"

SONGS = {
    "slow": lambda: compose([Part(7, FULL)], 80, Style(seed=1)),
    "fast": lambda: compose([Part(14, FULL)], 170, Style(seed=2)),
    "swing, loose, with noise": lambda: compose([Part(9, FULL)], 104, Style(swing=2 / 3, loose=0.006, noise=0.02)),
    "no drums": lambda: compose([Part(9, "keys bass")], 126, Style(seed=3)),
    "four on the floor, a late beginning": lambda: compose([Part(9, "four hats bass pad")], 133, Style(first=1.37)),
    "a rest": lambda: compose([Part(14, FULL)], 116, Style(silence=(9.0, 12.0))),
    "another tempo": lambda: compose([Part(18, FULL)], change(96, 138, 36), Style(seed=4)),
    "a tempo that rises": lambda: compose([Part(18, FULL)], change(100, 124, 20, 32), Style(seed=5)),
    "three beats in a bar, stereo": lambda: compose([Part(10, FULL)], 150, Style(meter=3, channels=2)),
}


def hits(found: np.ndarray, song: Song) -> float:
    """Return the share of the beats that were found within 35 ms."""
    return float((np.abs(found[None] - song.beats[:, None]).min(axis=1) <= 0.035).mean())


@pytest.mark.parametrize("name", SONGS)
def test_beats(name: str) -> None:
    song = SONGS[name]()
    found = find_beats(analyse([song.samples]).onset_bands)
    assert hits(found, song) >= 0.95
    assert len(found) <= 1.2 * len(song.beats)
    assert (np.diff(found) > 0.1).all()


@pytest.mark.parametrize(
    "samples",
    [np.zeros((SAMPLE_RATE * 4, 1)), np.sin(np.arange(SAMPLE_RATE * 4) * 0.06)[:, None], np.zeros((10, 2))],
    ids=["silence", "a tone", "next to nothing"],
)
def test_no_beat_where_nothing_repeats(samples: np.ndarray) -> None:
    assert len(find_beats(analyse([samples.astype(np.float32)]).onset_bands)) < 3
