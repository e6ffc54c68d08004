"""Parsed schedules and their keyframes; schedules with equal keyframes are equal."""

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

# Deforum deletes these characters from a value before testing whether it is a plain number.
STRIPPED = str.maketrans("", "", "\"'()")


def default_easing(value: float | Expression) -> Easing:
    """Return Deforum's easing to the next keyframe: linear from a number, a step from an expression."""
    return "step" if isinstance(value, Expression) else "linear"


@dataclass(frozen=True)
class NumberKeyframe:
    """A number or expression from the position `key` on; `easing` is the transition to the next keyframe's value."""

    key: Key
    value: float | Expression
    easing: Easing
    column: int = field(default=0, compare=False, repr=False)  # 0-based, of the value in the source text
    source: str = field(default="", compare=False, repr=False)  # text of the value in a mapping; else the schedule's

    @property
    def text(self) -> str:
        """The keyframe in canonical spelling, such as `30: (sin(t / 10)) linear`."""
        if isinstance(self.value, Expression):
            value = self.value.text
            if PLAIN.fullmatch(value.translate(STRIPPED)):
                value = f" {value} "  # blanks inside the parentheses mark an expression that would parse as a number
        else:
            value = decimal(self.value)
        easing = "" if self.easing == default_easing(self.value) else f" {self.easing}"
        return f"{self.key.text}: ({value}){easing}"


@dataclass(frozen=True)
class NumberSchedule:
    """A schedule of numbers."""

    keyframes: tuple[NumberKeyframe, ...]
    name: str = field(default="schedule", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """How the source was read where it is not quite in the grammar."""

    @property
    def text(self) -> str:
        """Canonical text, which parses to an equal schedule."""
        return ", ".join(keyframe.text for keyframe in self.keyframes)

    def sample(self, num_frames: int, variables: Variables) -> np.ndarray:
        """Evaluate at the frames 0 .. num_frames-1: (F,) float64, without NaN; infinities are kept.

        Raises ScheduleError where no keyframe is on the timeline, an expression cannot be evaluated, or the values are
        NaN at every frame.
        """
        from schedules.sampling import sample_numbers

        return sample_numbers(self, num_frames, variables)

    def fault(
        self, keyframe: NumberKeyframe, message: str, hint: str | None = None, *, said_elsewhere: bool = False
    ) -> ScheduleError:
        """Return a ScheduleError that points at a keyframe's value."""
        key = keyframe.key.text if keyframe.source else None
        text = keyframe.source or self.source
        return ScheduleError(
            message, text=text, column=keyframe.column, name=self.name, hint=hint, key=key,
            said_elsewhere=said_elsewhere,
        )  # fmt: skip


@dataclass(frozen=True)
class TextKeyframe:
    """A text from the position `key` on. None stands for a plain number or an empty value, which keep the text before.

    `written` is the value in the file's spelling, with its parentheses and quotes.
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
        """The value as Deforum reads it: cut at the first colon, without quotes and parentheses; None for a number."""
        value = self.written.partition(":")[0].translate(STRIPPED)
        return None if PLAIN.fullmatch(value) else value


@dataclass(frozen=True)
class TextSchedule:
    """A schedule of texts, such as samplers, checkpoints and masks: each is held until the next keyframe."""

    keyframes: tuple[TextKeyframe, ...]
    name: str = field(default="schedule", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """How the source was read where it is not quite in the grammar."""

    @property
    def text(self) -> str:
        """Canonical text, which parses to an equal schedule."""
        return ", ".join(keyframe.text for keyframe in self.keyframes)

    def sample(self, num_frames: int, variables: Variables, *, deforum_stripping: bool = False) -> tuple[str, ...]:
        """Return the text of each frame 0 .. num_frames-1.

        With `deforum_stripping` texts are cut at the first colon and lose all quotes and parentheses, as in Deforum.
        Raises ScheduleError where no keyframe is on the timeline or the first one there holds no text.
        """
        from schedules.sampling import sample_texts

        return sample_texts(self, num_frames, variables, deforum_stripping)

    def fault(self, message: str, column: int = 0, hint: str | None = None) -> ScheduleError:
        """Return a ScheduleError that points at `column` of this schedule's text."""
        return ScheduleError(message, text=self.source, column=column, name=self.name, hint=hint)
