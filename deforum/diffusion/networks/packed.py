"""The UNet and the autoencoder in a form for processors: the same arithmetic with fewer and larger operations.

On a processor a third of an evaluation of a small network is not arithmetic: weights are brought into another layout,
and 700 calls are dispatched. The packed form

* has layers with weights in oneDNN's layout, see `deforum.models.packing`,
* computes query, key and value, and all projections of the time embedding, by one matrix product each,
* computes keys and values of the prompt once for all steps,
* leaves cells where they are in channels-last memory between convolutions and transformers,
* replaces repeating of cells and a 3x3 convolution by one convolution of the small map with a 2x2 kernel for each of
  the four positions within a cell: 4/9 of the arithmetic.

Results are those of the plain modules, except for rounding. For float32 on a CPU, in inference mode.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks import blocks
from deforum.diffusion.networks.autoencoder_kl import AutoencoderKL
from deforum.diffusion.networks.controlnet import ControlNet
from deforum.diffusion.networks.image_tokens import ImageAttention, images_of, text_of
from deforum.diffusion.networks.unet import TimeEmbedding, UNet
from deforum.models import kept_graphs
from deforum.models.branches import Inputs, adapting, current
from deforum.models.faster import Form
from deforum.models.open_vino import Graph
from deforum.models.packing import Conv, Forms, Linear, Makers, Pair, Part, Weights, is_supported, pack

Tensor = torch.Tensor
Seen = list[tuple[Tensor, Tensor, Any]]
"""Key and value (B, heads, tokens, width per head) of a prompt, then those of pictures, each with a weight."""
Keys = Mapping[nn.Module, Seen]
"""By the attention that reads them."""
Read = tuple[Keys, Tensor | None]


class Norm(Part):
    """Group normalisation, followed by SiLU unless `plain`."""

    def __init__(self, norm: nn.GroupNorm, *, plain: bool = False) -> None:
        super().__init__()
        self._groups, self._eps = norm.num_groups, norm.eps
        self._forms = Forms([norm], lambda weights: Pair(*weights[0]))
        self._plain = plain

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self._forms.now()
        is_whole = self._groups == 1 and weight is not None
        if is_whole and x.is_contiguous(memory_format=torch.channels_last):
            x = whole_norm(x, weight, bias, self._eps)
        else:
            x = torch.group_norm(x, self._groups, weight, bias, self._eps)
        return x if self._plain else torch.ops.aten.silu_.default(x)


def whole_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise each map of (B, C, H, W) in channels-last memory by the mean and variance of all of it, as one group.

    As `torch.group_norm` does, but with the same result on any number of threads, as lines are summed up one by one;
    and with a fiftieth of its error, as the variance is that of the differences from the mean.
    """
    _, channels, height, width = x.shape
    made = torch.empty_like(x, memory_format=torch.channels_last)
    for given, result in zip(x.permute(0, 2, 3, 1), made.permute(0, 2, 3, 1), strict=True):
        lines, apart = (each.view(height, width * channels) for each in (given, result))
        torch.sub(lines, float(lines.sum(1).sum()) / lines.numel(), out=apart)
        variance = float(torch.linalg.vector_norm(apart, dim=1).square().sum()) / lines.numel()
        scale = weight * (variance + eps) ** -0.5
        if bias is None:
            result *= scale
        else:
            torch.addcmul(bias, result, scale, out=result)
    return made


class Resnet(Part):
    """`blocks.Resnet`; the time embedding comes projected, as a mapping by block."""

    def __init__(self, block: blocks.Resnet) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(block.norm1), Norm(block.norm2)
        self.conv1, self.conv2 = Conv(block.conv1), Conv(block.conv2)
        self.shortcut = None if block.conv_shortcut is None else Conv(block.conv_shortcut)
        self.time = block.time_emb_proj

    def forward(self, x: Tensor, times: Mapping[nn.Module, Tensor] | None = None) -> Tensor:
        hidden = self.conv1(self.norm1(x))
        if times is not None:
            hidden += times[self]
        return self.conv2.added(self.norm2(hidden), x if self.shortcut is None else self.shortcut(x))


class SelfAttention(Part):
    """`blocks.Attention` of a sequence to itself."""

    def __init__(self, attention: blocks.Attention) -> None:
        super().__init__()
        self.read = Linear(attention.to_q, attention.to_k, attention.to_v)
        self.out, self._heads = Linear(attention.to_out[0]), attention.heads

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        query, key, value = self.read(x).view(batch, count, 3, self._heads, -1).permute(2, 0, 3, 1, 4).unbind()
        return self.out(_attend(query, key, value).transpose(1, 2).reshape(batch, count, width))


class PromptAttention(Part):
    """`blocks.Attention` to the prompt, whose keys and values are given."""

    def __init__(self, attention: blocks.Attention) -> None:
        super().__init__()
        self._read = Linear(attention.to_k, attention.to_v)
        self.query, self.out, self._heads = Linear(attention.to_q), Linear(attention.to_out[0]), attention.heads
        self._images = attention.images if isinstance(attention, ImageAttention) else None

    def read(self, tokens: Tensor) -> Seen:
        """Return keys and values of tokens (B, tokens, width)."""
        # Tokens of control units, whose attentions have no pictures, come without those of pictures.
        text = tokens if self._images is None else text_of(tokens)
        read = self._read(text).view(*text.shape[:-1], 2, self._heads, -1)
        key, value = read.permute(2, 0, 3, 1, 4).unbind()
        seen: Seen = [(key, value, 1.0)]
        for name, pictured, weight in images_of(tokens) if self._images is not None else ():
            assert self._images is not None
            parts = self._images[name](pictured)
            key, value = (part.view(*part.shape[:-1], self._heads, -1).transpose(1, 2) for part in parts)
            seen.append((key, value, weight))
        return seen

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        batch, count, width = x.shape
        query = self.query(x).view(batch, count, self._heads, -1).transpose(1, 2)
        (key, value, _), *pictures = keys[self]
        found = _attend(query, key, value)
        for key, value, weight in pictures:
            found = found + weight * _attend(query, key, value)
        return self.out(found.transpose(1, 2).reshape(batch, count, width))


class TransformerBlock(Part):
    """`blocks.TransformerBlock`."""

    def __init__(self, block: blocks.TransformerBlock) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.attn1, self.attn2 = SelfAttention(block.attn1), PromptAttention(block.attn2)
        self.gate, self.out = Linear(block.ff.net[0].proj), Linear(block.ff.net[2])

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        x = self.attn1(self.norm1(x)).add_(x)
        x = self.attn2(self.norm2(x), keys).add_(x)
        value, gate = self.gate(self.norm3(x)).chunk(2, dim=-1)
        made: Tensor = self.out(F.gelu(gate).mul_(value)).add_(x)
        return made


class Transformer(Part):
    """`blocks.Transformer`; a 1x1 convolution is a linear layer over the cells."""

    def __init__(self, block: blocks.Transformer) -> None:
        super().__init__()
        self.norm = Norm(block.norm, plain=True)
        self.proj_in, self.proj_out = Linear(block.proj_in), Linear(block.proj_out)
        plain: Iterable[Any] = block.transformer_blocks
        self.blocks = nn.ModuleList(TransformerBlock(inner) for inner in plain)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        batch, channels, height, width = x.shape
        hidden = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(batch, height * width, channels))
        for block in self.blocks:
            hidden = block(hidden, keys)
        made: Tensor = self.proj_out(hidden).view(batch, height, width, channels).permute(0, 3, 1, 2).add_(x)
        return made


class Upsample(Part):
    """`blocks.Upsample` without the large map that repeats each cell.

    A 3x3 kernel over repeated cells meets two different ones in each direction. At even positions its weights (a, b, c)
    act on the cell before and the cell itself as (a, b + c), at odd ones on the cell itself and the next as (a + b, c).
    """

    def __init__(self, block: blocks.Upsample) -> None:
        super().__init__()
        self._conv, self._channels = (block.conv,), block.conv.out_channels
        self._plain = Conv(block.conv)
        self._forms = Forms([block.conv], self._quartered)

    def _quartered(self, weights: Weights) -> Conv:
        """Return the convolution for the four positions."""
        [(weight, bias)] = weights
        rows = _halves(weight.detach(), 2)
        weight = torch.cat([part for row in rows for part in _halves(row, 3)])  # (4 * out, in, 2, 2)
        bias = None if bias is None else bias.repeat(4)
        return Conv(self._conv[0], weight=weight.contiguous(memory_format=torch.channels_last), bias=bias)

    def forward(self, x: Tensor, size: torch.Size | None = None) -> Tensor:
        batch, _, height, width = x.shape
        if size is not None and tuple(size) != (2 * height, 2 * width):
            return self._plain(F.interpolate(x, size=size))
        quarters = self._forms.now()(x)  # (B, 4 * out, h + 1, w + 1)
        shape = batch, self._channels, 2 * height, 2 * width
        made = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        for index, part in enumerate(torch.split(quarters, self._channels, dim=1)):
            row, column = divmod(index, 2)
            made[:, :, row::2, column::2] = part[:, :, row : row + height, column : column + width]
        return made


def _halves(weight: Tensor, dim: int) -> list[Tensor]:
    before, middle, after = weight.unbind(dim)
    return [torch.stack([before, middle + after], dim), torch.stack([before + middle, after], dim)]


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


PACKED: Makers = {
    nn.Conv2d: Conv,
    nn.GroupNorm: partial(Norm, plain=True),
    blocks.Resnet: Resnet,
    blocks.Transformer: Transformer,
    blocks.Upsample: Upsample,
}
"""For `packing.pack`."""


class PackedUNet:
    """A UNet in packed form. Rows of a batch are split over threads, each with its share of the cores.

    Two networks on a core each take as long as one on both where the machine is quiet, and do not wait for each other
    at each operation where other threads need a core now and then.
    """

    def __init__(self, unet: UNet | ControlNet) -> None:
        self._unet, self._packed = unet, pack(unet, PACKED)
        parts = list(self._packed.modules())
        self._attentions = [part for part in parts if isinstance(part, PromptAttention)]
        self._resnets = [part for part in parts if isinstance(part, Resnet)]
        times = [resnet.time for resnet in self._resnets if resnet.time is not None]
        self._times = Linear(*times)
        self._widths = [time.out_features for time in times]
        self._known = threading.local()
        self._idle: dict[tuple[int, int], list[ThreadPoolExecutor]] = {}
        """Crews that no thread uses now."""

    def __call__(self, x: Tensor, time: Tensor, tokens: Tensor, guidance: Tensor | None = None, *added: Tensor) -> Any:
        """Predict as `UNet.forward` does, for times (B,). What the tokens alone decide is computed once for them.

        `added` are residuals, features or both, see `UNet.apart`.
        """
        cores = torch.get_num_threads()
        crews = min(cores, len(x))
        bounds = [len(x) * crew // crews for crew in range(crews + 1)]
        rows = [slice(first, last) for first, last in pairwise(bounds)]
        inputs = current()
        known: tuple[Tensor, Inputs, list[Read]] | None = getattr(self._known, "read", None)
        if known is None or known[0] is not tokens or known[1] is not inputs:
            known = self._known.read = tokens, inputs, [self._read(tokens[row]) for row in rows]
        given = [
            (
                x[row],
                time[row],
                read,
                None if guidance is None else guidance[row],
                [each[row] for each in added],
                inputs,
            )
            for row, read in zip(rows, known[2], strict=True)
        ]
        if crews == 1:
            return self._run(*given[0][:-1])
        with self._crew(crews, cores) as pool:
            return _rejoined(list(pool.map(self._work, given)))

    @contextmanager
    def _crew(self, crews: int, cores: int) -> Iterator[ThreadPoolExecutor]:
        """Lend `crews` threads that share the cores; those of another caller are others."""
        idle = self._idle.setdefault((crews, cores), [])
        try:
            pool = idle.pop()
        except IndexError:
            pool = ThreadPoolExecutor(crews, initializer=torch.set_num_threads, initargs=(cores // crews,))
            list(pool.map(lambda meeting: meeting.wait(), [threading.Barrier(crews)] * crews))  # all of them start
            torch.set_num_threads(cores)  # the number last set by any thread is what new threads begin with
        try:
            yield pool
        finally:
            idle.append(pool)

    @torch.inference_mode()
    def _work(self, given: tuple[Tensor, Tensor, Read, Tensor | None, Sequence[Tensor], Inputs]) -> Any:
        with adapting(given[-1]):
            return self._run(*given[:-1])

    def _read(self, tokens: Tensor) -> Read:
        """Return keys and values of tokens (B, tokens, width), and their embedding, which is added to the time's."""
        embedding = None if self._unet.add_embedding is None else self._unet.add_embedding(text_of(tokens))
        return {attention: attention.read(tokens) for attention in self._attentions}, embedding

    def _run(self, x: Tensor, time: Tensor, read: Read, guidance: Tensor | None, added: Sequence[Tensor]) -> Any:
        keys, text = read
        embedding = self._unet.embed(x, time, guidance)
        embedding = embedding if text is None else embedding + text
        projected = torch.split(self._times(F.silu(embedding))[:, :, None, None], self._widths, dim=1)
        return self._evaluate(x, dict(zip(self._resnets, projected, strict=True)), keys, added)

    def _evaluate(self, x: Tensor, times: Mapping[nn.Module, Tensor], keys: Keys, added: Sequence[Tensor]) -> Any:
        return self._packed.run(x, times, keys, *self._packed.apart(added))


class PackedControlNet(PackedUNet):
    """A ControlNet in packed form, called as `ControlNet.forward` is, with None for the guidance scale."""

    def _evaluate(self, x: Tensor, times: Mapping[nn.Module, Tensor], keys: Keys, added: Sequence[Tensor]) -> Any:
        [features] = added
        return self._packed.run(x, times, keys, features)


def _rejoined(parts: Sequence[Any]) -> Any:
    """Join results of parts of a batch: tensors, or tuples of them."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def faster_forms(network: nn.Module, plain: Callable[..., Any], packed: Callable[[], Callable[..., Any]]) -> list[Form]:
    """Return the faster forms of a function `plain` of latents by a network: a graph, and what `packed` makes."""

    def pays(inputs: Sequence[Tensor | None]) -> bool:
        return inputs[0] is not None and inputs[0][0, 0].numel() >= kept_graphs.FEWEST_CELLS

    return [Form(lambda: Graph(network, plain), is_a_graph, pays), Form(packed, is_packable)]


def is_a_graph(network: Any) -> bool:
    """Whether OpenVINO may run a network where and as it is: without adapters, whose weights change."""
    return not current() and _is_usual(network) and kept_graphs.is_supported()


def is_packable(network: Any) -> bool:
    """Whether the packed forms cover a network where and as it is."""
    return _is_usual(network) and is_supported()


def _is_usual(network: Any) -> bool:
    """Whether a network is one of ours in float32 on a CPU."""
    return (
        isinstance(network, UNet | AutoencoderKL | ControlNet)
        and not isinstance(getattr(network, "add_embedding", None), TimeEmbedding)  # of XL, which is large
        and network.device.type == "cpu"
        and "computes_on" not in network.__dict__  # it waits there for its turn on a graphics card
        and network.dtype == torch.float32
    )
