"""One frame's diffusion: from a picture, or from nothing, to the picture that the prompt asks for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch

from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.families.model import Conditioning, Model, Pull
from deforum.diffusion.faults import RenderError, guarded, is_blank, shared
from deforum.diffusion.noise import draws, starting_noise, step_noise
from deforum.diffusion.pixel_strength import Paint, cell_steps, hold, smear
from deforum.diffusion.prompts.encode import Embedding, PromptEncoder
from deforum.diffusion.prompts.syntax import parse_composition
from deforum.diffusion.sampling.samplers import Sampler, find_sampler
from deforum.diffusion.sampling.sigmas import visit
from deforum.diffusion.sampling.solvers import SOLVERS, Walk
from deforum.diffusion.sampling.steps import count_steps
from deforum.pixels.image import Image
from deforum.seeds import derive_seed
from deforum.timeline.frame import Frame

Tensor = torch.Tensor

_BLANK = 1e-4
"""Latents, of deviation about 1, that vary by less than this hold no picture."""

ON_CPU = 4
"""Beyond this little is gained, and each takes memory."""

MOST = 16
MEMORY = 2**30
"""Bytes that one frame of 512x512 takes on the way, with guidance, in 16 bits; decoding takes most."""


@dataclass(frozen=True)
class Plan:
    """What frames must share to go through the model together."""

    sampler: Sampler
    steps: int
    run: int
    eta: float
    from_image: bool
    tokens: int
    """Length of the embeddings: filling them up for the sake of a longer neighbour would change the picture."""


@dataclass(frozen=True, eq=False)
class Task:
    """A frame with all that its diffusion is made from."""

    init: Image | None
    frame: Frame
    conditioning: Conditioning
    plan: Plan
    paint: Paint | None
    cell_steps: Tensor | None
    """Where there is a paint: the steps run at each place of the latent, (h, w)."""


class Diffuser:
    """Makes a frame's picture with a diffusion model; the same frame and init always give the same picture."""

    def __init__(
        self, model: Model, *, exact_step_count: bool, prompt_blend: str = "linear", vae_refinement: int = 0
    ) -> None:
        self._model = model
        self._exact = exact_step_count
        self._door = Autoencoder(model.vae, vae_refinement)
        self._prompts = PromptEncoder(model.text, spherical=prompt_blend == "spherical")
        self.device: torch.device = model.device
        self.factor = self._door.factor
        """px that a latent cell covers, each way."""

    def __call__(
        self, init: Image | None, frame: Frame, *, width: int, height: int, paint: Paint | None = None
    ) -> Image:
        """Diffuse one frame: image to image from `init` (3, height, width), or text to image where it is None.

        `paint` says how much of the init each pixel keeps, in place of the frame's strength; without an init there is
        nothing to keep, and it is not read. The picture comes back on the diffuser's device. Raises RenderError where
        no whole picture can be made.
        """
        return self.diffuse_batch([init], [frame], width=width, height=height, paints=[paint])[0]

    @torch.inference_mode()
    def diffuse_batch(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        *,
        width: int,
        height: int,
        paints: Sequence[Paint | None] | None = None,
    ) -> list[Image]:
        """Diffuse frames that do not depend on each other; neighbours of one plan go through the model together."""
        paints = [None] * len(frames) if paints is None else paints
        tasks = [self._task(*each) for each in zip(inits, frames, paints, strict=True)]
        pictures: list[Image] = []
        for plan, group in groupby(tasks, key=lambda task: task.plan):
            members = list(group)
            try:
                pictures += self._diffuse_beside(plan, members, width, height)
            except RenderError:
                if len(members) == 1:
                    raise
                # One frame by itself at a time: those that can be made are, and the one that cannot is named.
                pictures += [self._diffuse(plan, [member], width, height)[0] for member in members]
        # A picture that leaves here may be changed in place and kept: it must be an ordinary tensor.
        with torch.inference_mode(False):
            return [picture.clone(memory_format=torch.preserve_format) for picture in pictures]

    def _diffuse_beside(self, plan: Plan, tasks: Sequence[Task], width: int, height: int) -> list[Image]:
        """Diffuse frames; on a processor of several cores, some beside the others, each on cores of its own."""
        cores = torch.get_num_threads()
        crews = min(cores, len(tasks)) if self.device.type == "cpu" else 1
        if crews == 1:
            return self._diffuse(plan, tasks, width, height)

        @torch.inference_mode()
        def work(part: Sequence[Task]) -> list[Image]:
            torch.set_num_threads(max(1, cores // crews))  # of this thread
            with shared():
                return self._diffuse(plan, part, width, height)

        bounds = [len(tasks) * i // crews for i in range(crews + 1)]
        parts = [tasks[first:last] for first, last in pairwise(bounds)]
        with ThreadPoolExecutor(crews) as pool:
            return [picture for part in pool.map(work, parts) for picture in part]

    def _task(self, init: Image | None, frame: Frame, paint: Paint | None) -> Task:
        sampler = find_sampler(frame.sampler)
        steps = int(frame.params.steps + 1e-6)
        cells: Tensor | None = None
        if init is None or paint is None:
            run = count_steps(steps, None if init is None else frame.params.strength, exact=self._exact)
        else:
            cells = cell_steps(paint.strength, self.factor, steps, exact=self._exact)
            run = int(cells.max())
        eta = {"ancestral_eta": frame.params.ancestral_eta, "ddim_eta": frame.params.ddim_eta}.get(sampler.eta, 0.0)
        conditioning = Conditioning(tuple(self._pulls(frame)), frame.params.cfg_scale)
        tokens = len(conditioning.pulls[0].embedding.tokens)
        plan = Plan(sampler, steps, run, eta, init is not None, tokens)
        return Task(init, frame, conditioning, plan, None if cells is None else paint, cells)

    def _diffuse(self, plan: Plan, tasks: Sequence[Task], width: int, height: int) -> list[Image]:
        inits = [_prepared(task.init, task.paint) for task in tasks if task.init is not None]
        if plan.run == 0:
            return inits  # nothing is to be painted
        frames = [task.frame for task in tasks]
        model, index = self._model, frames[0].index
        sigmas = visit(model.schedule, plan.sampler.grid, plan.steps, skip_penultimate=plan.sampler.skip_penultimate)
        sigmas = sigmas[plan.steps - plan.run :]
        shape = self._door.latent_shape(width, height)
        start = torch.stack(
            [
                starting_noise(shape, frame, self.factor) * (frame.params.noise_multiplier if plan.from_image else 1.0)
                for frame in frames
            ]
        ).to(self.device)
        held = Walk.hold
        if plan.from_image:
            latents = self._refilled(self._door.encode(inits, index), tasks)
            if any(task.paint for task in tasks):
                held = hold(latents, start, [task.cell_steps for task in tasks], sigmas)
            start = latents + start * sigmas[0]
        else:
            # The deviation of x0 + sigma * noise, for latents x0 of deviation 1.
            start = start * (sigmas[0] ** 2 + 1) ** 0.5
        padded = shape[2] * self.factor, shape[1] * self.factor
        may_be_blank = plan.from_image and all(is_blank(image, 1 / 255) for image in inits)

        def sample() -> tuple[Tensor, str]:
            finite: list[Tensor] = []
            predict = model.denoiser([task.conditioning for task in tasks], *padded)

            def denoise(x: Tensor, sigma: float) -> Tensor:
                x0 = predict(held(x, sigma), sigma)
                finite.append(torch.isfinite(x0).all())
                return x0

            walk = Walk(
                denoise=denoise,
                sigmas=sigmas,
                noise=step_noise(shape, frames, self.factor, self.device),
                eta=plan.eta,
                schedule=model.schedule,
                hold=held,
            )
            latents = SOLVERS[plan.sampler.solver](start, walk)
            # One look at the device for all evaluations.
            faults = (~torch.stack([*finite, torch.isfinite(latents).all()])).nonzero().flatten().tolist()
            if faults:
                return latents, f"NaN or Inf at evaluation {min(faults[0] + 1, len(finite))} of {len(finite)}"
            # (A picture of a single latent has nothing to vary over.)
            blank = not may_be_blank and latents[0, 0].numel() > 1 and any(is_blank(own, _BLANK) for own in latents)
            return latents, "a picture of one colour" if blank else ""

        latents = guarded(f"the {model.network_name}", index, model.networks, sample)
        return self._door.decode(latents, width, height, index, may_be_blank=may_be_blank)

    def _refilled(self, latents: Tensor, tasks: Sequence[Task]) -> Tensor:
        """Put noise or zeros into the masked places of latents (B, C, h, w) whose paint asks for it."""
        for own, task in zip(latents, tasks, strict=True):
            if task.paint is None or task.cell_steps is None or not task.paint.fill.startswith("latent"):
                continue
            seed = derive_seed(task.frame.seed, 0, "fill")  # apart from the noise that is put over it
            zeros = torch.zeros_like(own)
            draw = draws(own.shape, seed, task.frame.noise_map, self.factor)
            noise = draw().to(own.device) if "noise" in task.paint.fill else zeros
            own.copy_(torch.where((task.cell_steps > 0).to(own.device), noise, own))
        return latents

    def _pulls(self, frame: Frame) -> list[Pull]:
        """List the prompts to evaluate: guidance is uncond + cfg * sum of w (cond - uncond), with 0 parts left out."""
        skip, cfg = max(int(frame.params.clip_skip + 1e-6), 1), frame.params.cfg_scale
        if self._model.reads_guidance:
            # The scale is an input of the network instead.
            cfg = 1.0

        def embed(text: str, negative: bool = False) -> Embedding:
            return self._prompts.encode(text, skip, frame=frame.index, negative=negative)

        def blend(parts: Sequence[tuple[Embedding, float]]) -> Embedding:
            return self._prompts.blend(parts, skip, frame=frame.index)

        composed = [(parse_composition(prompt.positive), prompt.weight) for prompt in frame.prompts]
        if all(len(parts) == 1 for parts, _ in composed):
            positive = [(blend([(embed(parts[0].text), weight) for parts, weight in composed]), 1.0)]
        else:
            # Compositions are blended as compositions: every part pulls with its prompt's share.
            positive = [(embed(part.text), part.weight * weight) for parts, weight in composed for part in parts]
        rest = 1 - cfg * sum(weight for _, weight in positive)
        pulls = [Pull(embedding, cfg * weight, False) for embedding, weight in positive]
        if abs(rest) > 1e-6:
            negative = blend([(embed(prompt.negative, negative=True), prompt.weight) for prompt in frame.prompts])
            pulls.insert(0, Pull(negative, rest, True))
        pulls = [pull for pull in pulls if abs(pull.weight) > 1e-6]
        length = max(len(pull.embedding.tokens) for pull in pulls)
        return [
            Pull(self._prompts.fill(pull.embedding, length, skip, frame=frame.index), pull.weight, pull.is_negative)
            for pull in pulls
        ]


def _prepared(init: Image, paint: Paint | None) -> Image:
    """Smear the colours around into what is masked, where the paint asks for it."""
    return smear(init, paint.strength.to(init.device) < 1) if paint is not None and paint.fill == "fill" else init


def batch_size(device: torch.device, width: int, height: int) -> int:
    """Choose by the device's memory and the size of the frames: the same in every run, so that pictures are too."""
    if device.type == "cpu":
        return ON_CPU
    if device.type != "cuda":
        return 1  # memory is shared with everything else
    share = torch.cuda.get_device_properties(device).total_memory / 2
    return max(1, min(MOST, int(share / (MEMORY * width * height / 512**2))))
