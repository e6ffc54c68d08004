"""The words of Deforum's own API, `/deforum_api/batches` and `/deforum_api/jobs`, so that its clients work unchanged.

A batch has one job for each settings object. Settings are read as Deforum's files are: leniently. A job whose settings
cannot be rendered has failed; the others of its batch are rendered.
Source: the API's public description and its clients; facts in the field names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deforum.errors import UserError
from deforum.serve.checking import order
from deforum.serve.jobs import Job, NotNow, Unknown
from deforum.serve.process import Progress
from deforum.serve.queue import Order
from deforum.serve.views import Server
from schedules import ScheduleError

MOST_JOBS = 1000
STATUS = {"finished": "SUCCEEDED", "failed": "FAILED", "cancelled": "CANCELLED"}
"""Of jobs that are over; others are ACCEPTED."""
PHASES = {"preparing": "PREPARING", "rendering": "GENERATING", "finishing": "POST_PROCESSING", "done": "DONE"}
MODEL = "sd_model_checkpoint"
"""The option of the web UI that chooses the checkpoint."""


class Batch(BaseModel):
    """Runs in Deforum's words."""

    model_config = ConfigDict(frozen=True)  # further fields, which clients send, are left alone

    deforum_settings: dict[str, Any] | list[dict[str, Any]] = Field(
        description="The contents of a settings file of Deforum, or a list of them",
        examples=[{"prompts": {"0": "a calm sea"}, "max_frames": 30}],
    )
    options_overrides: dict[str, Any] | None = Field(
        None, description=f"Options of the web UI. {MODEL} chooses the model; others have no effect, and a note says so"
    )


@dataclass(frozen=True)
class Accepted:
    message: str
    batch_id: str
    job_ids: list[str]


@dataclass(frozen=True)
class JobStatus:
    """A job in Deforum's words. Times are seconds, also since 1970."""

    id: str
    status: str
    """ACCEPTED, SUCCEEDED, FAILED or CANCELLED."""
    phase: str
    """QUEUED, PREPARING, GENERATING, POST_PROCESSING or DONE."""
    error_type: str
    """NONE, RETRYABLE or TERMINAL."""
    phase_progress: float
    started_at: float
    last_updated: float
    execution_time: float
    update_interval_time: float
    updates: int
    message: str | None
    outdir: str | None
    timestring: str | None
    deforum_settings: Any
    options_overrides: Any


@dataclass(frozen=True)
class Cancelled:
    ids: list[str]
    message: str


@dataclass(frozen=True)
class CancelledJob:
    id: str
    message: str


def router(server: Server) -> APIRouter:
    """Return the routes of Deforum's API."""
    api = APIRouter(prefix="/deforum_api", tags=["Deforum's API"])
    queue = server.queue

    @api.post("/batches", status_code=202, summary="Put a batch of runs into the queue")
    def add_batch(batch: Batch) -> Accepted:
        given = batch.deforum_settings if isinstance(batch.deforum_settings, list) else [batch.deforum_settings]
        if not 0 < len(given) <= MOST_JOBS:
            raise UserError(f"deforum_settings: a list of {len(given)}; expected 1 to {MOST_JOBS}")
        id = f"batch({time.time_ns() // 1000})"
        options = dict(batch.options_overrides or {})
        read = [_order(server, settings, options) for settings in given]
        jobs = _add(server, id, read)
        return Accepted("Job(s) accepted", id, [job.id for job in jobs])

    @api.get("/batches", summary="List the jobs of every batch")
    def list_batches() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for job in _of_batches(server):
            found.setdefault(job.batch, []).append(job.id)
        return found

    @api.get("/batches/{id}", summary="The jobs of a batch")
    def one_batch(id: str) -> list[JobStatus]:
        return [_status(server, job) for job in _of_batch(server, id)]

    @api.delete("/batches/{id}", summary="Cancel the jobs of a batch that are not over")
    def cancel_batch(id: str) -> Cancelled:
        cancelled = [job.id for job in _of_batch(server, id) if _cancel(server, job)]
        return Cancelled(cancelled, f"{len(cancelled)} job(s) cancelled.")

    @api.get("/jobs", summary="Every job by its id")
    def list_jobs() -> dict[str, JobStatus]:
        return {job.id: _status(server, job) for job in _of_batches(server)}

    @api.get("/jobs/{id}", summary="One job")
    def one_job(id: str) -> JobStatus:
        return _status(server, queue.state.job(id))

    @api.delete("/jobs/{id}", summary="Cancel a job", responses={200: {"model": CancelledJob}})
    def cancel_job(id: str) -> JSONResponse:
        job = queue.state.job(id)
        said = "Job cancelled." if _cancel(server, job) else f"Job is over already: {STATUS[job.state]}."
        return JSONResponse({"id": job.id, "message": said})

    return api


@dataclass(frozen=True)
class Rejected:
    order: Order
    message: str


def _order(server: Server, settings: dict[str, Any], options: dict[str, Any]) -> Order | Rejected:
    """Read one settings object."""
    given: dict[str, object] = {"deforum_settings": settings, "options_overrides": options}
    overrides = [f"model={json.dumps(str(options[MODEL]))}"] if options.get(MODEL) else []
    name = "deforum_settings.json"
    others = sorted(str(option) for option in options if option != MODEL)
    notes = (f"without effect, as options of the web UI: {', '.join(others)}"[:500],) if others else ()
    try:
        found = order(json.dumps(settings), name, overrides, server.rules, given)
    except (UserError, ScheduleError, ValueError, RecursionError) as error:
        return Rejected(Order(name, "", 0, notes, given), str(error))
    return Order(_named(settings), found.text, found.frames, (*notes, *found.notes), given)


def _named(settings: Mapping[str, Any]) -> str:
    from schedules.quoting import cut

    return cut(settings.get("batch_name") or "deforum_settings", 60)


def _add(server: Server, batch: str, read: list[Order | Rejected]) -> list[Job]:
    """Put what could be read into the queue, and note the rest as failed; jobs are numbered as they were given."""
    jobs = iter(server.queue.add([each for each in read if isinstance(each, Order)], batch=batch, places=[
        place for place, each in enumerate(read) if isinstance(each, Order)
    ]))  # fmt: skip
    return [
        next(jobs) if isinstance(each, Order)
        else server.queue.reject(each.order, each.message, batch=batch, place=place)
        for place, each in enumerate(read)
    ]  # fmt: skip


def _of_batches(server: Server) -> list[Job]:
    return [job for job in server.queue.state.jobs.values() if job.batch]


def _of_batch(server: Server, id: str) -> list[Job]:
    found = [job for job in _of_batches(server) if job.batch == id]
    if not found:
        from schedules.quoting import quote

        raise Unknown(f"there is no batch {quote(id)}")
    return sorted(found, key=lambda job: job.number)


def _cancel(server: Server, job: Job) -> bool:
    """Cancel a job; whether it was not over, nor being cancelled, before."""
    try:
        server.queue.ask(job.id, "cancel")
    except NotNow:
        return False
    return True


def _status(server: Server, job: Job) -> JobStatus:
    progress, given = server.queue.progress(job.id), server.queue.given(job.id)
    started = job.started or job.created
    until = job.ended or time.time()
    record = server.runs.root / job.folder if job.folder else None
    return JobStatus(
        job.id, STATUS.get(job.state, "ACCEPTED"), _phase(job, progress),
        "TERMINAL" if job.state == "failed" else "NONE", _phase_progress(job, progress),
        started, until, round(until - started, 3) if job.started else 0.0,
        round((until - started) / max(progress.updates, 1), 3) if job.started else 0.0, progress.updates,
        job.message or None, None if record is None else str(record), _timestring(job, record),
        given.get("deforum_settings"), given.get("options_overrides"),
    )  # fmt: skip


def _phase(job: Job, progress: Progress) -> str:
    if job.is_over:
        return "DONE"
    return PHASES[progress.phase] if job.pid else "QUEUED"


def _phase_progress(job: Job, progress: Progress) -> float:
    """Return the share of the phase that is done, 0..1."""
    if job.state == "finished":
        return 1.0
    done, total = (progress.step_done, progress.step_total) if progress.step else (progress.done, progress.total)
    return round(min(done / total, 1.0), 4) if total else 0.0


def _timestring(job: Job, folder: Path | None) -> str | None:
    """Return when a run began, as Deforum names its files."""
    if folder is None or not job.started:
        return None
    return datetime.fromtimestamp(job.started).strftime("%Y%m%d%H%M%S")
