"""Entry points of the library: `render` writes a run's folder, `frames` yields pictures, `check` finds mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deforum.behind import finishing
from deforum.build import Prepared, build, prepare
from deforum.errors import Problem, UserError
from deforum.events import FrameShown, Note, Observer, RunLoaded, RunPrepared, RunResult, nobody
from deforum.going import Change, as_recorded, changed, makes_other_pictures, unchanged, watched
from deforum.models.kept import KeptModels
from deforum.needs import memory_note
from deforum.output.choice import Outputs
from deforum.output.inputs import find_inputs
from deforum.output.ledger import digest
from deforum.output.naming import new_folder, run_name, runs_folder
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.record import RunRecord, SettingsPart, machine, packages
from deforum.output.run_folder import RunFolder
from deforum.piecewise import check_shots, complete, pieces_of
from deforum.post.behind import check_behind
from deforum.settings.options import Settings
from deforum.settings.parseq.find import embedded
from deforum.settings.read import dump
from deforum.sources import heading
from deforum.timeline.frame import Frame
from deforum.version import __version__

STAND_IN_SIDE = 256
"""px; outputs are checked with it in place of a size that is unknown because the model is missing."""

MAKES_FILMS = "# To make another film from the frames beside it: render.py film FOLDER [fps=24] [video_format=webm]"
"""Second line of a run's settings.yaml, which also tells what to do after a run that was killed."""
T = TypeVar("T")


def check(settings: Settings, *, output: str | Path | None = None, allow_download: bool = False) -> Prepared:
    """Find every mistake in the settings and the outputs that can be found without loading a model.

    `output` is the folder for the runs (default: the setting of that name). `allow_download`: models that are not here
    may be on the hub; otherwise nothing is asked of it. Returns the prepared run: resolved settings, sampled timeline,
    and notes on deviations from the settings. Raises UserError with all problems.
    """
    problems: list[Problem] = []
    outputs, notes = Outputs.of(settings)

    def look(find: Callable[[], T]) -> T | None:
        try:
            return find()
        except UserError as error:
            problems.extend(error.problems)
            return None

    prepared = look(lambda: prepare(settings, allow_download=allow_download))
    known = settings if prepared is None else prepared.settings
    known = replace(known, width=known.width or STAND_IN_SIDE, height=known.height or STAND_IN_SIDE)
    look(lambda: outputs.check(*known.written_size, settings.fps))
    folder = look(lambda: runs_folder(settings, None if output is None else Path(output)))
    count = known.max_frames if prepared is None else len(prepared.frames)
    of_shots = None if prepared is None else look(lambda: check_shots(prepared, allow_download=allow_download))
    wrong, said = check_behind(known, count, Path() if folder is None else folder)
    problems += wrong
    if problems or prepared is None:
        raise UserError(problems)
    film_seconds = len(prepared.frames) / settings.fps
    if settings.resume_from_timestring:
        notes = (*notes, "resume_from_timestring: the command line and `resume` go on with a run; this is a new one")
    foreseen = [
        *(of_shots or ()),
        *said,
        *outputs.sound_notes(film_seconds),
        *outputs.cut_off(),
        *filter(None, [memory_note(prepared)]),
    ]
    return replace(prepared, notes=(*prepared.notes, *notes, *foreseen))


def render(
    settings: Settings,
    *,
    output: str | Path | None = None,
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
    stretch: range | None = None,
    state: Path | None = None,
) -> RunResult:
    """Render settings into a new folder under `output` (default: the setting of that name).

    `origin` says in the folder's settings.yaml where the settings came from: `Loaded.origin`, or words of your own.
    `observer` is called with each event, see `deforum.events`. `progress(done, total)` is called when the models are
    loaded (done 0) and after every frame. `stop()` is called after every frame; if it returns True, the run ends early
    and its files are closed; `resume` goes on with it. `pause` tells when the run is paused: by default a file PAUSE in
    its folder does. `source_sha256` is the digest of the settings file, `Loaded.sha256`. Models in `models` are reused,
    and models loaded here are added to it for further runs. `change` maps the stages of the loop to those that are run,
    for example with one more filter. `allow_download` lets models that are not here be downloaded from the hub.
    `profile` measures the stages, for the event `Profiled`, and writes a trace: True into the run's folder, a path
    there. `stretch` are the frames to write, with a film of them; those before are rendered on the way, from the file
    of a `state` if one is given, see `deforum.editing.fitting_state`. Raises UserError, before rendering wherever
    possible.
    """
    prepare_process(settings)
    tell = telling(observer, progress)
    prepared = check(settings, output=output, allow_download=allow_download)
    _tell_prepared(prepared, tell)
    parent = runs_folder(settings, None if output is None else Path(output))
    with begin(
        settings, prepared, parent, origin=origin, source_sha256=source_sha256, change=change, stretch=stretch
    ) as run:
        if state is not None:
            run.take_state(state)
        return complete(
            run, [prepared], tell=tell, stop=stop, pause=pause, models=models, change=change, profile=profile,
            allow_download=allow_download,
        )  # fmt: skip


def begin(
    settings: Settings,
    prepared: Prepared,
    parent: Path,
    *,
    origin: str = "",
    source_sha256: str = "",
    change: Change = unchanged,
    stretch: range | None = None,
    chunks: int = 1,
    name: str = "",
) -> RunFolder:
    """Make the folder of a run, in which nothing is rendered yet. Raises UserError.

    `settings` are those that were asked for, and `prepared` what `check` made of them. Independent frames are rendered
    in as many `chunks`. `name`: that of the folder, in place of the one that the settings give.
    """
    frames, there = prepared.frames if stretch is None else stretch, prepared.frames
    if not there.start <= frames.start < frames.stop <= there.stop:
        raise UserError(
            f"frames {frames.start}:{frames.stop}: expected first:end within {there.start}:{there.stop}, such as "
            f"{there.start}:{min(there.stop, there.start + 10)}; end is the frame after the last one"
        )
    if stretch is not None and prepared.shots:
        raise UserError("--frames renders a part of one chain of frames; this is a film of shots: leave out the others")
    folder = new_folder(parent, name or run_name(prepared.settings, datetime.now()))
    recorded = as_recorded(prepared.settings)
    record = RunRecord(
        deforum=__version__, origin=origin, source_sha256=source_sha256, asked=asked(settings),
        total=frames.stop, first=frames.start, parts=(SettingsPart(0, dump(recorded)),), inputs=find_inputs(prepared),
        packages=packages(), device="", threads=0, machine=machine(), is_changed=makes_other_pictures(change),
        notes=prepared.notes, pieces=() if stretch is not None else pieces_of(prepared, chunks),
    )  # fmt: skip
    return RunFolder.create(folder, record, settings_text(recorded, origin))


def settings_text(settings: Settings, origin: str) -> str:
    """Return the text of a run's settings.yaml."""
    return f"{heading(origin)}\n{MAKES_FILMS}\n\n{dump(settings)}"


def asked(settings: Settings) -> str:
    """Return a digest of settings as they were asked for, by which a run of theirs is found again."""
    return digest(dump(replace(embedded(settings), output=Settings.output)).encode())


def frames(
    settings: Settings,
    *,
    observer: Observer = nobody,
    models: KeptModels | None = None,
    change: Change = unchanged,
    allow_download: bool = False,
) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Render settings and yield each frame with its picture, (H, W, 3) RGB levels 0..255; nothing is written.

    Pictures are those that `render` would write: finished, and so of `Settings.written_size`, unless `finish` is none.
    `observer`, `models`, `change` and `allow_download` as for `render`. Raises UserError when the first frame is
    requested, or later if a frame cannot be rendered.
    """
    prepare_process(settings)
    from deforum.pixels.image import to_bytes

    prepared = prepare(settings, allow_download=allow_download)
    _tell_prepared(prepared, observer)
    models = KeptModels() if models is None else models
    for shot in prepared.shots:
        of_shot = frames(shot.settings, models=models, change=change, allow_download=allow_download)
        for (_, picture), index in zip(of_shot, shot.place, strict=False):  # its settings may have more frames
            yield shot.frame(index), picture
    if prepared.shots:
        return
    animation, finish = finishing(changed(build(prepared, models), change), models)
    total = len(animation.timeline)
    observer(RunLoaded(None, total))
    for done, state in enumerate(watched(animation, observer, lambda frame, image: None), 1):
        observer(FrameShown(state.frame, state.shown, done, total))
        yield state.frame, to_bytes(state.shown if finish is None else finish(state.frame, state.shown)())


def prepare_process(settings: Settings) -> None:
    """Prepare the process for a render, before torch is imported; begin to load what it probably needs."""
    from deforum.models.kept_graphs import load_early
    from deforum.models.process import settle_process

    settle_process()
    if settings.model == "embedded":  # of others it is not known yet whether they are small
        load_early()


def _tell_prepared(prepared: Prepared, tell: Observer) -> None:
    tell(RunPrepared(prepared.settings, prepared.timeline, prepared.shots))
    for text in prepared.notes:
        tell(Note(text))


def telling(observer: Observer, progress: Callable[[int, int], None] | None) -> Observer:
    """Return an observer that also calls `progress`."""
    if progress is None:
        return observer

    def tell(event: object) -> None:
        observer(event)  # type: ignore[arg-type]
        if isinstance(event, RunLoaded):
            progress(0, event.total)
        elif isinstance(event, FrameShown):
            progress(event.done, event.total)

    return tell
