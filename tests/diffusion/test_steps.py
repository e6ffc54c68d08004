"""How many steps are run of those that are set."""

from __future__ import annotations

import pytest

from deforum.diffusion.sampling.steps import count_steps, prompt_step, step_at
from deforum.errors import UserError

# steps, strength, exact count, the A1111 web UI's count
COUNTS = [
    (20, 0.0, 20, 20),
    (20, 1.0, 1, 1),
    (20, 0.65, 7, 8),
    (25, 0.65, 8, 9),
    (20, 0.5, 10, 11),
    (10, 0.9, 1, 1),  # 10 * (1 - 0.9) is 0.9999999999999998
    (20, 0.8, 4, 4),  # 20 * (1 - 0.8) is 3.999999999999999
    (20, 0.95, 1, 2),
    (20, 0.7, 6, 7),
    (10, 0.3, 7, 8),
    (30, 0.9, 3, 3),
    (50, 0.98, 1, 2),
    (8, 0.99, 1, 1),
    (1, 0.5, 1, 1),
    (1, 0.0, 1, 1),
    (4, 0.5, 2, 3),
    (100, 0.999, 1, 1),
]


@pytest.mark.parametrize(("steps", "strength", "exact", "web_ui"), COUNTS)
def test_counts(steps: int, strength: float, exact: int, web_ui: int) -> None:
    assert count_steps(steps, strength, exact=True) == exact
    assert count_steps(steps, strength, exact=False) == web_ui


# steps, strength, the web UI's steps of DDIM and PLMS, and of UniPC
OVER_TIMESTEPS = [
    (20, 0.65, 6, 7),
    (25, 0.65, 7, 8),
    (20, 0.0, 18, 19),
    (30, 0.5, 14, 15),
    (20, 0.9, 1, 1),  # 20 * (1 - 0.9) is 1.9999999999999996
    (4, 1.0, 1, 1),
]


@pytest.mark.parametrize(("steps", "strength", "leading", "even"), OVER_TIMESTEPS)
def test_counts_of_samplers_over_timesteps(steps: int, strength: float, leading: int, even: int) -> None:
    assert count_steps(steps, strength, exact=False, timesteps="leading") == leading
    assert count_steps(steps, strength, exact=False, timesteps="even") == even
    exact = count_steps(steps, strength, exact=True)
    assert count_steps(steps, strength, exact=True, timesteps="leading") == exact


@pytest.mark.parametrize("exact", [True, False])
def test_never_none_and_never_more_than_there_are(exact: bool) -> None:
    for steps in range(1, 61):
        for hundredth in range(101):
            strength = hundredth / 100
            count = count_steps(steps, strength, exact=exact)
            assert 1 <= count <= steps
            if exact:
                assert count == max(1, (steps * 100 - hundredth * steps) // 100)


@pytest.mark.parametrize("exact", [True, False])
def test_without_a_picture_all_steps_are_run(exact: bool) -> None:
    assert count_steps(12, None, exact=exact) == 12


def test_no_steps_is_an_error() -> None:
    with pytest.raises(UserError, match="steps is 0"):
        count_steps(0, 0.5, exact=True)


@pytest.mark.parametrize(
    ("sigma", "step"), [(14.0, 0), (99.0, 0), (13.9, 0), (5.0, 1), (5.0 * (1 - 1e-7), 1), (3.0, 1), (1.0, 2), (0.0, 2)]
)
def test_the_step_of_a_noise_level(sigma: float, step: int) -> None:
    assert step_at(sigma, (14.0, 5.0, 1.0, 0.0)) == step


def test_how_prompts_count_steps() -> None:
    assert [prompt_step(i, 8, 20, exact=True) for i in (0, 1, 7)] == [(1, 8), (2, 8), (8, 8)]
    assert [prompt_step(i, 8, 20, exact=False) for i in (0, 1, 2, 7)] == [(1, 20), (1, 20), (2, 20), (7, 20)]
