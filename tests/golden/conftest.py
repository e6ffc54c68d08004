"""Where the recorded reference values lie.

The folder is named by DEFORUM_GOLDEN; by default it is the copy in `data`. The tests run on any folder of that format.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("DEFORUM_GOLDEN") or Path(__file__).parent / "data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder with the recorded values and pictures."""
    if not FOLDER.is_dir():
        pytest.skip(f"there are no recorded values: {FOLDER} is no folder")
    return FOLDER


def load_cases(name: str) -> list[dict[str, Any]]:
    """Give the cases of `name`.json for parametrisation; none, so that the test is skipped, where there is no file."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return []
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases


def load_picture(name: str) -> NDArray[np.uint8]:
    """Read a recorded picture, (H, W, 3) R, G, B levels; the test is skipped where the folder leaves it out."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{FOLDER} has no {name}")
    levels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert levels is not None, f"{path} is no picture"
    return np.ascontiguousarray(levels[..., ::-1], np.uint8)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which recorded values are missing: pytest only says that a test had no cases."""
    names = ("cadence", "colors", "hybrid", "noise", "prompts", "schedules", "seeds", "sharpen", "warp2d", "warp3d")
    absent = [name for name in names if not (FOLDER / f"{name}.json").is_file()]
    if absent:
        terminalreporter.write_line(f"skipped, as {FOLDER} has no such file: {', '.join(absent)}")
