"""`resume`: going on with a run that was stopped in any way, exactly as if it had not been."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.build import prepare
from deforum.errors import UserError, disk_error
from deforum.events import Note, Observer, RunFinished, RunPrepared, RunResult, nobody
from deforum.going import Change, as_recorded, unchanged, with_steps
from deforum.loading import load, load_text
from deforum.models.hub import downloads
from deforum.models.kept import KeptModels
from deforum.output.checkpoints import path_of
from deforum.output.choice import Outputs
from deforum.output.finished import find_run
from deforum.output.home import is_home
from deforum.output.inputs import changed_inputs
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.record import FIXED, RunRecord, SettingsPart, packages, read_record
from deforum.output.resume import look
from deforum.output.run_folder import RunFolder
from deforum.output.verify import film_faults
from deforum.piecewise import complete
from deforum.rendering import check, settings_text, telling
from deforum.settings.options import Settings
from deforum.settings.parseq.find import embedded
from deforum.settings.read import dump, list_values
from deforum.settings.yaml_writer import write_value
from deforum.sources import RUN_FILE, SETTINGS_FILE
from schedules.quoting import cut

WITHOUT_EFFECT = ("output", "batch_name", "checkpoint_every", "resume_from_timestring", "resume_timestring")
"""Settings that change nothing in the frames and films of a run that has begun."""
STAYS = (*FIXED, "finish", "cadence", "keyframe_distribution", "keyframe_numbering", "frame_format")
"""Settings that cannot change from a frame on: those that no edit changes, and what all frames have in common."""


@dataclass(frozen=True)
class Difference:
    """A setting that is not what it was in the run; `then` and `now` as written in YAML."""

    name: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.name}: {cut(self.then, 80)} in the run, {cut(self.now, 80)} now"


def differences(then: Settings, now: Settings) -> list[Difference]:
    """List the settings that act on frames and films and differ; what `now` leaves open (seed -1, no size) does not."""
    then, now = embedded(then), embedded(now)
    old = {name: value for name, _, value, _ in list_values(then)}
    found = []
    for name, _, value, _ in list_values(now):
        is_open = (name == "seed" and value == -1) or (name in ("width", "height") and value is None)
        if name not in WITHOUT_EFFECT and not is_open and old.pop(name, None) != value:
            found.append(Difference(name, _written(then, name), _written(now, name)))
    return found


def _written(settings: Settings, name: str) -> str:
    return write_value(next((value for known, _, value, _ in list_values(settings) if known == name), None))


def resume(
    folder: str | Path,
    *,
    changes: Sequence[str] = (),
    settings: Settings | None = None,
    observer: Observer = nobody,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Pause = PLAIN_PAUSE,
    models: KeptModels | None = None,
    change: Change = unchanged,
    allow_download: bool = False,
    profile: bool | Path = False,
    steps: bool = True,
) -> RunResult:
    """Go on with the run in a folder; its frames, films, subtitles and passes become those of an uninterrupted run.

    What is there is checked against what was recorded of it; what is damaged or missing is rendered again. A run that
    is finished and whole is left alone. `changes`, such as ['steps=20'], apply from the first frame on that is not
    rendered yet, and are recorded. `settings` are compared with those of the run. `steps`: also make the steps behind
    the render. The others as for `render`; `change` must be that of the run. Raises UserError where the folder has no
    run, another process renders into it, or settings or the files that it is made from differ.
    """
    from deforum.models.process import settle_process

    settle_process()
    tell, folder = telling(observer, progress), find_run(Path(folder))
    with RunFolder.open(folder) as run:
        if run.record.is_changed and change is unchanged:
            raise UserError(f"{folder}: a program with stages of its own rendered this run; only it can go on with it")
        parts = settings_of(run.record)
        _refuse_differences(run, parts, settings, changes)
        if changes:
            with downloads(allowed=allow_download):
                parts = _with_changes(run, parts, changes, tell)
        elif is_whole(run, parts[-1]):
            tell(
                Note(
                    f"{folder.name} is finished and whole: nothing is left to {'render' if parts[-1].chains else 'do'}"
                )
            )
            run.tidy()
            models = KeptModels() if models is None else models
            result = result_of(folder, run.record)
            if steps and not run.record.is_piece:
                result = with_steps(run, parts[-1], result, tell=tell, stop=stop, models=models)
            tell(RunFinished(result))
            return result
        for line in older_versions(run.record):
            tell(Note(line))
        replaced = [] if changes else changed_inputs(run.record.inputs)
        if replaced:
            lines = "\n  ".join(replaced)
            raise UserError(
                f"{folder}: files that the run was made from are not what they were:\n  {lines}\nPut them back; or "
                "name another file for the frames that are left, such as --with video_init_path=FILE"
            )
        prepared = [prepare(each, allow_download=allow_download) for each in parts[:-1]]
        if run.record.is_piece:  # what it writes was checked with its run
            prepared.append(prepare(parts[-1], allow_download=allow_download))
        else:
            prepared.append(check(parts[-1], output=folder.parent, allow_download=allow_download))
        tell(RunPrepared(prepared[-1].settings, prepared[-1].timeline, prepared[-1].shots))
        use_threads_of(run.record)
        run.happened("resumed", len(run.ledger.pictures()))
        return complete(
            run, prepared, tell=tell, stop=stop, pause=pause, models=models, change=change, profile=profile,
            steps=steps, allow_download=allow_download,
        )  # fmt: skip


def settings_of(record: RunRecord) -> list[Settings]:
    """Return the settings of each part of a run."""
    return [load_text(part.settings, name=SETTINGS_FILE).settings for part in record.parts]


def _refuse_differences(
    run: RunFolder, parts: Sequence[Settings], settings: Settings | None, changes: Sequence[str]
) -> None:
    """Raise UserError where given settings, or the file in the folder, are not those of the run."""
    found, where = [], ""
    if settings is not None:
        found, where = differences(parts[-1], settings), "the settings given are not those of the run"
    elif (run.folder / SETTINGS_FILE).is_file():
        # A damaged file is written anew.
        try:
            found = differences(parts[run.record.whole_part], load(run.folder / SETTINGS_FILE).settings)
        except UserError:
            found = []
        where = f"{SETTINGS_FILE} in it is not what the run began with"
    named = {change.partition("=")[0].strip().rpartition(".")[2] for change in changes}
    found = [each for each in found if each.name not in named]
    if found:
        lines = "\n  ".join(map(str, found))
        words = " ".join(f"--with {each.name}={each.now}" for each in found[:3])
        raise UserError(
            f"{run.folder}: {where}:\n  {lines}\nResume it without them, or apply them to the frames that are left: "
            f"{cut(words, 200)}"
        )
    try:
        run.write_settings(text_of(run.record, parts))
    except OSError as error:
        raise disk_error(error, run.folder) from error


def text_of(record: RunRecord, parts: Sequence[Settings]) -> str:
    """Return the text of settings.yaml, with the changes that came later; `parts` are the settings of each part."""
    whole = record.whole_part
    text = settings_text(as_recorded(parts[whole]), record.origin_of(whole))
    later = [f"# From frame {part.since} on: {' '.join(part.changes)}" for part in record.parts[whole + 1 :]]
    head, _, body = text.partition("\n\n")
    return "\n".join([head, *(re.sub(r"[^\x20-\x7e]", "?", line) for line in later)]) + "\n\n" + body


def _with_changes(run: RunFolder, parts: Sequence[Settings], changes: Sequence[str], tell: Observer) -> list[Settings]:
    """Record changed settings from the resumed frame on; frames after it that are there are rendered again."""
    now = load_text(run.record.parts[-1].settings, changes, name=SETTINGS_FILE).settings
    wrong = [each for each in differences(parts[-1], now) if each.name in STAYS]
    if wrong:
        raise UserError(
            f"--with: {', '.join(each.name for each in wrong)} cannot change within a run; render a new one. Those "
            f"that cannot: {', '.join(STAYS)}"
        )
    found = differences(parts[-1], now)
    if not found:
        tell(Note(f"--with {' '.join(changes)}: the run has these settings already"))
        return list(parts)
    total = run.record.total
    standing = look(run.folder, run.ledger, Outputs.of(parts[-1])[0], run.record)
    for note in standing.notes:
        tell(Note(note))
    holes = set(standing.needed)
    tail = next((index + 1 for index in range(total - 1, -1, -1) if index not in holes), 0)
    since = max((state.frame + 1 for state in standing.states if state.frame < tail), default=0)
    for name, entry in list(run.ledger.entries.items()):
        if entry.frame >= since:
            (run.folder / name).unlink(missing_ok=True)
            run.ledger.forget([name])
    for state in standing.states:
        if state.frame >= since:
            path_of(run.folder, state.frame).unlink(missing_ok=True)
    kept = [(part, each) for part, each in zip(run.record.parts, parts, strict=True) if part.since < since]
    last = run.record.parts[-1]
    part = SettingsPart(since, dump(as_recorded(now)), tuple(changes), origin=last.origin, edition=last.edition + 1)
    total = length(run.record, parts[-1], now)
    run.change(
        lambda record: replace(
            record, parts=(*(part for part, _ in kept), part), total=total, films=(), finished=False,
        ).with_event("changed", since, " ".join(changes))
    )  # fmt: skip
    tell(Note(f"from frame {since} on: {'; '.join(map(str, found))}"))
    changed = [*(each for _, each in kept), now]
    run.write_settings(text_of(run.record, changed))
    return changed


def length(record: RunRecord, then: Settings, now: Settings) -> int:
    """Return the index after the last frame of a run whose settings change: a stretch ends where it did."""
    return (
        min(record.total, now.max_frames)
        if record.total < then.max_frames or record.first > then.first_frame
        else now.max_frames
    )


def is_whole(run: RunFolder, settings: Settings) -> bool:
    record = run.record
    if not record.finished or film_faults(run.folder, record):
        return False
    if record.frames_deleted:
        return True
    if not all(is_home(run, piece) for piece in record.pieces):
        return False
    outputs = replace(Outputs.of(settings)[0], films=())
    return not look(run.folder, run.ledger, outputs, record).needed


def result_of(folder: Path, record: RunRecord) -> RunResult:
    """Return the result of a finished run from its record."""
    films = tuple(folder / film.file for film in record.films if not film.file.startswith(f"{folder.name}_depth."))
    return RunResult(films[0] if films else None, folder, len(record.frames), films, not record.finished)


def older_versions(record: RunRecord) -> list[str]:
    now = packages()
    other = [
        f"{name} {old}, now {now.get(name, 'missing')}" for name, old in record.packages.items() if now.get(name) != old
    ]
    return [f"rendered so far with {', '.join(other)}: the frames that are left may differ a little"] if other else []


def use_threads_of(record: RunRecord) -> None:
    """Compute on as many threads as before: the last bits of a network's results depend on it."""
    import torch

    if record.threads and record.device == "cpu" and torch.get_num_threads() != record.threads:
        torch.set_num_threads(record.threads)


def find_unfinished(parent: Path, asked: str) -> list[tuple[Path, RunRecord]]:
    """Find the runs of settings as they were asked for, in a folder of runs or its sweeps; the newest first."""
    found = []
    for path in (*parent.glob(f"*/{RUN_FILE}"), *parent.glob(f"*/*/{RUN_FILE}")):
        try:
            record = read_record(path.parent)
        except UserError:
            continue
        if record.asked == asked:
            found.append((path.parent, record))
    return sorted(found, key=lambda each: each[1].history[0].when if each[1].history else "", reverse=True)


def run_of_timestring(parent: Path, timestring: str) -> Path | None:
    """Find the run with a time in its folder's name, as `resume_timestring` names it; None if there is none."""
    runs = [path.parent for path in parent.glob(f"*/{RUN_FILE}") if timestring and timestring in path.parent.name]
    return max(runs, key=lambda folder: (folder / RUN_FILE).stat().st_mtime, default=None)
