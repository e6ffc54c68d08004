"""Networks in ncnn's files, run by torch: NAME.param lists layers, NAME.bin has their numbers, in the same order.

Only the layers of convolutional upscalers are known. Nothing in a file is executed; what it says is checked against its
size. Source: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from deforum.errors import UserError
from deforum.limits import NETWORK_LAYERS, NETWORK_LIST, WEIGHTS

MAGIC = "7767517"
_HALF, _PLAIN, _EXACT = 0x01306B47, 0, 0x0002C056
"""Tags of numbers: 16 bits, 32 bits, and 32 bits that ncnn leaves as they are."""
_ARRAY = -23300
"""An array of a layer has this less its number as key."""


@dataclass(frozen=True)
class Layer:
    """A line of NAME.param."""

    kind: str
    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    numbers: Mapping[int, float] = field(default_factory=dict)
    arrays: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    def whole(self, key: int, default: int = 0) -> int:
        return int(self.numbers.get(key, default))


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Read the list of layers. Raises UserError where it is none, or has layers that are not known."""
    try:
        size = path.stat().st_size
        NETWORK_LIST.check(size, f"{path}: the list")
        text = path.read_text("ascii")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(
            f"{path}: not ncnn's list of layers as text; expected a file that begins with {MAGIC}"
        ) from None
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [MAGIC]:
        raise UserError(f"{path}: not ncnn's list of layers; expected a file that begins with {MAGIC}")
    NETWORK_LAYERS.check(len(lines), f"{path}: the list")
    layers = []
    for number, words in enumerate(lines[2:], 3):
        try:
            layers.append(_layer(words))
        except (ValueError, IndexError, OverflowError):
            raise UserError(f"{path}:{number}: this is no layer of ncnn's") from None
    unknown = sorted({layer.kind for layer in layers} - set(_RUN) - set(_PASSED))
    if unknown:
        raise UserError(f"{path}: has layers that are not known here: {', '.join(unknown)[:200]}; expected an upscaler")
    return tuple(layers)


def _layer(words: Sequence[str]) -> Layer:
    kind, name, takes, gives = words[0], words[1], int(words[2]), int(words[3])
    if min(takes, gives) < 0 or len(words) < 4 + takes + gives:
        raise ValueError
    blobs, rest = words[4 : 4 + takes + gives], words[4 + takes + gives :]
    numbers: dict[int, float] = {}
    arrays: dict[int, tuple[float, ...]] = {}
    for word in rest:
        key, _, value = word.partition("=")
        if int(key) <= _ARRAY:
            count, *values = value.split(",")
            if int(count) != len(values):
                raise ValueError
            arrays[_ARRAY - int(key)] = tuple(map(float, values))
        else:
            numbers[int(key)] = float(value)
    return Layer(kind, name, tuple(blobs[:takes]), tuple(blobs[takes:]), numbers, arrays)


class _Numbers:
    """NAME.bin, read from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            WEIGHTS.check(path.stat().st_size, f"{path}: the file")
            self._content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        self._at = 0

    def plain(self, count: int) -> torch.Tensor:
        return self._take(count, np.dtype("<f4"))

    def tagged(self, count: int) -> torch.Tensor:
        tag = int(self._take(1, np.dtype("<u4"), plain=False)[0])
        if tag == _HALF:
            values = self._take(count, np.dtype("<f2"))
            self._at += -self._at % 4
            return values
        if tag in (_PLAIN, _EXACT):
            return self.plain(count)
        raise UserError(f"{self.path}: has numbers of a kind that is not read (quantized); expected 16 or 32 bits")

    def _take(self, count: int, kind: np.dtype[np.generic], plain: bool = True) -> torch.Tensor:
        end = self._at + count * kind.itemsize
        if count < 0 or end > len(self._content):
            raise UserError(f"{self.path}: is too short for its list of layers; fetch both files again")
        values = np.frombuffer(self._content, kind, count, self._at)
        self._at = end
        return torch.from_numpy(values.astype(np.float32 if plain else np.int64))

    def end(self) -> None:
        if self._at != len(self._content):
            raise UserError(f"{self.path}: is longer than its list of layers says; fetch both files again")


class NcnnNet(nn.Module):
    """A network of ncnn's layers: pictures (N, 3, H, W) in 0..1 to larger ones, which may overshoot."""

    def __init__(self, layers: Sequence[Layer], weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self._uses = Counter(blob for layer in layers for blob in layer.takes)
        for name, value in weights.items():
            self.register_buffer(name, value)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        blobs: dict[str, torch.Tensor] = {}
        left = Counter(self._uses)
        result = pictures
        for number, layer in enumerate(self.layers):
            if layer.kind == "Input":
                blobs[layer.gives[0]] = pictures
                continue
            taken = [blobs[blob] for blob in layer.takes]
            for blob in layer.takes:  # what no later layer takes is freed
                left[blob] -= 1
                if not left[blob]:
                    blobs.pop(blob, None)
            if layer.kind in _PASSED:
                blobs |= dict.fromkeys(layer.gives, taken[0])
                continue
            weights = [
                getattr(self, _key(number, part)) for part in ("weight", "bias") if hasattr(self, _key(number, part))
            ]
            result = _RUN[layer.kind](layer, taken, weights)
            blobs[layer.gives[0]] = result
        return result


def _key(number: int, part: str) -> str:
    return f"{part}_{number}"


def load_ncnn(path: Path) -> NcnnNet:
    """Load a network from its two files, of which one is named. Raises UserError where they are damaged."""
    listed, content = path.with_suffix(".param"), path.with_suffix(".bin")
    layers, numbers = read_layers(listed), _Numbers(content)
    weights: dict[str, torch.Tensor] = {}
    for number, layer in enumerate(layers):
        if layer.kind == "Convolution":
            shape = _conv_shape(layer, listed)
            weights[_key(number, "weight")] = numbers.tagged(prod(shape)).reshape(shape)
            if layer.whole(5):
                weights[_key(number, "bias")] = numbers.plain(shape[0])
        elif layer.kind == "PReLU":
            weights[_key(number, "weight")] = numbers.plain(layer.whole(0))
    numbers.end()
    net = NcnnNet(layers, weights).eval()
    try:
        with torch.inference_mode():
            made = net(torch.zeros(1, 3, 16, 16))
    except (RuntimeError, KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{listed}: not a network that makes a picture of one ({str(error).splitlines()[0]})") from None
    if made.shape[:2] != (1, 3) or min(made.shape[2:]) < 16:
        raise UserError(f"{listed}: makes {tuple(made.shape)} of a picture (1, 3, 16, 16); expected an upscaler")
    return net


def _conv_shape(layer: Layer, path: Path) -> tuple[int, int, int, int]:
    """Return the shape of a convolution's weights: outputs, inputs, height, width."""
    outputs, width = layer.whole(0), layer.whole(1)
    height, count = layer.whole(11, width), layer.whole(6)
    inputs, rest = divmod(count, max(outputs * width * height, 1))
    if min(outputs, width, height, inputs) < 1 or rest:
        raise UserError(f"{path}: the convolution {layer.name[:80]} has a shape that is none")
    return outputs, inputs, height, width


# --- layers -----------------------------------------------------------------------------------------------------------

Taken = Sequence[torch.Tensor]


def _activated(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    slope = layer.arrays.get(10, (0.0,))
    match layer.whole(9):
        case 0:
            return x
        case 1:
            return F.relu(x)
        case 2:
            return F.leaky_relu(x, slope[0])
        case other:
            raise ValueError(f"activation {other} is not known")


def _convolution(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    dilation, stride, pad = layer.whole(2, 1), layer.whole(3, 1), layer.whole(4)
    pads = (layer.whole(14, pad), pad)
    bias = weights[1] if len(weights) > 1 else None
    made = F.conv2d(
        taken[0], weights[0], bias, (layer.whole(13, stride), stride), pads, (layer.whole(12, dilation), dilation)
    )
    return _activated(layer, made)


def _prelu(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    return F.prelu(taken[0], weights[0])


def _relu(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    return F.leaky_relu(taken[0], layer.numbers.get(0, 0.0))


def _shuffle(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    if layer.whole(1):
        raise ValueError("its PixelShuffle has another order of channels")
    return F.pixel_shuffle(taken[0], layer.whole(0, 1))


def _resize(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    mode = {1: "nearest", 2: "bilinear", 3: "bicubic"}[layer.whole(0)]
    height, width = taken[0].shape[2:]
    size = int(height * layer.numbers.get(1, 1.0)), int(width * layer.numbers.get(2, 1.0))
    if max(size) > 16 * max(height, width) or min(size) < 1 or layer.whole(6):
        raise ValueError("its Interp is of a kind that is not known")
    return F.interpolate(taken[0], size, mode=mode, align_corners=None if mode == "nearest" else False)


def _binary(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    other = torch.full((1,), layer.numbers.get(2, 0.0)).to(taken[0]) if layer.whole(1) else taken[1]
    match layer.whole(0):
        case 0:
            return taken[0] + other
        case 1:
            return taken[0] - other
        case 2:
            return taken[0] * other
        case operation:
            raise ValueError(f"operation {operation} of BinaryOp is not known")


def _eltwise(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    if layer.whole(0) == 0:
        return taken[0] * taken[1]
    if layer.whole(0) != 1:
        raise ValueError("its Eltwise is of a kind that is not known")
    shares = layer.arrays.get(1, (1.0,) * len(taken))
    return sum((share * each for share, each in zip(shares[1:], taken[1:], strict=True)), shares[0] * taken[0])


def _concat(layer: Layer, taken: Taken, weights: Taken) -> torch.Tensor:
    return torch.cat(list(taken), layer.whole(0) + 1)


_RUN: Mapping[str, Callable[[Layer, Taken, Taken], torch.Tensor]] = {
    "Convolution": _convolution,
    "PReLU": _prelu,
    "ReLU": _relu,
    "PixelShuffle": _shuffle,
    "Interp": _resize,
    "BinaryOp": _binary,
    "Eltwise": _eltwise,
    "Concat": _concat,
}
_PASSED = ("Input", "Split", "Noop")
