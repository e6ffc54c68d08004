"""The Muon optimizer, orthogonalised momentum (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).

Adam's updates of a matrix are nearly low-rank: a few directions dominate. Muon replaces the averaged gradient by the
nearest (semi-)orthogonal matrix, found by a few Newton-Schulz iterations, so that rare directions learn as well.
torch's own Muon takes matrices only, and most weights of a UNet are convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Coefficients of Jordan's quintic iteration, which drives singular values to about 0.7..1.2, near enough to 1.
_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: Tensor, iterations: int = 4) -> Tensor:
    """Orthogonalise ``matrices`` (N, rows, columns) by Newton-Schulz iteration, in the precision of bfloat16.

    Every iteration multiplies from the left with a polynomial of ``x x^T``. For matrices at least three times as long
    as wide the polynomials are multiplied as small square matrices, and the long matrix takes part in two products
    instead of eight.
    """
    x = matrices.bfloat16()
    upright = x.shape[1] > x.shape[2]
    x = x.mT if upright else x
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    a, b, c = _QUINTIC
    if x.shape[2] >= 3 * x.shape[1]:
        square, one = (x @ x.mT).float(), torch.eye(x.shape[1])
        factor = one
        for _ in range(iterations):
            step = a * one + b * square + c * (square @ square)
            factor, square = step @ factor, step @ square @ step
        x = factor.bfloat16() @ x
    else:
        for _ in range(iterations):
            square = x @ x.mT
            x = a * x + (b * square + c * (square @ square)) @ x
    return (x.mT if upright else x).float()


class Muon(torch.optim.Optimizer):
    """Muon for matrices and convolutions; the first axis of a weight is its output, all others are its input."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "mean" not in state:
                    state["mean"] = torch.zeros_like(parameter)
                mean = state["mean"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(mean, group["momentum"]).flatten(1)  # Nesterov momentum
                alike.setdefault(tuple(ahead.shape), []).append((parameter, ahead))
            for (rows, columns), some in alike.items():  # weights of equal shape form one batch
                turned = orthogonal(torch.stack([ahead for _, ahead in some]))
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for (parameter, _), step in zip(some, turned, strict=True):
                    parameter.sub_(step.reshape(parameter.shape), alpha=size)
