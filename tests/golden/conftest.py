"""Where the recorded reference values lie.

The folder is named by DEFORUM_GOLDEN; by default it is the copy in `data`. The tests run on any folder of that format.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which recorded values are missing: pytest only says that a test had no cases."""
    names = ("cadence", "colors", "hybrid", "noise", "prompts", "schedules", "seeds", "sharpen", "warp2d", "warp3d")
    absent = [name for name in names if not (FOLDER / f"{name}.json").is_file()]
    if absent:
        terminalreporter.write_line(f"skipped, as {FOLDER} has no such file: {', '.join(absent)}")
