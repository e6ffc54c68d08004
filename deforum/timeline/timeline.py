"""Schedules sampled into a timeline: the parameters, seed and prompts of every frame, before any is rendered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.seeds import derive_seed
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.curves import sample_curve
from deforum.timeline.ending import LOOP_STRENGTH, Ending, Plan, plan_of
from deforum.timeline.expressions import Fault, PromptTexts, find_faults
from deforum.timeline.frame import Frame, Span
from deforum.timeline.image_tracks import ImageTrack, ReferenceTrack, place_images, place_reference
from deforum.timeline.keyframes import distribute, keyframes_of
from deforum.timeline.lora_tracks import LoraTrack, place_loras
from deforum.timeline.lora_words import LoraWord, join_loras, take_loras
from deforum.timeline.motion import ease_back, motion_of
from deforum.timeline.prompts import NO_PROMPTS, Prompt, PromptTrack, place_prompts, plain_number, prepare
from deforum.timeline.sub_prompts import split_parts
from deforum.timeline.variables import variables_of
from schedules import Signals, Variables


def iter_seeds(start: int, count: int, every: int, full_groups: bool) -> list[int]:
    """Return `count` seeds, +1 after each group of `every`; without `full_groups` the first group is 1 (Deforum)."""
    return [start + (i // every if full_groups else -(-i // every)) for i in range(count)]


SEED_SEQUENCES: dict[str, Callable[[int, int], list[int]]] = {
    "fixed": lambda start, count: [start] * count,
    "ladder": lambda start, count: [start + i // 2 + 2 * (i % 2) for i in range(count)],
    "alternate": lambda start, count: [start + i % 2 for i in range(count)],
    "random": lambda start, count: [start, *(derive_seed(start, i, "seed") for i in range(1, count))],
}
"""Seed behaviours as functions of (start seed, number of diffused frames)."""


@dataclass(frozen=True)
class Timeline:
    """All schedules, sampled for frames 0..num_frames-1; `timeline[i]` is the Frame of index i."""

    num_frames: int
    fps: float
    seed: int
    keys: tuple[int, ...]
    """Indices of the diffused frames, ascending, from 0."""
    cadence: int
    """Frames from one diffused frame to the next; the longest way where keyframes decide."""
    on_time: bool
    curves: Params[NDArray[np.float64]]
    """(F,) for each parameter."""
    seeds: tuple[int, ...]
    """The seed of each diffused frame, in the order of `keys`."""
    samplers: tuple[str, ...]
    checkpoints: tuple[str, ...]
    prompts: PromptTrack
    blend_prompts: bool
    prompt_weighting: Literal["off", "shares", "weights"]
    loras: tuple[LoraTrack, ...] = ()
    """Those of the setting; prompts may name more."""
    images: tuple[ImageTrack, ...] = ()
    reference: ReferenceTrack | None = None
    vaes: tuple[str, ...] = ()
    """Of each frame; empty: those of the models in all frames."""
    plan: Plan | None = None
    """How it ends; None where it just stops."""
    end_picture: str = ""
    """The file of the picture that it ends with; empty in a loop."""
    end_strength: float = 1.0
    starts_empty: bool = False
    """Whether the first frame is diffused from empty latents, with init_strength."""
    first: int = 0
    """The first frame that is rendered; it is diffused."""
    signals: Signals | None = None
    """What expressions in prompts may follow."""

    def __len__(self) -> int:
        return self.num_frames

    def following(self, frame: Frame) -> Frame | None:
        """Return the first painted frame after one; None after the last."""
        place = bisect_right(self.keys, frame.index)
        return self[self.keys[place]] if place < len(self.keys) else None

    def is_used(self, param: str) -> bool:
        """Return whether a parameter is nonzero in any frame."""
        return bool(getattr(self.curves, param).any())

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """What names the model of each frame, see `Frame.model`."""
        return tuple(zip(self.checkpoints, self.vaes or ("",) * self.num_frames, strict=True))

    @cached_property
    def variables(self) -> Variables:
        return Variables(seed=self.seed, fps=self.fps, signals=self.signals)

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of a timeline of {self.num_frames}")
        params = self._ahead.get(index) or self._params(index)
        turn = bisect_right(self.keys, index) - 1
        ending = self._ending(index, turn)
        seed = self.seeds[turn]
        prompts, loras = self._prompts(index)
        return Frame(
            index=index,
            seed=seed,
            subseed=derive_seed(seed, index, "subseed") if params.subseed < 0 else int(params.subseed),
            prompts=prompts,
            sampler=self.samplers[index],
            checkpoint=self.checkpoints[index],
            vae=self.vaes[index] if self.vaes else "",
            params=params,
            # Towards the end, colours become those of the picture there.
            renewal=max(self._renewal(index), 0.0 if ending is None else ending.share),
            loras=loras,
            reference=None if self.reference is None else self.reference.at(index),
            images=tuple(track.at(index, blend=self.blend_prompts) for track in self.images),
            starts_empty=self.starts_empty and index == self.first,
            turn=turn,
            ending=ending,
        )

    def _params(self, index: int) -> Params[float]:
        return self.curves.map(lambda _, curve: float(curve[index]))

    @cached_property
    def _ahead(self) -> dict[int, Params[float]]:
        """Parameters of the frames on the way to the end, which each of these frames looks through."""
        frames = () if self.plan is None else range(self.plan.start, self.plan.end + 1)
        return {index: self._params(index) for index in {frame % self.num_frames for frame in frames}}

    def _ending(self, index: int, turn: int) -> Ending | None:
        plan = self.plan
        if plan is None or index <= plan.start:
            return None
        before = self.keys[max(turn - 1, 0)]
        # The last diffused frame of a loop is as near to the end as if it were the last frame.
        late = plan.end - 1 - self.keys[-1] if plan.is_loop else 0
        share = plan.share(index + late)
        return Ending(
            share=share,
            settle=plan.settle(share, self.keys[-1], self.cadence),
            pull=plan.pull(index + late, before + late),
            strength=LOOP_STRENGTH if plan.is_loop else self.end_strength,
            picture=self.end_picture,
            way=tuple(self._ahead[each % self.num_frames] for each in range(index, plan.end + 1)),
        )

    def _renewal(self, index: int) -> float:
        """Return the share of the prompts that changed within the last `color_renewal` painted frames."""
        keys = [*self.keys, self.keys[-1] + self.cadence]
        turn = float(np.interp(index, keys, range(len(keys)))) - self.curves.color_renewal[index]
        since = index - round(index - np.interp(turn, range(len(keys)), keys))
        return self.prompts.change(max(since, 0), index, blend=self.blend_prompts)

    def _prompts(self, index: int) -> tuple[tuple[Prompt, ...], tuple[LoraWord, ...]]:
        """Return the prompts of a frame, and the LoRAs that they and the settings name."""
        prompts: list[Prompt] = []
        loras: list[tuple[tuple[LoraWord, ...], float]] = []
        for text, weight in self.prompts.at(index, blend=self.blend_prompts):
            prompt = prepare(text, weight, index, self.num_frames, self.variables, plain_number)
            positive, words = take_loras(prompt.positive)
            negative, _ = take_loras(prompt.negative)
            prompts.append(replace(prompt, positive=positive.strip(), negative=negative.strip()))
            loras.append((words, weight))
        if self.prompt_weighting != "off":
            shares = self.prompt_weighting == "shares"
            prompts = [part for prompt in prompts for part in split_parts(prompt, shares=shares)]
        loras += [((track.at(index),), 1.0) for track in self.loras]
        return tuple(prompts), join_loras(loras)

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(self.num_frames))

    def spans(self) -> Iterator[Span]:
        """Split the timeline from its first frame on into spans of one diffusion each, which show every frame once.

        On time: a span ends with its diffused frame. The frames after the last diffused one are a span without one:
        a diffusion of its own, sooner than the others, would jump at the end of the film. Otherwise (Deforum) a span
        begins with its diffused frame, which is blended in until the next one.
        """
        last, keys = self.num_frames - 1, self.keys[bisect_left(self.keys, self.first) :]
        if self.on_time:
            bounds = [(key, before + 1, key) for before, key in zip((self.first - 1, *keys), keys, strict=False)]
        else:
            ends = (*(key - 1 for key in keys[1:]), last)
            bounds = [(key, key, end) for key, end in zip(keys, ends, strict=True)]
        for key, first, end in bounds:
            length = end - first + 1 if self.on_time else self.cadence
            indices = range(first, end + 1)
            yield Span(self[key], tuple(self[i] for i in indices), tuple((i - first + 1) / length for i in indices))
        if self.on_time and self.keys[-1] < last:
            rest = tuple(self[i] for i in range(self.keys[-1] + 1, last + 1))
            if self.plan is None or not self.plan.is_loop:
                yield Span(self[self.keys[-1]], rest, (1.0,) * len(rest), paints=False)
                return
            length = self.num_frames - self.keys[-1]
            fades = tuple((i + 1) / length for i in range(len(rest)))
            closes = replace(self[0], index=self.num_frames)
            yield Span(self[self.keys[-1]], rest, fades, paints=False, closes=closes)


def seed_sequence(settings: Settings, keys: Sequence[int], schedule: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the seed of each diffused frame; only the behaviour "schedule" reads `schedule` (F,).

    Its values are truncated toward zero; a negative one is a random seed derived from the start seed and the frame.
    """
    if settings.seed_behavior == "schedule":
        scheduled = ((key, int(schedule[key])) for key in keys)
        return tuple(derive_seed(settings.seed, key, "seed") if value < 0 else value for key, value in scheduled)
    if settings.seed_behavior == "iter":
        full_groups = PROFILES[settings.profile].full_iter_groups
        return tuple(iter_seeds(settings.seed, len(keys), settings.seed_iter_n, full_groups))
    return tuple(SEED_SEQUENCES[settings.seed_behavior](settings.seed, len(keys)))


def diffused_frames(settings: Settings, prompts: PromptTrack) -> Sequence[int]:
    """Return the indices of the diffused frames, with the first one that is rendered; `prompts` are on the timeline."""
    if not settings.mode.goes_on:
        return range(settings.max_frames)
    keyframes = keyframes_of(settings, prompts.keys)
    keys = distribute(settings.keyframe_distribution, keyframes, settings.max_frames, settings.cadence)
    last = (settings.max_frames - 1,) if settings.ends_at_picture else ()
    return tuple(sorted({*keys, settings.first_frame, *last}))


def with_keyframe_strength(
    settings: Settings, curves: Params[NDArray[np.float64]], prompts: PromptTrack
) -> Params[NDArray[np.float64]]:
    """Return curves (F,) whose strength is keyframe_strength at keyframes, or at all other frames as in the fork."""
    if not settings.has_keyframe_strength:
        return curves
    at = np.isin(np.arange(settings.max_frames), keyframes_of(settings, prompts.keys))
    if not PROFILES[settings.profile].keyframes_have_their_strength:
        at = ~at
    return replace(curves, strength=np.where(at, curves.keyframe_strength, curves.strength))


def _longest_way(settings: Settings, keys: Sequence[int]) -> int:
    if not settings.mode.goes_on or settings.keyframe_distribution == "Off":
        return settings.cadence if settings.mode.goes_on else 1
    return max((after - before for before, after in pairwise(keys)), default=1)


def prompt_faults(settings: Settings, track: PromptTrack) -> Iterator[Fault]:
    """Yield the faults of the expressions in the prompts of settings, which `track` has on the timeline."""
    texts = PromptTexts(settings.prompts or NO_PROMPTS, settings.positive_prompt, settings.negative_prompt)
    count, variables = settings.max_frames, variables_of(settings)
    blend = settings.blending != "hold"
    return find_faults(texts, track, diffused_frames(settings, track), count, variables, blend=blend)


def sample(settings: Settings, *, starts_from_picture: bool) -> Timeline:
    """Sample all schedules of settings whose seed is resolved (not -1).

    `starts_from_picture`: the first frame is diffused from an init image, with init_strength; without one and with
    strength_0_no_init off, from empty latents with the same.

    Raises ScheduleError where an expression has no value at some frame, UserError for invalid prompt keyframes and for
    expressions in prompts that cannot be evaluated.
    """
    count, variables = settings.max_frames, variables_of(settings)
    prompts = place_prompts(settings.prompts, settings.positive_prompt, settings.negative_prompt, count, variables)
    keys = diffused_frames(settings, prompts)
    curves = settings.params.map(lambda name, schedule: sample_curve(name, schedule, settings))
    curves = motion_of(settings, with_keyframe_strength(settings, curves, prompts)).curves
    plan, blend = plan_of(settings), settings.blending != "hold"
    if plan is not None and plan.is_loop:
        curves, _ = ease_back(curves, plan.start)
    starts_empty = settings.mode.goes_on and not settings.strength_0_no_init and not starts_from_picture
    if starts_from_picture or starts_empty:
        strength = curves.strength.copy()
        strength[settings.first_frame] = settings.init_strength
        curves = replace(curves, strength=strength)
    if not settings.renews_colors:
        curves = replace(curves, color_renewal=np.zeros(count))
    faults = [fault for fault in prompt_faults(settings, prompts) if not (fault.instead and settings.is_lenient)]
    if faults:
        raise UserError([Problem(str(fault.error)) for fault in faults])
    return Timeline(
        num_frames=count,
        fps=settings.fps,
        seed=settings.seed,
        keys=tuple(keys),
        cadence=_longest_way(settings, keys),
        on_time=settings.keys_on_time,
        curves=curves,
        seeds=seed_sequence(settings, keys, curves.seed_schedule),
        samplers=settings.sampler.sample(count, variables),
        checkpoints=settings.checkpoint.sample(count, variables),
        vaes=settings.vae.sample(count, variables),
        prompts=prompts if plan is None or not plan.is_loop else prompts.closed(plan.start, plan.end, blend=blend),
        blend_prompts=blend,
        loras=place_loras(settings),
        images=place_images(settings),
        reference=place_reference(settings),
        plan=plan if settings.mode.goes_on else None,
        end_picture=settings.end_image or "" if settings.ends_at_picture else "",
        end_strength=settings.end_strength,
        starts_empty=starts_empty,
        first=settings.first_frame,
        prompt_weighting=settings.prompt_weighting,
        signals=variables.signals,
    )
