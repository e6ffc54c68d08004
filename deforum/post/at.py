"""Where a step stands: its input, and what it computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deforum.models.kept import KeptModels
from deforum.pixels.image import CPU, Device, Image
from deforum.settings.steps import Reel


@dataclass(frozen=True)
class At:
    """The input of a step: `reel` as a whole, from frame `first` on."""

    reel: Reel
    first: int = 0
    device: Device = CPU
    models: KeptModels = field(default_factory=KeptModels)
    seed: int = 0
    """Of random numbers, which are functions of it and the frame."""


Open = Callable[[Any, Iterator[Image], At], Iterator[Image]]
"""The code of a step: a function of the step, the frames of its input from `at.first` on, and where it stands.

Yields the frames of its output, from `first(step, reel, at.first)` of its row on; values may overshoot 0..1.
"""
