"""Validation of expressions before numexpr: only a checked and rebuilt expression is evaluated.

`numexpr.evaluate` runs Python's `eval` on its text, so a text can execute code (CVE-2023-39631 and later findings),
hang in constant folding, or crash the process (integer division of -2**63 by -1). This module parses the text, checks
every node against an allow-list, folds constants within bounds, and builds a new tree from known parts; numexpr gets
only `ast.unparse` of that tree.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from schedules.errors import ScheduleError, did_you_mean
from schedules.quoting import LONGEST_NAME, quote
from schedules.variables import CONSTANTS, HEARD, LARGEST_INT, VARIABLES, Kind

LONGEST = 10_000  # characters of one expression
DEEPEST = 200  # levels of nesting; Python's parser allows 200 nested parentheses
MOST_NODES = 1_500  # nodes of the tree; numexpr compiles in quadratic time and holds at most 255 values
MOST_DIGITS = 4_300  # digits of an integer literal; Python's own limit, which raises an error of its own wording
MOST_BITS = 4_096  # bits of an integer that results from constant folding

Number = bool | int | float

# numexpr's functions, by number of arguments.
_ONE = [
    "abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "conj", "copy", "cos", "cosh", "exp",
    "expm1", "floor", "imag", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "ones_like", "real",
    "round", "sign", "signbit", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
]  # fmt: skip
_TWO = ["arctan2", "copysign", "fmod", "hypot", "maximum", "minimum", "nextafter"]
# Functions of this language with (fewest, most) arguments, and numexpr's reduction sum, here the identity of one value.
_OWN = {"clip": (3, 3), "lerp": (3, 3), "smoothstep": (3, 3), "min": (1, 99), "max": (1, 99), "sum": (1, 1)}
# Random functions: fewest arguments, and the variable that stands in their place.
_RANDOM = {"rand": (0, "t"), "smooth_rand": (0, "sec"), "noise": (1, "")}
# Functions that numexpr does not have, computed before it runs.
_OUTSIDE = {"band": (2, 2), **{name: (fewest, 2) for name, (fewest, _) in _RANDOM.items()}}
HIGHEST_HZ = 22_050
FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(_ONE, (1, 1)),
    **dict.fromkeys(_TWO, (2, 2)),
    "where": (3, 3),
    "prod": (1, 1),
    **_OWN,
    **_OUTSIDE,
}
_TESTS = {"isfinite", "isinf", "isnan", "signbit"}
_KEEP_KIND = {"abs", "copy", "ones_like", "round", "sign"}
_ELSEWHERE = {  # names of other languages, and this language's equivalents
    "acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "acosh": "arccosh", "asinh": "arcsinh",
    "atanh": "arctanh", "clamp": "clip", "mix": "lerp", "ln": "log", "int": "trunc", "frame": "t", "seed": "s",
    "max_frames": "max_f", "frames": "max_f", "seconds": "sec", "mod": "fmod", "fabs": "abs", "random": "rand",
    "perlin": "noise", "smrand": "smooth_rand",
}  # fmt: skip

_LONG_NUMBER = re.compile(rf"(?<![\w.])\d[\d_]{{{MOST_DIGITS},}}(?![\w.])")

_OPERATORS: dict[type[ast.AST], Callable[..., Number]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Invert: operator.invert,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)

# Python syntax that is rejected with a message of its own, and a hint at what to write instead.
_REFUSED: dict[type[ast.AST], tuple[str, str | None]] = {
    ast.IfExp: ("'if ... else' is not known", "write where(condition, value, otherwise)"),
    ast.BoolOp: ("'and' and 'or' are not known", "write (t > 1) & (t < 4) for and, (t < 1) | (t > 4) for or"),
    ast.Not: ("'not' is not known", "write ~(t > 4)"),
    ast.Tuple: ("a comma is not expected here", None),
    ast.Attribute: ("a '.' is not expected here", None),
}

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\s.+\-*/%()<>=!&|^~,]")
_INSTEAD = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "π": "pi", "²": "**2", "³": "**3", "≤": "<=",
            "≥": ">=", "≠": "!=", "[": "(", "]": ")", "{": "(", "}": ")"}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """An argument of a `Call`: code for numexpr, or the value if it is constant."""

    code: str
    constant: Number | None


@dataclass(frozen=True)
class Call:
    """A function that numexpr does not have. Its value is a variable of the code, `bound`."""

    bound: str
    function: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Program:
    """A validated expression: canonical `text`, `code` for numexpr, variable `names`, and the value if `constant`.

    `calls` are to be computed before, in order: the arguments of one may contain the ones before it.
    """

    text: str
    code: str
    names: frozenset[str]
    constant: Number | None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class _Term:
    """A checked subexpression: its tree for numexpr, or its value if it is constant.

    The kind "int" means that it may be an integer: some of numexpr's functions return floats for integers.
    """

    tree: ast.expr | None
    kind: Kind
    value: Number | None = None
    size: int = 1
    depth: int = 1


class _Refusal(Exception):
    """A rejection, which `admit` turns into a ScheduleError; `column` counts in the stripped expression."""

    def __init__(self, message: str, column: int, hint: str | None) -> None:
        super().__init__(message)
        self.message, self.column, self.hint = message, column, hint


def _fail(message: str, at: ast.AST | int, hint: str | None = None) -> NoReturn:
    raise _Refusal(message, at if isinstance(at, int) else getattr(at, "col_offset", 0), hint)


@lru_cache(maxsize=4096)
def admit(source: str, own: frozenset[str] = frozenset()) -> Program:
    """Check one expression and translate it for numexpr; `own` are names of variables beside those of the language.

    Raises ScheduleError for everything but arithmetic over known names, and for exceeded limits of length, depth and
    size.
    """
    blank = len(source) - len(source.lstrip())
    try:
        return _admit(re.sub(r"\s", " ", source.strip()), own)
    except _Refusal as refusal:
        raise ScheduleError(refusal.message, text=source, column=blank + refusal.column, hint=refusal.hint) from None
    except (RecursionError, MemoryError):  # Python's parser raises both, this module RecursionError
        message = f"the expression is nested too deeply; expected at most {DEEPEST} levels"
        raise ScheduleError(message, text=source, column=blank) from None


def _admit(body: str, own: frozenset[str]) -> Program:
    if not body:
        _fail("expected a number or an expression such as sin(t/10)", 0)
    if len(body) > LONGEST:
        _fail(f"the expression has {len(body)} characters; expected at most {LONGEST}", 0)
    forbidden = _FORBIDDEN.search(body)
    if forbidden:
        instead = _INSTEAD.get(forbidden.group())
        hint = None if instead is None else f"write {instead}"
        _fail(f"{forbidden.group()!r} has no meaning in an expression", forbidden.start(), hint)
    _balance(body)
    long = _LONG_NUMBER.search(body)
    if long:
        _fail("the number is too large", long.start())
    tree = _parse(body)
    checker = _Checker(body, own)
    term = checker.visit(tree, 1)
    code, calls = ast.unparse(_tree(term, tree)), tuple(checker.calls.values())
    return Program(ast.unparse(tree), code, frozenset(checker.names), term.value, calls)


def _balance(source: str) -> None:
    opened: list[int] = []
    for match in re.finditer(r"[()]", source):
        if match.group() == "(":
            opened.append(match.start())
            if len(opened) > DEEPEST:
                raise RecursionError
        elif opened:
            opened.pop()
        else:
            _fail("this ')' closes nothing", match.start())
    if opened:
        _fail("this '(' is never closed", opened[-1])


def _parse(body: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of doubtful spellings such as '1if'
            return ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError) as error:
        offset = getattr(error, "offset", None)  # 1-based; 0 means the end
        column = offset - 1 if offset else len(body)
        before, after = body[:column].rstrip()[-1:], body[column:]
        if re.match(r"[\d.]+[A-Za-z_]", after) or (re.match(r"[\w)]", before) and re.match(r"[\w.(]", after)):
            _fail("expected an operator between these", column, "write * to multiply, as in 2*t")
        if not after:
            _fail("the expression ends too early; expected a value", column)
        _fail("expected an expression such as sin(t/10)", column)


def _tree(term: _Term, node: ast.AST) -> ast.expr:
    """Return the tree of a term; a negative constant becomes a unary minus, so that its sign binds correctly."""
    if term.tree is not None:
        return term.tree
    value = term.value
    if type(value) is int and not -LARGEST_INT - 1 <= value <= LARGEST_INT:
        _fail("the whole number is too large; expected at most 64 bits", node, "write it with a point, as in 1e20")
    if value is not None and not isinstance(value, bool) and math.copysign(1, value) < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def _kind(value: Number) -> Kind:
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"


class _Checker:
    """Visitor over the tree of an expression: checks each node and builds the tree for numexpr."""

    def __init__(self, body: str, own: frozenset[str]) -> None:
        self.body, self.own = body, own
        self.names: set[str] = set()
        self.calls: dict[tuple[str, tuple[Argument, ...]], Call] = {}
        self.nodes = 0

    def visit(self, node: ast.expr, depth: int) -> _Term:
        self.nodes += 1
        if depth > DEEPEST:
            raise RecursionError
        if self.nodes > MOST_NODES:
            _fail(f"the expression is too long; expected at most {MOST_NODES} numbers, names and operators", node)
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return self._operation(node, op, [self.visit(operand, depth + 1)])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._operation(node, op, [self.visit(left, depth + 1), self.visit(right, depth + 1)])
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._operation(node, op, [self.visit(left, depth + 1), self.visit(right, depth + 1)])
            case ast.Compare(ops=ops) if len(ops) > 1 and all(type(op) in _OPERATORS for op in ops):
                second = self.behind(node.comparators[0])
                _fail("comparisons cannot be chained", second, "write (1 < t) & (t < 4), each in parentheses")
            case ast.Call():
                return self._call(node, depth)
        refused = node.op if isinstance(node, ast.UnaryOp) else node
        message, hint = _REFUSED.get(type(refused), ("this is not arithmetic", None))
        at = self.behind(node.values[0]) if isinstance(node, ast.BoolOp) else node.col_offset
        _fail(f"{message}; expected numbers, known names and functions, and operators", at, hint)

    def behind(self, node: ast.expr) -> int:
        """Return the column of the operator that follows an operand."""
        blank = re.compile(r"[\s)]*").match(self.body, node.end_col_offset or 0)
        return blank.end() if blank else 0

    def _constant(self, node: ast.Constant) -> _Term:
        value = node.value
        if not isinstance(value, bool | int | float):
            _fail("expected a plain number", node)
        if isinstance(value, float) and math.isinf(value):
            _fail("the number is too large", node)
        return _Term(None, _kind(value), value)

    def _name(self, node: ast.Name) -> _Term:
        if node.id in CONSTANTS:
            return _Term(None, "float", CONSTANTS[node.id])
        if node.id in VARIABLES:
            self.names.add(node.id)
            return _Term(ast.Name(node.id, ast.Load()), VARIABLES[node.id][0])
        if node.id in self.own:
            self.names.add(node.id)
            return _Term(ast.Name(node.id, ast.Load()), "float")
        if node.id in _RANDOM and _RANDOM[node.id][0] == 0:
            return self._outside(node, node.id, [])
        if node.id in FUNCTIONS:
            _fail(f"{node.id!r} is a function; expected its arguments in parentheses", node, f"write {node.id}(...)")
        usual = [*(name for name in VARIABLES if name not in HEARD), *CONSTANTS, *sorted(self.own)]
        self._unknown("name", node, [*usual, *HEARD], "expected one of " + ", ".join(usual))

    def _unknown(self, what: str, node: ast.Name, choices: list[str], expected: str) -> NoReturn:
        word, known = node.id, [*choices, *FUNCTIONS]
        other = _ELSEWHERE.get(word.lower())
        hint = f"did you mean {other!r}?" if other else did_you_mean(word, known)
        _fail(f"unknown {what} {quote(word, LONGEST_NAME)}; {expected}", node, hint)

    def _call(self, node: ast.Call, depth: int) -> _Term:
        if not isinstance(node.func, ast.Name):
            _fail("a value cannot be called; expected an operator before the '('", node, "write * to multiply")
        name = node.func.id
        if name in VARIABLES or name in CONSTANTS or name in self.own:
            _fail(f"{name!r} is not a function; expected an operator before the '('", node, f"write {name}*(...)")
        if name not in FUNCTIONS:
            self._unknown("function", node.func, [], "expected one such as sin, where or clip")
        if node.keywords:
            _fail("an argument cannot be named here", node.keywords[0])
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(node.args) <= most:
            expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            _fail(f"{name}() has {len(node.args)} argument(s); expected {expected}", node)
        terms = [self.visit(argument, depth + 1) for argument in node.args]
        if name in _OUTSIDE:
            return self._outside(node, name, terms)
        if name in _OWN or name == "prod":
            return _OWN_MEANING[name](self, node, terms)
        return self._function(node, name, terms)

    def _outside(self, node: ast.AST, name: str, terms: list[_Term]) -> _Term:
        """Return the value of a function that is computed before: a variable that stands for it."""
        if name == "band":
            low, high = (term.value for term in terms)
            if low is None or high is None:
                _fail("band() needs two numbers, in Hz", node, "write band(40, 120)")
            if not 0 <= low < high <= HIGHEST_HZ:
                _fail(f"band() has the ends {low:g} and {high:g}; expected 0 <= low < high <= {HIGHEST_HZ:,} Hz", node)
        elif not terms:
            clock = _RANDOM[name][1]
            self.names.add(clock)
            terms = [_Term(ast.Name(clock, ast.Load()), "float")]
        if len(terms) == 1:
            terms = [*terms, _Term(None, "int", 0)]
        arguments = tuple(Argument("" if term.tree is None else ast.unparse(term.tree), term.value) for term in terms)
        size, depth = 1 + sum(term.size for term in terms), 1 + max(term.depth for term in terms)
        known = self.calls.setdefault((name, arguments), Call(f"_call{len(self.calls)}", name, arguments))
        return _Term(ast.Name(known.bound, ast.Load()), "float", None, size, depth)

    def _function(self, node: ast.AST, name: str, terms: list[_Term]) -> _Term:
        """Return the call of one of numexpr's functions."""
        kinds = [term.kind for term in terms]
        kind: Kind = "float"
        if name in _TESTS:
            kind = "bool"
        elif name == "where":
            if kinds[0] != "bool":
                _fail("where() chooses by a condition; expected one such as t > 5 as its first argument", node)
            kind = "bool" if kinds[1:] == ["bool", "bool"] else "float" if "float" in kinds[1:] else "int"
        elif name in _KEEP_KIND or name in ("minimum", "maximum"):
            kind = "float" if "float" in kinds else "int"
        return self._join(node, lambda *trees: ast.Call(ast.Name(name, ast.Load()), list(trees), []), kind, terms)

    def _operation(self, node: ast.AST, op: ast.AST, terms: list[_Term]) -> _Term:
        """Apply an operator: folded if all operands are constant, else as a tree for numexpr."""
        values = [term.value for term in terms if term.value is not None]
        kinds = [term.kind for term in terms]
        if isinstance(op, (*_BITWISE, ast.Invert)) and "float" in kinds:
            at = self.behind(node.left) if isinstance(node, ast.BinOp) else node
            _fail("'&', '|', '~' and shifts join conditions or whole numbers", at, "put each condition in parentheses")
        if len(values) == len(terms):
            value = _fold(node, op, values)
            return _Term(None, _kind(value), value)
        if isinstance(op, ast.BitXor) and kinds != ["bool", "bool"]:
            at = self.behind(node.left) if isinstance(node, ast.BinOp) else node
            _fail("'^' joins two conditions: either of them, not both", at, "write ** for a power, as in 2**t")
        if isinstance(op, ast.Mod | ast.FloorDiv) and "float" not in kinds and terms[1].value in (None, -1):
            return self._whole_division(node, op, *terms)
        return self._apply(node, op, terms)

    def _apply(self, node: ast.AST, op: ast.AST, terms: list[_Term]) -> _Term:
        kinds = {term.kind for term in terms}
        kind: Kind = "float" if "float" in kinds or isinstance(op, ast.Div) else "int"
        if isinstance(op, ast.cmpop):
            return self._join(node, lambda a, b: ast.Compare(a, [op], [b]), "bool", terms)
        if isinstance(op, ast.unaryop):
            kind = "bool" if isinstance(op, ast.Invert) and kinds == {"bool"} else kind
            return self._join(node, lambda a: ast.UnaryOp(op, a), kind, terms)
        assert isinstance(op, ast.operator)
        if terms[0].tree is None and isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor):
            terms = terms[::-1]  # numexpr supports t & 7, but not 7 & t
        elif terms[0].tree is None and isinstance(op, ast.FloorDiv):  # it supports t // 7, but not 7 // t
            if terms[0].kind == "float":
                return self._function(node, "floor", [self._apply(node, ast.Div(), terms)])
            terms = [self._function(node, "round", terms[:1]), terms[1]]  # it supports round(7) // t
        if kinds == {"bool"} and isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Add | ast.Mult):
            kind = "bool"
        return self._join(node, lambda a, b: ast.BinOp(a, op, b), kind, terms)

    def _whole_division(self, node: ast.AST, op: ast.AST, a: _Term, b: _Term) -> _Term:
        """Divide integers (// or %) without a divisor of -1, which crashes the process for a dividend of -2**63.

        a // -1 becomes -a // 1, and a % -1 becomes -(-a % 1).
        """
        one = _Term(None, "int", 1)
        by_minus_one = self._apply(node, op, [self._apply(node, ast.USub(), [a]), one])
        if isinstance(op, ast.Mod):
            by_minus_one = self._apply(node, ast.USub(), [by_minus_one])
        if b.value is not None:
            return by_minus_one
        is_minus_one = self._apply(node, ast.Eq(), [b, _Term(None, "int", -1)])
        divisor = self._function(node, "where", [is_minus_one, one, b])
        return self._function(node, "where", [is_minus_one, by_minus_one, self._apply(node, op, [a, divisor])])

    def _join(self, node: ast.AST, build: Callable[..., ast.expr], kind: Kind, terms: list[_Term]) -> _Term:
        size, depth = 1 + sum(term.size for term in terms), 1 + max(term.depth for term in terms)
        if size > MOST_NODES:
            _fail(f"the expression is too long; expected at most {MOST_NODES} numbers, names and operators", node)
        if depth > DEEPEST:
            raise RecursionError
        return _Term(build(*(_tree(term, node) for term in terms)), kind, None, size, depth)

    # -- functions of this language, built from numexpr's

    def _both(self, node: ast.AST, op: ast.AST, a: _Term, b: _Term) -> _Term:
        return self._operation(node, op, [a, b])

    def _fewer(self, node: ast.AST, name: str, terms: list[_Term]) -> _Term:
        """Nest numexpr's two-argument minimum or maximum over any number of terms."""
        result = terms[0]
        for term in terms[1:]:
            result = self._function(node, name, [result, term])
        return result

    def _clip(self, node: ast.AST, terms: list[_Term]) -> _Term:
        x, low, high = terms
        return self._fewer(node, "minimum", [self._fewer(node, "maximum", [x, low]), high])

    def _lerp(self, node: ast.AST, terms: list[_Term]) -> _Term:
        """a + (b - a) * x"""
        a, b, x = terms
        return self._both(node, ast.Add(), a, self._both(node, ast.Mult(), self._both(node, ast.Sub(), b, a), x))

    def _smoothstep(self, node: ast.AST, terms: list[_Term]) -> _Term:
        """u * u * (3 - 2 * u) with u = clip((x - a) / (b - a), 0, 1), as in shading languages"""
        a, b, x = terms
        span, way = self._both(node, ast.Sub(), b, a), self._both(node, ast.Sub(), x, a)
        zero, one, two, three = (_Term(None, "float", value) for value in (0.0, 1.0, 2.0, 3.0))
        u = self._clip(node, [self._both(node, ast.Div(), way, span), zero, one])
        rest = self._both(node, ast.Sub(), three, self._both(node, ast.Mult(), two, u))
        return self._both(node, ast.Mult(), self._both(node, ast.Mult(), u, u), rest)


_OWN_MEANING: dict[str, Callable[[_Checker, ast.AST, list[_Term]], _Term]] = {
    "min": lambda checker, node, terms: checker._fewer(node, "minimum", terms),
    "max": lambda checker, node, terms: checker._fewer(node, "maximum", terms),
    "sum": lambda checker, node, terms: terms[0],
    "prod": lambda checker, node, terms: terms[0],
    "clip": _Checker._clip,
    "lerp": _Checker._lerp,
    "smoothstep": _Checker._smoothstep,
}


def _fold(node: ast.AST, op: ast.AST, values: list[Number]) -> Number:
    """Fold an operation on constants with Python's operators, as numexpr would, but within `MOST_BITS`."""
    bits = [value.bit_length() for value in values if isinstance(value, int)]
    if len(bits) == len(values) == 2:
        right = int(values[1])
        if isinstance(op, ast.Pow) and right > 0 and bits[0] > 1:
            bits = [bits[0] * right]
        elif isinstance(op, ast.LShift):
            bits = [bits[0] + max(right, 0)]
        elif isinstance(op, ast.Mult):
            bits = [sum(bits)]
        if max(bits) > MOST_BITS:
            _fail("the number is too large", node)
    if isinstance(op, ast.Invert):
        values = [int(values[0])]  # ~True is -2, deprecated in newer Python versions
    try:
        value = _OPERATORS[type(op)](*values)
    except ZeroDivisionError:
        _fail("division by zero", node)
    except OverflowError:
        _fail("the number is too large", node)
    except (TypeError, ValueError):
        _fail("the operator does not fit these numbers", node)
    if not isinstance(value, bool | int | float):
        _fail("the result is a complex number; expected a real one", node)
    if isinstance(value, float) and math.isnan(value):
        _fail("the result is not a number", node)
    return value
