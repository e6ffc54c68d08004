"""Where frames show the own pixels of a clip or a picture, which no network should repaint."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from deforum.pixels.image import Mask


@dataclass(frozen=True)
class OwnPixels:
    """Masks (H, W) of painted frames by index: 1 where a pixel is a clip's own, soft where it is mixed."""

    _masks: dict[int, Mask] = field(default_factory=dict)

    def tell(self, index: int, mask: Mask) -> None:
        """Add the mask of a painted frame."""
        self._masks[index] = mask

    def at(self, index: int) -> Mask | None:
        """Return the mask of a frame, for an in-between the larger of those around it; None: nothing was told.

        Frames are asked for in order: masks before the last painted one are forgotten.
        """
        before = [told for told in self._masks if told <= index]
        for old in before[:-1]:
            del self._masks[old]
        if index in self._masks:
            return self._masks[index]
        around = [*before[-1:], *[told for told in self._masks if told > index][:1]]
        masks = [self._masks[told] for told in around]
        if not masks:
            return None
        return masks[0] if len(masks) == 1 else torch.maximum(*masks)
