"""Expressions and keyframe positions by themselves, the variables, and what an import costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from schedules import EASINGS, ScheduleError, Variables, nearest, parse_expression, parse_key, parse_number
from schedules.sampling import WEIGHTS

V = Variables(seed=5, fps=24)


@pytest.mark.parametrize(
    "text, t, want",
    [
        ("t/4", 3, 0.75),
        ("t*2", 3, 6),
        ("t > 2", 3, True),
        ("1/3", 3, 1 / 3),
        ("max_f - t", 3, 6),
        ("'max_f/2'", 3, 4.5),
        ('("s")', 3, 5),
        ("sec", 12, 0.5),
        ("12", 3, 12),
    ],
)
def test_values_keep_their_kind(text: str, t: int, want: float | bool) -> None:
    value = parse_expression(text).evaluate(t, V, 10)
    assert value.shape == () and value.item() == pytest.approx(want)
    assert type(value.item()) is type(want)


@pytest.mark.parametrize("text", ["t", "5", "s", "sec", "where(t>1, 1, 2)"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_any_shape(text: str, shape: tuple[int, ...]) -> None:
    assert parse_expression(text).evaluate(np.full(shape, 3.0), V, 10).shape == shape


def test_fractions_of_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="whole"):
        parse_expression("t").evaluate(2.5, V, 10)


def test_the_error_of_an_expression() -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_expression(" sin(tt)", name="prompt")
    assert str(caught.value).startswith("prompt: unknown name 'tt'") and caught.value.column == 5


@pytest.mark.parametrize(
    "text, frame",
    [
        ("30", 30),
        ("-3", -3),
        ("+3", 3),
        (7, 7),
        (7.0, 7),
        (" '30' ", 30),
        ("2.0", 2),
        ("max_f", 9),
        ('"max_f-2"', 7),
        ("3*max_f/4", 6),
        ("-max_f/4", -2),
        ("s%3", 2),
        ("1.5s", 36),
        ("0.02s", 0),
        ("0.0209s", 1),
        ("1e1", 10),
        ("fps*2", 48),
    ],
)
def test_positions(text: str | float, frame: int) -> None:
    key = parse_key(text)
    assert key.frame(V, 10) == frame
    assert parse_key(key.text) == key


@pytest.mark.parametrize("text", ["", "2.5", "t", "sec*2", "1.5 seconds", "x", "log(0)", "1e300s", 2.5, True, None])
def test_wrong_positions(text: str | float) -> None:
    with pytest.raises(ScheduleError, match="prompts"):
        parse_key(text, name="prompts").frame(V, 10)


@pytest.mark.parametrize("easing", EASINGS)
def test_easings_begin_at_0_and_never_go_back(easing: str) -> None:
    weights = WEIGHTS[easing](np.linspace(0, 1, 101))  # type: ignore[index]
    assert weights[0] == 0 and (np.diff(weights) >= 0).all()
    assert weights[-1] == (0 if easing == "step" else 1)


@pytest.mark.parametrize(
    "word, want", [("sine", "sin"), ("COS", "cos"), ("zzz", None), ("", None), ("s" * 99_999, None)]
)
def test_nearest(word: str, want: str | None) -> None:
    assert nearest(word, ["sin", "cos", "tan"]) == want


def test_import_loads_neither_numpy_nor_numexpr() -> None:
    code = (
        "import sys, schedules\n"
        "schedules.parse_number('0:(1), 30:(sin(t/10)) linear')\n"
        "print(sorted({'numpy', 'numexpr', 'deforum', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_one_call_of_numexpr_for_all_spans_of_an_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    import numexpr

    calls = []
    evaluate = numexpr.evaluate
    monkeypatch.setattr(numexpr, "evaluate", lambda *given, **named: calls.append(given) or evaluate(*given, **named))
    text = ", ".join(f"{frame}:({'sin(t/9)' if frame % 20 else 'cos( t )'})" for frame in range(0, 1000, 10))
    curve = parse_number(text).sample(1000, V)
    frames = np.arange(1000)
    np.testing.assert_allclose(curve, np.where(frames % 20 < 10, np.cos(frames), np.sin(frames / 9)))
    assert len(calls) == 2
