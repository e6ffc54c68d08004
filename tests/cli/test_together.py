"""`render --together`: several runs at once, from outside."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from deforum.animation.together import Meeting
from deforum.pixels.image import Image, from_bytes
from deforum.timeline.frame import Frame
from deforum.video.ffmpeg import count_frames
from tests.helpers.command import SEA, Said, Say, paint_with, say
from tests.helpers.films import decode

LAND = SEA.replace("sea", "land").replace("max_frames: 6", "max_frames: 4").replace("seed: 7", "seed: 20")


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line beside sea.yaml and land.yaml; pictures are greys of 4 levels for each unit of the seed.

    `at(frame)` is called before each painting.
    """
    monkeypatch.chdir(tmp_path)
    Path("sea.yaml").write_text(SEA)
    Path("land.yaml").write_text(LAND)

    def run(*words: str, at: Callable[[Frame], None] = lambda frame: None) -> Said:
        def paint(init: Image | None, frame: Frame) -> Image:
            at(frame)
            size = (64, 64, 3) if init is None else (*init.shape[1:], 3)
            return from_bytes(np.full(size, frame.seed * 4, np.uint8))

        paint_with(monkeypatch, paint, refused=lambda settings: settings.seed == 666)
        return say(capsys, *words)

    return run


@pytest.fixture
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_files_render_at_once_and_are_told_in_their_order(render: Say) -> None:
    said = render("sea.yaml", "land.yaml", "--together")
    assert said.status == 0, said.err
    assert said.out.splitlines() == [str(Path(f"output/{name}/{name}.mp4")) for name in ("sea", "land")]
    assert "[1/1] 64x64, embedded, together: sea.yaml, land.yaml" in said.err and "frame 10/10" in said.err
    for name, count, seed in (("sea", 6, 7), ("land", 4, 20)):
        levels = [round(float(frame.mean()) / 4) for frame in decode(Path(f"output/{name}/{name}.mp4"), 64, 64)]
        assert levels == list(range(seed, seed + count))


def test_one_file_alone_renders_as_ever(render: Say) -> None:
    said = render("sea.yaml", "--together")
    assert said.status == 0 and "together" not in said.err


def test_other_sizes_are_groups_of_their_own(render: Say) -> None:
    Path("land.yaml").write_text(LAND.replace("width: 64", "width: 128"))
    said = render("sea.yaml", "land.yaml", "seed=1,2", "--together", "skip_video_creation=true")
    lines = [line for line in said.err.splitlines() if line.startswith("[")]
    assert lines == [
        "[1/2] 64x64, embedded, together: sea.yaml seed=1, sea.yaml seed=2",
        "[2/2] 128x64, embedded, together: land.yaml seed=1, land.yaml seed=2",
    ]


def test_events_and_the_result_name_their_run(render: Say) -> None:
    said = render("sea.yaml", "seed=3,4", "max_frames=2", "--together", "--json", "-q")
    events = [json.loads(line) for line in said.out.splitlines()]
    for label in ("sea.yaml seed=3", "sea.yaml seed=4"):
        own = [event["event"] for event in events if event.get("file") == label and event["event"] != "times"]
        assert own == ["prepared", "loaded", "frame", "frame", "finished"]
    assert [run["swept"] for run in events[-1]["runs"]] == [{"seed": "3"}, {"seed": "4"}]


def test_a_sweep_has_its_sheet(render: Say) -> None:
    said = render("sea.yaml", "seed=3,4,5", "max_frames=2", "--together")
    assert said.status == 0 and said.out.splitlines()[-1] == str(Path("output/sea_sweep/sheet.png"))
    assert [line.split()[:3] for line in said.err.splitlines()[-3:]] == [
        ["done", "sea.yaml", f"seed={seed}"] for seed in (3, 4, 5)
    ]


@pytest.mark.parametrize(
    ("change", "status", "state", "message"),
    [
        ("zomm: 3", 2, "failed", "zomm"),
        ("seed: 666", 2, "failed", "no such model"),
        ("seed: 40", 1, "broke", "RuntimeError: the model broke"),
    ],
)
def test_an_error_in_one_leaves_the_others(change: str, status: int, state: str, message: str, render: Say) -> None:
    def breaks(frame: Frame) -> None:
        if frame.seed == 42:
            raise RuntimeError("the model broke")

    Path("bad.yaml").write_text(SEA.replace("sea", "bad").replace("seed: 7\n", "") + change + "\n")
    said = render("bad.yaml", "sea.yaml", "land.yaml", "--together", at=breaks)
    assert said.status == status and message in said.err
    table = [line.split()[:3] for line in said.err.splitlines()[-3:]]
    assert table == [[state, "bad.yaml", "0"], ["done", "sea.yaml", "6"], ["done", "land.yaml", "4"]]
    if state == "broke":
        assert count_frames(Path("output/bad/bad.mp4")) == 2
        assert "in bad.yaml; the other runs go on" in said.err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_an_interrupt_closes_the_films_of_all(render: Say) -> None:
    def stops(frame: Frame) -> None:
        if frame.seed == 10:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)

    said = render("sea.yaml", "land.yaml", "max_frames=200", "--together", at=stops)
    assert said.status == 130 and "Traceback" not in said.err
    assert said.err.count("stopping after this frame") == 1
    for name, at_least in (("sea", 4), ("land", 1)):
        count = count_frames(Path(f"output/{name}/{name}.mp4"))
        assert at_least <= count < 20
        assert f"stopped after {count} frames: {Path('output') / name}" in said.err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_a_second_interrupt_ends_all_after_the_painting_in_progress(
    render: Say, monkeypatch: pytest.MonkeyPatch, two_cores: None
) -> None:
    painting, is_aborted, abort = threading.Barrier(2), threading.Event(), Meeting.abort

    def aborts(meeting: Meeting) -> None:
        abort(meeting)
        is_aborted.set()

    monkeypatch.setattr(Meeting, "abort", aborts)

    def stops(frame: Frame) -> None:
        if frame.index == 3:
            painting.wait(10)
            if frame.seed == 10:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)  # a person's second press: the first one has been heard
                os.kill(os.getpid(), signal.SIGINT)
            assert is_aborted.wait(10)

    said = render("sea.yaml", "land.yaml", "--together", "max_frames=9", at=stops)
    assert said.status == 130 and "Traceback" not in said.err and said.out == ""
    for name in ("sea", "land"):
        assert f"{name}.yaml: stopped\nframes finished: 3, in {Path('output') / name}" in said.err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_what_was_stopped_goes_on_together_or_alone(render: Say) -> None:
    """A run of several at once is not one with stages of its own."""

    def stops(frame: Frame) -> None:
        if frame.seed == 9:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)

    names = ("sea", "land", "ice")
    Path("ice.yaml").write_text(SEA.replace("sea", "ice").replace("seed: 7", "seed: 40"))
    files = [f"{name}.yaml" for name in names]
    assert render(*files, "max_frames=20", "--together", at=stops).status == 130
    assert render("--resume", "output/land").status == 0
    said = render(*files, "max_frames=20", "--together", "--continue")
    assert said.status == 0, said.err
    for name, seed in zip(names, (7, 20, 40), strict=True):
        film = Path(f"output/{name}/{name}.mp4")
        levels = [round(float(frame.mean()) / 4) for frame in decode(film, 64, 64)]
        assert count_frames(film) == 20 and levels == list(range(seed, seed + 20))


@pytest.mark.parametrize("words", [("seed=1,2",), ("land.yaml",)])
def test_a_profile_is_of_runs_alone(words: tuple[str, ...], render: Say) -> None:
    said = render("sea.yaml", *words, "--together", "--profile")
    assert said.status == 2 and said.out == "" and not Path("output").exists()
    assert "--profile --together: the time of runs at once cannot be told apart" in said.err


def test_runs_that_are_named_to_be_resumed_go_on_one_by_one(render: Say) -> None:
    assert render("sea.yaml", "land.yaml", "skip_video_creation=true", "--together").status == 0
    said = render("--resume", "output/sea", "--resume", "output/land", "--together")
    assert said.status == 2 and "--resume --together: runs are resumed one after the other" in said.err
