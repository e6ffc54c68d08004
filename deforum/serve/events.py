"""Server-sent events: the queue, and one run, as they change.

Events are made by looking at the queue's revision and at the stamps of a run's files, a few times a second: so they
come for runs of any process, and a reader that is slow misses nothing but states in between.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from deforum.serve.jobs import Unknown
from deforum.serve.runs import Stamp
from deforum.serve.views import RunInQueue, Server, frames_of, run_in_folder, run_in_queue

if TYPE_CHECKING:
    from deforum.serve.runs import Frame

PAUSE = 0.25
"""Seconds between two looks."""
RETRY = 1000
"""Milliseconds after which a reader that lost the server asks again."""


class Reader:
    """What one reader was sent so far; `news` returns what it lacks."""

    def __init__(self, server: Server, run: str) -> None:
        self._server, self._run = server, run
        self._revision = -1
        self._sent: dict[str, RunInQueue] = {}
        self._is_paused: bool | None = None
        self._stamp: Stamp | None = None
        self._frames: dict[int, Frame] = {}
        self._said = ""

    def news(self) -> list[dict[str, str]]:
        """Return the events since the last call."""
        return [*self._of_queue(), *(self._of_run() if self._run else ())]

    def _of_queue(self) -> list[dict[str, str]]:
        queue = self._server.queue.state
        if queue.revision == self._revision:
            return []
        self._revision = queue.revision
        now = {job.id: run_in_queue(self._server, job) for job in queue.jobs.values()}
        changed = [run for id, run in now.items() if self._sent.get(id) != run]
        order = list(now)
        is_same_order = order == list(self._sent)
        if not changed and is_same_order and queue.is_paused == self._is_paused:
            return []
        self._sent, self._is_paused = now, queue.is_paused
        told = {"is_paused": queue.is_paused, "runs": [dataclasses.asdict(run) for run in changed]}
        return [_event("queue", told if is_same_order else {**told, "order": order})]

    def _of_run(self) -> list[dict[str, str]]:
        try:
            stamp = self._server.runs.stamp(self._run)
            if stamp == self._stamp and self._revision == self._seen_revision():
                return []
            view = self._server.runs.view(self._run)
            detail = dataclasses.asdict(run_in_folder(self._server, self._run))
        except Unknown:
            if self._stamp is not None:
                self._stamp = None
                return [_event("gone", {"name": self._run})]
            return []
        events = []
        if stamp != self._stamp:
            all_frames = frames_of(view)
            fresh = [row for row in all_frames.frames if self._frames.get(row[0]) != view.frames[row[0]]]
            if fresh or self._stamp is None:
                told = {"name": self._run, "first": all_frames.first, "total": all_frames.total, "frames": fresh}
                events.append(_event("frames", told))
            self._frames, self._stamp = dict(view.frames), stamp
        text = json.dumps(detail)
        if text != self._said:
            self._said = text
            events.insert(0, {"event": "run", "data": text})
        return events

    def _seen_revision(self) -> int:
        """Return the queue's revision at the last look at the run; its progress has times and notes of the run."""
        seen, self._looked = getattr(self, "_looked", -1), self._revision
        return seen


def _event(name: str, told: object) -> dict[str, str]:
    return {"event": name, "data": json.dumps(told)}


async def events(server: Server, run: str) -> AsyncIterator[dict[str, object]]:
    """Yield events until the reader goes away."""
    import anyio
    from anyio.to_thread import run_sync

    reader = Reader(server, run)
    yield {"event": "hello", "data": "{}", "retry": RETRY}
    while True:
        for event in await run_sync(reader.news):
            yield {**event}
        await anyio.sleep(PAUSE)
