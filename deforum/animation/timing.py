"""Timing of the stages of a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from deforum.animation.parts import Diffuse, Filter, Show
from deforum.animation.stages import Stages

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Stopwatch:
    """Accumulates seconds per stage until they are taken."""

    _seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def timed(self, stage: str, work: Callable[P, R]) -> Callable[P, R]:
        """Wrap a function so that its time is added to a stage."""

        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - started

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

    def filters(stage: str, changes: Sequence[Filter]) -> list[Filter]:
        return [watch.timed(stage, change) for change in changes]

    def around(diffuse: Diffuse) -> Diffuse:
        return watch.timed("diffuse", diffuse)

    show: list[Show] = [watch.timed("show", change) for change in stages.show]
    return replace(
        stages,
        source=watch.timed("source", stages.source),
        before=filters("before", stages.before),
        after=filters("after", stages.after),
        between=filters("between", stages.between),
        show=show,
        around=[*stages.around, around],
    )
