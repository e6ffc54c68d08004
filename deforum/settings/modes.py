"""The animation modes and their properties, without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["2D", "3D", "Video Input", "Interpolation"]


@dataclass(frozen=True)
class ModeFacts:
    """Properties of a mode that settings, checks and features depend on."""

    goes_on: bool
    """Whether each frame is painted from the one before. If not, frames are independent: they are painted in batches,
    the pictures they start from are not filtered, and colours are not matched to those of another frame."""
    has_depth: bool
    """Whether the camera moves in 3D, using the picture's depth."""
    reads_clip: bool
    """Whether frames are painted from those of a clip."""
    holds_to: tuple[str, ...] | None
    """The choices of color_coherence that act; None: all."""
    prompt_blend: Literal["hold", "linear"] = "hold"
    """The value of prompt_blend where it is null."""

    def holds(self, color_coherence: str) -> bool:
        """Whether a choice of color_coherence acts."""
        return self.holds_to is None or color_coherence in self.holds_to


MODES: Mapping[Mode, ModeFacts] = {
    "2D": ModeFacts(goes_on=True, has_depth=False, reads_clip=False, holds_to=None),
    "3D": ModeFacts(goes_on=True, has_depth=True, reads_clip=False, holds_to=None),
    "Video Input": ModeFacts(goes_on=False, has_depth=False, reads_clip=True, holds_to=("Image", "Video Input")),
    "Interpolation": ModeFacts(False, False, False, holds_to=(), prompt_blend="linear"),
}


def modes_where(fact: Callable[[ModeFacts], object]) -> tuple[Mode, ...]:
    """Return the modes for which `fact` is true, in the order of the table."""
    return tuple(mode for mode, facts in MODES.items() if fact(facts))


GOING_ON = modes_where(lambda facts: facts.goes_on)
APART = modes_where(lambda facts: not facts.goes_on)
LOOPING = modes_where(lambda facts: not facts.reads_clip)
WITH_DEPTH = modes_where(lambda facts: facts.has_depth)
FLAT = modes_where(lambda facts: facts.goes_on and not facts.has_depth)
FROM_CLIP = modes_where(lambda facts: facts.reads_clip)
WITH_COLORS = modes_where(lambda facts: facts.holds_to != ())
