"""A task as an object, for workers that do not share the folders: what is left of a run goes out, its files come home.

The worker renders into a folder of its own, which begins at the newest state; each file is sent home as it is written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deforum import atomic
from deforum.cluster.work import Done, Failed, News, carry_out
from deforum.models.kept import KeptModels
from deforum.output.checkpoints import STATES_FOLDER, list_checkpoints
from deforum.output.choice import Outputs
from deforum.output.ledger import Entry, digest, is_whole, read_entries
from deforum.output.record import RunRecord, read_record
from deforum.output.resume import look
from deforum.output.run_folder import RunFolder
from deforum.resuming import settings_of


@dataclass(frozen=True)
class Parcel:
    """A run to go on with, without the frames that are there."""

    record: RunRecord
    settings: str
    """The text of its settings.yaml."""
    states: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Arrived:
    """A file that was written: of a frame with its entry in the ledger, or a state, with None."""

    entry: Entry | None
    name: str
    content: bytes


def pack(folder: Path) -> Parcel | None:
    """Pack what is left of a run; None where all its frames are there. Raises UserError."""
    with RunFolder.open(folder) as run:
        outputs, _ = Outputs.of(settings_of(run.record)[-1])
        outputs = replace(outputs, is_resumable=True, makes_films=False)
        standing = look(folder, run.ledger, outputs, run.record)
        if not standing.needed:
            return None
        # Frames after the first one that is missing are made again: they are the same.
        first = standing.needed[0]
        states = [state for state in standing.states if state.frame < first]
        record = replace(run.record, first=first, pieces=(), is_piece=True, films=(), finished=False, history=())
        newest = tuple((state.path.name, state.path.read_bytes()) for state in states[-1:])
        return Parcel(record, run.settings_text, newest)


def render_parcel(
    parcel: Parcel, tell: Callable[[News | Arrived], None], models: KeptModels, stop: Callable[[], bool]
) -> None:
    """Render what is in a parcel, in a folder that is removed then; files are told of as they are written."""
    folder = Path(tempfile.mkdtemp(prefix="deforum_"))
    sent = set[str]()

    def watch(news: News) -> None:
        for arrived in _new_files(folder, sent):
            tell(arrived)
        tell(news)

    try:
        RunFolder.create(folder, parcel.record, parcel.settings).ledger.close()
        for name, content in parcel.states:
            (folder / STATES_FOLDER).mkdir(exist_ok=True)
            atomic.write(folder / STATES_FOLDER / name, content)
            sent.add(name)
        carry_out(folder, "render", watch, models, stop)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_files(folder: Path, sent: set[str]) -> Iterator[Arrived]:
    for name, entry in read_entries(folder).items():
        if name not in sent and is_whole(folder, entry):
            sent.add(name)
            yield Arrived(entry, name, (folder / name).read_bytes())
    for state in list_checkpoints(folder):
        if state.path.name not in sent:
            sent.add(state.path.name)
            yield Arrived(None, f"{STATES_FOLDER}/{state.path.name}", state.path.read_bytes())


class Homecoming:
    """Take the files of a parcel into the folder that it was packed from; locked until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._run = RunFolder.open(folder)

    def take(self, arrived: Arrived) -> None:
        """Write a file. Raises OSError."""
        run, entry = self._run, arrived.entry
        if entry is None:
            (run.folder / STATES_FOLDER).mkdir(exist_ok=True)
            atomic.write(run.folder / arrived.name, arrived.content)
        elif digest(arrived.content) == entry.sha256:
            facts = {name: value for name, value in entry.facts.items() if name != "edition"}
            run.ledger.save(run.folder / entry.file, entry.frame, arrived.content, **facts)

    def close(self, news: News) -> News:
        """Release the folder at the end of its task; a piece that has all its frames is finished."""
        run = self._run
        try:
            if isinstance(news, Done) and not news.stopped and run.record.is_piece:
                run.finish((), len(run.record.frames), keep_frames=True)
        except OSError as error:
            return Failed(f"{run.folder}: {error.strerror}")
        finally:
            run.ledger.close()
        return news


def is_whole_run(folder: Path) -> bool:
    """Whether a run is a chain of its own, which makes films once its frames are home."""
    return not read_record(folder).is_piece
