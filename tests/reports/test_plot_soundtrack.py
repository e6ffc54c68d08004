"""The soundtrack of a plot: where its beats are, and which sounds are listened to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deforum.loading import load
from deforum.reports.plot import soundtrack
from deforum.reports.plot.soundtrack import soundtrack_of
from deforum.reports.plot.timeline import Soundtrack, plot_of
from deforum.reports.tabulate import look
from tests.helpers.sounds import write_clicks


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 12 s of clicks at 120 bpm, from 0.5 s on."""
    return write_clicks(tmp_path_factory.mktemp("sound") / "clicks.wav")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def heard(**values: object) -> Soundtrack | None:
    return soundtrack_of(load({"max_frames": 60, "fps": 12, "seed": 1, **values}, to_render=False).settings)


@pytest.mark.parametrize(("start", "first"), [(0.0, 6.0), (2.25, 3.0)])
def test_beats_and_waveform_lie_on_the_frames(clicks: Path, start: float, first: float) -> None:
    found = heard(audio=str(clicks), audio_start=start)
    assert found is not None
    assert (found.name, round(found.bpm)) == ("clicks.wav", 120)
    inside = [beat for beat in found.beats if beat >= first - 1]
    assert inside == pytest.approx([first + 6 * n for n in range(len(inside))], abs=0.3)
    assert len(inside) >= 9
    assert set(found.bars) < set(found.beats)
    assert (found.first, found.last) == (0, 60)
    # A click is loud where its beat is.
    loud = np.flatnonzero(found.high > 0.25) / len(found.high) * 60
    assert all(np.abs(loud - (first + 6 * n)).min() < 0.5 for n in range(8))
    assert np.array_equal(found.low, -found.high)


def test_a_tempo_by_hand_has_beats_alone() -> None:
    found = heard(bpm=120, first_beat=0.25, beats_per_bar=3)
    assert found is not None
    assert found.beats == pytest.approx(np.arange(3.0, 60, 6))
    assert found.bars == pytest.approx(np.arange(3.0, 60, 18))
    assert (found.name, found.bpm, len(found.high), found.sections) == ("tempo", 120, 0, ())


def test_the_sound_file_of_a_film_is_drawn_too(clicks: Path) -> None:
    found = heard(add_soundtrack="File", soundtrack_path=str(clicks))
    assert found is not None and found.name == "clicks.wav"


@pytest.mark.parametrize(
    "values",
    [{}, {"soundtrack_path": "none.wav"}, {"add_soundtrack": "File", "soundtrack_path": "https://x.test/a.mp3"}],
)
def test_no_sound_is_no_soundtrack(values: dict[str, object]) -> None:
    assert heard(**values) is None


def test_a_sound_is_over_before_the_frames(clicks: Path) -> None:
    found = heard(audio=str(clicks), audio_start=10.0)
    assert found is not None
    assert found.last == pytest.approx(24, abs=0.2)
    assert max(found.beats) < 24.2


def test_variables_of_a_sound_are_rows_where_named(clicks: Path) -> None:
    settings = load({"max_frames": 60, "fps": 12, "seed": 1, "audio": str(clicks)}, to_render=False).settings
    found = plot_of(settings, look(settings), ("beat", "bass"))
    assert [(row.name, row.section) for row in found.curves] == [("bass", "sound"), ("beat", "sound")]
    assert found.curves[1].values[6] == pytest.approx(1)


def test_a_long_sound_is_drawn_in_coarser_parts(clicks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = heard(audio=str(clicks))
    monkeypatch.setattr(soundtrack, "MOST_PARTS", 60)
    coarse = heard(audio=str(clicks))
    assert fine is not None and coarse is not None
    assert len(fine.high) == 500 and len(coarse.high) == 56
    assert fine.high.max() == coarse.high.max()
