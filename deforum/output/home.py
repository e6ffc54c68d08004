"""Bringing home the frames of a run's pieces: from their folders into that of the run, as if it had rendered them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from deforum.errors import disk_error
from deforum.features.feature import COPIES_FOLDER
from deforum.output.ledger import Entry, is_whole, read_entries
from deforum.output.record import Piece, read_record
from deforum.output.run_folder import RunFolder

CHUNKS_FOLDER, SHOTS_FOLDER = "chunks", "shots"
"""Folders of pieces, within that of the run. Chunks are removed when their frames are home; shots stay."""
_NUMBER = re.compile(r"\d{9}")


def is_shot(piece: Piece) -> bool:
    """Whether a piece is a shot, whose folder stays; else it is a chunk."""
    return piece.folder.startswith(f"{SHOTS_FOLDER}/")


def bring_home(run: RunFolder, piece: Piece) -> list[int]:
    """Take over the files of a piece that the run lacks; return the frames that are not there yet, by its numbers.

    A file that is not as it was written is left alone: its frame is not there. Raises UserError.
    """
    folder, there = run.folder / piece.folder, set[int]()
    try:
        for entry, own in entries_of(folder, piece):
            known = run.ledger.entries.get(own.file)
            if known is None or known.sha256 != own.sha256 or not is_whole(run.folder, known):
                if not is_whole(folder, entry):
                    continue
                run.ledger.adopt(folder / entry.file, own)
            if own.file.startswith("frames/"):
                there.add(own.frame)
    except OSError as error:
        raise disk_error(error, run.folder) from error
    return [index for index in piece.place if index not in there]


def entries_of(folder: Path, piece: Piece) -> Iterator[tuple[Entry, Entry]]:
    """Yield each file of a piece, and what it is in the run."""
    shift = piece.at - piece.first
    record = read_record(folder)
    for entry in read_entries(folder).values():
        if entry.frame in range(piece.first, piece.total) and entry.edition == record.edition_of(entry.frame):
            path = PurePosixPath(entry.file)
            number = _NUMBER.sub(f"{entry.frame + shift:09}", path.name, count=1)
            facts: Mapping[str, object] = {name: value for name, value in entry.facts.items() if name != "edition"}
            yield entry, replace(entry, file=str(path.with_name(number)), frame=entry.frame + shift, facts=facts)


def is_home(run: RunFolder, piece: Piece) -> bool:
    """Whether the run has all frames of a piece, as they are in its folder; a chunk's folder may be gone."""
    known = run.ledger.entries
    if not (run.folder / piece.folder).is_dir():
        frames = {entry.frame for entry in run.ledger.pictures()}
        return not is_shot(piece) and frames.issuperset(piece.place)
    files = dict[int, bool]()
    for _, own in entries_of(run.folder / piece.folder, piece):
        if own.file.startswith("frames/"):
            files[own.frame] = own.file in known and known[own.file].sha256 == own.sha256
    return all(files.get(index, False) for index in piece.place)


def remove_chunks(run: RunFolder) -> None:
    """Remove the folders of chunks, whose frames are home, and what films are made of in those of shots."""
    for piece in run.record.pieces:
        folder = run.folder / piece.folder
        shutil.rmtree(folder / COPIES_FOLDER if is_shot(piece) else folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        (run.folder / CHUNKS_FOLDER).rmdir()
