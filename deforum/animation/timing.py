"""Timing of the stages of a frame, for observers and profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from deforum.animation.parts import Between, Diffuse, Filter, Mix, Pair, Show
from deforum.animation.stages import Stages
from deforum.motion.warps import Warp
from deforum.pixels.image import Image
from deforum.profiling import stage, staged
from deforum.timeline.frame import Frame

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Stopwatch:
    """Accumulates seconds per stage until they are taken."""

    _seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def timed(self, part: str, work: Callable[P, R], name: str | None = None) -> Callable[P, R]:
        """Wrap a function so that its time is added to a part of the frame; a profile calls it `name`."""
        name = part if name is None else name

        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            try:
                with stage(name):
                    return work(*args, **kwargs)
            finally:
                self._seconds[part] = self._seconds.get(part, 0.0) + time.perf_counter() - started

        return measured

    def take(self) -> dict[str, float]:
        """Return the seconds per stage since the last call, with the remaining time as "rest", and reset them."""
        now = time.perf_counter()
        seconds, self._seconds = self._seconds, {}
        seconds["rest"] = max(now - self._since - sum(seconds.values()), 0.0)
        self._since = now
        return seconds


def timed_stages(stages: Stages, watch: Stopwatch) -> Stages:
    """Measure every stage, without changing the pictures."""

    def filters(part: str, changes: Sequence[Filter], name: str = "filters") -> list[Filter]:
        return [watch.timed(part, change, name) for change in changes]

    def around(diffuse: Diffuse) -> Diffuse:
        return watch.timed("diffuse", diffuse)

    show: list[Show] = [watch.timed("show", change) for change in stages.show]
    return replace(
        stages,
        source=watch.timed("source", stages.source),
        before=filters("before", stages.before),
        after=filters("after", stages.after),
        between=filters("between", stages.between, "in-between"),
        show=show,
        palette=staged("colour")(stages.palette),
        mix=TimedMix(stages.mix),
        around=[*stages.around, around],
    )


@dataclass(frozen=True)
class TimedMix:
    """A `Mix` whose time a profile shows."""

    mix: Mix

    @staged("in-between")
    def meet(self, moved: Image, newer: Image, key: Frame) -> Between:
        return staged("in-between")(self.mix.meet(moved, newer, key))

    @staged("in-between")
    def step(self, pair: Pair, warp: Warp, key: Frame, fade: float) -> Pair:
        return self.mix.step(pair, warp, key, fade)
