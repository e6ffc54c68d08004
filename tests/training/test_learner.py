"""What every training stage shares: a step, the mean of the last weights, and going on from a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training.learner import Learner

PEAK, ADAM_PEAK = 0.02, 0.01


def _learner(folder: Path, resume: bool = True) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    average = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    average.load_state_dict(model.state_dict())
    inner, others = [model[0].weight], [p for p in model.parameters() if p is not model[0].weight]
    return Learner(model, average, (inner, PEAK), [(others, ADAM_PEAK)], folder / "model.ckpt", resume=resume)


def _learn(learner: Learner, steps: int) -> list[float]:
    generator = torch.Generator().manual_seed(learner.step)
    losses = []
    for _ in range(steps):
        x = torch.randn(64, 4, generator=generator)
        learner.set_rates(0.0, warm_up=1)
        loss = (learner.model(x) - x.sum(1, keepdim=True)).square().mean()
        learner.model.zero_grad()
        torch.autograd.backward(loss)
        learner.take_step(64)
        losses.append(loss.item())
    return losses


def test_it_learns_and_the_average_follows(tmp_path: Path) -> None:
    learner = _learner(tmp_path)
    losses = _learn(learner, 200)
    assert losses[-1] < 0.2 * losses[0]
    assert (learner.step, learner.seen) == (200, 200 * 64)
    learner.model.eval()
    learner.average.eval()
    x = torch.randn(500, 4)
    far = float((learner.average(x) - x.sum(1, keepdim=True)).square().mean())
    assert far < 0.2 * losses[0]
    counters = [dict(part.named_buffers())["1.num_batches_tracked"] for part in (learner.model, learner.average)]
    assert counters[0] == counters[1] == 200


def test_it_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = _learner(tmp_path)
    _learn(whole, 10)
    whole.save(spent=12.5)
    expected = _learn(whole, 5)
    resumed = _learner(tmp_path)
    assert (resumed.step, resumed.seen, resumed.spent) == (10, 640, 12.5)
    assert _learn(resumed, 5) == expected
    for one, other in zip(resumed.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(one, other)
    assert _learner(tmp_path, resume=False).step == 0


def test_rates_warm_up_and_fall(tmp_path: Path) -> None:
    learner = _learner(tmp_path)
    rates = []
    for share in (0.0, 0.1, 1.0):
        learner.set_rates(share, warm_up=1, hold=0.1)
        rates.append([group["lr"] for group in (*learner._muon.param_groups, *learner._adam.param_groups)])
    assert rates[0] == rates[1] == [PEAK, ADAM_PEAK]
    assert rates[2] == pytest.approx([0.03 * PEAK, 0.03 * ADAM_PEAK])
    learner.set_rates(0.0, warm_up=10)
    assert learner._muon.param_groups[0]["lr"] == pytest.approx(PEAK / 10)
