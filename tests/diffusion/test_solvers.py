"""Solvers against exact answers, and against diffusers' schedulers where these implement the same method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.sigmas import visit
from deforum.diffusion.sampling.solvers import SOLVERS, Walk, split
from tests.diffusion.noise_levels import CONFIG, SCHEDULE, crooked

DATA_MEAN, DATA_STD = 0.3, 0.7


def perfect(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The best guess of x0 where the data are normally distributed: what a perfect model would say."""
    gain = DATA_STD**2 / (DATA_STD**2 + sigma**2)
    return DATA_MEAN + (x - DATA_MEAN) * gain


def walk(
    x: torch.Tensor,
    sampler: str,
    steps: int,
    denoise: Callable[[torch.Tensor, float], torch.Tensor] = perfect,
    eta: float = 0.0,
    sigmas: tuple[float, ...] | None = None,
) -> torch.Tensor:
    row = find_sampler(sampler)
    generator = torch.Generator().manual_seed(3)
    sigmas = sigmas or visit(SCHEDULE, row.grid, steps, skip_penultimate=row.skip_penultimate)
    noise = lambda: torch.randn(x.shape, generator=generator, dtype=x.dtype)  # noqa: E731
    return SOLVERS[row.solver](x, Walk(denoise, sigmas, noise, eta, SCHEDULE))


def exact(x: torch.Tensor, high: float, low: float = 0.0) -> torch.Tensor:
    """Where the probability flow takes x from one noise level to another, for normally distributed data."""
    return DATA_MEAN + (x - DATA_MEAN) * math.sqrt((DATA_STD**2 + low**2) / (DATA_STD**2 + high**2))


MANY = [row.name for row in SAMPLERS if row.solver in ("unipc", "dpmpp_2m", "dpmpp_3m_sde", "lms", "plms", "deis")]


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("grid", ["simple", "ddim uniform", "lcm"])
def test_more_steps_than_the_training_has_levels(name: str, grid: str) -> None:
    sigmas = visit(SCHEDULE, grid, 1001)
    assert bool(torch.isfinite(walk(torch.ones(3, dtype=torch.float64), name, 0, sigmas=sigmas)).all())


DETERMINISTIC = [row.name for row in SAMPLERS if not row.note and row.solver not in ("lcm", "tcd")]


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_without_noise_every_solver_follows_the_flow(name: str) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 14
    target = exact(x, float(SCHEDULE.sigmas[-1]))
    errors = [float((walk(x, name, steps) - target).abs().max()) for steps in (25, 100)]
    assert errors[1] < 0.08
    assert errors[1] < errors[0]


ORDERS = {
    "euler": 1,
    "heun": 2,
    "dpm_2": 2,
    "dpmpp_2s_ancestral": 2,
    "dpmpp_2m": 2,
    "dpmpp_sde": 2,
    "dpmpp_2m_sde": 2,
    "dpmpp_2m_sde_heun": 2,
    "dpmpp_3m_sde": 2,  # its first step is of first order, which is all that counts in the end
    "lms": 2,
    "deis": 2,
    "unipc": 2,
}


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
def test_order_of_convergence(solver: str, order: int) -> None:
    """Twice the steps, 2**order times less error."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 3
    errors = []
    for steps in (32, 64):
        sigmas = tuple(np.exp(np.linspace(np.log(3.0), np.log(0.5), steps + 1)).tolist())
        reached = SOLVERS[solver](x, Walk(perfect, sigmas, lambda: torch.zeros_like(x), 0.0, SCHEDULE))
        errors.append(float((reached - exact(x, 3.0, 0.5)).abs().max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.25


# (sampler, eta, result): values of the functions of k-diffusion 0.1.1 (Crowson, MIT) in double precision, from START
# over 10 Karras levels, with the `crooked` guess and the noise cos(PHASES + 1.7 k) at draw k.
START, PHASES = (-21.0, 4.0, 13.0), (0.3, 1.1, 2.3)
K_DIFFUSION = [
    ("Euler", 0.0, (-0.8009158753, 0.6498689088, 0.7968630194)),
    ("Euler a", 0.0, (-0.8009158753, 0.6498689088, 0.7968630194)),
    ("Euler a", 0.6, (-0.7892343853, 0.3588987373, 0.6700814108)),
    ("Euler a", 1.0, (-0.3245297792, 0.0383469463, -0.2880188310)),
    ("Heun", 0.0, (-0.8008683004, 0.7755805909, 0.7983723359)),
    ("DPM2", 0.0, (-0.8020546360, 0.6962184899, 0.7968626513)),
    ("DPM2 a", 0.0, (-0.8020546360, 0.6962184899, 0.7968626513)),
    ("DPM2 a", 0.6, (-0.7849299510, 0.5362647712, 0.7332568000)),
    ("DPM2 a", 1.0, (-0.7025114479, 0.5336038409, 0.0447113835)),
    ("LMS", 0.0, (-0.8005376789, 0.7415955666, 0.7982471156)),
    ("DPM++ 2S a", 0.0, (-0.8008739364, 0.7439339854, 0.7979442828)),
    ("DPM++ 2S a", 0.6, (-0.7931462338, 0.6427482617, 0.7672864738)),
    ("DPM++ 2S a", 1.0, (-0.5867982765, 0.5838945234, -0.0158613239)),
    ("DPM++ 2M", 0.0, (-0.8009709565, 0.7441233121, 0.7985442845)),
    ("DPM++ SDE", 0.0, (-0.8008739364, 0.7439339854, 0.7979442828)),
    ("DPM++ SDE", 0.6, (-0.7953411390, 0.6038901547, 0.7772364102)),
    ("DPM++ SDE", 1.0, (-0.6547654632, 0.1670405414, 0.3191761941)),
    ("DPM++ 2M SDE", 0.0, (-0.8009709565, 0.7441233121, 0.7985442845)),
    ("DPM++ 2M SDE", 0.6, (-0.7245337204, 0.2639788968, -0.0938827531)),
    ("DPM++ 2M SDE", 1.0, (0.3378365379, 0.2204661541, -0.6333367686)),
    ("DPM++ 2M SDE Heun", 0.0, (-0.8009817800, 0.7555685513, 0.7987343094)),
    ("DPM++ 2M SDE Heun", 0.6, (-0.7261722099, 0.3117404554, -0.1775849112)),
    ("DPM++ 2M SDE Heun", 1.0, (0.6098100563, 0.3277780623, -0.7276698742)),
    ("DPM++ 3M SDE", 0.0, (-0.8022005431, 0.6861848738, 0.7956640093)),
    ("DPM++ 3M SDE", 0.6, (-0.7468292989, -0.4146728450, 0.0903396759)),
    ("DPM++ 3M SDE", 1.0, (-0.7544816993, -0.6824129158, -0.4005207800)),
]


@pytest.mark.parametrize(("name", "eta", "expected"), K_DIFFUSION)
def test_same_as_k_diffusion(name: str, eta: float, expected: tuple[float, ...]) -> None:
    row, draws = find_sampler(name), itertools.count()
    phases = torch.tensor(PHASES, dtype=torch.float64)
    sigmas = visit(SCHEDULE, "karras", 10, skip_penultimate=row.skip_penultimate)
    noise = lambda: torch.cos(phases + 1.7 * next(draws))  # noqa: E731
    reached = SOLVERS[row.solver](torch.tensor(START, dtype=torch.float64), Walk(crooked, sigmas, noise, eta, SCHEDULE))
    assert reached.tolist() == pytest.approx(expected, abs=1e-9)


NOISY = [row.name for row in SAMPLERS if row.eta and not row.note] + ["LCM", "TCD"]


@pytest.mark.parametrize("name", NOISY)
def test_with_noise_the_pictures_keep_their_spread(name: str) -> None:
    x = torch.randn(20000, generator=torch.Generator().manual_seed(1)) * (14.6146**2 + DATA_STD**2) ** 0.5 + DATA_MEAN
    reached = walk(x, name, 100, eta=1.0, sigmas=visit(SCHEDULE, "karras", 100))
    assert float(reached.mean()) == pytest.approx(DATA_MEAN, abs=0.03)
    # Consistency samplers jump to the mean guess of x0, which a model that was not distilled draws too narrow.
    if name not in ("LCM", "TCD"):
        assert float(reached.std()) == pytest.approx(DATA_STD, rel=0.06)


def test_split_of_a_step() -> None:
    down, up = split(2.0, 1.0, 1.0)
    assert down**2 + up**2 == pytest.approx(1.0)
    assert up == pytest.approx(math.sqrt(1 * (4 - 1) / 4))
    assert split(2.0, 1.0, 0.0) == (1.0, 0.0)
    assert split(2.0, 0.0, 1.0) == (0.0, 0.0)
    assert split(1.1, 1.0, 9.0) == (0.0, 1.0)  # never more noise than the target holds


def run_diffusers(scheduler: Any, x: torch.Tensor, variance_preserving: bool) -> torch.Tensor:
    """Walk with a diffusers scheduler that is fed the noise that the crooked guess implies."""
    scale = (lambda sigma: 1 / math.sqrt(1 + sigma**2)) if variance_preserving else (lambda sigma: 1.0)
    sample = x * scale(sigma_of(scheduler.timesteps[0]))
    for time in scheduler.timesteps:
        sigma = sigma_of(time)
        plain = sample / scale(sigma)
        sample = scheduler.step((plain - crooked(plain, sigma)) / sigma, time, sample).prev_sample
    return sample


def sigma_of(time: Any) -> float:
    return float(SCHEDULE.sigma_at(float(time)))


LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
TO_ONE = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": True}


@pytest.mark.parametrize(
    ("name", "scheduler", "options", "preserving", "end"),
    [
        ("Euler", "EulerDiscreteScheduler", LEADING, False, 0.0),
        ("LMS", "LMSDiscreteScheduler", LEADING, False, 0.0),
        ("DDIM", "DDIMScheduler", TO_ONE | {"clip_sample": False}, True, 0.0),
        ("PLMS", "PNDMScheduler", TO_ONE | {"skip_prk_steps": True}, True, 0.0),
        ("DPM++ 2M", "DPMSolverMultistepScheduler", LEADING, True, 0.0),
        ("UniPC", "UniPCMultistepScheduler", LEADING, True, 0.0),
        # This one ends at the training's lowest level instead of at 0.
        ("DEIS", "DEISMultistepScheduler", LEADING, True, float(SCHEDULE.sigmas[0])),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_same_as_diffusers(name: str, scheduler: str, options: dict[str, Any], preserving: bool, end: float) -> None:
    theirs = getattr(diffusers, scheduler)(**CONFIG, **options)
    theirs.set_timesteps(20)
    # PLMS evaluates its first step twice, and lists it so.
    sigmas = (*(sigma_of(time) for time in dict.fromkeys(theirs.timesteps.tolist())), end)
    x = torch.linspace(-2, 2, 9).view(1, 1, 3, 3) * 10
    ours = walk(x, name, 20, crooked, sigmas=sigmas)
    assert torch.allclose(ours / math.sqrt(1 + end**2), run_diffusers(theirs, x, preserving), atol=1e-3)
