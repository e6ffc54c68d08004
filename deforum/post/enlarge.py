"""The steps finish and upscale: larger frames."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from deforum.pixels.image import Image
from deforum.post.at import At
from deforum.settings.steps import Finish, Upscale, kind_of


def finish(step: Finish, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Make frames twice as wide and high by the embedded network."""
    from deforum.finishing.finisher import load_finisher

    finisher = at.models.get(partial(load_finisher, step.look, at.device))
    return (finisher(image) for image in frames)


def upscale(step: Upscale, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Make frames larger by an upscaler."""
    from deforum.upscaling.upscaler import load_upscaler

    upscaler = at.models.get(partial(load_upscaler, step.upscaler, step.factor, at.device))
    reel = kind_of(step).gives(step, at.reel)
    return (upscaler(image, reel.height, reel.width) for image in frames)
