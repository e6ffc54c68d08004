"""High-resolution fix: a frame is painted small first, enlarged, and painted again at its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import torch
from torch.nn.functional import interpolate

from deforum.animation.painter import resize
from deforum.animation.sizes import Size, first_size
from deforum.diffusion.pixel_strength import Paint
from deforum.pixels.image import Image, Mask
from deforum.seeds import derive_seed
from deforum.timeline.frame import Frame


class SizedPainter(Protocol):
    """The model: paints independent frames of a size in one batch."""

    def __call__(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        *,
        width: int,
        height: int,
        paints: Sequence[Paint | None] | None = None,
    ) -> list[Image]: ...


@dataclass(frozen=True)
class HiresPainter:
    """A `Painter` that paints frames with a `hires_scale` above 1 twice."""

    paint: SizedPainter
    width: int
    height: int

    def __call__(
        self, inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        given = list(zip(inits, frames, [None] * len(frames) if paints is None else paints, strict=True))
        pictures: list[Image] = []
        for size, group in groupby(
            given, key=lambda each: first_size(each[1].params.hires_scale, self.width, self.height)
        ):
            own = list(group)
            pictures += self._once(own) if size is None else self._twice(own, size)
        return pictures

    def _once(self, given: Sequence[tuple[Image | None, Frame, Paint | None]]) -> list[Image]:
        inits, frames, paints = zip(*given, strict=True)
        some = paints if any(paints) else None
        return self.paint(inits, frames, width=self.width, height=self.height, paints=some)

    def _twice(self, given: Sequence[tuple[Image | None, Frame, Paint | None]], size: Size) -> list[Image]:
        width, height = size
        inits = [None if init is None else resize(init, height, width) for init, _, _ in given]
        frames = [_reduced(frame, size) for _, frame, _ in given]
        paints = [None if paint is None else _sized(paint, size) for _, _, paint in given]
        first = self.paint(inits, frames, width=width, height=height, paints=paints if any(paints) else None)
        again = [self._again(picture, *each) for picture, each in zip(first, given, strict=True)]
        return self._once(again)

    def _again(
        self, picture: Image, init: Image | None, frame: Frame, paint: Paint | None
    ) -> tuple[Image, Frame, Paint | None]:
        """Return the inputs of the second pass. What is kept of the init outside of a mask stays as it is."""
        enlarged, p = resize(picture, self.height, self.width), frame.params
        steps = p.hires_steps if p.hires_steps >= 1 else p.steps
        frame = replace(
            frame,
            seed=derive_seed(frame.seed, 0, "hires"),
            params=replace(p, strength=p.hires_strength, steps=steps),
            starts_empty=False,
        )
        if init is None or paint is None:
            return enlarged, frame, None
        share = ((1 - paint.strength) / max(1 - p.strength, 1e-6)).clamp(0, 1).to(enlarged.device)
        start = torch.lerp(init.to(enlarged.device), enlarged, (share > 0).to(enlarged))
        return start, frame, Paint(1 - share * (1 - p.hires_strength))


def _reduced(frame: Frame, size: Size) -> Frame:
    """Return a frame for the first pass: its noise is fixed to the screen, its regions and controls are smaller."""
    width, height = size
    controls = tuple(control.seen(lambda whole: resize(whole, height, width)) for control in frame.controls)
    regions = tuple(replace(each, mask=_smaller(each.mask, size)) for each in frame.regions)
    return replace(frame, noise_map=None, grid=(0, 0), controls=controls, regions=regions)


def _sized(paint: Paint, size: Size) -> Paint:
    return replace(paint, strength=_smaller(paint.strength, size))


def _smaller(mask: Mask, size: Size) -> Mask:
    return interpolate(mask[None, None], size[::-1], mode="area")[0, 0]
