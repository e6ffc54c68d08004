"""What is said of a setting, once: everything else (keys, checks, help, the reference page) is derived from it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

KeyedTexts = tuple[tuple[str, str], ...]
"""(keyframe expression, text) pairs in the order of the file."""


class Sampled(Protocol):
    """What conditions ask of the settings over time."""

    @property
    def cadence(self) -> int:
        """Every so many frames one is diffused; 1 where frames do not depend on each other."""

    @property
    def samplers(self) -> tuple[str, ...]:
        """The sampler of each frame."""

    def is_used(self, param: str) -> bool:
        """Whether a parameter is anything but 0 in any frame."""


@dataclass(frozen=True)
class When:
    """When a setting acts: in words that can stand behind "acts where", and as a test of the whole settings."""

    words: str
    test: Callable[[Any, Sampled], bool]
    """(Settings, what they come to over time). (The settings are declared with this, and cannot be named here.)"""

    def __and__(self, other: When) -> When:
        return When(
            f"{self.words} and {other.words}",
            lambda settings, sampled: self.test(settings, sampled) and other.test(settings, sampled),
        )


def when(words: str, test: Callable[[Any, Sampled], bool]) -> When:
    """Make a condition of words and a test."""
    return When(words, test)


def on(switch: str) -> When:
    """Make the condition that a switch is on."""
    return When(f"{switch} is on", lambda settings, sampled: bool(getattr(settings, switch)))


def chosen(name: str, choice: str) -> When:
    """Make the condition that a setting has a value."""
    return When(f"{name} is {choice}", lambda settings, sampled: bool(getattr(settings, name) == choice))


def unless(name: str, choice: str) -> When:
    """Make the condition that a setting has any value but one."""
    return When(f"{name} is not {choice}", lambda settings, sampled: bool(getattr(settings, name) != choice))


def used(param: str) -> When:
    """Make the condition that a parameter is not 0 all the time."""
    return When(f"{param} is not 0", lambda settings, sampled: sampled.is_used(param))


NEVER = When("", lambda settings, sampled: False)
"""The condition of settings that are understood for the sake of old files, and read by nothing."""


@dataclass(frozen=True)
class Declaration:
    """One setting. `low` and `high` are the ends of its range, inclusive; None: no end."""

    name: str
    type: Any
    """int, float, bool, str, a Literal of choices, NumberSchedule, TextSchedule or KeyedTexts."""
    optional: bool
    """Whether the value may be None, which is null in a file."""
    default: Any
    """The text of a schedule, or the value of an option."""
    unit: str
    help: str
    low: float | None
    high: float | None
    old: tuple[str, ...]
    """Other names that files use, such as Deforum's."""
    section: str
    modes: tuple[str, ...]
    """The animation modes that read it; () is all of them."""
    multiple: int
    """An option's value is a multiple of this."""
    odd: bool
    """A schedule's value is an odd whole number."""
    least: float
    """A schedule's value is at least this far from 0, on either side."""
    acts: When | None
    """Another setting that decides whether it acts; None: it always does, or a feature says when."""
    path: bool
    """It names a file, relative to the settings file."""
    pending: str
    """The feature that is not there yet without which the setting has no effect; "" where it acts."""

    @property
    def choices(self) -> tuple[str, ...]:
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()

    @property
    def range(self) -> str:
        """The range in words, such as '0..1' or 'at least 1'; '' where there is none."""
        match self.low, self.high:
            case None, None:
                return ""
            case low, None:
                return f"at least {low:.16g}"
            case None, high:
                return f"at most {high:.16g}"
            case low, high:
                return f"{low:.16g}..{high:.16g}"

    @property
    def expected(self) -> str:
        """What a value has to be, for error messages: choices, or range and unit."""
        if self.choices:
            return "expected " + " or ".join(self.choices)
        words = {int: "a whole number", float: "a number", bool: "true or false"}.get(self.type, "a text")
        unit = f" ({self.unit})" if self.unit else ""
        or_null = " or null" if self.optional else ""
        return f"expected {self.range or words}{unit}{or_null}"


def param(
    default: str,
    unit: str,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    section: str,
    old: str = "",
    modes: tuple[str, ...] = (),
    odd: bool = False,
    least: float = 0,
    acts: When | None = None,
    pending: str = "",
) -> Any:
    """Declare a numeric parameter that has a value in every frame; `old` is a list of words."""
    common = _common(default, unit, help, low, high, section, old, modes, acts, pending)
    return dataclasses.field(metadata={**common, "multiple": 1, "odd": odd, "least": least, "path": False})


def option(
    default: Any,
    unit: str,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    section: str,
    old: str = "",
    modes: tuple[str, ...] = (),
    multiple: int = 1,
    acts: When | None = None,
    path: bool = False,
    pending: str = "",
) -> Any:
    """Declare a setting that is constant over the run, or a schedule of texts; `old` is a list of words."""
    common = _common(default, unit, help, low, high, section, old, modes, acts, pending)
    metadata = {**common, "multiple": multiple, "odd": False, "least": 0, "path": path}
    return dataclasses.field(default=default, metadata=metadata)


def _common(
    default: Any, unit: str, help: str, low: float | None, high: float | None, section: str, old: str,
    modes: tuple[str, ...], acts: When | None, pending: str,
) -> dict[str, Any]:  # fmt: skip
    return dict(
        default=default, unit=unit, help=help, low=low, high=high, section=section, old=tuple(old.split()),
        modes=modes, acts=acts, pending=pending,
    )  # fmt: skip


def declarations(declared: type[Any], value_type: Any = None) -> dict[str, Declaration]:
    """List what a dataclass declares with `param` and `option`, in its order; `value_type` where all have the same."""
    hints = typing.get_type_hints(declared)
    return {
        field.name: Declaration(
            name=field.name,
            type=value_type or _without_none(hints[field.name]),
            optional=type(None) in typing.get_args(hints[field.name]),
            **dict(field.metadata),
        )
        for field in dataclasses.fields(declared)
        if field.metadata
    }


def _without_none(type_hint: Any) -> Any:
    rest = [each for each in typing.get_args(type_hint) if each is not type(None)]
    is_union = typing.get_origin(type_hint) in (types.UnionType, typing.Union)  # the latter where a Literal is in it
    return rest[0] if is_union and len(rest) == 1 else type_hint
