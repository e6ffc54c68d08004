"""The folder of a run while it is rendered: locked, with its record, its ledger and its states."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from deforum import atomic
from deforum.errors import UserError, disk_error
from deforum.features.feature import COPIES_FOLDER
from deforum.output.checkpoints import STATES_FOLDER, list_checkpoints, thin_out
from deforum.output.ledger import LEDGER_FILE, Ledger, Locked, digest, read_entries
from deforum.output.record import FilmFile, RunRecord, read_record
from deforum.sources import FRAMES_FOLDER, RUN_FILE, SETTINGS_FILE


class RunFolder:
    """A folder that this process renders into; no other process can open it until it is closed.

        with RunFolder.create(folder, record, settings_text) as run:
            run.ledger.save(...)
            run.happened("finished", 120)

    An error that leaves the block is recorded as the end of the run; a new folder without any frame is removed.
    """

    def __init__(self, folder: Path, record: RunRecord, ledger: Ledger, *, is_new: bool) -> None:
        self.folder, self.record, self.ledger = folder, record, ledger
        self._is_new = is_new
        ledger.edition_of = lambda frame: self.record.edition_of(frame)

    @property
    def settings_text(self) -> str:
        """The text of settings.yaml. Raises UserError where it cannot be read."""
        try:
            return (self.folder / SETTINGS_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    @staticmethod
    def create(folder: Path, record: RunRecord, settings_text: str) -> RunFolder:
        """Begin a run in an empty folder. Raises UserError where it cannot be written."""
        record = record.with_event("began", 0)
        try:
            # The record first: without it a run cannot be resumed.
            record.write(folder)
            atomic.write(folder / SETTINGS_FILE, settings_text.encode())
            return RunFolder(folder, record, Ledger(folder), is_new=True)
        except (OSError, UserError) as error:
            _remove(folder)
            raise disk_error(error, folder) if isinstance(error, OSError) else error from None

    @staticmethod
    def open(folder: Path) -> RunFolder:
        """Open the folder of a run that is to be resumed. Raises UserError where it has none, or where it is going."""
        record = read_record(folder)
        try:
            ledger = Ledger(folder)
        except Locked:
            last = record.history[-1] if record.history else None
            raise Locked(folder, f"{last.what} {last.when} by {last.by}" if last else "") from None
        # Read again: what was read first may be from before the lock.
        return RunFolder(folder, read_record(folder), ledger, is_new=False)

    def write_settings(self, text: str) -> None:
        """Write settings.yaml, if it differs. Raises OSError."""
        path, content = self.folder / SETTINGS_FILE, text.encode()
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return
        atomic.write(path, content)

    def take_state(self, path: Path) -> None:
        """Begin at the state of another run. Raises UserError where it cannot be copied."""
        try:
            (self.folder / STATES_FOLDER).mkdir(exist_ok=True)
            atomic.write(self.folder / STATES_FOLDER / path.name, path.read_bytes())
        except OSError as error:
            raise disk_error(error, self.folder) from error

    def change(self, change: Callable[[RunRecord], RunRecord]) -> None:
        """Change the record. Raises UserError where it cannot be written."""
        self.record = change(self.record)
        try:
            self.record.write(self.folder)
        except OSError as error:
            raise disk_error(error, self.folder) from error

    def happened(self, what: str, frames: int, why: str = "") -> None:
        """Record an event."""
        self.change(lambda record: record.with_event(what, frames, why))

    def finish(self, films: tuple[Path, ...], frames: int, *, keep_frames: bool) -> None:
        """Record the complete films; then remove what only a run in work needs. Raises UserError."""
        if not films:
            keep_frames = True
        replaced = {film.file for film in self.record.films} - {path.name for path in films}
        files = tuple(
            FilmFile(path.name, path.stat().st_size, digest(path.read_bytes())) for path in dict.fromkeys(films)
        )
        self.change(
            lambda record: replace(record, films=files, finished=True, frames_deleted=not keep_frames).with_event(
                "finished", frames
            )
        )
        for name in replaced:
            (self.folder / name).unlink(missing_ok=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what a finished run does not need; after a kill while it was removed, the rest of it."""
        with contextlib.suppress(OSError):
            thin_out(self.folder, self.ledger.frames_bytes(), newest=0)
        if not self.record.is_piece:
            shutil.rmtree(self.folder / COPIES_FOLDER, ignore_errors=True)
        for name, entry in read_entries(self.folder).items():
            if entry.frame not in self.record.frames or entry.edition != self.record.edition_of(entry.frame):
                (self.folder / name).unlink(missing_ok=True)  # of a frame that an edit replaced or removed
        if self.record.frames_deleted:
            for name in list(self.ledger.entries):
                if name.startswith(f"{FRAMES_FOLDER}/"):
                    (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds files of others
                (self.folder / FRAMES_FOLDER).rmdir()

    def discard(self) -> None:
        """Remove the run: nothing was rendered."""
        self.ledger.close()
        _remove(self.folder)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pictures = len(self.ledger.pictures())
        on_the_way = self.record.first > 0 and bool(list_checkpoints(self.folder))
        if self._is_new and not pictures and not self.record.finished and not on_the_way:
            self.discard()
            return
        if kind is not None:
            what = "failed" if issubclass(kind, Exception) else "interrupted"
            with contextlib.suppress(OSError):  # the disk may be full: the run can be resumed without this line
                self.record = self.record.with_event(what, pictures, (str(error).splitlines() or [kind.__name__])[0])
                self.record.write(self.folder)
        self.ledger.close()


def _remove(folder: Path) -> None:
    """Remove a run that has no frames."""
    for name in (RUN_FILE, LEDGER_FILE, SETTINGS_FILE):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    for place in (folder / FRAMES_FOLDER, folder / STATES_FOLDER, folder):
        with contextlib.suppress(OSError):  # there is none, or it holds something
            place.rmdir()
