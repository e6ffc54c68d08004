"""Flow matching by the solvers of noise levels: against diffusers' own scheduler, and what strength means there."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from deforum.diffusion.sampling.flow import DynamicShift, FlowSchedule
from deforum.diffusion.sampling.paths import path_of
from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.sigmas import GRIDS, PURE, NoiseSchedule, visit
from deforum.diffusion.sampling.solvers import solve
from deforum.diffusion.sampling.steps import count_steps
from deforum.diffusion.sampling.walk import Walk

CONFIGS: dict[str, dict[str, Any]] = {
    "shift 3": {"shift": 3.0},
    "no shift": {"shift": 1.0},
    "dynamic": {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15},
    "dynamic, linear": {
        "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.2, "base_image_seq_len": 200,
        "max_image_seq_len": 3000, "time_shift_type": "linear",
    },
}  # fmt: skip


def share(sigma: float) -> float:
    return 1.0 if sigma >= PURE else sigma / (1 + sigma)


def velocity(x: torch.Tensor, time: float) -> torch.Tensor:
    """A crooked flow, as a network has it: of latents (double) and a timestep 0..1000."""
    return torch.sin(x * (1 + time / 500)) + x * 0.3 - 0.2


def denoiser(schedule: NoiseSchedule) -> Any:
    def denoise(y: torch.Tensor, sigma: float) -> torch.Tensor:
        c_in, c_skip, c_out = schedule.scales_at(sigma)
        return y * c_skip + velocity(y * c_in, schedule.network_time(sigma)) * c_out

    return denoise


def theirs(config: dict[str, Any], steps: int, **given: Any) -> Any:
    import diffusers

    make: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler = make(**config)
    scheduler.set_timesteps(steps, **given)
    return scheduler


def mu_of(config: dict[str, Any], width: int, height: int) -> dict[str, float]:
    """The shift as diffusers' pipelines compute it."""
    from diffusers.pipelines.flux.pipeline_flux_img2img import calculate_shift

    if not config.get("use_dynamic_shifting"):
        return {}
    tokens = (height // 16) * (width // 16)
    shift: Any = calculate_shift
    ends = [config.get(name, usual) for name, usual in (("base_image_seq_len", 256), ("max_image_seq_len", 4096))]
    return {"mu": shift(tokens, *ends, config["base_shift"], config["max_shift"])}


@pytest.mark.parametrize("steps", [1, 4, 20, 28])
@pytest.mark.parametrize("size", [(512, 512), (1024, 768)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_grids_are_those_of_the_pipelines(config: dict[str, Any], size: tuple[int, int], steps: int) -> None:
    schedule = FlowSchedule.from_flow_config(config, "trailing").at_size(*size)
    given = np.linspace(1.0, 1 / steps, steps)
    right = theirs(config, steps, sigmas=given, **mu_of(config, *size)).sigmas
    assert [share(sigma) for sigma in visit(schedule, "normal", steps)] == pytest.approx(right.tolist(), abs=1e-6)
    times = [schedule.network_time(sigma) for sigma in visit(schedule, "normal", steps)[:-1]]
    assert times == pytest.approx((1000 * right[:-1]).tolist(), abs=1e-3)


@pytest.mark.parametrize("steps", [2, 20, 28])
def test_the_grid_without_given_levels_is_the_schedulers_own(steps: int) -> None:
    schedule = FlowSchedule.from_flow_config({"shift": 3.0})
    right = theirs({"shift": 3.0}, steps).sigmas
    assert [share(sigma) for sigma in visit(schedule, "normal", steps)] == pytest.approx(right.tolist(), abs=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.35, 0.65, 0.9])
def test_euler_is_their_euler_in_img2img(strength: float) -> None:
    """On the same levels, with the same init and noise; in double, where 1e-6 tells the rules apart."""
    schedule = FlowSchedule.from_flow_config({"shift": 3.0})
    run = count_steps(20, strength, exact=True)
    path = path_of(schedule, find_sampler("Euler"), 20, run, exact=True)
    shares = [share(sigma) for sigma in path.sigmas]
    scheduler = theirs({"shift": 1.0}, run, sigmas=np.asarray(shares[:-1]))
    scheduler.sigmas = torch.tensor(shares, dtype=torch.float64)  # theirs are rounded to float32
    scheduler.set_begin_index(0)
    generator = torch.Generator().manual_seed(0)
    init, noise = (torch.randn((1, 4, 8, 8), generator=generator, dtype=torch.float64) for _ in range(2))
    x = scheduler.scale_noise(init, scheduler.timesteps[:1], noise)
    assert torch.allclose(x, (init + noise * path.noised) * schedule.scales_at(path.noised)[0], atol=1e-12)
    for time, level in zip(scheduler.timesteps, shares[:-1], strict=True):
        x = scheduler.step(velocity(x, 1000 * level), time, x, return_dict=False)[0].double()
    walk = Walk(denoiser(schedule), path.sigmas, lambda: noise, 0.0, schedule)
    assert torch.allclose(solve("euler", init + noise * path.noised, walk), x, atol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_euler_is_their_euler_from_pure_noise(dtype: torch.dtype, tolerance: float) -> None:
    schedule = FlowSchedule.from_flow_config({"shift": 3.0}, "trailing")
    scheduler = theirs({"shift": 3.0}, 12, sigmas=np.linspace(1, 1 / 12, 12))
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0), dtype=dtype)
    x = noise.clone()
    for time in scheduler.timesteps:
        x = scheduler.step(velocity(x, float(time)), time, x, return_dict=False)[0].to(dtype)
    walk = Walk(denoiser(schedule), visit(schedule, "normal", 12), lambda: noise, 0.0, schedule)
    assert torch.allclose(solve("euler", noise * PURE, walk), x, atol=tolerance)


@pytest.mark.parametrize(
    ("steps", "strength", "exact", "right"),
    [
        (20, 0.65, True, 0.4675),  # SD's sigma 0.878
        (20, 0.65, False, 0.5118),  # one step more, as in the web UI: sigma 1.048
        (20, 0.0, True, 0.936),
        (20, 0.95, True, 0.0284),
    ],
)
def test_strength_keeps_as_much_as_in_stable_diffusion(steps: int, strength: float, exact: bool, right: float) -> None:
    run = count_steps(steps, strength, exact=exact)
    for shift in (1.0, 3.0, 6.0):
        path = path_of(FlowSchedule.of(shift), find_sampler("Euler"), steps, run, exact=exact)
        assert share(path.noised) == pytest.approx(right, abs=1e-3)
        assert len(path.sigmas) == run + 1
    # On the model's own levels it would be another share.
    own = visit(FlowSchedule.of(3.0), "normal", 20)
    assert share(own[13]) == pytest.approx(0.583, abs=1e-3)


def test_a_few_steps_begin_at_levels_worth_a_step() -> None:
    schedule = FlowSchedule.of(1.0, spacing="trailing")
    levels = [
        share(path_of(schedule, find_sampler("Euler"), 4, count_steps(4, kept, exact=True), exact=True).noised)
        for kept in (0.75, 0.5, 0.25)
    ]
    assert levels == pytest.approx([0.41, 0.62, 0.80], abs=0.02)


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_descends_from_noise(grid: str, spacing: Any) -> None:
    for shift in (1.0, 3.0):
        schedule = FlowSchedule.of(shift, spacing=spacing)
        for steps in (1, 2, 20):
            levels = visit(schedule, grid, steps)
            assert len(levels) == steps + 1 and levels[-1] == 0 and levels[0] <= PURE
            assert all(high > low for high, low in pairwise(levels)), grid
            # DDIM's own levels begin a step below the highest.
            assert share(levels[0]) > 0.7 or (grid == "ddim uniform" and steps < 20)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda row: str(row.name))
def test_every_sampler_paints_a_known_picture(sampler: Any) -> None:
    """A flow that knows the picture ends at it, from pure noise and from an init."""
    schedule, picture = FlowSchedule.of(3.0), torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    for run in (None, 7, 20):
        path = path_of(schedule, sampler, 20, run, exact=True)
        start = torch.randn(picture.shape, generator=generator) * path.sigmas[0]
        fresh = partial(torch.randn, picture.shape, generator=generator)
        walk = Walk(lambda x, sigma: picture, path.sigmas, fresh, 1.0, schedule)
        assert torch.allclose(solve(sampler.solver, start, walk), picture, atol=1e-2)


@pytest.mark.parametrize("solver", ["euler_ancestral", "dpmpp_2m_sde", "lcm"])
def test_fresh_noise_replaces_that_of_the_start(solver: str) -> None:
    schedule, shape = FlowSchedule.of(3.0), (1, 1, 64, 64)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    seen: list[torch.Tensor] = []

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append(x / (1 + sigma) if sigma < PURE else x / PURE)
        return torch.zeros(shape)

    walk = Walk(denoise, visit(schedule, "normal", 8), lambda: torch.randn(shape, generator=generator), 1.0, schedule)
    solve(solver, start * PURE, walk)
    first, second = (torch.corrcoef(torch.stack([start.flatten(), each.flatten()]))[0, 1] for each in seen[:2])
    assert first > 0.999 and abs(second) < 0.1


def test_times_and_levels_are_inverse() -> None:
    schedule = FlowSchedule.of(3.0)
    for time in (0.0, 12.5, 500.0, 998.0, 999.0):
        assert schedule.time_of(float(schedule.sigma_at(time))) == pytest.approx(time, abs=1e-6)
    assert np.allclose(schedule.sigma_at(np.arange(1000.0)), schedule.sigmas)


def test_the_dynamic_shift_is_that_of_the_pipelines() -> None:
    assert DynamicShift().of(1024, 1024) == pytest.approx(np.exp(1.15))
    assert DynamicShift().of(256, 256) == pytest.approx(np.exp(0.5))


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "inverted": ({"invert_sigmas": True}, "invert_sigmas"),
    "a terminal": ({"shift_terminal": 0.02}, "shift_terminal"),
    "other levels": ({"use_karras_sigmas": True}, "use_karras_sigmas"),
    "no shift": ({"shift": 0}, "shift is 0; expected a number above 0"),
    "no number": ({"shift": "3"}, "shift is 3"),
    "another kind": ({"use_dynamic_shifting": True, "time_shift_type": "cubic"}, "time_shift_type"),
    "one size": ({"use_dynamic_shifting": True, "max_image_seq_len": 256}, "two sizes"),
    "too many": ({"num_train_timesteps": 10**9}, "num_train_timesteps"),
}


@pytest.mark.parametrize("config, says", BROKEN.values(), ids=BROKEN)
def test_other_configurations_are_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FlowSchedule.from_flow_config(config)
