"""An animation at a share of its size: the same motion, with lengths in px in proportion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deforum.settings.options import Settings
from deforum.timeline.timeline import Timeline

SMALLEST_SIDE, GRID = 64, 8
"""px; of a scaled frame, and what its sides are multiples of."""


def scaled(settings: Settings, scale: float) -> Settings:
    """Return settings of a known size with sides of about `scale` times theirs, and margins in px likewise."""
    if scale == 1:
        return settings
    width, height = (max(round(side * scale / GRID) * GRID, SMALLEST_SIDE) for side in settings.size)
    return replace(
        settings,
        width=width,
        height=height,
        mask_overlay_blur=settings.mask_overlay_blur * scale,
        full_res_mask_padding=round(settings.full_res_mask_padding * scale),
        detail_padding=round(settings.detail_padding * scale),
    )


def scaled_curves(timeline: Timeline, settings: Settings, scale: float) -> Timeline:
    """Return a timeline whose flat translations are those of frames of the scaled size; `settings` are unscaled.

    In 3D they are lengths of the scene, and stay.
    """
    if scale == 1 or settings.mode.has_depth:
        return timeline
    wide, high = (new / old for new, old in zip(scaled(settings, scale).size, settings.size, strict=True))
    curves = timeline.curves
    moved = replace(curves, translation_x=curves.translation_x * wide, translation_y=curves.translation_y * high)
    return replace(timeline, curves=moved)


def with_fewer_steps(timeline: Timeline, share: float) -> Timeline:
    """Return a timeline of about `share` of the steps in each diffusion; at least one runs where one did."""
    steps, strength = timeline.curves.steps, np.minimum(timeline.curves.strength, 1)
    least = np.ceil(1 / np.maximum(1 - strength, 1e-3) - 1e-9)
    fewer = np.minimum(np.maximum(np.round(steps * share), least), steps)
    return replace(timeline, curves=replace(timeline.curves, steps=fewer))
