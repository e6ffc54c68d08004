"""Steps behind a render from the command line: in a run, after a stop, and as commands of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deforum.cli.terminal import Stop
from deforum.events import Event, StepFrame
from deforum.loading import load
from deforum.rendering import check, render
from deforum.resuming import resume
from deforum.video.ffmpeg import count_frames, has_sound
from tests.cli.greys import paint_greys
from tests.helpers.command import SEA, Say
from tests.helpers.films import click, hear

STEPS = "post: [{upscale: {factor: 2, upscaler: lanczos}}]\n"


@pytest.fixture
def say(say: Say, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run the command line in a folder with sea.yaml, whose frames are greys."""
    paint_greys(monkeypatch)
    Path("sea.yaml").write_text(SEA)
    return say


def test_a_run_makes_its_steps(say: Say) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    done = say("sea.yaml", "-o", "out")
    assert done.status == 0, done.err
    assert done.out.split() == [str(Path("out/sea/sea.mp4")), str(Path("out/sea/sea_upscale2.mp4"))]
    assert count_frames(Path("out/sea/sea_upscale2.mp4")) == 6
    assert "sea.yaml: upscale 2, lanczos: 6 frames" in done.err
    assert len(list(Path("out/sea/frames").iterdir())) == 6
    assert say("verify", "out/sea").status == 0


def test_a_finished_run_is_left_alone_with_its_steps(say: Say) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    say("sea.yaml", "-o", "out")
    again = say("--resume", "out/sea")
    assert again.status == 0
    assert "lanczos" not in again.err
    Path("out/sea/post/upscale2/frames/000000003.png").unlink()
    assert say("verify", "out/sea").status == 1
    again = say("--resume", "out/sea")
    assert "upscale 2, lanczos: 1 frame\n" in again.err
    assert say("verify", "out/sea").status == 0


def test_a_stop_within_a_step_goes_on(say: Say, tmp_path: Path) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    frames: list[Event] = []

    def watch(event: Event) -> None:
        frames.extend([event] if isinstance(event, StepFrame) else [])

    result = render(load("sea.yaml").settings, output="out", observer=watch, stop=lambda: len(frames) == 2)
    assert result.stopped
    assert len(list((result.folder / "post" / "upscale2" / "frames").iterdir())) == 2
    whole = resume(result.folder)
    assert not whole.stopped
    assert whole.films == (result.folder / "sea.mp4", result.folder / "sea_upscale2.mp4")
    assert whole.video == whole.films[-1]


def test_frames_are_deleted_once_the_steps_are_made(say: Say) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    done = say("sea.yaml", "delete_imgs=true", "-o", "out")
    assert done.status == 0, done.err
    assert not Path("out/sea/frames").exists()
    assert count_frames(Path("out/sea/sea_upscale2.mp4")) == 6
    again = say("--resume", "out/sea")
    assert again.out.split()[-1] == str(Path("out/sea/sea_upscale2.mp4"))
    assert "6 frames" not in again.err.replace("6 frames of", "")


def test_an_edit_of_the_steps_renders_nothing_again(say: Say) -> None:
    say("sea.yaml", "-o", "out")
    frames = {path: path.stat().st_mtime_ns for path in Path("out/sea/frames").iterdir()}
    Path("sea.yaml").write_text(SEA + STEPS)
    done = say("sea.yaml", "--into", "out/sea")
    assert done.status == 0, done.err
    assert Path("out/sea/sea_upscale2.mp4").is_file()
    assert {path: path.stat().st_mtime_ns for path in Path("out/sea/frames").iterdir()} == frames


def test_runs_at_once_make_their_steps(say: Say) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    done = say("sea.yaml", "seed=1,2", "--together", "-o", "out")
    assert done.status == 0, done.err
    assert len(list(Path("out").rglob("*_upscale2.mp4"))) == 2


def test_a_list_of_lists_is_a_sweep(say: Say) -> None:
    done = say("sea.yaml", "post=[[{upscale: {upscaler: lanczos}}], [film]]", "-o", "out", "max_frames=2")
    assert done.status == 0, done.err
    assert len(list(Path("out/sea_sweep").glob("*/*.mp4"))) == 4


def test_upscale_a_run_and_then_its_frames(say: Say) -> None:
    say("sea.yaml", "-o", "out")
    done = say("upscale", "out/sea", "factor=2", "--upscaler", "lanczos", "video_format=gif")
    assert (done.status, done.out) == (0, f"{Path('out/sea/sea_upscale2.gif')}\n"), done.err
    done = say("upscale", "out/sea/post/upscale2", "upscale=1.5", "upscaler=lanczos", "-o", "shown.mp4")
    assert (done.status, done.out) == (0, "shown.mp4\n"), done.err
    assert count_frames(Path("shown.mp4")) == 6


def test_upscale_a_film(say: Say) -> None:
    say("sea.yaml", "-o", "out")
    done = say("upscale", "out/sea/sea.mp4", "upscaler=lanczos", "-o", "large.mp4", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["event"] for event in events if event["event"] != "step_frame"] == ["step", "step", "result"]
    assert events[-1] == {"event": "result", "status": 0, "films": ["large.mp4"]}
    assert count_frames(Path("large.mp4")) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("upscale", "nowhere"), "nowhere: no such folder"),
        (("upscale", "sea.yaml"), "film: sea.yaml is no clip that ffmpeg can read"),
        (("upscale", "out/sea", "factor=9"), "upscale: factor: 9 is out of range; expected 1.5..8 (times)"),
        (("upscale", "out/sea", "upscaler=nothing"), "'nothing' is neither one of auto, lanczos"),
        (("upscale", "out/sea", "steps=3"), "steps: has no effect on finished frames"),
        (("upscale", "out/sea", "--factr", "3"), "--factr: there is no such option or setting; did you mean --factor"),
        (("upscale", "out/sea", "out/sea", "-o", "a.mp4"), "a.mp4: there are 2 films to make; give -o a folder"),
        (("upscale",), "no settings file given"),
    ],
)
def test_what_cannot_be_done(say: Say, words: tuple[str, ...], message: str) -> None:
    say("sea.yaml", "-o", "out", "max_frames=1")
    done = say(*words)
    assert done.status == 2
    assert message in done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("post: [{upscale: 8}, {upscale: 8}, {upscale: 8}]", "makes frames of 32768x32768 px; expected at most 16384"),
        ("post: [{upscale: {factor: 8, upscaler: lanczos}}]\nmax_frames: 10000\nsize: {width: 2048, height: 2048}",
         "10000 frames of 16384x16384 take at least"),
        ("finish: embedded\npost: [finish]", "finish: the frames of the run are finished already"),
        ("upscale: 8\nupscaler: lanczos\nvideo_format: h265\nsize: {width: 2048, height: 64}",
         "h265 cannot store 16384x512"),
    ],
)  # fmt: skip
def test_check_meets_it_first(say: Say, settings: str, message: str) -> None:
    text = "".join(
        f"{line}\n" for line in SEA.splitlines() if line.partition(":")[0] not in settings.replace("post: [finish]", "")
    )
    Path("sea.yaml").write_text(text + settings)
    done = say("check", "sea.yaml")
    assert done.status == 2
    assert message in done.err


def test_check_tells_how_long_networks_take(say: Say) -> None:
    Path("a.pth").touch()
    Path("sea.yaml").write_text(
        SEA + "post: [{upscale: {factor: 2, upscaler: lanczos}}, {upscale: {upscaler: a.pth}}]\n"
    )
    done = say("check", "sea.yaml", "-v")
    if done.status == 2:
        assert "needs a package that is not installed" in done.err
    else:
        assert "upscale 2, " in done.err and "6 frames of 128x128 take about 71 s of one CPU core" in done.err


def test_the_library_checks_steps(say: Say) -> None:
    Path("sea.yaml").write_text(SEA + STEPS)
    assert [note for note in check(load("sea.yaml").settings).notes if "size:" not in note] == []


@pytest.mark.parametrize(
    ("sound", "at"), [("stretch", 0.5), ("keep", 0.25), ("cut", None)], ids=["stretched", "own speed", "left out"]
)
def test_slow_motion_and_its_sound(say: Say, tmp_path: Path, sound: str, at: float | None) -> None:
    click(tmp_path / "sound.wav", at=0.25, seconds=1.0)
    say("sea.yaml", "-o", "out", "add_soundtrack=File", "soundtrack_path=sound.wav")
    done = say("interpolate", "out/sea", "times=4", "slow=2", f"sound={sound}")
    assert done.status == 0, done.err
    film = Path(done.out.strip())
    assert count_frames(film) == 24
    assert has_sound(film) == (at is not None)
    if at is not None:
        heard = np.abs(hear(film))
        assert np.flatnonzero(heard > 0.25 * heard.max())[0] / 48000 == pytest.approx(at, abs=0.05)
        assert len(heard) / 48000 == pytest.approx(1.0, abs=0.1)


def test_a_stop_leaves_a_command_that_goes_on(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    say("sea.yaml", "-o", "out")
    monkeypatch.setattr(Stop, "__call__", lambda self: True)
    done = say("upscale", "out/sea", "upscaler=lanczos")
    assert done.status == 130
    assert "to go on:" in done.err
