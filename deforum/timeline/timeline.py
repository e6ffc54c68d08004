"""Schedules sampled into a timeline: every frame's numbers, seed and prompts, known before the first is rendered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deforum.seeds import derive_seed
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.curves import sample_curve
from deforum.timeline.frame import Frame, Span
from deforum.timeline.prompts import PromptTrack, place_prompts, prepare
from schedules import Variables


def iter_seeds(start: int, count: int, every: int, full_groups: bool) -> list[int]:
    """Count up by one every so many frames; Deforum's first group is of one frame only (`full_groups` False)."""
    return [start + (i // every if full_groups else -(-i // every)) for i in range(count)]


SEED_SEQUENCES: dict[str, Callable[[int, int], list[int]]] = {
    "fixed": lambda start, count: [start] * count,
    "ladder": lambda start, count: [start + i // 2 + 2 * (i % 2) for i in range(count)],
    "alternate": lambda start, count: [start + i % 2 for i in range(count)],
    "random": lambda start, count: [start, *(derive_seed(start, i, "seed") for i in range(1, count))],
}
"""Seed behaviours that need no more than (start seed, number of diffused frames)."""


def key_indices(num_frames: int, cadence: int, *, on_time: bool) -> list[int]:
    """Say which frames are diffused: every `cadence`-th; and the last, where keys are shown on time."""
    keys = list(range(0, num_frames, cadence))
    if on_time and keys[-1] != num_frames - 1:
        keys.append(num_frames - 1)
    return keys


@dataclass(frozen=True)
class Timeline:
    """Everything sampled, for frames 0..num_frames-1; `timeline[i]` makes the Frame."""

    num_frames: int
    fps: float
    seed: int
    keys: tuple[int, ...]
    """Indices of the diffused frames, ascending, from 0."""
    cadence: int
    on_time: bool
    curves: Params[NDArray[np.float64]]
    """(F,) each."""
    seeds: tuple[int, ...]
    """Of each diffused frame, in the order of `keys`."""
    samplers: tuple[str, ...]
    checkpoints: tuple[str, ...]
    prompts: PromptTrack
    blend_prompts: bool

    def __len__(self) -> int:
        return self.num_frames

    def is_used(self, param: str) -> bool:
        """Whether a parameter is anything but 0 in any frame."""
        return bool(getattr(self.curves, param).any())

    @cached_property
    def variables(self) -> Variables:
        return Variables(seed=self.seed, fps=self.fps)

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of a timeline of {self.num_frames}")
        params = self.curves.map(lambda _, curve: float(curve[index]))
        seed = self.seeds[int(np.searchsorted(self.keys, index, side="right")) - 1]
        return Frame(
            index=index,
            seed=seed,
            subseed=derive_seed(seed, index, "subseed") if params.subseed < 0 else int(params.subseed),
            prompts=tuple(
                prepare(text, weight, index, self.num_frames, self.variables)
                for text, weight in self.prompts.at(index, blend=self.blend_prompts)
            ),
            sampler=self.samplers[index],
            checkpoint=self.checkpoints[index],
            params=params,
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(self.num_frames))

    def spans(self) -> Iterator[Span]:
        """Cut the timeline into stretches of one diffusion each, which together show every frame once.

        On time: a stretch ends with its diffused frame. Otherwise (Deforum) it begins with it, which is then blended
        in until the next one.
        """
        if self.on_time:
            bounds = [(before + 1, key) for before, key in zip((-1, *self.keys), self.keys, strict=False)]
        else:
            ends = (*(key - 1 for key in self.keys[1:]), self.num_frames - 1)
            bounds = list(zip(self.keys, ends, strict=True))
        for key, (first, last) in zip(self.keys, bounds, strict=True):
            # The last stretch may be cut short: on time its fades end at 1 all the same, Deforum's do not.
            length = last - first + 1 if self.on_time else self.cadence
            indices = range(first, last + 1)
            yield Span(self[key], tuple(self[i] for i in indices), tuple((i - first + 1) / length for i in indices))


def seed_sequence(settings: Settings, keys: Sequence[int], schedule: NDArray[np.float64]) -> tuple[int, ...]:
    """Give the seed of each diffused frame; `schedule` (F,) is read by the behaviour of that name only.

    Numbers of the schedule are cut off towards zero; a negative one is a random seed that follows from the start seed
    and the frame.
    """
    if settings.seed_behavior == "schedule":
        scheduled = ((key, int(schedule[key])) for key in keys)
        return tuple(derive_seed(settings.seed, key, "seed") if value < 0 else value for key, value in scheduled)
    if settings.seed_behavior == "iter":
        full_groups = PROFILES[settings.profile].full_iter_groups
        return tuple(iter_seeds(settings.seed, len(keys), settings.seed_iter_n, full_groups))
    return tuple(SEED_SEQUENCES[settings.seed_behavior](settings.seed, len(keys)))


def sample(settings: Settings, *, starts_from_picture: bool) -> Timeline:
    """Sample all schedules of settings whose seed is resolved (not -1).

    `starts_from_picture`: frame 0 is painted from a picture, with init_strength.

    Raises ScheduleError where an expression has no value at some frame, UserError for prompt keyframes.
    """
    count, variables = settings.max_frames, Variables(seed=settings.seed, fps=settings.fps)
    on_time = PROFILES[settings.profile].keys_on_time
    cadence = settings.cadence if settings.mode.goes_on else 1
    keys = key_indices(count, cadence, on_time=on_time)
    curves = settings.params.map(lambda name, schedule: sample_curve(name, schedule, settings))
    if starts_from_picture:
        curves = replace(curves, strength=np.concatenate(([settings.init_strength], curves.strength[1:])))
    return Timeline(
        num_frames=count,
        fps=settings.fps,
        seed=settings.seed,
        keys=tuple(keys),
        cadence=cadence,
        on_time=on_time,
        curves=curves,
        seeds=seed_sequence(settings, keys, curves.seed_schedule),
        samplers=settings.sampler.sample(count, variables),
        checkpoints=settings.checkpoint.sample(count, variables),
        prompts=place_prompts(settings.prompts, settings.positive_prompt, settings.negative_prompt, count, variables),
        blend_prompts=settings.blending != "hold",
    )
