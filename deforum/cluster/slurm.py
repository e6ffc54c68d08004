"""The engine `slurm`: each task is a job, handed in by submitit. Folders are shared, as they are on such clusters.

Progress is read from the ledgers of the runs; what a job told when it ended is its result.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from deforum.cluster.local import THREADS
from deforum.cluster.tasks import Task
from deforum.cluster.work import Done, Failed, Frames, News, carry_out
from deforum.errors import UserError
from deforum.output.ledger import LEDGER_FILE
from deforum.sources import FRAMES_FOLDER

HERE = "local"
"""The address for jobs that are processes here, without a cluster."""
LOGS = Path(".deforum_jobs")
"""Folder for submitit's files, which the jobs share; in the current one."""
HOURS = 24
MEGABYTES = 1 << 20

_log = logging.getLogger(__name__)


def work(folder: str, kind: str, threads: int) -> list[News]:
    """Carry out a task in a job; return what was told at its end."""
    import os

    os.environ |= dict.fromkeys(THREADS, str(threads))
    from deforum.models.kept import KeptModels

    ends: list[News] = []

    def tell(news: News) -> None:
        if isinstance(news, Done | Failed):
            ends.append(news)

    carry_out(Path(folder), kind, tell, KeptModels(), (Path(folder) / STOP_FILE).exists)
    return ends


STOP_FILE = "STOP"
"""In the folder of a task: the job stops after its frame."""


@dataclass
class Sent:
    """A job of a task."""

    task: Task
    job: Any
    lines: int
    """Frames in the ledger before it began."""
    done: int = 0


class SlurmCrew:
    """Jobs, as many at once as there are tasks: the scheduler of the cluster knows how many can go."""

    def __init__(self, executor: Any, threads: int, size: int, *, here: bool) -> None:
        self._executor, self._threads, self.size, self._here = executor, threads, size, here
        self._sent: dict[str, Sent] = {}
        self._said = False

    def takes(self, task: Task) -> bool:
        return len(self._sent) < self.size

    def start(self, task: Task, *, avoid: str = "") -> str:
        if not self._here:
            resources = task.resources
            self._executor.update_parameters(
                slurm_job_name=task.name[:60], mem_gb=max(1, -(-resources.bytes // (1 << 30))),
                gpus_per_node=resources.gpus,
                cpus_per_task=self._threads,
            )  # fmt: skip
        job = self._executor.submit(work, str(task.folder), task.kind, self._threads)
        self._sent[task.name] = Sent(task, job, frames_in(task.folder))
        if not self._said:
            self._said = True
            script = job.paths.submission_file
            _log.warning("jobs are in %s%s", LOGS, f", as this script: {script}" if script.exists() else "")
        return f"job {job.job_id}"

    def news(self, seconds: float) -> Iterator[tuple[str, News]]:
        time.sleep(seconds)
        for name, sent in list(self._sent.items()):
            done = frames_in(sent.task.folder)
            if done != sent.done:
                sent.done = done
                yield name, Frames(done)
            if sent.job.done():
                del self._sent[name]
                (sent.task.folder / STOP_FILE).unlink(missing_ok=True)
                yield name, self._end(sent)

    def _end(self, sent: Sent) -> News:
        try:
            ends: list[News] = sent.job.result()
        except Exception as error:  # of whatever ended the job
            words = str(error).strip().splitlines()
            return Failed(f"job {sent.job.job_id} ended: {words[-1] if words else type(error).__name__}")
        return ends[-1] if ends else Failed(f"job {sent.job.job_id} ended without a word")

    def stop(self) -> None:
        for sent in self._sent.values():
            (sent.task.folder / STOP_FILE).touch()

    def close(self) -> None:
        for sent in self._sent.values():
            sent.job.cancel(check=False)
        self._sent.clear()


def frames_in(folder: Path) -> int:
    """Count the frames in the ledger of a run, without reading them."""
    try:
        lines = (folder / LEDGER_FILE).read_bytes().split(b"\n")
    except OSError:
        return 0
    return len({line.split(b",", 1)[0] for line in lines if f'"{FRAMES_FOLDER}/'.encode() in line})


def open_crew(address: str, workers: int, threads: int) -> SlurmCrew:
    """Hand jobs to the partition `address` of a Slurm cluster. Raises UserError where there is none."""
    folder = LOGS / "%j"
    if address == HERE:
        return SlurmCrew(submitit.LocalExecutor(folder), threads, workers or 2, here=True)
    if shutil.which("sbatch") is None:
        raise UserError("--on slurm: there is no sbatch here; call it on a machine that can hand in jobs")
    executor = submitit.AutoExecutor(folder, cluster="slurm")
    executor.update_parameters(timeout_min=60 * HOURS)
    if address:
        executor.update_parameters(slurm_partition=address)
    return SlurmCrew(executor, threads, workers or 1000, here=False)
