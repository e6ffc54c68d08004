"""The library's door: settings in, a run's folder out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.output.naming import new_folder, run_name, runs_folder
from deforum.video.formats import FORMATS
from deforum.video.writer import Pixels, VideoWriter

if TYPE_CHECKING:
    from deforum.models.kept import Models
    from deforum.output.depth import DepthRecord
    from deforum.pixels.image import Image
    from deforum.settings.options import Settings
    from deforum.timeline.timeline import Timeline
from deforum.output.choice import Film, Outputs
from deforum.output.run import Run


@dataclass(frozen=True)
class RunResult:
    """What a render left behind. `video` is None where none was asked for; `films` has all of them."""

    video: Path | None
    folder: Path
    frames: int
    films: tuple[Path, ...] = ()
    stopped: bool = False
    """True: `stop` said so before the last frame."""


def levels(image: Image, bits: int) -> Pixels:
    """Round an image to (H, W, 3) RGB levels of 8 or 16 bits; values outside 0..1 are clipped."""
    from deforum.pixels.image import to_array, to_bytes

    if bits == 8:
        return to_bytes(image)
    words: NDArray[np.uint16] = np.rint(np.clip(to_array(image), 0, 1) * 65535).astype(np.uint16)
    return words


def check(settings: Settings) -> Timeline:
    """Find every mistake that can be found without loading a model, in the settings and in what is to be written.

    Gives the sampled timeline. Raises UserError with all problems.
    """
    from deforum.build import check as check_animation

    problems: list[Problem] = []
    timeline = None
    try:
        timeline = check_animation(settings)
    except UserError as error:
        problems += error.problems
    try:
        Outputs.of(settings)[0].check(settings.width, settings.height, settings.fps)
    except UserError as error:
        problems += error.problems
    if problems or timeline is None:
        raise UserError(problems)
    return timeline


def render(
    settings: Settings,
    *,
    output: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    models: Models | None = None,
) -> RunResult:
    """Render settings into a new folder under `output` (default: the setting of that name).

    `progress(done, total)` is called once all is loaded (done 0) and after every frame; `stop()` is asked after every
    frame, and ends the run early with everything closed. What is in `models` is not loaded again, and what is loaded
    stays there for further runs. Raises UserError, before rendering wherever that can be known.
    """
    from deforum.build import build, resolve
    from deforum.models.process import settle_process
    from deforum.settings.read import dump

    settle_process()
    settings = resolve(settings)
    check(settings)
    outputs, _ = Outputs.of(settings)
    parent = runs_folder(settings, None if output is None else Path(output))
    folder = new_folder(parent, run_name(settings, datetime.now()))
    try:
        animation = build(settings, models)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    if settings.save_disocclusion_masks and settings.animation_mode == "3D":
        animation = animation.saving_disocclusion(folder / "disocclusion")
    if settings.save_masks:
        animation = animation.saving_masks(folder / "masks")
    if settings.hybrid_comp_save_extra_frames:
        animation = animation.saving_composites(folder / "hybrid")
    total, stopped = len(animation.timeline), False
    run = Run(
        folder,
        dump(animation.settings),
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        outputs=outputs,
    )
    with depth_record(settings, animation.timeline, folder, outputs) as record, run:
        animation = animation if record is None else animation.keeping_depth(record)
        progress(0, total)
        for frame, image in animation.frames():
            run.write(frame, levels(image, outputs.bits))
            progress(run.num_frames, total)
            if run.num_frames < total and stop():
                stopped = run.keep_frames = True
                break
    return RunResult(run.films[0] if run.films else None, folder, run.num_frames, run.films, stopped)


def depth_record(
    settings: Settings, timeline: Timeline, folder: Path, outputs: Outputs
) -> contextlib.AbstractContextManager[DepthRecord | None]:
    """Prepare to save depth where that is asked for: as maps in the folder depth, as a video like the first film."""
    if settings.animation_mode != "3D" or not (settings.save_depth_maps or settings.save_depth_video):
        return contextlib.nullcontext()
    from deforum.output.depth import DepthRecord, ends_of

    film = None
    if settings.save_depth_video:
        of = outputs.films[0] if outputs.films else Film(settings.video_format)
        path = folder / f"{folder.name}_depth{FORMATS[of.format].suffix}"
        size = settings.width, settings.height
        film = VideoWriter(path, *size, settings.fps, format=of.format, quality=of.quality, preset=of.preset)
    maps = folder / "depth" if settings.save_depth_maps else None
    return DepthRecord(maps, ends_of(settings, timeline), format=settings.depth_format, film=film)
