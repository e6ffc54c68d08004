"""Diffusion of frames: img2img from an init picture, or text to image from noise, by the frame's prompts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal

import torch
from torch.nn.functional import avg_pool2d, pad

from deforum.diffusion.adapters import reference
from deforum.diffusion.adapters.controlnet import acting
from deforum.diffusion.adapters.ip_adapter.load import Pictured, blended, inputs_of
from deforum.diffusion.adapters.lora.acting import LEAST, Acting, ForSteps, for_text, loras_of
from deforum.diffusion.adapters.lora.load import Joined
from deforum.diffusion.adapters.reference import Bank
from deforum.diffusion.altered import FreeU, is_unet
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.cores import in_turn
from deforum.diffusion.families.model import Conditioning, Denoise, Model, Pull, in_rounds
from deforum.diffusion.faults import Fault, RenderError, blank, guarded, is_blank, not_finite, shared, watched
from deforum.diffusion.guidance import guided, guided_and_not
from deforum.diffusion.memory import BATCH_ON_CPU, memory_of_frame
from deforum.diffusion.noise import draws, starting_noise, step_noise
from deforum.diffusion.pixel_strength import Paint, cell_steps, cell_steps_on_device, hold, smear
from deforum.diffusion.prompts.encode import Embedding, PromptEncoder, as_in_the_web_ui
from deforum.diffusion.prompts.syntax import parse_composition
from deforum.diffusion.sampling.paths import path_of
from deforum.diffusion.sampling.samplers import Sampler, find_sampler
from deforum.diffusion.sampling.solvers import solve
from deforum.diffusion.sampling.steps import count_steps, prompt_step, step_at
from deforum.diffusion.sampling.walk import Walk
from deforum.diffusion.windows import Make, in_windows
from deforum.errors import UserError
from deforum.models.branches import NOTHING, adapting
from deforum.models.open_vino import side_by_side
from deforum.models.room import Room, room_of, within_memory
from deforum.models.transfer import stays_on, upload
from deforum.pixels.image import Image
from deforum.profiling import WAITING, in_context, stage, staged
from deforum.seeds import derive_seed
from deforum.timeline.edits import is_edited, text_at
from deforum.timeline.frame import Frame
from deforum.timeline.image_tracks import INIT, ImageWord
from deforum.timeline.prompts import Prompt, negatives, positives

Tensor = torch.Tensor

_BLANK = 1e-4
"""Range of values in every channel below which latents (standard deviation about 1) count as blank."""

MOST = 16
"""Largest batch size on a CUDA device."""
MEMORY = 2**30
"""Peak memory of one frame of 512x512, in bytes, with guidance, in 16 bits; the peak is in decoding."""


@dataclass(frozen=True)
class Plan:
    """Sampling parameters that the frames of one batch have in common."""

    sampler: Sampler
    steps: int
    run: int
    """Number of steps that are run, the last ones of `steps`; 0 where the whole init is kept."""
    eta: float
    start: Literal["image", "empty", "noise"]
    """Image to image, the same from empty latents (all 0), or text to image from noise alone."""
    tokens: tuple[int, ...]
    """Length of the embeddings in tokens, in each step; a single one where no prompt changes. Padding them to a longer
    one in the batch would change the picture."""
    free_u: FreeU
    units: tuple[tuple[int, str], ...] = ()
    """The control units that act, by identity and priority."""
    loras: tuple[Acting, ...] = ()
    images: tuple[tuple[int, float], ...] = ()
    """IP-Adapters that act, by their numbers, and their scales."""
    refers: bool = False
    """Whether the frames see a reference."""


@dataclass(frozen=True, eq=False)
class Task:
    """The inputs of one frame's diffusion."""

    init: Image | None
    frame: Frame
    conditionings: tuple[Conditioning, ...]
    """Of each step, the same object in steps with the same prompts; a single one where no prompt changes."""
    plan: Plan
    paint: Paint | None
    cell_steps: Tensor | None
    """The number of steps to run at each latent cell, (h, w); None without a paint."""


class Diffuser:
    """Renders frames with a diffusion model, deterministically: equal frames and inits give equal pictures."""

    def __init__(
        self,
        model: Model,
        *,
        exact_step_count: bool,
        fills_prompts: bool = True,
        prompt_blend: str = "linear",
        vae_refinement: int = 0,
        refine_from: float = 0.0,
        compensates: bool = False,
        room: Room | None = None,
        loras: Mapping[str, Joined] | None = None,
        pictured: Sequence[Pictured] = (),
        window: int = 0,
    ) -> None:
        """`loras`: those that the model has branches of, by their names in frames; `pictured`: its IP-Adapters.

        `window`: side in px of the windows in which frames are denoised, see `windows`; 0: they are denoised whole.
        """
        self._window = window
        self._model, self._loras, self._pictured = model, loras or {}, pictured
        self._exact = exact_step_count
        self._fills = fills_prompts
        self._room = room_of(model.device) if room is None else room
        self._fitting, self._fitted = threading.Lock(), (0, 0)
        self._door = Autoencoder(
            model.vae, vae_refinement, lambda: self._room.mode == "lowest", compensates=compensates
        )
        self._refine_from = refine_from
        self._prompts = PromptEncoder(model.text, spherical=prompt_blend == "spherical")
        self.device: torch.device = model.device
        self.factor = self._door.factor
        """Side of a latent cell in px."""

    def fit(self, width: int, height: int) -> None:
        """Choose the least saving mode of memory in which frames of width x height px are expected to fit."""
        with self._fitting:  # not again for a size: others may be painting
            if self._fitted != (width, height):
                self._room.fit(memory_of_frame(self._model.vae.config.block_out_channels, width, height))
                self._fitted = width, height

    def __call__(
        self, init: Image | None, frame: Frame, *, width: int, height: int, paint: Paint | None = None
    ) -> Image:
        """Diffuse one frame: image to image from `init` (3, height, width), or text to image where it is None.

        A frame that `starts_empty` is diffused from empty latents in place of an init. `paint` gives a strength per
        pixel in place of the frame's; it is ignored where `init` is None. Returns a picture (3, height, width), 0..1,
        on the diffuser's device. Raises RenderError where a stage gives NaN, Inf or a blank picture.
        """
        return self.diffuse_batch([init], [frame], width=width, height=height, paints=[paint])[0]

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the model's network."""
        dtype: torch.dtype = self._model.networks[0].dtype
        return dtype

    @torch.inference_mode()
    def diffuse_batch(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        *,
        width: int,
        height: int,
        paints: Sequence[Paint | None] | None = None,
        seed_size: tuple[int, int] | None = None,
    ) -> list[Image]:
        """Diffuse independent frames, see `__call__`; consecutive frames with equal `Plan` form one batch.

        `seed_size`: width and height in px at which the starting noise is drawn, see `noise.starting_noise`.
        """
        paints = [None] * len(frames) if paints is None else paints
        if any(frame.grid != (0, 0) for frame in frames):
            return self._on_their_grids(inits, frames, paints, width, height, seed_size)
        if len(frames) == 1:
            # Its faults, those of its prompts too, are read once. A try that ran out of memory leaves none to read.
            def work() -> list[Image]:
                task = self._task(inits[0], frames[0], paints[0])
                return self._diffuse(task.plan, [task], width, height, seed_size)

            pictures = within_memory(partial(watched, work), self._room, alone=True)
        else:
            pictures = self._diffuse_groups(inits, frames, paints, width, height, seed_size)
        # The caller may modify pictures in place, which inference-mode tensors do not allow: return ordinary ones.
        with torch.inference_mode(False):
            return [picture.clone(memory_format=torch.preserve_format) for picture in pictures]

    def _on_their_grids(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        paints: Sequence[Paint | None],
        width: int,
        height: int,
        seed_size: tuple[int, int] | None,
    ) -> list[Image]:
        """Diffuse frames on the grids that they ask for, each as part of a picture that is larger by one cell.

        The picture is mirrored into the margins. Consecutive frames with one grid form one batch.
        """
        pictures: list[Image] = []
        for grid, group in groupby(zip(inits, frames, paints, strict=True), key=lambda each: each[1].grid):
            # A frame on the plain grid stays as it is.
            (left, top), cell = grid, self.factor if grid != (0, 0) else 0
            wide, high = width + cell, height + cell
            placed = [_placed(*each, (left, cell - left, top, cell - top), (wide, high)) for each in group]
            larger = self.diffuse_batch(
                [init for init, _, _ in placed],
                [frame for _, frame, _ in placed],
                width=wide,
                height=high,
                paints=[paint for _, _, paint in placed],
                seed_size=seed_size,
            )
            with torch.inference_mode(False):
                inner = (picture[None, :, top : top + height, left : left + width] for picture in larger)
                pictures += [each.contiguous(memory_format=torch.channels_last)[0] for each in inner]
        return pictures

    def _diffuse_groups(
        self,
        inits: Sequence[Image | None],
        frames: Sequence[Frame],
        paints: Sequence[Paint | None],
        width: int,
        height: int,
        seed_size: tuple[int, int] | None,
    ) -> list[Image]:
        tasks = [self._task(*each) for each in zip(inits, frames, paints, strict=True)]
        pictures: list[Image] = []
        for (plan, _), group in groupby(enumerate(tasks), key=_batch_of):
            members = [task for _, task in group]
            try:
                work = partial(self._diffuse_beside, plan, members, width, height, seed_size)
                pictures += within_memory(work, self._room, alone=len(members) == 1)
            except RenderError:
                if len(members) == 1:
                    raise
                # Frame by frame: now a retry in float32 is possible, and an error names its own frame.
                pictures += [self._diffuse(plan, [member], width, height, seed_size)[0] for member in members]
        return pictures

    def _diffuse_beside(
        self, plan: Plan, tasks: Sequence[Task], width: int, height: int, seed_size: tuple[int, int] | None
    ) -> list[Image]:
        """Diffuse one batch; on a multi-core CPU it is split over threads, each with its share of the cores."""
        cores = torch.get_num_threads()
        crews = min(cores, len(tasks)) if self.device.type == "cpu" else 1
        if crews == 1:
            return self._diffuse(plan, tasks, width, height, seed_size)

        @torch.inference_mode()
        def work(part: Sequence[Task]) -> list[Image]:
            torch.set_num_threads(max(1, cores // crews))  # holds for this thread only
            with shared(), side_by_side(crews):
                return self._diffuse(plan, part, width, height, seed_size)

        bounds = [len(tasks) * i // crews for i in range(crews + 1)]
        parts = [tasks[first:last] for first, last in pairwise(bounds)]
        with stage(WAITING), ThreadPoolExecutor(crews, "painting") as pool:
            painted = [pool.submit(in_context(work), part) for part in parts]
            return [picture for part in painted for picture in part.result()]

    def _task(self, init: Image | None, frame: Frame, paint: Paint | None) -> Task:
        sampler = find_sampler(frame.sampler)
        steps = int(frame.params.steps + 1e-6)
        cells: Tensor | None = None
        start: Literal["image", "empty", "noise"] = "image"
        if init is None:
            start = "empty" if frame.starts_empty else "noise"
        if init is None or paint is None:
            strength = None if start == "noise" else frame.params.strength
            run = count_steps(steps, strength, exact=self._exact, timesteps=sampler.timesteps)
        else:
            exact, timesteps = self._exact, sampler.timesteps
            if paint.least is None or not stays_on(paint.strength.device):
                cells = cell_steps(paint.strength, self.factor, steps, exact=exact, timesteps=timesteps)
                run = int(cells.max())
                own = count_steps(steps, frame.params.strength, exact=exact, timesteps=timesteps)
                if stays_on(init.device) and paint.fill == "original" and bool((cells == own).all()):
                    cells = None  # no hole was seen: on the CPU there is no paint then
            else:
                cells = cell_steps_on_device(paint.strength, self.factor, steps, exact=exact, timesteps=timesteps)
                run = count_steps(steps, paint.least, exact=exact, timesteps=timesteps) if paint.least < 1 else 0
        eta = {"ancestral_eta": frame.params.ancestral_eta, "ddim_eta": frame.params.ddim_eta}.get(sampler.eta, 0.0)
        loras = loras_of(frame.loras, self._loras)
        with adapting(for_text(loras)):
            conditionings = self._conditionings(frame, max(run, 1), steps)
        tokens = tuple(len(each.pulls[0].embedding.tokens) for each in conditionings)
        units = tuple((id(control.unit), control.priority) for control in frame.controls)
        images = tuple((word.unit, word.scale) for word in _acting_images(frame))
        word = frame.reference
        refers = word is not None and word.strength > LEAST and (word.picture != INIT or init is not None)
        free_u, pag = _free_u(frame), frame.params.pag_scale
        if (free_u.acts or pag) and not is_unet(self._model.networks[0]):
            raise UserError(
                f"frame {frame.index}: FreeU and pag_scale change a UNet, and this model's network is another one; set "
                f"freeu_b1, freeu_b2, freeu_s1 and freeu_s2 to 1, and pag_scale to 0"
            )
        if refers and (frame.regions or pag or frame.params.guidance_rescale or sampler.cfg_pp):
            raise UserError(
                f"frame {frame.index}: reference does not act together with regions, pag_scale, guidance_rescale and "
                f"CFG++ samplers; leave out the one or the other"
            )
        plan = Plan(sampler, steps, run, eta, start, tokens, free_u, units, loras, images, refers)
        return Task(init, frame, conditionings, plan, None if cells is None else paint, cells)

    def _diffuse(
        self, plan: Plan, tasks: Sequence[Task], width: int, height: int, seed_size: tuple[int, int] | None
    ) -> list[Image]:
        return watched(lambda: self._diffuse_batch(plan, tasks, width, height, seed_size))

    def _diffuse_batch(
        self, plan: Plan, tasks: Sequence[Task], width: int, height: int, seed_size: tuple[int, int] | None
    ) -> list[Image]:
        inits = [_prepared(upload(task.init, self.device), task.paint) for task in tasks if task.init is not None]
        if plan.run == 0:
            return inits  # the whole init is kept
        frames = [task.frame for task in tasks]
        model, index = self._model, frames[0].index
        run = None if plan.start == "noise" else plan.run
        shape = self._door.latent_shape(width, height)
        padded = shape[2] * self.factor, shape[1] * self.factor
        schedule = model.schedule.at_size(*padded)
        path = path_of(schedule, plan.sampler, plan.steps, run, exact=self._exact)
        sigmas = path.sigmas
        start = upload(
            torch.stack(
                [
                    starting_noise(shape, frame, self.factor, seed_size)
                    * (frame.params.noise_multiplier if plan.start == "image" else 1.0)
                    for frame in frames
                ]
            ),
            self.device,
        )
        held = Walk.hold
        if plan.start == "image" and any(task.paint for task in tasks):
            latents = self._refilled(self._encode(inits, index), tasks)
            held = hold(latents, start, [task.cell_steps for task in tasks], sigmas)
            start = latents + start * sigmas[0]
        elif plan.start != "noise":
            refined = plan.run <= (1 - self._refine_from) * plan.steps + 1e-6
            latents = self._encode(inits, index, refined) if plan.start == "image" else torch.zeros_like(start)
            start = (latents + start * path.noised) * path.start_scale
        else:
            # The standard deviation of x0 + sigma * noise.
            start = start * (sigmas[0] ** 2 + schedule.data**2) ** 0.5
        seen = self._references(tasks, inits, width, height) if plan.refers else None
        may_be_blank = is_blank(torch.stack(inits), 1 / 255).all() if plan.start == "image" else None

        def sample() -> tuple[Tensor, list[Fault]]:
            finite: list[Fault] = []
            predictors: dict[tuple[int, ...], Denoise] = {}
            of_reference: dict[tuple[int, ...], Denoise] = {}
            apart: dict[tuple[int, ...], Denoise] = {}
            controls = [acting(task.frame.controls, sigmas) for task in tasks]
            images = [(self._pictured[unit], scale) for unit, scale in plan.images]
            inputs = ForSteps(
                plan.loras,
                partial(prompt_step, run=plan.run, steps=plan.steps, exact=self._exact),
                self.device,
                inputs_of(images, self.device) if images else NOTHING,
            )

            def acting_at(sigma: float) -> tuple[int, tuple[int, ...], list[Conditioning]]:
                """Return the step that a noise level belongs to, its conditionings, and what identifies them."""
                step = step_at(sigma, sigmas)
                now = [task.conditionings[min(step, len(task.conditionings) - 1)] for task in tasks]
                given = [replace(each, controls=own) for each, own in zip(now, controls, strict=True)]
                return step, tuple(map(id, now)), given

            def denoise(x: Tensor, sigma: float) -> Tensor:
                step, key, now = acting_at(sigma)
                if key not in predictors:
                    predictors[key] = self._windowed(partial(guided, model), now, *padded)
                if seen is None:
                    with adapting(inputs.at(step)):
                        x0 = predictors[key](held(x, sigma), sigma)
                else:
                    bank = Bank(self._shares(tasks, now))
                    with adapting({**inputs.at(step), reference.KEY: bank}):
                        latents, noise = seen
                        if key not in of_reference:
                            # Control pictures say what is where in the frame, not in the reference.
                            alone = [replace(each, controls=()) for each in now]
                            has_controls = any(each.controls for each in now)
                            of_reference[key] = guided(model, alone, *padded) if has_controls else predictors[key]
                        of_reference[key](latents + sigma * noise, sigma)
                        bank.is_writing = False
                        x0 = predictors[key](held(x, sigma), sigma)
                finite.append(not_finite(x0))
                return x0

            def denoise_apart(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
                step, key, now = acting_at(sigma)
                if key not in apart:
                    apart[key] = self._windowed(partial(_stacked, model), now, *padded)
                with adapting(inputs.at(step)):
                    x0, unguided = apart[key](held(x, sigma), sigma)
                finite.append(not_finite(x0))
                return x0, unguided

            walk = Walk(
                denoise=denoise,
                sigmas=sigmas,
                noise=step_noise(shape, frames, self.factor, self.device),
                eta=plan.eta,
                schedule=schedule,
                hold=held,
                apart=denoise_apart if plan.sampler.cfg_pp else None,
            )
            latents = held(solve(plan.sampler.solver, start, walk) * path.end_scale, 0.0)
            count = len(finite)
            faults = [
                Fault(each.found, f"{each.says} at evaluation {i} of {count}") for i, each in enumerate(finite, 1)
            ]
            last = not_finite(latents)
            faults.append(Fault(last.found, f"{last.says} at evaluation {count} of {count}"))
            # A single latent cell always has a range of 0, so it is not checked.
            if latents[0, 0].numel() > 1:
                faults.append(blank(latents, _BLANK, may_be_blank))
            return latents, faults

        with stage("denoise", index):
            networks = [*model.networks, *(each for control in frames[0].controls for each in control.unit.modules)]
            latents = guarded(f"the {model.network_name}", index, networks, sample)
        with self._with_all_cores():
            pictures = self._door.decode(latents, width, height, index, may_be_blank=may_be_blank)
        if plan.start != "image":
            return pictures
        return [_unless_kept(*each) for each in zip(pictures, inits, tasks, strict=True)]

    def _windowed(self, make: Make, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        """Return the denoiser that `make` makes, in windows where the diffuser has them."""
        if not self._window:
            return make(frames, width, height)
        return in_windows(make, frames, width, height, window=self._window, factor=self.factor)

    def _encode(self, inits: Sequence[Image], index: int, refined: bool = True) -> Tensor:
        with self._with_all_cores():
            return self._door.encode(inits, index, refined=refined)

    def _with_all_cores(self) -> AbstractContextManager[None]:
        """Run the autoencoder with all cores, in turn with other threads, where its last digits show in the picture.

        In 16 bits the smallest change of its input changes all of a network's roundings, by levels of the picture.
        """
        return in_turn(needed=any(network.dtype != torch.float32 for network in self._model.networks))

    def _refilled(self, latents: Tensor, tasks: Sequence[Task]) -> Tensor:
        """Fill the masked cells of latents (B, C, h, w) with noise or zeros, in place, where the paint asks for it."""
        for own, task in zip(latents, tasks, strict=True):
            if task.paint is None or task.cell_steps is None or not task.paint.fill.startswith("latent"):
                continue
            seed = derive_seed(task.frame.seed, 0, "fill")  # independent of the starting noise, which is added to it
            zeros = torch.zeros_like(own)
            draw = draws(own.shape, seed, task.frame.noise_map, self.factor)
            noise = upload(draw(), own.device) if "noise" in task.paint.fill else zeros
            own.copy_(torch.where(upload(task.cell_steps > 0, own.device), noise, own))
        return latents

    def _references(
        self, tasks: Sequence[Task], inits: Sequence[Image], width: int, height: int
    ) -> tuple[Tensor, Tensor]:
        """Return the latents (B, C, h, w) of the frames' references, and noise for them."""
        from deforum.pixels.image import read

        pictures, noises = [], []
        for i, task in enumerate(tasks):
            word = task.frame.reference
            assert word is not None
            if word.picture == INIT:
                pictures.append(inits[i])
                continue
            left, right, top, bottom = word.around
            shown = read(Path(word.picture), width - left - right, height - top - bottom, self.device)
            pictures.append(_mirrored(shown, word.around))
        latents, shape = (
            self._encode(pictures, tasks[0].frame.index, refined=False),
            self._door.latent_shape(width, height),
        )
        for task in tasks:
            seed = derive_seed(task.frame.seed, 0, "reference")
            noises.append(draws(shape, seed, task.frame.noise_map, self.factor)())
        return latents, upload(torch.stack(noises), self.device)

    def _shares(self, tasks: Sequence[Task], conditionings: Sequence[Conditioning]) -> Tensor:
        """Return the reference's share in each row that the network evaluates, (rows, 1, 1)."""
        shares = []
        for row in in_rounds(conditionings):
            for task, pull in zip(tasks, row, strict=True):
                word = task.frame.reference
                assert word is not None
                shares.append(word.strength * (1 - word.fidelity if pull.is_negative else 1.0))
        return upload(torch.tensor(shares), self.device).view(-1, 1, 1)

    @staged("prompt")
    def _conditionings(self, frame: Frame, run: int, steps: int) -> tuple[Conditioning, ...]:
        """Return the conditioning of each of the `run` steps, as in `Task.conditionings`."""
        prompts = (frame.prompts, *((region.prompt,) for region in frame.regions))
        if not any(is_edited(text) for part in prompts for each in part for text in (each.positive, each.negative)):
            return (self._conditioning(frame, prompts),)
        made: dict[Sequence[Sequence[Prompt]], Conditioning] = {}

        def conditioning(step: int) -> Conditioning:
            at = prompt_step(step, run, steps, exact=self._exact)
            now = tuple(
                tuple(
                    replace(each, positive=text_at(each.positive, *at), negative=text_at(each.negative, *at))
                    for each in part
                )
                for part in prompts
            )
            if now not in made:
                made[now] = self._conditioning(frame, now)
            return made[now]

        return tuple(map(conditioning, range(run)))

    def _conditioning(self, frame: Frame, prompts: Sequence[Sequence[Prompt]]) -> Conditioning:
        """Return the conditioning of the prompts of a frame, the first ones, and of those of its regions."""
        sets = self._in_one_length(frame, [self._pulls(frame, part) for part in prompts])
        own, *others = (
            [
                replace(pull, embedding=self._with_images(pull.embedding, frame, negative=pull.is_negative))
                for pull in pulls
            ]
            for pulls in sets
        )
        masks = [self._over_latents(region.mask) for region in frame.regions]
        regions = tuple((mask, tuple(pulls)) for mask, pulls in zip(masks, others, strict=True))
        p = frame.params
        return Conditioning(tuple(own), p.cfg_scale, free_u=_free_u(frame), rescale=p.guidance_rescale, regions=regions)

    def _over_latents(self, mask: Tensor) -> Tensor:
        """Return the mean of a mask (H, W) in each latent cell."""
        height, width = mask.shape
        missing = 0, -width % self.factor, 0, -height % self.factor
        grown = pad(upload(mask, self.device)[None, None].float(), missing, mode="replicate")
        return avg_pool2d(grown, self.factor)[0, 0]

    def _pulls(self, frame: Frame, prompts: Sequence[Prompt] | None = None) -> list[Pull]:
        """List the conditionings to evaluate: uncond + cfg * sum of w (cond - uncond), without terms of weight 0.

        `prompts` are those of a step or of a region, None: the frame's.
        """
        prompts = frame.prompts if prompts is None else prompts
        sampler = find_sampler(frame.sampler)
        skip, cfg = max(int(frame.params.clip_skip + 1e-6), 1), frame.params.cfg_scale * sampler.cfg_share
        if self._model.reads_guidance:
            # The network takes the guidance scale as an input.
            cfg = 1.0

        def embed(text: str, negative: bool = False) -> Embedding:
            return self._prompts.encode(text, skip, frame=frame.index, negative=negative)

        def blend(parts: Sequence[tuple[Embedding, float]]) -> Embedding:
            return self._prompts.blend(parts, skip, frame=frame.index)

        composed = [(parse_composition(text), weight) for text, weight in positives(prompts)]
        if all(len(parts) == 1 for parts, _ in composed):
            positive = [(blend([(embed(parts[0].text), weight) for parts, weight in composed]), 1.0)]
        else:
            # AND compositions are not blended as embeddings: each part's weight is multiplied by its prompt's.
            positive = [(embed(part.text), part.weight * weight) for parts, weight in composed for part in parts]
        rest = 1 - cfg * sum(weight for _, weight in positive)
        pag = frame.params.pag_scale
        pulls = [Pull(embedding, (cfg + pag) * weight, False) for embedding, weight in positive]
        pulls += [Pull(embedding, -pag * weight, False, perturbed=True) for embedding, weight in positive]
        if abs(rest) > 1e-6 or (sampler.cfg_pp and not self._model.reads_guidance):
            negative = blend([(embed(text, negative=True), weight) for text, weight in negatives(prompts)])
            pulls.insert(0, Pull(negative, rest, True))
        pulls = [pull for pull in pulls if abs(pull.weight) > 1e-6 or (pull.is_negative and sampler.cfg_pp)]
        return self._in_one_length(frame, [pulls])[0]

    def _in_one_length(self, frame: Frame, sets: Sequence[Sequence[Pull]]) -> list[list[Pull]]:
        """Give the embeddings of pulls, in sets, one length, as those of one batch need it."""
        skip, pulls = max(int(frame.params.clip_skip + 1e-6), 1), [pull for own in sets for pull in own]
        if len({len(pull.embedding.tokens) for pull in pulls}) == 1:
            return [list(own) for own in sets]
        if self._fills:
            length = max(len(pull.embedding.tokens) for pull in pulls)
            embeddings = [self._prompts.fill(pull.embedding, length, skip, frame=frame.index) for pull in pulls]
        else:
            embeddings = as_in_the_web_ui([(pull.embedding, pull.is_negative) for pull in pulls])
        longer = iter(embeddings)
        return [[replace(pull, embedding=next(longer)) for pull in own] for own in sets]

    def _with_images(self, embedding: Embedding, frame: Frame, *, negative: bool) -> Embedding:
        """Put the tokens of a frame's pictures behind those of a prompt, see `networks.image_tokens`."""
        words = _acting_images(frame)
        if not words:
            return embedding
        parts = [
            blended(
                self._pictured[word.unit], [(Path(path), weight) for path, weight in word.pictures], negative=negative
            )
            for word in words
        ]
        tokens = torch.cat([embedding.tokens, *(part.to(embedding.tokens) for part in parts)])
        return Embedding(tokens, embedding.pooled)


def _stacked(model: Model, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
    """Return a denoiser whose results are the guided and the unguided prediction, (2, B, C, h, w)."""
    both = guided_and_not(model, frames, width, height)
    return lambda x, sigma: torch.stack(both(x, sigma))


def _free_u(frame: Frame) -> FreeU:
    p = frame.params
    return FreeU(p.freeu_b1, p.freeu_b2, p.freeu_s1, p.freeu_s2)


def _batch_of(numbered: tuple[int, Task]) -> tuple[Plan, int]:
    """Return what is equal for frames that are diffused in one batch."""
    number, task = numbered
    return task.plan, number if task.plan.sampler.alone else 0


def _acting_images(frame: Frame) -> list[ImageWord]:
    return [word for word in frame.images if abs(word.scale) > LEAST]


def _placed(
    init: Image | None,
    frame: Frame,
    paint: Paint | None,
    around: tuple[int, int, int, int],
    size: tuple[int, int],
) -> tuple[Image | None, Frame, Paint | None]:
    """Put what a frame is diffused from into a larger picture of `size` (width, height).

    `around` are the margins: left, right, top, bottom.
    """
    if not any(around):
        return init, frame, paint
    left, _, top, _ = around
    if init is not None:
        init = _mirrored(init, around)
    if frame.noise_map is not None:
        frame = replace(frame, noise_map=frame.noise_map.within(left, top, *size))
    # As the init is, so that both still show the same at the same place.
    controls = [control.seen(lambda whole: _mirrored(whole, around)) for control in frame.controls]
    regions = tuple(
        replace(each, mask=pad(each.mask[None, None], around, mode="replicate")[0, 0]) for each in frame.regions
    )
    seen = None if frame.reference is None else replace(frame.reference, around=around)
    frame = replace(frame, controls=tuple(controls), regions=regions, reference=seen)
    if paint is not None:
        paint = replace(paint, strength=pad(paint.strength[None, None], around, mode="replicate")[0, 0])
    return init, replace(frame, grid=(0, 0)), paint


def _mirrored(picture: torch.Tensor, around: tuple[int, int, int, int]) -> torch.Tensor:
    """Add margins to a picture (C, H, W), mirrored, or where they are wider than it the edge repeated."""
    height, width = picture.shape[1:]
    fits = max(around[:2]) < width and max(around[2:]) < height
    return pad(picture[None], around, mode="reflect" if fits else "replicate")[0]


def _prepared(init: Image, paint: Paint | None) -> Image:
    """Fill the masked part of the init with the colours around it, where the paint asks for it."""
    return smear(init, paint.strength.to(init.device) < 1) if paint is not None and paint.fill == "fill" else init


def _unless_kept(picture: Image, init: Image, task: Task) -> Image:
    """Return the init where no cell has a step. On the CPU that is known beforehand."""
    if task.cell_steps is None or task.cell_steps.device.type == "cpu":
        return picture
    return torch.where(task.cell_steps.any(), picture, init)


def batch_size(device: torch.device, width: int, height: int) -> int:
    """Choose a batch size for frames of width x height px from the device's total memory: the same in every run."""
    if device.type == "cpu":
        return BATCH_ON_CPU
    if device.type != "cuda":
        return 1  # memory is shared with the rest of the system
    share = torch.cuda.get_device_properties(device).total_memory / 2
    return max(1, min(MOST, int(share / (MEMORY * width * height / 512**2))))
