"""Attaching regions: each frame is painted with the prompts of its regions, where their masks are white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.depth import load_depth
from deforum.features.feature import Kit
from deforum.features.masks.clipseg import load_words
from deforum.features.masks.compose import Masks
from deforum.features.regions import RegionSource, masked
from deforum.pixels.image import Image
from deforum.settings.declare import Region
from deforum.timeline.frame import PromptRegion


def attach(stages: Stages, found: Sequence[RegionSource], kit: Kit) -> Stages:
    """Load the models and clips of the masks. Raises UserError for invalid files."""
    regions = [
        (source, masks_of(source, kit, region)) for source, region in zip(found, kit.settings.regions, strict=True)
    ]
    return replace(stages, around=[*stages.around, lambda diffuse: with_regions(diffuse, regions, kit)])


def masks_of(source: RegionSource, kit: Kit, region: Region) -> Masks:
    """Load the models and the clip of a region's masks. Raises UserError for invalid files."""
    found = source.masks
    depth = None if found.depth is None else kit.load(load_depth, found.depth)
    words = None if found.words is None else kit.load(load_words, found.words)
    clip = None if found.clip is None else kit.open(found.clip)
    settings = masked(kit.settings, region)
    return Masks(found, settings, replace(kit.profile, black_mask_keeps=True), kit.device, clip, depth, words)


def with_regions(diffuse: Diffuse, regions: Sequence[tuple[RegionSource, Masks]], kit: Kit) -> Diffuse:
    """Give each frame its regions. A frame that is painted from noise has those that do not look at its picture."""
    width, height = kit.settings.size

    def told(init: Image | None, moment: Moment) -> Moment:
        picture = init if moment.start is None else moment.start
        blank = torch.zeros(3, height, width, device=kit.device) if picture is None else picture
        found = tuple(
            PromptRegion(source.prompts[moment.frame.index], masks.paint(moment, blank))
            for source, masks in regions
            if picture is not None or not source.looks
        )
        return replace(moment, frame=replace(moment.frame, regions=found))

    def stage(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return diffuse(inits, [told(init, moment) for init, moment in zip(inits, moments, strict=True)])

    return stage
