"""Profiles: how time is attributed to stages in several threads, what the trace holds, and that nothing changes."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deforum.background import Background
from deforum.errors import UserError
from deforum.events import Event, FrameShown, Profiled, RunFinished
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.profiling import (
    IDLE,
    OTHER,
    STAGES,
    TRACE_FILE,
    WAITING,
    Breakdown,
    Recorder,
    StageShare,
    Tally,
    count,
    each,
    frame_done,
    in_context,
    is_recording,
    recording,
    stage,
    staged,
)
from deforum.rendering import render

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"prompts": "hills", "max_frames": 3, "width": 64, "height": 64, "steps": 2, "cadence": 2, "seed": 4}


@pytest.mark.parametrize(
    ("steps", "spent", "lasted"),
    [
        # (time, thread, stage that begins there, or None for the end of one); thread 0 renders; the end is at 10
        ([], {OTHER: 10}, {OTHER: 10}),
        ([(2, 0, "a"), (5, 0, None)], {"a": 3, OTHER: 7}, {"a": 3, OTHER: 7}),
        # a stage within another one interrupts it
        ([(0, 0, "a"), (2, 0, "b"), (5, 0, None), (10, 0, None)], {"a": 7, "b": 3}, {"a": 7, "b": 3}),
        ([(0, 0, "a"), (2, 0, "a"), (5, 0, None), (10, 0, None)], {"a": 10}, {"a": 10}),
        # beside the rendering thread: hidden
        ([(0, 0, "a"), (2, 1, "b"), (5, 1, None)], {"a": 10, "b": 3}, {"a": 10}),
        # it waits for the other one
        ([(0, 0, WAITING), (2, 1, "b"), (5, 1, None)], {WAITING: 7, "b": 3}, {WAITING: 7, "b": 3}),
        # it waits for two that do the same, and for two that do not
        ([(0, 0, WAITING), (0, 1, "b"), (0, 2, "b")], {"b": 20}, {"b": 10}),
        ([(0, 0, WAITING), (0, 1, "b"), (0, 2, "c"), (6, 2, None)], {"b": 10, "c": 6}, {"b": 7, "c": 3}),
        # others that wait do not work
        ([(0, 0, WAITING), (0, 1, WAITING), (4, 2, "b")], {WAITING: 4, "b": 6}, {WAITING: 4, "b": 6}),
    ],
)
def test_each_moment_belongs_to_the_stage_that_the_run_waits_for(
    steps: list[tuple[int, int, str | None]], spent: Mapping[str, float], lasted: Mapping[str, float]
) -> None:
    tally = Tally(0, 0)
    for time, thread, name in steps:
        if name is None:
            tally.leave(thread, time)
        else:
            tally.enter(thread, name, time)
    tally.pass_to(10)
    assert {name: value for name, value in tally.spent.items() if value} == spent
    assert {name: value for name, value in tally.lasted.items() if value} == lasted
    assert sum(tally.lasted.values()) == 10


def test_nothing_is_done_without_a_recorder() -> None:
    items = iter([1, 2])
    assert not is_recording() and stage("decode") is IDLE is stage("encode", 3) and each("schedule", items) is items
    with stage("decode"):
        count("queue", 1)
        frame_done(0)
    assert staged("decode")(lambda x: x + 1)(1) == 2


def nothing() -> None: ...


def ticking() -> Callable[[], int]:
    """Return a clock that goes on by 1 ms each time that it is read."""
    return partial(next, itertools.count(0, 10**6))


def events_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def named(events: list[dict[str, Any]]) -> dict[str, int]:
    return {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}


def test_the_trace_has_threads_stages_frames_and_counters(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"

    def work(item: int) -> None:
        with stage("write", item):
            pass

    with recording(Recorder(path, clock=ticking())):
        assert is_recording()
        beside = Background(work, name="pictures", threads=2)
        for index in each("schedule", iter(range(2))):
            with stage("decode", index):
                beside.put(index)
            frame_done(index)
        # What is written so far can be read, after a crash too: the end of the list may be missing.
        assert json.loads(path.read_text(encoding="utf-8") + "]")
        beside.close()
    assert not is_recording()
    events = events_of(path)
    tracks = named(events)
    assert set(tracks) >= {"frames", threading.current_thread().name} and set(tracks) & {"pictures 1", "pictures 2"}
    spans = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] > 0 and event["ts"] >= 0 and event["pid"] == 1 for event in spans)
    frames = [event for event in spans if event["tid"] == tracks["frames"]]
    assert [event["name"] for event in frames] == ["frame 0", "frame 1"]
    assert frames[0]["ts"] + frames[0]["dur"] == pytest.approx(frames[1]["ts"])
    own = [event for event in spans if event["tid"] == tracks[threading.current_thread().name]]
    assert [event["name"] for event in own if event["name"] != WAITING] == ["schedule", "decode"] * 2 + ["schedule"]
    written = [event for event in spans if event["name"] == "write"]
    assert sorted(event["args"]["frame"] for event in written) == [0, 1]
    assert {event["tid"] for event in written} <= {tracks.get("pictures 1"), tracks.get("pictures 2")}
    counters = [event for event in events if event["ph"] == "C"]
    assert {event["name"] for event in counters} == {"pictures"}
    assert all(event["args"]["waiting"] >= 0 for event in counters)


def test_threads_report_to_the_recorder_of_their_context() -> None:
    with recording(Recorder(clock=ticking())) as recorder:
        threads = [threading.Thread(target=in_context(staged("noise")(nothing))) for _ in range(2)]
        with stage(WAITING):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        threading.Thread(target=staged("depth")(nothing)).start()  # of no context
    stages = {each.stage: each for each in recorder.breakdown().stages}
    assert set(stages) == {"noise", WAITING, OTHER}
    assert stages["noise"].lasted > 0


def test_the_device_is_waited_for_on_the_rendering_thread_only() -> None:
    waits: list[str] = []
    with recording(Recorder(settle=lambda: waits.append(threading.current_thread().name))):
        with stage("decode"):
            pass
        other = threading.Thread(target=in_context(staged("write")(nothing)))
        other.start()
        other.join()
    assert waits == [threading.current_thread().name]


def test_the_table() -> None:
    stages = (StageShare("decode", 1.0, 1.0), StageShare("write", 0.5, 0.1), StageShare(WAITING, 0.9, 0.9))
    assert Breakdown(10, 2.0, stages).table().splitlines() == [
        "stage      ms per frame    share  hidden by overlap",
        "decode            100.0   50.0 %",
        "write              50.0    5.0 %               40.0",
        "waiting            90.0   45.0 %",
        "whole run         200.0  100.0 %               40.0",
        "10 frames in 2.00 s: 5.00 frames/s",
    ]


def test_every_stage_is_explained_in_the_docs() -> None:
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert [name for name, about in STAGES.items() if f"| {name} | {about} |" not in text] == []


@pytest.fixture(scope="module")
def models() -> KeptModels:
    return KeptModels()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "stages", "threads"),
    [
        ({}, {"motion", "in-between", "filters"}, set()),
        ({"animation_mode": "3D"}, {"motion", "depth", "in-between"}, set()),
        ({"profile": "deforum"}, {"motion", "in-between"}, set()),
        # frames that are painted beside each other
        ({"animation_mode": "Interpolation"}, set(), {"painting_0", "painting_1"}),
    ],
)
def test_a_profiled_render_gives_the_same_pictures(
    changes: Mapping[str, object], stages: set[str], threads: set[str],
    models: KeptModels, two_threads: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    settings = load({**SMALL, **changes}).settings
    pictures: list[list[np.ndarray[Any, Any]]] = []
    told: list[Event] = []
    for profile in (False, True):
        told = []
        render(settings, output="out", models=models, observer=told.append, profile=profile)
        pictures.append([event.picture.numpy() for event in told if isinstance(event, FrameShown)])
    assert all(np.array_equal(one, other) for one, other in zip(*pictures, strict=True))
    profiled, finished = told[-2:]
    assert isinstance(profiled, Profiled) and isinstance(finished, RunFinished)
    found = {each.stage for each in profiled.breakdown.stages}
    assert found >= {"schedule", "noise", "prompt", "denoise", "decode", "write"} | stages and found <= set(STAGES)
    lasted = sum(each.lasted for each in profiled.breakdown.stages)
    assert profiled.breakdown.frames == 3 and lasted == pytest.approx(profiled.breakdown.seconds)
    assert profiled.trace == finished.result.folder / TRACE_FILE
    assert set(named(events_of(profiled.trace))) >= threads


def test_a_trace_that_cannot_be_written_ends_the_run_before_it_begins(models: KeptModels, tmp_path: Path) -> None:
    trace = tmp_path / "nowhere" / "trace.json"
    with pytest.raises(UserError, match=r"nowhere.*cannot be written"):
        render(load(SMALL).settings, output=tmp_path / "out", models=models, profile=trace)
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_ends_the_trace_and_not_the_render(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with recording(Recorder(full)) as recorder:
        for index in range(100):
            with stage("decode"):
                frame_done(index)
    assert recorder.breakdown().frames == 100
    assert caplog.text.count("the trace ends here") == 1
