"""The training's group normalisation against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from training.group_norm import group_norm


@pytest.mark.parametrize(("channels", "groups", "side"), [(64, 32, 16), (12, 1, 5), (6, 6, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_values_and_gradients(channels: int, groups: int, side: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x = (torch.randn(3, channels, side, side) * 2 + 1).to(dtype).contiguous(memory_format=torch.channels_last)
    weight, bias, back = torch.randn(channels), torch.randn(channels), torch.randn(x.shape)
    results = []
    for norm, kind in ((F.group_norm, torch.float32), (group_norm, dtype)):
        leaves = [value.to(kind).requires_grad_() if value is x else value.clone().requires_grad_()
                  for value in (x, weight, bias)]  # fmt: skip
        out = norm(leaves[0], groups, leaves[1], leaves[2], 1e-5)
        results.append([out, *torch.autograd.grad(out, leaves, back.to(out.dtype))])
    for wanted, found in zip(*results, strict=True):
        assert found.shape == wanted.shape
        assert (found.float() - wanted).abs().max() < tolerance * wanted.abs().max()
