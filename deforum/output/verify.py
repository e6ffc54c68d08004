"""Checking a run against its record: every frame, film and state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deforum.output.checkpoints import check_checkpoint, list_checkpoints
from deforum.output.finished import ranges
from deforum.output.ledger import is_whole, read_entries
from deforum.output.record import RunRecord, read_record
from deforum.sources import FRAMES_FOLDER


@dataclass(frozen=True)
class Verified:
    """What was found of a run. `faults` are what is not as it was recorded, a line each."""

    frames: int
    total: int
    others: int
    """Other files of frames: depth maps, masks and so on."""
    films: int
    states: int
    finished: bool
    faults: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Check the files of a run against what was recorded when they were written. Raises UserError without a record."""
    record = read_record(folder)
    entries = {
        name: entry
        for name, entry in read_entries(folder).items()
        if entry.frame in record.frames and entry.edition == record.edition_of(entry.frame)
    }
    faults: list[str] = []
    pictures = {name: entry for name, entry in entries.items() if name.startswith(f"{FRAMES_FOLDER}/")}
    others = [entry for name, entry in entries.items() if name not in pictures and not name.startswith("copies/")]
    checked = [] if record.frames_deleted else list(pictures.values())
    for entry in (*checked, *others):
        if not is_whole(folder, entry):
            there = (folder / entry.file).exists()
            faults.append(f"{folder / entry.file}: {'is not as it was written' if there else 'is missing'}")
    numbers = {entry.frame for entry in pictures.values()}
    frames = record.frames if record.finished else range(record.first, max(numbers, default=-1) + 1)
    lacking = [index for index in frames if index not in numbers]
    if lacking:
        faults.append(f"{folder}: not in the record: {ranges(lacking)}")
    faults += film_faults(folder, record)
    states = list_checkpoints(folder)
    faults += filter(None, (check_checkpoint(state.path) for state in states))
    return Verified(
        len(pictures), len(record.frames), len(others), len(record.films), len(states), record.finished, tuple(faults)
    )


def film_faults(folder: Path, record: RunRecord) -> list[str]:
    """Return what is wrong with the films of a run, a line each."""
    from deforum.models.digest import sha256_of

    faults = []
    for film in record.films:
        path = folder / film.file
        if not path.is_file():
            faults.append(f"{path}: is missing")
        elif path.stat().st_size != film.bytes or sha256_of(path) != film.sha256:
            faults.append(f"{path}: is not as it was written")
    return faults
