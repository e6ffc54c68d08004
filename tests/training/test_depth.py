"""What the depth model's training is made of."""

import numpy as np
import pytest
import torch

from deforum.depth.embedded import SmallDepth
from training.depth import Batch, aligned, order_loss, ordered, pasted, point_pairs, split, turned


def _slope(count: int = 2, side: int = 32) -> torch.Tensor:
    """Nearer towards the right: (B, S, S)."""
    return torch.linspace(0.1, 0.9, side).expand(count, side, side).contiguous()


def test_every_parameter_has_one_optimizer() -> None:
    model = SmallDepth()
    inner, others = split(model)
    assert {id(p) for p in inner} | {id(p) for p in others} == {id(p) for p in model.parameters()}
    assert len(inner) + len(others) == len(list(model.parameters()))
    assert all(p.ndim == 4 and p.shape[1] > 3 and p.shape[0] > 1 for p in inner)


@pytest.mark.parametrize("level", [False, True])
def test_order_is_counted_and_punished(level: bool) -> None:
    true, generator = _slope(), torch.Generator().manual_seed(0)
    for found, share in ((true, 1.0), (1 - true, 0.0), (true**3, 1.0)):
        right, of = ordered(found.contiguous(), true, level, generator).sum(0)
        assert float(right / of) == share
    assert order_loss(true, true) < 0.3 < order_loss(torch.full_like(true, 0.5), true) < order_loss(1 - true, true)


def test_pairs_at_one_height_lie_at_one_height() -> None:
    pairs = point_pairs(_slope(), 500, True, torch.Generator().manual_seed(0))
    assert torch.equal(pairs.one // 32, pairs.other // 32)


def test_scale_and_shift_are_taken_out() -> None:
    true = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(aligned(true * 3 + 7), aligned(true), atol=1e-4)


def test_depth_moves_with_its_picture() -> None:
    depth = _slope(8)[:, None]
    pictures = depth.expand(-1, 3, -1, -1).contiguous()
    moved = turned(Batch(pictures, depth), np.random.default_rng(0), 32, wild=True)
    assert float((moved.pictures.mean(1) - moved.depth[:, 0]).abs().mean()) < 0.02  # one is blended, one is not
    assert float((moved.depth - depth).abs().mean()) > 0.1


def test_what_is_pasted_is_nearer() -> None:
    far, near = torch.full((6, 1, 32, 32), 0.2), _slope(6)[:, None]
    batch, others = (Batch(depth.expand(-1, 3, -1, -1).contiguous(), depth) for depth in (far, near))
    every = pasted(batch, others, np.random.default_rng(0), 1.0)
    changed = every.depth != far
    assert changed.any() and bool((every.depth >= far).all())
    assert torch.equal((every.pictures != batch.pictures).any(1, keepdim=True), changed)
    none = pasted(batch, others, np.random.default_rng(0), 0.0)
    assert torch.equal(none.depth, far)
