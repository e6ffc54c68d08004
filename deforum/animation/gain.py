"""Motion gain: pictures are moved further than set before they are painted, so that as much is seen as is set.

Of a motion of a fraction of a latent cell a model paints a part back. How much depends on the picture, the motion and
the noise. A controller measures it as the animation goes on: it compares each painted picture with an earlier one that
is moved by shares of the motion that was applied since, as a search for the shift between two pictures by correlation
does. The share of the highest correlation, averaged over frames, is the share that is seen; the motion is applied
times its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from deforum.animation.carrying import OuterCamera
from deforum.animation.depth_camera import keeping_depth
from deforum.animation.parts import Camera, Memory
from deforum.animation.stages import Stages
from deforum.models.transfer import Arriving, download
from deforum.motion.common_flow import blur_wide
from deforum.motion.positions import SEEN, Positions, follow, inside, pixels, read_at
from deforum.motion.warps import Warp
from deforum.pixels.image import Device, Image, Mask, to_gray
from deforum.settings.params import Params
from deforum.timeline.frame import Frame

LEAST, MOST = 0.6, 3.0
"""Smallest and largest gain. Where the prompt draws things its own way, a picture goes faster than set. Where a model
holds a scene in its place, up to three times the motion is needed to lead past it (training/README.md)."""
SHARES = np.linspace(0.0, 1.8, 13)
"""Shares of the applied motion that are tried."""
USUAL = 0.7, 0.1
"""Share that is expected to be seen, and the bend of the curve that says so before anything was measured."""
WEIGHT = 0.1
"""Weight of the newest measurement in the mean."""
DOUBT = 0.3
"""Correlation below which two pictures show different things: after a cut, or where all is painted anew."""
SPAN = 6
"""Painted frames; largest distance of pictures that are compared. Single steps tremble."""
FEWEST = 3
"""Painted frames that are needed for a first measurement."""
FAR = 0.08
"""Shorter sides of the frame; motion over which pictures are compared, or sooner after `SPAN` frames."""
SIDE = 128
"""px; about the shorter side of the pictures that are compared."""
FINE, COARSE = 1.0, 12.0
"""px; deviations of the blurs between which compared structure lies: finer detail is painted anew in each frame, and
brightness that changes over most of the picture says little about where it is."""
MARGIN = 8
"""px at the border that are not compared."""
EVEN = (1 / 255) ** 2
"""Variance below which a picture has nothing to see."""
PACE = 0.1
"""Largest change of the gain from one painted frame to the next."""

Numbers = NDArray[np.float64]


FURTHER: Mapping[str, float] = {
    **dict.fromkeys(("translation_x", "translation_y", "translation_z"), 10),
    **dict.fromkeys(("angle", "perspective_flip_theta", "perspective_flip_phi", "perspective_flip_gamma"), 2),
    **dict.fromkeys(("rotation_3d_x", "rotation_3d_y", "rotation_3d_z"), 1),
}
"""By how much parameters of a frame's motion change at most, in their units: large steps are seen as they are set, and
further ones could lead past the scene."""
FURTHER_ZOOM = 1.03
"""By what the zoom of a frame is multiplied or divided at most."""


def enlarged(params: Params[float], gain: float) -> Params[float]:
    """Return parameters of `gain` times the motion of one frame, the zoom raised to that power; see FURTHER.

    Where that is the same motion, the parameters themselves are returned.
    """

    def more(value: float, most: float) -> float:
        return min(max((gain - 1) * value, -most), most)

    further = {name: more(getattr(params, name), most) for name, most in FURTHER.items()}
    steps = {name: getattr(params, name) + step for name, step in further.items() if step}
    nearer = more(math.log(params.zoom), math.log(FURTHER_ZOOM)) if params.zoom > 0 else 0.0
    if nearer:
        steps["zoom"] = params.zoom * math.exp(nearer)
    return replace(params, **steps) if steps else params


@dataclass(frozen=True)
class Past:
    """The last painted pictures, oldest first, and where their pixels are in the newest one."""

    pictures: tuple[Image, ...] = ()
    """(1, h, w) each: grey, coarse and without what is even coarser."""
    ways: tuple[Positions, ...] = ()
    """(2, h, w) px each: positions in that picture of the newest one's pixels, by the applied motion."""

    def moved(self, step: Positions) -> Past:
        """Let the newest picture be one step further."""
        return replace(self, ways=tuple(follow(way, step) for way in self.ways))

    def and_of(self, picture: Image) -> Past:
        """Add the newest picture."""
        _, height, width = picture.shape
        ways = (*self.ways, pixels(width, height, picture.device))
        return Past((*self.pictures, picture)[-SPAN:], ways[-SPAN:])


def structure(image: Image) -> Image:
    """Return what is compared of a picture (3, H, W): (1, h, w), see FINE and COARSE."""
    _, height, width = image.shape
    gray = to_gray(F.interpolate(image[None], smaller(height, width), mode="area")[0])[:1]
    return blur_wide(gray, FINE) - blur_wide(gray, COARSE)


def smaller(height: int, width: int) -> tuple[int, int]:
    """Return the height and width of the pictures that are compared, px; all of it is at least 1 / SIDE."""
    factor = max(min(height, width) / SIDE, 1.0)
    return round(height / factor), round(width / factor)


def small_step(warp: Warp) -> torch.Tensor:
    """Return the way back of a motion and its coverage at the size of compared pictures: (3, h, w)."""
    chart = warp.charts()[0]
    height, width = chart.covers.shape
    size = smaller(height, width)
    flow = chart.positions - pixels(width, height, chart.covers.device)
    small = F.interpolate(torch.cat((flow, chart.covers[None]))[None], size, mode="area")[0]
    here = pixels(size[1], size[0], small.device)
    return torch.cat((here[:1] + small[:1] * (size[1] / width), here[1:] + small[1:2] * (size[0] / height), small[2:]))


def likeness(newer: Image, older: Image, way: Positions, known: Mask) -> torch.Tensor:
    """Correlate a picture with an older one that is moved by each of SHARES of the motion since: (len(SHARES),).

    `newer`, `older` (1, h, w); `way` (2, h, w) px, positions in the older picture of the newer one's pixels; `known`
    (h, w), 1 where the older one is visible. Pictures without structure have curves near 0.
    """
    _, height, width = newer.shape
    here = pixels(width, height, way.device)
    known = known * (inside(way) > SEEN)
    known[:MARGIN] = known[-MARGIN:] = known[:, :MARGIN] = known[:, -MARGIN:] = 0
    places = torch.cat([here + float(share) * (way - here) for share in SHARES], dim=1)
    moved = read_at(older, places).view(len(SHARES), -1)
    now, weight = newer.flatten(), (known / known.sum().clamp(min=1)).flatten()
    now = now - (now * weight).sum()
    moved = moved - (moved * weight).sum(1, keepdim=True)
    common = (now * moved * weight).sum(1)
    spread = (now.square() * weight).sum().sqrt() * (moved.square() * weight).sum(1).sqrt()
    return common / (spread + EVEN)


def peak(curve: Numbers) -> float:
    """Return the share at which a curve over SHARES is highest, between them by a parabola."""
    k = int(np.clip(curve.argmax(), 1, len(SHARES) - 2))
    left, here, right = curve[k - 1 : k + 2]
    bend = left - 2 * here + right
    aside = 0.0 if bend >= 0 else float(np.clip((left - right) / (2 * bend), -1, 1))
    return float(SHARES[k] + (SHARES[1] - SHARES[0]) * aside)


def _usual() -> Numbers:
    share, bend = USUAL
    return -bend * (SHARES - share) ** 2


@dataclass(frozen=True)
class Gain:
    """The controller: what was measured so far."""

    past: Past = Past()
    step: torch.Tensor | None = None
    """The applied motion since the newest picture, (3, h, w); None: it was not moved yet."""
    latest: Arriving | None = None
    """The measurement at the newest picture: `likeness`, and the mean motion of a step in shorter sides.

    It is read at the next picture, when it surely has come from the card."""
    mean: Numbers = field(default_factory=_usual)
    """The mean of the curves of `likeness`."""
    size: float = 0.0
    """Motion of the step before, in shorter sides of the frame."""
    factor: float = 1 / USUAL[0]

    def looked(self, image: Image) -> Gain:
        """Measure what is seen in a newly painted picture (3, H, W)."""
        known, picture = self._read(), structure(image)
        if self.step is None:
            return replace(known, past=known.past.and_of(picture))
        past = known.past.moved(self.step[:2])
        count = len(past.pictures)
        span = count if known.size <= 0 else min(count, max(1, round(FAR / known.size)))
        latest = None
        if count >= FEWEST:
            _, height, width = picture.shape
            curve = likeness(picture, past.pictures[-span], past.ways[-span], (self.step[2] > SEEN).float())
            length = (self.step[:2] - pixels(width, height, picture.device)).norm(dim=0).mean() / min(height, width)
            latest = download(torch.cat((curve, length[None])))
        return replace(known, past=past.and_of(picture), step=None, latest=latest)

    def _read(self) -> Gain:
        """Take the measurement at the picture before into account."""
        if self.latest is None:
            return self
        *curve, size = self.latest.pixels().astype(np.float64)
        mean = self.mean
        if max(curve) >= DOUBT:
            mean = (1 - WEIGHT) * mean + WEIGHT * np.array(curve)
        wanted = float(np.clip(1 / max(peak(mean), 1 / MOST), LEAST, MOST))
        factor = self.factor + float(np.clip(wanted - self.factor, -PACE, PACE))
        return replace(self, latest=None, mean=mean, size=float(size), factor=factor)

    def at(self, frame: Frame) -> float:
        """Return the factor of the motion that leads to a painted frame."""
        if frame.params.strength >= 1:
            return 1.0
        return self.factor if frame.ending is None else 1 + (self.factor - 1) * (1 - frame.ending.share)

    def memory(self) -> Memory:
        return {
            "pictures": {str(k): picture for k, picture in enumerate(self.past.pictures)},
            "ways": {str(k): way for k, way in enumerate(self.past.ways)},
            "step": self.step,
            "latest": None if self.latest is None else torch.from_numpy(self.latest.pixels().copy()),
            "mean": torch.from_numpy(self.mean),
            "size": self.size,
            "factor": self.factor,
        }

    @staticmethod
    def of(memory: Any, device: Device) -> Gain:
        """Restore what `memory` gave."""
        pictures, ways = (tuple(each.to(device) for each in memory[name].values()) for name in ("pictures", "ways"))
        step, latest = memory["step"], memory["latest"]
        return Gain(
            Past(pictures, ways),
            None if step is None else step.to(device),
            None if latest is None else download(latest),
            memory["mean"].numpy(),
            memory["size"],
            memory["factor"],
        )


@dataclass(frozen=True)
class GainCamera(OuterCamera):
    """A camera that moves further to where a frame is painted."""

    device: Device
    gain: Gain = Gain()
    looked: Camera | None = None
    """The inner camera after its last look."""
    since: tuple[Frame, ...] = ()
    """The frames to which it moved since."""

    def look(self, scene: Image, frame: Frame) -> Self:
        camera = self.camera.look(scene, frame)
        return replace(self, camera=camera, gain=self.gain.looked(scene), looked=camera, since=())

    def move(self, frame: Frame) -> tuple[Warp, Self]:
        warp, camera = self.camera.move(frame)
        return warp, replace(self, camera=camera, since=(*self.since, frame))

    def lead(self, way: Warp) -> tuple[Warp, Self]:
        factor = self.gain.at(self.since[-1])
        frames = [replace(frame, params=enlarged(frame.params, factor)) for frame in self.since]
        is_same = all(frame.params is as_set.params for frame, as_set in zip(frames, self.since, strict=True))
        lead = way if is_same else self._along(frames)
        return lead, replace(self, gain=replace(self.gain, step=small_step(lead)))

    def _along(self, frames: Sequence[Frame]) -> Warp:
        """Return the motion since the last look along frames in place of those that it moved to."""
        assert self.looked is not None
        camera, way = keeping_depth(self.looked, None), None
        for frame in frames:
            step, camera = camera.move(frame)
            way = step if way is None else camera.joined(way, step)
        assert way is not None
        return way

    def memory(self) -> Memory:
        return {**super().memory(), "gain": self.gain.memory()}

    def recall(self, memory: Memory) -> Self:
        known: Any = memory  # as `memory` gives it
        return replace(super().recall(memory), gain=Gain.of(known["gain"], self.device))


def with_gain(stages: Stages, device: Device) -> Stages:
    """Move pictures further than set before they are painted."""
    return replace(stages, camera=GainCamera(stages.camera, device))
