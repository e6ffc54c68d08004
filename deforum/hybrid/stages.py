"""Hybrid video joined to the stages of an animation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from deforum.animate import Moment, Stages
from deforum.depth import DepthModel
from deforum.flow import FlowModel
from deforum.hybrid import starts_from_clip
from deforum.hybrid.camera import HybridCamera, dense_motion, from_clip, from_picture, whole_motion
from deforum.hybrid.composite import Composite
from deforum.image import Image
from deforum.profile import Profile

if TYPE_CHECKING:
    from deforum.settings import Settings


def with_hybrid(
    stages: Stages,
    settings: Settings,
    profile: Profile,
    clip: Callable[[int], Image],
    flow: FlowModel | None,
    depth: DepthModel | None,
) -> Stages:
    """Add the clip's motion to the camera, and the composite with the clip to the filters.

    `clip` gives the picture of each frame, `flow` is there where the motion is Optical Flow, `depth` where the
    composite's mask needs it.
    """
    camera, before, after = stages.camera, list(stages.before), list(stages.after)
    if settings.hybrid_motion != "None":
        motion = whole_motion(settings) if flow is None else dense_motion(settings, profile, flow)
        take_over = from_picture if settings.hybrid_motion_use_prev_img else from_clip
        camera = HybridCamera(camera, take_over(clip, motion))

    def shown(moment: Moment) -> Image:
        return clip(moment.frame.index)

    def moved(moment: Moment) -> Image:
        """Mixed in before it is moved, the clip's frame before is moved with the picture.

        Mixing is linear: so is what it is mixed into, whether it was moved before or after.
        """
        step = moment.camera.step if isinstance(moment.camera, HybridCamera) else None
        return shown(moment) if step is None else step(clip(moment.frame.index - 1))

    match settings.hybrid_composite:
        case "Normal":
            before.insert(0, Composite(settings, shown, depth))
        case "Before Motion":
            before.insert(0, Composite(settings, moved, depth))
        case "After Generation":
            after.insert(0, Composite(settings, shown, depth))

    def source(image: Image | None, moment: Moment) -> Image | None:
        starts = image is None and starts_from_clip(settings)
        return clip(0) if starts else stages.source(image, moment)

    return replace(stages, camera=camera, source=source, before=before, after=after)
