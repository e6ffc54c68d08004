"""Going on with a run: what it lacks is rendered, from its beginning or after any stop."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from deforum import atomic
from deforum.behind import behind, finishing
from deforum.build import Animation, Prepared, build, independent_every
from deforum.errors import UserError, disk_error
from deforum.events import (
    FrameShown,
    Note,
    Observer,
    Profiled,
    RunFinished,
    RunLoaded,
    RunResult,
    StageTimes,
    nobody,
)
from deforum.features.feature import Recording
from deforum.models.kept import KeptModels
from deforum.models.transfer import Arriving, download
from deforum.output.chapters import film_chapters
from deforum.output.checkpoints import Checkpoints, path_of, read_checkpoint
from deforum.output.choice import Film, Outputs
from deforum.output.finished import ranges
from deforum.output.frames import FrameFiles
from deforum.output.inputs import Digests
from deforum.output.labels import Label
from deforum.output.pause import PLAIN_PAUSE, Pause
from deforum.output.resume import Batches, Stretch, look, next_stretch
from deforum.output.run import Run
from deforum.output.run_folder import RunFolder
from deforum.paths import stays_inside
from deforum.post.behind import make_behind
from deforum.post.record import POST_FOLDER
from deforum.probe import Watch, keep_behind
from deforum.profiling import TRACE_FILE, Recorder, each, frame_done, is_recording, recording
from deforum.reports import tabulate
from deforum.settings.options import Settings
from deforum.settings.parseq.find import embedded
from deforum.sources import VALUES_FILES
from deforum.timeline.frame import Frame
from deforum.video.formats import FORMATS
from deforum.video.writer import Pixels, VideoWriter, frozen

if TYPE_CHECKING:
    import torch

    from deforum.animation.stages import Stages
    from deforum.animation.state import Packed, State
    from deforum.pixels.image import Image

Change = Callable[["Stages"], "Stages"]
"""Function of the stages of a run that returns the stages to render with."""


def unchanged(stages: Stages) -> Stages:
    """Return the stages as the settings define them."""
    return stages


def makes_other_pictures(change: Change) -> bool:
    """Whether frames rendered with a change differ from those without; a `keeps_pictures` of it tells otherwise."""
    return change is not unchanged and not getattr(change, "keeps_pictures", False)


def changed(animation: Animation, change: Change) -> Animation:
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
    steps: bool = True,
) -> RunResult:
    """Render what a run lacks, from its beginning or after any stop, and complete its films. Raises UserError.

    `parts` are the settings from the frame on that the part of that number in the record names. `steps`: make the steps
    behind the run too. A pause frees the models and begins here again.
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
            if steps and not run.record.is_piece:
                result = with_steps(run, parts[-1].settings, result, tell=tell, stop=stop, models=models)
            tell(RunFinished(result))
            return result
        models.clear()
        free_memory()
        run.happened("paused", len(run.ledger.pictures()))
        tell(Note(f"paused, and memory is freed; it goes on when {pause.until(run.folder)}"))
        pause.wait(run.folder, stop)
        if not stop():
            run.happened("resumed", len(run.ledger.pictures()))


def with_steps(
    run: RunFolder, settings: Settings, result: RunResult, *, tell: Observer, stop: Callable[[], bool],
    models: KeptModels,
) -> RunResult:  # fmt: skip
    """Make the steps behind a finished run; return its result with their films. Raises UserError.

    Frames that are to be deleted go once the steps are made.
    """
    deleted = run.record.frames_deleted
    is_new, began = not (run.folder / POST_FOLDER).exists(), time.monotonic()
    made = make_behind(
        run.folder, settings, result, tell=tell, stop=stop, models=models, frames_deleted=deleted
    )  # fmt: skip
    if is_new and not made.stopped and not deleted:
        keep_behind(settings, len(run.record.frames), time.monotonic() - began)
    if (
        settings.chains
        and not made.stopped
        and not deleted
        and result.films
        and not Outputs.of(settings)[0].keep_frames
    ):
        run.change(lambda record: replace(record, frames_deleted=True))
        run.tidy()
    return made


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
        outputs, total, parts = self._outputs(self.parts[-1]), run.record.total, run.record.parts
        standing = look(run.folder, run.ledger, outputs, run.record)
        for note in standing.notes:
            self.tell(Note(note))
        needed = list(standing.needed)
        if needed and self.parts[-1].shots:
            raise UserError(
                f"{run.folder}: {ranges(needed)} of {total} are in none of its shots; render the file again"
            )
        states = [state.frame for state in standing.states]
        while needed:
            stretch = next_stretch(needed, [*states, *self.packed], parts, total, self._batches)
            if stretch.last == total - 1:
                break
            reached = self._mend(stretch)
            if reached is None:
                return self._stopped(outputs) if self.stop() else None
            self.packed[reached.frame] = reached
            needed = [index for index in needed if not stretch.start < index <= stretch.last]
        else:
            stretch = Stretch(len(parts) - 1, total - 1, total - 1)
            if settings.save_depth_video and total > 1:  # it is made while the last frames are rendered again
                stretch = next_stretch([total - 1], [*states, *self.packed], parts, total, self._batches)
        return self._finish(stretch, outputs)

    def _outputs(self, prepared: Prepared) -> Outputs:
        """Return what is written by the settings of a part."""
        record, (outputs, _) = self.run.record, Outputs.of(prepared.settings)
        outputs = replace(
            outputs, from_pictures=record.from_pictures, makes_films=not record.is_piece,
            is_resumable=outputs.is_resumable or record.is_piece or bool(record.pieces),
        )  # fmt: skip
        return outputs.beginning(record.first / prepared.settings.fps)

    @cached_property
    def _batches(self) -> Batches:
        settings = self.parts[-1].settings
        size = 0 if len(self.parts) > 1 or self.parts[-1].shots else independent_every(settings)
        return Batches(settings.first_frame, size)

    def _written_from(self, stretch: Stretch) -> int:
        """Return the first frame that is written of a stretch; frames before it are rendered on the way alone."""
        part = self.run.record.parts[stretch.part]
        return max(stretch.start + 1, part.since, self.run.record.first)

    def _tell_of_the_way(self, stretch: Stretch) -> None:
        before, begin = self._written_from(stretch) - 1, max(stretch.start + 1, self._batches.first)
        if begin <= before and stretch.start < stretch.last:
            frames = ranges(list(range(begin, before + 1)))
            self.tell(Note(f"rendered on the way, without being written: {frames}"))

    def _build(self, part: int) -> Animation:
        """Load the models of a part of the run."""
        return changed(build(self.parts[part], self.models), self.change)

    def _start(self, animation: Animation, frame: int) -> State | None:
        """Return the state after a frame, for the stages of an animation; None for a beginning."""
        if self._batches.begin(frame) is not None:
            return None
        if frame in self.packed:
            return animation.unpack_state(self.packed[frame])
        path = path_of(self.run.folder, frame)
        return animation.unpack_state(read_checkpoint(path), str(path))

    def _mend(self, stretch: Stretch) -> Packed | None:
        """Render frames that are missing before others that are there; return the last state; None for a stop."""
        from deforum.animation.state import pack_state

        run, prepared = self.run, self.parts[stretch.part]
        outputs, first = self._outputs(prepared), self._written_from(stretch)
        self._tell_of_the_way(stretch)
        self.tell(Note(f"rendered again: frames {first} to {stretch.last}"))
        animation, finish = finishing(self._build(stretch.part), self.models)
        files = FrameFiles(run.folder, outputs, self._label(stretch.part), run.ledger)
        state: State | None = None
        with contextlib.ExitStack() as beside:
            beside.callback(files.abandon)
            saves = Recording(
                prepared.settings, prepared.timeline, run.folder, lambda suffix: None, beside.enter_context,
                run.ledger.save, run.ledger.expect, self._since(stretch), to_the_end=False,
                keeps_copies=outputs.is_resumable,
            )  # fmt: skip
            animation = animation.recorded(saves)
            for state in animation.states(
                self._start(animation, stretch.start), since=self._batches.begin(stretch.start) or 0
            ):
                finished = None if finish is None else finish(state.frame, state.shown)
                if state.frame.index >= first:
                    shown = state.shown if finished is None else finished()
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
        settings, frames = prepared.settings, run.record.frames
        total, first = len(frames), self._written_from(stretch)
        watch = Watch(prepared, frames, max(self._batches.size, 1))
        width, height = settings.written_size
        animation, finish = None, None
        if stretch.start < stretch.last:
            animation, finish = finishing(self._build(stretch.part), self.models)
            self._record_machine(animation)
        self._write_values(settings.save_values)
        label, stopped, paused = self._label(len(self.parts) - 1), False, False
        of_pictures = self._label(stretch.part)
        made: list[VideoWriter] = []
        digests = Digests(run.record.inputs)
        out = Run(
            run.folder, run.settings_text, width=width, height=height, fps=settings.fps, outputs=outputs,
            label=of_pictures, film_label=label, ledger=run.ledger, first=frames.start,
            chapters=film_chapters(settings, prepared.shots, first=frames.start),
            before=[self._frame(index) for index in frames if index < first],
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
            Checkpoints(run.ledger, -1 if self._batches.size else settings.checkpoint_every) as checkpoints,
            behind(finish, write, out.expect) as hand_over,
        ):
            beside.callback(digests.stop)
            self.tell(RunLoaded(run.folder, total))
            if animation is not None:
                self._tell_of_the_way(stretch)
                saves = _recording(animation, run, outputs, beside, label, made, self._since(stretch))
                animation = animation.recorded(saves)
                # The state after that: its camera is one that records.
                start = self._start(animation, stretch.start)

                def take(frame: Frame, image: Image) -> None:
                    if frame.index >= first:
                        hand_over(frame, image)
                    elif finish is not None:
                        finish(frame, image)  # it is told of every frame, in order; its work is left out

                for state in watched(animation, self.tell, take, start, self._batches.begin(stretch.start) or 0):
                    if self._keeps_state(stretch, state):
                        checkpoints.offer(state)
                    done = state.frame.index + 1 - frames.start
                    if state.frame.index >= first:
                        self.tell(FrameShown(state.frame, state.shown, done, total))
                        watch.shown()
                    if done == total:
                        if state.frame.index + 1 < len(animation.timeline):
                            break  # a stretch of the settings' frames ends here
                        continue
                    stopped = self.stop()
                    paused = not stopped and self.pause.asked(run.folder)
                    if stopped or paused:
                        out.keep_frames, out.is_paused = True, paused
                        if self._keeps_state(stretch, state.boundary):
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
        if self.change is unchanged and self.trace is None and frames.start == prepared.timeline.first:
            watch.keep()
        run.finish(films, total, keep_frames=out.keep_frames or bool(settings.chains))
        return RunResult(out.films[0] if out.films else None, run.folder, total, out.films, False)

    def _write_values(self, kind: Literal["none", "csv", "json", "both"]) -> None:
        """Write the values of all frames of the run beside its film, where that is asked for."""
        if kind == "none":
            return
        stretches: list[tabulate.Stretch] = []
        begins = [part.since for part in self.run.record.parts]
        for prepared, since, until in zip(self.parts, begins, [*begins[1:], self.run.record.total], strict=True):
            frames = range(max(since, self.run.record.first), until)
            if not prepared.shots:
                stretches.append(tabulate.Stretch(prepared.settings, prepared.timeline, frames, frames.start))
            for shot in prepared.shots:
                at, end = max(frames.start, shot.place.start), min(frames.stop, shot.place.stop)
                own = shot.frames[at - shot.at : max(end, at) - shot.at]
                stretches.append(tabulate.Stretch(shot.settings, shot.timeline, own, at))
        table = tabulate.tabulate_run([each for each in stretches if each.frames])
        for name, file in VALUES_FILES.items():
            if kind in (name, "both"):
                path = self.run.folder / file
                try:
                    atomic.write(path, tabulate.FORMATS[name](table).encode())
                except OSError as error:
                    raise disk_error(error, path) from error

    def _since(self, stretch: Stretch) -> int:
        """Return the frame from which features save what a stretch renders: also on the way, where it is the same."""
        return max(stretch.start, 0)

    def _keeps_state(self, stretch: Stretch, state: State | None) -> bool:
        """Whether a state may stand among those of the run: on the way it may be of other settings than theirs."""
        part = self.run.record.parts[stretch.part]
        return state is not None and state.frame.index >= (part.states_since if part.is_whole else 0)

    def _stopped(self, outputs: Outputs, films: tuple[Path, ...] = ()) -> RunResult:
        done = len(self.run.ledger.pictures())
        self.run.happened("stopped", done)
        return RunResult(films[0] if films else None, self.run.folder, done, films, True)

    def _frame(self, index: int) -> Frame:
        return self.parts[self.run.record.part_of(index)].frame(index)

    def _label(self, part: int) -> Label | None:
        recorded = as_recorded(self.parts[part].settings)
        return Label.of(recorded, self.run.record.origin_of(part)) if recorded.save_metadata else None

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


def watched(
    animation: Animation,
    tell: Observer,
    write: Callable[[Frame, Image], None],
    start: State | None = None,
    since: int = 0,
) -> Iterator[State]:
    """Render and write each frame, or those after `start`, and report its StageTimes; yield the state at each.

    `since` as for `Animation.states`. Without an observer nothing is measured.
    """
    if tell is nobody and not is_recording():
        for state in animation.states(start, since=since):
            write(state.frame, state.shown)
            yield state
        return
    from deforum.animation.timing import Stopwatch, timed_stages

    watch = Stopwatch()
    write = watch.timed("write", write)
    measured = replace(animation, stages=timed_stages(animation.stages, watch))
    for state in each(
        "motion", measured.states(start, since=since)
    ):  # the loop moves; all else that it calls has its own stage
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


def as_recorded(settings: Settings) -> Settings:
    """Return what a run records: with its Parseq manifest in it, and no `output` that only a person may choose."""
    settings = embedded(settings)
    return settings if stays_inside(settings.output) else replace(settings, output=Settings.output)


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
