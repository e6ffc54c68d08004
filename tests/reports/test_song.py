"""The settings file that is written for a song: it loads as it stands, and follows the song."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.songs import Part, Song, Style, compose
from deforum.build import prepare
from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.reports.song import write_song

SONG = compose([Part(8, "pad tune", loud=0.3), Part(8, "four snare hats bass keys", key=60)], 140, Style(seed=2))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_it_loads_and_moves_on_the_beat(folder: Path) -> None:
    (folder / "songs").mkdir()
    path = SONG.write(folder / "songs" / "a song.wav")
    text = write_song(path, ["max_frames=360", "width=256", "height=256"], folder / "my.yaml")
    (folder / "my.yaml").write_text(text)
    loaded = load("my.yaml")
    settings = loaded.settings
    assert (settings.fps, settings.max_frames, settings.width) == (24, 360, 256)
    assert "audio: songs/a song.wav\n" in text and "section(1):" in text and "0:13 B" in text
    assert "quiet" in text and "loud" in text
    prepared = prepare(settings)
    assert not [note for note in (*loaded.report, *prepared.notes) if not note.startswith("audio: ")]
    zoom = timeline_of(settings).curves.zoom
    at = np.round(SONG.beats[SONG.beats < 14.9] * 24).astype(int)
    nearest = np.maximum.reduce([zoom[np.clip(at + shift, 0, 359)] for shift in (-1, 0, 1)])
    assert (nearest > zoom[np.clip(at + 5, 0, 359)] + 0.008).mean() > 0.95


def test_values_given_replace_its_own(folder: Path) -> None:
    path = SONG.write(folder / "a.wav")
    text = write_song(path, ["bpm=70", "zoom=1+0.1*bass", "fps=10", "crf=20", "prompts=a sea"], folder / "my.yaml")
    (folder / "my.yaml").write_text(text)
    settings = load("my.yaml").settings
    assert (settings.bpm, settings.fps, settings.crf, settings.prompts) == (70, 10, 20, (("0", "a sea"),))
    assert settings.params.zoom.text == "0: (1 + 0.1 * bass)" and settings.max_frames == 277


def test_a_sound_without_a_beat(folder: Path) -> None:
    nothing = np.zeros(0)
    path = Song(np.zeros((22_050 * 3, 1), np.float32), 22_050, nothing, nothing, nothing).write(folder / "a.wav")
    (folder / "my.yaml").write_text(write_song(path, [], folder / "my.yaml"))
    assert "no beat" in (folder / "my.yaml").read_text() and load("my.yaml").settings.max_frames == 72


def test_what_is_no_song(folder: Path) -> None:
    (folder / "a.txt").write_text("words")
    with pytest.raises(UserError, match=r"a\.txt: not a film or sound"):
        write_song(folder / "a.txt", [], None)
