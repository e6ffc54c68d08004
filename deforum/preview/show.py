"""The frames of a preview, or of a draft, as pictures with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deforum.build import Prepared, prepare
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.preview.plan import Plan
from deforum.preview.scale import scaled, scaled_curves, with_fewer_steps
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB levels."""

MOST_PARTS = 16
"""The smallest draft: a sixteenth of the size and steps."""


def preview_frames(
    plan: Plan, models: KeptModels | None = None, *, plain: bool = False
) -> Iterator[tuple[Frame, Pixels]]:
    """Yield each frame of a preview with its picture, (H, W, 3) RGB levels.

    `plain`: without labels, and without drawn masks. Models that are loaded are added to `models`. Raises UserError.
    """
    _settle_process()
    from deforum.pixels.image import to_bytes
    from deforum.preview.play import play

    label = labelling(plan.settings, plan.timeline, plain=plain)
    for frame, image in play(plan, models, draws_masks=not plain):
        yield frame, label(to_bytes(image), frame)


def plan_draft(settings: Settings, parts: int, *, allow_download: bool = False) -> Prepared:
    """Prepare a render of 1 / `parts` of the size and of the steps, with the same frames, prompts and seeds.

    Frames are not finished. Raises UserError.
    """
    if not 1 <= parts <= MOST_PARTS:
        raise UserError(f"--draft {parts}: expected 1..{MOST_PARTS}, such as 2 for half of the size and the steps")
    whole = prepare(settings, allow_download=allow_download).settings
    small = prepare(replace(scaled(whole, 1 / parts), finish="none"), allow_download=allow_download)
    timeline = with_fewer_steps(scaled_curves(small.timeline, whole, 1 / parts), 1 / parts)
    return replace(small, timeline=timeline)


def draft_frames(
    prepared: Prepared, models: KeptModels | None = None, *, plain: bool = False
) -> Iterator[tuple[Frame, Pixels]]:
    """Render a draft; yields as `preview_frames` does. Raises UserError."""
    _settle_process()
    from deforum.build import build
    from deforum.pixels.image import to_bytes

    label = labelling(prepared.settings, prepared.timeline, plain=plain)
    for frame, image in build(prepared, models).frames():
        yield frame, label(to_bytes(image), frame)


def labelling(settings: Settings, timeline: Timeline, *, plain: bool) -> Callable[[Pixels, Frame], Pixels]:
    """Return the function that labels a frame's picture; with `plain` it returns the picture."""
    if plain:
        return lambda pixels, frame: pixels
    from deforum.preview.labels import Labels

    return Labels(timeline, *settings.size).draw


def _settle_process() -> None:
    from deforum.models.process import settle_process

    settle_process()
