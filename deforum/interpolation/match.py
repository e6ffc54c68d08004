"""What two pictures have in common: the motion between them, and what of each is hidden in the other.

Optical flow of brightness alone takes surfaces of one brightness for one. It is estimated a second time in the colour
that differs most beside brightness; of both, and of the motions some px away, each pixel takes the one that makes the
pictures most alike around it.

Convention: arrays of the processor; pictures (H, W, 3) float32 RGB in 0..1, flow (H, W, 2) float32 px.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.flow import FlowModel
from deforum.flow.dense import Dense, both_ways
from deforum.interpolation.reading import moved, read_at, reading
from deforum.pixels.image import Image, from_array, to_array
from deforum.pixels.sharpness import LUMINANCE

Array = NDArray[np.float32]

AROUND = 5  # px; width of the area in which pictures are compared
CLEAN = 5  # px; width of the median that takes single pixels of another surface out of a motion
STEP = 6  # px; a motion may be that of the pixels this far away, at the border of a surface
BETTER = 0.95  # share of the error that another motion may leave
DOUBT_SHARE, DOUBT = 0.01, 0.2  # forward-backward tolerance: share of the squared flows, plus px^2
COLORED = 1e-5  # variance of colour beside brightness, of 0..1; flow in less is noise
NEARER = 0.9  # share of their difference that a flow may leave
STILL = 0.004  # difference, 0..1, of pictures that need no motion
REACH = 25  # 1/25 of the shorter side: deviation of the blur that carries motion to where none is found
NONE, SOME = 0.2, 0.45  # shares of places with a known motion around, from which it is carried: from nothing to all
STEEPEST = 1.0  # px of motion per px of the deviation with which it is carried; from 1 on pictures fold
UNKNOWN = 0.05  # where less than this stays inside the picture around a pixel, its own motion is believed
FEW, MOST = 0.3, 0.6  # shares of places with a known motion around, from which each place follows its own
COARSE = 4  # px; cells in which motion is carried
EVERY = 7  # every how many pixels colours are looked at
FAR = (3, 6, 12, 24)  # half px; distances at which a hidden pixel looks for the surface that it belongs to
ALIKE = 0.03  # difference of colours, 0..1, of one surface
NEAR = 16.0  # half px; a pixel this far away counts 1/e of a near one
SIDES = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))


@dataclass(frozen=True)
class Match:
    """One picture's motion towards another, complete: where a pixel is hidden there, with that of its surface."""

    flow: Array
    """(H, W, 2) px."""
    seen: NDArray[np.bool_]
    """(H, W), whether the pixel is found in the other picture; False where it is hidden or beyond the edge."""


def match(model: FlowModel, first: Image, last: Image) -> tuple[Match, Match]:
    """Find the motion from the first picture (3, H, W) to the last, and from the last to the first."""
    found = [both_ways(model, first, last)]
    if isinstance(model, Dense):  # networks look at colours themselves
        found += [both_ways(model, *pair) for pair in in_color(first, last)]
    a, b = to_array(first), to_array(last)
    with ThreadPoolExecutor(1, "match") as thread:
        there = thread.submit(refined, a, b, [to_numpy(each[0]) for each in found])
        back = refined(b, a, [to_numpy(each[1]) for each in found])
        forward = there.result()
        there_complete = thread.submit(completed, a, b, forward, back)
        back_complete = completed(b, a, back, forward)
        return there_complete.result(), back_complete


def to_numpy(flow: torch.Tensor) -> Array:
    return np.ascontiguousarray(flow.cpu().numpy(), np.float32)


def in_color(first: Image, last: Image) -> list[tuple[Image, Image]]:
    """Return both pictures in the colour that varies most beside brightness, as grey of full contrast; or nothing."""
    colors = np.concatenate([to_array(image).reshape(-1, 3)[::EVERY] for image in (first, last)])
    colors = colors - colors.mean(0)
    light = colors @ np.array(LUMINANCE, np.float32)
    beside = colors - np.outer(light, (colors * light[:, None]).mean(0) / max(float((light * light).mean()), 1e-9))
    variances, axes = np.linalg.eigh(np.cov(beside.T))
    if variances[-1] < COLORED:
        return []
    pair = [to_array(image) @ axes[:, -1].astype(np.float32) for image in (first, last)]
    low, high = min(float(each.min()) for each in pair), max(float(each.max()) for each in pair)
    return [(_gray((pair[0] - low) / (high - low)), _gray((pair[1] - low) / (high - low)))]


def _gray(values: Array) -> Image:
    return from_array(np.asarray(cv2.merge((values, values, values)), np.float32))


def refined(a: Array, b: Array, flows: list[Array]) -> Array:
    """Choose for each pixel of `a` among flows to `b`, and those of the pixels a STEP away."""
    best, error = flows[0].copy(), unlike(a, b, flows[0])
    for flow in flows[1:]:
        _improve(best, error, flow, unlike(a, b, flow))
    error *= BETTER
    height, width = error.shape
    start = np.asarray(cv2.copyMakeBorder(best, STEP, STEP, STEP, STEP, cv2.BORDER_REPLICATE), np.float32)
    for x, y in ((0, STEP), (2 * STEP, STEP), (STEP, 0), (STEP, 2 * STEP)):
        other = np.ascontiguousarray(start[y : y + height, x : x + width], np.float32)
        _improve(best, error, other, unlike(a, b, other))
    return cleaned(best)


def cleaned(flow: Array) -> Array:
    """Take single pixels of another surface out of a motion (H, W, 2): they show as specks."""
    # OpenCV's median takes one, three or four channels.
    x, y = (cv2.medianBlur(np.ascontiguousarray(flow[..., axis]), CLEAN) for axis in (0, 1))
    return np.asarray(cv2.merge((x, y)), np.float32)


def _improve(best: Array, error: Array, flow: Array, its_error: Array) -> None:
    """Take over a flow where its error is smaller."""
    smaller = its_error < error
    np.copyto(error, its_error, where=smaller)
    np.copyto(best, flow, where=smaller[..., None])


def unlike(a: Array, b: Array, flow: Array) -> Array:
    """Return how far `a` differs from `b` moved onto it, around each pixel: (H, W)."""
    apart = cv2.transform(cv2.absdiff(a, moved(b, flow)), np.full((1, 3), 1 / 3, np.float32))
    return np.asarray(cv2.blur(apart, (AROUND, AROUND), borderType=cv2.BORDER_REPLICATE), np.float32)


def completed(image: Array, other: Array, flow: Array, backward: Array) -> Match:
    """Complete the flow of a picture towards another, given the flow back."""
    places = reading(flow.shape[1], flow.shape[0]) + flow
    returned = read_at(backward, places)
    missed = np.square(flow + returned).sum(-1)
    allowed = DOUBT_SHARE * (np.square(flow).sum(-1) + np.square(returned).sum(-1)) + DOUBT
    height, width = flow.shape[:2]
    x, y = places[..., 0], places[..., 1]
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    seen = (missed <= allowed) & inside
    counts = (seen & helps(image, other, flow)).astype(np.float32)
    smooth, near = carried_around(flow, counts, inside.astype(np.float32))
    trust = np.clip((near - FEW) / (MOST - FEW), 0, 1)
    flow = fill(flow, seen, image)
    return Match(smooth + trust[..., None] * (flow - smooth), seen | (trust < 0.5))


def helps(a: Array, b: Array, flow: Array) -> NDArray[np.bool_]:
    """Return where a flow brings two pictures nearer to each other: (H, W)."""
    unmoved = cv2.transform(cv2.absdiff(a, b), np.full((1, 3), 1 / 3, np.float32))
    unmoved = cv2.blur(unmoved, (AROUND, AROUND), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(unlike(a, b, flow) <= NEARER * unmoved + STILL)


def carried_around(flow: Array, counts: Array, inside: Array) -> tuple[Array, Array]:
    """Return the smooth motion (H, W, 2) of places that count, (H, W), and the share of these around each pixel.

    It is their share of the places that stay `inside` the picture: the others cannot be found again.
    """
    height, width = counts.shape
    small = max(1, width // COARSE), max(1, height // COARSE)
    x, y = (cv2.resize(flow[..., axis] * counts, small, interpolation=cv2.INTER_AREA) for axis in (0, 1))
    known = cv2.merge((x, y, *(cv2.resize(each, small, interpolation=cv2.INTER_AREA) for each in (counts, inside))))
    deviation = max(1.0, min(small) / REACH)
    carried = cv2.resize(cv2.GaussianBlur(known, (0, 0), deviation), (width, height), interpolation=cv2.INTER_LINEAR)
    near = np.asarray((carried[..., 2] + UNKNOWN) / (carried[..., 3] + UNKNOWN), np.float32)
    carries = np.clip((near - NONE) / (SOME - NONE), 0, 1) / np.maximum(carried[..., 2], 1e-6)
    motion = carried[..., :2] * carries[..., None]
    longest = STEEPEST * deviation * COARSE / np.maximum(np.hypot(motion[..., 0], motion[..., 1]), 1e-6)
    return np.asarray(motion * np.minimum(longest, 1)[..., None], np.float32), near


def fill(flow: Array, seen: NDArray[np.bool_], image: Array) -> Array:
    """Replace the flow where it is not `seen` by that of seen pixels around it of a like colour."""
    if seen.all():
        return flow
    height, width = seen.shape
    small_seen = np.ascontiguousarray(seen[::2, ::2], np.float32)
    small_flow = np.ascontiguousarray(flow[::2, ::2])
    colors = np.ascontiguousarray(cv2.GaussianBlur(image, (5, 5), 1.2)[::2, ::2])
    hidden = np.nonzero(small_seen == 0)
    reach = max(FAR) + 1
    known = cv2.copyMakeBorder(cv2.merge((*cv2.split(small_flow * small_seen[..., None]), small_seen)),
                               *4 * (reach,), cv2.BORDER_CONSTANT, value=0)  # fmt: skip
    around = cv2.copyMakeBorder(colors, *4 * (reach,), cv2.BORDER_REPLICATE)
    rows, columns, own = hidden[0] + reach, hidden[1] + reach, colors[hidden]
    total = np.zeros((len(rows), 3), np.float32)
    for far in FAR:
        for x, y in SIDES:
            there = rows + round(far * y), columns + round(far * x)
            weight = np.exp(np.square(around[there] - own).sum(-1) / -(ALIKE**2) - far / NEAR) + 1e-6
            total += known[there] * weight[:, None]
    found = total[:, 2] > 1e-6
    places = hidden[0][found], hidden[1][found]
    small_flow[places] = total[found, :2] / total[found, 2:]
    whole = np.asarray(cv2.resize(small_flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    np.copyto(whole, flow, where=seen[..., None])
    return whole
