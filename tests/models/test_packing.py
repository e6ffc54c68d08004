"""Layers with packed weights give what torch's layers give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deforum.diffusion.adapters.lora.branches import Whole
from deforum.models import packing
from deforum.models.branches import adapting, branch_off
from deforum.models.packing import Conv, Linear, pack

pytestmark = pytest.mark.skipif(not packing.is_supported(), reason="torch without oneDNN")


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


CONVOLUTIONS = [
    nn.Conv2d(8, 12, 3, padding=1),
    nn.Conv2d(8, 12, 3, stride=2),
    nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
    nn.Conv2d(8, 16, 1),
    nn.Conv2d(8, 12, 3, padding=(2, 1), padding_mode="circular"),
    nn.Conv2d(8, 12, 3, padding=2, dilation=2),
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@torch.inference_mode()
def test_convolutions(conv: nn.Conv2d, layout: torch.memory_format) -> None:
    packed = Conv(conv)
    for shape in ((1, 8, 9, 7), (2, 8, 6, 6), (1, 8, 9, 7)):
        x = noise(*shape).to(memory_format=layout)
        right = conv(x)
        assert torch.allclose(packed(x), right, atol=1e-5)
        other = noise(*right.shape)
        assert torch.allclose(packed.added(x, other), right + other, atol=1e-5)


@torch.inference_mode()
def test_layouts_kept_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST", 2)
    conv, packed = CONVOLUTIONS[0], Conv(CONVOLUTIONS[0])
    for side in (4, 5, 6, 4):
        x = noise(1, 8, side, side)
        assert torch.allclose(packed(x), conv(x), atol=1e-5)
    assert len(packed._forms.now().made) == 2


@pytest.mark.parametrize("width", [16, 256])  # plain and packed
@torch.inference_mode()
def test_linear_layers(width: int) -> None:
    layers = [nn.Linear(width, width), nn.Linear(width, 2 * width)]
    packed = Linear(*layers)
    x = noise(2, 5, width)
    assert torch.allclose(packed(x), torch.cat([layer(x) for layer in layers], dim=-1), atol=1e-5)


@torch.inference_mode()
def test_modules_are_copied_around_packed_layers() -> None:
    whole = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 4, 1))
    whole[2].forward = lambda x: x  # a layer that was taken out
    packed = pack(whole, {nn.Conv2d: Conv})
    assert isinstance(packed[0], Conv) and isinstance(packed[1][1], Conv) and packed[2] is whole[2]
    assert isinstance(whole[1][1], nn.Conv2d)
    x = noise(1, 3, 4, 4)
    assert torch.allclose(packed(x), whole(x), atol=1e-6)


@pytest.mark.parametrize("layer", [*CONVOLUTIONS, nn.Linear(16, 16), nn.Linear(256, 256, bias=False)], ids=str)
@torch.inference_mode()
def test_branches_of_any_weight_and_number(layer: nn.Module) -> None:
    """Changes are added in oneDNN's layout, over more sets of weights and more branches than are kept."""
    layer = copy.deepcopy(layer)
    own, is_conv = layer.weight, isinstance(layer, nn.Conv2d)
    for index in range(packing.CHANGES + 1):
        bias = noise(len(own)) if index % 2 else None
        branch_off(layer, f"b{index}", Whole(layer, noise(*own.shape) * 0.1 * (index + 1), bias))
    packed = Conv(layer) if isinstance(layer, nn.Conv2d) else Linear(layer)
    x = noise(2, 8, 9, 7) if is_conv else noise(2, own.shape[1])
    plain = packed(x)
    last = {f"b{index}": 0.1 * index - 0.3 for index in range(packing.CHANGES + 1)}
    for inputs in ({"b0": 1.0}, {"b0": -0.5}, {"b1": 0.3, "b0": 0.2}, {}, last, {"b0": 1.0}, {"other": 1.0}):
        with adapting(inputs):
            right = layer(x)
            assert torch.allclose(packed(x), right, atol=2e-5)
        assert ({"other", *inputs} == {"other"}) == torch.allclose(right, plain, atol=2e-5)
