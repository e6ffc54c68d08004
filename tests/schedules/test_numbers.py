"""What a schedule of numbers means: one line, one truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schedules import ScheduleError, Variables, parse_number

V = Variables(seed=7, fps=10)


def sampled(text: object, num_frames: int = 6, variables: Variables = V) -> list[float]:
    curve = parse_number(text).sample(num_frames, variables)  # type: ignore[arg-type]
    assert curve.dtype == np.float64 and curve.shape == (num_frames,)
    return curve.tolist()


@pytest.mark.parametrize(
    "text, want",
    [
        ("0:(1)", [1, 1, 1, 1, 1, 1]),
        ("0:(0), 5:(10)", [0, 2, 4, 6, 8, 10]),
        ("0:(0), 2:(1)", [0, 0.5, 1, 1, 1, 1]),
        ("2:(1), 0:(0)", [0, 0.5, 1, 1, 1, 1]),
        ("0:(0), 2:(5), 2:(1)", [0, 0.5, 1, 1, 1, 1]),
        ("0:(1), 6:(9), -1:(4)", [1, 1, 1, 1, 1, 1]),
        ("0:(t), 3:(9)", [0, 1, 2, 9, 9, 9]),
        ("0:(9), 3:(t)", [9, 7, 5, 3, 4, 5]),
        ("0:( 1 ), 3:( 4 )", [1, 1, 1, 4, 4, 4]),
        ("0:(1.), 3:(4e0)", [1, 1, 1, 4, 4, 4]),
        ("0:((1)), 3:((4))", [1, 2, 3, 4, 4, 4]),
        ("0:(1).5", [1.5] * 6),
        ("0: 0: (5), 5:(5)", [0, 1, 2, 3, 4, 5]),
        ("0:(1, 5:(6)", [1, 2, 3, 4, 5, 6]),  # unpaired, but Deforum reads numbers so
        ('0:(0), "max_f":(5)', [0, 1, 2, 3, 4, 5]),
        ("0:(0), 'max_f/2':(2)", [0, 1, 2, 2, 2, 2]),
        ("0:(0), s-2:(5)", [0, 1, 2, 3, 4, 5]),
        ("0:(0), 1-1.5:(3)", [3, 3, 3, 3, 3, 3]),  # -0.5 is cut off to 0
        ("0:(sqrt(t-3))", [0, 0, 0, 0, 1, math.sqrt(2)]),
        ("0:(t>2)", [0, 0, 0, 1, 1, 1]),
        ("0:((t-3)%2)", [1, 0, 1, 0, 1, 0]),
        ("0:(1/(t-2))", [-0.5, -1, math.inf, 1, 0.5, 1 / 3]),
        ("0:(5^3)", [6] * 6),
    ],
)
def test_deforum(text: str, want: list[float]) -> None:
    assert sampled(text) == pytest.approx(want)


@pytest.mark.parametrize(
    "text, want",
    [
        # commas, colons, blanks
        ("0:(where(t>2, 1, 0))", [0, 0, 0, 1, 1, 1]),
        ("0:(where(t>2,1,0)), 4:(7),", [0, 0, 0, 1, 7, 7]),
        ("0:(1),, 5:(6), ", [1, 2, 3, 4, 5, 6]),
        ("min(t, 2)", [0, 1, 2, 2, 2, 2]),
        ("t*2", [0, 2, 4, 6, 8, 10]),
        ("3", [3] * 6),
        (" (3.5) ", [3.5] * 6),
        (4, [4] * 6),
        (1e-5, [1e-5] * 6),
        ('0:("t*2")', [0, 2, 4, 6, 8, 10]),
        ('0:"t"', [0, 1, 2, 3, 4, 5]),
        # keys
        ("2:(1), 4:(3)", [1, 1, 1, 2, 3, 3]),
        ("2:(t*2)", [4, 4, 4, 6, 8, 10]),
        ("0:(0), 5.0:(5)", [0, 1, 2, 3, 4, 5]),
        ("0:(0), 0.5s:(5)", [0, 1, 2, 3, 4, 5]),
        ("0s:(0), '.24 s':(2)", [0, 1, 2, 2, 2, 2]),
        ("0:(0), min(max_f, 9):(5)", [0, 1, 2, 3, 4, 5]),
        ('0:(0), "clip(9, 0, max_f)":(5)', [0, 1, 2, 3, 4, 5]),
        # names and functions
        ("pi", [math.pi] * 6),
        ("e**2", [math.e**2] * 6),
        ("sec*fps", [0, 1, 2, 3, 4, 5]),
        ("max(t, 1, 3.5)", [3.5, 3.5, 3.5, 3.5, 4, 5]),
        ("clip(t, 1, 4)", [1, 1, 2, 3, 4, 4]),
        ("lerp(10, 20, t/max_f)", [10, 12, 14, 16, 18, 20]),
        ("smoothstep(1, 3, t)", [0, 0, 0.5, 1, 1, 1]),
        ("smoothstep(0, 1, 0.25)", [0.15625] * 6),
        ("7//(t+1)", [7, 3, 2, 1, 1, 1]),
        ("-7.5//(t+1)", [-8, -4, -3, -2, -2, -2]),
        ("(5 & t) + (8 | t)", [8, 10, 10, 12, 16, 18]),
        ("1<<t", [1, 2, 4, 8, 16, 32]),
        ("(t>3) ^ (t<5)", [1, 1, 1, 1, 0, 1]),
        ("sum(t) + prod(t) + min(t)", [0, 3, 6, 9, 12, 15]),
        # mappings
        ({0: 0, 5: 5}, [0, 1, 2, 3, 4, 5]),
        ({0: "sin(0)+t", "max_f-1": 7.5}, [0, 1, 2, 3, 7.5, 7.5]),
        ({"0.1s": "1", "0.3s": "(3) step", 5.0: 0}, [1, 1, 2, 3, 3, 0]),
        ({0: "where(t>2, 1, 0)"}, [0, 0, 0, 1, 1, 1]),
        # easings
        ("0:(0) step, 4:(8)", [0, 0, 0, 0, 8, 8]),
        ("0:(0) linear, 4:(8)", [0, 2, 4, 6, 8, 8]),
        ("0:(0) ease-in, 4:(16)", [0, 1, 4, 9, 16, 16]),
        ("0:(0)ease-out, 4:(16)", [0, 7, 12, 15, 16, 16]),
        ("0: 0 Ease-In-Out, 4:(32)", [0, 5, 16, 27, 32, 32]),
        ("0:(t) linear, 4:(8)", [0, 1 + 7 / 4, 2 + 6 / 2, 3 + 3 * 5 / 4, 8, 8]),
        ("0:(1) ease-in", [1] * 6),
        ("0:(0) step, 2:(4), 4:(where(t>3, 0, 1)) step", [0, 0, 4, 2, 0, 0]),
    ],
)
def test_extensions(text: object, want: list[float]) -> None:
    assert sampled(text) == pytest.approx(want)


@pytest.mark.parametrize(
    "text, column, told",
    [
        ("", 0, "nothing here"),
        (" , ,", 0, "nothing here"),
        ("0(1)", 0, "called"),
        ("0:(1), 5", 7, "no ':'"),
        ("0:(1), 5:()", 9, "expected a number or an expression"),
        ("0:(-)", 2, "expected a number or an expression"),
        (":(1)", 0, "expected a frame number"),
        ("0:(1), 2.5:(3)", 7, "2.5 is no frame"),
        ("0:(1), t:(3)", 7, "cannot change over time"),
        ("0:(1), mx_f:(3)", 7, "unknown name 'mx_f'"),
        ("0:(sin(t)", 2, "never closed"),
        ("0:(t))", 5, "closes nothing"),
        ("0:(where(t>5,1,0)", 2, "unmatched ("),
        ("0:(where(t>5,1,0)): 3", 18, "second ':'"),
        ("0:(hello)", 3, "unknown name 'hello'"),
        ("0:(foo(t))", 3, "unknown function 'foo'"),
        ("0:(1), 9:(sine(t))", 10, "unknown function 'sine'"),
        ("0:(sin)", 3, "'sin' is a function"),
        ("0:(t(3))", 3, "'t' is not a function"),
        ("0:(1 if t>3 else 2)", 3, "if"),
        ("0:(t>1 and t<4)", 7, "and"),
        ("0:(not t)", 3, "not"),
        ("0:(2^t)", 4, "'^'"),
        ("0:(1 < t < 4)", 9, "chained"),
        ("0:(t > 1 & t < 4)", 13, "chained"),
        ("0:((t > 3) & 1.5)", 11, "conditions"),
        ("0:(where(t, 1, 2))", 3, "condition"),
        ("0:(clip(t, 1))", 3, "2 argument(s); expected 3"),
        ("0:(sin(x=t))", 7, "argument"),
        ("0:(2t)", 3, "operator"),
        ("0:(2*)", 5, "expected an expression"),
        ("0:(2*", 2, "never closed"),
        ("2*", 2, "too early"),
        ("0:(1/0)", 3, "division by zero"),
        ("0:((-8)**0.5)", 3, "complex"),
        ("0:(1e999)", 3, "too large"),
        ("0:(t*99999999999999999999)", 3, "too large"),
        ("0:(t**-1)", 2, "negative"),
        ("0:(-(t>3))", 2, "does not fit"),
        ("0:(sqrt(t-200.0))", 2, "not a number at any frame"),
        ("7:(1), 9:(2)", 2, "no keyframe is on the timeline"),
        ("0:(1) ese-in, 5:(2)", 6, "unknown easing"),
        ("step", 0, "unknown name 'step'"),
        ("0:(1/(t-1)) linear, 5:(2)", 2, "on the way from infinity"),
        ("0:(t × 2)", 5, "'×'"),
        ("0:(1)\n, 5:(2)\n, 9:(tt)", 19, "unknown name 'tt'"),
    ],
)
def test_mistakes(text: str, column: int, told: str) -> None:
    with pytest.raises(ScheduleError, match="zoom") as caught:
        parse_number(text, name="zoom").sample(6, V)
    error = caught.value
    assert told in error.message
    assert (error.name, error.text, error.column) == ("zoom", text, column)


@pytest.mark.parametrize(
    "text, hint",
    [
        ("0:(sine(t))", "did you mean 'sin'?"),
        ("0:(clamp(t,0,1))", "did you mean 'clip'?"),
        ("0:(t/max_frames)", "did you mean 'max_f'?"),
        ("0:(PI)", "did you mean 'pi'?"),
        ("0:(1) ease_in", "did you mean 'ease-in'?"),
        ("0:(1) ease", "did you mean 'ease-in'?"),
        ("0:(2^t)", "write ** for a power, as in 2**t"),
        ("0:(2t)", "write * to multiply, as in 2*t"),
        ("0:(1), 2.5:(3)", "for a time in seconds write 2.5s"),
        ("0:(qqqq)", None),
    ],
)
def test_hints(text: str, hint: str | None) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_number(text)
    assert caught.value.hint == hint


def test_a_message_quotes_the_line_and_points_at_the_column() -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_number("0:(1),\n\t30:(sin(tt/10)),\n60:(2)", name="zoom")
    assert str(caught.value).splitlines() == [
        "zoom: unknown name 'tt'; expected one of t, sec, s, max_f, fps, pi, e",
        "   30:(sin(tt/10)),",
        "           ^",
        "did you mean 't'?",
    ]


def test_a_long_line_is_cut_around_the_column() -> None:
    text = ", ".join(f"{frame}:({frame})" for frame in range(5000)) + ", 5000:(nope), 5001:(1)"
    with pytest.raises(ScheduleError) as caught:
        parse_number(text)
    _, line, caret, *_ = str(caught.value).splitlines()
    assert len(line) < 110 and line[caret.index("^") :].startswith("nope")


@pytest.mark.parametrize(
    "mapping, key, text, column, told",
    [
        ({0: 1, 30: "sin(tt)"}, "30", "sin(tt)", 4, "unknown name 'tt'"),
        ({0: 1, "max_f": True}, '"max_f"', "True", 0, "true is no finite number"),
        ({0: None}, "0", "None", 0, "nothing is no finite number"),
        ({0: math.nan}, "0", "nan", 0, "nan is no finite number"),
        ({0: 10**400}, "0", str(10**400)[:40], 0, "no finite number"),
        ({2.5: 1}, None, "2.5", 0, "whole frame number"),
        ({True: 1}, None, "True", 0, "whole frame number"),
        ({"2.5": 1}, None, "2.5", 0, "2.5 is no frame"),
        ({}, None, "{}", 0, "no keyframe"),
        ({9: "1"}, "9", "1", 0, "no keyframe is on the timeline"),
        ({0: "sqrt(t-99.5)"}, "0", "sqrt(t-99.5)", 0, "not a number"),
        (math.inf, None, "inf", 0, "no finite number"),
        (True, None, "True", 0, "true is no finite number"),
        (None, None, "None", 0, "nothing is no finite number"),
        ([1], None, "[1]", 0, "no finite number"),
    ],
)
def test_mistakes_in_mappings(mapping: object, key: str | None, text: str, column: int, told: str) -> None:
    with pytest.raises(ScheduleError, match="zoom") as caught:
        parse_number(mapping, name="zoom").sample(6, V)  # type: ignore[arg-type]
    error = caught.value
    assert told in error.message
    assert (error.key, error.text, error.column) == (key, text, column)


@pytest.mark.parametrize(
    "text, want",
    [
        ("0:(1),5:(2)", "0: (1), 5: (2)"),
        ("0:( 1 ), 5:(1e-2)", "0: ( 1 ), 5: ( 0.01 )"),
        ("'max_f/2':(sin(t)/2) linear", '"max_f / 2": (sin(t) / 2) linear'),
        ("1.50s:(1) step, 2:(2) linear, 3:(t) step", "1.5s: (1) step, 2: (2), 3: (t)"),
        (1e-7, "0: (0.0000001)"),
        ("5.0:(t)", "5: (t)"),
        ({"7/2": "-(1)"}, "3: ( -1 )"),
    ],
)
def test_canonical_text(text: object, want: str) -> None:
    schedule = parse_number(text)  # type: ignore[arg-type]
    assert schedule.text == want
    assert parse_number(want) == schedule and hash(parse_number(want)) == hash(schedule)


def test_equality_is_by_content() -> None:
    assert parse_number("0:(sin( t ))", name="a") == parse_number("0 : (sin(t))", name="b")
    assert parse_number("0:(1)") != parse_number("0:( 1 )")
    assert parse_number({0: 1, 5: "t"}) == parse_number("0:(1), 5:(t)")


def test_max_f_may_be_given() -> None:
    assert sampled("max_f", 3, Variables(max_f=99)) == [99, 99, 99]


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"fps": math.nan}, {"seed": 2**64}, {"max_f": 2.5}])
def test_wrong_variables(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Variables(**wrong)  # type: ignore[arg-type]


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="num_frames"):
        parse_number("0:(1)").sample(0, V)


@pytest.mark.parametrize(
    ("text", "same", "missing"),
    [
        ("359:(0.38)\n 288:(0.00)", "359:(0.38), 288:(0.00)", ["288"]),
        ("0:(1) 30:(2)", "0:(1), 30:(2)", ["30"]),
        ("0:(1), 20:(2)\t30:(3), 40:(4)", "0:(1), 20:(2), 30:(3), 40:(4)", ["30"]),
        ("0:(1) 20:(2) 30:(3)", "0:(1), 20:(2), 30:(3)", ["20", "30"]),
        ("0: 1 30: 2", "0: 1, 30: 2", ["30"]),
        ("0:(1); 30:(2)", "0:(1), 30:(2)", ["30"]),
        ("0:(sin(t/9)*2) 30:(2)", "0:(sin(t/9)*2), 30:(2)", ["30"]),
        ("0:(where(t>3,1,0)) 30:(2)", "0:(where(t>3,1,0)), 30:(2)", ["30"]),
        ('0:(1) "max_f-2":(2)', '0:(1), "max_f-2":(2)', ['"max_f-2"']),
        # Deforum reads these, in its way
        ("0:(1)30:(2)", "0:(130)", []),
        ("0:(1), 30:(2)", "0:(1), 30:(2)", []),
    ],
)
def test_a_missing_comma_is_read_and_said(text: str, same: str, missing: list[str]) -> None:
    schedule = parse_number(text)
    assert schedule == parse_number(same)
    assert [note.split("keyframe ")[1].split(";")[0] for note in schedule.notes] == missing
    assert schedule.text == parse_number(same).text and parse_number(schedule.text).notes == ()


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("0:(1) 30:(sinn(2))", 10, "unknown function 'sinn'"),
        ("0:(1) x 30:(2)", 6, "expected an operator"),
        ("0:(1 30:2)", 2, "never closed"),
    ],
)
def test_other_mistakes_around_a_missing_comma(text: str, column: int, message: str) -> None:
    with pytest.raises(ScheduleError, match=message) as caught:
        parse_number(text)
    assert (caught.value.text, caught.value.column) == (text, column)
