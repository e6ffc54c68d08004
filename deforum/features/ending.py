"""Loops, and animations that end at a picture: what is checked and said of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.pixels.files import check_pictures
from deforum.settings.options import Settings
from deforum.timeline.curves import sample_curve
from deforum.timeline.ending import plan_of
from deforum.timeline.motion import drift_notes, ease_back, motion_of

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


def check(settings: Settings) -> Iterable[tuple[str, str]]:
    """Yield what a loop or an end picture cannot be combined with."""
    if settings.loop and (settings.first_frame or settings.shots or settings.shot_cuts != "none"):
        instead = "leave out first_frame, shots and shot_cuts, or give loop to a shot with a file of its own"
        yield "loop", f"loop: it closes one chain of frames; {instead}"
    if not settings.has_ending:
        return
    name = "loop" if settings.loops else "end_image"
    if settings.loops and settings.end_image is not None:
        yield "end_image", "end_image: a loop ends at its own first frame; leave out end_image, or loop"
    if settings.hybrid_motion != "None":
        yield name, (f"{name}: hybrid_motion {settings.hybrid_motion} cannot be followed backward from the end; set it "
                     f"to None, or leave out {name}")  # fmt: skip
    if settings.enable_perspective_flip and settings.mode.has_depth:
        yield name, (f"{name}: in 3D it cannot be combined with enable_perspective_flip; turn that off and use "
                     "rotation_3d_x and rotation_3d_y")  # fmt: skip


def find(settings: Settings) -> Path | None:
    """Find the end picture; None in a loop. Raises UserError where it cannot be read."""
    if settings.end_image is None or not settings.ends_at_picture:
        return None
    path = Path(settings.end_image)
    problems = check_pictures([path], "end_image")
    if problems:
        raise UserError(problems)
    return path


def notes(settings: Settings, found: object) -> Iterable[str]:
    """Say what a loop changes about motion and schedules."""
    plan = plan_of(settings)
    if plan is None or not plan.is_loop:
        return
    curves = settings.params.map(lambda name, schedule: sample_curve(name, schedule, settings))
    yield from drift_notes(settings, motion_of(settings, curves))
    _, eased = ease_back(curves, plan.start)
    if eased:
        many = "return" if len(eased) > 1 else "returns"
        yield f"loop: over the last {plan.end - plan.start} frames {', '.join(eased)} {many} to the first frame's value"


def attach(stages: Stages, found: Path | None, kit: Kit) -> Stages:
    """Paint the last frames towards the end picture."""
    from deforum.animation.ending import with_ending
    from deforum.pixels.image import read

    picture = None if found is None else read(found, *kit.settings.size, kit.device)
    return with_ending(stages, picture)
