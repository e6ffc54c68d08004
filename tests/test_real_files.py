"""The guard: every settings file that people really have loads, means what it says, and renders.

The files are not part of this repository: DEFORUM_REAL names their folder, by default shared/real beside the checkout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.cli import main as cli
from deforum.loading import load
from deforum.reports.compare import compare
from deforum.settings.params import PARAMS
from deforum.settings.read import dump
from deforum.video.ffmpeg import count_frames
from schedules import NumberSchedule, Variables

REAL = Path(os.environ.get("DEFORUM_REAL") or Path(__file__).parents[2] / "shared" / "real")
FILES = sorted((REAL / "settings").glob("*.txt"))
SCHEDULES = REAL / "schedules.json"
pytestmark = pytest.mark.skipif(not FILES, reason=f"no real settings files in {REAL}; DEFORUM_REAL names the folder")
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def recorded() -> dict[tuple[Path, str], dict[str, Any]]:
    """List the recorded schedules that are from one of the files: by file and by the name of the setting there."""
    cases = json.loads(SCHEDULES.read_text(encoding="utf-8"))["cases"] if SCHEDULES.is_file() else []
    by_source = {path.name.removeprefix("studio-"): path for path in FILES}
    sources = [(by_source.get(case["source"].removeprefix("public settings file ")), case) for case in cases]
    return {(path, case["field"]): case for path, case in sources if path is not None}


def curve(path: Path, field: str, case: dict[str, Any]) -> NDArray[np.float64]:
    """Sample a setting of a file as the recorded case was."""
    params = load(path, to_render=False).settings.params
    name = next(name for name, each in PARAMS.items() if field == name or field in each.old)
    schedule = getattr(params, name)
    assert isinstance(schedule, NumberSchedule)
    values: NDArray[np.float64] = schedule.sample(case["max_frames"], Variables(seed=case["seed"]))
    return values


@each_file
def test_it_loads_and_survives_yaml(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command that people use for it; and what is written says no more and no less."""
    loaded = load(path, to_render=False)
    assert not [line for line in loaded.report if "unknown" in line]
    assert cli.main(["convert", str(path), "-o", str(tmp_path / "a.yaml"), "-q"]) == 0
    again = load(tmp_path / "a.yaml", to_render=False)
    assert again.settings == loaded.settings and again.settings.profile == "deforum"
    assert compare(loaded.settings, again.settings).differences == ()
    assert not [line for line in again.report if "is called" in line]
    (tmp_path / "full.yaml").write_text(dump(loaded.settings, full=True), encoding="utf-8")
    assert load(tmp_path / "full.yaml", to_render=False).settings == loaded.settings


@pytest.mark.skipif(not SCHEDULES.is_file(), reason=f"{SCHEDULES} does not exist")
def test_values_are_those_of_deforum(tmp_path: Path) -> None:
    """Recorded values against the file, and against the YAML made of it."""
    cases = recorded()
    assert cases, "no recorded schedule is from any of the files"
    for (path, field), case in cases.items():
        assert json.loads(path.read_text(encoding="utf-8"))[field] == case["expression"], (path.name, field)
        want = np.asarray([float(value) for value in case["values"]])
        yaml = tmp_path / f"{path.stem}.yaml"
        yaml.write_text(dump(load(path, to_render=False).settings), encoding="utf-8")
        for source in (path, yaml):
            got = curve(source, field, case)
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=f"{source.name}: {field}")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Pictures this small are slower with several, and on a busy machine very much so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_file_renders(tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line to the decoded video, all of one kind in one go; in the mode the file is for."""
    small = ["W=64", "H=64", "max_frames=6", "model=embedded", "steps=2", "seed=3", "batch_name=run"]
    small += ["-o", str(tmp_path)]
    modes = {path: load(path, to_render=False).settings.animation_mode for path in FILES}
    available = [str(path) for path in FILES if modes[path] != "Video Input"]
    others = [str(path) for path in FILES if modes[path] == "Video Input"]  # their clips are not here
    for files, mode in ((available, []), (others, ["animation_mode=2D"])):
        if not files:
            continue
        assert cli.main([*files, *small, *mode]) == 0, capsys.readouterr().err
        written = [Path(line) for line in capsys.readouterr().out.splitlines()]
        videos = [path for path in written if path.stem == path.parent.name]  # beside those of steps behind them
        assert len(videos) == len(files)
        for video in videos:
            assert count_frames(video) == 6
            stills = [np.asarray(cv2.imread(str(path))) for path in sorted((video.parent / "frames").glob("*.png"))]
            assert [still.shape for still in stills] == [(64, 64, 3)] * 6
            assert all(still.std() > 1 for still in stills), f"{video}: a frame is blank"
