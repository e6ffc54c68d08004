"""Where frames show the own pixels of a clip or a picture, which no network should repaint."""

from __future__ import annotations

from dataclasses import dataclass, field

from deforum.pixels.image import Mask


@dataclass(frozen=True)
class OwnPixels:
    """Masks (H, W) of painted frames by index: 1 where a pixel is a clip's own, soft where it is mixed."""

    _masks: dict[int, Mask] = field(default_factory=dict)

    def tell(self, index: int, mask: Mask) -> None:
        """Add the mask of a painted frame."""
        self._masks[index] = mask

    def at(self, index: int) -> Mask | None:
        """Return the mask of a frame, for an in-between that of the frame painted last; None: nothing was told.

        Frames are asked for in order: masks of frames before the one painted last are forgotten.
        """
        last = next(reversed(self._masks), None)
        for old in [told for told in self._masks if told < index and told != last]:
            del self._masks[old]
        return self._masks.get(index) if index in self._masks or last is None else self._masks[last]
