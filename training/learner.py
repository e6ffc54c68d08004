"""A model in training: what turns its weights, the mean of the last ones, and a checkpoint that survives a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from training import progress
from training.muon import Muon

Group = tuple[Sequence[nn.Parameter], float]
"""Parameters and their highest learning rate."""


class Learner:
    """Muon turns ``matrices``, AdamW ``others``; ``average``, a copy of ``model``, follows it.

    It begins where its checkpoint ends, if there is one: after ``step`` steps on ``seen`` samples in ``spent`` seconds.
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
        """Write the checkpoint, after ``spent`` seconds of training in all."""
        books = {"step": self.step, "seen": self.seen, "spent": spent}
        progress.save({name: part.state_dict() for part, name in self._parts()} | books, self._checkpoint)

    def set_rates(self, share: float, *, warm_up: int = 150, hold: float = 0.1) -> None:
        """Set the learning rates for a training of which ``share`` is over; see `progress.learning_rate`."""
        groups = [*self._muon.param_groups, *self._adam.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = progress.learning_rate(peak, self.step, share, warm_up=warm_up, hold=hold)

    @torch.no_grad()
    def take_step(self, samples: int) -> None:
        """Turn the weights by their gradients, found on so many samples, and let the average follow."""
        self._muon.step()
        self._adam.step()
        self.step, self.seen = self.step + 1, self.seen + samples
        share = 1 - min(self._decay, self.step / (self.step + 20))  # it forgets where it began
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), share)
        for slow, fast in zip(self.average.buffers(), self.model.buffers(), strict=True):
            # The counters of batch normalisation are whole numbers.
            slow.lerp_(fast, share) if slow.is_floating_point() else slow.copy_(fast)
