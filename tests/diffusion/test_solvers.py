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

from deforum.diffusion.sampling.dpm_solver import _step
from deforum.diffusion.sampling.restart import pieces
from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.sigmas import visit
from deforum.diffusion.sampling.solvers import SOLVERS
from deforum.diffusion.sampling.walk import Walk, split
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


NOISY_ANYWAY, ADAPTIVE = ("lcm", "tcd", "restart"), ("dpm_adaptive",)
DETERMINISTIC = [row.name for row in SAMPLERS if not row.note and row.solver not in NOISY_ANYWAY + ADAPTIVE]


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_without_noise_every_solver_follows_the_flow(name: str) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 14
    target = exact(x, float(SCHEDULE.sigmas[-1]))
    errors = [float((walk(x, name, steps) - target).abs().max()) for steps in (25, 100)]
    assert errors[1] < 0.08
    assert errors[1] < errors[0] or errors[1] < 2e-3  # that of DPM fast's last step does not depend on the number


@pytest.mark.parametrize(
    "name",
    [row.name for row in SAMPLERS if row.solver not in ("dpm_adaptive", "restart", "dpm_fast") and not row.cfg_pp],
)
def test_evaluations_are_those_of_the_table(name: str) -> None:
    asked = []

    def counted(x: torch.Tensor, sigma: float) -> torch.Tensor:
        asked.append(sigma)
        return perfect(x, sigma)

    sigmas = visit(SCHEDULE, "karras", 10)
    walk(torch.ones(3, dtype=torch.float64), name, 0, counted, eta=0.5, sigmas=sigmas)
    assert len(asked) == 10 + 9 * find_sampler(name).twice + (find_sampler(name).solver == "plms")


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
    "ipndm": 2,
    "dpm_fast": 2,  # its last step is of first order
    "er_sde": 2,
    "res_multistep": 2,
    "res_multistep_ancestral": 2,
    "restart": 2,
    "euler_cfg_pp": 1,
    "dpmpp_2m_cfg_pp": 2,
    "dpmpp_2s_ancestral_cfg_pp": 2,
    "res_multistep_cfg_pp": 2,
}


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
def test_order_of_convergence(solver: str, order: int) -> None:
    """Twice the steps, 2**order times less error."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 3
    errors = []
    for steps in (8, 16) if solver == "restart" else (32, 64):  # it restarts from 20 steps on
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


# The same of its functions that are over a number of evaluations, and a tolerance; the last evaluation is ours. They
# compute times in single precision.
OF_DPM_SOLVER = [
    ("DPM fast", 10, (-0.8010080840945321, 0.7518415739891847, 0.7990452990635332)),
    ("DPM fast", 9, (-0.8025113613151544, 0.661829302944162, 0.799318627756713)),
]


@pytest.mark.parametrize(("name", "steps", "expected"), OF_DPM_SOLVER)
def test_dpm_fast_is_that_of_k_diffusion(name: str, steps: int, expected: tuple[float, ...]) -> None:
    calls: list[float] = []

    def counted(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append(sigma)
        return crooked(x, sigma)

    levels = visit(SCHEDULE, "karras", 10)
    sigmas = (*levels[: steps - 2], *levels[-3:])  # it reads the first, the last two, and how many there are
    reached = walk(torch.tensor(START, dtype=torch.float64), name, 0, counted, sigmas=sigmas)
    assert reached.tolist() == pytest.approx(expected, abs=1e-6)
    assert len(calls) == steps


def test_dpm_adaptive_is_as_exact_as_it_says() -> None:
    """Against k-diffusion's with tolerances of 1e-8. Its number of evaluations is its own."""
    exactly = (-0.8008794808737557, 0.7562768133716004, 0.7979704343743287)
    for steps in (4, 30):
        levels = visit(SCHEDULE, "karras", 10)
        sigmas = (*np.geomspace(levels[0], levels[-2], steps).tolist(), 0.0)
        reached = walk(torch.tensor(START, dtype=torch.float64), "DPM adaptive", 0, crooked, sigmas=sigmas)
        assert reached.tolist() == pytest.approx(exactly, abs=0.02)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 14
    for start in (14.6, 1.0, 0.03):
        reached = walk(x * start / 14.6, "DPM adaptive", 0, sigmas=(start, 0.0))
        assert torch.allclose(reached, exact(x * start / 14.6, start), atol=0.05)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_orders_of_the_steps_of_dpm_solver(order: int) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * 3
    errors = []
    for h in (0.2, 0.1):
        reached, _ = _step(x, Walk(perfect, (), lambda: x, 0.0, SCHEDULE), -math.log(2.0), h, order)
        errors.append(float((reached - exact(x, 2.0, 2.0 * math.exp(-h))).abs().max()))
    assert math.log2(errors[0] / errors[1]) > order + 1 - 0.3


def test_er_sde_by_its_sums() -> None:
    """The formulas of the paper with the integrals as sums of 20,000 rectangles."""
    draws, phases = itertools.count(), torch.tensor(PHASES, dtype=torch.float64)
    sigmas = visit(SCHEDULE, "karras", 8)
    x = torch.tensor(START, dtype=torch.float64)
    noise = lambda: torch.cos(phases + 1.7 * next(draws))  # noqa: E731
    ours = SOLVERS["er_sde"](x, Walk(crooked, sigmas, noise, 1.0, SCHEDULE))

    def phi(s: Any) -> Any:
        return s * (np.exp(s**0.3) + 10)

    draws = itertools.count()
    guesses, slopes = [], []
    for i, (s, t) in enumerate(itertools.pairwise(sigmas)):
        guesses.append(crooked(x, s))
        if t == 0:
            x = guesses[-1]
            break
        r = phi(t) / phi(s)
        grid, width = np.linspace(t, s, 20000, endpoint=False) + (s - t) / 40000, (s - t) / 20000
        x = r * x + (1 - r) * guesses[i]
        if i:
            slopes.append((guesses[i] - guesses[i - 1]) / (s - sigmas[i - 1]))
            x = x + (t - s + phi(t) * (width / phi(grid)).sum()) * slopes[-1]
        if i > 1:
            bend = (slopes[-1] - slopes[-2]) / ((s - sigmas[i - 2]) / 2)
            x = x + ((t - s) ** 2 / 2 + phi(t) * (width * (grid - s) / phi(grid)).sum()) * bend
        x = x + torch.cos(phases + 1.7 * next(draws)) * math.sqrt(t**2 - (s * r) ** 2)
    assert torch.allclose(ours, x, atol=1e-6)


def test_restart_goes_back_up() -> None:
    """By its definition: Heun's method over levels that repeat, with noise of the difference before each repetition."""
    for steps, lengths in ((19, [20]), (20, [None, 10, None]), (36, [None, 10, 10, None])):
        levels = visit(SCHEDULE, "karras", steps)
        parts = pieces(levels)
        assert [len(part.sigmas) for part, count in zip(parts, lengths, strict=True) if count] == [
            count for count in lengths if count
        ]
        assert sum(len(part.sigmas) - 1 for part in parts) == steps
        assert (parts[0].sigmas[0], *parts[-1].sigmas[-2:]) == (levels[0], levels[-2], 0.0)
        for before, part in itertools.pairwise(parts):
            assert part.climb in (0.0, before.sigmas[-1])
        if steps > 19:
            assert parts[1].sigmas[0] == pytest.approx(2, rel=0.5) and parts[1].climb == pytest.approx(0.1, rel=0.5)
    sigmas, x = visit(SCHEDULE, "karras", 20), torch.tensor(START, dtype=torch.float64)
    ours = walk(x, "Restart", 0, crooked, sigmas=sigmas)
    generator = torch.Generator().manual_seed(3)
    for part in pieces(sigmas):
        if part.climb:
            x = x + torch.randn(x.shape, generator=generator, dtype=x.dtype) * math.sqrt(
                part.sigmas[0] ** 2 - part.climb**2
            )
        x = walk(x, "Heun", 0, crooked, sigmas=part.sigmas)
    assert torch.allclose(ours, x)


@pytest.mark.parametrize(
    ("with_it", "without"),
    [("Euler CFG++", "Euler"), ("Euler a CFG++", "Euler a"), ("DPM++ 2M CFG++", "DPM++ 2M"),
     ("DPM++ 2S a CFG++", "DPM++ 2S a"), ("RES Multistep CFG++", "RES Multistep")],
)  # fmt: skip
def test_without_guidance_cfg_pp_changes_nothing(with_it: str, without: str) -> None:
    x, sigmas = torch.tensor(START, dtype=torch.float64), visit(SCHEDULE, "karras", 9)
    one, other = (walk(x, name, 0, crooked, 0.7, sigmas) for name in (with_it, without))
    assert torch.allclose(one, other, atol=1e-10)


def test_cfg_pp_by_its_definition() -> None:
    """x' = x0 guided + sigma' * noise unguided; and the forms of higher order in times t = -log sigma."""
    sigmas, start = visit(SCHEDULE, "karras", 9), torch.tensor(START, dtype=torch.float64)

    def free(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.sin(x / (1 + sigma)) * 0.8

    def run(solver: str) -> torch.Tensor:
        both = lambda x, sigma: (crooked(x, sigma), free(x, sigma))  # noqa: E731
        return SOLVERS[solver](start, Walk(crooked, sigmas, lambda: start * 0, 0.0, SCHEDULE, apart=both))

    euler = multi = single = res = start
    older_multi = older_res = None
    for i, (s, t) in enumerate(itertools.pairwise(sigmas)):
        euler = crooked(euler, s) + t * (euler - free(euler, s)) / s
        h = math.inf if t == 0 else math.log(s / t)
        decay, last = math.exp(-h), math.log(sigmas[i - 1] / s) if i else 1.0

        guided, plain = crooked(multi, s), free(multi, s)
        mix = -decay * plain
        if older_multi is not None and t > 0:
            mix = mix + (1 - decay) / (2 * last / h) * (guided - older_multi)
        multi, older_multi = guided + mix + decay * multi, plain

        guided, plain = crooked(single, s), free(single, s)
        if t > 0:
            half = math.exp(-h / 2) * (single + guided - plain) + (1 - math.exp(-h / 2)) * guided
            single = decay * (single + guided - plain) + (1 - decay) * crooked(half, math.sqrt(s * t))
        else:
            single = guided

        guided, plain = crooked(res, s), free(res, s)
        if older_res is None or t == 0:
            res = guided + (t / s) * (res - plain)
        else:
            phi_1, phi_2 = (1 - decay) / h, (decay - 1 + h) / h**2
            weight = phi_2 / (-last / h)
            res = decay * (res + guided - plain) + h * ((phi_1 - weight) * plain + weight * older_res)
        older_res = plain
    for solver, expected in (
        ("euler_cfg_pp", euler), ("dpmpp_2m_cfg_pp", multi), ("dpmpp_2s_ancestral_cfg_pp", single),
        ("res_multistep_cfg_pp", res),
    ):  # fmt: skip
        assert torch.allclose(run(solver), expected, atol=1e-9), solver


def test_ipndm_by_the_textbook() -> None:
    """Adams-Bashforth of uneven steps by polynomials through the slopes, and with the weights of even ones."""
    sigmas, x = visit(SCHEDULE, "karras", 9), torch.tensor(START, dtype=torch.float64)
    even, uneven = x, x
    slopes_even: list[torch.Tensor] = []
    slopes_uneven: list[torch.Tensor] = []
    for i, (s, t) in enumerate(itertools.pairwise(sigmas)):
        slopes_even.append((even - crooked(even, s)) / s)
        slopes_uneven.append((uneven - crooked(uneven, s)) / s)
        for kind in ("even", "uneven"):
            slopes = torch.stack((slopes_even if kind == "even" else slopes_uneven)[-4:])
            count = len(slopes)
            places = np.arange(-count + 1, 1.0) if kind == "even" else np.array(sigmas[i - count + 1 : i + 1])
            ends = (0.0, 1.0) if kind == "even" else (s, t)
            # The weights that integrate every polynomial through the places exactly.
            powers = np.vander(places, increasing=True).T
            moments = [(ends[1] ** (k + 1) - ends[0] ** (k + 1)) / (k + 1) for k in range(count)]
            weights = torch.from_numpy(np.linalg.solve(powers, moments))
            moved = (weights[:, None] * slopes).sum(0)
            if kind == "even":
                even = even + moved * (t - s)
            else:
                uneven = uneven + moved
    start = torch.tensor(START, dtype=torch.float64)
    assert torch.allclose(walk(start, "IPNDM", 0, crooked, sigmas=sigmas), even, atol=1e-9)
    assert torch.allclose(walk(start, "IPNDM_V", 0, crooked, sigmas=sigmas), uneven, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_tcd_is_that_of_diffusers() -> None:
    theirs = diffusers.TCDScheduler(**CONFIG)
    theirs.set_timesteps(8)
    sigmas = (*(sigma_of(time) for time in theirs.timesteps.tolist()), 0.0)
    x = torch.linspace(-2, 2, 9).view(1, 1, 3, 3) * 10
    sample, generator = x / math.sqrt(1 + sigmas[0] ** 2), torch.Generator().manual_seed(3)
    for time, sigma in zip(theirs.timesteps, sigmas, strict=False):
        plain = sample * math.sqrt(1 + sigma**2)
        x0 = crooked(plain, sigma)
        sample = theirs.step((plain - x0) / sigma, time, sample, eta=0.3, generator=generator).prev_sample
    # The last step of theirs ends at the training's lowest level, ours at 0.
    assert torch.allclose(walk(x, "TCD", 0, crooked, sigmas=sigmas), x0, atol=1e-3)


NOISY = [row.name for row in SAMPLERS if row.eta and not row.note] + ["LCM", "TCD", "Restart"]


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
