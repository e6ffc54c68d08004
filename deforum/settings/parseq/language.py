"""Parseq's expressions, for documents that were not rendered: parsed once, evaluated at each frame.

Numbers take units: f frames, s seconds, b beats. Every level of binary operators is right-associative, and comparisons,
`&&` and `||` are on one level, as are `* / % : ^`: 10-3-2 is 9, and 8/4/2 is 4. What is true is above 0. Random
functions are refused: Parseq's own generators give their values. Source: the language of sd-parseq 0.1.112.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol

from deforum.limits import EXPRESSION, EXPRESSION_DEPTH
from schedules.quoting import quote

Value = float | str


class Wrong(Exception):
    """An expression that has no value here; the message is the end of a sentence."""


class Scope(Protocol):
    """What an expression is evaluated with: a frame of a field."""

    fps: float
    bpm: float

    def variable(self, name: str) -> Value | None:
        """Return the value of a variable; None where there is none of this name."""


Evaluate = Callable[[Scope], Value]

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\s*)*(?:
        (?P<number>\d+(?:\.\d+)?)(?P<unit>[fsb]\b)?
      | "(?P<text>(?:[^"\\]|\\.)*)"
      | (?P<name>[A-Za-z_]\w*)
      | (?P<mark>>=|<=|==|!=|&&|\|\||[-+*/%:^<>(),=])
      | (?P<end>$)
      | (?P<other>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
LEVELS: tuple[frozenset[str], ...] = (
    frozenset(("and", "or")),
    frozenset((">", ">=", "<", "<=", "==", "!=", "&&", "||")),
    frozenset("+-"),
    frozenset("*/%:^"),
)
"""Binary operators, from those that bind least."""
RANDOM = ("rand", "smrand", "perlin", "vibe")
CONSTANTS = {
    "PI": math.pi, "E": math.e, "SQRT2": math.sqrt(2), "SQRT1_2": math.sqrt(0.5), "LN2": math.log(2),
    "LN10": math.log(10), "LOG2E": math.log2(math.e), "LOG10E": math.log10(math.e), "true": 1.0, "false": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    unit: str = ""


@lru_cache(maxsize=2048)
def parse(text: str) -> Evaluate:
    """Parse an expression. Raises Wrong."""
    if len(text) > EXPRESSION.most:
        raise Wrong(EXPRESSION.exceeded(len(text)))
    tokens: list[Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, at)
        assert found is not None and found.lastgroup is not None
        at = found.end()
        kind = "number" if found.lastgroup == "unit" else found.lastgroup
        if kind == "other":
            raise Wrong(f"{quote(found[kind])} has no meaning in it")
        tokens.append(Token(kind, found[kind], found["unit"] or ""))
    parser = _Parser(tokens)
    whole = parser.level(0)
    if parser.peek().kind != "end":
        parser.fail("an operator is missing")
    return whole


@dataclass
class _Parser:
    tokens: Sequence[Token]
    at: int = 0
    depth: int = 0

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, message: str) -> NoReturn:
        where = self.peek()
        raise Wrong(message + (" at its end" if where.kind == "end" else f" before {quote(where.text)}"))

    def expect(self, mark: str) -> None:
        if self.peek().text != mark or self.peek().kind != "mark":
            self.fail(f"expected {mark}")
        self.at += 1

    def level(self, number: int) -> Evaluate:
        self.depth += 1
        if self.depth > EXPRESSION_DEPTH.most:
            raise Wrong(f"it is nested too deeply; expected at most {EXPRESSION_DEPTH}")
        if number == len(LEVELS):
            found = self.unary()
        else:
            left = self.level(number + 1)
            token = self.peek()
            found = left
            if token.kind in ("mark", "name") and token.text in LEVELS[number]:
                self.at += 1
                found = _binary(token.text, left, self.level(number))
        self.depth -= 1
        return found

    def unary(self) -> Evaluate:
        if self.peek().kind == "mark" and self.peek().text == "-":
            self.at += 1
            self.depth += 1
            if self.depth > EXPRESSION_DEPTH.most:
                raise Wrong(f"it is nested too deeply; expected at most {EXPRESSION_DEPTH}")
            inner = self.unary()
            self.depth -= 1
            return lambda scope: -number(inner(scope))
        return self.atom()

    def atom(self) -> Evaluate:
        token = self.take()
        if token.kind == "number":
            value, unit = float(token.text), token.unit
            if unit == "s":
                return lambda scope: value * scope.fps
            if unit == "b":
                return lambda scope: value * scope.fps * 60 / scope.bpm
            return lambda scope: value
        if token.kind == "text":
            text = re.sub(r"\\(.)", r"\1", token.text)
            return lambda scope: text
        if token.kind == "mark" and token.text == "(":
            inner = self.level(0)
            self.expect(")")
            return inner
        if token.kind == "name" and token.text == "if":
            return self.condition()
        if token.kind == "name" and token.text not in ("else", "and", "or"):
            if self.peek().kind == "mark" and self.peek().text == "(":
                return self.call(token.text)
            return _variable(token.text)
        self.at -= 1
        self.fail("a value is missing")

    def condition(self) -> Evaluate:
        test, then = self.level(0), self.level(0)
        other: Evaluate = lambda scope: 0.0  # noqa: E731
        if self.peek().kind == "name" and self.peek().text == "else":
            self.at += 1
            other = self.level(0)
        return lambda scope: then(scope) if number(test(scope)) > 0 else other(scope)

    def call(self, name: str) -> Evaluate:
        self.expect("(")
        positional: list[Evaluate] = []
        named: dict[str, Evaluate] = {}
        while not (self.peek().kind == "mark" and self.peek().text == ")"):
            if positional or named:
                self.expect(",")
            if self.peek().kind == "name" and self.peek(1).kind == "mark" and self.peek(1).text == "=":
                key = self.take().text
                self.at += 1
                named[key] = self.level(0)
            else:
                positional.append(self.level(0))
        self.expect(")")
        if positional and named:
            raise Wrong(f"{name}: its values are given by name or in order, not both")
        return _function(name, positional, named)


def _binary(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    act = _OPERATORS[operator]
    return lambda scope: act(left(scope), right(scope))


def _variable(name: str) -> Evaluate:
    if name in CONSTANTS:
        constant = CONSTANTS[name]
        return lambda scope: constant

    def read(scope: Scope) -> Value:
        value = scope.variable(name)
        if value is None:
            raise Wrong(f"{quote(name, 40)} is no variable here")
        return value

    return read


def number(value: Value) -> float:
    """Return a value as a number. Raises Wrong for a text."""
    if isinstance(value, str):
        raise Wrong(f"{quote(value, 40)} is a text; expected a number")
    return value


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, str) or isinstance(right, str):
        return f"{written(left)}{written(right)}"
    return left + right


def written(value: Value) -> str:
    """Write a value as JavaScript does."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return value


def _numeric(act: Callable[[float, float], float]) -> Callable[[Value, Value], Value]:
    def checked(left: Value, right: Value) -> Value:
        try:
            return float(act(number(left), number(right)))
        except ZeroDivisionError:
            raise Wrong("it divides by 0") from None
        except (OverflowError, ValueError):
            raise Wrong("it has no finite value") from None

    return checked


_OPERATORS: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": _add,
    "-": _numeric(lambda a, b: a - b),
    "*": _numeric(lambda a, b: a * b),
    "/": _numeric(lambda a, b: a / b),
    "%": _numeric(math.fmod),
    "^": _numeric(math.pow),
    ":": lambda a, b: f"({written(a)}:{written(b)})",
    ">": _numeric(lambda a, b: a > b),
    ">=": _numeric(lambda a, b: a >= b),
    "<": _numeric(lambda a, b: a < b),
    "<=": _numeric(lambda a, b: a <= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    **dict.fromkeys(("and", "&&"), _numeric(lambda a, b: a > 0 and b > 0)),
    **dict.fromkeys(("or", "||"), _numeric(lambda a, b: a > 0 or b > 0)),
}


# --- functions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """The values of a call."""

    scope: Scope
    values: Mapping[str, Value]

    def __call__(self, name: str, usual: float | None = None) -> float:
        if name not in self.values:
            if usual is None:
                raise Wrong(f"{name} is missing")
            return usual
        return number(self.values[name])

    def of(self, name: str) -> float:
        """Return a variable."""
        return number(self.scope.variable(name) or 0.0)


@dataclass(frozen=True)
class Function:
    """The names of its values, in order, each with its others; and what it gives."""

    names: tuple[tuple[str, ...], ...]
    act: Callable[[Given], float]
    least: int = 0
    """Values that have to be given."""


def _wave(shape: Callable[[Given, float, float], float]) -> Function:
    names = (
        ("p", "period"),
        ("ps", "phase"),
        ("a", "amp"),
        ("c", "centre", "center"),
        ("li", "limit"),
        ("pw", "pulse"),
    )

    def act(given: Given) -> float:
        period, limit = given("p"), given("li", 0)
        if not period:
            raise Wrong("its period is 0")
        if limit > 0 and given.of("f") - given.of("active_keyframe") > limit * period:
            return 0.0
        return given("c", 0) + shape(given, given.of("f") + given("ps", 0), period)

    return Function(names, act, least=1)


def _square(given: Given, x: float, period: float) -> float:
    return given("a", 1) if math.sin(2 * math.pi * x / period) >= 0 else -given("a", 1)


CURVES: Mapping[str, tuple[float, float, float, float]] = {
    "linear": (0, 0, 1, 1), "ease": (0.25, 0.1, 0.25, 1), "easein": (0.42, 0, 1, 1), "easeout": (0, 0, 0.58, 1),
    "easeinout": (0.42, 0, 0.58, 1),
    "easeinsine": (0.12, 0, 0.39, 0), "easeoutsine": (0.61, 1, 0.88, 1), "easeinoutsine": (0.37, 0, 0.63, 1),
    "easeinquad": (0.11, 0, 0.5, 0), "easeoutquad": (0.5, 1, 0.89, 1), "easeinoutquad": (0.45, 0, 0.55, 1),
    "easeincubic": (0.32, 0, 0.67, 0), "easeoutcubic": (0.33, 1, 0.68, 1), "easeinoutcubic": (0.65, 0, 0.35, 1),
    "easeinquart": (0.5, 0, 0.75, 0), "easeoutquart": (0.25, 1, 0.5, 1), "easeinoutquart": (0.76, 0, 0.24, 1),
    "easeinquint": (0.64, 0, 0.78, 0), "easeoutquint": (0.22, 1, 0.36, 1), "easeinoutquint": (0.83, 0, 0.17, 1),
    "easeinexpo": (0.7, 0, 0.84, 0), "easeoutexpo": (0.16, 1, 0.3, 1), "easeinoutexpo": (0.87, 0, 0.13, 1),
    "easeincirc": (0.55, 0, 1, 0.45), "easeoutcirc": (0, 0.55, 0.45, 1), "easeinoutcirc": (0.85, 0, 0.15, 1),
    "easeinback": (0.36, 0, 0.66, -0.56), "easeoutback": (0.34, 1.56, 0.64, 1),
    "easeinoutback": (0.68, -0.6, 0.32, 1.6),
}  # fmt: skip
"""Cubic Bézier curves by name, without hyphens and in small letters. Source: CSS, easings.net."""


def bezier(x1: float, y1: float, x2: float, y2: float, x: float) -> float:
    """Return the height of a CSS cubic-bezier curve at x, 0..1."""

    def at(one: float, two: float, s: float) -> float:
        return 3 * one * s * (1 - s) ** 2 + 3 * two * s * s * (1 - s) + s**3

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at(x1, x2, middle) < x else (low, middle)
    return at(y1, y2, (low + high) / 2)


def _between(given: Given, share: Callable[[float], float]) -> float:
    """Return a value on the way from one keyframe to the next."""
    if "os" in given.values:
        raise Wrong("os is not known here")
    begin = given("from", given.of("active_keyframe_value"))
    end = begin + given("d") if "d" in given.values else given("to", given.of("next_keyframe_value"))
    span = given("span", given.of("next_keyframe") - given.of("active_keyframe"))
    passed = given.of("f") - given.of("active_keyframe")
    return end if passed >= span or span <= 0 else begin + (end - begin) * share(passed / span)


def _bez(given: Given) -> float:
    points = (given("x1", 0.5), given("y1", 0), given("x2", 0.5), given("y2", 1))
    curve = given.values.get("c")
    if curve is not None:
        found = CURVES.get(str(curve).replace("-", "").casefold())
        if found is None:
            raise Wrong(f"{quote(curve, 40)} is no curve that is known here")
        points = found
    if not (0 <= points[0] <= 1 and 0 <= points[2] <= 1):
        raise Wrong("x1 and x2 of bez have to be within 0 and 1")
    return _between(given, lambda x: bezier(*points, x))


def _rounded(act: Callable[[float], float]) -> Function:
    def rounded(given: Given) -> float:
        scale = 10 ** min(max(given("p", 0), -300), 300)
        return act(given("v") * scale) / scale

    return Function((("v",), ("p",)), rounded, least=1)


def _plain(act: Callable[[float], float]) -> Function:
    return Function((("v",),), lambda given: act(given("v")), least=1)


def _own(name: str) -> Function:
    return _plain(getattr(math, name))


FUNCTIONS: Mapping[str, Function] = {
    "sin": _wave(lambda given, x, period: given("a", 1) * math.sin(2 * math.pi * x / period)),
    "tri": _wave(lambda given, x, period: 2 * given("a", 1) / math.pi * math.asin(math.sin(2 * math.pi * x / period))),
    "saw": _wave(lambda given, x, period: math.fmod(x, period) * given("a", 1) / period),
    "sq": _wave(_square),
    "pulse": _wave(lambda given, x, period: given("a", 1) * (math.fmod(x, period) < given("pw", 5))),
    "bez": Function(
        (("x1",), ("y1",), ("x2",), ("y2",), ("from",), ("to",), ("span", "in"), ("os",), ("c", "curve"),
         ("d", "delta")),
        _bez,
    ),
    "slide": Function((("from",), ("to",), ("span", "in"), ("os",)), lambda given: _between(given, lambda x: x)),
    "min": Function((("a",), ("b",)), lambda given: min(given("a"), given("b")), least=2),
    "max": Function((("a",), ("b",)), lambda given: max(given("a"), given("b")), least=2),
    "abs": _plain(abs),
    "round": _rounded(lambda v: math.floor(v + 0.5)),
    "floor": _rounded(math.floor),
    "ceil": _rounded(math.ceil),
    "f2b": Function((("v",),), lambda given: given("v") * given.scope.bpm / given.scope.fps / 60, least=1),
    "is_generation": Function((("f",),), lambda given: float(given("f", given.of("f")) % given.of("cadence") == 0)),
    **{f"_{name}": _own(name) for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "log", "exp", "sqrt", "cbrt", "expm1", "log1p", "log10", "log2",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    )},
    "_sign": _plain(lambda v: math.copysign(1, v) if v else 0),
    "f2s": Function((("v",),), lambda given: given("v") / given.scope.fps, least=1),
    "s2f": Function((("v",),), lambda given: given("v") * given.scope.fps, least=1),
    "b2f": Function((("v",),), lambda given: given("v") * given.scope.fps * 60 / given.scope.bpm, least=1),
}  # fmt: skip


def _function(name: str, positional: Sequence[Evaluate], named: Mapping[str, Evaluate]) -> Evaluate:
    function = FUNCTIONS.get(name)
    if name in RANDOM:
        raise Wrong(f"{name}() is drawn by Parseq; render the document there")
    if function is None:
        raise Wrong(f"{quote(name, 40)} is no function that is known here; render the document in Parseq")
    if len(positional) > len(function.names) or max(len(positional), len(named)) < function.least:
        raise Wrong(f"{name}() takes {function.least} to {len(function.names)} values")
    by_name = {other: names[0] for names in function.names for other in names}
    unknown = next((key for key in named if key not in by_name), None)
    if unknown is not None:
        raise Wrong(f"{name}() has no {quote(unknown, 40)}; it has {', '.join(names[0] for names in function.names)}")
    values = {names[0]: each for names, each in zip(function.names, positional, strict=False)}
    values |= {by_name[key]: each for key, each in named.items()}

    def call(scope: Scope) -> Value:
        given = Given(scope, {key: each(scope) for key, each in values.items()})
        try:
            return float(function.act(given))
        except (ValueError, OverflowError, ZeroDivisionError):
            raise Wrong(f"{name}() has no finite value") from None

    return call
