"""Runs on several workers: their frames are those of one machine, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from deforum.cli import main as cli
from deforum.cluster.engines import ENGINES
from deforum.cluster.local import LocalCrew
from deforum.models.catalogue import find_function
from deforum.output.record import read_record
from deforum.output.verify import verify
from tests.helpers import ROOT, wait_until
from tests.helpers.command import Say, say

CLIP = ROOT / "examples" / "clips" / "valley.mp4"
SMALL = {"width": 64, "height": 64, "steps": 2, "finish": "none", "seed": 5, "prompts": "{0: a sea, 6: a storm}"}
RUNS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "a sweep of four": ({"max_frames": 5, "cadence": 2}, ("seed=1,2", "cfg_scale=2,3")),
    "a clip in chunks": (
        {"animation_mode": "Video Input", "video_init_path": CLIP, "max_frames": 16, "extract_to_frame": 15}, ()
    ),
    "three shots": (
        {"max_frames": 12, "shots": "[{name: sea, to: 4}, {name: storm, to: 9, strength: 0.3}, {name: port}]"},
        ("upscale=2",),
    ),
}  # fmt: skip
"""Settings and overrides."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Run the command line in a folder, on one thread."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda *words: say(capsys, *words)
    torch.set_num_threads(threads)


def write(values: dict[str, object]) -> None:
    Path("a.yaml").write_text("".join(f"{name}: {value}\n" for name, value in (SMALL | values).items()))


def render_alone(run: Say, *words: str) -> str:
    """Render on this machine alone, into the folder alone; return what was printed."""
    said = run("a.yaml", *words, "-o", "out")  # the name stands in the frames
    assert said.status == 0, said.err
    Path("out").rename("alone")
    return said.out


def files(output: str) -> list[bytes]:
    """Return the frames of all runs and steps in a folder, by their place in it."""
    return [path.read_bytes() for path in sorted(Path(output).rglob("*.png")) if path.parent.name == "frames"]


def pictures_of(output: str) -> list[bytes]:
    """Return the frames of the runs themselves."""
    runs = sorted(path.parent for path in Path(output).rglob("run.json") if "shots" not in path.parts)
    return [path.read_bytes() for folder in runs for path in sorted((folder / "frames").iterdir())]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("engine", ["local", "ray", "slurm://local"])
@pytest.mark.long
def test_frames_are_those_of_one_machine(engine: str, name: str, run: Say) -> None:
    pytest.importorskip(ENGINES[engine.partition(":")[0]].package or "torch")
    values, overrides = RUNS[name]
    write(values | {"batch_name": "run"})
    alone = render_alone(run, *overrides)
    shared = run("a.yaml", *overrides, "-o", "out", "--on", engine, "--workers", "2", "--chunk", "4")
    assert shared.status == 0, shared.err
    assert pictures_of("out") == pictures_of("alone") and len(files("out")) == len(files("alone"))
    assert shared.out == alone
    for path in Path("out").rglob("run.json"):
        assert read_record(path.parent).finished and not verify(path.parent).faults


def with_kill(monkeypatch: pytest.MonkeyPatch, kill: Callable[[object], bool]) -> list[object]:
    """Call a function with the crew until it has killed one of its workers; return the crews."""
    from deforum.cluster import engines

    crews: list[object] = []
    open_crew = engines.open_crew

    def opened(*arguments: object) -> object:
        crew = open_crew(*arguments)  # type: ignore[arg-type]
        crews.append(crew)
        threading.Thread(target=wait_until, args=(lambda: kill(crew), 120), daemon=True).start()
        return crew

    monkeypatch.setattr(engines, "open_crew", opened)
    return crews


def frames_there(output: str) -> int:
    return sum(path.read_bytes().count(b'"frames/') for path in Path(output).rglob("frames.jsonl"))


@pytest.mark.long
def test_a_process_that_is_killed_changes_nothing(run: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    write({"max_frames": 14, "cadence": 1, "checkpoint_every": 2, "batch_name": "run"})
    render_alone(run)

    def kill(crew: LocalCrew) -> bool:
        if frames_there("out") < 6:
            return False
        os.kill(crew.workers[0].process.pid, signal.SIGKILL)
        return True

    with_kill(monkeypatch, kill)  # type: ignore[arg-type]
    said = run("a.yaml", "-o", "out", "--on", "local", "--workers", "2", "--verbose")
    assert said.status == 0, said.err
    assert "worker 1 died (signal 9); it goes on from its last state on another worker" in said.err
    assert pictures_of("out") == pictures_of("alone")
    [record] = [read_record(path.parent) for path in Path("out").rglob("run.json")]
    resumed = [event.frames for event in record.history if event.what == "resumed"]
    assert resumed[-1] >= 6  # what was written was not rendered again


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.long
def test_an_actor_that_is_killed_changes_nothing(shares: bool, run: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where frames come home as objects."""
    pytest.importorskip("ray")
    on_ray = find_function("deforum.cluster.on_ray:Worker")
    write({"max_frames": 14, "cadence": 1, "checkpoint_every": 2, "batch_name": "run"})
    render_alone(run)
    if not shares:
        monkeypatch.setattr(on_ray, "sees", lambda self, path, token: (f"process {os.getpid()}", False))

    def kill(crew: object) -> bool:
        if frames_there("out") < 6:
            return False
        name = crew.hands[0].name  # type: ignore[attr-defined]
        os.kill(int(name.split()[1]), signal.SIGKILL)
        return True

    with_kill(monkeypatch, kill)
    said = run("a.yaml", "-o", "out", "--on", "ray", "--workers", "2")
    assert said.status == 0, said.err
    assert "died; it goes on from its last state on another worker" in said.err
    assert pictures_of("out") == pictures_of("alone")
    for path in Path("out").rglob("run.json"):
        assert read_record(path.parent).finished and not verify(path.parent).faults


@pytest.mark.long
def test_after_the_head_is_killed_the_runs_go_on(run: Say, tmp_path: Path) -> None:
    import subprocess
    import sys

    write(RUNS["three shots"][0] | {"batch_name": "run", "checkpoint_every": 1})
    render_alone(run)
    words = ["a.yaml", "-o", "out", "--on", "local", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    head = subprocess.Popen([sys.executable, "-m", "deforum", *words], cwd=tmp_path, env=environment)
    assert wait_until(lambda: frames_there("out") >= 4, 120)
    head.kill()
    head.wait()
    [folder] = [path.parent for path in Path("out").glob("*/run.json")]
    before = frames_there("out")
    said = run("--resume", folder, "--on", "local", "--workers", "2")
    assert said.status == 0, said.err
    assert before >= 4 and pictures_of("out") == pictures_of("alone")
    assert cli.main(["verify", str(folder)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "rey"), "did you mean ray?"),
        (("--on", "local://x"), "expected a number of workers"),
        (("--workers", "2"), "give --on local"),
        (("--on", "local", "--workers", "0"), "at least 1"),
        (("--on", "local", "--together"), "cannot be combined with --together"),
        (("--on", "slurm"), "there is no sbatch here"),
    ],
)
def test_mistakes(words: tuple[str, ...], message: str, say: Say) -> None:
    if "slurm" in words:
        pytest.importorskip("submitit")
    said = say("a.yaml", "width=64", "height=64", *words)
    assert said.status == 2 and message in said.err and "Traceback" not in said.err
