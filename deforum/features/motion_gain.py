"""Motion gain: when pictures are moved further than set before they are painted; see `deforum.animation.gain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deforum.features import controlnet, guided_images, hybrid
from deforum.features.masks import find as masks
from deforum.settings.options import Settings

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


def is_on(settings: Settings) -> bool:
    """Whether the motion that leads to painted frames is enlarged."""
    by_camera = settings.mode.goes_on and settings.keys_on_time and settings.hybrid_motion == "None"
    return by_camera and settings.gains_motion and (settings.motion_gain == "on" or not is_held(settings))


def is_held(settings: Settings) -> bool:
    """Whether frames take structure from elsewhere than the picture before, so that its motion cannot be measured."""
    return (
        hybrid.is_on(settings)
        or bool(masks.active(settings))
        or guided_images.is_on(settings)
        or controlnet.is_on(settings)
        or settings.symmetry != "none"
    )


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Move pictures further than set before they are painted."""
    from deforum.animation.gain import with_gain

    return with_gain(stages, kit.device)
