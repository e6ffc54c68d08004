"""How an animation ends: where it began (loop), or at a picture (end_image).

Over its last frames it is painted towards the picture it ends with, which is moved backward along the camera's way. The
share of that picture rises from 0 to 1, and with it the strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deforum.settings.options import Settings

if TYPE_CHECKING:
    from deforum.settings.params import Params

SECONDS = 2.5
"""Length of the ending where ending_frames is 0; at most half of the animation."""
LEAST = 12
"""Frames; shortest such ending."""
LOOP_STRENGTH = 0.7
"""Strength of the last frames of a loop."""
SETTLES = 0.8
"""Share of the way from which painted frames of a loop are mixed with the end picture once more."""
LEFT = 0.5, 0.2
"""What that mix leaves of the last painted frame, at cadence 1 and at others, whose steps are smaller: the last step of
a loop shall be no larger than others."""


@dataclass(frozen=True)
class Plan:
    """The frames over which an animation ends."""

    start: int
    """The last frame that is painted as if there were no end."""
    end: int
    """The frame at which the picture is reached; a loop reaches its first one after its last frame."""
    is_loop: bool

    def share(self, frame: float) -> float:
        """Return how far a frame is on the way to the end, 0..1, slow at both ends."""
        along = min(max((frame - self.start) / (self.end - self.start), 0.0), 1.0)
        return along * along * (3 - 2 * along)

    def pull(self, frame: int, before: int) -> float:
        """Return the share of the end picture to mix into a frame, so that `share` is left after those before it.

        `before` is the diffused frame before it.
        """
        left = 1 - self.share(before)
        return 1.0 if left <= 0 else 1 - (1 - self.share(frame)) / left

    def settle(self, share: float, last: int, cadence: int) -> float:
        """Return the share of the end picture in a painted frame of a loop, 0 but for its last frames.

        `last` is the last diffused frame. The fewer steps lead from there to the end, the more of it.
        """
        if not self.is_loop or share <= SETTLES:
            return 0.0
        left = LEFT[cadence > 1] * min((self.end - last) / cadence, 1)
        return (1 - left) * (share - SETTLES) / (1 - SETTLES)


@dataclass(frozen=True)
class Ending:
    """A frame on its way to the end picture."""

    share: float
    """0..1, rises to 1 where the picture is reached."""
    pull: float
    """Share of the picture that is mixed into what this frame is painted from."""
    settle: float
    """Share of the picture that is mixed into this frame after it is painted."""
    strength: float
    """Strength of a frame where the picture is reached."""
    picture: str
    """The picture's file; empty for the animation's own first frame."""
    way: tuple[Params[float], ...]
    """Parameters of this frame and of those after it, up to where the picture is reached."""

    def __str__(self) -> str:
        return f"{self.share:.3g} of {self.picture or 'the first frame'}, {len(self.way) - 1} frames before it"


def plan_of(settings: Settings) -> Plan | None:
    """Return the plan of settings; None where the animation just stops."""
    if settings.max_frames < 2 or not (settings.loops or settings.ends_at_picture):
        return None
    end = settings.max_frames if settings.loops else settings.max_frames - 1
    length = settings.ending_frames or min(max(round(SECONDS * settings.fps), LEAST), end // 2)
    return Plan(end - min(max(length, 1), end), end, settings.loops)
