"""The command line, from outside: what it prints where, its exit status, and what it leaves on the disk."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from deforum.cli import main as cli
from deforum.cli.files import find_files, split_words
from deforum.cli.terminal import Progress, clock
from deforum.errors import UserError
from deforum.pixels.image import from_bytes
from deforum.video.ffmpeg import count_frames
from tests.video.test_writer import decode

if TYPE_CHECKING:
    from deforum.pixels.image import Image
    from deforum.timeline.frame import Frame

ROOT = Path(__file__).parents[2]

SETTINGS = """\
max_frames: 6
fps: 12
seed: 7
batch_name: sea
prompts: {0: a calm sea}
size: {width: 64, height: 64}
motion: {animation_mode: 2D, zoom: 1}
feedback: {color_coherence: None, cadence: 1}
"""


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


def paint_greys(patch: pytest.MonkeyPatch, *, pace: float = 0, break_at: int = -1) -> None:
    """Leave everything real but the diffusion: frame n comes out as a grey of n * 20 levels; from the second on
    after `pace` seconds."""
    import deforum.build as build
    from deforum.animation.painter import each

    def paint(init: Image | None, frame: Frame) -> Image:
        time.sleep(pace if frame.index else 0)
        if frame.index == break_at:
            raise RuntimeError("the model broke")
        return from_bytes(np.full((64, 64, 3), frame.index * 20 % 256, np.uint8))

    def load(prepared: build.Prepared, models: object) -> build.LoadedModel:
        if prepared.settings.seed == 666:
            raise UserError("no such model: bad.safetensors")
        return build.LoadedModel(each(paint), torch.device("cpu"), 8)

    patch.setattr(build, "load_model", load)


@pytest.fixture
def paint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line with greys for pictures, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run_it(*words: str | Path, break_at: int = -1) -> Said:
        paint_greys(monkeypatch, break_at=break_at)
        return Said(cli.main([str(word) for word in words]), *capsys.readouterr())

    return run_it


def painted(*words: str, cwd: Path, pace: float) -> subprocess.Popen[str]:
    """Do that in a process of its own, which can be interrupted."""
    script = (
        "import sys, pytest; from deforum.cli import main as cli; from tests.cli.test_render import paint_greys; "
        f"paint_greys(pytest.MonkeyPatch(), pace={pace}); sys.exit(cli.main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run render.py as a user does."""
    command = [sys.executable, str(ROOT / "render.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True)


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    path = tmp_path / "sea.yaml"
    path.write_text(SETTINGS)
    return path


# --- light things -----------------------------------------------------------------------------------------------------


def test_help_is_quick_and_light(tmp_path: Path) -> None:
    times = []
    for _ in range(3):
        before = os.times()
        done = run("--help", cwd=tmp_path)
        after = os.times()  # of the processor, not of the clock: other work on the machine does not count
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert done.returncode == 0 and "name=value" in done.stdout and "check" in done.stdout
    assert min(times) < 0.3


HEAVY = "torch diffusers transformers cv2 numexpr numpy tqdm"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["check", "--help"], []])
def test_nothing_heavy_is_imported_for_words(words: list[str], tmp_path: Path) -> None:
    script = f"""
        import sys
        from deforum.cli import main as cli
        try:
            cli.main({words!r})
        except SystemExit:
            pass
        print("loaded:", *(name for name in "{HEAVY}".split() if name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_mistakes_are_found_without_torch(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SETTINGS + "zomm: 3\nstrength: 0:(sin(t)\n")
    script = """
        import sys
        from deforum.cli import main as cli
        status = cli.main(["check", "bad.yaml"])
        print(status, *(name for name in "torch diffusers transformers cv2".split() if name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.stdout.strip() == "2"
    assert "zomm" in done.stderr and "strength" in done.stderr and "Traceback" not in done.stderr


def test_version(tmp_path: Path) -> None:
    from deforum import __version__

    assert run("--version", cwd=tmp_path).stdout == f"deforum {__version__}\n"


@pytest.mark.parametrize(
    ("words", "files", "overrides"),
    [
        (["a.yaml"], ["a.yaml"], []),
        (["a.yaml", "seed=3", "b.yaml"], ["a.yaml", "b.yaml"], ["seed=3"]),
        (["strength=0:(0.5), 3:(a=b)"], [], ["strength=0:(0.5), 3:(a=b)"]),
        (["a=b.yaml"], ["a=b.yaml"], []),  # there is such a file
        (["c=d.yaml"], [], ["c=d.yaml"]),  # there is not
        (["./c=d.yaml", "3=4"], ["./c=d.yaml", "3=4"], []),  # not the name of a setting
        (["cn_1_weight=1", "prompt="], [], ["cn_1_weight=1", "prompt="]),
    ],
)
def test_files_and_settings_are_told_apart(
    words: list[str], files: list[str], overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a=b.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert split_words(words) == (files, overrides)


def test_a_first_word_is_a_command_unless_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    command, arguments = cli.parse(["a.yaml", "-o", "out", "seed=3", "check"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["a.yaml", "check"]
    assert (arguments.output, arguments.overrides, arguments.quiet) == (Path("out"), ["seed=3"], False)
    (tmp_path / "check").mkdir()
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    (tmp_path / "check").rmdir()
    (tmp_path / "check").write_text("")
    command, arguments = cli.parse(["check", "a.yaml"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["check", "a.yaml"]


def test_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.yaml", "a.txt", "c.json", "notes.md", "deep/d.yml", "[x].yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def found(*words: str) -> list[str]:
        return [path.as_posix() for path in find_files(words)]

    assert found("b.yaml", "a.txt", "b.yaml") == ["b.yaml", "a.txt"]
    assert found("deep") == ["deep/d.yml"]
    assert found("*.yaml") == ["[x].yaml", "b.yaml"]
    assert found("[x].yaml") == ["[x].yaml"]  # a file of that very name comes before the pattern
    assert found("**/*.y*ml") == ["[x].yaml", "b.yaml", "deep/d.yml"]
    assert found(".") == ["[x].yaml", "a.txt", "b.yaml", "c.json"]
    with pytest.raises(UserError) as error:
        found("none.yaml", "b.yaml", "*.xml")
    assert [problem.where for problem in error.value.problems] == ["none.yaml", "*.xml"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")])
def test_times_read_as_people_write_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_progress_off_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = Progress(stream, quiet=False)
    for done in range(13):
        progress(done, 12)
        now += 2
    assert stream.getvalue().splitlines() == [
        "frame 3/12, 0.5 frames/s, 0:18 left",
        "frame 6/12, 0.5 frames/s, 0:12 left",
        "frame 9/12, 0.5 frames/s, 0:06 left",
        "frame 12/12, 0.5 frames/s in 0:24",
    ]


def test_progress_on_a_terminal_is_a_bar_with_frames_speed_and_time_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = Progress(stream, quiet=False)
    for done in range(5):
        progress(done, 8)
        time.sleep(0.06)
    progress.close()
    last = stream.getvalue().replace("\n", "\r").split("\r")[-2]
    assert "4/8" in last and "frame/s" in last and "<" in last


# --- rendering --------------------------------------------------------------------------------------------------------


def test_a_render_ends_with_the_path_of_the_video(sea: Path, tmp_path: Path, paint: Callable[..., Said]) -> None:
    said = paint(sea, "max_frames=8", "-o", tmp_path / "films")
    assert said.status == 0, said.err
    film = Path(said.out.splitlines()[-1])
    assert film == tmp_path / "films" / "sea" / "sea.mp4"
    assert [round(float(frame.mean()) / 20) for frame in decode(film, 64, 64)] == list(range(8))
    assert "frame 8/8" in said.err
    assert sorted(p.name for p in (tmp_path / "films" / "sea").iterdir()) == ["frames", "sea.mp4", "settings.yaml"]


def test_the_resolved_settings_render_the_same_again(sea: Path, tmp_path: Path, paint: Callable[..., Said]) -> None:
    from deforum.loading import load

    assert paint(sea, "seed=-1", "-q") == Said(0, f"{Path('output/sea/sea.mp4')}\n", "")
    first = tmp_path / "output" / "sea" / "settings.yaml"
    again = load(first).settings
    assert again.seed >= 0 and again.max_frames == 6 and again.prompts == load(sea).settings.prompts
    assert paint(first, "-q").out == f"{Path('output/sea_2/sea_2.mp4')}\n"
    assert first.read_text() == (tmp_path / "output/sea_2/settings.yaml").read_text()


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    """Wait until the process has said a line on stderr that begins so."""
    assert process.stderr is not None
    assert any(line.startswith(beginning) for line in process.stderr), f"{beginning!r} was never said"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_finishes_the_frame_and_closes_the_video(
    number: signal.Signals, status: int, sea: Path, tmp_path: Path
) -> None:
    with painted(str(sea), "max_frames=200", "delete_imgs=true", cwd=tmp_path, pace=0.1) as process:
        frames = tmp_path / "output" / "sea" / "frames"
        while not (frames.is_dir() and len(list(frames.glob("*.png"))) > 3):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=80)
    assert process.returncode == status and "Traceback" not in err
    film = Path(out.splitlines()[-1])
    written = count_frames(tmp_path / film)
    assert 4 <= written < 30 and len(list(frames.iterdir())) == written  # unfinished: frames are kept after all
    assert f"stopped after {written} frames: {Path('output/sea')}" in err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_a_second_interrupt_stops_at_once(sea: Path, tmp_path: Path) -> None:
    with painted(str(sea), "max_frames=200", cwd=tmp_path, pace=90) as process:
        frames = tmp_path / "output" / "sea" / "frames"
        while not (frames.is_dir() and len(list(frames.glob("*.png"))) == 1):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        await_line(process, "stopping after this frame")  # two signals at once may arrive as one
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=80)
    assert process.returncode == 130 and time.monotonic() - started < 60
    assert "frames finished: 1, in output/sea" in err and "Traceback" not in err and out == ""


def test_something_unexpected_keeps_what_is_finished_and_says_where(
    sea: Path, tmp_path: Path, paint: Callable[..., Said]
) -> None:
    said = paint(sea, break_at=3)
    assert said.status == 1
    assert "RuntimeError: the model broke" in said.err and "Traceback" in said.err
    assert f"frames finished: 3, in {Path('output/sea')}" in said.err and said.out == ""
    assert count_frames(tmp_path / "output" / "sea" / "sea.mp4") == 3


def test_several_files_one_fails_one_breaks_the_others_render(
    sea: Path, tmp_path: Path, paint: Callable[..., Said]
) -> None:
    (tmp_path / "bad.yaml").write_text(SETTINGS + "zomm: 3\n")
    (tmp_path / "model.yaml").write_text(SETTINGS.replace("seed: 7", "seed: 666"))
    (tmp_path / "z.yaml").write_text(SETTINGS.replace("sea", "land"))
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
    words: list[str], message: str, sea: Path, tmp_path: Path, paint: Callable[..., Said]
) -> None:
    said = paint(*words)
    assert said.status == 2 and message in said.err and "Traceback" not in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"] and said.out == ""


def test_only_settings_is_a_question(tmp_path: Path) -> None:
    done = run("seed=3", cwd=tmp_path)
    assert done.returncode == 2 and "which settings file?" in done.stderr


def test_check_says_what_it_found_good(sea: Path, tmp_path: Path, paint: Callable[..., Said]) -> None:
    assert paint("check", sea) == Said(0, f"{sea}: good: 6 frames of 64x64, 12 fps, 0:00, 2D\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"]


def test_ffmpeg_is_tried_before_anything_is_rendered(
    sea: Path, tmp_path: Path, paint: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    said = paint(sea)
    assert said.status == 2 and "ffmpeg" in said.err and not (tmp_path / "output").exists()
    assert paint(sea, "skip_video_creation=true", "-q").out == f"{Path('output/sea')}\n"
