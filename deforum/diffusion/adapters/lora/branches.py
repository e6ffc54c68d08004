"""The branches of a layer by the kinds of weights in LoRA files, see `file`.

Each is linear in its weight: with the weight s the layer computes (1 - s) of its own and s of what the file makes it.
Factors of a file, alpha / rank and so on, are multiplied into its matrices once, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.adapters.lora.file import Layer
from deforum.diffusion.adapters.lora.names import Rows
from deforum.models.branches import Branch

Tensor = torch.Tensor
Tensors = Mapping[str, Tensor]
"""The tensors of a layer by what they are, in float32."""


class Misfit(Exception):
    """Weights that do not fit a layer; the message says how."""


class _OfLayer(Branch):
    """A branch that computes with the geometry of its layer: stride, padding and padding mode."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = (layer,)  # in a tuple: the branch is a part of the layer, not the other way round

    def _apply_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply a weight (out, in) or (out, in, k, k) as the layer applies its own, without a bias."""
        [layer] = self._layer
        if weight.ndim == 4:
            made: Tensor = layer._conv_forward(x, weight, None)  # type: ignore[operator]
            return made
        if isinstance(layer, nn.Conv2d) and x.ndim == 4:
            made = F.conv2d(x, weight[:, :, None, None], None, layer.stride)
            return made
        return F.linear(x, weight)

    @property
    def _own(self) -> Tensor:
        """The layer's own weight."""
        return self._layer[0].weight  # type: ignore[return-value]

    def _without_bias(self, base: Tensor) -> Tensor:
        bias = getattr(self._layer[0], "bias", None)
        return base if bias is None else base - _along(bias, base)


class LowRank(_OfLayer):
    """up (down x), with a convolution between them where there is a `mid`.

    With a `gain` (out,) it also multiplies the layer's own rows by 1 + gain: a `dora_scale`.
    """

    def __init__(
        self, layer: nn.Module, down: Tensor, up: Tensor, mid: Tensor | None, gain: Tensor | None, bias: Tensor | None
    ) -> None:
        super().__init__(layer)
        for name, tensor in (("down", down), ("up", up), ("mid", mid), ("gain", gain), ("bias", bias)):
            self.register_buffer(name, tensor)

    down: Tensor
    up: Tensor
    mid: Tensor | None
    gain: Tensor | None
    bias: Tensor | None

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        down, up, mid = self.down[:ranks], self.up[:, :ranks], self.mid
        if mid is None:
            hidden = self._apply_weight(x, down)
        else:
            hidden = self._apply_weight(F.conv2d(x, down[:, :, None, None]), mid[:ranks, :ranks])
        hidden = hidden * weight
        by_channel = isinstance(self._layer[0], nn.Conv2d) and x.ndim == 4
        added = F.conv2d(hidden, up[:, :, None, None]) if by_channel else F.linear(hidden, up)
        if self.gain is not None:
            added = added + weight * _along(self.gain, base) * self._without_bias(base)
        return added if self.bias is None else added + weight * _along(self.bias, base)

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        down, up = self.down[:ranks], self.up[:, :ranks]
        if self.mid is None:
            change = up @ down.flatten(1)
        else:
            change = torch.einsum("or,rskl,si->oikl", up, self.mid[:ranks, :ranks], down).flatten(1)
        if self.gain is not None:
            change = change + self.gain[:, None] * self._own.flatten(1)
        return change, self.bias


class Kronecker(_OfLayer):
    """Kronecker's product of w1 (o1, i1) and w2 (o2, i2 (, k, k))."""

    def __init__(self, layer: nn.Module, w1: Tensor, w2: Tensor) -> None:
        super().__init__(layer)
        self.register_buffer("w1", w1)
        self.register_buffer("w2", w2)

    w1: Tensor
    w2: Tensor

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        count = self.w1.shape[1]
        if x.ndim == 4:
            inner = self._apply_weight(x.reshape(-1, x.shape[1] // count, *x.shape[2:]), self.w2)
            inner = inner.view(len(x), count, *inner.shape[1:])
            return torch.einsum("ab,nbchw->nachw", self.w1 * weight, inner).reshape(base.shape)
        inner = F.linear(x.view(*x.shape[:-1], count, -1), self.w2)
        return torch.einsum("ab,...bc->...ac", self.w1 * weight, inner).reshape(base.shape)

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        return torch.kron(self.w1 if self.w2.ndim == 2 else self.w1[:, :, None, None], self.w2), None


class Whole(_OfLayer):
    """A change of the layer's whole weight, bias, or both."""

    def __init__(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None) -> None:
        super().__init__(layer)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    weight: Tensor | None
    bias: Tensor | None

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        added: Tensor | float = 0.0 if self.bias is None else _along(self.bias, base)
        if self.weight is not None:
            added = self._apply_weight(x, self.weight) + added
        made: Tensor = added * weight
        return made

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        return self.weight, self.bias


class OfNorm(_OfLayer):
    """A change of the factors and offsets of a norm."""

    def __init__(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None) -> None:
        super().__init__(layer)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    weight: Tensor | None
    bias: Tensor | None

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        [layer] = self._layer
        if isinstance(layer, nn.GroupNorm):
            added = F.group_norm(x, layer.num_groups, self.weight, self.bias, layer.eps)
        else:
            assert isinstance(layer, nn.LayerNorm)
            added = F.layer_norm(x, layer.normalized_shape, self.weight, self.bias, layer.eps)
        if self.weight is None:  # the norms' own factors are 1 then
            added = torch.zeros_like(base) if self.bias is None else _along(self.bias, base).expand_as(base)
        made: Tensor = added * weight
        return made

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        return self.weight, self.bias


class Scaled(_OfLayer):
    """Factors of the rows (out,) or columns (in,) of the layer's weight, as additions to 1 (IA3)."""

    def __init__(self, layer: nn.Module, factors: Tensor, *, on_input: bool) -> None:
        super().__init__(layer)
        self.register_buffer("factors", factors)
        self._on_input = on_input

    factors: Tensor

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        if not self._on_input:
            made: Tensor = weight * _along(self.factors, base) * self._without_bias(base)
            return made
        own: Any = self._layer[0].weight
        if own.ndim == 4 and x.ndim < 4:
            own = own.flatten(1)
        return self._apply_weight(weight * _along(self.factors, x) * x, own)

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        own = self._own.flatten(2) if self._own.ndim > 2 else self._own[:, :, None]
        return own * (self.factors[None, :, None] if self._on_input else self.factors[:, None, None]), None


class Turned(_OfLayer):
    """Rotations (count, n, n) of blocks of the layer's rows, and a factor (out,) of each (OFT, arXiv 2306.07280)."""

    def __init__(self, layer: nn.Module, turns: Tensor, factors: Tensor | None) -> None:
        super().__init__(layer)
        self.register_buffer("turns", turns)
        self.register_buffer("factors", factors)

    turns: Tensor
    factors: Tensor | None

    def forward(self, x: Tensor, base: Tensor, weight: Any, ranks: int | None) -> Tensor:
        axis = _axis(base)
        own = self._without_bias(base).movedim(axis, -1)
        turned = torch.einsum(
            "knm,...kn->...km", self.turns, own.reshape(*own.shape[:-1], *self.turns.shape[:2])
        ).flatten(-2)
        if self.factors is not None:
            turned = turned * self.factors
        made: Tensor = ((turned - own) * weight).movedim(-1, axis)
        return made

    def change(self, ranks: int | None) -> tuple[Tensor | None, Tensor | None]:
        own = self._own.flatten(1)
        turned = torch.einsum("knm,knc->kmc", self.turns, own.view(*self.turns.shape[:2], -1)).flatten(0, 1)
        return (turned if self.factors is None else turned * self.factors[:, None]) - own, None


def make_branch(layer: nn.Module, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    """Make the branch of a layer from the tensors of a file; `rows`: see `names.Target`. Raises Misfit."""
    kind = file_layer.kind
    if "magnitude" in tensors:  # PEFT's, always of the rows
        tensors = {**tensors, "dora": tensors["magnitude"].flatten()}
    if kind in ("norm", "diff") and isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        change, bias = (
            tensors.get(one, tensors.get(other)) for one, other in (("w_norm", "diff"), ("b_norm", "diff_b"))
        )
        _check(layer, *(each.shape for each in (change, bias) if each is not None))
        return _like(layer, OfNorm(layer, change, bias))
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise Misfit(f"changes of a {type(layer).__name__} are not supported")
    if rows is not None and kind in ("ia3", "oft"):
        raise Misfit(f"{kind.upper()} of query, key and value in one is not supported")
    return _like(layer, _MAKERS[kind](layer, file_layer, tensors, rows))


def _low_rank(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    down, up, mid = tensors["down"], tensors["up"].flatten(1), tensors.get("mid")
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise Misfit(f"up {_size(tensors['up'])} and down {_size(down)} have different ranks")
    up = _rows(up * _scale(file_layer, tensors, rank), rows)
    down = _fitted(layer, down) if mid is None else down.flatten(1)
    bias = tensors.get("up_bias")
    if mid is None:
        dense = lambda: (up @ down.flatten(1)).view(layer.weight.shape)  # noqa: E731
        _check_weight(layer, (len(up), *down.shape[1:]))
    else:
        dense = lambda: torch.einsum("or,rskl,si->oikl", up, mid, down)  # noqa: E731
        _check_weight(layer, (len(up), down.shape[1], *mid.shape[2:]))
    return _weighed(layer, tensors, rows, dense, lambda gain: LowRank(
        layer, down, up if gain is None else up * (1 + gain)[:, None], mid, gain,
        None if bias is None else _rows(bias, rows),
    ))  # fmt: skip


def _hada(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    w1a, w1b, w2a, w2b = (tensors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    scale = _scale(file_layer, tensors, w1b.shape[0])
    if "hada_t1" in tensors:
        whole = _tucker(tensors["hada_t1"], w1a, w1b) * _tucker(tensors["hada_t2"], w2a, w2b) * scale
        return _dense(layer, tensors, rows, whole)
    rank = w1b.shape[0] * w2b.shape[0]
    own = layer.weight
    if tensors.get("dora") is None and rank * (own.shape[0] + own[0].numel()) < own.numel() / 2:
        # The product of two matrices of low rank, entry by entry, has the product of their ranks.
        up = (w1a[:, :, None] * w2a[:, None, :]).flatten(1) * scale
        down = (w1b[:, None] * w2b[None]).flatten(0, 1)
        up = _rows(up, rows)
        if (len(up), down.shape[1]) != (len(own), own[0].numel()):
            _check_weight(layer, (len(up), down.shape[1]))
        return LowRank(layer, down.view(rank, *own.shape[1:]) if own[0, 0].numel() > 1 else down, up, None, None, None)
    return _dense(layer, tensors, rows, (w1a @ w1b) * (w2a @ w2b) * scale)


def _lokr(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    rank = next((tensors[name].shape[0] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors), None)
    scale = 1.0 if rank is None else _scale(file_layer, tensors, rank)  # two whole factors are not scaled
    w1 = tensors["lokr_w1"] if "lokr_w1" in tensors else tensors["lokr_w1_a"] @ tensors["lokr_w1_b"]
    if "lokr_w2" in tensors:
        w2 = tensors["lokr_w2"]
    elif "lokr_t2" in tensors:
        w2 = _tucker(tensors["lokr_t2"], tensors["lokr_w2_a"], tensors["lokr_w2_b"])
    else:
        w2 = tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]
    own = layer.weight
    if own.ndim == 4 and w2.ndim == 2:
        w2 = w2.view(len(w2), -1, *own.shape[2:])
    w1 = w1 * scale
    if rows is not None or tensors.get("dora") is not None:
        return _dense(layer, tensors, rows, torch.kron(w1 if w2.ndim == 2 else w1[:, :, None, None], w2))
    w2 = w2.flatten(1) if w2.ndim == 4 and w2[0, 0].numel() == 1 else w2
    _check_weight(layer, (w1.shape[0] * w2.shape[0], w1.shape[1] * w2.shape[1], *w2.shape[2:]))
    return Kronecker(layer, w1, w2)


def _diff(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    bias = tensors.get("diff_b")
    if bias is not None:
        bias = _rows(bias, rows)
        if len(bias) != len(layer.weight):
            raise Misfit(f"a change of {len(bias)} offsets, where the layer has {len(layer.weight)}")
    if "diff" not in tensors:
        return Whole(layer, None, bias)
    change = _fitted(layer, _rows(tensors["diff"], rows))
    _check_weight(layer, change.shape)
    return Whole(layer, change, bias)


def _ia3(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    if "ia3_l" in tensors:  # PEFT's, around 1
        factors = tensors["ia3_l"]
        on_input = factors.ndim > 1 and factors.shape[0] == 1 and factors.numel() > 1
        factors = factors.flatten() - 1
    else:
        factors, on_input = tensors["ia3"].flatten(), bool(tensors["on_input"].flatten()[0])
    wanted = layer.weight.shape[1 if on_input else 0]
    if len(factors) != wanted:
        raise Misfit(f"{len(factors)} factors, where the layer has {wanted} {'inputs' if on_input else 'outputs'}")
    return Scaled(layer, factors, on_input=on_input)


def _oft(layer: Any, file_layer: Layer, tensors: Tensors, rows: Rows | None) -> Branch:
    is_kohya = "oft_blocks" in tensors
    blocks = tensors["oft_blocks" if is_kohya else "oft_diag"]
    if blocks.ndim != 3:
        raise Misfit("butterflies of rotations (BOFT) are not supported")
    count, size, _ = blocks.shape
    if count * size != len(layer.weight):
        raise Misfit(f"{count} rotations of {size} rows, where the layer has {len(layer.weight)}")
    turns = blocks
    if is_kohya:
        eye, skew = torch.eye(size), blocks - blocks.transpose(1, 2)
        if "alpha" in tensors and float(tensors["alpha"]) != 0:
            # alpha is how far they may turn, for each row of the layer
            norm = skew.norm()
            skew = skew * (norm.clamp(max=float(tensors["alpha"]) * len(layer.weight)) + 1e-8) / (norm + 1e-8)
        turns = (eye + skew) @ torch.linalg.inv(eye - skew)
    factors = tensors.get("rescale")
    return Turned(layer, turns, None if factors is None else factors.flatten())


_MAKERS: Mapping[str, Callable[[Any, Layer, Tensors, Rows | None], Branch]] = {
    "lora": _low_rank,
    "hada": _hada,
    "lokr": _lokr,
    "diff": _diff,
    "ia3": _ia3,
    "oft": _oft,
}


def _scale(file_layer: Layer, tensors: Tensors, rank: int) -> float:
    """Return the factor of a change: alpha / rank, or what the file says."""
    factor = 1.0
    for name in ("scalar", "scale"):
        if name in tensors:
            factor *= float(tensors[name].flatten()[0])
    alpha = float(tensors["alpha"].flatten()[0]) if "alpha" in tensors else file_layer.alpha
    if alpha is None:
        return factor
    return factor * alpha / (math.sqrt(rank) if file_layer.root else rank)


def _weighed(
    layer: Any,
    tensors: Tensors,
    rows: Rows | None,
    dense: Callable[[], Tensor],
    make: Callable[[Tensor | None], Branch],
) -> Branch:
    """Make a branch with the gain of the layer's rows that a `dora_scale` asks for."""
    lengths = tensors.get("dora")
    if lengths is None:
        return make(None)
    own = layer.weight.detach().float()
    if _is_by_input(lengths, own):
        return Whole(layer, _with_lengths(own, dense(), lengths), None)
    lengths = _rows(lengths.flatten(), rows)
    if len(lengths) != len(own):
        raise Misfit(f"a dora_scale of {len(lengths)} rows, where the layer has {len(own)}")
    return make(lengths / _norms(own + dense()) - 1)


def _dense(layer: Any, tensors: Tensors, rows: Rows | None, change: Tensor) -> Branch:
    """Make the branch of a change that is not of low rank."""
    change = _rows(change, rows)
    own = layer.weight.detach().float()
    if change.numel() != own.numel() or len(change) != len(own):
        raise Misfit(f"a change of {_size(change)}, where the layer's weight is {_size(own)}")
    change = change.view(own.shape)
    lengths = tensors.get("dora")
    if lengths is not None:
        if _is_by_input(lengths, own):
            change = _with_lengths(own, change, lengths)
        else:
            gain = _rows(lengths.flatten(), rows) / _norms(own + change)
            change = (own + change) * gain.view(-1, *[1] * (own.ndim - 1)) - own
    return Whole(layer, _fitted(layer, change), None)


def _norms(weight: Tensor) -> Tensor:
    norms: Tensor = weight.flatten(1).norm(dim=1) + torch.finfo(torch.float32).eps
    return norms


def _is_by_input(lengths: Tensor, own: Tensor) -> bool:
    """Whether a dora_scale has a length for each input: (1, in); for each output it is (out,), or (out, 1)."""
    shape = lengths.shape
    return lengths.ndim > 1 and shape[0] == 1 and shape[1] == own.shape[1]


def _with_lengths(own: Tensor, change: Tensor, lengths: Tensor) -> Tensor:
    """Return the change of a weight whose columns get their lengths."""
    made = own + change
    norms = made.transpose(0, 1).flatten(1).norm(dim=1) + torch.finfo(torch.float32).eps
    change_of_lengths: Tensor = made * (lengths.flatten() / norms).view(1, -1, *[1] * (own.ndim - 2)) - own
    return change_of_lengths


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return a convolution's weight from its core (r, r, k, k) and factors (r, out), (r, in)."""
    return torch.einsum("rskl,ro,si->oikl", core, a, b).contiguous()


def _rows(weight: Tensor, rows: Rows | None) -> Tensor:
    return weight if rows is None else torch.cat([weight[first:last] for first, last in rows])


def _fitted(layer: Any, weight: Tensor) -> Tensor:
    """Return a weight in the form of the layer's: a 1x1 convolution as a matrix, and a flat one as a convolution."""
    own = layer.weight
    if weight.ndim == 4 and weight[0, 0].numel() == 1:
        return weight.flatten(1)
    if weight.ndim == 2 and own.ndim == 4 and own[0, 0].numel() > 1 and weight.shape[1] == own[0].numel():
        return weight.view(-1, *own.shape[1:])
    return weight


def _check_weight(layer: Any, shape: tuple[int, ...]) -> None:
    """Check the shape of a change; a 1x1 convolution's may be that of a matrix."""
    own = tuple(layer.weight.shape)
    if tuple(shape) != own and (*shape, 1, 1) != own:
        raise Misfit(f"a change of {' x '.join(map(str, shape))}, where the layer's weight is {_size(layer.weight)}")


def _check(layer: Any, *shapes: torch.Size) -> None:
    if any(shape.numel() != layer.weight.numel() for shape in shapes):
        raise Misfit(f"{shapes[0].numel()} factors, where the norm has {layer.weight.numel()}")


def _like(layer: Any, branch: Branch) -> Branch:
    """Give a branch the precision and the place of its layer."""
    return branch.to(layer.weight.device, layer.weight.dtype).requires_grad_(False)


def _axis(x: Tensor) -> int:
    return 1 if x.ndim == 4 else -1


def _along(values: Tensor, x: Tensor) -> Tensor:
    """Return values per channel in a shape that broadcasts to `x`."""
    return values[:, None, None] if x.ndim == 4 else values


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
