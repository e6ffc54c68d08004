"""Running the server: its socket, its queue, and its end."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import deforum
from deforum.errors import UserError
from deforum.serve.access import LOOPBACK, Access
from deforum.serve.checking import Rules
from deforum.serve.previews import Previews
from deforum.serve.process import PROGRAM
from deforum.serve.queue import Queue
from deforum.serve.runs import Runs
from deforum.serve.views import OpenedFile, Server

if TYPE_CHECKING:
    import uvicorn

GRACE = 2
"""Seconds in which answers may be completed when the server stops."""
BACKLOG = 1024


@dataclass(frozen=True)
class Where:
    """Where a server listens, and who may ask it."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any port that is free."""
    token: str = ""
    """Needed for other addresses than loopback; made where it is not given."""
    names: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK

    def with_token(self) -> str:
        """Return the token that is needed; "" for none."""
        return self.token or ("" if self.is_loopback else secrets.token_urlsafe(24))


def listen(where: Where) -> socket.socket:
    """Open the socket of a server. Raises UserError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    try:
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((where.host, where.port))
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected a port of 0 to 65535"
        raise UserError(f"{where.host}, port {where.port}: {reason}; choose another with --port or --host") from error
    return found


@dataclass(frozen=True)
class Ready:
    """A server that listens; `server.run(sockets=[socket])` answers until `server.should_exit`."""

    server: uvicorn.Server
    socket: socket.socket
    address: str
    """Of the page."""

    def run(self) -> None:
        self.server.run(sockets=[self.socket])


@contextmanager
def ready(
    where: Where,
    runs: Path,
    *,
    file: OpenedFile | None = None,
    shown: str = "",
    folders: tuple[Path, ...] = (),
    at_once: int = 1,
    program: Sequence[str] = PROGRAM,
) -> Iterator[Ready]:
    """Make a server ready. When the block is left, runs are stopped after their frames; the next server resumes them.

    With a token, settings may name files in the folder of runs, in that of `file`, in the current one, and in
    `folders`; without one, anywhere. Raises UserError.
    """
    import uvicorn

    from deforum.serve.app import application

    token = where.with_token()
    with (
        closing(listen(where)) as found,
        Queue(runs, at_once=at_once, program=program) as queue,
        Previews() as previews,
    ):
        near = (queue.runs, Path.cwd(), *([] if file is None else [file.path.absolute().parent]), *folders)
        rules = Rules(queue.runs, (*dict.fromkeys(near), *_models_here()) if token else None)
        access = Access(where.host, token, where.names)
        app = application(Server(queue, Runs(queue.runs), rules, previews, file, shown), access)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE, ws="none",
        )  # fmt: skip
        yield Ready(uvicorn.Server(config), found, address(where, found.getsockname()[1], token))


def _models_here() -> Iterator[Path]:
    """Yield the folders of models that settings name without a path: the embedded one, and the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    yield Path(deforum.__file__).parent
    yield Path(HF_HUB_CACHE)


def address(where: Where, port: int, token: str) -> str:
    """Return the address of the page."""
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(where.host, where.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/" + (f"?token={token}" if token else "")
