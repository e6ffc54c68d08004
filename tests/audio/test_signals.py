"""A sound at the frames of a run: levels, beats, places; what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.songs import Samples, Song
from deforum.audio import hear
from deforum.audio.decode import SoundError
from deforum.audio.grid import Grid
from deforum.audio.signals import FilmSignals, Music, Shape
from schedules import Unheard

RATE = 22_050
FRAMES = np.arange(60)


def written(folder: Path, samples: Samples, rate: int = RATE) -> Path:
    nothing = np.zeros(0)
    return Song(samples.astype(np.float32), rate, nothing, nothing, nothing).write(folder / "a.wav")


@pytest.fixture
def clicks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write 8 s of clicks at 120 bpm from 0.3 s on, over a hum that begins after 4 s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    times = np.arange(8 * RATE) / RATE
    samples = 0.25 * np.sin(2 * np.pi * 100 * times) * (times > 4)
    for at in np.arange(0.3, 7.9, 0.5):
        begin = round(at * RATE)
        samples[begin : begin + 200] += 0.5 * np.sin(np.arange(200) * 1.1) * np.exp(-np.arange(200) / 40)
    return written(tmp_path, samples[:, None])


def test_levels_at_frames(clicks: Path) -> None:
    exact = FilmSignals(10, Music(clicks), Shape(gain=1, release=0))
    bass = exact.at("bass", FRAMES)
    assert bass[:38].max() < 0.02
    assert abs(20 * np.log10(bass[45:58] / 0.25)).max() < 0.5
    np.testing.assert_allclose(exact.band(60, 140, FRAMES)[45:58], 0.25, rtol=0.05)
    assert (exact.at("bass", np.array([200, 10_000])) == 0).all()  # the sound is over
    loud = FilmSignals(10, Music(clicks)).at("bass", FRAMES)
    assert 0.9 < loud[45:58].mean() < 1.1  # its own gain
    np.testing.assert_allclose(
        FilmSignals(10, Music(clicks), Shape(gain=2, offset=3, release=0)).at("bass", FRAMES), 2 * bass + 3, atol=1e-6
    )
    later = FilmSignals(10, Music(clicks, start=4.0), Shape(gain=1, release=0)).at("bass", FRAMES)
    np.testing.assert_allclose(later[2:15], bass[42:55], rtol=1e-3)


def test_attack_release_and_smoothing(clicks: Path) -> None:
    def level(**shape: float) -> np.ndarray:
        return FilmSignals(20, Music(clicks), Shape(**{"gain": 1, "release": 0, **shape})).at("bass", np.arange(200))

    raw, slow, falling, smooth = level(), level(attack=0.5), level(release=0.5), level(smoothing=0.3)
    assert slow[90] == pytest.approx(0.25 * (1 - np.exp(-1)), rel=0.1)  # 4.5 s: a time constant later
    assert falling[100] == pytest.approx(raw[100], rel=0.05)
    assert smooth[74] > 10 * raw[74] and np.diff(smooth[70:90]).max() < 0.5 * np.diff(raw[70:90]).max()


def test_beats_at_frames(clicks: Path) -> None:
    signals = FilmSignals(10, Music(clicks))
    beat, phase = signals.at("beat", FRAMES), signals.at("beat_phase", FRAMES)
    peaks = np.flatnonzero(beat == 1)
    assert set(peaks) >= {3, 8, 13, 18, 23}
    assert (np.diff(peaks) == 5).all() and beat[peaks[2] + 2] == pytest.approx(np.exp(-0.2 / 0.15))
    assert abs((phase - (FRAMES / 10 - 0.3) * 2 + 0.5) % 1 - 0.5).max() < 0.05
    assert abs(signals.at("bpm", FRAMES) - 120).max() < 1
    assert [round(signals.place("beat", n)) for n in (0, 1, 4)] == [3, 8, 23]
    assert signals.place("beat", 0.5) == pytest.approx(5.5, abs=0.3)
    assert signals.place("bar", 1) - signals.place("bar", 0) == pytest.approx(20, abs=0.3)
    assert signals.place("beat", 100) == pytest.approx(503, abs=3)  # on beyond the end
    assert FilmSignals(10, Music(clicks, start=2.0)).place("beat", 0) == pytest.approx(3, abs=0.3)


def test_a_tempo_by_hand(clicks: Path) -> None:
    alone = FilmSignals(12, Music(bpm=90, first_beat=1.0, per_bar=3))
    assert alone.place("beat", 0) == pytest.approx(12) and alone.place("bar", 2) == pytest.approx(12 * (1 + 2 * 2))
    np.testing.assert_allclose(alone.at("bpm", FRAMES), 90)
    assert alone.heard == ("beat", "beat_phase", "bar_phase", "bpm")
    fitted = FilmSignals(10, Music(clicks, bpm=60))
    assert fitted.place("beat", 1) - fitted.place("beat", 0) == pytest.approx(10)
    assert fitted.place("beat", 0) % 5 == pytest.approx(3, abs=0.4)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda signals: signals.at("amp", FRAMES), "amp follows a sound, and there is none"),
        (lambda signals: signals.band(1, 2, FRAMES), "band"),
        (lambda signals: signals.at("beat", FRAMES), "neither sound nor tempo"),
        (lambda signals: signals.place("bar", 2), r"bar\(2\) follows the beat"),
        (lambda signals: signals.place("section", 2), r"section\(2\) follows a sound"),
    ],
)
def test_what_is_missing_is_said(ask: object, says: str) -> None:
    with pytest.raises(Unheard, match=says) as caught:
        ask(FilmSignals(10))  # type: ignore[operator]
    assert caught.value.hint and not caught.value.said_elsewhere


def test_a_sound_without_beats_or_with_too_few_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    silent = FilmSignals(10, Music(written(tmp_path, np.zeros((RATE * 3, 2)))))
    with pytest.raises(Unheard, match=r"beat: no beat is heard in a\.wav"):
        silent.at("beat", FRAMES)
    with pytest.raises(Unheard, match=r"there is no section\(3\)"):
        silent.place("section", 3)
    assert (silent.at("amp", FRAMES) == 0).all() and (silent.at("onset", FRAMES) == 0).all()
    with pytest.raises(Unheard) as caught:
        FilmSignals(10, Music(tmp_path / "no.wav")).at("amp", FRAMES)
    assert caught.value.said_elsewhere


@pytest.mark.parametrize("rate", [22_050, 48_000, 96_000])
def test_rates_and_channels(rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    times = np.arange(2 * rate) / rate
    left = 0.5 * np.sin(2 * np.pi * 1000 * times)
    sound = hear(written(tmp_path, np.stack([left, -left], axis=1), rate))  # out of phase: their sum is silent
    assert sound.seconds == pytest.approx(2, abs=0.01)
    assert abs(20 * np.log10(sound.levels["mid"][50:150] / 0.5)).max() < 0.2


def test_what_was_heard_is_kept_by_contents(clicks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hear(clicks)
    copy = clicks.with_name("b.wav")
    copy.write_bytes(clicks.read_bytes())
    monkeypatch.setattr("deforum.audio.listening.decode", None)
    again = hear(copy)
    assert again.digest == first.digest and again.sections == first.sections
    np.testing.assert_array_equal(again.beats, first.beats)
    np.testing.assert_array_equal(again.levels["amp"], first.levels["amp"])


def test_a_damaged_cache_is_made_anew(clicks: Path, tmp_path: Path) -> None:
    first = hear(clicks)
    [kept] = (tmp_path / "cache").rglob("*.npz")
    for content in (b"", b"PK\x03\x04 damaged", kept.read_bytes()[:-300]):
        kept.write_bytes(content)
        copy = clicks.with_name(f"c{len(content)}.wav")
        copy.write_bytes(clicks.read_bytes())
        np.testing.assert_array_equal(hear(copy).beats, first.beats)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    for name, says in (("a.txt", "no sound|not a film or sound"), ("no.wav", "there is no file")):
        with pytest.raises(SoundError, match=says):
            hear(tmp_path / name)


def test_a_grid_goes_both_ways() -> None:
    grid = Grid(np.array([1.0, 1.5, 2.0, 3.0]), downbeat=1, per_bar=2)
    times = np.array([-1.0, 0.3, 1.25, 2.5, 3.0, 9.0])
    np.testing.assert_allclose(grid.time(grid.number(times)), times)
    assert grid.number(np.array([1.25])) == pytest.approx(0.5)
    assert grid.bars(np.array([3.0])) == pytest.approx(1)
