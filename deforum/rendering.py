"""Entry points of the library: `render` writes a run's folder, `frames` yields pictures, `check` finds mistakes."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from deforum.background import Background
from deforum.build import Animation, Prepared, build, prepare
from deforum.errors import Problem, UserError, disk_error
from deforum.events import (
    FrameShown,
    Note,
    Observer,
    Profiled,
    RunFinished,
    RunLoaded,
    RunPrepared,
    RunResult,
    StageTimes,
    nobody,
)
from deforum.features.feature import Recording
from deforum.models.kept import KeptModels
from deforum.models.transfer import Arriving, download
from deforum.needs import memory_note
from deforum.output.checkpoints import Checkpoints, path_of, read_checkpoint
from deforum.output.choice import Film, Outputs
from deforum.output.finished import ranges
from deforum.output.frames import AT_THE_END, FrameFiles
from deforum.output.inputs import Digests, find_inputs
from deforum.output.labels import Label
from deforum.output.ledger import digest
from deforum.output.naming import new_folder, run_name, runs_folder
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.record import RunRecord, SettingsPart, machine, packages
from deforum.output.resume import Stretch, look, next_stretch
from deforum.output.run import Run
from deforum.output.run_folder import RunFolder
from deforum.paths import stays_inside
from deforum.profiling import TRACE_FILE, Recorder, each, frame_done, is_recording, recording, stage
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.sources import heading
from deforum.timeline.frame import Frame
from deforum.version import __version__
from deforum.video.formats import FORMATS
from deforum.video.writer import Pixels, VideoWriter, frozen

if TYPE_CHECKING:
    import torch

    from deforum.animation.stages import Stages
    from deforum.animation.state import Packed, State
    from deforum.pixels.image import Image

STAND_IN_SIDE = 256
"""px; outputs are checked with it in place of a size that is unknown because the model is missing."""

MAKES_FILMS = "# To make another film from the frames beside it: render.py film FOLDER [fps=24] [video_format=webm]"
"""Second line of a run's settings.yaml, which also tells what to do after a run that was killed."""
T = TypeVar("T")

Change = Callable[["Stages"], "Stages"]
"""Function of the stages of a run that returns the stages to render with."""


def unchanged(stages: Stages) -> Stages:
    """Return the stages as the settings define them."""
    return stages


def makes_other_pictures(change: Change) -> bool:
    """Whether frames rendered with a change differ from those without; a `keeps_pictures` of it tells otherwise."""
    return change is not unchanged and not getattr(change, "keeps_pictures", False)


def _changed(animation: Animation, change: Change) -> Animation:
    return replace(animation, stages=change(animation.stages))


def levels(image: Image, bits: int) -> Pixels | Arriving:
    """Round an image to (H, W, 3) RGB levels, uint8 or uint16 for 8 or 16 `bits`; values outside 0..1 are clipped.

    From a render device the levels are sent on their way: nothing waits for them here.
    """
    from deforum.pixels.image import CPU, quantized, to_array, to_bytes

    if image.device != CPU:
        return download(quantized(image, bits))
    if bits == 8:
        return to_bytes(image)
    words: NDArray[np.uint16] = np.rint(np.clip(to_array(image), 0, 1) * 65535).astype(np.uint16)
    return words


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
    look(lambda: runs_folder(settings, None if output is None else Path(output)))
    if problems or prepared is None:
        raise UserError(problems)
    film_seconds = len(prepared.timeline) / settings.fps
    if settings.resume_from_timestring:
        notes = (*notes, "resume_from_timestring: the command line and `resume` go on with a run; this is a new one")
    foreseen = [*outputs.sound_notes(film_seconds), *outputs.cut_off(), *filter(None, [memory_note(prepared)])]
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
    there. Raises UserError, before rendering wherever possible.
    """
    _settle_process()
    tell = telling(observer, progress)
    prepared = check(settings, output=output, allow_download=allow_download)
    _tell_prepared(prepared, tell)
    parent = runs_folder(settings, None if output is None else Path(output))
    folder = new_folder(parent, run_name(prepared.settings, datetime.now()))
    recorded = as_recorded(prepared.settings)
    record = RunRecord(
        deforum=__version__, origin=origin, source_sha256=source_sha256, asked=asked(settings),
        total=len(prepared.timeline), parts=(SettingsPart(0, dump(recorded)),), inputs=find_inputs(prepared),
        packages=packages(), device="", threads=0, machine=machine(), is_changed=makes_other_pictures(change),
        notes=prepared.notes,
    )  # fmt: skip
    with RunFolder.create(folder, record, settings_text(recorded, origin)) as run:
        return carry_on(
            run, [prepared], tell=tell, stop=stop, pause=pause, models=models, change=change, profile=profile
        )


def settings_text(settings: Settings, origin: str) -> str:
    """Return the text of a run's settings.yaml."""
    return f"{heading(origin)}\n{MAKES_FILMS}\n\n{dump(settings)}"


def asked(settings: Settings) -> str:
    """Return a digest of settings as they were asked for, by which a run of theirs is found again."""
    return digest(dump(replace(settings, output=Settings.output)).encode())


def carry_on(
    run: RunFolder,
    parts: Sequence[Prepared],
    *,
    tell: Observer = nobody,
    stop: Callable[[], bool] = lambda: False,
    pause: Pause = PLAIN_PAUSE,
    models: KeptModels | None = None,
    change: Change = unchanged,
    profile: bool | Path = False,
) -> RunResult:
    """Render what a run lacks, from its beginning or after any stop, and complete its films. Raises UserError.

    `parts` are the settings from the frame on that the part of that number in the record names. A pause frees the
    models and begins here again.
    """
    models = KeptModels() if models is None else models
    trace = profile if isinstance(profile, Path) else run.folder / TRACE_FILE if profile else None
    if trace is not None:
        _check_writable(trace)
    while True:
        try:
            result = Going(run, parts, tell, stop, pause, models, change, trace).go()
        except BaseException:
            if trace is not None and not run.ledger.pictures():
                trace.unlink(missing_ok=True)
            raise
        if result is not None:
            tell(RunFinished(result))
            return result
        models.clear()
        free_memory()
        run.happened("paused", len(run.ledger.pictures()))
        tell(Note(f"paused, and memory is freed; it goes on when {pause.until(run.folder)}"))
        pause.wait(run.folder, stop)


@dataclass
class Going:
    """One go at a run: see `carry_on`."""

    run: RunFolder
    parts: Sequence[Prepared]
    tell: Observer
    stop: Callable[[], bool]
    pause: Pause
    models: KeptModels
    change: Change
    trace: Path | None = None
    packed: dict[int, Packed] = field(default_factory=dict)
    """States that were reached on the way, by frame."""

    def go(self) -> RunResult | None:
        """Render to the end, or until a stop; None for a pause."""
        run, settings = self.run, self.parts[-1].settings
        outputs, _ = Outputs.of(settings)
        total = len(self.parts[-1].timeline)
        standing = look(run.folder, run.ledger, outputs, total)
        for note in standing.notes:
            self.tell(Note(note))
        needed = list(standing.needed)
        states = [state.frame for state in standing.states]
        since = [part.since for part in run.record.parts]
        while needed:
            stretch = next_stretch(needed, [*states, *self.packed], since, total)
            if stretch.last == total - 1:
                break
            reached = self._mend(stretch)
            if reached is None:
                return self._stopped(outputs) if self.stop() else None
            self.packed[reached.frame] = reached
            needed = [index for index in needed if not stretch.start < index <= stretch.last]
        else:
            stretch = Stretch(len(since) - 1, total - 1, total - 1)
            if settings.save_depth_video and total > 1:  # it is made while the last frames are rendered again
                stretch = next_stretch([total - 1], [*states, *self.packed], since, total)
        return self._finish(stretch, outputs)

    def _build(self, part: int) -> Animation:
        """Load the models of a part of the run."""
        return _changed(build(self.parts[part], self.models), self.change)

    def _start(self, animation: Animation, frame: int) -> State | None:
        """Return the state after a frame, for the stages of an animation; None for the beginning."""
        if frame < 0:
            return None
        if frame in self.packed:
            return animation.unpack_state(self.packed[frame])
        path = path_of(self.run.folder, frame)
        return animation.unpack_state(read_checkpoint(path), str(path))

    def _mend(self, stretch: Stretch) -> Packed | None:
        """Render frames that are missing before others that are there; return the last state; None for a stop."""
        from deforum.animation.state import pack_state

        run, prepared = self.run, self.parts[stretch.part]
        outputs, _ = Outputs.of(prepared.settings)
        self.tell(Note(f"rendered again: frames {stretch.start + 1} to {stretch.last}"))
        animation, finish = finishing(self._build(stretch.part), self.models)
        files = FrameFiles(run.folder, outputs, self._label(prepared), run.ledger)
        state: State | None = None
        with contextlib.ExitStack() as beside:
            beside.callback(files.abandon)
            saves = Recording(
                prepared.settings, prepared.timeline, run.folder, lambda suffix: None, beside.enter_context,
                run.ledger.save, run.ledger.expect, max(stretch.start, 0), to_the_end=False,
                keeps_copies=outputs.is_resumable,
            )  # fmt: skip
            animation = animation.recorded(saves)
            for state in animation.states(self._start(animation, stretch.start)):
                shown = state.shown if finish is None else finish(state.frame, state.shown)()
                files.write(state.frame, frozen(levels(shown, outputs.bits)))
                if self.stop() or self.pause.asked(run.folder):
                    return None
                if state.frame.index == stretch.last:
                    break
            files.close()
        assert state is not None
        return pack_state(state)

    def _finish(self, stretch: Stretch, outputs: Outputs) -> RunResult | None:
        """Render the last stretch, with films and subtitles of the whole run."""
        run, prepared = self.run, self.parts[-1]
        settings, total = prepared.settings, len(prepared.timeline)
        width, height = settings.written_size
        animation, finish = None, None
        if stretch.start < stretch.last:
            animation, finish = finishing(self._build(stretch.part), self.models)
            self._record_machine(animation)
        label, stopped, paused = self._label(prepared), False, False
        made: list[VideoWriter] = []
        digests = Digests(run.record.inputs)
        out = Run(
            run.folder, run.settings_text, width=width, height=height, fps=settings.fps, outputs=outputs, label=label,
            ledger=run.ledger, before=[self._frame(index) for index in range(stretch.start + 1)],
        )  # fmt: skip

        def write(frame: Frame, image: Image) -> None:
            out.write(frame, levels(image, outputs.bits))

        recorder = None
        if self.trace is not None and animation is not None:
            recorder = Recorder(self.trace, settle=_settling(animation.device))
        measured = contextlib.nullcontext() if recorder is None else recording(recorder)
        with (
            measured,
            contextlib.ExitStack() as beside,
            out,
            Checkpoints(run.ledger, settings.checkpoint_every) as checkpoints,
            _behind(finish, write, out.expect) as hand_over,
        ):
            beside.callback(digests.stop)
            self.tell(RunLoaded(run.folder, total))
            if animation is not None:
                saves = _recording(animation, run, outputs, beside, label, made, max(stretch.start, 0))
                animation = animation.recorded(saves)
                # The state after that: its camera is one that records.
                start = self._start(animation, stretch.start)
                for done, state in enumerate(_watched(animation, self.tell, hand_over, start), stretch.start + 2):
                    checkpoints.offer(state)
                    self.tell(FrameShown(state.frame, state.shown, done, total))
                    if done == total:
                        continue
                    stopped = self.stop()
                    paused = not stopped and self.pause.asked(run.folder)
                    if stopped or paused:
                        out.keep_frames, out.is_paused = True, paused
                        checkpoints.flush(state)
                        break
            inputs = digests.take(wait=not stopped and not paused)
        run.change(lambda record: replace(record, inputs=inputs))
        if recorder is not None and self.trace is not None:
            self.tell(Profiled(recorder.breakdown(), self.trace))
        self._tell_changed(out.changed)
        if paused:
            return None
        if stopped:
            return self._stopped(outputs, out.films)
        films = (*out.films, *(writer.path for writer in made if writer.path.is_file()))
        run.finish(films, total, keep_frames=out.keep_frames)
        return RunResult(out.films[0] if out.films else None, run.folder, total, out.films, False)

    def _stopped(self, outputs: Outputs, films: tuple[Path, ...] = ()) -> RunResult:
        done = len(self.run.ledger.pictures())
        self.run.happened("stopped", done)
        return RunResult(films[0] if films else None, self.run.folder, done, films, True)

    def _frame(self, index: int) -> Frame:
        part = max(number for number, each in enumerate(self.run.record.parts) if each.since <= index)
        return self.parts[part].timeline[index]

    def _label(self, prepared: Prepared) -> Label | None:
        recorded = as_recorded(prepared.settings)
        return Label.of(recorded, self.run.record.origin) if recorded.save_metadata else None

    def _record_machine(self, animation: Animation) -> None:
        import torch

        device, threads = str(animation.device), torch.get_num_threads()
        self.run.change(lambda record: replace(record, device=device, threads=threads))

    def _tell_changed(self, changed: list[int]) -> None:
        if changed:
            self.tell(
                Note(
                    f"came out different from before, and are new: {ranges(sorted(changed))}; frames are the same only "
                    "on the same device, with the same versions of the packages"
                )
            )


def free_memory() -> None:
    """Return the memory of models that were dropped to the graphics card and the system."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _check_writable(path: Path) -> None:
    try:
        path.open("a").close()
    except OSError as error:
        raise disk_error(error, path) from error


def _settling(device: torch.device) -> Callable[[], None] | None:
    """Return a function that waits until the device has done its work; None where work is done when a call returns."""
    if device.type == "cpu":
        return None
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else torch.mps.synchronize


def as_recorded(settings: Settings) -> Settings:
    """Return what a run records, in its folder, frames and films: no `output` that only a person may choose."""
    return settings if stays_inside(settings.output) else replace(settings, output=Settings.output)


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
    _settle_process()
    from deforum.pixels.image import to_bytes

    prepared = prepare(settings, allow_download=allow_download)
    _tell_prepared(prepared, observer)
    models = KeptModels() if models is None else models
    animation, finish = finishing(_changed(build(prepared, models), change), models)
    total = len(animation.timeline)
    observer(RunLoaded(None, total))
    for done, state in enumerate(_watched(animation, observer, lambda frame, image: None), 1):
        observer(FrameShown(state.frame, state.shown, done, total))
        yield state.frame, to_bytes(state.shown if finish is None else finish(state.frame, state.shown)())


Finish = Callable[[Frame, "Image"], Callable[[], "Image"]]
"""Takes the next frame and its picture; returns the work that makes the picture to write, for any thread."""


def finishing(animation: Animation, models: KeptModels) -> tuple[Animation, Finish | None]:
    """Load what finishes frames; return the animation to render, and the function; None: frames stay as they are.

    Raises UserError.
    """
    settings = animation.settings
    if not settings.finishes:
        return animation, None
    from deforum.finishing.finisher import load_finisher
    from deforum.finishing.own import OwnPixels

    own, finisher = OwnPixels(), models.get(partial(load_finisher, settings.finish_look, animation.device))

    def finish(frame: Frame, image: Image) -> Callable[[], Image]:
        return partial(finisher, image, own.at(frame.index))

    return animation.telling_own(own.tell), finish


@contextlib.contextmanager
def _behind(
    finish: Finish | None, write: Callable[[Frame, Image], None], expect: Callable[[Frame], None]
) -> Iterator[Callable[[Frame, Image], None]]:
    """Yield a function that takes the next frame: it is finished and written in a thread, while the loop goes on.

    `expect` is told of each frame at once. At the end, and after an error, the frames so far are written first; an
    interrupt does not wait.
    """
    if finish is None:
        yield write
        return

    def work(item: tuple[Frame, Callable[[], Image]]) -> None:
        frame, finished = item
        with stage("finish", frame.index):
            image = finished()
        with stage("write", frame.index):
            write(frame, image)

    line = Background(work, name="finishing", waiting=2)

    def hand_over(frame: Frame, image: Image) -> None:
        expect(frame)
        line.put((frame, finish(frame, image)))

    try:
        yield hand_over
    except Exception as error:
        try:
            line.close()
        except UserError as second:
            if str(second) != str(error):
                error.add_note(str(second))
        raise
    except BaseException:
        line.abandon(AT_THE_END)
        raise
    line.close()


def _settle_process() -> None:
    from deforum.models.process import settle_process

    settle_process()


def _tell_prepared(prepared: Prepared, tell: Observer) -> None:
    tell(RunPrepared(prepared.settings, prepared.timeline))
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


def _watched(
    animation: Animation, tell: Observer, write: Callable[[Frame, Image], None], start: State | None = None
) -> Iterator[State]:
    """Render and write each frame, or those after `start`, and report its StageTimes; yield the state at each.

    Without an observer nothing is measured.
    """
    if tell is nobody and not is_recording():
        for state in animation.states(start):
            write(state.frame, state.shown)
            yield state
        return
    from deforum.animation.timing import Stopwatch, timed_stages

    watch = Stopwatch()
    write = watch.timed("write", write)
    measured = replace(animation, stages=timed_stages(animation.stages, watch))
    for state in each("motion", measured.states(start)):  # the loop moves; all else that it calls has its own stage
        write(state.frame, state.shown)
        frame_done(state.frame.index)
        tell(StageTimes(state.frame, watch.take()))
        yield state


def _recording(
    animation: Animation,
    run: RunFolder,
    outputs: Outputs,
    beside: contextlib.ExitStack,
    label: Label | None,
    made: list[VideoWriter],
    since: int,
) -> Recording:
    """Return what features save their files with; the films that they make are added to `made`."""
    settings, folder = animation.settings, run.folder
    comment = label.comment if label else ""

    def film(suffix: str) -> VideoWriter:
        of = outputs.films[0] if outputs.films else Film(settings.video_format)
        path = folder / f"{folder.name}{suffix}{FORMATS[of.format].suffix}"
        writer = VideoWriter(
            path, *settings.size, settings.fps, format=of.format, quality=of.quality, preset=of.preset, comment=comment
        )
        with contextlib.suppress(OSError):
            writer.working_path.unlink(missing_ok=True)  # of a run that was killed
        made.append(writer)
        return writer

    return Recording(
        settings, animation.timeline, folder, film, beside.enter_context, run.ledger.save, run.ledger.expect, since,
        keeps_copies=outputs.is_resumable,
    )  # fmt: skip
