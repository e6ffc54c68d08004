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

from deforum import atomic
from deforum.build import Prepared
from deforum.features.table import switched_on
from deforum.models import kept_graphs
from deforum.models.machine import peak_memory, renders_on_gpu
from deforum.needs import EDITION, work
from deforum.paths import cache_folder

ENVIRONMENT = "DEFORUM_PROBE"
"""Environment variable: the path of the file, or off, with which nothing is read or kept."""
KEPT, RUNS = 300, 3
"""Kinds of runs in the file, and runs of each kind."""
FEWEST = 3
"""Painted frames, or batches, of a run from which it tells something: the first two belong to its start."""
LOADING = 0.15
"""Seconds of loading a graph from the cache, for each second of making it."""
SLOWEST = 1.5
"""Times the median of a run's frames; what a frame takes beyond that was a pause, or another program."""


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
    device = "gpu" if renders_on_gpu(settings.device) else "cpu"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    machine = f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores, {device}, {threads or 'all'} threads"
    machine += f", table {EDITION}"
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
    return Kind(machine, model, width, height, mode, ", ".join(own))


Known = list[tuple[Kind, tuple[Measured, ...]]]


def expect(prepared: Prepared) -> Expected | None:
    """Return what a run will take, by runs on this machine with the same model; None where there were none."""
    known, kind = _read(), kind_of(prepared)
    best = max(known, key=lambda each: kind.likeness(each[0]), default=None)
    if best is None or kind.likeness(best[0]) == 0:
        return None
    is_exact, runs = best[0] == kind, best[1]
    ratio = statistics.median(run.ratio for run in runs)
    # The start of a run that makes graphs is known less well.
    start = statistics.median([run.start for run in runs if not run.making] or [run.start for run in runs])
    memory = max(run.memory for run in runs) if is_exact else 0
    return Expected(start, _making(kind, known), ratio, memory or None, is_exact)


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
        """Keep the times of the run, which is whole and has ended now; nothing of a very short one."""
        painted = [key - self.frames.start for key in self.prepared.timeline.keys if key in self.frames]
        if len(self._shown) != len(self.frames) or len(painted) < FEWEST * self.at_once:
            return
        # From painted frame to painted frame, or from batch to batch; the first span belongs to the start.
        ends = painted if self.at_once == 1 else list(range(self.at_once - 1, len(self.frames), self.at_once))
        done, times = np.cumsum(work(self.prepared, self.frames)), np.array(self._shown)
        works, took = np.diff(done[ends])[1:], np.diff(times[ends])[1:]
        slowest = SLOWEST * float(np.median(took / works))
        ratio = float(np.minimum(took, slowest * works).sum() / works.sum())
        making = (1 - LOADING) * (kept_graphs.making.seconds - self._made)
        first, end = float(times[ends[1]]) - self._began, self.clock() - float(times[-1])
        start = max(first - making - ratio * float(done[ends[1]]) + end, 0.0)
        run = Measured(round(ratio, 5), round(start, 3), round(making, 3), _own_peak(self.prepared), len(self.frames))
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
                    int(run["frames"]),
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
