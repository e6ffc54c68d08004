"""What runs took on this machine, kept in the user's cache: the forecasts of later runs are made from it.

A run is measured against `needs.work`: seconds for each second that its frames would take on the machine of that
table, so that a run of other steps, strengths or length is foreseen from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deforum import atomic, needs_behind
from deforum.build import Prepared
from deforum.features.table import switched_on
from deforum.models import kept_graphs
from deforum.models.machine import peak_memory, renders_on_gpu
from deforum.needs import CHECKING, EDITION, is_in_table, start_on_two_cores, work
from deforum.paths import cache_folder
from deforum.settings.options import Settings

ENVIRONMENT = "DEFORUM_PROBE"
"""Environment variable: the path of the file, or off, with which nothing is read or kept."""
KEPT, RUNS = 300, 3
"""Kinds of runs in the file, and runs of each kind."""
FEWEST = 3
"""Painted frames, or batches, from which a run tells what further ones take: the first two belong to its start."""
LOADING = 0.15
"""Seconds of loading a graph from the cache, for each second of making it."""
SLOWEST = 1.5
"""Times the median of a run's frames; one that takes longer waited for another program, or the computer slept. It
counts as a usual one."""


@dataclass(frozen=True)
class Kind:
    """Runs that take the same for the same work."""

    machine: str
    """Name, processor count, device; and the edition of the table of `needs`."""
    model: str
    width: int
    height: int
    mode: str
    features: str
    """Names of the features that are on, and other settings that take time of their own."""

    def likeness(self, other: Kind) -> float:
        """Return how well runs of another kind tell about this one: 0 not at all, 1 exactly."""
        if (self.machine, self.model) != (other.machine, other.model):
            return 0.0
        areas = self.width * self.height, other.width * other.height
        mine, theirs = set(self.features.split(", ")), set(other.features.split(", "))
        shared = len(mine & theirs) / max(len(mine | theirs), 1)
        return 0.2 + 0.4 * min(areas) / max(areas) + 0.2 * (self.mode == other.mode) + 0.2 * shared


@dataclass(frozen=True)
class Measured:
    """One run."""

    ratio: float
    """Seconds for each second of `needs.work`."""
    start: float
    """Seconds that do not depend on the number of frames: loading the models, what the first painted frames take beyond
    their work, and closing the film after the last one. Without `making`."""
    making: float
    """Seconds of making graphs of networks, beyond those of loading them, as later runs of the size do."""
    memory: int
    """Bytes at most; 0 where that is not known."""
    frames: int
    spans: int = 0
    """Painted frames, or batches, whose times alone are in `ratio`. 0: too few were painted to tell their time from
    that of the start. With the embedded model all is taken to be as many times slower than in the table."""


@dataclass(frozen=True)
class Expected:
    """What the probe tells of a run."""

    start: float
    """Seconds that do not depend on the number of frames."""
    making: float
    """Seconds of making graphs, where there was no run of this size; else 0."""
    ratio: float
    """Seconds for each second of `needs.work`."""
    memory: int | None
    """Bytes; None where it was not measured."""
    is_exact: bool
    """Whether runs of this kind were measured; else of others with the same model."""


def kind_of(prepared: Prepared) -> Kind:
    """Return the kind of a run."""
    settings = prepared.settings
    path = prepared.model.path
    model = hashlib.sha256(f"{settings.model} {path} {settings.vae.text}".encode()).hexdigest()[:16]
    own = [feature.name for feature in switched_on(settings)]
    if settings.finishes:
        own.append(f"finish {settings.finish_look}")
    cfg = "guided" if (prepared.timeline.curves.cfg_scale > 1).any() else "unguided"
    own += [settings.precision, settings.memory, cfg, settings.profile, f"redo {settings.diffusion_redo}"]
    own += sorted(set(prepared.timeline.samplers))
    width, height = settings.size
    mode = f"{settings.animation_mode}, {'each' if prepared.timeline.cadence == 1 else 'in-betweens'}"
    return Kind(_machine(settings, EDITION), model, width, height, mode, ", ".join(own))


def _machine(settings: Settings, edition: str) -> str:
    device = "gpu" if renders_on_gpu(settings.device) else "cpu"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    machine = f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores, {device}, {threads or 'all'} threads"
    return f"{machine}, table {edition}"


Known = list[tuple[Kind, tuple[Measured, ...]]]


def expect(prepared: Prepared) -> Expected | None:
    """Return what a run will take, by runs on this machine with the same model; None where there were none."""
    known, kind = _read(), kind_of(prepared)
    best = max(known, key=lambda each: kind.likeness(each[0]), default=None)
    if best is None or kind.likeness(best[0]) == 0:
        return None
    is_exact, runs = best[0] == kind, best[1]
    runs = tuple(run for run in runs if run.spans) or runs
    ratio = statistics.median(run.ratio for run in runs)
    # The start of a run that makes graphs is known less well.
    start = statistics.median([run.start for run in runs if not run.making] or [run.start for run in runs])
    memory = max(run.memory for run in runs) if is_exact else 0
    return Expected(start, _making(kind, known), ratio, memory or None, is_exact)


def kind_behind(settings: Settings) -> Kind:
    """Return the kind of the steps behind a render."""
    width, height = settings.written_size
    machine = _machine(settings, needs_behind.EDITION)
    return Kind(machine, "", width, height, "steps behind", ", ".join(sorted(set(needs_behind.steps_of(settings)))))


def expect_behind(settings: Settings, count: int) -> float | None:
    """Return the seconds of the steps behind a render of `count` frames, by runs with the same steps or by the table.

    None where neither knows them.
    """
    kind, amount = kind_behind(settings), needs_behind.work_behind(settings, count)
    if not amount:
        return 0.0
    alike = [(each, runs) for each, runs in _read() if (each.model, each.features) == (kind.model, kind.features)]
    best = max(alike, key=lambda each: kind.likeness(each[0]), default=None)
    if best is not None and kind.likeness(best[0]):
        return amount * statistics.median(run.ratio for run in best[1])
    return amount if needs_behind.is_in_table(settings) else None


def keep_behind(settings: Settings, count: int, seconds: float) -> None:
    """Keep the time of the steps behind a render of `count` frames, which were all made in it."""
    amount = needs_behind.work_behind(settings, count)
    if amount:
        run = Measured(round(seconds / amount, 5), 0.0, 0.0, 0, count)
        _keep(kind_behind(settings), run)


def _making(kind: Kind, known: Known) -> float:
    """Return the seconds of making graphs that a run will take, by those of other sizes: none at a size of a run."""
    alike = [(each, runs) for each, runs in known if (each.machine, each.model) == (kind.machine, kind.model)]
    if any((each.width, each.height) == (kind.width, kind.height) for each, _ in alike):
        return 0.0
    return statistics.median([run.making for _, runs in alike for run in runs if run.making] or [0.0])


@dataclass
class Watch:
    """Takes the times of a chain of frames."""

    prepared: Prepared
    frames: range
    """Those that are rendered, by their numbers in its timeline."""
    at_once: int = 1
    """Frames that are painted, and shown, as one batch."""
    clock: Callable[[], float] = time.monotonic
    _began: float = 0.0
    _made: float = 0.0
    _shown: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began, self._made = self.clock(), kept_graphs.making.seconds

    def shown(self) -> None:
        """Hear of a frame that is finished."""
        self._shown.append(self.clock())

    def keep(self) -> None:
        """Keep the times of the run, which is whole and has ended now."""
        painted = [key - self.frames.start for key in self.prepared.timeline.keys if key in self.frames]
        if len(self._shown) != len(self.frames) or not painted:
            return
        # From painted frame to painted frame, or from batch to batch; the first span belongs to the start.
        ends = painted if self.at_once == 1 else list(range(self.at_once - 1, len(self.frames), self.at_once))
        done, times = np.cumsum(work(self.prepared, self.frames)), np.array(self._shown)
        making = (1 - LOADING) * (kept_graphs.making.seconds - self._made)
        now, spans = self.clock(), max(len(ends) - FEWEST + 1, 0)
        if not spans and is_in_table(self.prepared.settings):
            usual = start_on_two_cores(self.prepared) - CHECKING
            ratio = (now - self._began - making) / (usual + float(done[-1]))
            start = ratio * usual
        elif len(ends) < FEWEST - 1:
            return
        else:
            # Of two painted frames the second one has to tell, though some of what it takes belongs to the start.
            since = 1 if spans else 0
            works, took = np.diff(done[ends])[since:], np.diff(times[ends])[since:]
            usual = float(np.median(took / works))
            ratio = float(np.where(took > SLOWEST * usual * works, usual * works, took).sum() / works.sum())
            first, end = float(times[ends[since]]) - self._began, now - float(times[-1])
            start = max(first - making - ratio * float(done[ends[since]]) + end, 0.0)
        run = Measured(
            round(ratio, 5), round(start, 3), round(making, 3), _own_peak(self.prepared), len(self.frames), spans
        )
        _keep(kind_of(self.prepared), run)


_RENDERED = [0]
"""Runs of this process: the peak of its memory is of all of them."""


def _own_peak(prepared: Prepared) -> int:
    _RENDERED[0] += 1
    if renders_on_gpu(prepared.settings.device):
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return peak_memory() if _RENDERED[0] == 1 else 0


def _file() -> Path | None:
    named = os.environ.get(ENVIRONMENT, "")
    if named.casefold() in ("off", "none", "0"):
        return None
    if named:
        return Path(named)
    return cache_folder() / "probe.json"


def _read() -> Known:
    """Read the file; entries that are not as this version writes them are left out."""
    file = _file()
    found: Known = []
    if file is None:
        return found
    entries: Any = []
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        entries = json.loads(file.read_text("utf-8"))
    for entry in entries if isinstance(entries, list) else ():
        with contextlib.suppress(TypeError, KeyError, ValueError):
            runs = tuple(
                Measured(
                    float(run["ratio"]), float(run["start"]), float(run["making"]), int(run["memory"]),
                    int(run["frames"]), int(run["spans"]),
                )
                for run in entry["runs"]
            )  # fmt: skip
            if runs:
                found.append((Kind(**entry["kind"]), runs))
    return found


def _keep(kind: Kind, run: Measured) -> None:
    file = _file()
    if file is None:
        return
    known = dict(_read())
    known[kind] = (*known.pop(kind, ())[-RUNS + 1 :], run)
    entries = [
        {"kind": asdict(each), "runs": [asdict(run) for run in runs]} for each, runs in list(known.items())[-KEPT:]
    ]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file, json.dumps(entries, indent=1).encode())
