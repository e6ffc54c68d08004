"""What comes into schedules from outside: random numbers, signals, places in music, names of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from schedules import ScheduleError, Unheard, Variables, parse_expression, parse_key, parse_number

COUNT, SEEDED = 40, Variables(seed=7, fps=10)


class Counted:
    """Signals that tell where they were asked: the frame, ends of the band, 6.25 frames a beat."""

    names = frozenset({"energy"})

    def at(self, name: str, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        if name == "amp":
            raise Unheard("nothing is heard", "listen", said_elsewhere=True)
        return frames * {"energy": 1.0, "beat": 0.5}.get(name, 0.0)

    def band(self, low: float, high: float, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.full(frames.shape, high - low)

    def place(self, unit: str, number: float) -> float:
        return number * {"beat": 6.25, "bar": 25.0, "section": 100.0}[unit]


HEARD = Variables(seed=7, fps=10, signals=Counted())


def sampled(text: str, variables: Variables = SEEDED) -> NDArray[np.float64]:
    return parse_number(text, own=variables.own).sample(COUNT, variables)


RAND = [0.7357850102200573, 0.93046408560664, 0.7528486324053469]
NOISE = [0.00748085174416302, -0.32153104742951477]
"""Recorded once: they must be the same on every machine and in every version."""


def test_random_numbers_stay_what_they_are() -> None:
    assert sampled("rand")[:3].tolist() == RAND
    assert sampled("noise(t/3)")[1:3].tolist() == NOISE
    assert sampled("smooth_rand(t/4)")[[0, 4, 8]].tolist() == sampled("rand(t)")[:3].tolist()


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("rand", "rand(t)"), ("rand()", "rand(t, 0)"), ("smooth_rand", "smooth_rand(sec)"),
        ("rand(t/5)", "rand(floor(t/5))"), ("noise(t)", "0*t"), ("2*rand(3)", "rand(3)+rand(3.7)"),
        ("rand(noise(t/7)*50)", "rand(floor(noise(t/7)*50), 0)"),
    ],
)  # fmt: skip
def test_meanings_of_random_functions(text: str, same_as: str) -> None:
    np.testing.assert_array_equal(sampled(text), sampled(same_as))


def test_random_numbers_are_spread_and_independent() -> None:
    many = Variables(seed=1)
    one, other = (parse_number(text).sample(20_000, many) for text in ("rand(t, 1)", "rand(t, 2)"))
    assert abs(one.mean() - 0.5) < 0.01 and abs(one.std() - 12**-0.5) < 0.01 and one.min() >= 0 and one.max() < 1
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03 and abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03
    assert (parse_number("rand").sample(50, Variables(seed=2)) != parse_number("rand").sample(50, many)).all()
    smooth, noise = (parse_number(text).sample(2000, many) for text in ("smooth_rand(t/50)", "noise(t/50)"))
    assert abs(np.diff(smooth)).max() < 0.04 and smooth.min() >= 0 and smooth.max() <= 1
    assert abs(np.diff(noise)).max() < 0.1 and -1 <= noise.min() < -0.3 < 0.3 < noise.max() <= 1


def test_signals_in_expressions() -> None:
    np.testing.assert_array_equal(sampled("energy + 2*beat", HEARD), 2.0 * np.arange(COUNT))
    np.testing.assert_array_equal(sampled("0:(1) step, 10:(band(40, 90))", HEARD)[9:11], [1, 50])
    assert parse_expression("energy", own={"energy"}).evaluate(3, HEARD, COUNT) == 3
    text = parse_number('0: (energy*2), "beat(2)+1": (1) ease-in', own={"energy"}).text
    assert parse_number(text, own={"energy"}).text == text == '0: (energy * 2), "beat(2)+1": (1) ease-in'


@pytest.mark.parametrize(
    ("key", "frame"),
    [("beat(4)", 25), ('"beat(4)"', 25), ("beat( 1.5 )", 9), ("bar(2)-3", 47), ("bar(2) + 3", 53), ("section(1)", 100),
     ("beat(-1)", -6), ("beat(2)", 13)],
)  # fmt: skip
def test_places_in_music(key: str, frame: int) -> None:
    found = parse_key(key)
    assert found.frame(HEARD, COUNT) == frame
    assert parse_key(found.text) == found
    values = parse_number(f"0:(1), {key}:(2)").sample(200, HEARD) if 0 < frame < 200 else None
    assert values is None or values[frame] == 2 > values[frame - 1]
    mapped = parse_number({0: 1, key: 2}).sample(200, HEARD)
    assert values is None or (mapped == values).all()


@pytest.mark.parametrize(
    ("text", "says", "column"),
    [
        ("0:(1), beat(4):(2)", "no sound to follow", 7),
        ("0:(1), beat(x):(2)", "'beat(x)' is no place in music", 7),
        ("0:(1), bar():(2)", "no place in music", 7),
        ("0:(1), rand:(2)", "cannot change over time", 7),
        ("0:(1), band(1,2):(2)", "cannot change over time", 7),
        ("1 + bass", "no sound to follow", 0),
        ("1 + energy", "unknown name 'energy'", 4),
        ("1 + beats", "unknown name 'beats'", 4),
        ("band(t, 40)", "band() needs two numbers", 0),
        ("band(90, 40)", "expected 0 <= low < high", 0),
        ("band(40)", "band() has 1 argument(s); expected 2", 0),
        ("noise()", "noise() has 0 argument(s); expected 1 to 2", 0),
        ("noise", "'noise' is a function", 0),
        ("beat(4)", "'beat' is not a function", 0),
    ],
)
def test_errors(text: str, says: str, column: int) -> None:
    with pytest.raises(ScheduleError) as caught:
        sampled(text)
    assert says in caught.value.message
    assert column == 0 or caught.value.column == column


def test_an_error_that_is_said_elsewhere_stays_so() -> None:
    with pytest.raises(ScheduleError) as caught:
        sampled("0:(1), 3:(amp)", HEARD)
    assert caught.value.said_elsewhere and caught.value.hint == "listen"
    assert caught.value.within("longer text", 3, "name").said_elsewhere
