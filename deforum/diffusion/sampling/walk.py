"""The inputs of a solver: denoiser, noise levels, noise; and the ancestral step that several solvers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt

import torch

from deforum.diffusion.sampling.sigmas import NoiseSchedule

Tensor = torch.Tensor


@dataclass(frozen=True)
class Walk:
    """The inputs of a solver besides the latents: denoiser, noise levels, noise source and eta."""

    denoise: Callable[[Tensor, float], Tensor]
    """(x, sigma) -> x0, both (B, C, h, w)."""
    sigmas: tuple[float, ...]
    """(steps + 1) noise levels, descending; the last is where sampling ends, 0 but for the web UI's timesteps."""
    noise: Callable[[], Tensor]
    """Fresh unit noise of the latents' shape."""
    eta: float
    """Scale of the random part: 0 none, 1 as in the paper. Solvers without an eta ignore it."""
    schedule: NoiseSchedule
    """The model's training noise levels."""
    hold: Callable[[Tensor, float], Tensor] = lambda x, sigma: x
    """(x, sigma) -> x with the cells that have not begun reset, see `pixel_strength.Hold`. Solvers apply it to the
    result of every step; `denoise` applies it to the intermediate latents within a step."""
    apart: Callable[[Tensor, float], tuple[Tensor, Tensor]] | None = None
    """As `denoise`, but returns the guided x0 and that of the negative prompt alone; None: there is no guidance."""

    def denoise_apart(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """Return the guided x0 and the unguided one, in one evaluation."""
        if self.apart is not None:
            return self.apart(x, sigma)
        x0 = self.denoise(x, sigma)
        return x0, x0

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Yield (sigma, next sigma) for each step."""
        return zip(self.sigmas, self.sigmas[1:], strict=False)


Solver = Callable[[Tensor, Walk], Tensor]


def split(sigma: float, target: float, eta: float) -> tuple[float, float]:
    """Split an ancestral step into the level of its deterministic part and the noise added after it: (down, up).

    down**2 + up**2 = target**2. `eta` is DDIM's; at 1 the step is the posterior of DDPM.
    """
    up = min(target, eta * sqrt(max(target**2 * (sigma**2 - target**2), 0)) / sigma)
    return sqrt(target**2 - up**2), up
