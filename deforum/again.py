"""`again`: frames of a run given once more, exactly as it has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deforum import atomic
from deforum.behind import finishing
from deforum.build import build, prepare
from deforum.errors import UserError, disk_error
from deforum.events import Note, Observer, nobody
from deforum.going import as_recorded, levels
from deforum.models.kept import KeptModels
from deforum.output.checkpoints import check_checkpoint, list_checkpoints, path_of, read_checkpoint
from deforum.output.choice import Outputs
from deforum.output.finished import find_run, ranges, read_frame
from deforum.output.frames import as_stored, frame_paths
from deforum.output.inputs import changed_inputs
from deforum.output.labels import Label
from deforum.output.ledger import Entry, digest, read_entries
from deforum.output.pictures import encode
from deforum.output.record import RunRecord, read_record
from deforum.output.resume import next_stretch
from deforum.output.run_folder import RunFolder
from deforum.resuming import older_versions, settings_of, use_threads_of
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.video.writer import Pixels, arrived


@dataclass(frozen=True)
class Again:
    """A frame that was rendered again."""

    index: int
    path: Path
    """Its file."""
    is_same: bool | None
    """Whether it is what the run recorded; None where the run has not rendered it."""
    is_written: bool
    """Whether the file was written; False where it was there."""


def again(
    folder: str | Path,
    wanted: range,
    *,
    output: Path | None = None,
    observer: Observer = nobody,
    stop: Callable[[], bool] = lambda: False,
    models: KeptModels | None = None,
    allow_download: bool = False,
) -> Iterator[Again]:
    """Render frames of a run again, from the nearest states, and compare each with what was recorded of it.

    They are written into `output`, or without one into their place in the run: a missing or damaged frame is put back
    if it is what was recorded, and one that is there is left alone. Raises UserError where the folder has no run or not
    these frames, where its files have changed, or where another process renders into it and no `output` is given.
    """
    from deforum.models.process import settle_process

    settle_process()
    folder = find_run(Path(folder))
    with ExitStack() as opened:
        run = opened.enter_context(RunFolder.open(folder)) if output is None else None
        record = read_record(folder) if run is None else run.record
        _check(folder, record, wanted)
        for line in older_versions(record):
            observer(Note(line))
        use_threads_of(record)
        known = read_entries(folder)
        models = KeptModels() if models is None else models
        parts = [as_recorded(each) for each in settings_of(record)]
        for frame, pixels, part in _rendered(folder, record, parts, wanted, observer, models, allow_download):
            outputs, _ = Outputs.of(parts[part])
            label = Label.of(parts[part], record.origin_of(part)) if parts[part].save_metadata else None
            encoded = encode(pixels, outputs.picture, label.texts(frame) if label else {})
            own, index = frame_paths(folder, outputs, frame.index)[0], frame.index
            entry = known.get(own.relative_to(folder).as_posix())
            entry = entry if entry is None or entry.edition == record.edition_of(index) else None
            before = read_frame(own)
            same = _is_same(entry, encoded, before, pixels)
            path, written = own, False
            try:
                if output is not None:
                    output.mkdir(parents=True, exist_ok=True)
                    path, written = output / own.name, True
                    atomic.write(path, encoded)
                elif run is not None and same is not False and (before is None or entry is None):
                    facts = {} if entry is None else {"seconds": entry.facts.get("seconds", 0)}
                    run.ledger.save(own, index, encoded, seed=frame.seed, **facts)
                    written = True
            except OSError as error:
                raise disk_error(error, path) from error
            yield Again(index, path, same, written)
            if stop():
                return


def _is_same(entry: Entry | None, encoded: bytes, before: Pixels | None, pixels: Pixels) -> bool | None:
    """Whether a frame is what was recorded: its file, or where that was written by another version its pixels."""
    if entry is None:
        return None
    if digest(encoded) == entry.sha256:
        return True
    return before is not None and np.array_equal(before, as_stored(pixels, before))


def _check(folder: Path, record: RunRecord, wanted: range) -> None:
    frames = record.frames
    if not wanted or wanted.start not in frames or wanted[-1] not in frames:
        named = f"frame {wanted.start}" if len(wanted) == 1 else f"frames {wanted.start} to {wanted.stop - 1}"
        raise UserError(f"{folder}: {named}: expected frames from {frames.start} to {frames.stop - 1}, in order")
    piece = next((each for each in record.pieces if wanted.start in each.place), None)
    if piece is not None and (folder / piece.folder).is_dir():
        number = wanted.start - piece.at + piece.first
        raise UserError(
            f"{folder}: frame {wanted.start} is frame {number} of {piece.name}; give the folder {folder / piece.folder}"
        )
    if record.is_changed:
        raise UserError(f"{folder}: a program with stages of its own rendered this run; only it can do so again")
    replaced = changed_inputs(record.inputs)
    if replaced:
        lines = "\n  ".join(replaced)
        raise UserError(f"{folder}: files that the run was made from are not what they were:\n  {lines}\nPut them back")


def _rendered(
    folder: Path,
    record: RunRecord,
    settings: Sequence[Settings],
    wanted: Sequence[int],
    tell: Observer,
    models: KeptModels,
    allow_download: bool,
) -> Iterator[tuple[Frame, Pixels, int]]:
    """Render the wanted frames in order; yield each with its levels and its part of the run."""
    from deforum.animation.state import Packed, pack_state

    states = [state.frame for state in list_checkpoints(folder) if not check_checkpoint(state.path)]
    needed, packed = list(wanted), dict[int, Packed]()
    while needed:
        stretch = next_stretch(needed, [*states, *packed], record.parts, record.total)
        since = record.parts[stretch.part].since
        tell(Note(f"from {f'the state after frame {stretch.start}' if stretch.start >= 0 else 'the beginning'}: "
                  f"{ranges(list(range(stretch.start + 1, stretch.last + 1)))}"))  # fmt: skip
        animation, finish = finishing(
            build(prepare(settings[stretch.part], allow_download=allow_download), models), models
        )
        outputs, _ = Outputs.of(settings[stretch.part])
        start = None
        if stretch.start >= 0:
            path = path_of(folder, stretch.start)
            found = packed.get(stretch.start) or read_checkpoint(path)
            start = animation.unpack_state(found, str(path))
        for state in animation.states(start):
            index = state.frame.index
            finished = None if finish is None else finish(state.frame, state.shown)
            if index in needed and index >= since:
                image = state.shown if finished is None else finished()
                yield state.frame, arrived(levels(image, outputs.bits)), stretch.part
            if index == stretch.last:
                packed[index] = pack_state(state)
                break
        needed = [index for index in needed if not max(stretch.start + 1, since) <= index <= stretch.last]
