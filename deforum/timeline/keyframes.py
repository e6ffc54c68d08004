"""Keyframe distribution: which frames are diffused, where prompts (or a Parseq manifest) say it.

Source: the behaviour of Deforum's Forge fork, of which there are two generations. The earlier one has Additive and
Redistributed and counts frames from 1; the later one has Redistributed Cadence and counts from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES


def keyframes_of(settings: Settings, prompts: Sequence[int]) -> tuple[int, ...]:
    """Return the frames that have to be diffused, ascending, from 0.

    They are `prompts`, the frames at which prompts begin, or in their place the keyframes of a Parseq manifest. The
    first of them becomes frame 0, the last frame is one too, and those off the timeline are left out. Keyframes of
    prompts are one frame earlier where `counts_keyframes_from_1`.
    """
    last = settings.max_frames - 1
    parseq = () if settings.parseq is None else settings.parseq.keyframes
    early = int(counts_keyframes_from_1(settings) and not parseq)
    given = sorted(key - early for key in set(parseq or prompts))
    inside = [key for key in given if 0 <= key <= last or key == -early]
    return tuple(sorted({0, *inside[1:], last}))


def counts_keyframes_from_1(settings: Settings) -> bool:
    """Whether the keyframe of a prompt at frame n is frame n - 1, as in the fork's earlier generation."""
    if settings.keyframe_numbering != "auto":
        return settings.keyframe_numbering == "from 1"
    is_later = settings.keyframe_distribution == "Redistributed Cadence"
    return not (PROFILES[settings.profile].keyframes_from_0 or is_later)


def distribute(distribution: str, keyframes: Sequence[int], count: int, cadence: int) -> tuple[int, ...]:
    """Return the frames to diffuse out of `count`, ascending, by a choice of `keyframe_distribution`.

    `keyframes` as `keyframes_of` returns them.
    """
    return tuple(sorted(_WAYS[distribution](tuple(keyframes), count, cadence)))


def _evenly(count: int, cadence: int) -> tuple[int, ...]:
    """Spread 1 + count // cadence frames evenly from the first to the last one."""
    parts = count // cadence
    return tuple(i * (count - 1) // parts for i in range(parts + 1)) if parts else (0,)


def _additive(keyframes: tuple[int, ...], count: int, cadence: int) -> set[int]:
    return {*_evenly(count, cadence), *keyframes}


def _redistributed(keyframes: tuple[int, ...], count: int, cadence: int) -> set[int]:
    """Move the nearest inner one of the even frames to each keyframe."""
    even = list(_evenly(count, cadence))
    for key in keyframes:
        if key in even:
            continue
        movable = [frame for frame in even[1:-1] if frame not in keyframes]
        if movable:
            even[even.index(min(movable, key=lambda frame: abs(frame - key)))] = key
            even.sort()
    return {*even, 0, count - 1}


def _redistributed_cadence(keyframes: tuple[int, ...], count: int, cadence: int) -> set[int]:
    """Keep all keyframes, and spread the rest of 1 + count // cadence frames between them."""
    budget, apart = 1 + count // cadence, max(1, cadence // 2)
    extra: list[int] = []
    for start, end in pairwise(keyframes):
        more = max((end - start - apart) // cadence, 0)
        frames = [start + i * (end - start) // (more + 1) for i in range(1, more + 1)]
        extra += [frame for frame in frames if min(frame - start, end - frame) >= apart]
    chosen = sorted({*keyframes, *extra[: max(budget - len(keyframes), 0)]})
    while len(chosen) < budget:
        length, start = max(((b - a, -a) for a, b in pairwise(chosen)), default=(0, 0))
        if length < 2:
            break
        chosen = sorted([*chosen, -start + length // 2])
    return set(chosen)


_WAYS: Mapping[str, Callable[[tuple[int, ...], int, int], set[int]]] = {
    "Off": lambda keyframes, count, cadence: set(range(0, count, cadence)),
    "Keyframes Only": lambda keyframes, count, cadence: set(keyframes),
    "Additive": _additive,
    "Redistributed": _redistributed,
    "Redistributed Cadence": _redistributed_cadence,
}
