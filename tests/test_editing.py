"""Edited runs: what is predicted to differ does, what is before stays, and all is as in a render of the edited file."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum import build, load
from deforum.again import again
from deforum.cli.main import main
from deforum.editing import fitting_state, plan, update
from deforum.errors import UserError
from deforum.events import Event, FrameShown, Note
from deforum.output.checkpoints import list_checkpoints
from deforum.output.record import read_record
from deforum.output.verify import verify
from deforum.pixels.image import CPU
from deforum.rendering import render
from deforum.reports.edit import Part, compare
from deforum.resuming import resume
from deforum.settings.options import Settings
from deforum.video.ffmpeg import count_frames
from tests.animation.scenarios import ALL, CLIP, FRAMES, PLAIN, Changes, settings_of
from tests.helpers import write_settings
from tests.helpers.edits import painted, random_edit
from tests.helpers.manifests import text_of


@pytest.fixture(autouse=True)
def stand_in_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "load_model", lambda prepared, models: build.LoadedModel(painted, CPU, 8))


def settings(folder: Path, values: Changes) -> Settings:
    """Read settings in a folder that has the pictures that they may name."""
    if not (folder / "init.png").is_file():
        settings_of("2D corrected/1 plain", folder)
    usual: Changes = {"skip_video_creation": True, "checkpoint_every": 1, "batch_name": "run"}
    return load(write_settings(folder, usual | values)).settings


def files(run: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((run / "frames").iterdir())]


def pictures(run: Path) -> list[np.ndarray]:
    found = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted((run / "frames").iterdir())]
    return [np.asarray(each) for each in found]


def first_difference(one: list[np.ndarray], other: list[np.ndarray]) -> int:
    """Return the first frame that differs, or that only one of them has; the number of frames if there is none."""
    pairs = zip(one, other, strict=False)
    same = min(len(one), len(other))
    return next((index for index, pair in enumerate(pairs) if not np.array_equal(*pair)), same)


def edited(folder: Path, before: Changes, after: Changes, chance: random.Random) -> None:
    """Render, edit, and render the edited settings at once: the prediction is true, and the frames are the same."""
    run = render(settings(folder, before), output=folder / "cut").folder
    kept, old = files(run), pictures(run)
    now = settings(folder, after)
    first = plan(read_record(run), now, output=folder).edit.first
    rendered: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, FrameShown):
            rendered.append(event.frame.index)

    update(now, run, observer=watch)
    whole = render(now, output=folder / "whole").folder
    new = pictures(whole)
    assert first_difference(new, pictures(run)) == len(new) == len(pictures(run))
    assert files(run)[:first] == kept[:first]
    assert first == first_difference(old, new)
    assert rendered == list(range(first, len(new)))
    assert not verify(run).faults
    for index in chance.sample(range(len(new)), 2):
        (run / "frames" / f"{index:09}.png").unlink()
        [found] = again(run, range(index, index + 1))
        assert found.is_same and found.is_written
    assert files(run)[:first] == kept[:first]
    assert first_difference(new, pictures(run)) == len(new)


@pytest.mark.parametrize("number", range(4))
def test_a_random_edit(number: int, tmp_path: Path) -> None:
    edit = random_edit(number)
    edited(tmp_path, edit.before, edit.after, random.Random(number))


def test_a_manifest_that_is_written_anew(tmp_path: Path) -> None:
    """Over the file that the run was made from: only what comes out different is rendered again."""
    file = tmp_path / "m.json"
    changes: Changes = PLAIN | {"parseq_manifest": str(file)}
    file.write_text(text_of({"angle": [0, 3, 6, 9, 12], "strength": [0.5] * 5}), encoding="utf-8")
    before = settings(tmp_path, changes)
    run = render(before, output=tmp_path / "cut", stop=lambda: True).folder
    file.write_text(text_of({"angle": [0, 3, 6, 1, 12], "strength": [0.5] * 5}), encoding="utf-8")
    assert resume(run).frames == 5  # as it began
    found = plan(read_record(run), settings(tmp_path, changes), output=tmp_path)
    assert found.edit.first == 3 and [reason.name for reason in found.edit.reasons] == ["angle"]
    edited(tmp_path, changes, changes | {"parseq_except": "angle"}, random.Random(1))


@pytest.mark.long
@pytest.mark.parametrize("number", range(100, 130))
def test_random_edits(number: int, tmp_path: Path) -> None:
    edit = random_edit(number)
    edited(tmp_path, edit.before, edit.after, random.Random(number))


# --- what is predicted ------------------------------------------------------------------------------------------------

ON_TIME: Changes = {"cadence": 3, "zoom": 1, "color_coherence": "None"}
FADED: Changes = ON_TIME | {"profile": "deforum"}
"""Both with diffused frames 0, 3 and 6 of 7: on time the spans are 0; 1 to 3; 4 to 6, otherwise 0 to 2; 3 to 5; 6."""


def at(frame: int, value: object, otherwise: object) -> str:
    return f'"where(t == {frame}, {value}, {otherwise})"'


@pytest.mark.parametrize(
    ("before", "change", "first", "said"),
    [
        (ON_TIME, {"strength": at(3, 0.2, 0.65)}, 1, "strength: frame 3: 0.65 -> 0.2 (it acts from frame 1 on)"),
        (FADED, {"strength": at(3, 0.2, 0.65)}, 3, "strength: frame 3: 0.65 -> 0.2"),
        (ON_TIME, {"strength": at(2, 0.2, 0.65)}, 7, ""),  # an in-between is not diffused
        (ON_TIME, {"strength": at(0, 0.2, 0.65)}, 7, ""),  # frame 0 begins in noise
        (ON_TIME, {"zoom": at(5, 1.1, 1)}, 4, "zoom: frame 5: 1 -> 1.1 (it acts from frame 4 on)"),
        (FADED, {"zoom": at(5, 1.1, 1)}, 5, "zoom: frame 5: 1 -> 1.1"),
        (ON_TIME, {"zoom": at(0, 1.1, 1)}, 7, ""),
        (ON_TIME, {"prompts": '{0: "a", 5: "c", 6: "b"}'}, 7, ""),  # only in-betweens would have it
        (ON_TIME, {"prompts": '{0: "a", 4: "b"}'}, 7, ""),
        (ON_TIME, {"prompts": '{0: "a", 3: "b"}'}, 1, "prompt: frame 3: a -> b (it acts from frame 1 on)"),
        (ON_TIME | {"prompt_blend": "linear"}, {"prompts": '{0: "a", 8: "b"}'}, 1, "prompt: frame 3"),
        (ON_TIME, {"seed_behavior": "fixed"}, 1, "seed: frame 3: 12 -> 11 (it acts from frame 1 on)"),
        (ON_TIME, {"seed": 12}, 0, "seed: frame 0: 11 -> 12"),
        (ON_TIME, {"seed": -1}, 7, ""),  # that of the run is kept
        (ON_TIME, {"echo_amount": at(5, 0.5, 0)}, 5, "echo_amount: frame 5: 0 -> 0.5"),
        (ON_TIME | {"echo_in_loop": True}, {"echo_amount": at(6, 0.5, 0)}, 4, "echo_amount: frame 6"),
        (ON_TIME, {"antiblur_sigma": 2}, 1, "antiblur_sigma: frame 3: 1 -> 2"),
        (ON_TIME | {"antiblur_amount": 0}, {"antiblur_sigma": 2}, 7, ""),
        (ON_TIME, {"noise_keeps_mean": True}, 1, "noise_keeps_mean: frame 1: false -> true"),
        (FADED, {"noise_keeps_mean": True}, 3, "noise_keeps_mean: frame 3: false -> true"),
        (FADED, {"border": "wrap"}, 1, "border: frame 1"),
        (
            {"animation_mode": "Video Input", "video_init_path": CLIP}, {"extract_nth_frame": 2}, 1,
            "frame of the clip: frame 1: 1 -> 2",
        ),
        (ON_TIME, {"border": "wrap"}, 1, "border: frame 1: replicate -> wrap"),
        (ON_TIME, {"diffusion_redo": 1}, 0, "diffusion_redo: frame 0: 0 -> 1"),
        (ON_TIME, {"cadence": 6}, 1, "cadence: frame 1: 3 -> 6"),
        (ON_TIME, {"max_frames": 9}, 7, "max_frames: frame 7: 7 -> 9"),
        (ON_TIME, {"max_frames": 6}, 4, "max_frames: frame 4: 7 -> 6"),  # 4 and 5 lead to no diffused frame any more
        (FADED, {"max_frames": 6}, 6, ""),
        (FADED, {"max_frames": 9}, 7, "max_frames: frame 7: 7 -> 9"),
        (ON_TIME, {"zoom": '"1+0.01*(t>max_f-3)"', "max_frames": 7}, 4, "zoom: frame 4: 1 -> 1.01"),
        (ON_TIME, {"zoom": '"1+0.01*(fps==24)*(t==6)"', "fps": 24}, 4, "zoom: frame 6"),
        (ON_TIME, {"fps": 24, "video_format": "webm", "batch_size": 2, "output": "elsewhere"}, 7, ""),
        (ON_TIME, {"save_depth_maps": True}, 7, ""),  # in 2D there are none
        ({"animation_mode": "3D"}, {"save_depth_maps": True}, 0, "save_depth_maps: frame 0: false -> true"),
        ({"animation_mode": "3D"}, {"far": at(2, 900, 10000)}, 3, "far: frame 2: 10000 -> 900 (it acts from frame 3"),
        ({"animation_mode": "3D"}, {"far": at(3, 900, 10000)}, 7, ""),
        ({"animation_mode": "3D", "cadence": 1}, {"fov": at(0, 90, 70)}, 1, "fov: frame 0"),
        ({"animation_mode": "Interpolation"}, {"prompts": '{0: "a", 7: "b"}'}, 1, "prompt: frame 1"),
        ({"animation_mode": "Interpolation"}, {"cfg_scale": at(5, 3, 7)}, 5, "cfg_scale: frame 5: 7 -> 3"),
        (
            ON_TIME | {"use_looper": True, "init_images": '{0: "init.png", 6: "mask.png"}'},
            {"init_images": '{0: "init.png", 6: "init.png"}'}, 4, "init_images: frame 6",
        ),
    ],
)  # fmt: skip
def test_a_prediction(tmp_path: Path, before: Changes, change: Changes, first: int, said: str) -> None:
    base: Changes = PLAIN | {"seed": 11}
    then = build.prepare(settings(tmp_path, base | before))
    now = build.prepare(
        replace(settings(tmp_path, base | before | change), seed=12 if change.get("seed") == 12 else 11)
    )
    found = compare([Part(then, 0, FRAMES)], now, len(now.timeline))
    assert found.first == first
    assert [str(reason) for reason in found.reasons[:1]] == [] if not said else said in str(found.reasons[0])


# --- what is written --------------------------------------------------------------------------------------------------


def test_films_alone_are_made_anew(tmp_path: Path) -> None:
    with_film = PLAIN | {"skip_video_creation": False, "subtitles": "seed"}
    run = render(settings(tmp_path, with_film), output=tmp_path).folder
    kept, shown = files(run), []
    now = settings(tmp_path, with_film | {"fps": 5, "video_format": "webm"})
    result = update(now, run, observer=lambda event: shown.append(event) if isinstance(event, FrameShown) else None)
    assert files(run) == kept and not shown
    assert [path.name for path in result.films] == ["run.webm"] and not (run / "run.mp4").exists()
    assert count_frames(run / "run.webm") == FRAMES
    assert not verify(run).faults
    assert load(run).settings.fps == 5
    assert read_record(run).history[-2].why.startswith("fps: 15 -> 5; video_format")
    assert update(now, run).films == result.films  # nothing differs


@pytest.mark.parametrize("later", [{}, {"strength": at(6, 0.1, 0.65)}])
def test_an_edit_that_is_stopped(tmp_path: Path, later: Changes) -> None:
    """Old frames stay until they are replaced; the run goes on, with the same settings or with others."""
    base = PLAIN | {"skip_video_creation": bool(later), "cadence": 1, "zoom": 1}
    run = render(settings(tmp_path, base), output=tmp_path / "cut").folder
    kept, now = files(run), settings(tmp_path, base | {"zoom": "1 + 0.1*(t > 1)"})
    shown: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, FrameShown):
            shown.append(event.frame.index)

    assert update(now, run, observer=watch, stop=lambda: len(shown) == 3).stopped
    assert shown == [2, 3, 4]
    between = files(run)
    assert [one == other for one, other in zip(kept, between, strict=True)] == [True] * 2 + [False] * 3 + [True] * 2
    if later:
        now = settings(tmp_path, base | {"zoom": "1 + 0.1*(t > 1)"} | later)
        update(now, run)
    else:
        resume(run)
    whole = render(now, output=tmp_path / "whole").folder
    assert first_difference(pictures(whole), pictures(run)) == FRAMES
    assert files(run)[:2] == kept[:2] and files(run)[2:5] == between[2:5]
    assert later or count_frames(run / "run.mp4") == FRAMES
    assert not verify(run).faults


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 128}, "width: 64 -> 128"),
        ({"animation_mode": "3D"}, "animation_mode: 2D -> 3D"),
        ({"profile": "deforum"}, "profile: corrected -> deforum"),
    ],
)
def test_another_run(tmp_path: Path, change: Changes, words: str) -> None:
    run = render(settings(tmp_path, PLAIN | {"max_frames": 1}), output=tmp_path).folder
    kept = files(run)
    with pytest.raises(UserError, match=words):
        update(settings(tmp_path, PLAIN | {"max_frames": 1} | change), run)
    assert files(run) == kept


def test_jpegs_of_a_finished_run_stay(tmp_path: Path) -> None:
    base = PLAIN | {"skip_video_creation": False, "frame_format": "jpeg", "cadence": 1, "zoom": 1}
    run = render(settings(tmp_path, base), output=tmp_path).folder
    kept = files(run)
    update(settings(tmp_path, base | {"zoom": at(5, 1.2, 1)}), run)
    assert files(run)[:5] == kept[:5] and files(run)[5] != kept[5]
    assert count_frames(run / "run.mp4") == FRAMES
    assert not verify(run).faults


def test_a_picture_that_is_not_what_it_was(tmp_path: Path) -> None:
    base = PLAIN | {"cadence": 3, "use_looper": True, "init_images": '{0: "init.png", 6: "mask.png"}'}
    run = render(settings(tmp_path, base), output=tmp_path / "cut").folder
    kept, told = files(run), []
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((64, 64), 90, np.uint8))
    now = settings(tmp_path, base)
    update(now, run, observer=lambda event: told.append(event.text) if isinstance(event, Note) else None)
    assert "mask.png: frame 4: the file as it was -> its contents now" in told
    assert files(run)[:4] == kept[:4]
    whole = render(now, output=tmp_path / "whole").folder
    assert first_difference(pictures(whole), pictures(run)) == FRAMES


@pytest.mark.long
def test_passes_are_those_of_the_edited_settings(tmp_path: Path) -> None:
    passes: Changes = {
        "save_depth_maps": True, "save_depth_video": True, "save_masks": True, "hybrid_comp_save_extra_frames": True,
        "subtitles": "seed strength", "skip_video_creation": False, "save_metadata": False,
    }  # fmt: skip
    base = PLAIN | ALL["3D corrected/3 everything"] | passes
    run = render(settings(tmp_path, base), output=tmp_path / "cut").folder
    now = settings(tmp_path, base | {"contrast": at(6, 1.5, 1)})
    update(now, run)
    whole = render(now, output=tmp_path / "whole").folder

    def contents(folder: Path) -> dict[str, bytes]:
        found = [path for path in folder.rglob("*") if path.is_file()]
        texts = ("run.json", "frames.jsonl", "settings.yaml")
        return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name not in texts}

    before, after = contents(whole), contents(run)
    assert [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)] == []


# --- stretches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [True, False])
def test_a_stretch(tmp_path: Path, taken: bool) -> None:
    base = PLAIN | {"skip_video_creation": not taken, "cadence": 2}
    run = render(settings(tmp_path, base | {"seed": -1}), output=tmp_path, stop=lambda: False).folder
    later = settings(tmp_path, base | {"seed": -1, "strength": at(6, 0.1, 0.65)})
    later, state, note = fitting_state(later, run, 3)
    assert (state is not None) == bool(list_checkpoints(run)), note
    part = render(later, output=tmp_path, stretch=range(3, 5), state=state if taken else None).folder
    assert [path.name for path in sorted((part / "frames").iterdir())] == ["000000003.png", "000000004.png"]
    assert first_difference(pictures(part), pictures(run)[3:5]) == 2
    assert not taken or count_frames(part / f"{part.name}.mp4") == 2
    assert not verify(part).faults
    assert next(iter(again(part, range(4, 5)))).is_same


def test_a_stretch_that_is_stopped_on_the_way(tmp_path: Path) -> None:
    base = PLAIN | {"cadence": 1}
    looks: list[int] = []

    def stop() -> bool:
        looks.append(0)
        return len(looks) == 2

    now = settings(tmp_path, base)
    part = render(now, output=tmp_path / "part", stretch=range(4, 6), stop=stop)
    assert part.stopped and part.frames == 0
    assert resume(part.folder).frames == 2
    whole = render(now, output=tmp_path / "whole").folder
    assert first_difference(pictures(part.folder), pictures(whole)[4:6]) == 2


@pytest.mark.parametrize("stretch", [range(0), range(5, 9), range(3, 3)])
def test_frames_that_there_are_not(tmp_path: Path, stretch: range) -> None:
    with pytest.raises(UserError, match=r"expected first:end within 0:7"):
        render(settings(tmp_path, PLAIN), output=tmp_path, stretch=stretch)


# --- frames again -----------------------------------------------------------------------------------------------------


def test_frames_again(tmp_path: Path) -> None:
    run = render(settings(tmp_path, PLAIN), output=tmp_path).folder
    kept = files(run)
    (run / "frames" / "000000003.png").unlink()
    found = list(again(run, range(2, 5)))
    assert [(each.index, each.is_same, each.is_written) for each in found] == [
        (2, True, False), (3, True, True), (4, True, False)
    ]  # fmt: skip
    assert files(run) == kept
    beside = list(again(run, range(2, 4), output=tmp_path / "beside"))
    assert [each.path.read_bytes() for each in beside] == kept[2:4]
    ledger = run / "frames.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    changed = [line | ({"sha256": "0" * 64} if line["frame"] == 3 else {}) for line in lines]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in changed))
    (run / "frames" / "000000003.png").unlink()
    [other] = again(run, range(3, 4))
    assert other.is_same is False and not other.is_written and not (run / "frames" / "000000003.png").exists()
    with pytest.raises(UserError, match="frame 9: expected frames from 0 to 6"):
        next(again(run, range(9, 10)))


def test_any_frame_of_a_run_with_changed_settings(tmp_path: Path) -> None:
    base = PLAIN | {"cadence": 1}
    shown: list[object] = []

    def watch(event: Event) -> None:
        if isinstance(event, FrameShown):
            shown.append(event)

    run = render(settings(tmp_path, base), output=tmp_path, stop=lambda: len(shown) == 3, observer=watch).folder
    resume(run, changes=["strength=0.2"])
    kept = files(run)
    for path in (run / "states").glob("*"):
        path.unlink()
    for index in (1, 4, 6):
        (run / "frames" / f"{index:09}.png").unlink()
    assert all(each.is_same for each in again(run, range(1, 7)))
    assert files(run) == kept


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1,2", "--into", "run"], "--into run: one run for 2 renders"),
        (["--into", "run", "--frames", "1:2"], "--into cannot be combined with --frames"),
        (["--into", "run", "-o", "x"], "--into cannot be combined with -o"),
        (["--from", "run"], "give both, or --into"),
        (["--frames", "1:2", "--continue"], "--frames cannot be combined with --continue"),
        (["--frames", "0:6:2"], "0:6:2: expected a frame or frames in a row"),
        (["--frames", "9"], "out of range; the frames are 0 to 6"),
        (["--into", "nowhere"], "nowhere: no such folder; expected the folder of a run"),
    ],
)
def test_words_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    settings(tmp_path, PLAIN)
    assert main(["settings.yaml", *words]) == 2
    assert said in capsys.readouterr().err


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    settings(tmp_path, PLAIN | {"cadence": 1})
    assert main(["settings.yaml", "-q"]) == 0
    edit = "strength=" + at(5, 0.2, 0.65).strip('"')
    assert main(["check", "settings.yaml", edit, "--into", "output/run"]) == 0
    assert "the first frame that differs is 5; frames 0 to 4 stay as they are" in capsys.readouterr().out
    assert main(["settings.yaml", "strength=" + at(5, 0.2, 0.65).strip('"'), "--into", "output/run"]) == 0
    said = capsys.readouterr().err
    assert "strength: frame 5: 0.65 -> 0.2" in said
    assert "the first frame that differs is 5; frames 0 to 4 stay as they are" in said
    assert main(["settings.yaml", "--frames", "4:5", "--from", "output/run", "-q"]) == 0
    assert [path.name for path in sorted(Path("output/run_2/frames").iterdir())] == ["000000004.png", "000000005.png"]
    assert main(["frame", "output/run", "5", "--to", "6", "-o", "beside"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [f"beside/00000000{index}.png" for index in (5, 6)]
    assert main(["frame", "output/run", "2:1"]) == 2
    assert main(["frame", "output/run"]) == 2
    assert "expected RUN_FOLDER FRAME" in capsys.readouterr().err
