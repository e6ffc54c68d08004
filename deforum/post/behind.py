"""The chains of a run, made behind its render."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deforum.errors import Problem, UserError
from deforum.events import Note, Observer, RunResult
from deforum.models.kept import KeptModels
from deforum.models.machine import renders_on_gpu
from deforum.post.making import Making
from deforum.post.material import of_run
from deforum.post.plan import check_disk, check_sizes, plan, takes_of
from deforum.post.record import POST_FOLDER, film_is_whole, read_step
from deforum.post.settle import settled
from deforum.settings.options import Settings
from deforum.settings.steps import Reel, Step, Upscale, in_words
from deforum.upscaling.models import seconds_of
from deforum.video.formats import exact_fps
from deforum.video.writer import probe

WORTH_TELLING = 30.0
"""Seconds that a step takes at least for a line on it."""


def make_behind(
    folder: Path,
    settings: Settings,
    result: RunResult,
    *,
    tell: Observer,
    stop: Callable[[], bool],
    models: KeptModels,
    frames_deleted: bool = False,
) -> RunResult:
    """Make the chains of a finished run; return its result with their films. Raises UserError.

    Where the frames of the run are deleted, its chains were made before.
    """
    if not settings.chains or result.stopped:
        return result
    if frames_deleted:
        return _with(result, films_in(folder))
    from deforum.models.device import choose_device

    films: list[Path] = []
    try:
        for chain in settings.chains:
            steps, notes = settle_of(settings, chain)
            material = of_run(folder, settings)
            for note in (*notes, *material.notes):
                tell(Note(note))
            made = Making(material, tell, stop, models, choose_device(settings.device)).make(steps)
            films += made.films
            if made.stopped:
                return replace(_with(result, films), stopped=True)
    except UserError as error:
        error.add_note(f"the run itself is complete, in {folder}; --resume makes what is left")
        raise
    return _with(result, films)


def settle_of(settings: Settings, chain: Sequence[Step]) -> tuple[tuple[Step, ...], list[str]]:
    """Choose what a chain of a run leaves open, see `settled`."""
    return settled(
        chain, are_finished=settings.finishes, on_gpu=renders_on_gpu(settings.device), lenient=settings.is_lenient
    )


def _with(result: RunResult, films: Sequence[Path]) -> RunResult:
    return replace(result, video=films[-1] if films else result.video, films=(*result.films, *films))


def films_in(folder: Path) -> list[Path]:
    """List the films that steps of a run have made."""
    places = sorted((folder / POST_FOLDER).glob("*"), key=lambda path: path.stat().st_mtime)
    films = [record.film for record in map(read_step, places) if record is not None and record.film is not None]
    return [folder / film.file for film in films if film_is_whole(folder, film)]


def check_behind(settings: Settings, count: int, output: Path) -> tuple[list[Problem], list[str]]:
    """Return the problems of the chains of a run of `count` frames into a folder, and notes; nothing is made."""
    problems: list[Problem] = []
    notes: list[str] = []
    for chain in settings.chains:
        try:
            steps, said = settle_of(settings, chain)
        except UserError as error:
            problems += error.problems
            continue
        notes += said
        problems += _check(steps, settings, count, output)
    return problems, notes


def times_of(settings: Settings) -> list[str]:
    """Return about how long the networks of the chains take, a line each; settings are those of a prepared run."""
    found = []
    width, height = settings.written_size
    for chain in settings.chains:
        steps, _ = settle_of(settings, chain)
        reel = Reel(width, height, settings.max_frames, exact_fps(settings.fps))
        for step, takes in zip(steps, takes_of(steps, reel), strict=True):
            seconds = 0.0
            if isinstance(step, Upscale):
                seconds = seconds_of(step.upscaler, takes.width * takes.height) * takes.count
            if seconds > WORTH_TELLING:
                unit, size = next((u, n) for u, n in (("hours", 3600), ("minutes", 60), ("s", 1)) if seconds > 2 * n)
                what = f"{in_words(step)}: {takes.count} frames of {takes.width}x{takes.height}"
                found.append(f"{what} take about {seconds / size:.0f} {unit} of one CPU core")
    return found


def _check(steps: Sequence[Step], settings: Settings, count: int, output: Path) -> list[Problem]:
    width, height = settings.written_size
    stages = plan(steps, Reel(width, height, count, exact_fps(settings.fps)), film=not settings.skip_video_creation)
    too_large = check_sizes(stages)
    if too_large:
        return too_large
    bits = 16 if settings.frame_format == "png16" else 8
    problems = check_disk(stages, bits, output)
    for stage in stages:
        if stage.is_film:
            try:
                format = getattr(stage.end, "format", None) or settings.video_format
                quality, preset = (getattr(stage.end, name, None) for name in ("quality", "preset"))
                probe(
                    format, stage.gives.width, stage.gives.height, stage.gives.rate, quality=quality, preset=preset
                )  # fmt: skip
            except UserError as error:
                problems += error.problems
    return problems
