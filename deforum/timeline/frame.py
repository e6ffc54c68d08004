"""A frame, and the stretch of frames that one diffusion belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deforum.settings.params import Params
from deforum.timeline.prompts import Prompt

if TYPE_CHECKING:
    from deforum.motion.noise_map import NoiseMap


@dataclass(frozen=True)
class Frame:
    """All that a stage may know of the frame it works on."""

    index: int
    seed: int
    """Of the diffusion that this frame belongs to; in-betweens have that of their newest diffused frame."""
    subseed: int
    prompts: tuple[Prompt, ...]
    """One, or the ones that are blended."""
    sampler: str
    checkpoint: str
    params: Params[float]
    noise_map: NoiseMap | None = None
    """Where the noise of its seeds is; None: where it always is."""


@dataclass(frozen=True)
class Span:
    """A stretch of the timeline with one diffusion in it.

    `frames` are those shown, in order, and `fades` how much of the newly diffused picture is in each: 0 none, 1 all.
    """

    key: Frame
    frames: tuple[Frame, ...]
    fades: tuple[float, ...]
