"""A grid of latents that moves: other places of the picture are on its cells in each painted frame.

A model paints edges where the cells of its latents suggest them: an edge that the camera moved by a pixel is painted
back onto the grid. A motion of a fraction of a cell per frame is lost in this way, frame by frame, and the picture
holds still. On another grid in each frame edges are drawn to other places, evenly to all sides, and what remains is the
motion. (Against the blocks of wavelets the same is known as cycle spinning: Coifman and Donoho, "Translation-invariant
de-noising", 1995.)

While the camera rests the grid does too, as edges that settle keep a still picture calm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.pixels.image import Image
from deforum.settings.options import Settings
from deforum.settings.params import Params

ORDER = (0, 2, 1, 3)
"""Positions of the grid in quarters of a cell, along each axis, frame after frame: what one draws to one side the next
draws to the other. (In the order of their size they would drag edges along; random ones let them wander.)"""
TURNS = ((0, 1, 2, 3), (0, 2, 3, 1))
"""For x and y: by what the order is turned round after every four frames, so that nothing adds up, and in sixteen
frames the grid is everywhere once."""
STILL: dict[str, dict[str, float]] = {
    "2D": {"zoom": 1, "angle": 0, "translation_x": 0, "translation_y": 0},
    "3D": {"translation_x": 0, "translation_y": 0, "translation_z": 0,
           "rotation_3d_x": 0, "rotation_3d_y": 0, "rotation_3d_z": 0},
}  # fmt: skip


def attach(stages: Stages, found: None, kit: Kit) -> Stages:
    """Let the grid of the latents move."""

    def with_grid(diffuse: Diffuse) -> Diffuse:
        def placed(moment: Moment) -> Moment:
            if moment.warp is None or not moves(kit.settings, moment.frame.params):
                return moment
            return replace(moment, frame=replace(moment.frame, grid=grid_of(moment.frame.turn, kit.cell)))

        def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
            return diffuse(inits, [placed(moment) for moment in moments])

        return diffused

    return replace(stages, around=[*stages.around, with_grid])


def grid_of(count: int, cell: int) -> tuple[int, int]:
    """Return by how many px to the left and up the grid of the painted frame `count` begins.

    `cell` is the width of a cell.
    """
    place, turn = count % 4, count // 4 % 4
    across, down = (ORDER[place ^ turns[turn]] * cell // 4 for turns in TURNS)
    return across, down


def moves(settings: Settings, params: Params[float]) -> bool:
    """Whether the camera moves at a frame: by its own parameters, or as a clip does."""
    still = STILL.get(settings.animation_mode, {})
    by_itself = any(getattr(params, name) != value for name, value in still.items())
    return by_itself or settings.enable_perspective_flip or settings.hybrid_motion != "None"
