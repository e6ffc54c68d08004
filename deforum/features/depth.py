"""Depth models of the 3D camera and of masks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deforum.errors import UserError
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.curves import sample_curve
from schedules import ScheduleError

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.depth import DepthSource
    from deforum.features.feature import Kit


def find_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model of the 3D camera; None where the scene is flat. Raises UserError if it is missing."""
    return depth_named(settings) if settings.mode.has_depth and settings.use_depth_warping else None


def check_lens(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report a field of view that the physical camera cannot have at some frame."""
    if not settings.mode.has_depth or not PROFILES[settings.profile].physical_camera:
        return
    with contextlib.suppress(ScheduleError, UserError):  # reported elsewhere
        fov = sample_curve("fov", settings.params.fov, settings)
        wrong = np.flatnonzero((fov <= 0) | (fov >= 180))
        if len(wrong):
            frame = int(wrong[0])
            expected = "the physical camera needs one between 0 and 180 degrees, 70 is usual"
            yield "fov", f"fov is {fov[frame]:g} at frame {frame}; {expected}"


def depth_named(settings: Settings) -> DepthSource | None:
    """Find the model that depth_algorithm names; None for "none". Raises UserError if it is missing.

    A file of Deforum's whose model is missing is rendered with the embedded one.
    """
    from deforum.depth import resolve_depth

    try:
        found = resolve_depth(settings.depth_algorithm)
        return found if found is None or found.midas is None else replace(found, midas_share=settings.midas_weight)
    except UserError:
        embedded = resolve_depth("embedded")
        if not settings.is_lenient or embedded is None:
            raise
        return replace(embedded, says=f"{settings.depth_algorithm} is not here: the embedded depth model stands in")


def attach(stages: Stages, found: DepthSource | None, kit: Kit) -> Stages:
    """Give the 3D camera its depth model."""
    from deforum.animation.depth_camera import DepthCamera
    from deforum.depth import load_depth

    if found is None:
        return stages
    camera = DepthCamera(kit.settings, kit.profile, kit.device, kit.load(load_depth, found), found.raw)
    return replace(stages, camera=camera)
