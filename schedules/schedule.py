"""Parsed schedules: keyframes with values, which are equal when they say the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from schedules.errors import ScheduleError
from schedules.expression import Expression
from schedules.keys import PLAIN, Key, decimal
from schedules.variables import Variables

if TYPE_CHECKING:
    import numpy as np

Easing = Literal["linear", "step", "ease-in", "ease-out", "ease-in-out"]
EASINGS: tuple[Easing, ...] = ("linear", "step", "ease-in", "ease-out", "ease-in-out")

# Deforum deletes these from a value before it looks whether the value is a plain number.
STRIPPED = str.maketrans("", "", "\"'()")


def default_easing(value: float | Expression) -> Easing:
    """Give Deforum's way to the next keyframe: from a number in a line, from an expression in a jump."""
    return "step" if isinstance(value, Expression) else "linear"


@dataclass(frozen=True)
class NumberKeyframe:
    """From `key` on the value is `value`, and `easing` is its way to the value of the next keyframe."""

    key: Key
    value: float | Expression
    easing: Easing
    column: int = field(default=0, compare=False, repr=False)  # of the value in the schedule's source
    source: str = field(default="", compare=False, repr=False)  # the text of the value, where not the schedule's

    @property
    def text(self) -> str:
        """The keyframe in canonical spelling, such as `30: (sin(t / 10)) linear`."""
        if isinstance(self.value, Expression):
            value = self.value.text
            if PLAIN.fullmatch(value.translate(STRIPPED)):
                value = f" {value} "  # blanks inside the parentheses make an expression of what else is a number
        else:
            value = decimal(self.value)
        easing = "" if self.easing == default_easing(self.value) else f" {self.easing}"
        return f"{self.key.text}: ({value}){easing}"


@dataclass(frozen=True)
class NumberSchedule:
    """Numbers over time."""

    keyframes: tuple[NumberKeyframe, ...]
    name: str = field(default="schedule", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)

    @property
    def text(self) -> str:
        """Canonical text, which parses to an equal schedule."""
        return ", ".join(keyframe.text for keyframe in self.keyframes)

    def sample(self, num_frames: int, variables: Variables) -> np.ndarray:
        """Evaluate at the frames 0 .. num_frames-1: (F,) float64, without NaN; infinities are kept.

        Raises ScheduleError where no keyframe is on the timeline or an expression has no value.
        """
        from schedules.sampling import sample_numbers

        return sample_numbers(self, num_frames, variables)

    def fault(self, keyframe: NumberKeyframe, message: str, hint: str | None = None) -> ScheduleError:
        """Make the error that points at a keyframe's value."""
        key = keyframe.key.text if keyframe.source else None
        text = keyframe.source or self.source
        return ScheduleError(message, text=text, column=keyframe.column, name=self.name, hint=hint, key=key)


@dataclass(frozen=True)
class TextKeyframe:
    """From `key` on the text is `value`; None is a plain number or nothing, at which the text before stays.

    `written` is the value as the file has it, with its parentheses and quotes.
    """

    key: Key
    value: str | None
    written: str
    column: int = field(default=0, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The keyframe in canonical spelling."""
        return f"{self.key.text}: {self.written}"

    @property
    def deforum_value(self) -> str | None:
        """What Deforum makes of it: cut at a colon, without any quotes and parentheses."""
        value = self.written.partition(":")[0].translate(STRIPPED)
        return None if PLAIN.fullmatch(value) else value


@dataclass(frozen=True)
class TextSchedule:
    """Texts over time, such as samplers, checkpoints and masks: each is held until the next keyframe."""

    keyframes: tuple[TextKeyframe, ...]
    name: str = field(default="schedule", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)

    @property
    def text(self) -> str:
        """Canonical text, which parses to an equal schedule."""
        return ", ".join(keyframe.text for keyframe in self.keyframes)

    def sample(self, num_frames: int, variables: Variables, *, deforum_stripping: bool = False) -> tuple[str, ...]:
        """Give the text of each frame 0 .. num_frames-1.

        With `deforum_stripping` texts are mutilated as by Deforum: cut at the first colon, and without all their quotes
        and parentheses. Raises ScheduleError where no keyframe with a text is on the timeline.
        """
        from schedules.sampling import sample_texts

        return sample_texts(self, num_frames, variables, deforum_stripping)

    def fault(self, message: str, column: int = 0, hint: str | None = None) -> ScheduleError:
        """Make the error that points into this schedule."""
        return ScheduleError(message, text=self.source, column=column, name=self.name, hint=hint)
