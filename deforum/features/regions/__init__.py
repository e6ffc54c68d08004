"""Regions with prompts of their own: masks by expressions, found and checked. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deforum.errors import Problem, UserError
from deforum.features.masks.find import MaskSource, find_masks
from deforum.features.masks.language import name_files, operands, parse_masks
from deforum.settings.declare import Region
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.timeline.expressions import fault_of
from deforum.timeline.lora_words import take_loras
from deforum.timeline.prompts import EXPRESSION, Prompt, merge_fields, plain_number, prepare
from deforum.timeline.variables import variables_of
from schedules import ScheduleError, TextSchedule, parse_text

LOOKS = ("depth", "disocclusion")
"""Masks by name that look at the picture a frame is painted from; as <words> do."""


@dataclass(frozen=True)
class RegionSource:
    """A region of a run, before any file is read."""

    prompts: tuple[Prompt, ...]
    """Of each frame."""
    masks: MaskSource
    looks: bool
    """Whether the mask looks at the picture, so that a frame painted from noise does without it."""


def masked(settings: Settings, region: Region) -> Settings:
    """Return settings whose mask is that of a region, as its expression says it."""
    return replace(
        settings,
        use_mask=True,
        mask=_schedule(region),
        use_noise_mask=False,
        invert_mask=False,
        mask_contrast_adjust=1.0,
        mask_brightness_adjust=1.0,
    )


def _schedule(region: Region) -> TextSchedule:
    return parse_text({"0": region.mask}, name="regions")


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report masks and expressions of regions that cannot be read, and LoRAs, which act on whole frames."""
    variables = variables_of(settings)
    for region in settings.regions:
        try:
            parse_masks(_schedule(region))
        except ScheduleError as error:
            yield "regions", str(error)
        for match in EXPRESSION.finditer(region.prompt):
            fault = fault_of(match[1], range(settings.max_frames), settings.max_frames, variables)
            if fault is not None:
                yield "regions", str(fault.error.within(region.prompt, match.start() + 1, "regions"))
        if take_loras(region.prompt)[1]:
            yield "regions", "regions: a LoRA acts on the whole frame; name it in prompts, and not in a region"


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths in the masks of regions absolute."""

    def find(text: str) -> str | None:
        path = files.find_file(text)
        return None if path is None else str(path.resolve())

    found: list[Region] = []
    problems: list[tuple[str, str]] = []
    for region in settings.regions:
        try:
            mask = name_files(_schedule(region), find).keyframes[0].value or ""
        except ScheduleError as error:
            mask = region.mask
            problems.append(("regions", str(error)))
        found.append(Region(mask, region.prompt))
    return replace(settings, regions=tuple(found)), problems


def find_regions(settings: Settings) -> tuple[RegionSource, ...]:
    """Find the files and models of the masks. Raises UserError with everything that is missing."""
    variables = variables_of(settings)
    problems: list[Problem] = []
    found: list[RegionSource] = []
    for region in settings.regions:
        try:
            masks = find_masks(masked(settings, region))
        except UserError as error:
            problems += [Problem(problem.message.replace("mask:", "regions:", 1)) for problem in error.problems]
            continue
        assert masks is not None  # use_mask is on
        text = merge_fields(region.prompt, settings.positive_prompt, settings.negative_prompt)
        prompts = tuple(
            prepare(text, 1.0, frame, settings.max_frames, variables, plain_number)
            for frame in range(settings.max_frames)
        )
        of_mask = tuple(operands(masks.paint[0]))
        looks = any(each.kind == "words" or (each.kind == "name" and each.text in LOOKS) for each in of_mask)
        found.append(RegionSource(prompts, masks, looks))
    if problems:
        raise UserError(dict.fromkeys(problems))
    return tuple(found)
