"""Runs for the queues of others: as commands, and as a job template of Open Job Description."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from deforum.output.record import read_record
from deforum.output.verify import verify
from tests.helpers import ROOT
from tests.helpers.command import Said, say

SMALL = "{width: 64, height: 64, steps: 2, finish: none, seed: 5, batch_name: run, "
CLIP = SMALL + "animation_mode: Video Input, video_init_path: clip.mp4, extract_to_frame: 11, max_frames: 12}"
SHOTS = SMALL + "max_frames: 8, shots: [{name: sea, to: 4}, {name: storm, strength: 0.3}]}"
CHAIN = SMALL + "max_frames: 8, upscale: 2}"
Call = Callable[..., Said]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in a folder with a clip and three settings files."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "clips" / "valley.mp4", "clip.mp4")
    for name, text in {"clip": CLIP, "shots": SHOTS, "chain": CHAIN}.items():
        Path(f"{name}.yaml").write_text(text)
    return lambda *words: say(capsys, *words)


def checked(text: str) -> dict[str, Any]:
    """Check a template as farms do; return it."""
    model = pytest.importorskip("openjd.model")
    document: dict[str, Any] = yaml.safe_load(text)
    model.decode_job_template(template=document)
    return document


def words_of(step: dict[str, Any]) -> list[str]:
    words: list[str] = step["script"]["actions"]["onRun"]["args"]
    return words


@pytest.mark.parametrize(
    ("file", "steps", "pieces", "files"),
    [
        ("clip", ["Begin", "Render", "Film"], "1-3", {"Settings": "clip.yaml", "VideoInitPath": "clip.mp4"}),
        ("shots", ["Begin", "Render", "Film"], "1-2", {"Settings": "shots.yaml"}),
        ("chain", ["Begin", "Render"], "", {"Settings": "chain.yaml"}),
    ],
)
def test_a_template(call: Call, file: str, steps: list[str], pieces: str, files: dict[str, str]) -> None:
    said = call("submit", f"{file}.yaml", "cfg_scale=3", "--openjd", "-", "--chunk", "4")
    assert said.status == 0, said.err
    document = checked(said.out)
    assert [step["name"] for step in document["steps"]] == steps
    assert [step.get("dependencies", [{}])[0].get("dependsOn", "") for step in document["steps"]] == ["", *steps[:-1]]
    render = document["steps"][1]
    space = render.get("parameterSpace", {}).get("taskParameterDefinitions", [{}])
    assert space[0].get("range", "") == pieces
    assert render["hostRequirements"]["amounts"][0]["name"] == "amount.worker.memory"
    paths = {each["name"]: each for each in document["parameterDefinitions"] if each["type"] == "PATH"}
    assert paths.pop("Output")["dataFlow"] == "INOUT"
    assert {name: each["default"] for name, each in paths.items()} == files
    assert {(each["dataFlow"], each["objectType"]) for each in paths.values()} == {("IN", "FILE")}
    begin = words_of(document["steps"][0])
    assert begin[:2] == ["plan", "{{Param.Settings}}"] and "cfg_scale=3" in begin and "seed=5" in begin
    assert ("video_init_path={{Param.VideoInitPath}}" in begin) == (file == "clip")
    assert words_of(document["steps"][-1])[-2:] == ["--progress", "openjd"]


def test_files_elsewhere_are_values_of_parameters(call: Call, tmp_path: Path) -> None:
    Path("jobs").mkdir()
    said = call("submit", "clip.yaml", "shots.yaml", "seed=1,2", "--openjd", "jobs/job.yaml", "--chunk", "4")
    assert said.status == 0 and "4 runs, 18 tasks" in said.err, said.err
    document = checked(Path("jobs/job.yaml").read_text())
    values = json.loads(Path("jobs/job.parameters.json").read_text())
    assert values["VideoInitPath"] == str(tmp_path / "clip.mp4") and values["Settings2"] == str(tmp_path / "shots.yaml")
    assert all("default" not in each for each in document["parameterDefinitions"] if each["type"] == "PATH")
    assert len({words_of(step)[words_of(step).index("--name") + 1] for step in document["steps"][::3]}) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("submit", "shots.yaml"), "--openjd"),
        (("submit", "-", "--openjd", "job.yaml"), "give a file"),
        (("submit", "chain.yaml", "prompts={{0: a}}", "--openjd", "job.yaml"), "prompts"),
        (("submit", "chain.yaml", "batch_name={seed}{{x", "--openjd", "job.yaml"), "put this into the settings file"),
        (("submit", "chain.yaml", "seed=1..60", "--openjd", "job.yaml"), "60 runs make 120 steps"),
        (("submit", "chain.yaml", "--openjd", "job.yaml", "--chunk", "0"), "at least 1"),
        (("plan", "chain.yaml", "seed=1,2", "--name", "run"), "one name for 2 runs"),
        (("shots.yaml", "--piece", "1"), "goes with --resume"),
    ],
)
def test_mistakes(call: Call, words: Sequence[str], message: str) -> None:
    said = call(*words)
    assert said.status == 2 and message in said.err and not Path("job.yaml").exists(), said.err


def test_a_plan_is_commands(call: Call) -> None:
    said = call("plan", "clip.yaml", "--name", "film", "--chunk", "4")
    assert said.status == 0, said.err
    lines = [line.partition("  #")[0] for line in said.out.splitlines()]
    folders = [Path(shlex.split(line)[-1]) for line in lines]
    assert [folder.name for folder in folders] == ["000000000", "000000004", "000000008", "film"]
    assert call("plan", "clip.yaml", "--name", "film", "--chunk", "4").out == said.out  # it is there already
    told = json.loads(call("plan", "clip.yaml", "--name", "film", "--json").out.splitlines()[-1])
    assert [task["kind"] for task in told["tasks"]] == ["render"] * 3 + ["complete"]
    assert call("--resume", "output/film", "--piece", "4").status == 2


@pytest.mark.long
def test_a_farm_renders_the_same(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("openjd.cli")
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deforum "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for file in ("clip", "shots"):
        alone = [str(program), f"{file}.yaml", "-o", "out"]
        subprocess.run(alone, cwd=tmp_path, env=environment, check=True, capture_output=True)
        Path("out").rename(f"{file}_alone")
        assert call("submit", f"{file}.yaml", "--openjd", "job.yaml", "-o", "out", "--chunk", "4").status == 0
        openjd = str(Path(sys.executable).with_name("openjd"))
        for words in (["check", "job.yaml"], ["run", "job.yaml", "-p", f"Deforum={program}"]):
            done = subprocess.run([openjd, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        assert "openjd_progress: 100.00" in done.stdout
        folder = Path("out/run")
        # Their texts differ: what a farm was given is in their origin.
        for path in sorted(Path(f"{file}_alone/run/frames").iterdir()):
            frame, own = (np.asarray(cv2.imread(str(each))) for each in (folder / "frames" / path.name, path))
            assert frame.shape == (64, 64, 3) and np.array_equal(frame, own)
        assert read_record(folder).finished and not verify(folder).faults
        folder.rename(f"{file}_farm")


def test_a_job_of_slurm_asks_for_what_its_task_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an sbatch that takes the script and runs nothing."""
    pytest.importorskip("submitit")
    from deforum.cluster.slurm import open_crew
    from deforum.cluster.tasks import Resources, Task

    monkeypatch.chdir(tmp_path)
    for name in ("sbatch", "srun"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\ncp "$1" script.sh\necho Submitted batch job 12\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    crew = open_crew("gpu", 0, 4)
    task = Task("film, storm", tmp_path, tmp_path / "storm", "render", 8, Resources(1, 5 << 30, "sdxl"))
    assert crew.takes(task) and crew.start(task) == "job 12"
    script = Path("script.sh").read_text()
    for line in ("--partition=gpu", "--cpus-per-task=4", "--gpus-per-node=1", "--mem=5GB", "--time=1440"):
        assert f"#SBATCH {line}" in script, script
