"""Films of shots on one machine: each shot is a chain of its own, and the film is stitched of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum import build, load
from deforum.again import again
from deforum.build import prepare
from deforum.editing import update
from deforum.errors import UserError
from deforum.events import FrameShown, RunLoaded
from deforum.output.record import read_record
from deforum.output.verify import verify
from deforum.pixels.image import CPU
from deforum.rendering import check, frames, render
from deforum.resuming import resume
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.video.ffmpeg import count_frames
from tests.helpers import write_settings
from tests.helpers.edits import painted

USUAL: dict[str, object] = {
    "width": 64, "height": 64, "max_frames": 12, "seed": 4, "cadence": 2, "steps": 2, "translation_x": "t",
    "prompts": "{0: a sea, 5: a storm, 8: a storm}", "batch_name": "film", "finish": "none", "checkpoint_every": 1,
    "skip_video_creation": True,
}  # fmt: skip
THREE = (
    '[{name: sea, to: 5}, {name: the storm, to: 0.6s, strength: "0: (0.3), 9: (0.9)", init_image: init.png}, '
    "{name: back, from: 2, to: 6}]"
)
"""Frames 0 to 4, 5 to 8, and 2 to 5."""


@pytest.fixture(autouse=True)
def stand_in_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "load_model", lambda prepared, models: build.LoadedModel(painted, CPU, 8))


def settings_in(folder: Path, **changes: object) -> Settings:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "init.png"), np.full((64, 64, 3), 90, np.uint8))
    return load(write_settings(folder, USUAL | changes)).settings


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(cv2.imread(str(path))) for path in sorted((folder / "frames").iterdir())]


@pytest.mark.parametrize(
    ("shots", "placed"),
    [
        ("[{to: 5}, {to: 12}]", [(0, 5, 0), (5, 12, 5)]),
        ("[{to: 5}, {}]", [(0, 5, 0), (5, 12, 5)]),
        (THREE, [(0, 5, 0), (5, 9, 5), (2, 6, 9)]),
        ("[{from: 0.2s, to: max_f-1}]", [(3, 10, 0)]),
        ("[{from: 6}, {from: 0, to: 3}, {to: 4}]", [(6, 12, 0), (0, 3, 6), (3, 4, 9)]),
        ("[{to: 4}, {name: own, file: other.yaml}, {to: 6}]", [(0, 4, 0), (0, 3, 4), (4, 6, 7)]),
        ("[{name: own, file: other.yaml, from: 1, max_frames: 9}]", [(1, 9, 0)]),
    ],
)
def test_frames_of_shots(tmp_path: Path, shots: str, placed: list[tuple[int, int, int]]) -> None:
    (tmp_path / "other.yaml").write_text("{width: 64, height: 64, max_frames: 3, seed: 9, finish: none}")
    prepared = prepare(settings_in(tmp_path, shots=shots))
    assert [(shot.frames.start, shot.frames.stop, shot.at) for shot in prepared.shots] == placed
    assert [shot.settings.first_frame for shot in prepared.shots] == [first for first, _, _ in placed]
    assert len(prepared.frames) == sum(stop - start for start, stop, _ in placed)
    assert [prepared.frame(index).index for index in prepared.frames] == list(prepared.frames)


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({"shot_cuts": "prompts"}, [0, 5]),  # at 8 the prompt stays the same
        ({"shot_cuts": "prompts", "prompt_blend": "linear"}, [0]),
        ({"shot_cuts": "strength", "strength": '"0: (0.5), 3: (0.5), 4: (0), 7: (0), 8: (0.6)"'}, [0, 4]),
        ({"shot_cuts": "both", "strength": '"0: (0.5), 7: (0.5), 8: (0), 9: (0.5)"'}, [0, 5, 8]),
        ({"shot_cuts": "strength", "strength": "where(t == 3, 0, 0.5)"}, [0]),  # nothing is diffused there
        ({"shot_cuts": "prompts", "first_frame": 3}, [3, 5]),
    ],
)
def test_cuts(tmp_path: Path, changes: dict[str, object], starts: list[int]) -> None:
    prepared = prepare(settings_in(tmp_path, **changes))
    assert [shot.frames.start for shot in prepared.shots] == starts
    assert prepared.frames.stop == 12 - starts[0]


def test_shots_are_written_as_they_were_read(tmp_path: Path) -> None:
    given = settings_in(tmp_path, shots=THREE)
    assert [shot.name for shot in given.shots] == ["sea", "the storm", "back"]
    assert str(tmp_path / "init.png") in given.shots[1].changes[1]
    (tmp_path / "again.yaml").write_text(dump(given))
    assert load(tmp_path / "again.yaml").settings == given


@pytest.mark.parametrize(
    ("shots", "message"),
    [
        ("[{name: sea, to: 0}]", "shots, sea: from 0 to 0: expected frames within 0 and 12"),
        ("[{to: 13}]", "shots, shot_001: from 0 to 13"),
        ("[{name: a}, {name: A}]", "two shots"),
        ("[{name: ../a}]", "no name of a shot"),
        ("[{to: 4, strenght: 1}]", "shots, shot_001: unknown setting 'strenght'; did you mean strength?"),
        ("[{to: 4, strength: 3}]", "shots, shot_001: strength is 3 at frame 0 (and 11 more); expected 0..1"),
        ("[{to: 4, init_image: none.png}]", "shots, shot_001: init_image: there is no file 'none.png'"),
        ("[{file: none.yaml}]", "there is no file 'none.yaml'"),
        ("[{to: 4, width: 128}]", "its frames are 128x64 px and those of the film 64x64"),
        ("[{file: fast.yaml}]", "fast.yaml has 30 fps and the film 15"),
        ("[{to: x}]", "shots, shot_001, to"),
        ("[{to: 4, fps: 24}]", "shots, shot_001: fps is of the whole film"),
        ("{sea: 4}", "expected a list such as"),
    ],
)
def test_mistakes_in_shots(tmp_path: Path, shots: str, message: str) -> None:
    (tmp_path / "fast.yaml").write_text("{width: 64, height: 64, fps: 30, finish: none}")
    with pytest.raises(UserError) as error:
        check(settings_in(tmp_path, shots=shots))
    assert message in str(error.value)


def test_a_film_is_its_shots(tmp_path: Path) -> None:
    events: list[object] = []
    made = settings_in(tmp_path, shots=THREE, skip_video_creation=False)
    film = render(made, output=tmp_path / "out", observer=events.append)
    assert film.frames == 13 and film.video is not None and count_frames(film.video) == 13
    expected = []
    alone = settings_in(tmp_path)
    storm = {"strength": '"0: (0.3), 9: (0.9)"', "init_image": "init.png"}
    for own, stretch in (
        (alone, range(0, 5)),
        (settings_in(tmp_path, first_frame=5, **storm), range(5, 9)),
        (replace(alone, first_frame=2), range(2, 6)),
    ):
        expected += pictures(render(own, output=tmp_path / "alone", stretch=stretch).folder)
    shown = pictures(film.folder)
    assert len(shown) == len(expected) and all(map(np.array_equal, shown, expected))
    yielded = frames(settings_in(tmp_path, shots=THREE))
    assert all(np.array_equal(picture[..., ::-1], own) for (_, picture), own in zip(yielded, shown, strict=True))
    done = [event.done for event in events if isinstance(event, FrameShown)]
    assert done == list(range(1, 14)) and {event.total for event in events if isinstance(event, RunLoaded)} == {13}
    found = verify(film.folder)
    assert found.finished and not found.faults and found.frames == 13


def test_shots_of_a_film_that_is_written_elsewhere(tmp_path: Path) -> None:
    path = write_settings(tmp_path, USUAL | {"shots": "[{to: 2, strength: 0.3}]"})
    assert render(load(path, [f"output={tmp_path / 'there'}"]).settings).folder.parent == tmp_path / "there"


def test_a_film_goes_on_after_any_stop(tmp_path: Path) -> None:
    whole = pictures(render(settings_in(tmp_path, shots=THREE), output=tmp_path / "whole").folder)
    seen: list[int] = []

    def stop() -> bool:
        seen.append(1)
        return len(seen) in (3, 6, 11)

    result = render(settings_in(tmp_path, shots=THREE), output=tmp_path / "cut", stop=stop)
    assert result.stopped and not read_record(result.folder).finished
    stops = 0
    while result.stopped:
        stops += 1
        result = resume(result.folder, stop=stop)
    assert stops >= 2 and all(map(np.array_equal, pictures(result.folder), whole))
    assert not verify(result.folder).faults


def test_a_shot_can_be_edited_and_damage_is_mended(tmp_path: Path) -> None:
    film = render(settings_in(tmp_path, shots="[{name: sea, to: 5}, {name: storm}]"), output=tmp_path / "out").folder
    before = pictures(film)
    os.unlink(film / "frames" / "000000007.png")
    (film / "shots" / "002_storm" / "frames" / "000000007.png").unlink()
    assert resume(film).frames == 12 and all(map(np.array_equal, pictures(film), before))
    with pytest.raises(UserError, match="frame 7 is frame 7 of storm"):
        list(again(film, range(7, 8)))
    with pytest.raises(UserError, match="edited shot by shot"):
        update(settings_in(tmp_path, shots="[{name: sea, to: 5}, {name: storm}]", steps=3), film)
    shot = film / "shots" / "002_storm"
    update(load(shot / "settings.yaml", ["cfg_scale=12"]).settings, shot)
    resume(film)
    after = pictures(film)
    assert all(map(np.array_equal, after[:5], before[:5])) and not np.array_equal(after[5], before[5])
    assert all(map(np.array_equal, after[5:], pictures(shot))) and not verify(film).faults
    resume(film)


def test_films_of_lossy_frames_are_made_of_exact_copies(tmp_path: Path) -> None:
    lossless: dict[str, object] = {
        "frame_format": "jpeg", "video_format": "ffv1", "shots": "[{to: 3}, {to: 5}]", "skip_video_creation": False,
    }  # fmt: skip
    film = render(settings_in(tmp_path, **lossless), output=tmp_path / "out")
    exact = render(settings_in(tmp_path, **lossless | {"frame_format": "png"}), output=tmp_path / "png")
    assert film.video is not None and exact.video is not None
    streams = [cv2.VideoCapture(str(each.video)) for each in (film, exact)]
    for _ in range(5):
        (_, one), (_, other) = (stream.read() for stream in streams)
        assert np.array_equal(one, other)
    assert not list(film.folder.rglob("copies"))
