"""The command line, from outside: what it prints where, its exit status, and what it leaves on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deforum.video.ffmpeg import count_frames
from tests.cli.greys import paint_greys
from tests.helpers import wait_until
from tests.helpers.command import ENVIRONMENT, SEA, Said, Say, say
from tests.helpers.films import decode

if TYPE_CHECKING:
    pass


@pytest.fixture
def paint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line with greys for pictures, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run_it(*words: str | Path, break_at: int = -1) -> Said:
        paint_greys(monkeypatch, break_at=break_at)
        return say(capsys, *words)

    return run_it


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    path = tmp_path / "sea.yaml"
    path.write_text(SEA)
    return path


def test_a_render_ends_with_the_path_of_the_video(sea: Path, tmp_path: Path, paint: Say) -> None:
    said = paint(sea, "max_frames=8", "-o", tmp_path / "films")
    assert said.status == 0, said.err
    film = Path(said.out.splitlines()[-1])
    assert film == tmp_path / "films" / "sea" / "sea.mp4"
    assert [round(float(frame.mean()) / 20) for frame in decode(film, 64, 64)] == list(range(8))
    assert "frame 8/8" in said.err
    assert sorted(p.name for p in (tmp_path / "films" / "sea").iterdir()) == ["frames", "sea.mp4", "settings.yaml"]


def test_the_resolved_settings_render_the_same_again(sea: Path, tmp_path: Path, paint: Say) -> None:
    from deforum.loading import load

    assert paint(sea, "seed=-1", "-q") == Said(0, f"{Path('output/sea/sea.mp4')}\n", "")
    first = tmp_path / "output" / "sea" / "settings.yaml"
    again = load(first).settings
    assert again.seed >= 0 and again.max_frames == 6 and again.prompts == load(sea).settings.prompts
    assert paint(first, "-q").out == f"{Path('output/sea_2/sea_2.mp4')}\n"
    assert first.read_text() == (tmp_path / "output/sea_2/settings.yaml").read_text()


@contextmanager
def held(sea: Path, frame: int) -> Iterator[subprocess.Popen[str]]:
    """Render in a process of its own, as far as a frame that it does not finish."""
    script = (
        "import sys, pytest; from deforum.cli import main as cli; from tests.cli.greys import paint_greys; "
        f"paint_greys(pytest.MonkeyPatch(), hold_at={frame}); sys.exit(cli.main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(sea), "max_frames=200", "delete_imgs=true"],
        cwd=sea.parent, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert wait_until(lambda: (sea.parent / "begun").exists() or process.poll() is not None, 120)
            yield process
        finally:
            process.kill()


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    """Wait until the process has said a line on stderr that begins so."""
    assert process.stderr is not None
    assert any(line.startswith(beginning) for line in process.stderr), f"{beginning!r} was never said"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_finishes_the_frame_and_closes_the_video(
    number: signal.Signals, status: int, sea: Path, tmp_path: Path
) -> None:
    with held(sea, 4) as process:
        os.kill(process.pid, number)
        await_line(process, "stopping after this frame")
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=80)
    assert process.returncode == status and "Traceback" not in err
    film = Path(out.splitlines()[-1])
    assert count_frames(tmp_path / film) == 5  # the one that was begun is the last
    assert len(list((tmp_path / "output" / "sea" / "frames").iterdir())) == 5  # unfinished: frames are kept after all
    assert f"stopped after 5 frames: {Path('output/sea')}" in err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_a_second_interrupt_stops_at_once(sea: Path, tmp_path: Path) -> None:
    """The frame that was begun is never finished: if it were waited for, the time would run out."""
    frames = tmp_path / "output" / "sea" / "frames"
    with held(sea, 1) as process:
        assert wait_until(lambda: len(list(frames.glob("*.png"))) == 1)
        os.kill(process.pid, signal.SIGINT)
        await_line(process, "stopping after this frame")  # two signals at once may arrive as one
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=80)
    assert process.returncode == 130
    assert "frames finished: 1, in output/sea" in err and "Traceback" not in err and out == ""


def test_something_unexpected_keeps_what_is_finished_and_says_where(sea: Path, tmp_path: Path, paint: Say) -> None:
    said = paint(sea, break_at=3)
    assert said.status == 1
    assert "RuntimeError: the model broke" in said.err and "Traceback" in said.err
    assert f"frames finished: 3, in {Path('output/sea')}" in said.err and said.out == ""
    assert count_frames(tmp_path / "output" / "sea" / "sea.mp4") == 3


def test_several_files_one_fails_one_breaks_the_others_render(sea: Path, tmp_path: Path, paint: Say) -> None:
    (tmp_path / "bad.yaml").write_text(SEA + "zomm: 3\n")
    (tmp_path / "model.yaml").write_text(SEA.replace("seed: 7", "seed: 666"))
    (tmp_path / "z.yaml").write_text(SEA.replace("sea", "land"))
    said = paint(".", "max_frames=3")
    assert said.status == 2
    assert said.out.splitlines() == [str(Path("output/sea/sea.mp4")), str(Path("output/land/land.mp4"))]
    table = [line.split()[:3] for line in said.err.splitlines()[-5:]]
    assert table == [
        ["state", "file", "frames"],
        ["failed", "bad.yaml", "0"],
        ["failed", "model.yaml", "0"],
        ["done", "sea.yaml", "3"],
        ["done", "z.yaml", "3"],
    ]
    assert "Traceback" not in said.err and "no such model" in said.err
    assert sorted(p.name for p in (tmp_path / "output").iterdir()) == ["land", "sea"]
    assert paint("sea.yaml", "z.yaml", "max_frames=2", break_at=1).status == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.yaml"], "nothing.yaml: no such file; expected a settings file"),
        (["sea.yaml", "-o", "sea.yaml"], "sea.yaml: is a file; output takes the folder for the runs"),
        (["sea.yaml", "zomm=1"], "zomm"),
        (["sea.yaml", "crf=99"], "crf"),
        (["sea.yaml", "fps=0"], "fps"),
        (["check", "sea.yaml", "width=abc"], "width"),
    ],
)
def test_user_errors_are_one_message_and_status_2(
    words: list[str], message: str, sea: Path, tmp_path: Path, paint: Say
) -> None:
    said = paint(*words)
    assert said.status == 2 and message in said.err and "Traceback" not in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"] and said.out == ""


def test_check_says_what_it_found_good(sea: Path, tmp_path: Path, paint: Say) -> None:
    size = "size: 64x64 is small for the embedded model, trained at 256x256: pictures lose their subject"
    assert paint("check", sea) == Said(
        0, f"{sea}: good: 6 frames of 64x64, 12 fps, 0:00, 2D\n", f"{sea.name}: {size}\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"]


def test_ffmpeg_is_tried_before_anything_is_rendered(
    sea: Path, tmp_path: Path, paint: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    said = paint(sea)
    assert said.status == 2 and "ffmpeg" in said.err and not (tmp_path / "output").exists()
    assert paint(sea, "skip_video_creation=true", "-q").out == f"{Path('output/sea')}\n"
