"""Declarations of settings, from which keys, checks, help and the reference page are derived."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from deforum.limits import VALUE
from deforum.models.places import Kind


class Region(NamedTuple):
    """A part of the frame with a prompt of its own."""

    mask: str
    """Mask expression."""
    prompt: str


Regions = tuple[Region, ...]
KeyedTexts = tuple[tuple[str, str], ...]
"""(keyframe expression, text) pairs in the order of the file."""


class Sampled(Protocol):
    """Properties of the sampled settings that conditions use."""

    @property
    def samplers(self) -> tuple[str, ...]:
        """The sampler of each frame."""

    def is_used(self, param: str) -> bool:
        """Whether a parameter is nonzero in any frame."""


@dataclass(frozen=True)
class When:
    """The condition under which a setting acts: words that follow "acts where", and a test of the whole settings."""

    words: str
    test: Callable[[Any, Sampled], bool]
    """Function of (Settings, Sampled). Settings are typed as Any because their module imports this one."""

    def __and__(self, other: When) -> When:
        return When(
            f"{self.words} and {other.words}",
            lambda settings, sampled: self.test(settings, sampled) and other.test(settings, sampled),
        )


def when(words: str, test: Callable[[Any, Sampled], bool]) -> When:
    """Make a condition from words and a test."""
    return When(words, test)


def on(switch: str) -> When:
    """Make the condition that a switch is on."""
    return When(f"{switch} is on", lambda settings, sampled: bool(getattr(settings, switch)))


def chosen(name: str, choice: str) -> When:
    """Make the condition that a setting has a given value."""
    return When(f"{name} is {choice}", lambda settings, sampled: bool(getattr(settings, name) == choice))


def unless(name: str, choice: str) -> When:
    """Make the condition that a setting differs from a given value."""
    return When(f"{name} is not {choice}", lambda settings, sampled: bool(getattr(settings, name) != choice))


def used(param: str) -> When:
    """Make the condition that a parameter is nonzero in any frame."""
    return When(f"{param} is not 0", lambda settings, sampled: sampled.is_used(param))


NEVER = When("", lambda settings, sampled: False)
"""The condition of settings without effect, accepted for old files only."""


@dataclass(frozen=True)
class Declaration:
    """The declaration of one setting. `low` and `high` are the inclusive ends of its range; None: unbounded."""

    name: str
    type: Any
    """int, float, bool, str, a Literal of choices, NumberSchedule, TextSchedule, KeyedTexts, Regions, or units."""
    optional: bool
    """Whether the value may be None, null in a file."""
    default: Any
    """The text of a schedule, or the value of an option."""
    unit: str
    help: str
    low: float | None
    high: float | None
    old: tuple[str, ...]
    """Other names accepted in files, such as Deforum's."""
    section: str
    modes: tuple[str, ...]
    """The animation modes that read it; empty: all modes."""
    multiple: int
    """The value of an option must be a multiple of this."""
    odd: bool
    """Whether the values of a schedule must be odd whole numbers."""
    least: float
    """Smallest allowed absolute value of a schedule."""
    acts: When | None
    """Condition on other settings under which it acts; None: always, or the conditions are in the rows of features."""
    path: bool
    """Whether it names a file, relative to the settings file."""
    words: tuple[str, ...]
    """Values of a path that name no file."""
    models: Kind | None
    """The kind of model that a path may also name, see `deforum.models.library`; None if it names none."""
    pending: str
    """The feature, not supported yet, that the setting needs to have an effect; "" if it needs none."""

    @property
    def choices(self) -> tuple[str, ...]:
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false, or reads true and false as its choices both and none."""
        return self.type is bool or {"none", "both"} <= set(self.choices)

    @property
    def bounds(self) -> tuple[float, float]:
        """The inclusive ends of the values of a curve: the declared ones, or what numbers can be rendered at all."""
        low = -VALUE.most if self.low is None else self.low
        return low, VALUE.most if self.high is None else self.high

    @property
    def range(self) -> str:
        """The range in words, such as '0..1' or 'at least 1'; '' if unbounded."""
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
        """The expected value in words, for error messages: choices, or range and unit."""
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
    """Declare a numeric parameter, sampled at every frame; `old` is a space-separated list of names."""
    common = _common(default, unit, help, low, high, section, old, modes, acts, pending)
    return dataclasses.field(
        metadata={**common, "multiple": 1, "odd": odd, "least": least, "path": False, "words": (), "models": None}
    )


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
    words: str = "",
    models: Kind | None = None,
    pending: str = "",
) -> Any:
    """Declare a setting that is constant over the run, or a schedule of texts; `old` and `words` are lists of names."""
    common = _common(default, unit, help, low, high, section, old, modes, acts, pending)
    metadata = {
        **common, "multiple": multiple, "odd": False, "least": 0, "path": path, "words": tuple(words.split()),
        "models": models,
    }  # fmt: skip
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
    """Return the declarations of a dataclass by name, in field order; `value_type` replaces the types of all fields."""
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
    is_union = typing.get_origin(type_hint) in (types.UnionType, typing.Union)  # Union for a union with a Literal
    return rest[0] if is_union and len(rest) == 1 else type_hint
