"""No text executes code, hangs, or ends the process: it evaluates or is an error, with work linear in its length."""

from __future__ import annotations

import faulthandler
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

from schedules import ScheduleError, Variables, parse_expression, parse_key, parse_number, parse_text

V = Variables(seed=7)
SAFETY_NET = 600  # seconds for all tests here together; ends the process, as a hang in C cannot be interrupted

# Strings that execute code, read files, exhaust memory or hang when they are handed to numexpr.evaluate.
ATTACKS = [
    "__import__('os')",
    "().__class__",
    "t[0]",
    "lambda: 1",
    "(t := 5)",
    "t.__class__",
    "t.ℭlass",
    "__builtins__",
    "(*(exec('raise SystemExit') for x in (1,)),)",
    "(*(print('x') for x in (1,)),)",
    "(*(getattr(t, 'x') for x in (1,)),)",
    "(*(open('/etc/passwd') for x in (1,)),)",
    """("'", ().__class__.__base__.__subclasses__(), "'")""",
    "f'{().__class__}'",
    "9**9**9**9",
    "9**9**7",
    "9**9**7*t",
    "abs(9**9**7)",
    "9.0**9**9",
    "1<<9999999999",
    "7*" * 2000 + "7",
    "1e999",
    "1j*t",
    "(-8)**0.5",
    "'a'*10**10",
    "'a'+t",
    "9" * 9000,
    "(" * 9000,
    "(" * 3000 + "t" + ")" * 3000,
    "sin(" * 199 + "t" + ")" * 199 + "+t" * 99,
    "-" * 9000 + "t",
    "~" * 5000 + "t",
    "t**" * 3000 + "t",
    "t" + "+t" * 4000,
    "+".join(f"(t*{i}+sin(t+{i}.5))" for i in range(600)),
    "lerp(" * 40 + "t" + ",t,t)" * 40,
    "smoothstep(0,1," * 40 + "t" + ")" * 40,
    "min(" + ",".join(["t"] * 300) + ")",
    "t%" * 500 + "t",
    "t\0",
    "sum(*t)",
    "sin(**t)",
    "sin(x for x in t)",
    "contains('a', 'b')",
    "complex(t, t)",
    "await t",
    "yield t",
    "...",
    "None",
    "b''",
    "t;t",
    "t#",
    "t\\\nt",
    "{t}",
    "`t`",
    "sum",
    "a" * 9000,
    "a b " * 2000,
    "(" * 100_000,
    "t+" * 50_000,
    ":" * 100_000,
    "," * 100_000,
    "'" * 100_000,
    "0:('" * 25_000,
    "1" + " " * 100_000 + "x",
    "1 step" * 15_000,
    "step " * 20_000,
]


def with_little_work(text: str, call: Callable[[], object]) -> None:
    """Call; check that it makes no more than 30 calls of Python and C functions for each character."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(before)
    assert calls < 5_000 + 30 * len(text)


@pytest.fixture(scope="module", autouse=True)
def safety_net() -> Iterator[None]:
    faulthandler.dump_traceback_later(SAFETY_NET, exit=True)
    parse_number("t+1").sample(2, V)  # numexpr's own start is not counted
    yield
    faulthandler.cancel_dump_traceback_later()


def ends_in_error(text: str, call: Callable[[], object]) -> None:
    def fail() -> None:
        with pytest.raises(ScheduleError) as caught:
            call()
        assert len(str(caught.value)) < 1000

    with_little_work(text, fail)


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: text[:30])
def test_attacks(text: str) -> None:
    ends_in_error(text, lambda: parse_number({0: text}).sample(3, V))
    ends_in_error(text, lambda: parse_expression(text).evaluate(3, V, 5))
    if ":" not in text and "," not in text:
        ends_in_error(text, lambda: parse_number(f"0:({text})").sample(3, V))
        ends_in_error(text, lambda: parse_number(text).sample(3, V))


@pytest.mark.parametrize("text", [text for text in ATTACKS if text[0] not in "0(9"], ids=lambda text: text[:30])
def test_attacks_by_keyframe(text: str) -> None:
    ends_in_error(text, lambda: parse_key(text).frame(V, 5))


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: text[:30])
def test_texts_are_only_text(text: str) -> None:
    def sample(written: object) -> None:
        with suppress(ScheduleError):
            assert len(parse_text(written).sample(3, V)) == 3  # type: ignore[arg-type]

    with_little_work(text, lambda: sample({0: text}))
    with_little_work(text, lambda: sample(text))


@pytest.mark.parametrize(
    "text, want",
    [
        ("(t*0-9223372036854775807-1)//-1", -(2**63)),
        ("(t*0-9223372036854775807-1)%-1", 0),
        ("(t*0-9223372036854775807-1)//(t-4)", -(2**63)),
        ("(t*0-9223372036854775807-1)%(t-4)", 0),
        ("(-9223372036854775807-1+t*0)%(0*t-1)", 0),
        ("t//-1", -3),
        ("t//(t-4)", -3),
        ("t%(t-4)", 0),
        ("abs(t-3.5)%(t-4)", -0.5),
        ("abs(t-3.5)//(t-4)", -1),
        ("t//0", 0),
        ("t%0", 0),
        ("t**40", None),
        ("2**(t+1000000000000000)", -(2**63)),
        ("t<<64", None),
    ],
)
def test_whole_numbers_do_not_end_the_process(text: str, want: float | None) -> None:
    """numexpr divides -2**63 by -1 in hardware, which ends the process with SIGFPE."""
    value = parse_expression(text).evaluate(3, V, 5)
    assert want is None or value == want


@pytest.mark.parametrize("a", ["t-5", "(t-5)*3", "t/2-2.25"])
@pytest.mark.parametrize("b", ["-1", "t-4", "1-t", "3", "-3", "-1.0", "t/2-1.5"])
@pytest.mark.parametrize("op", ["%", "//"])
def test_division_is_that_of_python(a: str, b: str, op: str) -> None:
    got = parse_expression(f"({a}){op}({b})").evaluate(np.arange(9), V, 9)
    for t, value in enumerate(got.tolist()):
        if eval(b, {"t": t}):
            assert value == pytest.approx(eval(f"({a}){op}({b})", {"t": t}))


PIECES = "0 1 30 -2 2.5 . : : , , ( ( ) ) \" ' t s max_f pi + - * / % ** // < == & | ~ ^ step linear ease-in 1.5s 1e3"


def test_random_texts() -> None:
    """Whatever is written either means something, and means the same in canonical text, or is an error."""
    dice = random.Random(5)
    pieces = [*PIECES.split(), "sin(", "min(", "where(", "clip(", " ", " ", "\n", "0:(", "), 5:(", "0:(1)", "é", "["]
    understood = 0
    for _ in range(20_000):
        text = "".join(dice.choice(pieces) for _ in range(dice.randrange(1, 12)))
        for parse in (parse_number, parse_text):
            try:
                schedule = parse(text)
            except ScheduleError as error:
                assert error.text == text and 0 <= error.column <= len(text)
                assert str(error)
                continue
            understood += 1
            assert parse(schedule.text) == schedule, text
            try:
                assert len(schedule.sample(3, V)) == 3
            except ScheduleError as error:
                assert error.text == text
    assert understood > 2000
