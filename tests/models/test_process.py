"""How OpenMP's threads wait, and what a run imports."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import pytest

from deforum.models.process import WAITING, color_tables, shorten_waits
from tests.helpers.command import run_python


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, WAITING),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"} | WAITING),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "0"}, {"GOMP_SPINCOUNT": "0"}),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200"}),
        ({"KMP_LIBRARY": "turnaround"}, {"KMP_LIBRARY": "turnaround"}),
    ],
)
def test_waits_are_the_users_to_choose(given: dict[str, str], expected: dict[str, str]) -> None:
    shorten_waits(given)
    assert given == expected


UNUSED = (
    "accelerate", "diffusers", "huggingface_hub", "matplotlib", "pandas", "scipy", "sympy", "timm", "torch._dynamo",
    "torch._inductor", "torchvision", "transformers", "triton",
)  # fmt: skip
"""Packages that take seconds to import and that a 2D run with the embedded model has no use for."""


@pytest.mark.parametrize(
    "work",
    [
        'cli.main(["sea.yaml", "-q", "-o", "out"])',
        "next(frames(load('sea.yaml').settings))",
    ],
)
def test_a_run_imports_what_it_uses(work: str, tmp_path: Path) -> None:
    """And waits are settled before OpenMP's library, which comes with torch, reads them."""
    (tmp_path / "sea.yaml").write_text("{prompts: a calm sea, max_frames: 1, width: 64, height: 64, steps: 1}")
    script = f"""
        import os, sys

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "torch":
                    print("waits", os.environ.get("GOMP_SPINCOUNT"))

        for name in {(*WAITING, "OMP_WAIT_POLICY", "KMP_LIBRARY")!r}:
            os.environ.pop(name, None)
        sys.meta_path.insert(0, Watch())
        from deforum import frames, load
        from deforum.cli import main as cli
        {work}
        print("imported", *sorted(set({UNUSED!r}) & set(sys.modules)))
    """
    done = run_python(script, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("waits")] == [f"waits {WAITING['GOMP_SPINCOUNT']}"]
    assert lines[-1].split() == ["imported"]


def test_colour_tables_are_complete_before_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[str] = []
    convert = cv2.cvtColor

    def slow(*given: Any) -> Any:
        converted.append(threading.current_thread().name)
        return convert(*given)

    monkeypatch.setattr(cv2, "cvtColor", slow)
    with pytest.raises(ZeroDivisionError), color_tables():
        print(1 / 0)
    assert converted == ["color tables"]
    assert all(thread.name != "color tables" for thread in threading.enumerate())
