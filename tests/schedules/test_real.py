"""Schedules as people have written them, from public settings files.

They are not part of this repository: DEFORUM_REAL names their folder, by default shared/real beside the checkout.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schedules import Variables, parse_number

FOLDER = Path(os.environ.get("DEFORUM_REAL") or Path(__file__).parents[3] / "shared" / "real")
FILE = FOLDER / "schedules.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["cases"] if FILE.is_file() else []


@pytest.mark.skipif(not CASES, reason=f"{FILE} does not exist; DEFORUM_REAL names the folder")
def test_real_schedules() -> None:
    for case in CASES:
        assert case["kind"] == "number" and not case.get("error"), case["name"]
        schedule = parse_number(case["expression"], name=case["name"])
        assert parse_number(schedule.text) == schedule, case["name"]
        got = schedule.sample(case["max_frames"], Variables(seed=case["seed"]))
        want = np.asarray([float(value) for value in case["values"]])
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=case["name"])
