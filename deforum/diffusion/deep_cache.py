"""Reuse of a UNet's deep features over several steps (Ma, Fang, Wang: DeepCache, arXiv 2312.00858).

The features of the lower resolutions change little from step to step. A full evaluation also returns what enters the
last block on the way up; an evaluation that is given it computes the first block down and the last block up alone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


class _Box(threading.local):
    """What the blocks of one evaluation share: the deep features that were given, or those that were found.

    Threads that evaluate the network at once have one each.
    """

    given: Tensor | None = None
    found: Tensor | None = None


class _Deep(nn.Module):
    """A deep block of our UNet or of diffusers', which runs only where no deep features are given."""

    block: Any

    def __init__(self, block: nn.Module, box: _Box, *, is_last: bool = False) -> None:
        """`is_last`: its result is the deep features."""
        super().__init__()
        self.block = block
        self._box, self._is_last = box, is_last

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        box = self._box
        if box.given is None:
            made = self.block(*args, **kwargs)
            if self._is_last:
                box.found = made
            return made
        x = args[0] if args else kwargs["hidden_states"]
        if hasattr(self.block, "downsamplers"):
            # As many results for the way up as the block makes; nothing reads them.
            return x, (x,) * (len(self.block.resnets) + len(self.block.downsamplers or ()))
        if hasattr(self.block, "upsamplers"):
            for given in args:
                if isinstance(given, list):  # our UNet's blocks take their share of the results off the end
                    del given[len(given) - len(self.block.resnets) :]
        return box.given if self._is_last else x

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)


class DeepCache(nn.Module):
    """A UNet that takes and returns deep features. It changes the UNet's blocks, whose weights stay where they are."""

    def __init__(self, unet: Any) -> None:
        """Raises ValueError for a UNet of a single resolution."""
        super().__init__()
        if len(unet.down_blocks) < 2:
            raise ValueError("a UNet of one resolution has no deep features")
        self._box = box = _Box()
        self.unet = unet
        for index in range(1, len(unet.down_blocks)):
            unet.down_blocks[index] = _Deep(unet.down_blocks[index], box)
        unet.mid_block = _Deep(unet.mid_block, box)
        deepest = len(unet.up_blocks) - 1
        for index in range(deepest):
            unet.up_blocks[index] = _Deep(unet.up_blocks[index], box, is_last=index == deepest - 1)

    def forward(self, *args: Any, deep: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, C, h, w) and the deep features, those that were given where there are any."""
        self._box.given = deep
        try:
            sample: Tensor = self.unet(*args, **kwargs).sample
            found = self._box.found if deep is None else deep
            assert found is not None
            return sample, found
        finally:
            self._box.given = self._box.found = None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("unet"), name)


@dataclass(frozen=True, eq=False)
class Added:
    """What adapters add to an evaluation of a UNet; nothing by default."""

    residuals: tuple[Any, ...] = ()
    """Of ControlNets: for each result that the way up joins, and last for the middle; tensors, or numbers."""
    features: tuple[Tensor, ...] = ()
    """Of T2I-Adapters: for each level of the way down, the finest first."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The UNet's arguments for them."""
        found: dict[str, Any] = {}
        if self.residuals:
            *joined, middle = self.residuals
            found |= {"down_block_additional_residuals": joined, "mid_block_additional_residual": middle}
        return found | ({"down_intrablock_additional_residuals": list(self.features)} if self.features else {})

    def of_first_level(self, unet: Any) -> Added:
        """Return what is added to the first level alone: the others get nothing."""
        count = 1 + len(unet.down_blocks[0].resnets)
        rest = (0.0,) * (len(self.residuals) - count)
        return Added((*self.residuals[:count], *rest), self.features[:1])


NOTHING = Added()


class CachedSteps:
    """The evaluations of one frame's sampling: a full one first, and again after every `interval` evaluations."""

    def __init__(self, unet: Any, interval: int) -> None:
        self._unet, self._interval = unet, interval
        self._count, self._deep = 0, torch.empty(0)

    def __call__(self, *args: Any, added: Added = NOTHING, **kwargs: Any) -> Tensor:
        """Evaluate a `DeepCache`; returns the prediction."""
        deep = self._deep if self._count % self._interval else None
        self._count += 1
        added = added if deep is None else added.of_first_level(self._unet)
        sample: Tensor
        sample, self._deep = self._unet(*args, deep=deep, **kwargs, **added.arguments)
        return sample
