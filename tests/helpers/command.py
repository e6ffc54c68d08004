"""The command line, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

import deforum.build as build
from deforum.animation.painter import each
from deforum.cli import main as cli
from deforum.errors import UserError
from deforum.pixels.image import CPU, Image
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import ROOT

SEA = """\
max_frames: 6
fps: 12
seed: 7
batch_name: sea
prompts: {0: a calm sea}
size: {width: 64, height: 64}
motion: {animation_mode: 2D, zoom: 1}
feedback: {color_coherence: None, cadence: 1}
finish: none
"""
"""Settings of a small run."""

LOOKED_AT = """\
max_frames: 10
seed: 7
cadence: 2
prompts: {0: a calm sea --neg fog, 6: a storm}
zoom: 1
strength: "0: (0.5), 9: (0.95)"
translation_x: t/4
"""
"""Settings of the `a.yaml` that the fixture `say` writes."""

DEFORUM_FILE = (
    '{"seed": 5, "strength_schedule": "0: (0.4)", "W": 640, "prompts": {"0": "a: b"}, "sd_model_name": "m.ckpt"}'
)


def write(name: str, text: str) -> None:
    """Write a file into the current folder."""
    Path(name).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


Say = Callable[..., Said]


def say(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    """Run the command line in this process; return its status and what it printed."""
    return Said(cli.main([str(word) for word in words]), *capsys.readouterr())


def paint_with(
    patch: pytest.MonkeyPatch,
    paint: Callable[[Image | None, Frame], Image],
    refused: Callable[[Settings], bool] = lambda settings: False,
) -> None:
    """Replace the diffusion by a function; loading fails for settings that are `refused`."""

    def load(prepared: build.Prepared, models: object) -> build.LoadedModel:
        if refused(prepared.settings):
            raise UserError("no such model: bad.safetensors")
        return build.LoadedModel(each(paint), CPU, 8)

    patch.setattr(build, "load_model", load)


# --- in a process of its own ------------------------------------------------------------------------------------------

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
"""Environment in which any folder finds this checkout."""


def run_python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python process."""
    command = [sys.executable, "-c", dedent(code)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def imported(code: str, *names: str, cwd: Path = ROOT) -> set[str]:
    """Run code in a new Python process, where it must succeed; return which of the named modules it imported."""
    told = f"import sys\nprint('\\nloaded:', *({set(names)!r} & set(sys.modules)))"
    done = run_python(f"{dedent(code)}\n{told}", cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())
