"""A server on loopback, in a thread of this process, and a client of it."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

from deforum.serve.process import PROGRAM
from deforum.serve.running import Where, ready
from deforum.serve.views import OpenedFile
from tests.helpers import wait_until

STAND_IN = (sys.executable, str(Path(__file__).parent / "standing_in.py"))
"""The program in the place of the command line, see `standing_in`."""


def wait_for(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until a condition holds that takes a request or a look at a page; return False after a timeout."""

    def look() -> bool:
        time.sleep(0.08)  # each look costs what runs and browsers could use
        return true()

    return wait_until(look, seconds)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Asks a server; a new connection for each request."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send a request; `body` is sent as JSON unless it is bytes. Headers are written with _ for -."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {} if content is None else {"content-type": "application/json"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(str(urlsplit(self.address).hostname), self.port, timeout=60)
        try:
            connection.request(method, path, content, {**kind, **self.headers, **given})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 80

    def run(self, id: str) -> Any:
        return self("GET", f"/api/runs/{quote(id)}").json

    def reaches(self, id: str, *states: str, seconds: float = 60) -> bool:
        """Wait until a run is in one of these states."""
        return wait_for(lambda: self.run(id)["state"] in states, seconds)

    def add(self, **settings: object) -> str:
        """Put a run into the queue; return its id."""
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        answer = self("POST", "/api/runs", {"text": text})
        assert answer.status == 201, answer.body
        return str(answer.json["id"])


@contextmanager
def serving(
    runs: Path,
    *,
    where: Where | None = None,
    file: OpenedFile | None = None,
    shown: str = "",
    folders: tuple[Path, ...] = (),
    at_once: int = 1,
    real: bool = False,
) -> Iterator[Client]:
    """Serve while the block runs. `real`: runs are rendered; else a program stands in for the command line."""
    with ready(
        where or Where(), runs, file=file, shown=shown, folders=folders, at_once=at_once,
        program=PROGRAM if real else STAND_IN,
    ) as server:  # fmt: skip
        thread = Thread(target=server.run)
        thread.start()
        try:
            assert wait_until(lambda: server.server.started)
            yield Client(server.address)
        finally:
            server.server.should_exit = True
            thread.join()
