"""Few-step distillation: a student UNet learns to reach in one step where the teacher arrives in several.

    python -m training.few_steps --data build/training --model deforum/embedded/diffusion --minutes 60
    python -m training.few_steps --data build/training --model deforum/embedded/diffusion --export build/training/few

A sampler's step follows a straight line between two noise levels. The teacher, the unchanged model, follows the curve
in several small steps with guidance; the student learns the straight line to its end (progressive distillation,
Salimans and Ho 2022, arXiv 2202.00512). Guidance is distilled as by Meng et al. 2023 (arXiv 2210.03142), except that
the student keeps both predictions, with and without the prompt, so that `cfg_scale` and negative prompts keep their
meaning. The steps are those of the renderer's own grids, and only those at noise levels above the ones that an
animation's frames start from.

Convention: x = x0 + sigma * noise, as in `deforum.diffusion.sampling.sigmas`.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from deforum.diffusion.sampling.sigmas import NoiseSchedule, visit
from deforum.diffusion.sampling.solvers import SOLVERS, Walk
from deforum.diffusion.sampling.solvers import split as split_step
from training import device, group_norm, progress
from training.learner import Learner
from training.samples import LOOP_LEVEL, Samples
from training.text_to_image import BETAS, TRAIN_STEPS, Model, attention, average_with, export, split

STEPS = (4, 5, 6, 7, 8)  # numbers of steps of the sampler runs that are distilled
GRIDS = ("normal", "sgm uniform")
GUIDANCE = (1.5, 6.0)  # range of cfg_scale
FINE = 60.0  # timesteps of one step of the teacher, at most
LEAST = 0.1  # sigma below which steps are short enough and not distilled

Denoise = Callable[[Tensor, float], Tensor]
"""(x, sigma) -> x0."""


@dataclass(frozen=True)
class Jump:
    """A step to distil: ``sigmas`` are its first noise level, the teacher's intermediate ones, and its last."""

    sigmas: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The last noise level over the first."""
        return self.sigmas[-1] / self.sigmas[0]


def draw_jump(levels: NoiseSchedule, rng: np.random.Generator) -> Jump:
    """Draw a step of a sampler run, uniformly: of Euler, or the deterministic part of Euler a's, which goes lower.

    A step that would end below `LEAST` ends at 0.
    """
    sigmas = visit(levels, str(rng.choice(GRIDS)), int(rng.choice(STEPS)))
    pairs = [pair for pair in pairwise(sigmas) if pair[0] > LEAST]
    first, last = pairs[int(rng.integers(len(pairs)))]
    last = split_step(first, last, float(rng.integers(2)))[0]
    times = levels.time_of(first), levels.time_of(max(last, LEAST))
    count = max(2, math.ceil((times[0] - times[1]) / FINE))
    between = levels.sigma_at(np.linspace(*times, count + 1))
    return Jump((first, *map(float, between[1:-1]), last if last > LEAST else 0.0))


def v_of(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    """Return the v-prediction for noisy latents ``x`` and clean ``x0``, both (B, C, h, w)."""
    scale = (1 + sigma**2) ** -0.5
    return scale * ((x - x0) / sigma - sigma * x0)


def x0_of(x: Tensor, v: Tensor, sigma: float) -> Tensor:
    """Return the clean latents x0 for noisy ``x`` and v, both (B, C, h, w); the inverse of `v_of`."""
    scale = (1 + sigma**2) ** -0.5
    return scale * (scale * x - sigma * v)


def guided(unet: UNet2DConditionModel, x: Tensor, sigma: float, time: float, texts: Tensor, guidance: Tensor) -> Tensor:
    """Predict v (B, C, h, w) with classifier-free guidance.

    ``texts`` (2 B, 77, W) are the states of the empty prompt, then of the prompts; ``guidance`` is (B, 1, 1, 1).
    """
    scaled = (x * (1 + sigma**2) ** -0.5).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    with device.bfloat16(), attention():
        without, with_prompt = unet(scaled, time, texts).sample.float().chunk(2)
    return without + guidance * (with_prompt - without)


def denoiser(unet: UNet2DConditionModel, levels: NoiseSchedule, texts: Tensor, guidance: Tensor) -> Denoise:
    """Return the denoiser of a UNet for `solvers.Walk`, with ``texts`` and ``guidance`` as in `guided`."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return x0_of(x, guided(unet, x, sigma, levels.time_of(sigma), texts, guidance), sigma)

    return denoise


@torch.no_grad()
def landing(denoise: Denoise, x: Tensor, jump: Jump, levels: NoiseSchedule) -> Tensor:
    """Return the x0 (B, C, h, w) with which one Euler step over ``jump`` ends where the small Euler steps end.

    DPM++ 2M as the teacher's solver extrapolates too far where steps are long in log sigma, as the last ones are.
    """
    reached = _euler(denoise, x, jump.sigmas, levels)
    return (reached - jump.ratio * x) / (1 - jump.ratio)


def _euler(denoise: Denoise, x: Tensor, sigmas: tuple[float, ...], levels: NoiseSchedule) -> Tensor:
    return SOLVERS["euler"](x, Walk(denoise, sigmas, lambda: torch.zeros_like(x), 0.0, levels))


def parts_of(folder: Path) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """Load text encoder and UNet of a pipeline folder, in float32, onto the device."""
    text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").float()
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").float()
    return text_encoder.to(device.current()), unet.to(device.current(), memory_format=torch.channels_last)


class Teacher:
    """The unchanged model: encodes captions for teacher and student, and computes the targets of steps."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        self.levels = NoiseSchedule.from_config({**BETAS, "num_train_timesteps": TRAIN_STEPS}, "v_prediction")
        self._text = text_encoder.requires_grad_(False).eval()
        self.unet = unet.requires_grad_(False).eval()

    @torch.no_grad()
    def read(self, empty: Tensor, tokens: Tensor) -> Tensor:
        """Encode captions (B, 77): states (2 B, 77, W) of the empty caption, B times, then of the captions."""
        with device.bfloat16():
            found = self._text(torch.cat([empty.expand_as(tokens), tokens]).long())
        return found.last_hidden_state.float()  # type: ignore[no-any-return]

    @torch.no_grad()
    def lesson(self, samples: Samples, rng: np.random.Generator, count: int, shares: tuple[float, float]) -> Lesson:
        """Make a training batch of ``count`` samples for one random jump; ``shares`` are of views and loop pairs.

        At the noise levels that an animation's frames start from (below `LOOP_LEVEL`), the target is the teacher's own
        prediction: a more confident model would add detail to detail, frame by frame.
        """
        jump = draw_jump(self.levels, rng)
        sigma = jump.sigmas[0]
        _, shown, tokens = samples.batch(rng, torch.full((count,), math.log(sigma)), *shares)
        x, texts = shown + sigma * torch.randn_like(shown), self.read(samples.empty, tokens)
        guidance = torch.empty(count, 1, 1, 1).uniform_(*GUIDANCE)
        denoise = denoiser(self.unet, self.levels, texts, guidance)
        x0 = landing(denoise, x, jump, self.levels) if math.log(sigma) > LOOP_LEVEL else denoise(x, sigma)
        return Lesson(x, sigma, self.levels.time_of(sigma), texts, guidance, v_of(x, x0, sigma))

    @torch.no_grad()
    def distance(self, student: UNet2DConditionModel, texts: Tensor, steps: int) -> float:
        """Return the mean squared error of student samples, ``steps`` Euler steps, to the teacher's 32 steps; cfg 4."""
        shape = (len(texts) // 2, student.config.in_channels, 16, 16)
        noise = device.put(torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu"))
        ends = []
        for unet, taken in ((student, steps), (self.unet, 32)):
            sigmas = visit(self.levels, "sgm uniform", taken)
            denoise = denoiser(unet, self.levels, texts, torch.full((len(noise), 1, 1, 1), 4.0))
            ends.append(_euler(denoise, noise * (1 + sigmas[0] ** 2) ** 0.5, sigmas, self.levels))
        return float((ends[0] - ends[1]).square().mean())


@dataclass(frozen=True, eq=False)
class Lesson:
    """A training batch: noisy latents ``x`` (B, C, h, w) at one noise level, and their target v ``wanted``."""

    x: Tensor
    sigma: float
    time: float
    """Timestep of ``sigma``."""
    texts: Tensor
    """As in `guided`, like ``guidance``."""
    guidance: Tensor
    wanted: Tensor

    def loss(self, unet: UNet2DConditionModel) -> Tensor:
        return (guided(unet, self.x, self.sigma, self.time, self.texts, self.guidance) - self.wanted).square().mean()


def train(args: argparse.Namespace) -> None:
    device.use(args)
    if device.current().type == "cpu":
        group_norm.use()
    tokenizer = CLIPTokenizer.from_pretrained(args.data / "tokenizer")
    samples = Samples(args.data / "train", tokenizer, strewn=True)
    heldout = Samples(args.data / "heldout", tokenizer)
    teacher = Teacher(*parts_of(args.model))
    student = copy.deepcopy(teacher.unet).requires_grad_(True).train()
    average = copy.deepcopy(teacher.unet)
    inner, others = split(student)
    learner = Learner(student, average, (inner, args.peak), [(others, args.adam_peak)], args.data / "few_steps.ckpt")
    budget, known = progress.Budget(args.minutes, learner.spent), teacher.read(heldout.empty, heldout.tokens[:32, 0])
    rng = np.random.default_rng([learner.step, 7])
    torch.manual_seed(learner.step)
    saved, loss_sum, loss_count = time.monotonic(), 0.0, 0

    def keep() -> None:
        learner.save(budget.spent)
        distances = {k: round(teacher.distance(average, known, k), 4) for k in (4, 8)}
        print("  from where the teacher ends, by steps:", distances, flush=True)

    while budget.progress < 1:
        learner.set_rates(budget.progress, warm_up=30)
        student.zero_grad()
        for _ in range(args.jumps):
            lesson = teacher.lesson(samples, rng, args.batch, (args.view_share, args.loop_share))
            loss = lesson.loss(student)
            torch.autograd.backward(loss / args.jumps)
            loss_sum, loss_count = loss_sum + float(loss.detach()), loss_count + 1
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        learner.take_step(args.batch * args.jumps)
        if learner.step % 20 == 0:
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  {learner.seen} samples  "
                  f"loss {loss_sum / loss_count:.4f}", flush=True)  # fmt: skip
            loss_sum, loss_count = 0.0, 0
        if time.monotonic() - saved > args.save_every * 60:
            keep()
            saved = time.monotonic()
    keep()


def write(data: Path, model: Path, share: float, out: Path) -> None:
    """Export the averaged weights of the last checkpoint, interpolated with ``model``'s; ``share`` is their weight."""
    text_encoder, unet = parts_of(model)
    unet.load_state_dict(progress.load(data / "few_steps.ckpt")["average"])
    whole = Model(text_encoder, unet)
    average_with(whole, model, share)
    export(whole, CLIPTokenizer.from_pretrained(data / "tokenizer"), data / "vae", out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--model", type=Path, default=Path("deforum/embedded/diffusion"), help="the teacher")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--jumps", type=int, default=2, help="number of batches per step")
    parser.add_argument("--peak", type=float, default=0.002, help="peak learning rate of Muon")
    parser.add_argument(
        "--adam-peak",
        type=float,
        default=2e-4,
        help="peak learning rate of AdamW, for the parameters Muon does not train",
    )
    parser.add_argument(
        "--view-share", type=float, default=0.3, help="share of views in the batches of low noise levels"
    )
    parser.add_argument(
        "--loop-share", type=float, default=0.3, help="share of loop pairs in the batches of low noise levels"
    )
    parser.add_argument("--save-every", type=float, default=4.0, help="time between checkpoints, minutes")
    parser.add_argument("--export", type=Path, help="only write the pipeline folder from the last checkpoint")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="with --export: how far the weights go from the teacher to the trained model, 0..1",
    )
    device.add_argument(parser)
    args = parser.parse_args()
    if args.export:
        write(args.data, args.model, args.share, args.export)
    else:
        train(args)


if __name__ == "__main__":
    main()
