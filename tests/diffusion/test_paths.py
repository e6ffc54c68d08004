"""The noise levels of one diffusion, and where the web UI evaluates samplers over timesteps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from deforum.diffusion.sampling.paths import Path, path_of
from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.solvers import SOLVERS
from deforum.diffusion.sampling.steps import count_steps
from deforum.diffusion.sampling.walk import Walk
from tests.diffusion.noise_levels import SCHEDULE, crooked


def web_ui(name: str, steps: int, strength: float | None) -> Path:
    row = find_sampler(name)
    run = None if strength is None else count_steps(steps, strength, exact=False, timesteps=row.timesteps)
    return path_of(SCHEDULE, row, steps, run, exact=False)


def level(time: float) -> float:
    return float(SCHEDULE.sigma_at(time))


@pytest.mark.parametrize(
    ("name", "steps", "strength", "times", "noised"),
    [
        # 20 steps of DDIM visit 1, 51, ... 951; at strength 0.65 the init gets the noise of 351 (sigma 0.990).
        ("DDIM", 20, 0.65, (301, 251, 201, 151, 101, 51, 1), 351),
        ("PLMS", 20, 0.65, (301, 251, 201, 151, 101, 51, 1), 351),
        ("UniPC", 20, 0.65, (301, 258, 215, 172, 129, 86, 43, 0), 351),
        ("DDIM", 10, 0.5, (401, 301, 201, 101, 1), 501),
        ("DDIM", 4, None, (751, 501, 251, 1), 751),
        ("UniPC", 3, None, (999, 666, 333, 0), 999),
        ("DDIM", 3, None, (999, 667, 334, 1), 999),  # 1000 // 3 leaves room for one more
        # where the web UI runs no step at all
        ("DDIM", 20, 0.95, (51, 1), 51),
        ("UniPC", 20, 0.95, (51, 1), 51),
        ("DDIM", 1, None, (999, 1), 999),
    ],
)
def test_timesteps_of_the_web_ui(
    name: str, steps: int, strength: float | None, times: tuple[int, ...], noised: int
) -> None:
    path = web_ui(name, steps, strength)
    assert path.sigmas == pytest.approx([level(time) for time in times])
    assert path.noised == pytest.approx(level(noised))


def test_ddim_of_the_web_ui_step_by_step() -> None:
    """Against the variance-preserving form in which Song et al. 2021 (arXiv 2010.02502) give DDIM."""
    init = torch.tensor([0.4, -1.2, 0.7], dtype=torch.float64)
    noise = torch.tensor([1.1, 0.2, -0.6], dtype=torch.float64)
    alphas = {time: 1 / (1 + level(time) ** 2) for time in range(1, 1000, 50)}
    expected = init * math.sqrt(alphas[351]) + noise * math.sqrt(1 - alphas[351])
    for time, before in pairwise((301, 251, 201, 151, 101, 51, 1)):
        x0 = crooked(expected / math.sqrt(alphas[time]), level(time))
        epsilon = (expected - math.sqrt(alphas[time]) * x0) / math.sqrt(1 - alphas[time])
        expected = math.sqrt(alphas[before]) * x0 + math.sqrt(1 - alphas[before]) * epsilon
    path = web_ui("DDIM", 20, 0.65)
    start = (init + noise * path.noised) * path.start_scale
    walk = Walk(crooked, path.sigmas, lambda: torch.zeros(3), 0.0, SCHEDULE)
    assert torch.allclose(SOLVERS["euler_ancestral"](start, walk) * path.end_scale, expected, atol=1e-9)


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
@pytest.mark.parametrize("exact", [True, False])
def test_every_path_descends(name: str, exact: bool) -> None:
    row = find_sampler(name)
    for steps in (1, 2, 3, 7, 20, 30, 999, 1000, 1500):
        for strength in (None, 0.0, 0.3, 0.65, 0.95, 1.0):
            run = count_steps(steps, strength, exact=exact, timesteps=row.timesteps)
            path = path_of(SCHEDULE, row, steps, None if strength is None else run, exact=exact)
            assert all(a > b for a, b in pairwise(path.sigmas)), (steps, strength)
            assert len(path.sigmas) >= 2 and path.noised >= path.sigmas[0]


@pytest.mark.parametrize("name", ["Euler", "DPM2", "DDIM Karras", "UniPC Karras", "LCM"])
def test_on_a_grid_the_path_is_its_end(name: str) -> None:
    row = find_sampler(name)
    whole, part = (path_of(SCHEDULE, row, 12, run, exact=False) for run in (None, 5))
    assert part.sigmas == whole.sigmas[7:] and part.sigmas[-1] == 0
    assert part.noised == part.sigmas[0]
    assert part.start_scale == part.end_scale == 1
