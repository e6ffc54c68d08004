"""Checkpoints: states of a run in its folder, from which it is resumed.

A file holds one state with its digest. It is written beside the renderer, after everything that belongs to the frames
up to it is on the disk, and is complete under its final name. What is torn or altered is noticed on reading.

The two newest states are kept, and of the older ones as many, evenly spread, as fit into a share of the frames' size.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from deforum import atomic
from deforum.background import Background
from deforum.errors import UserError
from deforum.output.ledger import Ledger, digest

if TYPE_CHECKING:
    from deforum.animation.state import Packed, State

STATES_FOLDER, SUFFIX = "states", ".state"
MAGIC = b"deforum state 1\n"
NEWEST = 2
"""Newest states, which are kept while a run is not finished: if one cannot be read, the other one can."""
DISK_SHARE = 0.05
"""Most bytes of all older states, and of all states of a finished run, as a share of the frames'."""
TIME_SHARE = 0.02
"""Most time for states, as a share of the rendering time."""
AT_THE_END = 0.5
"""Seconds that a state in work is waited for where a run is stopped at once."""
LEAST_SECONDS = 2.0
"""Least time between states where their number is not given: what a kill may cost."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """The file of a state after a frame."""

    frame: int
    path: Path
    bytes: int


def path_of(folder: Path, frame: int) -> Path:
    return folder / STATES_FOLDER / f"{frame:09}{SUFFIX}"


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """List the states of a run by frame, without reading them."""
    found = []
    for path in sorted((folder / STATES_FOLDER).glob(f"*{SUFFIX}")):
        if path.stem.isdecimal():
            found.append(Checkpoint(int(path.stem), path, path.stat().st_size))
    return found


def to_bytes(packed: Packed) -> bytes:
    """Encode a state with its digest."""
    from safetensors.torch import save

    body = save(dict(packed.tensors), {"state": json.dumps(packed.document)})
    return MAGIC + f"{digest(body)} {len(body)}\n".encode() + body


def read_checkpoint(path: Path) -> Packed:
    """Read a state. Raises UserError where it is missing, was not written to its end, or was altered."""
    from safetensors.torch import load

    from deforum.animation.state import Packed

    body = _body(path)
    # safetensors gives the texts of a file only by its path: they are in the JSON of its header.
    length = int.from_bytes(body[:8], "little")
    document = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["state"])
    return Packed(document, load(body))


def check_checkpoint(path: Path) -> str:
    """Return what is wrong with the file of a state; "" for nothing."""
    try:
        _body(path)
    except UserError as error:
        return error.problems[0].message
    return ""


def _body(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if not content.startswith(MAGIC):
        raise UserError(f"{path}: no state of this version, or damaged")
    head, _, body = content[len(MAGIC) :].partition(b"\n")
    if head != f"{digest(body)} {len(body)}".encode():
        raise UserError(f"{path}: damaged: it was not written to its end, or it was altered")
    return body


def kept(states: Sequence[Checkpoint], room: float, newest: int = NEWEST) -> list[Checkpoint]:
    """Choose the states to keep, given in order: the newest, and of the older ones those that fit into `room` bytes.

    Of two that are close to each other, one is left out first.
    """
    split = max(len(states) - newest, 0)
    older, last = list(states[:split]), list(states[split:])
    room -= sum(state.bytes for state in last)
    end = last[0].frame if last else older[-1].frame + 1 if older else 0
    while older and sum(state.bytes for state in older) > room:
        frames = [-1, *(state.frame for state in older), end]
        gaps = [after - before for before, after in zip(frames, frames[2:], strict=False)]
        older.pop(gaps.index(min(gaps)))
    return [*older, *last]


def thin_out(folder: Path, frames_bytes: int, newest: int = NEWEST) -> None:
    """Remove states that are not `kept`, given the size of all frames. An empty folder is removed too."""
    states = list_checkpoints(folder)
    keep = {state.path for state in kept(states, DISK_SHARE * frames_bytes, newest)}
    for state in states:
        if state.path not in keep:
            state.path.unlink(missing_ok=True)
    if not keep:
        try:
            (folder / STATES_FOLDER).rmdir()
        except OSError:  # there is none, or it holds files of others
            return


class Checkpoints:
    """Write states of a run while it renders.

    `every` is the number of painted frames from one state to the next; 0: as many as cost less than TIME_SHARE of the
    time, at least LEAST_SECONDS apart; negative: none. A state that cannot be written is warned about, once: the
    frames go on.
    """

    def __init__(self, ledger: Ledger, every: int) -> None:
        self._ledger, self._every = ledger, every
        self._painted = 0
        self._written = -1
        """Frame of the last state that was handed over."""
        self._since, self._cost = float("-inf"), 0.0
        self._busy = threading.Event()
        self._over = threading.Event()
        self._warned = False
        self._writer: Background[Packed] = Background(self._write, name="states", waiting=1)
        self.seconds = 0.0
        """Time that states have taken: of the renderer, and processor time beside it."""

    def offer(self, state: State) -> None:
        """Take the state after a frame, if one is due: states at the end of a span, which a run can be resumed from."""
        if not state.is_boundary or self._every < 0:
            return
        self._painted += 1
        if self._is_due():
            self._take(state)

    def _is_due(self) -> bool:
        if self._every > 0:
            return self._painted >= self._every
        pause = max(LEAST_SECONDS, self._cost / TIME_SHARE)
        return not self._busy.is_set() and time.monotonic() - self._since >= pause

    def flush(self, state: State | None) -> None:
        """Write the last state from which a run can be resumed, unless it is written; `state` is that reached."""
        at = None if state is None else state.boundary
        if at is not None and at.frame.index > self._written and self._every >= 0:
            self._take(at)

    def _take(self, state: State) -> None:
        from deforum.animation.state import pack_state

        began = time.perf_counter()
        # The shown picture is on the disk, and nothing is rendered from it.
        packed = pack_state(replace(state, shown=state.picture))
        spent = time.perf_counter() - began
        self._painted, self._written, self._cost = 0, packed.frame, spent
        self.seconds += spent
        self._busy.set()
        self._writer.put(packed)

    def _write(self, packed: Packed) -> None:
        began = time.thread_time()
        try:
            if not self._ledger.settle(self._over.is_set):
                return
            path = path_of(self._ledger.folder, packed.frame)
            path.parent.mkdir(exist_ok=True)
            atomic.write(path, to_bytes(packed), durable=True)
            thin_out(self._ledger.folder, self._ledger.frames_bytes())
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("the state of the run cannot be written: %s", error.strerror or error)
        finally:
            spent = time.thread_time() - began
            self._cost += spent
            self.seconds += spent
            self._since = time.monotonic()
            self._busy.clear()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until the states are written; after an error, only for one whose frames are all there."""
        if kind is not None:
            self._over.set()
        if kind is None or issubclass(kind, Exception):
            self._writer.close()
        else:
            self._writer.abandon(AT_THE_END)
