"""Compositing a clip's pictures into the animation's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from deforum.animation.depth_camera import DepthCamera
from deforum.animation.parts import Moment
from deforum.depth import DepthModel
from deforum.features.feature import Tell
from deforum.features.hybrid.mask_kinds import MaskTone, blend_mask, difference_mask, nearness_mask
from deforum.pixels.image import Image, Mask, blend
from deforum.settings.options import Settings


@dataclass(frozen=True)
class Meeting:
    """The inputs of a composite mask: both pictures, and their moment."""

    image: Image
    clip: Image
    moment: Moment
    model: DepthModel | None
    """Set when the kind of mask needs depth."""


def nearness(meeting: Meeting) -> Mask:
    """Nearness mask of the animation's picture, from the camera's depth, or else from the depth model."""
    camera = meeting.moment.camera.within(DepthCamera)
    known = None if camera is None else camera.depth
    return _find_nearness(meeting, meeting.image) if known is None else nearness_mask(1 / known, "inverse depth")


def _find_nearness(meeting: Meeting, image: Image) -> Mask:
    assert meeting.model is not None
    return nearness_mask(meeting.model(image, meeting.moment.frame.index), meeting.model.gives)


MASKS: Mapping[str, Callable[[Meeting], Mask]] = {
    "Depth": nearness,
    "Video Depth": lambda meeting: _find_nearness(meeting, meeting.clip),
    "Blend": lambda meeting: blend_mask(
        meeting.image, meeting.clip, meeting.moment.frame.params.hybrid_comp_mask_blend_alpha
    ),
    "Difference": lambda meeting: difference_mask(meeting.image, meeting.clip),
}
"""The kinds of mask, by hybrid_comp_mask_type."""


@dataclass(frozen=True)
class Composite:
    """A filter that mixes the clip into a picture: under a mask first, if there is one, then by hybrid_comp_alpha."""

    settings: Settings
    clip: Callable[[Moment], Image]
    """The clip's picture at a moment."""
    model: DepthModel | None
    from_start: bool = True
    """Whether the first picture is composited too."""
    save: Callable[[str, int, Image | Mask], None] | None = None
    """Saves the clip's pictures, masks and composites, by name and frame; None: not saved."""
    tell: Tell | None = None
    """Told how much of each pixel is the clip's."""

    def __call__(self, image: Image, moment: Moment) -> Image:
        if moment.warp is None and not self.from_start:
            return image
        clip = self.clip(moment)
        mask = self._mask(Meeting(image, clip, moment, self.model))
        masked = clip if mask is None else torch.lerp(clip, image, mask)
        alpha = moment.frame.params.hybrid_comp_alpha
        mixed = blend(image, masked, alpha)
        if self.tell is not None:
            self.tell(moment.frame.index, alpha * (torch.ones_like(image[0]) if mask is None else 1 - mask))
        if self.save is not None:
            extras = {"clip": clip, "mask": mask, "composite": masked, "mixed": mixed}
            index = moment.frame.index
            for name, extra in extras.items():
                if extra is not None:
                    self.save(f"{index:09d}_{name}.png", index, extra)
        return mixed

    def saving(self, save: Callable[[str, int, Image | Mask], None]) -> Composite:
        """Save the clip's picture, the mask, the masked composite and the mixed result of every frame."""
        return replace(self, save=save)

    def telling(self, tell: Tell) -> Composite:
        """Tell how much of each pixel of every frame is the clip's."""
        return replace(self, tell=tell)

    def _mask(self, meeting: Meeting) -> Mask | None:
        make, p = MASKS.get(self.settings.hybrid_comp_mask_type), meeting.moment.frame.params
        if make is None:
            return None
        low, high = p.hybrid_comp_mask_auto_contrast_cutoff_low, p.hybrid_comp_mask_auto_contrast_cutoff_high
        tone = MaskTone(
            equalize=self.settings.hybrid_comp_mask_equalize,
            contrast=p.hybrid_comp_mask_contrast,
            cutoffs=(low, high) if self.settings.hybrid_comp_mask_auto_contrast else None,
            inverse=self.settings.hybrid_comp_mask_inverse,
        )
        return tone(make(meeting))
