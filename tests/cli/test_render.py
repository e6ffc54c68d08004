"""The command line, from outside: what it prints where, its exit status, and what it leaves on the disk."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from deforum.video.ffmpeg import count_frames, ffmpeg_path
from tests.cli.greys import paint_greys
from tests.helpers import wait_until
from tests.helpers.command import ENVIRONMENT, SEA, Said, Say, say
from tests.helpers.films import decode

SMALL = "size: 64x64 is small for the embedded model"


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
    assert sorted(p.name for p in (tmp_path / "films" / "sea").iterdir()) == [
        "frames", "frames.jsonl", "run.json", "sea.mp4", "settings.yaml"
    ]  # fmt: skip


def test_values_and_chapters_beside_the_film(sea: Path, tmp_path: Path, paint: Say) -> None:
    """In a run that was stopped and resumed with another strength, and in a film of its frames."""
    words = ["prompts={0: a sea, 3: a storm}", "save_values=both", "noise=t/10", "-q", "-o", tmp_path / "films"]
    assert paint(sea, *words, "strength=0.5").status == 0
    run = tmp_path / "films" / "sea"
    table = [line.split(",") for line in (run / "values.csv").read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in table] == ["frame", "0", "1", "2", "3", "4", "5"]
    assert [row[table[0].index("noise")] for row in table[1:]] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert json.loads((run / "values.json").read_text(encoding="utf-8"))["prompt"][2:4] == ["a sea", "a storm"]
    assert paint("check", run).status == 0 and paint("values", run / "settings.yaml", "-q").out.splitlines() == [
        ",".join(row) for row in table
    ]
    assert paint("check", run.parent / "sea", "-q").out.count("good") == 1  # values.json is no settings file
    assert paint("film", run, "video_format=webm", "-q").status == 0
    for film in (run / "sea.mp4", run / "sea.webm"):
        told = subprocess.run([ffmpeg_path(), "-i", str(film)], capture_output=True, text=True).stderr
        assert told.count("Chapter #0") == 2 and "a storm" in told and "start 0.25" in told
    assert paint("film", run, "chapters=false", "-q", "-o", tmp_path / "plain.mp4").status == 0
    told = subprocess.run([ffmpeg_path(), "-i", str(tmp_path / "plain.mp4")], capture_output=True, text=True).stderr
    assert "Chapter" not in told


def test_the_resolved_settings_render_the_same_again(sea: Path, tmp_path: Path, paint: Say) -> None:
    from deforum.loading import load

    assert paint(sea, "seed=-1", "-q") == Said(0, f"{Path('output/sea/sea.mp4')}\n", "")
    first = tmp_path / "output" / "sea" / "settings.yaml"
    again = load(first).settings
    assert again.seed >= 0 and again.max_frames == 6 and again.prompts == load(sea).settings.prompts
    assert paint(first, "-q").out == f"{Path('output/sea_2/sea_2.mp4')}\n"
    again_text = (tmp_path / "output/sea_2/settings.yaml").read_text()
    assert first.read_text().splitlines()[1:] == again_text.splitlines()[1:]


def test_what_a_run_elsewhere_writes_can_be_given_instead_of_its_file(sea: Path, tmp_path: Path, paint: Say) -> None:
    """A file may not choose a folder elsewhere, and a run's do not: only the person who rendered it did."""
    elsewhere = tmp_path.parent / f"{tmp_path.name}_elsewhere"
    assert paint(sea, "max_frames=2", "-q", "-o", elsewhere).status == 0
    run = elsewhere / "sea"
    for given in (run / "frames" / "000000001.png", run / "sea.mp4", run):
        assert paint("check", given).status == 0
        assert paint("diff", given, run / "settings.yaml").out.endswith(" render the same\n")
    assert paint(run / "sea.mp4", "-q").out == f"{Path('output/sea/sea.mp4')}\n"


def test_what_a_run_writes_can_be_given_instead_of_its_file(sea: Path, tmp_path: Path, paint: Say) -> None:
    """To every command; and what is rendered from it is the same, pixel by pixel."""
    assert paint(sea, "seed=3", "max_frames=3", "-q").status == 0
    run = Path("output/sea")
    assert (run / "settings.yaml").read_text().splitlines()[0].endswith(" from sea.yaml with seed=3 max_frames=3")
    frame = run / "frames" / "000000001.png"
    for given in (frame, run / "sea.mp4", run):
        said = paint("check", given)
        assert said.status == 0 and "good: 3 frames of 64x64, 12 fps" in said.out and SMALL in said.err
        assert paint("diff", given, run / "settings.yaml").status == 0
        assert paint("values", given, "seed").out.split() == ["frame,seed", "0,3", "1,4", "2,5"]
        assert paint("convert", given, "-o", "-").out.endswith(paint("convert", run, "-o", "-").out.partition("\n")[2])
        assert paint(given, "-q").status == 0
    assert paint("convert", frame).out == f"{frame.with_suffix('.yaml')}\n"
    first = (run / "settings.yaml").read_text().splitlines()
    for number, given in ((2, frame), (3, run / "sea.mp4"), (4, run / "settings.yaml")):
        again = Path(f"output/sea_{number}")
        pictures = [cv2.imread(str(each / "frames" / "000000002.png")) for each in (run, again)]
        assert (pictures[0] == pictures[1]).all()
        text = (again / "settings.yaml").read_text().splitlines()
        assert text[1:] == first[1:]
        assert text[0].endswith(f" from {given.as_posix()} (from sea.yaml with seed=3 max_frames=3)")


def test_texts_in_pictures_and_films_can_be_switched_off(sea: Path, tmp_path: Path, paint: Say) -> None:
    from deforum.metadata import read_texts
    from deforum.video.tags import read_comment

    assert paint(sea, "save_metadata=false", "-q").status == 0
    run = Path("output/sea")
    assert read_texts(run / "frames" / "000000001.png") == {} and read_comment(run / "sea.mp4") == ""


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
    assert err.splitlines()[-1] == "a film from them: python render.py film output/sea"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_the_frames_of_a_killed_run_become_a_film(
    sea: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frames = tmp_path / "output" / "sea" / "frames"
    with held(sea, 5) as process:
        assert wait_until(lambda: len(list(frames.glob("*.png"))) == 5)
        process.kill()
    last = max(frames.glob("*.png"))
    last.write_bytes(last.read_bytes()[:-20])  # as a crash of the machine may leave it
    said = say(capsys, "film", "output/sea", "fps=24", "-o", "films")
    assert said.status == 0 and said.out == f"{Path('films/sea.mp4')}\n"
    assert f"sea: skipped, as they are damaged or their writing was cut short: {last.name}" in said.err
    assert [round(float(frame.mean()) / 20) for frame in decode(Path("films/sea.mp4"), 64, 64)] == [0, 1, 2, 3]
    # What the encoder had so far, and each frame, have the settings too.
    assert say(capsys, "diff", frames / "000000000.png", "output/sea").status == 0


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
        (["film", "sea.yaml"], "sea.yaml: is a file; expected the folder of a run, with its frames"),
        (["film", "nothing"], "nothing: no such folder; expected the folder of a run"),
        (["check", "sea.yaml", "-o", "sea.yaml/films"], "sea.yaml/films: sea.yaml is a file; output takes the folder"),
        (["check", "sea.yaml", f"output={'x' * 300}"], "a name in it has 300 bytes; expected at most 255 bytes"),
        (["check", "sea.yaml", "output=a\0b"], "character 0 (NUL) is not allowed in a text"),
        (["sea.yaml", "--json", "--progress", "openjd"], "both write to the standard output; give one of them"),
    ],
)
def test_user_errors_are_one_message_and_status_2(
    words: list[str], message: str, sea: Path, tmp_path: Path, paint: Say
) -> None:
    said = paint(*words)
    assert said.status == 2 and message in said.err and "Traceback" not in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"] and (said.out == "" or "--json" in words)


def test_check_says_what_it_found_good(sea: Path, tmp_path: Path, paint: Say) -> None:
    size = "size: 64x64 is small for the embedded model, trained at 256x256: pictures lose their subject"
    assert paint("check", sea) == Said(
        0,
        f"{sea}: good: 6 frames of 64x64, 12 fps, 0:00, 2D; about 1.0 GB of memory and 0:04 on 2 CPU cores\n",
        f"{sea.name}: {size}\n",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["sea.yaml"]


def test_ffmpeg_is_tried_before_anything_is_rendered(
    sea: Path, tmp_path: Path, paint: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    said = paint(sea)
    assert said.status == 2 and "ffmpeg" in said.err and not (tmp_path / "output").exists()
    assert paint(sea, "skip_video_creation=true", "-q").out == f"{Path('output/sea')}\n"


def events(said: Said) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.out.splitlines()]


def test_events_are_lines_of_json_and_the_result_is_the_last(sea: Path, paint: Say) -> None:
    (sea.parent / "bad.yaml").write_text(SEA + "zomm: 3\n")
    told = events(paint("bad.yaml", "sea.yaml", "max_frames=2", "crf=20", "skip_video_creation=true", "--json"))
    kinds = [each["event"] for each in told]
    assert kinds == [
        "error",
        "note",
        "prepared",
        "note",
        "note",
        "loaded",
        "times",
        "frame",
        "times",
        "frame",
        "finished",
        "result",
    ]
    by_kind = dict(zip(kinds, told, strict=True))
    assert by_kind["error"]["problems"] == [
        {"message": "unknown setting 'zomm'; did you mean zoom?", "where": "bad.yaml:10:1"}
    ]
    assert by_kind["error"]["file"].startswith("bad.yaml") and by_kind["error"]["status"] == 2
    prepared = by_kind["prepared"]
    assert (prepared["width"], prepared["frames"], prepared["seed"], prepared["model"]) == (64, 2, 7, "embedded")
    assert prepared["settings"]["prompts"] == {"0": "a calm sea"} and prepared["settings"]["zoom"] == "0: (1)"
    assert [each["done"] for each in told if each["event"] == "frame"] == [1, 2]
    assert (by_kind["frame"]["frame"], by_kind["frame"]["prompt"], by_kind["frame"]["total"]) == (1, "a calm sea", 2)
    assert set(by_kind["times"]["seconds"]) >= {"diffuse", "write", "rest"}
    result = by_kind["result"]
    assert result["status"] == 2 and [run["state"] for run in result["runs"]] == ["failed", "done"]
    assert result["runs"][1]["folder"] == str(Path("output/sea")) and result["runs"][1]["frames"] == 2


@pytest.mark.parametrize(("words", "status"), [(["nothing.yaml"], 2), (["--sed", "3"], 2), (["sea.yaml"], 1)])
def test_errors_are_json_too(words: list[str], status: int, sea: Path, paint: Say) -> None:
    *_, error, result = events(paint(*words, "--json", break_at=1))
    assert error["event"] == "error" and error["status"] == result["status"] == status and error["message"]
    assert ("traceback" in error) == (status == 1)


def test_a_sweep_is_told_run_by_run(sea: Path, paint: Say) -> None:
    *_, result = events(paint(sea, "max_frames=1", "seed=1,2", "-q", "--json"))
    assert [run["swept"] for run in result["runs"]] == [{"seed": "1"}, {"seed": "2"}]
    assert result["sheets"] == [str(Path("output/sea_sweep/sheet.png"))]


def test_check_is_told_in_json(sea: Path, paint: Say) -> None:
    note, result = events(paint("check", sea, "--json"))
    assert note["text"].startswith(SMALL)
    (checked,) = result["checked"]
    assert (checked["frames"], checked["width"], checked["seed"], checked["status"]) == (6, 64, 7, 0)
    assert checked["memory_bytes"] > 5e8 and checked["seconds_on_two_cores"] > 0


def test_details_are_said_with_verbose_and_always_logged(sea: Path, tmp_path: Path, paint: Say) -> None:
    quiet = paint(sea, "max_frames=2", "-q", "--log", "a.log")
    assert (quiet.status, quiet.err) == (0, "")
    loud = paint(sea, "max_frames=2", "--verbose", "--progress", "none")
    log = (tmp_path / "a.log").read_text()
    for text in ("settings of the run:", "batch_name: sea", "torch ", "frame 1 (2/2): seed 8, strength 0.65, Euler a, ",
                 "sea.yaml: 2 frames of 64x64, model: embedded", "2 frames in "):  # fmt: skip
        assert text in loud.err and text in log, text
    paint("nothing.yaml", "--log", "a.log", "-q")
    longer = (tmp_path / "a.log").read_text()
    assert longer.startswith(log) and "nothing.yaml: no such file" in longer and "Traceback" in longer


def test_a_farm_is_told_of_progress_and_failure(sea: Path, paint: Say) -> None:
    said = paint(sea, "nothing=3.yaml", "max_frames=2", "--progress", "openjd", "-q")
    assert said.status == 2 and said.out.startswith("openjd_fail: ") and said.out.count("\n") == 1
    said = paint(sea, "max_frames=2", "seed=1,2", "--progress", "openjd", "-q")
    assert [line for line in said.out.splitlines() if "progress" in line] == [
        f"openjd_progress: {share}" for share in ("0.00", "25.00", "50.00", "50.00", "75.00", "100.00")
    ]
    assert said.out.startswith(f"openjd_status: {sea} seed=1: loading embedded\n")


def test_settings_come_from_a_pipe(sea: Path, paint: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SEA.encode())))
    assert paint("-", "max_frames=1", "-q").out == f"{Path('output/sea/sea.mp4')}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SEA.encode())))
    assert paint("-", "max_frames=1", "seed=1,2", "-q").out.splitlines()[-1] == str(
        Path("output/stdin_sweep/sheet.png")
    )


def test_a_profile_is_a_table_and_a_trace(sea: Path, paint: Say) -> None:
    said = paint(sea, "max_frames=2", "--profile", "-q")
    folder = Path("output/sea")
    assert "whole run" in said.err and f"trace for ui.perfetto.dev: {folder / 'trace.json'}" in said.err
    assert json.loads((folder / "trace.json").read_text(encoding="utf-8"))
    # The trace is not taken for settings where the folder is rendered again.
    *_, profile, _, result = events(paint(folder, "--trace", "mine.json", "--json", "-q"))
    assert [run["state"] for run in result["runs"]] == ["done"]
    assert profile["event"] == "profile" and profile["frames"] == 2 and profile["trace"] == "mine.json"
    assert set(profile["stages"]["write"]) == {"seconds", "lasted", "hidden"} and Path("mine.json").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=1,2", "--trace", "mine.json"], "--profile writes one for each run"),
        (["--trace", "nowhere/mine.json"], "nowhere/mine.json: cannot be written"),
    ],
)
def test_a_trace_that_cannot_be_written_is_an_error(words: list[str], expected: str, sea: Path, paint: Say) -> None:
    said = paint(sea, *words)
    assert said.status == 2 and expected in said.err and "Traceback" not in said.err
    assert not list(Path().glob("output/*"))
