"""Painting towards the picture that an animation ends with: its own first one (loop), or end_image.

The picture is moved backward along the camera's way, to where it would be seen from a frame before it is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from deforum.animation.carrying import OuterCamera
from deforum.animation.mix import feather
from deforum.animation.parts import Camera, Diffuse, Memory, Moment
from deforum.animation.stages import Stages
from deforum.motion.warps import Warp
from deforum.pixels.image import Image, Mask
from deforum.timeline.ending import Ending
from deforum.timeline.frame import Frame

BEYOND = 0.5
"""Share of the mix that the stretched edge of the end picture has beyond it: surroundings take on its colours."""
SOFT, SHARP = 0.3, 1 / 32
"""Width of the soft edge of the end picture in shorter sides of the frame: at first, and where it is reached."""


@dataclass(frozen=True)
class EndingCamera(OuterCamera):
    """A camera that knows the picture that the animation ends with."""

    fresh: Camera
    """The camera within, before it has looked at anything."""
    picture: Image | None
    """None in a loop before its first frame is known."""
    is_loop: bool
    _seen: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The picture that was last looked at, and the camera that looked."""

    def look(self, scene: Image, frame: Frame) -> Self:
        looked = super().look(scene, frame)
        return replace(looked, picture=scene) if self.is_loop and frame.index == 0 else looked

    def move(self, frame: Frame) -> tuple[Warp, Self]:
        warp, camera = self.camera.move(frame)
        return warp, replace(self, camera=camera)

    def memory(self) -> Memory:
        return {**super().memory(), "end": self.picture if self.is_loop else None}

    def recall(self, memory: Memory) -> Self:
        camera, known = super().recall(memory), memory["end"]
        return replace(camera, picture=known) if isinstance(known, torch.Tensor) else camera

    def target(self, frame: Frame, ending: Ending) -> tuple[Image, Mask]:
        """Return the end picture as it is seen from a frame before it, and its coverage (H, W)."""
        assert self.picture is not None
        if self._seen.get("picture") is not self.picture:
            at = 0 if self.is_loop else frame.index + len(ending.way) - 1
            scene = replace(frame, index=at, params=ending.way[-1])
            self._seen.update(picture=self.picture, camera=self.fresh.look(self.picture, scene))
        warp = self._seen["camera"].back(frame, ending.way)
        return warp(self.picture), warp.coverage()


def with_ending(stages: Stages, picture: Image | None) -> Stages:
    """Paint the last frames towards a picture; None: the first frame."""
    camera = EndingCamera(stages.camera, stages.camera, picture, picture is None)
    return replace(stages, camera=camera, around=[*stages.around, drawn], after=[*stages.after, settle])


def drawn(diffuse: Diffuse) -> Diffuse:
    """Mix the end picture into what frames are painted from, and let their strength rise."""

    def towards(init: Image | None, moment: Moment) -> tuple[Image | None, Moment]:
        found, ending = seen(moment), moment.frame.ending
        if found is None or ending is None:
            return init, moment
        target, covers = found
        share = ending.pull * (BEYOND + (1 - BEYOND) * covers)
        init = target if init is None else torch.lerp(init, target, share)
        strength = moment.frame.params.strength
        strength += (ending.strength - strength) * ending.share
        return init, replace(
            moment, frame=replace(moment.frame, params=replace(moment.frame.params, strength=strength))
        )

    def diffused(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        starts, changed = zip(*map(towards, inits, moments), strict=True)
        return diffuse(starts, changed)

    return diffused


def settle(image: Image, moment: Moment) -> Image:
    """Mix the end picture of a loop into painted frames shortly before it."""
    ending = moment.frame.ending
    if ending is None or ending.settle == 0:
        return image
    found = seen(moment)
    if found is None:
        return image
    target, covers = found
    return torch.lerp(image, target, ending.settle * covers)


def seen(moment: Moment) -> tuple[Image, Mask] | None:
    """Return the end picture from where a frame is, and its soft coverage; None where the frame is not near the end."""
    camera, ending = moment.camera.within(EndingCamera), moment.frame.ending
    if camera is None or camera.picture is None or ending is None:
        return None
    target, covers = camera.target(moment.frame, ending)
    return target, feather(covers, SOFT + (SHARP - SOFT) * ending.share)
