"""Simulate a film of many shots on many workers, some of which die, from parts that are measured here.

    python -m benchmarks.scale [--shots 1000] [--frames 168] [--failures 0.01] [--size 256]

Measured: how long a worker takes to start and to load the model, a frame, the sizes of a state and of a frame's file,
what the head does for a task, and for each frame bringing it home and encoding the film. The simulation follows every
task: a worker dies at random, is noticed after some seconds, is replaced by one that loads the model again, and the
task goes on from its last state. The head hands out one task at a time, and makes the film at the end. Of a second
model, on graphics cards, the figures are assumptions, in `CARD`; there storage is shared too.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.quickstart import ROOT

NOTICED = 5.0
"""Seconds until the death of a worker is noticed."""
RATE = 1e9
"""Bytes per second of storage that all workers share."""


@dataclass(frozen=True)
class Parts:
    """What a film is made of; seconds, and bytes."""

    start: float
    """A worker, until it has imported everything."""
    load: float
    """The model."""
    model_bytes: float
    frame: float
    state_every: float
    """From one state to the next."""
    state_bytes: float
    frame_bytes: float
    task: float
    """On the worker, besides its frames."""
    hand_out: float
    """On the head: a task is handed out, and its end is heard."""
    home: float
    """On the head, for each frame."""
    film: float
    """On the head, for each frame."""


CARD = Parts(
    start=6.0, load=12.0, model_bytes=7e9, frame=0.45, state_every=23.0, state_bytes=13e6, frame_bytes=1.6e6,
    task=0.05, hand_out=0.002, home=0.004, film=0.02,
)  # fmt: skip
"""An SD XL model at 1024x1024 on graphics cards: a frame as benchmarks/gpu.py has it; the others are estimates."""


@dataclass(frozen=True)
class Result:
    makespan: float
    film: float
    """The part of it in which the head makes the film."""
    ideal: float
    """All frames, spread evenly, and nothing else."""
    lost: float
    """Share of the workers' time: frames that were rendered again."""
    loading: float
    idle: float
    died: int
    storage: float
    """Share of the storage's rate that frames and states take."""


def simulate(parts: Parts, shots: list[int], workers: int, failures: float, chance: random.Random) -> Result:
    """Render shots of so many frames; `failures` is the share of workers that die in an hour."""
    # Models are read by all workers at once in the beginning, later by one at a time.
    load = parts.start + parts.load
    at_first = max(load, parts.start + workers * parts.model_bytes / RATE)
    write = (parts.frame_bytes + parts.state_bytes * parts.frame / parts.state_every) / parts.frame * workers / RATE
    frame = parts.frame * max(1.0, write)
    free = [(at_first, number) for number in range(workers)]
    heapq.heapify(free)
    waiting = [-(count * frame + parts.task) for count in shots]  # the longest first
    heapq.heapify(waiting)
    later: list[tuple[float, float]] = []
    """What is left of the tasks of dead workers, from when that is noticed."""
    head = lost = rendering = end = 0.0
    loading, died = at_first * workers, 0
    while waiting or later:
        now, worker = heapq.heappop(free)
        while later and later[0][0] <= now:
            heapq.heappush(waiting, -heapq.heappop(later)[1])
        if not waiting:
            heapq.heappush(free, (later[0][0], worker))
            continue
        head = max(head, now) + parts.hand_out
        left = -heapq.heappop(waiting)
        life = chance.expovariate(failures / 3600) if failures else float("inf")
        if life >= left:
            rendering += left
            heapq.heappush(free, (head + left, worker))
            end = max(end, head + left)
            continue
        died += 1
        since_state = life % parts.state_every
        rendering += life - since_state
        lost += since_state
        heapq.heappush(later, (head + life + NOTICED, left - (life - since_state)))
        heapq.heappush(free, (head + life + NOTICED + load, worker))
        loading += load
    film = sum(shots) * (parts.home + parts.film)
    whole = end * workers
    return Result(
        end + film, film, sum(shots) * parts.frame / workers, lost / whole, loading / whole,
        max(0.0, 1 - (rendering + lost + loading) / whole), died, min(1.0, write),
    )  # fmt: skip


def measure(size: int) -> Parts:
    """Measure the parts with the embedded model on one thread."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, deforum.resuming"], cwd=ROOT, check=True)
    start = time.perf_counter() - started
    from deforum.build import build, prepare
    from deforum.cluster.carrying import carry_out_plan
    from deforum.cluster.tasks import Task
    from deforum.cluster.work import Done
    from deforum.embedded import DIFFUSION
    from deforum.loading import load
    from deforum.models.process import settle_process
    from deforum.output.checkpoints import LEAST_SECONDS, to_bytes
    from deforum.output.pictures import encode
    from deforum.pixels.image import to_bytes as to_levels

    settle_process()
    import torch

    from deforum.animation.state import pack_state

    torch.set_num_threads(1)
    values: dict[str, object] = {"width": size, "height": size, "max_frames": 10, "cadence": 1, "finish": "none",
                                 "seed": 1, "prompts": {0: "a calm sea"}}  # fmt: skip
    settings = load(values).settings
    began = time.perf_counter()
    animation = build(prepare(settings))
    loading = time.perf_counter() - began
    times, states, began = [], [], time.perf_counter()
    for reached in animation.states():
        times.append(time.perf_counter() - began)
        states = [reached]
        began = time.perf_counter()
    [state] = states
    frame, pixels = statistics.median(times[2:]), to_levels(state.shown)
    with tempfile.TemporaryDirectory() as folder:
        home, film = _of_the_head(Path(folder), values)

        class Instant:
            size = 1

            def __init__(self) -> None:
                self.names: list[str] = []

            def takes(self, task: Task) -> bool:
                return not self.names

            def start(self, task: Task, *, avoid: str = "") -> str:
                self.names.append(task.name)
                return "one"

            def news(self, seconds: float) -> list[tuple[str, Done]]:
                return [(self.names.pop(), Done())] if self.names else []

            def stop(self) -> None: ...

            def close(self) -> None: ...

        plan = tuple(Task(str(number), Path(folder), Path(folder), "render") for number in range(1000))
        began = time.perf_counter()
        carry_out_plan(plan, Instant(), lambda task, news: None)
        hand_out = (time.perf_counter() - began) / len(plan)
    return Parts(
        start=start, load=loading, model_bytes=sum(path.stat().st_size for path in DIFFUSION.rglob("*")),
        frame=frame, state_every=max(LEAST_SECONDS, frame), state_bytes=len(to_bytes(pack_state(state))),
        frame_bytes=len(encode(pixels, "png", {})), task=0.04, hand_out=hand_out, home=home, film=film,
    )  # fmt: skip


def _of_the_head(folder: Path, values: dict[str, object]) -> tuple[float, float]:
    """Return the seconds of bringing a frame home, and of encoding it into the film."""
    from deforum.loading import load
    from deforum.output.home import bring_home, remove_chunks
    from deforum.piecewise import make_pieces
    from deforum.rendering import begin, check
    from deforum.resuming import resume

    settings = load(values | {"shots": [{"to": 5}, {"to": 10}]}).settings
    prepared = check(settings, output=folder)
    with begin(settings, prepared, folder) as run:
        make_pieces(run, prepared)
        for piece in run.record.pieces:
            resume(run.folder / piece.folder)
        began = time.perf_counter()
        for piece in run.record.pieces:
            assert not bring_home(run, piece)
        home = (time.perf_counter() - began) / 10
        remove_chunks(run)
    from deforum.output.finished import find_frames
    from deforum.video.writer import VideoWriter

    frames = [pixels for pixels in find_frames(run.folder).read([]) if pixels is not None]
    height, width = frames[0].shape[:2]
    began = time.perf_counter()
    with VideoWriter(folder / "film.mp4", width, height, 24) as writer:
        for _ in range(20):
            for pixels in find_frames(run.folder).read([]):
                if pixels is not None:
                    writer.write(pixels)
    return home, (time.perf_counter() - began) / 200


def clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=168, help="of a shot, on average")
    parser.add_argument("--failures", type=float, default=0.01, help="share of the workers that die in an hour")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    measured = measure(options.size)
    print(f"measured, {options.size}x{options.size} on one thread:")
    for name, value in vars(measured).items():
        print(f"  {name:12} {value / 1e6:8.2f} MB" if name.endswith("bytes") else f"  {name:12} {value:8.4f} s")
    lengths = random.Random(1)
    shots = [max(24, round(lengths.lognormvariate(0, 0.6) * options.frames / 1.2)) for _ in range(options.shots)]
    title = f"{options.shots} shots, {sum(shots)} frames, {min(shots)} to {max(shots)} each"
    print(f"\n{title}; {options.failures:.0%} of the workers die in an hour")
    local = replace(CARD, model_bytes=0)
    kinds = {"embedded, measured": measured, "a card each, as assumed": CARD, "the same, models on local disks": local}
    for title, parts in kinds.items():
        columns = ("makespan", "of it film", "ideal", "lost", "loading", "idle", "died", "storage")
        print(f"\n{title}\n{'workers':>8}" + "".join(f"{column:>11}" for column in columns))
        for workers in (1, 10, 50, 200, 1000):
            results = [
                simulate(parts, shots, workers, options.failures, random.Random(number))
                for number in range(options.repeats)
            ]
            found = sorted(results, key=lambda each: each.makespan)[len(results) // 2]
            values = [clock(found.makespan), clock(found.film), clock(found.ideal), f"{found.lost:.2%}"]
            values += [f"{found.loading:.1%}", f"{found.idle:.1%}", str(found.died), f"{found.storage:.1%}"]
            print(f"{workers:>8}" + "".join(f"{value:>11}" for value in values))


if __name__ == "__main__":
    main()
