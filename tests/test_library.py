"""The library's door: what `import deforum` offers, and that docs/library.md is true."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import deforum
import deforum.diffusion
import deforum.features.table
from deforum import Settings, UserError, check, dump, frames, load, render
from deforum.cli.main import main
from deforum.events import Event, FrameShown, Note, RunFinished, RunLoaded, RunPrepared, StageTimes
from deforum.models.kept import KeptModels
from deforum.resuming import resume

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, Any] = {"prompts": "hills", "max_frames": 3, "width": 64, "height": 64, "steps": 2, "seed": 4}
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def models() -> KeptModels:
    return KeptModels()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_page_run(number: int, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[number], f"library.md, example {number}", "exec"), names)
    if "result" in names:
        assert names["result"].video.is_file() and names["result"].frames == 2
    if "seconds" in names:
        assert names["seconds"]["diffuse"] > 0
    if "pictures" in names:
        corner, middle = ([float(picture[at].mean()) for picture in names["pictures"]] for at in ((0, 0), (32, 32)))
        assert len(corner) == len(middle) == 3


def test_what_is_offered_and_nothing_internal() -> None:
    code = "import deforum.rendering, deforum.cli.main; print(*dir(deforum))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names = done.stdout.split()
    assert {"load", "render", "frames", "check"} <= set(names)
    assert set(names) == {*deforum.__all__, "__version__"}
    assert all(getattr(deforum, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute 'rendr'"):
        deforum.rendr  # noqa: B018


def test_a_mapping_is_what_a_file_would_be(tmp_path: Path) -> None:
    text = (
        'prompts: {0: a sea, 9: "hills, at noon"}\nzoom: {0: 1, 9: 1.1}\nsize: {width: 64}\ntiling: true\nfps: 12.5\n'
    )
    Path("a.yaml").write_text(text + "sampler: Euler a\ninit_image: null\nvideo_quality: null\n")
    given = {
        "prompts": {0: "a sea", "9": "hills, at noon"}, "zoom": {0: 1, 9: 1.1}, "size": {"width": 64}, "tiling": True,
        "fps": 12.5, "sampler": "Euler a", "init_image": None, "video_quality": None,
    }  # fmt: skip
    assert load(given).settings == load("a.yaml").settings
    assert load(given, ["seed=3"]).settings.seed == 3
    (tmp_path / "a.png").touch()
    assert load({"init_image": Path("a.png")}).settings.init_image == str((tmp_path / "a.png").resolve())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"zom": 1}, "settings['zom']: unknown setting 'zom'; did you mean zoom?"),
        ({"fps": object()}, "settings['fps']: a value of type object cannot be read; expected text, numbers, mappings"),
        ({"strength": 2}, "settings['strength']: strength is 2 at frame 0 (and 119 more); expected 0..1 (share)"),
        (
            {"zoom": "sinn(t)"},
            "settings['zoom']: zoom: unknown function 'sinn'; expected one such as sin, where or clip",
        ),
    ],
)
def test_mistakes_in_a_mapping_have_a_place(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(given)
    assert str(caught.value).splitlines()[0] == message


def test_settings_show_what_differs_from_the_defaults() -> None:
    assert repr(Settings()) == "Settings()"
    shown = repr(load({**SMALL, "zoom": "1 + t/9", "cn_1_enabled": True}, to_render=False).settings)
    assert shown.startswith("Settings(width=64, height=64, max_frames=3, ")
    assert "zoom='0: (1 + t / 9)'" in shown and "angle" not in shown and "control_units=(" in shown
    assert len(fields(Settings)) > 100 > shown.count("=")


@pytest.mark.parametrize(("finish", "side"), [("auto", 128), ("none", 64)])
def test_frames_are_those_of_a_render(finish: str, side: int, models: KeptModels) -> None:
    settings = load({**SMALL, "finish": finish}).settings
    handed = [(frame.index, picture) for frame, picture in frames(settings, models=models)]
    result = render(settings, output="out", models=models)
    assert [index for index, _ in handed] == [0, 1, 2] and result.frames == 3
    for index, picture in handed:
        assert picture.shape == (side, side, 3) and picture.dtype == np.uint8
        assert (cv2.imread(str(result.folder / "frames" / f"{index:09}.png"))[..., ::-1] == picture).all()
    assert result.video is not None and cv2.VideoCapture(str(result.video)).get(cv2.CAP_PROP_FRAME_WIDTH) == side


def test_finishing_leaves_the_animation_as_it_is(models: KeptModels) -> None:
    shown: dict[str, list[Any]] = {"embedded": [], "none": []}
    for finish, events in shown.items():
        render(load({**SMALL, "finish": finish}).settings, output="out", models=models, observer=events.append)
    pictures = [[event.picture for event in events if isinstance(event, FrameShown)] for events in shown.values()]
    assert all(torch.equal(one, other) for one, other in zip(*pictures, strict=True))


def test_finished_frames_of_a_stopped_run_are_those_of_a_whole_one(models: KeptModels) -> None:
    settings = load({**SMALL, "max_frames": 5, "checkpoint_every": 1}).settings
    whole = render(settings, output="whole", models=models)
    calls = iter((False, False, True))
    stopped = render(settings, output="stopped", models=models, stop=lambda: next(calls))
    assert stopped.stopped and len(list((stopped.folder / "frames").iterdir())) == stopped.frames == 3
    (stopped.folder / "frames" / "000000001.png").unlink()
    resumed = resume(stopped.folder, models=models)
    pictures = [[cv2.imread(str(result.folder / "frames" / f"{index:09}.png")) for index in range(5)]
                for result in (whole, resumed)]  # fmt: skip
    assert all(one.shape == (128, 128, 3) and (one == other).all() for one, other in zip(*pictures, strict=True))


def test_frames_that_cannot_be_written_behind_the_loop_end_the_render(
    models: KeptModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("deforum.output.frames.encode", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(UserError, match="the disk is full"):
        render(load({**SMALL, "max_frames": 12, "cadence": 4}).settings, output="out", models=models)


def test_an_observer_is_told_everything_in_order(models: KeptModels) -> None:
    events: list[Event] = []
    calls: list[tuple[int, int]] = []
    settings = load({**SMALL, "prompts": "hills <hypernet:x:1>", "cadence": 1}).settings
    result = render(
        settings, output="out", models=models, observer=events.append, progress=lambda *call: calls.append(call)
    )
    kinds = [type(event) for event in events]
    assert kinds == [RunPrepared, Note, Note, RunLoaded, *[StageTimes, FrameShown] * 3, RunFinished]
    prepared, _, note, loaded, *rest, finished = events
    assert isinstance(prepared, RunPrepared) and prepared.settings.seed == 4 and len(prepared.timeline) == 3
    assert isinstance(note, Note) and "hypernet" in note.text
    assert isinstance(loaded, RunLoaded) and loaded.folder == result.folder and loaded.total == 3
    assert isinstance(finished, RunFinished) and finished.result == result
    times = [event for event in rest if isinstance(event, StageTimes)]
    assert all({"diffuse", "write", "rest"} <= set(event.seconds) for event in times)
    assert "before" in times[1].seconds and "before" not in times[0].seconds
    assert [event.done for event in rest if isinstance(event, FrameShown)] == [1, 2, 3]
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_nobody_watching_changes_no_picture(models: KeptModels) -> None:
    settings = load({**SMALL, "cadence": 1}).settings
    plain = [picture for _, picture in frames(settings, models=models)]
    watched = [picture for _, picture in frames(settings, models=models, observer=lambda event: None)]
    assert all(np.array_equal(one, other) for one, other in zip(plain, watched, strict=True))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts how often timelines are sampled and what features are made from is looked for."""
    counts: dict[str, int] = {}

    def count(name: str, work: Any) -> Any:
        def counting(*args: Any, **kwargs: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return work(*args, **kwargs)

        return counting

    table = deforum.features.table
    monkeypatch.setattr(table, "sample", count("sample", table.sample))
    for feature in table.FEATURES:
        monkeypatch.setitem(feature.__dict__, "find", count(feature.name, feature.find))
    monkeypatch.setattr(deforum.diffusion, "resolve_model", count("model", deforum.diffusion.resolve_model))
    yield counts


def test_a_run_is_prepared_once(counted: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    clip = ROOT / "examples" / "clips" / "valley.mp4"
    words = [f"{name}={value}" for name, value in SMALL.items()]
    Path("a.yaml").write_text("prompts: hills\n")
    more = [
        "animation_mode=3D",
        f"video_init_path={clip}",
        "hybrid_composite=Normal",
        "optical_flow_cadence=DIS Medium",
    ]
    assert main(["a.yaml", *words, *more, "-o", "out", "-q"]) == 0
    assert capsys.readouterr().out.strip().endswith(".mp4")
    features = ("depth", "hybrid video", "optical-flow cadence", "moving grid")
    assert counted == {"sample": 1, "model": 1} | dict.fromkeys(features, 1)


def test_check_gives_the_prepared_run() -> None:
    prepared = check(load({**SMALL, "seed": -1, "delete_imgs": True, "skip_video_creation": True}).settings)
    assert prepared.settings.seed >= 0 and len(prepared.timeline) == 3
    assert any("delete_imgs" in note for note in prepared.notes)
    assert load({**SMALL}).settings == load(SMALL).settings and "hills" in dump(prepared.settings)


def test_the_program_calls_itself_by_the_name_it_was_started_with(tmp_path: Path) -> None:
    def usage(*start: str) -> str:
        done = subprocess.run([*start, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout

    module = usage(sys.executable, "-m", "deforum")
    assert module.startswith("usage: python -m deforum [COMMAND]") and "    python -m deforum my.yaml seed=" in module
    script = usage(sys.executable, "render.py")
    assert script.startswith("usage: render.py [COMMAND]") and "    python render.py my.yaml seed=" in script
