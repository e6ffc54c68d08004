"""Time two workers of Ray beside one, each on one thread, and what a task costs besides its frames.

    python -m benchmarks.cluster [--on ray] [--frames 8] [--runs 4] [--size 256]

The runs of a sweep are independent work; workers have loaded their models before. For the cost of a task, a run of
independent frames is rendered by one worker in one chunk and in eight, in turn: the difference, for each task more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deforum.cluster.carrying import Crew, carry_out_plan
from deforum.cluster.engines import open_crew
from deforum.cluster.tasks import Plan, tasks_of, with_all
from deforum.loading import load
from deforum.output.naming import new_folder
from deforum.piecewise import make_pieces
from deforum.rendering import begin, check

TARGET, MOST_SECONDS = 1.7, 0.05
CHUNKS, OF_A_CHUNK = 8, 4


def plan_of(values: dict[str, object], output: Path, chunks: int = 1) -> Plan:
    """Begin a run; return its tasks, without those that make its film."""
    settings = replace(load(values).settings, skip_video_creation=True)
    prepared = check(settings, output=output)
    output = new_folder(output, "of")
    with begin(settings, prepared, output, chunks=chunks) as run:
        make_pieces(run, prepared)
        plan = tasks_of(run, prepared)
        run.ledger.close()
        run._is_new = False
    return tuple(replace(task, name=f"{output.name} {task.name}", after=()) for task in plan if task.kind == "render")


def seconds(crew: Crew, plans: Sequence[Plan]) -> float:
    started = time.perf_counter()
    endings = carry_out_plan(with_all(plans), crew, lambda task, news: None)
    assert all(ending.state == "done" for ending in endings.values()), endings
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", default="ray")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    common: dict[str, object] = {"prompts": {0: "a calm sea"}, "finish": "none", "seed": 1, "cadence": 1}
    sized = common | {"width": options.size, "height": options.size}
    took: dict[int, float] = {}
    overhead: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        for workers in (1, 2):
            crew = open_crew(options.on, workers, 1)
            try:
                warm = [plan_of(sized | {"max_frames": 4, "seed": 90 + number}, output) for number in range(workers)]
                seconds(crew, warm)
                values = [sized | {"max_frames": options.frames, "seed": number} for number in range(options.runs)]
                took[workers] = seconds(crew, [plan_of(each, output) for each in values])
                if workers == 1:
                    apart = common | {"animation_mode": "Interpolation", "width": 64, "height": 64, "steps": 2}
                    apart |= {"max_frames": CHUNKS * OF_A_CHUNK, "batch_size": OF_A_CHUNK}
                    seconds(crew, [plan_of(apart, output)])
                    for _ in range(options.repeats):
                        one = seconds(crew, [plan_of(apart, output)])
                        many = seconds(crew, [plan_of(apart, output, CHUNKS)])
                        overhead.append((many - one) / (CHUNKS - 1))
            finally:
                crew.close()
    count = options.runs * options.frames
    for workers, each in took.items():
        rate = count / each
        print(f"{options.on}, {workers} workers of one thread: {rate:.2f} frames/s, {count} frames in {each:.1f} s")
    print(f"two workers beside one: {took[1] / took[2]:.2f} times (target {TARGET})")
    print(
        f"a task, besides its frames: {1000 * statistics.median(overhead):.0f} ms (target {1000 * MOST_SECONDS:.0f} ms)"
    )


if __name__ == "__main__":
    main()
