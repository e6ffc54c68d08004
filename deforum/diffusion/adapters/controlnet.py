"""Control units: ControlNets, which add residuals to a UNet in each step, and T2I-Adapters, which do it once a frame.

Convention: step n of N, counted from 0, is controlled if start <= n / N <= end, both ends included; N counts the steps
that are run. Rows of a batch are the pulls of `families.model.in_rounds`: all frames with the first, then the second.

Sources: Zhang, Rao, Agrawala, arXiv 2302.05543; Mou et al., arXiv 2302.08453. Priorities are those of the web UI's
extension, see `Control.priority`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch.nn.functional import interpolate

from deforum.diffusion.deep_cache import Added
from deforum.diffusion.networks.image_tokens import text_of
from deforum.models.transfer import upload
from deforum.timeline.control import Control

Tensor = torch.Tensor

SOFT = 0.825
"""Ratio of the weights of two neighbouring residuals where the prompt or the control picture prevails."""
FIRST = 12
"""Exponent of the first weight of the thirteen residuals of Stable Diffusion 1; each has one less, the last 0. So do
networks with fewer residuals, but XL's: its ten have the first ten weights. Those with more go in smaller steps."""
XL = 10
"""Number of XL's residuals."""
ADAPTER_SOFT = (0.25, 0.62, 0.825, 1.0)
"""Weights of a T2I-Adapter's features where the prompt or the control picture prevails."""

_CLOSE = 1e-6  # relative difference of two noise levels that are the same


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the rows of a batch have beside latents and times: the arguments of the UNet."""

    tokens: Tensor
    """(B, tokens, width)."""
    pooled: Tensor | None = None
    """(B, width): XL's and the transformers'."""
    sizes: Tensor | None = None
    """(B, 6) px, XL's."""
    guidance: Tensor | None = None
    """(B,), of networks that take the guidance scale."""

    def rows(self, chosen: Tensor) -> Inputs:
        given = self.tokens, self.pooled, self.sizes, self.guidance
        return Inputs(*(None if each is None else each[chosen] for each in given))  # type: ignore[arg-type]


class Unit(Protocol):
    """A loaded unit. It is on its device, in the precision of the model's network."""

    @property
    def modules(self) -> Sequence[Any]:
        """All of its networks, for placing them and for a retry in float32."""

    @property
    def is_conditional(self) -> bool:
        """Whether it acts on the prompts, and not on the negative ones, whatever the priority."""

    @property
    def is_feature(self) -> bool:
        """Whether `evaluate` gives features of levels, of a T2I-Adapter, in place of residuals."""

    def see(self, pictures: Tensor, vae: Any) -> Any:
        """Return what is the same in all steps, from pictures (F, 3, H, W) on the device in the unit's precision.

        `vae` is the model's autoencoder, as diffusers' AutoencoderKL, for units that see latents.
        """

    def spread(self, seen: Any, rows: Tensor) -> Any:
        """Return the result of `see` for rows of a batch, given the frame of each."""

    def evaluate(self, seen: Any, x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        """Return residuals or features for rows of a batch."""


@dataclass(frozen=True, eq=False)
class Acting:
    """A control with the noise levels at which it acts, low < sigma <= high."""

    control: Control
    low: float
    high: float

    @property
    def weight(self) -> float:
        return self.control.weight

    def at(self, sigma: float) -> float:
        """Return its weight at a noise level."""
        return self.weight if self.low * (1 + _CLOSE) < sigma <= self.high * (1 + _CLOSE) else 0.0


def acting(controls: Sequence[Control], sigmas: Sequence[float]) -> tuple[Acting, ...]:
    """Return the controls of a run over the noise levels `sigmas` (N + 1), descending: see the convention."""
    levels = [float(sigma) for sigma in sigmas]
    count = len(levels) - 1
    found = []
    for control in controls:
        first = max(math.ceil(control.start * count - 1e-9), 0)
        last = min(math.floor(control.end * count + 1e-9), count - 1)
        low, high = (levels[last + 1], levels[first]) if first <= last else (math.inf, -math.inf)
        # The first level has all levels above it, for solvers that begin a step higher.
        found.append(Acting(control, low if last < count - 1 else -math.inf, math.inf if first == 0 else high))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A unit with all that is the same in the steps of a batch."""

    unit: Unit
    controls: Sequence[Acting]
    """That of each frame."""
    rows: Tensor | None
    """The rows on which it acts; None: all."""
    frames: Sequence[int]
    """The frame of each of its rows."""
    inputs: Inputs
    seen: Any
    mask: Tensor | None
    """(B, 1, H, W) for its rows."""
    masks: dict[torch.Size, Tensor] = field(default_factory=dict)

    def at(self, x: Tensor, time: Tensor, sigma: float) -> tuple[Tensor, ...]:
        """Return its weighted residuals or features for all rows; () where it does not act."""
        weights = [self.controls[frame].at(sigma) for frame in self.frames]
        if not any(weights):
            return ()
        own = (x, time) if self.rows is None else (x[self.rows], time[self.rows])
        found = self.unit.evaluate(self.seen, *own, self.inputs)
        return tuple(
            self._whole(self._weighted(each, factor, weights, x.shape[2:]), len(x))
            for each, factor in zip(found, self._factors(len(found)), strict=True)
        )

    def _factors(self, count: int) -> Sequence[float]:
        if self.controls[0].control.priority == "balanced":
            return (1.0,) * count
        if self.unit.is_feature:
            return ADAPTER_SOFT[:count]
        last = FIRST if count == XL else count - 1
        step = min(1.0, FIRST / max(last, 1))
        return [SOFT ** (step * (last - index)) for index in range(count)]

    def _weighted(self, made: Tensor, factor: float, weights: Sequence[float], size: torch.Size) -> Tensor:
        if len(set(weights)) > 1:
            each = upload(torch.tensor(weights), made.device).to(made.dtype)
            made = made * each.view(-1, *[1] * (made.ndim - 1)) * factor
        elif weights[0] * factor != 1:
            made = made * (weights[0] * factor)
        return made if self.mask is None else made * self._masked(made, size)

    def _masked(self, made: Tensor, latents: torch.Size) -> Tensor:
        """Return the mask at the size of a feature map, or for tokens, each of which is a cell of 2x2 latents."""
        size = made.shape[2:] if made.ndim == 4 else torch.Size([-(-side // 2) for side in latents])
        if size not in self.masks:
            assert self.mask is not None
            self.masks[size] = interpolate(self.mask, size=size, mode="area").to(made.dtype)
        return self.masks[size] if made.ndim == 4 else self.masks[size].flatten(2).transpose(1, 2)

    def _whole(self, made: Tensor, count: int) -> Tensor:
        """Put the rows of a unit that acts on some into those of the batch; the others are 0."""
        if self.rows is None:
            return made
        whole = made.new_zeros((count, *made.shape[1:]))
        whole = whole.contiguous(memory_format=torch.channels_last) if made.ndim == 4 else whole
        return whole.index_copy_(0, self.rows, made)


class Controls:
    """The units of a batch of frames; all frames have the same units, in the same order."""

    def __init__(
        self,
        frames: Sequence[Sequence[Acting]],
        negative: Sequence[bool],
        inputs: Inputs,
        dtype: torch.dtype,
        device: torch.device,
        vae: Any = None,
    ) -> None:
        """`negative` tells of each row of the batch whether it is a negative prompt's; `vae`: see `Unit.see`."""
        self._dtype = dtype
        self._units = [_prepared(controls, negative, inputs, device, vae) for controls in zip(*frames, strict=True)]

    def at(self, x: Tensor, time: Tensor, sigma: float) -> Added:
        """Return what the units add to the network's evaluation of scaled latents x (B, C, h, w) at times (B,)."""
        added = Added()
        for unit in self._units:
            found = [each.to(self._dtype) for each in unit.at(x, time, sigma)]
            if unit.unit.is_feature:
                added = replace(added, features=_sum(added.features, found))
            else:
                added = replace(added, residuals=_sum(added.residuals, found))
        return added


def _prepared(
    controls: Sequence[Acting], negative: Sequence[bool], inputs: Inputs, device: torch.device, vae: Any
) -> _Prepared:
    unit: Unit = controls[0].control.unit
    network = unit.modules[0]
    dtype: torch.dtype = next(network.parameters()).dtype
    rows = [row % len(controls) for row in range(len(negative))]
    chosen: Tensor | None = None
    if (unit.is_conditional or controls[0].control.priority == "control") and any(negative):
        own = [row for row, is_negative in enumerate(negative) if not is_negative]
        chosen, rows = upload(torch.tensor(own), device), [rows[row] for row in own]
        inputs = inputs.rows(chosen)
    order = upload(torch.tensor(rows), device)
    pictures = torch.stack([upload(each.control.picture, device) for each in controls])
    seen = unit.spread(unit.see(pictures.to(dtype, memory_format=torch.channels_last), vae), order)
    masks = [each.control.mask for each in controls]
    mask: Tensor | None = None
    if any(each is not None for each in masks):
        whole = torch.ones(pictures.shape[2:])
        mask = torch.stack([upload(whole if each is None else each, device) for each in masks])[:, None][order]
    return _Prepared(unit, controls, chosen, rows, inputs, seen, mask)


def _sum(one: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Add residuals or features of two units; one of them may have none, or none for a model's last blocks."""
    pairs = zip_longest(one, other)
    return tuple(b if a is None else a if b is None else a + b for a, b in pairs)


# --- the kinds of units -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class OwnUnit:
    """A ControlNet as one of `networks.controlnet`."""

    network: Any
    """Called as `ControlNet.forward`."""
    reader: Any
    """Its layers that read the control picture."""
    run: Callable[..., Any]
    """The network, or a faster form of it."""
    pools: bool = False
    """Whether residuals are averaged over the picture, as for networks that take over a style (shuffle)."""
    is_feature: bool = False

    @property
    def modules(self) -> tuple[Any, ...]:
        return self.network, self.reader

    @property
    def is_conditional(self) -> bool:
        return self.pools

    def see(self, pictures: Tensor, vae: Any = None) -> Tensor:
        features: Tensor = self.reader(pictures)
        return features

    def spread(self, seen: Tensor, rows: Tensor) -> Tensor:
        return seen[rows].contiguous(memory_format=torch.channels_last)

    def evaluate(self, seen: Tensor, x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        dtype = seen.dtype
        tokens = text_of(inputs.tokens).to(dtype)  # the same object where nothing is to do
        found: tuple[Tensor, ...]
        if inputs.pooled is None:
            found = self.run(x.to(dtype), time, tokens, None, seen)
        else:
            found = self.run(x.to(dtype), time, tokens, None, seen, inputs.pooled.to(dtype), inputs.sizes)
        return tuple(each.mean((2, 3), keepdim=True).expand_as(each) for each in found) if self.pools else found


@dataclass(frozen=True, eq=False)
class LibraryUnit:
    """A ControlNet of the library's own class, for configurations that ours does not have, and the union of several."""

    network: Any
    """Called with latents, times, tokens, picture and XL's conditioning; see `adapters.load.Flat`."""
    pools: bool = False
    is_feature: bool = False

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.network,)

    @property
    def is_conditional(self) -> bool:
        return self.pools

    def see(self, pictures: Tensor, vae: Any = None) -> Tensor:
        return pictures

    def spread(self, seen: Tensor, rows: Tensor) -> Tensor:
        return seen[rows].contiguous(memory_format=torch.channels_last)

    def evaluate(self, seen: Tensor, x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        dtype = seen.dtype
        more: Mapping[str, Any] = {}
        if inputs.pooled is not None:
            more = {"text_embeds": inputs.pooled.to(dtype), "time_ids": inputs.sizes}
        found: tuple[Tensor, ...] = self.network(x.to(dtype), time, text_of(inputs.tokens).to(dtype), seen, **more)
        return tuple(each.mean((2, 3), keepdim=True).expand_as(each) for each in found) if self.pools else found


@dataclass(frozen=True, eq=False)
class AdapterUnit:
    """A T2I-Adapter: its features depend on the picture alone."""

    network: Any
    """The library's T2IAdapter."""
    channels: int = 3
    """Of its pictures: 1 for adapters of lines."""
    is_conditional: bool = False
    is_feature: bool = True

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.network,)

    def see(self, pictures: Tensor, vae: Any = None) -> Sequence[Tensor]:
        features: Sequence[Tensor] = self.network(pictures[:, : self.channels])
        return features

    def spread(self, seen: Sequence[Tensor], rows: Tensor) -> Sequence[Tensor]:
        return [each[rows].contiguous(memory_format=torch.channels_last) for each in seen]

    def evaluate(self, seen: Sequence[Tensor], x: Tensor, time: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        return tuple(seen)
