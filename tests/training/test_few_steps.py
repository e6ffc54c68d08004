"""Steps that are taught to land where several smaller ones do, on pictures whose denoiser is known."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

import deforum.embedded
from deforum.diffusion.sampling.sigmas import NoiseSchedule, visit
from deforum.diffusion.sampling.solvers import split
from training.few_steps import FINE, GRIDS, LEAST, STEPS, Jump, Teacher, draw_jump, landing, parts_of, v_of, x0_of
from training.muon import Muon
from training.samples import LOOP_LEVEL, Samples
from training.text_to_image import BETAS

LEVELS = NoiseSchedule.from_config(BETAS, "v_prediction")


@pytest.fixture
def jumps() -> list[Jump]:
    rng = np.random.default_rng(0)
    return [draw_jump(LEVELS, rng) for _ in range(400)]


def test_v_and_x0_are_two_names_of_one_thing() -> None:
    x, x0 = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for sigma in (0.1, 1.0, 60.0):
        noise = (x - x0) / sigma
        scale = (1 + sigma**2) ** -0.5
        assert torch.allclose(v_of(x, x0, sigma), scale * noise - sigma * scale * x0, atol=1e-5)
        assert torch.allclose(x0_of(x, v_of(x, x0, sigma), sigma), x0, atol=1e-3)


def test_jumps_are_steps_of_the_renderers_own_runs(jumps: list[Jump]) -> None:
    steps = {pair for grid in GRIDS for count in STEPS for pair in pairwise(visit(LEVELS, grid, count))}
    expected = {(first, split(first, last, eta)[0]) for first, last in steps if first > LEAST for eta in (0.0, 1.0)}
    drawn = {(jump.sigmas[0], jump.sigmas[-1]) for jump in jumps}
    assert drawn <= {(first, last if last > LEAST else 0.0) for first, last in expected}
    assert len(drawn) > len(STEPS) * len(GRIDS) * 4
    # From pure noise, and to the picture itself.
    assert max(first for first, _ in drawn) == pytest.approx(float(LEVELS.sigmas[-1]))
    assert min(last for _, last in drawn) == 0


def test_the_way_of_a_jump_is_small_steps_down(jumps: list[Jump]) -> None:
    for jump in jumps:
        assert len(jump.sigmas) > 2
        assert all(high > low for high, low in pairwise(jump.sigmas))
        times = [LEVELS.time_of(max(sigma, LEAST)) for sigma in jump.sigmas]
        assert all(high - low <= FINE + 1e-6 for high, low in pairwise(times))


def test_one_picture_is_landed_on_in_any_step(jumps: list[Jump]) -> None:
    """Where all pictures are the same, every curve is a straight line, and what it leads to is that picture."""
    picture, x = torch.randn(1, 2, 4, 4), torch.randn(3, 2, 4, 4) * 5
    for jump in jumps[:50]:
        assert torch.allclose(landing(lambda x, sigma: picture.expand_as(x), x, jump, LEVELS), picture, atol=1e-4)


@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_a_step_to_the_landing_ends_where_the_curve_does(jumps: list[Jump], deviation: float) -> None:
    """For normally distributed pictures the denoiser and its curve are known in closed form."""

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return x * deviation**2 / (deviation**2 + sigma**2)

    x = torch.randn(2, 2, 4, 4)
    far = []
    for jump in jumps[:100]:
        first, last = jump.sigmas[0], jump.sigmas[-1]
        curve = x * math.sqrt((deviation**2 + last**2) / (deviation**2 + first**2))
        fine = landing(denoise, x, jump, LEVELS)
        step = fine + last / first * (x - fine)
        alone = denoise(x, first) + last / first * (x - denoise(x, first))
        far.append([float((end - curve).abs().mean() / curve.abs().mean()) for end in (step, alone)])
    taught, untaught = np.mean(far, axis=0)
    assert taught < 0.5 * untaught


@pytest.mark.long
def test_lessons_are_for_much_noise_and_bring_the_student_nearer(tmp_path: Path) -> None:
    folder = Path(deforum.embedded.__file__).parent / "diffusion"
    latents = np.random.default_rng(0).normal(size=(2, 4, 16, 8, 8)).astype(np.float16)
    np.save(tmp_path / "latents.npy", latents)
    (tmp_path / "captions.json").write_text('[["the sea at sunset"], ["mountains"], ["a desert"], ["a forest"]]')
    samples = Samples(tmp_path, CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    torch.manual_seed(0)
    teacher, rng = Teacher(*parts_of(folder)), np.random.default_rng(0)
    lessons = [teacher.lesson(samples, rng, 2, (0.0, 0.0)) for _ in range(8)]
    much = [lesson for lesson in lessons if math.log(lesson.sigma) > LOOP_LEVEL]
    assert 0 < len(much) < len(lessons)
    for lesson in lessons:
        # bfloat16 rounds otherwise with another batch.
        assert (float(lesson.loss(teacher.unet)) > 1e-3) == (lesson in much)
    student = copy.deepcopy(teacher.unet).requires_grad_(True)
    before = much[0].loss(student)
    torch.autograd.backward(before)
    Muon([p for p in student.parameters() if p.ndim > 1], 1e-4).step()
    assert much[0].loss(student) < before
    assert all(p.grad is None for p in teacher.unet.parameters())
