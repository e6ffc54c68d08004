"""What a control unit, such as a ControlNet, is given for one frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import torch

Priority = Literal["balanced", "prompt", "control"]
"""What prevails: with "prompt" a unit acts less in the finer blocks, with "control" so too, and on the prompt's part of
the guidance alone, so that guidance amplifies it."""


@dataclass(frozen=True, eq=False)
class Control:
    """A unit with its picture and strength."""

    unit: Any
    """The loaded unit, see `deforum.diffusion.adapters.controlnet`."""
    picture: torch.Tensor
    """(3, H, W), 0..1, of the frame's size: lines, depth or what the unit was made for. -1: to be painted (inpaint)."""
    weight: float
    start: float
    """Share of the steps before which it does not act."""
    end: float
    """Share of the steps after which it does not act."""
    priority: Priority = "balanced"
    mask: torch.Tensor | None = None
    """(H, W): where it acts, 1, and where it does not, 0; None: everywhere."""
    number: int = 1
    """Of the unit, as in its settings, cn_1_model."""

    def seen(self, view: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Return the control with a view of its picture and mask, (C, H, W) each, such as an enlarged region."""
        mask = None if self.mask is None else view(self.mask[None])[0]
        return replace(self, picture=view(self.picture), mask=mask)
