"""The folder of a stage, `post/upscale2` in that of a run: its record, step.json, beside its frames and ledger."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from deforum import atomic
from deforum.errors import UserError, disk_error
from deforum.limits import RUN_FILE_SIZE
from deforum.models.digest import sha256_of
from deforum.output.finished import ranges
from deforum.output.ledger import is_whole, read_entries
from deforum.output.record import FilmFile
from deforum.settings.chains import read_chain
from deforum.settings.document import Place, parse_yaml_value
from deforum.settings.faults import Wrong
from deforum.settings.steps import Step, kind_of
from deforum.sources import FRAMES_FOLDER, STEP_FILE
from deforum.version import __version__

FORMAT = 1
POST_FOLDER = "post"
RECIPE = "recipe"
"""Fact of a frame in the ledger: the digest of what it is made of."""


@dataclass(frozen=True)
class StepRecord:
    """What a stage is, and how far it is."""

    steps: str
    """All steps from the beginning of the chain, as YAML."""
    source: str
    """What the chain begins with: "frames" of the run, or the name of a film."""
    count: int
    width: int
    height: int
    fps: str
    """As a fraction."""
    files: str = ""
    """Digest of the files that the options name, such as a model."""
    recipe: str = ""
    """Of a film: the digest of what it is made of."""
    film: FilmFile | None = None
    finished: bool = False
    frames_deleted: bool = False
    deforum: str = __version__

    def write(self, folder: Path) -> None:
        """Write step.json. Raises UserError where it cannot be written."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)
        try:
            atomic.write(folder / STEP_FILE, text.encode("utf-8", "surrogateescape"), durable=True)
        except OSError as error:
            raise disk_error(error, folder) from error


def read_step(folder: Path) -> StepRecord | None:
    """Read the record of a stage; None where there is none, or where it is damaged: it is then made anew."""
    path = folder / STEP_FILE
    try:
        RUN_FILE_SIZE.check(path.stat().st_size, str(path))
        told = json.loads(path.read_text("utf-8"))
        if told.pop("format") != FORMAT:
            return None
        film = told.get("film")
        record = StepRecord(**{**told, "film": None if film is None else FilmFile(**film)})
        texts = (record.steps, record.source, record.fps, record.files, record.recipe, record.deforum)
        right = all(isinstance(text, str) for text in texts) and all(
            isinstance(number, int) and number >= 0 for number in (record.count, record.width, record.height)
        )
        named = record.film is None or (
            isinstance(record.film.file, str) and Path(record.film.file).name == record.film.file
        )
        return record if right and named else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, UserError):
        return None


def chain_of(path: Path) -> tuple[Path, tuple[Step, ...]]:
    """Return the run that a folder belongs to, and the steps that made it: none where it is that of the run itself."""
    folder = path.resolve()
    folder = folder.parent if folder.name == FRAMES_FOLDER and (folder.parent / STEP_FILE).is_file() else folder
    record = read_step(folder) if folder.parent.name == POST_FOLDER else None
    if record is None:
        return path, ()
    if record.film is not None:
        raise UserError(f"{path}: has no frames, only the record of {record.film.file}; give that film, or the run")
    try:
        chain = read_chain(parse_yaml_value(record.steps, Place(str(folder / STEP_FILE))), "steps")
    except (Wrong, UserError) as error:
        raise UserError(str(error)) from None
    return folder.parent.parent, tuple(step for step in chain.steps if kind_of(step).open)


def film_is_whole(home: Path, film: FilmFile | None) -> bool:
    """Whether a film is there as it was written."""
    if film is None:
        return False
    path = home / film.file
    return path.is_file() and path.stat().st_size == film.bytes and sha256_of(path) == film.sha256


@dataclass(frozen=True)
class StageFound:
    """A stage that was found in the folder of a run, and what of it is not as it was written, a line each."""

    folder: Path
    record: StepRecord
    frames: int
    faults: tuple[str, ...]


def verify_steps(home: Path) -> list[StageFound]:
    """Check the frames and films of all stages of a run against their records."""
    found = []
    for folder in sorted((home / POST_FOLDER).glob("*")) if (home / POST_FOLDER).is_dir() else []:
        record = read_step(folder)
        if record is None:
            continue
        faults: list[str] = []
        entries = read_entries(folder)
        numbers = set()
        for entry in [] if record.frames_deleted else entries.values():
            numbers.add(entry.frame)
            if entry.frame < record.count and not is_whole(folder, entry):
                there = (folder / entry.file).exists()
                faults.append(f"{folder / entry.file}: {'is not as it was written' if there else 'is missing'}")
        lacking = [index for index in range(record.count) if index not in numbers]
        if record.finished and record.film is None and not record.frames_deleted and lacking:
            faults.append(f"{folder}: not in the record: {ranges(lacking)}")
        if record.film is not None and not film_is_whole(home, record.film):
            what = "is not as it was written" if (home / record.film.file).is_file() else "is missing"
            faults.append(f"{home / record.film.file}: {what}")
        found.append(StageFound(folder, record, len(numbers), tuple(faults)))
    return found
