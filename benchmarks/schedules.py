"""Time sampling all schedules of a settings file: `python benchmarks/schedules.py`.

Thirty schedules of numbers and ten expressions are parsed and sampled, at three lengths. For comparison numexpr
evaluates nine of the expressions one frame at a time, as Deforum does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numexpr

from schedules import NumberSchedule, ScheduleError, Variables, parse_number

NUMBERS = [f"0:({value}), 100:({value}.5), 5000:(-{value}), max_f:(0)" for value in range(10)] + ["0: (1)"] * 20
EXPRESSIONS = [
    "1.0025+0.002*sin(1.25*3.14*t/30)",
    "0.25 * cos((72 / 60 * 3.141 * (t + 0) / 30))**13 + 0.7",
    "10*sin(2*3.14*t/10)",
    "(2*5/3.14)*arcsin(sin((2*3.14)/20*t))",
    "(t%10)/10*2-1",
    "abs(sin(3.14*t/10))*2",
    "3*exp(-t/max_f)",
    "(t>50)*1.2+(t<=50)*0.3",
    "where(t%25<5, 1, 0.2)",
    "smoothstep(0, max_f, t)*clip(sin(sec), 0, 1)",
]
HOSTILE = [
    "9**9**9**9", "9" * 9000, "(" * 9000, "-" * 9000 + "t", "t**" * 3000 + "t", "t" + "+t" * 4000, "t%" * 500 + "t",
    "min(" + ",".join(["t"] * 300) + ")", "smoothstep(0,1," * 40 + "t" + ")" * 40, "step " * 2000, "a b " * 2000,
]  # fmt: skip
MANY_KEYS = 10_000
PER_FRAME = 200  # frames of the baseline; its figure is scaled up from these
REPEATS = 5


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest of REPEATS calls."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def parse() -> list[NumberSchedule]:
    return [parse_number(text) for text in (*NUMBERS, *(f"0:({expression})" for expression in EXPRESSIONS))]


def refuse(text: str) -> None:
    """Read a text and sample it, as a number's schedule and as a keyframe's value."""
    for written in (text, {0: text}):
        with suppress(ScheduleError):
            parse_number(written).sample(3, Variables(seed=1))


def one_frame_at_a_time(num_frames: int) -> None:
    """Evaluate the expressions that plain numexpr supports, once per frame."""
    plain = [expression for expression in EXPRESSIONS if "smoothstep" not in expression]
    for expression in plain:
        for t in range(num_frames):
            numexpr.evaluate(expression, local_dict={"t": t, "max_f": num_frames - 1}, global_dict={})


def main() -> None:
    variables = Variables(seed=1, fps=15)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{len(NUMBERS)} schedules of numbers, {len(EXPRESSIONS)} of expressions; {cores} cores; best of {REPEATS}")
    start = time.perf_counter()
    for schedule in parse():
        schedule.sample(100_000, variables)
    print(f"parse and sample    100,000 frames, first time  {time.perf_counter() - start:8.3f} s   (to reach: 0.3 s)")
    for num_frames in (10_000, 100_000, 1_000_000):
        seconds = timed(lambda count=num_frames: [each.sample(count, variables) for each in parse()])  # type: ignore[misc]
        per_frame = 1e6 * seconds / num_frames
        print(f"parse and sample {num_frames:10,} frames              {seconds:8.3f} s   {per_frame:.2f} us/frame")
    text = ", ".join(f"{frame}:({frame % 7}.25)" for frame in range(MANY_KEYS))
    seconds = timed(lambda: parse_number(text).sample(MANY_KEYS, variables))
    print(f"one schedule of {MANY_KEYS:,} numbers                 {seconds:8.3f} s")
    seconds = max(timed(lambda text=text: refuse(text)) for text in HOSTILE)  # type: ignore[misc]
    print(f"slowest of {len(HOSTILE)} texts that are errors          {seconds:8.3f} s   (to reach: 0.1 s)")
    seconds = timed(lambda: one_frame_at_a_time(PER_FRAME)) / PER_FRAME * 100_000
    print(f"baseline            100,000 frames, one at a time {seconds:8.3f} s   ", end="")
    print(f"(9 of the expressions by numexpr alone, scaled up from {PER_FRAME} frames)")


if __name__ == "__main__":
    main()
