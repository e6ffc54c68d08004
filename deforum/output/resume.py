"""Where a run stands: which of its frames are there as they were written, and from which states it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.atomic import UNFINISHED
from deforum.features.feature import COPIES_FOLDER
from deforum.output.checkpoints import Checkpoint, check_checkpoint, list_checkpoints
from deforum.output.choice import Outputs
from deforum.output.finished import ranges
from deforum.output.frames import frame_paths
from deforum.output.ledger import Ledger, is_whole


@dataclass(frozen=True)
class Standing:
    """What there is of a run, all of it checked."""

    needed: tuple[int, ...]
    """Frames to render, ascending."""
    states: tuple[Checkpoint, ...]
    """States that are whole, by frame."""
    notes: tuple[str, ...]
    """What is damaged or missing, a line each."""


@dataclass(frozen=True)
class Stretch:
    """Frames to render in one go, with the settings of one part of the run."""

    part: int
    start: int
    """Frame of the state that it starts from; -1: from the beginning."""
    last: int


def look(folder: Path, ledger: Ledger, outputs: Outputs, total: int) -> Standing:
    """Check every file of a run against its ledger, and every state. What is damaged is forgotten, and noted."""
    for path in folder.rglob(f"*{UNFINISHED}"):
        path.unlink(missing_ok=True)
    known = ledger.entries
    damaged = [entry for entry in known.values() if not is_whole(folder, entry)]
    needed = set()
    for entry in damaged:
        # The depth of a frame is known for good when the next one is rendered.
        needed |= {entry.frame, entry.frame + 1}
    ledger.forget(entry.file for entry in damaged)
    for index in range(total):
        if any(ledger.name_of(path) not in known for path in frame_paths(folder, outputs, index)):
            needed.add(index)
    if outputs.films and not outputs.is_exact and not outputs.needs_copies:
        needed = set(range(total))  # the films cannot be made of the frames
    notes = []
    if damaged:
        kinds = sorted({entry.file.partition("/")[0] for entry in damaged} - {COPIES_FOLDER}) or [COPIES_FOLDER]
        frames = ranges(sorted({entry.frame for entry in damaged}))
        notes.append(f"not as they were written, and rendered again ({', '.join(kinds)}): {frames}")
    states, torn = [], False
    for state in list_checkpoints(folder):
        fault = check_checkpoint(state.path) if state.frame < total else ""
        if fault:
            torn = True
            notes.append(fault)
            state.path.unlink(missing_ok=True)
        elif state.frame < total:
            states.append(state)
    if torn:
        notes.append(f"the newest whole state is that of frame {states[-1].frame}" if states else "no state is whole")
    return Standing(tuple(sorted(index for index in needed if index < total)), tuple(states), tuple(notes))


def next_stretch(needed: Sequence[int], states: Iterable[int], since: Sequence[int], total: int) -> Stretch:
    """Choose what to render first of the frames that are needed, ascending and at least one.

    `states` are the frames of the states, `since` the first frames of the parts of the run. A stretch goes on to the
    next needed frame unless a state lies between; it ends with its part.
    """
    first, frames = needed[0], sorted(states)
    start = max((frame for frame in frames if frame < first), default=-1)
    part = max(number for number, begin in enumerate(since) if begin <= start + 1)
    last = first
    for index in needed[1:]:
        if any(last <= frame < index for frame in frames):
            break
        last = index
    end = since[part + 1] - 1 if part + 1 < len(since) else total - 1
    return Stretch(part, start, min(last, end))
