"""Runs in pieces: shots, each a chain of frames of its own, and chunks of independent frames.

A piece is a run in a folder within that of its run; any process or machine can go on with it. Its frames are brought
home into the folder of the run, which then makes the films.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from deforum.build import Prepared, independent_every, prepare
from deforum.errors import Problem, UserError
from deforum.events import FrameShown, Observer, RunFinished, RunLoaded, RunPrepared, RunResult
from deforum.going import Change, as_recorded, carry_on, unchanged
from deforum.loading import load_text
from deforum.models.kept import KeptModels
from deforum.output.home import CHUNKS_FOLDER, SHOTS_FOLDER, bring_home, is_home, is_shot, remove_chunks
from deforum.output.inputs import find_inputs
from deforum.output.naming import safe_name
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.record import Piece, SettingsPart
from deforum.output.run_folder import RunFolder
from deforum.settings.read import dump
from deforum.sources import SETTINGS_FILE, heading


def pieces_of(prepared: Prepared, chunks: int = 1) -> tuple[Piece, ...]:
    """Split a run into pieces: its shots, or of independent frames as many chunks; () where it is one chain.

    Chunks begin where batches do, so that frames are the same in any number of chunks.
    """
    if prepared.shots:
        return tuple(
            Piece(f"{SHOTS_FOLDER}/{number:03}_{safe_name(shot.name)}", shot.name, shot.frames.start, shot.frames.stop,
                  shot.at)
            for number, shot in enumerate(prepared.shots, 1)
        )  # fmt: skip
    every, frames = independent_every(prepared.settings), prepared.frames
    batches = -(-len(frames) // every) if every else 1
    chunks = min(chunks, batches)
    if chunks < 2:
        return ()
    bounds = [frames.start + round(number * batches / chunks) * every for number in range(chunks)] + [frames.stop]
    return tuple(
        Piece(f"{CHUNKS_FOLDER}/{first:09}", f"frames {first} to {last - 1}", first, last, first)
        for first, last in pairwise(bounds)
    )


def make_pieces(run: RunFolder, prepared: Prepared, *, allow_download: bool = False) -> None:
    """Make the folders of a run's pieces that are not there. Raises UserError."""
    for number, piece in enumerate(run.record.pieces):
        folder = run.folder / piece.folder
        if (folder / "run.json").is_file() or is_home(run, piece):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if prepared.shots:
            with _named(piece):
                own = prepare(prepared.shots[number].settings, allow_download=allow_download)
            record = replace(
                run.record, parts=(SettingsPart(0, dump(as_recorded(own.settings))),), inputs=find_inputs(own),
                notes=own.notes,
            )  # fmt: skip
        else:
            record = replace(run.record, inputs=(), notes=())
        record = replace(
            record, total=piece.total, first=piece.first, pieces=(),
            is_piece=True, history=(), films=(), asked="",
        )  # fmt: skip
        text = f"{heading(record.origin)}\n# {piece.name}, of the run {run.folder.name}\n\n{record.parts[0].settings}"
        RunFolder.create(folder, record, text).ledger.close()


@contextlib.contextmanager
def _named(piece: Piece) -> Iterator[None]:
    """Say of which piece an error is."""
    try:
        yield
    except UserError as error:
        named = UserError([Problem(f"{piece.name}: {each.message}", each.where) for each in error.problems])
        for note in getattr(error, "__notes__", []):
            named.add_note(note)
        raise named from error


def check_shots(prepared: Prepared, *, allow_download: bool = False) -> list[str]:
    """Find every mistake in the shots of a run; return notes on them. Raises UserError with all problems."""
    problems: list[Problem] = []
    notes: list[str] = []
    for shot in prepared.shots:
        try:
            own = prepare(shot.settings, allow_download=allow_download)
        except UserError as error:
            problems += (Problem(f"shots, {shot.name}: {each.message}", each.where) for each in error.problems)
            continue
        notes += (f"{shot.name}: {note}" for note in own.notes if note not in prepared.notes)
        sizes = [f"{width}x{height}" for width, height in (own.settings.written_size, prepared.settings.written_size)]
        if sizes[0] != sizes[1]:
            problems.append(Problem(
                f"shots, {shot.name}: its frames are {sizes[0]} px and those of the film {sizes[1]}; give the shot "
                "width and height"
            ))  # fmt: skip
    if problems:
        raise UserError(problems)
    if any(shot.settings.save_depth_video for shot in prepared.shots):
        notes.append("save_depth_video: each shot has a film of its depth, in its folder in shots/")
    return notes


def complete(
    run: RunFolder,
    parts: Sequence[Prepared],
    *,
    tell: Observer,
    stop: Callable[[], bool] = lambda: False,
    pause: Pause = PLAIN_PAUSE,
    models: KeptModels | None = None,
    change: Change = unchanged,
    profile: bool | Path = False,
    steps: bool = True,
    allow_download: bool = False,
) -> RunResult:
    """Go on with a run and with its pieces, one after the other, see `carry_on`. Raises UserError."""
    models = KeptModels() if models is None else models
    if run.record.pieces:
        if isinstance(profile, Path):
            raise UserError(f"--trace {profile}: one file for all shots; --profile writes one into the folder of each")
        make_pieces(run, parts[-1], allow_download=allow_download)
        total, done = len(run.record.frames), 0
        tell(RunLoaded(run.folder, total))
        for piece in run.record.pieces:
            if not is_home(run, piece) and bring_home(run, piece):
                go_on = partial(
                    carry_on, tell=_telling(tell, done, total), stop=stop, pause=Within(pause, run.folder),
                    models=models, change=change, profile=bool(profile),
                )  # fmt: skip
                result = _render(run, piece, go_on, allow_download=allow_download)
                if result.stopped:
                    bring_home(run, piece)
                    count = len(run.ledger.pictures())
                    run.happened("stopped", count)
                    return replace(result, folder=run.folder, frames=count, films=(), video=None)
            done += len(piece.place)
    result = carry_on(
        run, _without_depth_film(parts), tell=tell, stop=stop, pause=pause, models=models, change=change,
        profile=profile if not run.record.pieces else False, steps=steps,
    )  # fmt: skip
    if run.record.pieces and not result.stopped:
        remove_chunks(run)
        run.change(lambda record: replace(record, pieces=tuple(filter(is_shot, record.pieces))))
    return result


def _without_depth_film(parts: Sequence[Prepared]) -> list[Prepared]:
    """Leave the films of depth to shots: the film has none of its own."""
    return [
        replace(each, settings=replace(each.settings, save_depth_video=False)) if each.shots else each for each in parts
    ]


def _render(
    run: RunFolder, piece: Piece, go_on: Callable[[RunFolder, list[Prepared]], RunResult], *, allow_download: bool
) -> RunResult:
    """Go on with a piece and bring its frames home."""
    with RunFolder.open(run.folder / piece.folder) as own, _named(piece):
        settings = [load_text(part.settings, name=SETTINGS_FILE).settings for part in own.record.parts]
        prepared = [prepare(each, allow_download=allow_download) for each in settings]
        own.happened("resumed" if own.ledger.pictures() else "began", len(own.ledger.pictures()))
        result = go_on(own, prepared)
    if not result.stopped:
        missing = bring_home(run, piece)
        if missing:
            raise UserError(f"{own.folder}: {len(missing)} of its frames are not as they were written; resume the run")
    return result


def _telling(tell: Observer, before: int, total: int) -> Observer:
    """Return an observer of a piece that tells of the frames of the whole run."""

    def watch(event: object) -> None:
        match event:
            case FrameShown(frame, picture, done, _):
                tell(FrameShown(frame, picture, before + done, total))
            case RunPrepared() | RunLoaded() | RunFinished():
                return
            case _:
                tell(event)  # type: ignore[arg-type]

    return watch


class Within(Pause):
    """The pause of a run, for its pieces."""

    def __init__(self, pause: Pause, folder: Path) -> None:
        self._pause, self._folder = pause, folder

    def asked(self, folder: Path) -> bool:
        return self._pause.asked(self._folder)

    def until(self, folder: Path) -> str:
        return self._pause.until(self._folder)

    def wait(self, folder: Path, stop: Callable[[], bool]) -> None:
        self._pause.wait(self._folder, stop)
