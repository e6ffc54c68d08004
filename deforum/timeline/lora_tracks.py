"""The LoRAs of the setting `loras`, with their weights sampled for every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deforum.settings.options import LoraUnit, Settings
from deforum.settings.units import declared
from deforum.timeline.edits import When
from deforum.timeline.lora_words import LoraWord
from deforum.timeline.variables import variables_of
from schedules import NumberSchedule

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class LoraTrack:
    """A LoRA over time; each curve is (F,)."""

    name: str
    network: Curve
    text: Curve
    start: Curve
    end: Curve
    """Shares of the steps between which it acts."""

    def at(self, index: int) -> LoraWord:
        """Return the LoRA as it acts in a frame."""
        start, end = float(self.start[index]), float(self.end[index])
        always = start <= 0 and end >= 1
        when = () if always else (When(after=start if start > 0 else 0, until=None if end >= 1 else end),)
        return LoraWord(self.name, float(self.text[index]), float(self.network[index]), when)


def place_loras(settings: Settings) -> tuple[LoraTrack, ...]:
    """Sample the LoRAs of settings, within their ranges. Raises ScheduleError where a schedule has no value."""
    return tuple(_track(unit, settings) for unit in settings.loras)


def _track(unit: LoraUnit, settings: Settings) -> LoraTrack:
    def curve(name: str, schedule: NumberSchedule) -> Curve:
        values = schedule.sample(settings.max_frames, variables_of(settings))
        return np.asarray(np.clip(values, *declared(LoraUnit)[name].bounds))

    text = unit.weight if unit.text_encoder is None else unit.text_encoder
    return LoraTrack(
        unit.lora.strip(),
        curve("weight", unit.weight),
        curve("text_encoder", text),
        curve("start", unit.start),
        curve("end", unit.end),
    )
