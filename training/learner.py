"""Training state of a model: optimizers, weight averaging and a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from training import progress
from training.muon import Muon

Group = tuple[Sequence[nn.Parameter], float]
"""Parameters and their peak learning rate."""


class Learner:
    """Optimizes ``matrices`` with Muon and ``others`` with AdamW; ``average`` is the moving average of ``model``.

    Resumes from its checkpoint, if there is one: ``step`` optimizer steps, ``seen`` samples, ``spent`` seconds.
    """

    def __init__(
        self, model: nn.Module, average: nn.Module, matrices: Group, others: Sequence[Group], checkpoint: Path,
        *, decay: float = 0.99, resume: bool = True,
    ) -> None:  # fmt: skip
        self.model, self.average = model, average.requires_grad_(False)
        self.step, self.seen, self.spent = 0, 0, 0.0
        self._checkpoint, self._decay = checkpoint, decay
        self._muon = Muon(matrices[0], matrices[1])
        groups = [{"params": list(some), "lr": rate} for some, rate in others]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self._peaks = [matrices[1], *(rate for _, rate in others)]
        if resume and checkpoint.exists():
            state = progress.load(checkpoint)
            for part, name in self._parts():
                part.load_state_dict(state[name])
            self.step, self.seen, self.spent = state["step"], state["seen"], state["spent"]

    def _parts(self) -> list[tuple[nn.Module | torch.optim.Optimizer, str]]:
        return [(self.model, "model"), (self.average, "average"), (self._muon, "muon"), (self._adam, "adam")]

    def save(self, spent: float) -> None:
        """Write the checkpoint; ``spent`` is the total training time in seconds."""
        books = {"step": self.step, "seen": self.seen, "spent": spent}
        progress.save({name: part.state_dict() for part, name in self._parts()} | books, self._checkpoint)

    def set_rates(self, share: float, *, warm_up: int = 150, hold: float = 0.1) -> None:
        """Set the learning rates for the fraction ``share`` of the training; see `progress.learning_rate`."""
        groups = [*self._muon.param_groups, *self._adam.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = progress.learning_rate(peak, self.step, share, warm_up=warm_up, hold=hold)

    @torch.no_grad()
    def take_step(self, samples: int) -> None:
        """Take one optimizer step with the gradients of ``samples`` samples, and update the averaged weights."""
        self._muon.step()
        self._adam.step()
        self.step, self.seen = self.step + 1, self.seen + samples
        share = 1 - min(self._decay, self.step / (self.step + 20))  # a lower decay at first forgets the initial weights
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), share)
        for slow, fast in zip(self.average.buffers(), self.model.buffers(), strict=True):
            # Integer buffers, the counters of batch normalisation, are copied.
            slow.lerp_(fast, share) if slow.is_floating_point() else slow.copy_(fast)
