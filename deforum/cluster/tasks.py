"""The plan: tasks as data, each a folder to go on with, and what has to be done before it.

A task is the folder of a run, or of a piece of it (`deforum.piecewise`). Whoever carries it out needs nothing but that
folder and the files that its settings name; after any end it is carried out again, and goes on from its last state.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deforum.build import Prepared
from deforum.models.machine import renders_on_gpu
from deforum.needs import memory
from deforum.output.home import is_home
from deforum.output.record import Piece
from deforum.output.run_folder import RunFolder
from deforum.settings.options import Settings

Kind = Literal["render", "complete", "steps"]
FILM_BYTES = 1 << 30
"""Memory for a task that renders nothing: films, and steps by ffmpeg and a small network."""


@dataclass(frozen=True)
class Resources:
    """What a task takes of a machine."""

    gpus: int = 0
    bytes: int = FILM_BYTES
    model: str = ""
    """The model that it loads; a worker that has loaded it comes first."""


@dataclass(frozen=True)
class Task:
    """A piece of work that one worker does."""

    name: str
    run: Path
    """The folder of the run that it belongs to."""
    folder: Path
    """What to go on with: the run, or a piece of it."""
    kind: Kind
    """render: frames; complete: bring the frames of pieces home, and make films; steps: those behind the render."""
    frames: int = 0
    """Frames to render."""
    resources: Resources = Resources()
    after: tuple[str, ...] = ()
    """Names of the tasks before it."""


Plan = tuple[Task, ...]


def tasks_of(run: RunFolder, prepared: Prepared) -> Plan:
    """Return the tasks that are left of a run, in an order in which they can be done."""
    folder, settings = run.folder.absolute(), prepared.settings
    tasks = [_task(run, prepared, piece) for piece in run.record.pieces if not is_home(run, piece)]
    if not run.record.pieces:
        tasks.append(Task(
            folder.name, folder, folder, "render", len(run.record.frames), resources_of(prepared, settings)
        ))  # fmt: skip
    else:
        before = tuple(task.name for task in tasks)
        tasks.append(Task(f"{folder.name}, film", folder, folder, "complete", after=before))
    if settings.chains:
        on_gpu = renders_on_gpu(settings.device)
        tasks.append(Task(
            f"{folder.name}, steps", folder, folder, "steps", resources=Resources(int(on_gpu)), after=(tasks[-1].name,)
        ))  # fmt: skip
    return tuple(tasks)


def _task(run: RunFolder, prepared: Prepared, piece: Piece) -> Task:
    shot = next((each for each in prepared.shots if each.at == piece.at), None)
    resources = resources_of(prepared, prepared.settings if shot is None else shot.settings)
    name = f"{run.folder.name}, {piece.name}"
    folder = run.folder.absolute()
    return Task(name, folder, folder / piece.folder, "render", piece.total - piece.first, resources)


def resources_of(prepared: Prepared, settings: Settings) -> Resources:
    """Return what rendering takes; `settings` are those of a shot, or of all of it."""
    return Resources(int(renders_on_gpu(settings.device)), memory(prepared) or 0, settings.model)


def check_plan(plan: Sequence[Task]) -> None:
    """Raise ValueError for a plan that cannot be carried out: names that are not there, or are there twice."""
    known = set[Hashable]()
    for task in plan:
        if task.name in known or not known.issuperset(task.after):
            raise ValueError(f"{task.name}: there twice, or before one of {task.after}")
        known.add(task.name)


def with_all(plans: Iterable[Plan]) -> Plan:
    """Join the plans of several runs."""
    joined = tuple(task for plan in plans for task in plan)
    check_plan(joined)
    return joined
