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


def load_cases(name: str) -> list[Any]:
    """Give the cases of `name`.json for parametrisation; one that is skipped, saying why, where there is no such file."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        absent = pytest.mark.skip(reason=f"{path} does not exist")
        return [pytest.param({"name": f"no {name}.json", "kind": None}, marks=absent)]
    cases: list[Any] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases
