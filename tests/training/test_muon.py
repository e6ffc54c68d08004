"""Muon's steps: of one size in all directions."""

import pytest
import torch
from torch import nn

from training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 24, 24), (2, 16, 96), (2, 96, 16)])
def test_all_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(0, -1, shape[2])
    values = torch.linalg.svdvals(orthogonal(matrices, iterations=6))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_directions_are_kept() -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(16, 40), full_matrices=False)
    matrix = left @ torch.diag(torch.linspace(1, 0.5, 16)) @ right
    near = orthogonal(matrix[None], iterations=6)[0]
    assert float((near * (left @ right)).sum() / near.norm() / 16**0.5) > 0.97


def test_it_learns_a_rare_direction_as_fast_as_a_common_one() -> None:
    """Least squares with inputs of very different sizes: gradient descent crawls along the small one."""
    torch.manual_seed(0)
    layer, wanted = nn.Linear(8, 8, bias=False), torch.randn(8, 8)
    size = torch.logspace(0, -1, 8)
    muon = Muon([layer.weight], lr=0.2)
    for step in range(300):
        muon.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        inputs = torch.randn(64, 8) * size
        loss = (layer(inputs) - inputs @ wanted.T).square().mean()
        muon.zero_grad()
        torch.autograd.backward(loss)
        muon.step()
    assert (layer.weight - wanted).abs().max() < 0.05
