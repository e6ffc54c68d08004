"""A detail pass: what is under a mask, such as a face, is painted once more after the frame, enlarged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.features import regions
from deforum.features.regions import RegionSource
from deforum.seeds import derive_seed
from deforum.settings.declare import Region
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame

if TYPE_CHECKING:
    from deforum.animation.painter import Painting
    from deforum.animation.parts import Diffuse, Moment
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit
    from deforum.pixels.image import Image

FEATHER = 0.25
"""Deviation of the blur at the edge where the pass is pasted back, as a share of the margin around the mask."""


def is_on(settings: Settings) -> bool:
    return bool(settings.detail_mask.strip())


def _as_region(settings: Settings) -> Settings:
    """Return settings whose one region is the mask of the pass with its prompt."""
    return replace(settings, regions=(Region(settings.detail_mask, settings.detail_prompt),) * is_on(settings))


def _named(message: str) -> str:
    return message.replace("regions", "detail_mask", 1).replace("in a region", "in detail_prompt")


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report a mask, and expressions in the prompt, that cannot be read; and LoRAs, which act on whole frames."""
    yield from (("detail_mask", _named(message)) for _, message in regions.check(_as_region(settings)))


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths in the mask absolute."""
    if not is_on(settings):
        return settings, []
    found, problems = regions.locate(_as_region(settings), files)
    named = [("detail_mask", _named(message)) for _, message in problems]
    return replace(settings, detail_mask=found.regions[0].mask), named


def find(settings: Settings) -> RegionSource:
    """Find the files and models of the mask. Raises UserError."""
    try:
        [found] = regions.find_regions(_as_region(settings))
    except UserError as error:
        raise UserError([Problem(_named(each.message), each.where) for each in error.problems]) from None
    return found


def attach(stages: Stages, found: RegionSource, kit: Kit) -> Stages:
    """Paint what is under the mask once more. Raises UserError for invalid files."""
    from deforum.animation.painter import Masked
    from deforum.animation.painter import Region as Margin
    from deforum.features.regions.attach import masks_of

    settings = kit.settings
    masks = masks_of(found, kit, _as_region(settings).regions[0])
    margin = Margin(settings.detail_padding, settings.detail_padding * FEATHER)
    painting = replace(stages.painting, keeps=(), masked=Masked(masks.paint, "original", margin))
    prompts = found.prompts if settings.detail_prompt.strip() else None

    def told(frame: Frame) -> Frame:
        again = of_pass(frame)
        return again if prompts is None else replace(again, prompts=(prompts[frame.index],))

    def around(diffuse: Diffuse) -> Diffuse:
        return lambda inits, moments: _again(painting, diffuse(inits, moments), moments, told)

    return replace(stages, around=[*stages.around, around])


def of_pass(frame: Frame) -> Frame:
    """Return a frame as the pass paints it: with its strength and steps, once, and with noise of its own."""
    p = frame.params
    steps = p.detail_steps if p.detail_steps >= 1 else p.steps
    return replace(
        frame,
        seed=derive_seed(frame.seed, 0, "detail"),
        params=replace(p, strength=p.detail_strength, steps=steps, hires_scale=0.0),
        starts_empty=False,
    )


def _again(
    painting: Painting, painted: Sequence[Image], moments: Sequence[Moment], told: Callable[[Frame], Frame]
) -> list[Image]:
    # The mask looks at what was painted.
    given = [
        replace(moment, frame=told(moment.frame), start=picture)
        for moment, picture in zip(moments, painted, strict=True)
    ]
    return painting(painted, given)
