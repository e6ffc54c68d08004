"""A frame, and the span of frames that one diffusion belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deforum.settings.params import Params
from deforum.timeline.control import Control
from deforum.timeline.ending import Ending
from deforum.timeline.image_tracks import ImageWord, ReferenceWord
from deforum.timeline.lora_words import LoraWord
from deforum.timeline.prompts import Prompt

if TYPE_CHECKING:
    import torch

    from deforum.motion.noise_map import NoiseMap


@dataclass(frozen=True, eq=False)
class PromptRegion:
    """A part of a frame with a prompt of its own."""

    prompt: Prompt
    mask: torch.Tensor
    """(H, W), 1 where the prompt acts alone."""


@dataclass(frozen=True)
class Frame:
    """The values of one frame that its stages may use."""

    index: int
    seed: int
    """Seed of the diffusion that this frame belongs to; in-betweens have that of their newest diffused frame."""
    subseed: int
    prompts: tuple[Prompt, ...]
    """One, or several that are blended; without the LoRAs that they name."""
    sampler: str
    checkpoint: str
    params: Params[float]
    renewal: float = 0.0
    """Share 0..1 by which this frame's picture renews the colour reference of the run, if it is painted."""
    noise_map: NoiseMap | None = None
    """Positions of the noise of its seeds; None: fixed to the screen."""
    loras: tuple[LoraWord, ...] = ()
    """Those that its positive prompts name, with weights that hold for this frame."""
    controls: tuple[Control, ...] = ()
    """The control units that act on it, whose weights are not 0."""
    grid: tuple[int, int] = (0, 0)
    """By how many px to the left and up the grid of the model's latents begins; less than a cell."""
    images: tuple[ImageWord, ...] = ()
    """The pictures that act as prompts do, with IP-Adapters."""
    reference: ReferenceWord | None = None
    regions: tuple[PromptRegion, ...] = ()
    """Set while it is painted."""
    starts_empty: bool = False
    """Without an init it is diffused from empty latents with its strength, in place of noise alone."""
    turn: int = 0
    """Number of frames that were diffused before the one that it belongs to."""
    ending: Ending | None = None
    """Set within the last frames of an animation that ends where it began, or at a picture."""
    vae: str = ""
    """The autoencoder in place of the model's own, as it is named in the settings; empty: its own."""

    @property
    def model(self) -> tuple[str, str]:
        """What names the model that diffuses it: checkpoint and vae."""
        return self.checkpoint, self.vae


@dataclass(frozen=True)
class Span:
    """A stretch of the timeline with one diffusion, of the frame `key`.

    `frames` are the frames shown, in order; `fades` the weight of the newly diffused picture in each, 0..1.
    """

    key: Frame
    frames: tuple[Frame, ...]
    fades: tuple[float, ...]
    paints: bool = True
    """False: nothing is diffused. The last diffused picture, that of `key` before the span, is moved on."""
    closes: Frame | None = None
    """Where nothing is diffused in a loop: its first frame, which follows the last one, at the index after it."""
