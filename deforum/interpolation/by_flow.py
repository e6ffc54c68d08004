"""Pictures in between by optical flow in both directions, with what hides what.

Each picture's motion towards the other is known also where it is hidden there (`match`). It is carried to the time
between: where two surfaces meet, the one that both pictures show is in front. A pixel between is read once in each
picture, and is a mix of those that show its surface. Where both do and still differ, their light and colour are mixed
and the shapes are those of one: a mix would show them twice.

Everything but a network's flow is computed on the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.flow import FlowModel, load_flow
from deforum.flow.dense import SMALLEST
from deforum.interpolation import Interpolator, InterpolatorSource
from deforum.interpolation.match import Array, Match, cleaned, match
from deforum.interpolation.reading import read_at, reading
from deforum.models.transfer import upload
from deforum.pixels.bands import keep_contrast
from deforum.pixels.image import CPU, Device, Image, from_array, to_array
from deforum.pixels.sharpness import local_sharpness, sharpen_to
from deforum.profiling import in_context, staged

SAME = 1.5  # px; two motions that differ by less are those of one surface
LEAST = 1e-3  # share of a picture that does not show a surface, for where neither does
SHAPES = 15  # px; width of the area whose mean is its light and colour, without shapes
DIFFER = (0.5, 0.8)  # contrast of a difference, as a share of that of both pictures: from alike to unlike shapes
VISIBLE = (0.02, 0.05)  # contrast, 0..1, from which a difference of shapes is seen
DECIDED = 12.0  # exponent of the shares of two unlike shapes
LEANS = 0.04  # how much more the first picture counts, so that one of two equal ones is chosen


def load(source: InterpolatorSource, device: Device) -> Interpolator:
    assert source.flow is not None
    return ByFlow(load_flow(source.flow, device))


@dataclass(frozen=True)
class ByFlow:
    """An `Interpolator` that moves both pictures along the flow between them."""

    model: FlowModel

    @staged("in-between")
    @torch.inference_mode()
    def __call__(self, first: Image, last: Image, at: Sequence[float]) -> list[Image]:
        device, pair = first.device, (first.float().to(CPU), last.float().to(CPU))
        if min(first.shape[1:]) < SMALLEST:
            return [torch.lerp(first, last, time) for time in at]
        there, back = match(self.model, *pair)
        a, b = map(to_array, pair)
        return [upload(from_array(meet(a, b, there, back, time)), device) for time in at]


EMPTY, HIDDEN, SEEN = 0, 1, 2
"""What is known of a pixel of the time between: nothing, a surface that one picture shows, or one that both show."""


def carry(found: Match, time: float) -> tuple[Array, NDArray[np.int32]]:
    """Carry a motion along itself to a time: the motion (H, W, 2) px of what is there, and what is known of it, (H, W).

    Of surfaces that meet, the one is taken that is seen in both pictures.
    """
    height, width = found.seen.shape
    size, columns = height * width, width + 3
    # The cell between four pixels; three more columns and rows take places beyond the edge.
    places = (reading(width, height) + np.float32(time) * found.flow).reshape(size, 2)
    np.floor(places, out=places)
    np.clip(places, -2, (width, height), out=places)
    cells = ((places[:, 1] + 2) * columns + places[:, 0] + 2).astype(np.int32)
    mark = np.arange(1, size + 1, dtype=np.int32)
    mark[found.seen.reshape(size)] += size
    order = found.seen.reshape(size)
    best = np.zeros((height + 3) * columns, np.int32)
    best[cells[~order]] = mark[~order]
    best[cells[order]] = mark[order]  # in front; the last of several wins
    best = best.reshape(height + 3, columns)
    rows = np.maximum(best[2:-1], best[1:-2])
    nearest = np.maximum(rows[:, 2:-1], rows[:, 1:-2])
    index = (nearest - 1) % size
    carried = found.flow.reshape(size, 2)[index.reshape(size)].reshape(height, width, 2)
    known = (nearest > 0).astype(np.int32) + (nearest > size)
    return cleaned(carried), known


def meet(first: Array, last: Array, there: Match, back: Match, time: float) -> Array:
    """Make the picture (H, W, 3) at a time between two, given each one's motion towards the other."""
    height, width = there.seen.shape
    with ThreadPoolExecutor(1, "in-between") as thread:
        other = thread.submit(in_context(carry), back, 1 - time)
        onwards, known = carry(there, time)
        backwards, also_known = other.result()
    backwards = -backwards  # both are now the motion from first to last
    better = also_known > known if time < 0.5 else also_known >= known
    flow = np.where(better[..., None], backwards, onwards)
    # Between two motions that are known equally well, a choice would tear the picture.
    agree = known == also_known
    agree |= (np.square(onwards - backwards).sum(-1) < SAME**2) & (np.minimum(known, also_known) > EMPTY)
    np.copyto(flow, onwards + np.float32(time) * (backwards - onwards), where=agree[..., None])
    here = reading(width, height)
    in_first, in_last = (np.asarray(here + np.float32(step) * flow, np.float32) for step in (-time, 1 - time))
    a: Array = np.float32(1 - time) * (shows(there.flow, in_first, flow) + np.float32(LEAST))
    b: Array = np.float32(time) * (shows(-back.flow, in_last, flow) + LEAST)
    return mix(read(first, in_first), read(last, in_last), b / (a + b))


def shows(motion: Array, places: Array, flow: Array) -> Array:
    """Return how well a picture shows at `places` a surface that moves by `flow`, given its own motion: (H, W)."""
    height, width = flow.shape[:2]
    missed = np.square(read_at(motion, places) - flow).sum(-1)
    x, y = places[..., 0], places[..., 1]
    inside = np.clip(np.minimum(x + 1, width - x), 0, 1) * np.clip(np.minimum(y + 1, height - y), 0, 1)
    return np.asarray(np.exp(missed * np.float32(-1 / SAME**2)) * inside, np.float32)


def read(image: Array, places: Array) -> Array:
    return np.clip(read_at(image, places, cv2.INTER_CUBIC), 0, 1)


def mix(a: Array, b: Array, share: Array) -> Array:
    """Mix two pictures (H, W, 3) by the share (H, W) of `b`; of unlike shapes, those of one are taken."""
    gray, other = (np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32) for image in (a, b))
    of_both, of_a, of_b = (contrast(each) for each in (gray - other, gray, other))
    unlike = ramp(of_both / (of_a + of_b + 1e-4), *DIFFER) * ramp(of_both, *VISIBLE)
    power = 1 + (DECIDED - 1) * unlike
    leaning = np.clip(share - LEANS * unlike, 1e-4, 1 - 1e-4)
    decided = 1 / (1 + np.exp(np.clip(power * np.log((1 - leaning) / leaning), -60, 60)))
    mixed = a + cv2.merge(3 * (decided,)) * (b - a)
    if unlike.any():
        # Light and colour change in time: where shapes were chosen, give them the mean that a mix would have.
        light = cv2.blur(cv2.merge(3 * (share - decided,)) * (b - a), (SHAPES, SHAPES), borderType=cv2.BORDER_REPLICATE)
        mixed = np.clip(mixed + light, 0, 1)
    return as_sharp(mixed, a, b, decided)


def as_sharp(mixed: Array, a: Array, b: Array, share: Array) -> Array:
    """Give a mix (H, W, 3) the sharpness of its parts, which it loses where their detail differs."""
    image, one, two = (from_array(np.asarray(each, np.float32)) for each in (mixed, a, b))
    shares = torch.from_numpy(np.asarray(share, np.float32))
    image = keep_contrast(image, one, two, shares)
    return to_array(sharpen_to(image, torch.lerp(local_sharpness(one), local_sharpness(two), shares)))


def contrast(gray: Array) -> Array:
    """Return the mean difference from the mean around each pixel: (H, W)."""
    size = (SHAPES, SHAPES)
    shapes = cv2.absdiff(gray, cv2.blur(gray, size, borderType=cv2.BORDER_REPLICATE))
    return np.asarray(cv2.blur(shapes, size, borderType=cv2.BORDER_REPLICATE), np.float32)


def ramp(values: Array, low: float, high: float) -> Array:
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)
