"""Carrying out a task, in any process, and what is told of it meanwhile."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from deforum.cluster.tasks import Task
from deforum.errors import UserError
from deforum.events import FrameShown, Note, StepFrame
from deforum.models.kept import KeptModels
from deforum.output.ledger import Locked
from schedules import ScheduleError


@dataclass(frozen=True)
class Frames:
    """So many frames of a task are there."""

    done: int


@dataclass(frozen=True)
class Said:
    """A note of the render."""

    text: str


@dataclass(frozen=True)
class Done:
    """The task is done, or stopped as asked."""

    stopped: bool = False


@dataclass(frozen=True)
class Failed:
    """The task failed."""

    why: str
    is_final: bool = False
    """Whether it would fail again: a mistake in the settings, a missing file."""
    is_locked: bool = False
    """Whether another process still renders into its folder."""
    trace: str = ""


News = Frames | Said | Done | Failed
KINDS: dict[str, type[News]] = {kind.__name__: kind for kind in (Frames, Said, Done, Failed)}


def to_json(news: News) -> dict[str, object]:
    return {"kind": type(news).__name__, **asdict(news)}


def from_json(told: dict[str, object]) -> News:
    """Raises KeyError or TypeError for what is no news."""
    kind = KINDS[str(told.pop("kind"))]
    return kind(**told)  # type: ignore[arg-type]


def carry_out(
    folder: Path, kind: str, tell: Callable[[News], None], models: KeptModels, stop: Callable[[], bool]
) -> None:
    """Carry out a task; its end is told like all else, and never raised."""
    from deforum.resuming import resume

    def watch(event: object) -> None:
        match event:
            case FrameShown(done=done):
                tell(Frames(done))
            case StepFrame(done=done):
                tell(Frames(done))
            case Note(text):
                tell(Said(text))

    try:
        result = resume(folder, observer=watch, stop=stop, models=models, steps=kind == "steps")
    except Exception as error:
        models.clear()
        tell(failure_of(error))
    else:
        tell(Done(result.stopped))


def failure_of(error: BaseException) -> Failed:
    """Return what is told of an error."""
    why = "\n".join([str(error) or type(error).__name__, *getattr(error, "__notes__", [])])
    is_final = isinstance(error, UserError | ScheduleError) and not isinstance(error, Locked)
    trace = "" if is_final else "".join(traceback.format_exception(error))
    return Failed(why, is_final, isinstance(error, Locked), trace)


def of_task(task: Task) -> tuple[str, str]:
    """Return what a worker is told of a task: folder and kind."""
    return str(task.folder), task.kind
