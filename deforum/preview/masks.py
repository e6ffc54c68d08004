"""Masks drawn over the frames of a preview."""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool2d

from deforum.animation.painter import MaskAt
from deforum.animation.parts import Memory, Moment, Show
from deforum.pixels.image import Image

DIMMED = 0.4
"""Brightness of what a mask keeps from being painted."""
LINE = (1.0, 0.2, 0.7)
"""RGB of a mask's outline."""


def draw_masks(mask_at: MaskAt) -> Show:
    """Return a stage that dims what is not painted, and outlines what is."""

    def draw(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        mask = mask_at(moment, image if moment.start is None else moment.start).to(image.device)
        dimmed = image * (DIMMED + (1 - DIMMED) * mask)
        inside = (mask > 0.5).float()[None, None]
        edge = (max_pool2d(inside, 3, 1, 1) + max_pool2d(-inside, 3, 1, 1))[0, 0]
        line = torch.tensor(LINE, device=image.device).view(3, 1, 1).expand_as(image)
        return torch.lerp(dimmed, line, edge.expand_as(image)), trails

    return draw
