"""The step interpolate: frames in between."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from deforum.interpolation import Interpolator, load_interpolator, resolve_interpolator
from deforum.interpolation.between import stretched
from deforum.pixels.image import Device, Image
from deforum.post.at import At
from deforum.settings.steps import Interpolate


def interpolate(step: Interpolate, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Make frames in between; the last frame is repeated, so that the film lasts as long as before, or leads round."""
    interpolator = at.models.get(partial(_load, step.interpolator, step.inputs, at.device))
    return stretched(frames, step.times, interpolator, loop=step.loop)


def _load(name: str, form: str, device: Device) -> Interpolator:
    return load_interpolator(resolve_interpolator(name, form=form), device)
