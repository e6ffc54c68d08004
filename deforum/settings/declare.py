"""What is said of a setting, once: everything else (keys, checks, help, the reference page) is derived from it."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

KeyedTexts = tuple[tuple[str, str], ...]
"""(keyframe expression, text) pairs in the order of the file."""


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
        return f"expected {self.range or words}{unit}{' or null' * self.optional}"


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
    pending: str = "",
) -> Any:
    """Declare a numeric parameter that has a value in every frame; `old` is a list of words."""
    return dataclasses.field(
        metadata=dict(
            default=default, unit=unit, help=help, low=low, high=high, old=tuple(old.split()), section=section,
            modes=modes, multiple=1, odd=odd, least=least, pending=pending,
        )
    )  # fmt: skip


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
    pending: str = "",
) -> Any:
    """Declare a setting that is constant over the run, or a schedule of texts; `old` is a list of words."""
    return dataclasses.field(
        default=default,
        metadata=dict(
            default=default, unit=unit, help=help, low=low, high=high, old=tuple(old.split()), section=section,
            modes=modes, multiple=multiple, odd=False, least=0, pending=pending,
        ),
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
