"""Settings with a sound, a tempo and tables: their variables, their faults at their places, the sound of the film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.songs import Part, Song, Style, compose
from deforum.build import prepare
from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.output.choice import Outputs
from deforum.reports.edit import Part as RunPart
from deforum.reports.edit import compare
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.timeline.variables import signals_of

SONG = compose([Part(5, "kick snare hats bass")], 120, Style(first=0.5))
USUAL = "prompts: a sea\nseed: 1\nfps: 10\nmax_frames: 60\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with song.wav and data.csv the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    SONG.write(tmp_path / "song.wav")
    Path("data.csv").write_text("frame,rms\n0,0\n60,6\n")
    Path("words.txt").write_text("words")
    return tmp_path


def read(text: str, **changes: object) -> Settings:
    Path("a.yaml").write_text(USUAL + text)
    return load("a.yaml", [f"{name}={value}" for name, value in changes.items()]).settings


def test_a_file_with_everything() -> None:
    settings = read(
        "audio: song.wav\nvariables: {energy: {file: data.csv, column: rms}}\n"
        'zoom: "1 + 0.1*beat + energy"\nangle: "0:(0), \\"beat(4)\\":(3) step, bar(2): (7)"\n'
        'strength: {0: 0.5, beat(2): 0.7}\nnegative_prompt: "(y:`energy`)"\n'
    )
    timeline = timeline_of(settings)
    zoom, angle = timeline.curves.zoom, timeline.curves.angle
    assert zoom[5] == pytest.approx(1.6) and zoom[10] == pytest.approx(2.1) and zoom[8] < 1.82
    assert angle[24] < 3 == angle[25] == angle[44] and angle[45] == 7
    assert timeline[30].prompts[0].negative == "(y:3.0)"


def test_what_is_dumped_reads_back() -> None:
    settings = read("audio: song.wav\nbpm: 99.5\nvariables: {energy: {file: data.csv}}\nzoom: 1+energy*amp\n")
    Path("b.yaml").write_text(dump(settings))
    assert load("b.yaml").settings == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "zoom: 1 + beat\n",
            "a.yaml:5:7: zoom: beat follows the beat of a sound, and there is neither sound nor tempo",
        ),
        ("zoom: {0: 1, bar(2): 2}\n", "a.yaml:5:7: zoom: bar(2) follows the beat"),
        ("bpm: 120\nzoom: 1 + amp\n", "a.yaml:6:7: zoom: amp follows a sound, and there is none"),
        ("zoom: 1 + energy\n", "a.yaml:5:11: zoom: unknown name 'energy'"),
        ("positive_prompt: a `bass`\n", "a.yaml:5:21: positive_prompt: bass follows a sound"),
        ("audio: no.wav\nzoom: 1+beat\n", "a.yaml:5:8: audio: there is no file 'no.wav'"),
        ("audio: words.txt\nzoom: 1+beat\n", "a.yaml:5:8: audio: "),
        ("audio: clip\nzoom: 1+beat\n", "video_init_path: this has to name a file"),
        ("audio: song.wav\naudio_start: 100\n", "a.yaml:6:14: audio_start: 100 s is behind the end of song.wav"),
        ("audio: song.wav\nzoom: {section(9): 2}\n", "a.yaml:6:7: zoom: there is no section(9)"),
        ("variables: {energy: {file: no.csv}}\nzoom: 1+energy\n", "a.yaml:5:12: variables, energy: there is no file"),
        ("variables: {energy: {file: data.csv, column: x}}\n", "variables, energy: "),
        ("variables: {beat: {file: data.csv}}\n", "variables, beat: the language has this name already"),
        ("variables: {1a: {file: data.csv}}\n", "variables, 1a: this is no name of a variable"),
        ("variables: {energy: {fil: data.csv}}\n", "file"),
        ("bpm: 5\n", "a.yaml:5:6: bpm: 5 is out of range; expected 20..400 (beats/min) or null"),
        ("loras: {ink: beat}\n", "loras 1 (ink), weight: beat follows"),
    ],
)
def test_faults_at_their_places(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read(text)
    assert any(str(problem).startswith(says) or f" {says}" in str(problem) for problem in caught.value.problems)
    if "no." in text or "words" in text:
        assert len(caught.value.problems) == 1  # what follows from it is not told of


def test_prompts_at_places_without_a_sound() -> None:
    Path("a.yaml").write_text("prompts: {0: a, bar(2): b}\n")
    with pytest.raises(UserError, match=r"a\.yaml:1:17: prompts: bar\(2\) follows the beat of a sound"):
        load("a.yaml")


def test_a_file_that_is_only_looked_at_needs_no_sound(folder: Path) -> None:
    (folder / "below").mkdir()
    Path("below/a.yaml").write_text(USUAL + "audio: ../gone.wav\nzoom: 1+beat\n")
    loaded = load("below/a.yaml", to_render=False)
    assert loaded.settings.audio == "../gone.wav"


@pytest.mark.parametrize(
    ("text", "file", "start"),
    [
        ("audio: song.wav\n", "song.wav", 0.0),
        ("audio: song.wav\naudio_start: 1.5\n", "song.wav", 1.5),
        ("audio: song.wav\nadd_soundtrack: None\n", None, 0.0),
        ("audio: song.wav\naudio_start: 1.5\nadd_soundtrack: File\nsoundtrack_path: words.txt\n", "words.txt", 0.0),
        ("bpm: 100\n", None, 0.0),
    ],
)
def test_the_sound_of_the_film(text: str, file: str | None, start: float) -> None:
    [film] = Outputs.of(read(text))[0].films
    assert (film.soundtrack and film.soundtrack.path.name) == file
    assert film.soundtrack is None or film.soundtrack.start == start


def test_notes_say_what_was_heard() -> None:
    notes = " | ".join(prepare(read("audio: song.wav\nzoom: 1+0.1*beat\n")).notes)
    assert "song.wav lasts 0:10; 120." in notes and "beats from 0.5" in notes and "1 section (A 0:00)" in notes
    assert "bpm (given)" in " | ".join(prepare(read("audio: song.wav\nbpm: 60\n")).notes)


def test_an_edit_of_the_music_acts_where_values_change() -> None:
    def first(before: str, after: str) -> tuple[int, tuple[str, ...]]:
        then, now = prepare(read(before)), prepare(read(after))
        edit = compare([RunPart(then, 0, 60)], now, 60)
        return edit.first, edit.films

    plain = "cadence: 1\naudio: song.wav\n"
    still = plain + "zoom: 1\n"
    assert first(plain + "zoom: {0: 1, beat(4): 2}\n", plain + "zoom: {0: 1, beat(4): 2}\n")[0] == 60
    assert first(plain + "zoom: {0: 1, bar(1): 2 step}\n", plain + "zoom: {0: 1, bar(1)+20: 2 step}\n")[0] <= 45
    assert first(still, still + "audio_release: 3\n") == (60, ())
    assert first(still, still + "audio_start: 2\n") == (60, ("audio_start: 0 -> 2",))
    moved = plain + "zoom: 1+0.1*beat\n"
    assert first(moved, moved + "beat_decay: 1\n")[0] == 6


def test_signals_are_shared_by_equal_settings() -> None:
    one, other = (read("audio: song.wav\n", **{"zoom": zoom}) for zoom in ("1", "2"))
    assert signals_of(one) is signals_of(other)
    nothing = np.zeros(0)
    Song(SONG.samples[: 44100 * 4], 44100, nothing, nothing, nothing).write(Path("song.wav"))
    assert signals_of(one) is not signals_of(other) or signals_of(one).sound().seconds < 5
