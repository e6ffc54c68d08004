"""Noise levels against the published formulas and against diffusers'."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
import scipy.stats
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule
from diffusers.schedulers import AysSchedules

from deforum.diffusion.sampling.sigmas import GRIDS, NoiseSchedule, beta_quantiles, visit
from tests.diffusion.noise_levels import CONFIG, SCHEDULE


def test_the_range_of_stable_diffusion() -> None:
    assert SCHEDULE.sigmas[-1] == pytest.approx(14.6146, abs=1e-4)
    assert SCHEDULE.sigmas[0] == pytest.approx(0.0291675, abs=1e-6)


def test_karras_levels_by_the_formula() -> None:
    n, low, high = 10, 0.0291675, 14.6146
    formula = [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]
    assert visit(SCHEDULE, "karras", n) == pytest.approx((*formula, 0.0), rel=1e-4)


def test_normal_levels_are_even_in_time() -> None:
    levels = visit(SCHEDULE, "normal", 10)
    assert [SCHEDULE.time_of(level) for level in levels[:-1]] == pytest.approx(
        np.linspace(999, 0, 10).tolist(), abs=1e-9
    )
    assert levels[-1] == 0


def test_trailing_levels_stop_before_the_lowest() -> None:
    times = [SCHEDULE.time_of(level) for level in visit(SCHEDULE, "sgm uniform", 4)[:-1]]
    assert times == pytest.approx([999, 749.25, 499.5, 249.75])


def test_a_step_in_front_of_the_lowest_level_is_left_out() -> None:
    assert visit(SCHEDULE, "karras", 9, skip_penultimate=True)[:-1] == visit(SCHEDULE, "karras", 10)[:9]


# Six levels of each grid, computed in plain Python in double precision from the published definitions.
LEVELS = {
    "normal": (14.61464123, 5.09240759, 2.27973030, 1.16286453, 0.57118887, 0.02916716),
    "karras": (14.61464123, 6.08214921, 2.23215454, 0.69257038, 0.16975658, 0.02916716),
    "exponential": (14.61464123, 4.21511424, 1.21571155, 0.35063215, 0.10112835, 0.02916716),
    "sgm uniform": (14.61464123, 5.94889919, 2.91830712, 1.61558026, 0.93235797, 0.49355172),
    "simple": (14.61464123, 5.96313040, 2.91830712, 1.61288619, 0.93235797, 0.49240921),
    "ddim uniform": (5.90644900, 2.90712138, 1.61288619, 0.93235797, 0.49469688, 0.04131441),
}


@pytest.mark.parametrize(("grid", "levels"), LEVELS.items())
def test_levels_are_those_of_an_independent_computation(grid: str, levels: tuple[float, ...]) -> None:
    assert visit(SCHEDULE, grid, 6) == pytest.approx((*levels, 0.0), abs=1e-8)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 7, 25, 60, 999, 1000, 1001, 3000])
def test_every_grid_falls_within_the_training(grid: str, steps: int) -> None:
    levels = visit(SCHEDULE, grid, steps)
    assert len(levels) == steps + 1
    assert all(a > b for a, b in pairwise(levels)), "a step of length 0 gives NaN in some solvers"
    assert levels[0] <= SCHEDULE.sigmas[-1] * (1 + 1e-9)
    assert levels[-2] >= SCHEDULE.sigmas[0] * (1 - 1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("grid", "scheduler", "options"),
    [
        ("normal", "EulerDiscreteScheduler", {"timestep_spacing": "linspace"}),
        ("karras", "EulerDiscreteScheduler", {"use_karras_sigmas": True}),
        ("karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("exponential", "EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
        ("ddim uniform", "EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}),
        ("beta", "EulerDiscreteScheduler", {"use_beta_sigmas": True}),
        ("turbo", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ],
)
def test_same_levels_as_diffusers(grid: str, scheduler: str, options: dict[str, Any]) -> None:
    theirs = getattr(diffusers, scheduler)(**CONFIG, **options)
    theirs.set_timesteps(20)
    assert np.allclose(visit(SCHEDULE, grid, 20), theirs.sigmas, rtol=1e-4)


def test_quantiles_of_the_beta_distribution() -> None:
    shares = np.linspace(0, 1, 101)
    for shape in (0.5, 0.6, 0.9):
        assert np.allclose(beta_quantiles(shares, shape), scipy.stats.beta.ppf(shares, shape, shape), atol=1e-7)


@pytest.mark.parametrize("steps", [2, 3, 5, 20])
def test_linear_quadratic_levels_are_those_of_mochi(steps: int) -> None:
    theirs = np.array(linear_quadratic_schedule(steps, 0.025)) * SCHEDULE.sigmas[-1]
    assert np.allclose(visit(SCHEDULE, "linear quadratic", steps)[:-1], theirs)


@pytest.mark.parametrize(("is_xl", "family"), [(False, "StableDiffusion"), (True, "StableDiffusionXL")])
def test_align_your_steps(is_xl: bool, family: str) -> None:
    """Its 11 published levels as diffusers has them, where the last is 0 in place of 0.029."""
    schedule = replace(SCHEDULE, step_table=int(is_xl))
    theirs = AysSchedules[f"{family}Sigmas"][:-1]
    assert visit(schedule, "align your steps", 11)[:-2] == pytest.approx(theirs, abs=5e-4)
    assert visit(schedule, "align your steps", 11)[-2] == pytest.approx(SCHEDULE.sigmas[0])
    # Every second of 21 is one of the 11, and those between are their geometric means.
    finer = visit(schedule, "align your steps", 21)[:-1]
    assert finer[::2] == pytest.approx(visit(schedule, "align your steps", 11)[:-1])
    assert finer[1] ** 2 == pytest.approx(finer[0] * finer[2])
    # The 32 levels refine the 11 of the same model, where they are not at its ends.
    assert visit(schedule, "align your steps 32", 32)[16] == pytest.approx(
        float(np.interp(16 / 31, np.linspace(0, 1, 11), [*theirs, 0.029])), rel=0.1
    )


def test_grids_by_their_formulas() -> None:
    low, high = SCHEDULE.sigmas[0], SCHEDULE.sigmas[-1]
    optimal = [math.tan(i / 9 * math.atan(low) + (1 - i / 9) * math.atan(high)) for i in range(10)]
    assert visit(SCHEDULE, "kl optimal", 10) == pytest.approx((*optimal, 0.0))
    karras, even, mixed = (visit(SCHEDULE, grid, 9)[:-1] for grid in ("karras", "exponential", "karras exponential"))
    assert mixed == pytest.approx(
        [k ** (1 - i / 8) * e ** (i / 8) for i, (k, e) in enumerate(zip(karras, even, strict=True))]
    )


@pytest.mark.parametrize("steps", [2, 3, 8, 20, 31])
def test_bong_tangent_levels(steps: int) -> None:
    total = steps + 2
    pivot, slope = int(total * 0.6), 8 / total

    def part(count: int, pivot: int, start: float, end: float) -> list[float]:
        raw = [0.5 - math.atan(slope * (i - pivot)) / math.pi for i in range(count)]
        return [end + (start - end) * (value - raw[-1]) / (raw[0] - raw[-1]) for value in raw]

    shares = part(pivot, pivot, 1, 0.5)[:-1] + part(total - pivot, 0, 0.5, 0)
    low, high = SCHEDULE.sigmas[0], SCHEDULE.sigmas[-1]
    assert visit(SCHEDULE, "bong tangent", steps)[:-1] == pytest.approx([low + s * (high - low) for s in shares[:-1]])


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_same_times_as_diffusers_lcm(steps: int) -> None:
    theirs = diffusers.LCMScheduler(**CONFIG)
    theirs.set_timesteps(steps)
    ours = [SCHEDULE.time_of(level) for level in visit(SCHEDULE, "lcm", steps)[:-1]]
    assert ours == pytest.approx(theirs.timesteps.tolist())


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_same_training_levels_as_diffusers(kind: str, rescaled: bool) -> None:
    config = CONFIG | {"beta_schedule": kind, "rescale_betas_zero_snr": rescaled}
    theirs = diffusers.DDIMScheduler(**config).alphas_cumprod.numpy().astype(float)
    ours = 1 / (1 + NoiseSchedule.from_config(config).sigmas ** 2)
    assert np.allclose(ours[:-1], theirs[:-1], rtol=2e-3, atol=1e-6)


def test_times_and_levels_are_each_others_inverse() -> None:
    for time in (0.0, 0.5, 17.25, 998.9, 999.0):
        assert SCHEDULE.time_of(float(SCHEDULE.sigma_at(time))) == pytest.approx(time, abs=1e-6)


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(ValueError, match="'cosine'"):
        NoiseSchedule.from_config({"beta_schedule": "cosine"})
