"""`update`: a run is changed to edited settings; only what comes out different is rendered again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.build import Prepared, prepare
from deforum.errors import UserError
from deforum.events import Note, Observer, RunFinished, RunPrepared, RunResult, nobody
from deforum.going import Change, as_recorded, carry_on, unchanged, with_steps
from deforum.models.kept import KeptModels
from deforum.output.checkpoints import check_checkpoint, list_checkpoints
from deforum.output.choice import Outputs
from deforum.output.finished import find_run
from deforum.output.inputs import changed_inputs, find_inputs, place_of
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.record import FIXED, Input, RunRecord, SettingsPart, read_record
from deforum.output.resume import look
from deforum.output.run_folder import RunFolder
from deforum.rendering import asked, check, telling
from deforum.reports.edit import Edit, Part, changed_files, compare, edit_of
from deforum.resuming import is_whole, length, older_versions, result_of, settings_of, text_of, use_threads_of
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.shots import has_shots

MOST_REASONS = 12
"""Differences that are said; the first ones count."""


@dataclass(frozen=True)
class Planned:
    """An edit of a run, before anything is changed."""

    edit: Edit
    now: Prepared
    then: tuple[Prepared, ...]
    """Of each part of the run."""
    total: int
    """Index after the last frame of the edited run."""


def plan(record: RunRecord, settings: Settings, *, output: Path, allow_download: bool = False) -> Planned:
    """Compare settings with those of a run. Raises UserError where they are of another run, or cannot be rendered."""
    parts = settings_of(record)
    settings = _with_what_is_open(settings, parts[-1])
    now = check(settings, output=output, allow_download=allow_download)
    _refuse_other_runs(parts[-1], now.settings)
    then = tuple(prepare(each, allow_download=allow_download) for each in parts)
    begins = [part.since for part in record.parts]
    ends = [*begins[1:], record.total]
    compared = [
        Part(each, max(since, record.first), min(until, record.total))
        for each, since, until in zip(then, begins, ends, strict=True)
    ]
    total = length(record, parts[-1], now.settings)
    edit = compare(compared, now, total)
    used = {place_of(each) for each in find_inputs(now)}
    files = [path for path in _changed(record.inputs) if path in used]
    if files:
        reasons = [*edit.reasons, *changed_files(compared, now, files)]
        edit = replace(edit_of(reasons, compared, now, total), keeps_states=all(_is_guide(now, path) for path in files))
    return Planned(edit, now, then, total)


def fitting_state(
    settings: Settings, folder: Path, before: int, *, allow_download: bool = False
) -> tuple[Settings, Path | None, str]:
    """Find the state of a run from which settings can render frame `before`.

    Returns the settings with what they leave open as in the run; the file of the state, None where none fits; and a
    note. Raises UserError where the folder has no run, or the settings cannot be rendered.
    """
    record = read_record(folder)
    settings = _with_what_is_open(settings, settings_of(record)[-1])
    planned = plan(record, settings, output=folder.parent, allow_download=allow_download)
    edit, ends = planned.edit, {span.frames[-1].index for span in planned.now.timeline.spans() if span.paints}
    most = min(edit.first, before)
    if edit.keeps_states:
        for state in reversed(list_checkpoints(folder)):
            # A stretch has no frames whose states were compared before its first.
            if state.frame < most and state.frame in ends and not check_checkpoint(state.path):
                return settings, state.path, f"begins after frame {state.frame} of {folder.name}"
    why = f"; {edit.reasons[0]}" if edit.reasons and edit.first <= before else ""
    return settings, None, f"--from {folder.name}: none of its states fits{why}; rendered from frame 0 on"


def _is_guide(prepared: Prepared, path: Path) -> bool:
    return any(reason.frame for reason in changed_files([Part(prepared, 0, 0)], prepared, [path]))


def _changed(inputs: tuple[Input, ...]) -> list[Path]:
    return [place_of(each) for each in inputs if changed_inputs((each,))]


def _with_what_is_open(settings: Settings, then: Settings) -> Settings:
    """Take from the run what the settings leave open: the seed that was drawn, the size that was the model's."""
    if settings.seed < 0:
        settings = replace(settings, seed=then.seed)
    if settings.model == then.model:
        settings = replace(settings, width=settings.width or then.width, height=settings.height or then.height)
    return replace(settings, resume_from_timestring=False)


def _refuse_other_runs(then: Settings, now: Settings) -> None:
    wrong = [name for name in FIXED if getattr(then, name) != getattr(now, name)]
    if wrong:
        lines = "".join(f"\n  {name}: {getattr(then, name)} -> {getattr(now, name)}" for name in wrong)
        raise UserError(
            f"--into: every frame would be another one with{lines}\nRender the file into a folder of its own, without "
            "--into"
        )


def update(
    settings: Settings,
    folder: str | Path,
    *,
    origin: str = "",
    source_sha256: str = "",
    observer: Observer = nobody,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Pause = PLAIN_PAUSE,
    models: KeptModels | None = None,
    change: Change = unchanged,
    allow_download: bool = False,
    profile: bool | Path = False,
) -> RunResult:
    """Change a run to edited settings, and render what comes out different by them.

    Frames before the first one whose inputs differ stay as they are, byte for byte. Later ones are rendered from the
    nearest state, and replace the old ones as they are finished; stopped in any way, the run can be resumed. Where only
    films differ, only they are made anew. The other arguments are as for `render`. Raises UserError where the folder
    has no run, another process renders into it, or the settings are of another run.
    """
    from deforum.models.process import settle_process

    settle_process()
    tell, folder = telling(observer, progress), find_run(Path(folder))
    with RunFolder.open(folder) as run:
        if run.record.is_changed and change is unchanged:
            raise UserError(f"{folder}: a program with stages of its own rendered this run; it cannot be edited")
        if run.record.pieces and has_shots(settings):
            raise UserError(
                f"{folder}: a film of shots is edited shot by shot: give --into a folder in {folder / 'shots'}, then "
                f"--resume {folder}, which takes over its frames"
            )
        planned = plan(run.record, settings, output=folder.parent, allow_download=allow_download)
        edit, now, then = planned.edit, planned.now, list(planned.then)
        for line in (*now.notes, *older_versions(run.record), *said(edit, planned.total)):
            tell(Note(line))
        tell(RunPrepared(now.settings, now.timeline))
        if edit.is_empty and is_whole(run, then[-1].settings):
            run.tidy()
            models = KeptModels() if models is None else models
            result = with_steps(
                run, now.settings, result_of(run.folder, run.record), tell=tell, stop=stop, models=models
            )  # fmt: skip
            tell(RunFinished(result))
            return result
        if not edit.is_empty:
            then = _edited(run, planned, tell, origin, source_sha256, asked(settings))
        use_threads_of(run.record)
        return carry_on(run, then, tell=tell, stop=stop, pause=pause, models=models, change=change, profile=profile)


def said(edit: Edit, total: int) -> list[str]:
    """Return what an edit changes, a line each."""
    if edit.is_empty:
        return ["nothing differs from the run"]
    lines = [str(reason) for reason in edit.reasons[:MOST_REASONS]]
    lines += [f"and {len(edit.reasons) - MOST_REASONS} more differences"] if len(edit.reasons) > MOST_REASONS else []
    lines += edit.films
    if edit.first >= total:
        return [*lines, "no frame differs: films and subtitles are made anew"]
    kept = f"; frames 0 to {edit.first - 1} stay as they are" if edit.first else ""
    return [*lines, f"the first frame that differs is {edit.first}{kept}"]


def _edited(
    run: RunFolder, planned: Planned, tell: Observer, origin: str, source_sha256: str, asked: str
) -> list[Prepared]:
    """Record an edit; return the settings of each part. Nothing is removed yet but states, which follow from frames."""
    edit, now, record = planned.edit, planned.now, run.record
    outputs, _ = Outputs.of(now.settings)
    total = planned.total
    since, from_pictures = min(edit.first, total), record.from_pictures
    if record.finished and not record.frames_deleted and since > record.first:
        if now.settings.save_depth_video and not (now.settings.save_depth_maps and now.settings.depth_format == "png"):
            since = 0
            tell(Note("save_depth_video: a finished run keeps no depth to make its film of; all is rendered again"))
        elif outputs.films and not outputs.is_exact:
            from_pictures = True
            tell(Note(
                f"films are made of the frames as {now.settings.frame_format}: a finished run keeps no exact copies of "
                "them. Films without that loss: render the file anew"
            ))  # fmt: skip
    if since >= total and not record.finished:
        # The frames that are left are rendered with the new settings too.
        needed = look(run.folder, run.ledger, outputs, record).needed
        since = min(needed, default=total)
    ends = {span.frames[-1].index for span in now.timeline.spans() if span.paints}
    for state in list_checkpoints(run.folder):
        if state.frame >= since or state.frame not in ends:
            with contextlib.suppress(OSError):
                state.path.unlink(missing_ok=True)
    kept = [(part, each) for part, each in zip(record.parts, planned.then, strict=True) if part.since < since]
    reasons = tuple(str(reason) for reason in edit.reasons[:MOST_REASONS])
    part = SettingsPart(
        since, dump(as_recorded(now.settings)), (*reasons, *edit.films), is_whole=True,
        states_since=0 if edit.keeps_states else since, origin=origin, edition=record.parts[-1].edition + 1,
    )  # fmt: skip
    run.change(
        lambda record: replace(
            record, parts=(*(part for part, _ in kept), part), total=total, finished=False, frames_deleted=False,
            source_sha256=source_sha256, asked=asked, inputs=find_inputs(now),
            notes=now.notes, from_pictures=from_pictures and bool(since),
        ).with_event("edited", since, "; ".join(part.changes))
    )  # fmt: skip
    parts = [*(each for _, each in kept), now]
    run.write_settings(text_of(run.record, [each.settings for each in parts]))
    return parts
