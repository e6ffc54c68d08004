"""Estimates of what the steps behind a render will take: interpolating, enlarging, films of what they make."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from deforum.errors import UserError
from deforum.interpolation import resolve_interpolator
from deforum.models.machine import renders_on_gpu
from deforum.needs import FINISHED, Cost
from deforum.settings.options import Settings
from deforum.settings.steps import Film, Finish, Interpolate, Reel, Step, Upscale, kind_of
from deforum.upscaling.models import LANCZOS, NETWORKS, missing_upscaler, seconds_of, settle_upscaler
from deforum.video.formats import exact_fps

# Measured on 2 cores of an AMD EPYC server at 160 and 320 px by `python -m benchmarks.needs --behind`.
BEGINNING = 0.12
"""Seconds of a chain of steps besides its frames."""
WRITTEN, ENCODED = Cost(0.0, 3e-8), Cost(0.0, 3e-8)
"""A frame that is kept as a picture file, and one of a film."""
FLOW = Cost(0.0, 6e-7)
"""The flow between two frames, in both directions."""
BETWEEN = Cost(0.008, 1e-7)
"""A frame between them."""
LOOKED = Cost(0.0005, 1e-8)
"""A frame of another step."""
OF_ONE_CORE = 0.4
"""Share of the seconds of one core that the network of an upscaler takes on two."""
EDITION = sha256(
    repr((BEGINNING, WRITTEN, ENCODED, FLOW, BETWEEN, LOOKED, OF_ONE_CORE, FINISHED, NETWORKS)).encode()
).hexdigest()[:8]
"""Changes with the table: what was measured against another one tells nothing."""


def work_behind(settings: Settings, count: int) -> float:
    """Return the work of the steps behind a render of `count` frames: the seconds that they would take on 2 cores.

    With engines that are not in the table, see `is_in_table`, it tells which runs take longer, and by how much. The
    settings have a size.
    """
    seconds = 0.0
    for chain in settings.chains:
        seconds += BEGINNING
        reel = Reel(*settings.written_size, count, exact_fps(settings.fps))
        for step in (*chain, *_film_at_end(settings, chain[-1])):
            gives = kind_of(step).gives(step, reel)
            seconds += _seconds(step, reel, gives, engine_of(settings, step))
            reel = gives
    return seconds


def _film_at_end(settings: Settings, last: Step) -> tuple[Step, ...]:
    """Return the film that a chain ends with, where it is not the last step."""
    return () if isinstance(last, Film) or settings.skip_video_creation else (Film(),)


def _seconds(step: Step, takes: Reel, gives: Reel, engine: str) -> float:
    size = takes.width * takes.height
    each = LOOKED.of(size) if kind_of(step).open else 0.0
    if isinstance(step, Finish):
        each = FINISHED[step.look != "plain"].of(size)
    elif isinstance(step, Upscale):
        each = LOOKED.of(gives.width * gives.height) + OF_ONE_CORE * seconds_of(engine, size)
    seconds = each * takes.count
    if isinstance(step, Interpolate):
        pairs = takes.count if step.loop else takes.count - 1
        seconds = pairs * (FLOW.of(size) + (step.times - 1) * BETWEEN.of(size)) if step.times > 1 else 0.0
    if isinstance(step, Film):
        seconds += ENCODED.of(size) * takes.count
    if kind_of(step).is_kept:
        seconds += WRITTEN.of(gives.width * gives.height) * gives.count
    return seconds


def engine_of(settings: Settings, step: Step) -> str:
    """Return the engine that makes the frames of a step: a name, or the user's file; "" for steps without one."""
    if isinstance(step, Upscale):
        name = settle_upscaler(step.upscaler)
        return LANCZOS if settings.is_lenient and missing_upscaler(name) else name
    if isinstance(step, Interpolate):
        try:
            on_gpu = renders_on_gpu(settings.device)
            source = resolve_interpolator(step.interpolator, form=step.inputs, on_gpu=on_gpu)
        except UserError:  # told elsewhere
            return step.interpolator
        return source.name if source.path is None else str(source.path)
    return ""


def steps_of(settings: Settings) -> Iterator[str]:
    """Yield each step by its name and engine."""
    for chain in settings.chains:
        for step in chain:
            yield f"{kind_of(step).name} {engine_of(settings, step)}".rstrip()


def is_in_table(settings: Settings) -> bool:
    """Whether it was measured what the steps take."""
    known = {"flow", LANCZOS, *NETWORKS, ""}
    return not renders_on_gpu(settings.device) and all(
        engine_of(settings, step) in known for chain in settings.chains for step in chain
    )
