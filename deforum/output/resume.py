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
from deforum.output.record import RunRecord, SettingsPart


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


@dataclass(frozen=True)
class Batches:
    """Where rendering can begin without a state: at the first frame, and of independent frames at each batch."""

    first: int = 0
    size: int = 0
    """Independent frames of a batch; 0: frames depend on those before."""

    def before(self, index: int) -> int:
        """Return the frame before the last beginning up to an index; -1 for that of the run."""
        if not self.size or index < self.first + self.size:
            return -1
        return index - (index - self.first) % self.size - 1

    def begin(self, start: int) -> int | None:
        """Return the frame to begin at after frame `start`, -1 for none; None where a state is needed."""
        if start < 0:
            return self.first
        return start + 1 if self.size and not (start + 1 - self.first) % self.size else None


ONE_CHAIN = Batches()


def look(folder: Path, ledger: Ledger, outputs: Outputs, record: RunRecord) -> Standing:
    """Check every file of a run against its ledger, and every state. What is damaged is forgotten, and noted.

    Forgotten too are the files that an edit replaces: they stay until they are written over.
    """
    for path in folder.rglob(f"*{UNFINISHED}"):
        path.unlink(missing_ok=True)
    known, total = ledger.entries, record.total
    ledger.forget([
        name for name, entry in known.items()
        if entry.frame not in record.frames or entry.edition != record.edition_of(entry.frame)
    ])  # fmt: skip
    damaged = [entry for entry in known.values() if not is_whole(folder, entry)]
    needed = set()
    for entry in damaged:
        # The depth of a frame is known for good when the next one is rendered.
        needed |= {entry.frame, entry.frame + 1}
    ledger.forget(entry.file for entry in damaged)
    for index in record.frames:
        if any(ledger.name_of(path) not in known for path in frame_paths(folder, outputs, index)):
            needed.add(index)
    if outputs.films and not outputs.is_exact and not outputs.needs_copies and not outputs.from_pictures:
        needed = set(record.frames)  # the films cannot be made of the frames
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
    return Standing(tuple(sorted(index for index in needed if index in record.frames)), tuple(states), tuple(notes))


def next_stretch(
    needed: Sequence[int],
    states: Iterable[int],
    parts: Sequence[SettingsPart],
    total: int,
    batches: Batches = ONE_CHAIN,
) -> Stretch:
    """Choose what to render first of the frames that are needed, ascending and at least one.

    `states` are the frames of the states. A stretch goes on to the next needed frame unless a state lies between; it
    ends with its part. It begins at the nearest state that fits its settings, or at the beginning; of independent
    frames at a batch of `batches`. A part that is not whole begins at the state before it: that is reached first, with
    the part before.
    """
    first, frames = needed[0], sorted(states)
    part = max((number for number, each in enumerate(parts) if each.since <= first), default=0)
    settings = parts[part]
    goes_back = settings.is_whole or part == 0
    least = settings.states_since if goes_back else settings.since - 1
    fitting = [frame for frame in frames if frame >= least]
    start = max((frame for frame in fitting if frame < first), default=-1)
    start = max(start, batches.before(first))
    if start < 0 and not goes_back:
        return next_stretch([settings.since - 1], frames, parts[:part], settings.since, batches)
    last = first
    for index in needed[1:]:
        if any(last <= frame < index for frame in fitting) or last < batches.before(index) > start:
            break
        last = index
    end = parts[part + 1].since - 1 if part + 1 < len(parts) else total - 1
    return Stretch(part, start, min(last, end))
