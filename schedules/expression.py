"""Expressions: checked once when parsed, then evaluated over arrays of frames with numexpr."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schedules.errors import ScheduleError
from schedules.gate import Call, Program, admit
from schedules.variables import CHANGING, VARIABLES, Unheard, Variables

if TYPE_CHECKING:
    import numpy as np

# The exceptions that numexpr raises for an expression it cannot compile.
_COMPLAINTS = (ArithmeticError, MemoryError, NotImplementedError, RecursionError, SyntaxError, TypeError, ValueError)


@dataclass(frozen=True)
class Expression:
    """A checked expression; expressions with equal `program` are equal, whatever their spacing."""

    program: Program
    name: str = field(default="expression", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)  # the text that contains it, for messages
    column: int = field(default=0, compare=False, repr=False)  # its 0-based position in `source`

    @property
    def text(self) -> str:
        """The expression in canonical spelling."""
        return self.program.text

    @property
    def changes(self) -> bool:
        """Whether it may have another value at another frame."""
        own = self.program.names - VARIABLES.keys()
        return self.uses(*CHANGING) or bool(own) or any(call.function == "band" for call in self.program.calls)

    def uses(self, *names: str) -> bool:
        """Whether the expression contains at least one of these variables."""
        return not self.program.names.isdisjoint(names)

    def evaluate(self, t: np.ndarray | float, variables: Variables, num_frames: int) -> np.ndarray:
        """Evaluate at the frames `t`, whole numbers of any shape, in one call of numexpr.

        Returns bool, int or float64 in the shape of `t`, by numexpr's typing: 6 is an int, t > 3 a bool. NaN and
        infinities are returned unchanged. Raises ScheduleError where numexpr cannot evaluate the expression or the
        result is complex, ValueError where `t` holds fractions.
        """
        import numpy as np  # imported here: parsing a schedule needs neither numpy nor numexpr

        frames = np.asarray(t)
        whole = frames.astype(np.int64)
        if not np.array_equal(whole, frames):
            raise ValueError(f"t is {t}; expected whole frame numbers")
        if self.program.constant is not None:
            return np.full(whole.shape, self.program.constant)
        steady = {"t": whole, **variables.steady(num_frames)}
        try:
            values: dict[str, Any] = {
                name: steady[name] if name in steady else self._value(name, whole, variables)
                for name in self.program.names
            }
            for call in self.program.calls:
                values[call.bound] = self._computed(call, values, whole, variables)
        except Unheard as missing:
            raise ScheduleError(
                missing.message, text=self.source, column=self.column, name=self.name, hint=missing.hint,
                said_elsewhere=missing.said_elsewhere,
            ) from None  # fmt: skip
        result = self._call(self.program.code, values)
        if result.dtype.kind not in "bif":
            raise self.fault(f"the result is of kind {result.dtype}; expected a real number")
        return np.broadcast_to(result, whole.shape).copy() if result.shape != whole.shape else result

    def _value(self, name: str, frames: np.ndarray, variables: Variables) -> np.ndarray:
        if name == "sec":
            seconds: np.ndarray = frames / variables.fps
            return seconds
        return variables.heard().at(name, frames)

    def _computed(self, call: Call, values: dict[str, Any], frames: np.ndarray, variables: Variables) -> np.ndarray:
        """Return the values of a function that numexpr does not have, in the shape of `frames`."""
        import numpy as np

        from schedules import randomness

        if call.function == "band":
            low, high = (float(argument.constant or 0) for argument in call.arguments)
            return variables.heard().band(low, high, frames)
        x, series = (
            np.broadcast_to(
                self._call(argument.code, values) if argument.constant is None else np.float64(argument.constant),
                frames.shape,
            ).astype(np.float64)
            for argument in call.arguments
        )
        function = {"rand": randomness.rand, "smooth_rand": randomness.smooth_rand, "noise": randomness.noise}
        return function[call.function](x, series, variables.seed)

    def _call(self, code: str, values: dict[str, Any]) -> np.ndarray:
        import numexpr
        import numpy as np

        try:
            with np.errstate(all="ignore"):  # numexpr folds constants with numpy, which warns of log(0)
                return np.asarray(numexpr.evaluate(code, local_dict=values, global_dict={}))
        except _COMPLAINTS as error:
            raise self.fault(*_explain(str(error))) from None

    def fault(self, message: str, hint: str | None = None) -> ScheduleError:
        """Return a ScheduleError that points at this expression."""
        return ScheduleError(message, text=self.source, column=self.column, name=self.name, hint=hint)


def _explain(complaint: str) -> tuple[str, str | None]:
    """Translate an error message of numexpr into a message for the user and a hint, or None."""
    if "negative integer powers" in complaint:
        return "a whole number cannot have a negative whole power", "write 1/t**2, or t**-2.0"
    if "couldn't find matching opcode" in complaint or "unsupported operand" in complaint:
        return "an operator does not fit its operands; expected numbers where a condition stands", "write (t > 3)*1"
    if "division by zero" in complaint:
        return "division by zero", None
    if "range(0, 256)" in complaint or "oo many" in complaint:
        return "the expression holds too many different numbers; expected fewer than 240", None
    return f"the expression cannot be evaluated: {complaint}", None


def parse_expression(text: str, *, name: str = "expression", own: Collection[str] = ()) -> Expression:
    """Parse an expression, such as the text between back-quotes in a prompt; one pair of quotes around it is removed.

    `own` are names of variables beside those of the language. Raises ScheduleError for everything but arithmetic over
    its names and functions, and these.
    """
    inner, column = unquote(text)
    return expression_at(inner, text, column, name, own)


def expression_at(part: str, source: str, column: int, name: str, own: Collection[str] = ()) -> Expression:
    """Parse an expression `part` that begins at `column` of the text `source`."""
    column += len(part) - len(part.lstrip())
    try:
        program = admit(part.strip(), frozenset(own))
    except ScheduleError as error:
        raise error.within(source, column, name) from None
    return Expression(program, name, source, column)


def unquote(text: str) -> tuple[str, int]:
    """Remove one pair of quotes, also inside of parentheses; return the inner text and its column."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    inner = text[start:end]
    if inner.startswith("(") and inner.endswith(")"):
        within = inner[1:-1]
        if within.strip()[:1] in ("'", '"'):
            start += 1 + len(within) - len(within.lstrip())
            inner = within.strip()
    if len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "'\"" and inner[0] not in inner[1:-1]:
        return inner[1:-1], start + 1
    return text, 0
