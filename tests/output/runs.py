"""Runs whose frames are coloured patches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deforum.output.choice import Outputs
from deforum.output.labels import Label
from deforum.output.run import Run
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.sources import heading
from deforum.timeline.frame import Frame
from deforum.timeline.prompts import Prompt
from tests.helpers import params_of
from tests.helpers.films import HEIGHT, WIDTH, chart

DEFAULT = Outputs()
PROMPT = "an old harbour, ärger, 港"


def frame(index: int, *, prompts: tuple[Prompt, ...] = (Prompt(PROMPT, "blurry"),)) -> Frame:
    return Frame(
        index=index,
        seed=1000 + index,
        subseed=7,
        prompts=prompts,
        sampler="Euler a",
        checkpoint="",
        params=params_of(strength=0.65, zoom=1 + index / 1000),
    )


def open_run(folder: Path, outputs: Outputs = DEFAULT, fps: float = 24) -> Run:
    folder.mkdir()
    settings = replace(Settings(), seed=7, width=WIDTH, height=HEIGHT, fps=fps)
    return Run(
        folder, f"{heading('a.yaml')}\n{dump(settings)}",
        width=WIDTH, height=HEIGHT, fps=fps, outputs=outputs, label=Label.of(settings, "a.yaml"),
    )  # fmt: skip


def write_run(folder: Path, outputs: Outputs = DEFAULT, count: int = 10) -> Run:
    with open_run(folder, outputs) as run:
        for index in range(count):
            run.write(frame(index), chart(index))
    return run
