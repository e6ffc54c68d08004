"""Graphs of OpenVINO in the user's cache: files named by what a graph depends on.

torch is not imported here, so that a render can begin to load graphs while torch is imported, on another core.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import platform
import sys
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

from deforum import atomic
from deforum.paths import cache_folder

ENVIRONMENT = "DEFORUM_OPENVINO"
"""Environment variable: another folder of the cache, or off, with which networks run by torch alone."""
MOST_KEPT = 2**30
"""Bytes of graphs in the cache; those that were not used for the longest time are deleted."""
EARLY = 8
"""Largest number of graphs that are loaded before it is known which ones are needed."""
LAST = "last"
"""Name of the file with the names of the graphs that the newest process used, in the order in which it needed them."""
FEWEST_CELLS = 100
"""Latent cells of a picture from which a graph is made; with fewer, too little is gained for the seconds it takes."""
SUFFIX = ".graph"
NOTE = ".same"
"""Suffix of an empty file that says that a form of a network was compared with it, and gives the same."""
TELEMETRY = "openvino_telemetry"
SUM = 4
"""Bytes of the checksum with which a file begins. The options of the graph follow, as a line of JSON, and the graph."""

Options = Mapping[str, Any]


def is_supported() -> bool:
    """Whether OpenVINO is here, for a processor on which it was measured, and not switched off."""
    return not _is_off() and _is_here()


def _is_off() -> bool:
    return _named().casefold() in ("off", "none", "0")


def _named() -> str:
    return os.environ.get(ENVIRONMENT, "")


@cache
def _is_here() -> bool:
    return platform.machine() in ("x86_64", "AMD64") and importlib.util.find_spec("openvino") is not None


class Making:
    """Counts the seconds in which graphs are made, by one thread or several: `with making: ...`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._threads, self._began, self._lock = 0, 0.0, threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._began = time.monotonic()
            self._threads += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self.seconds += time.monotonic() - self._began


making = Making()
"""Of this process. Later ones find the graphs in the cache."""

_importing = threading.Lock()


def library() -> Any:
    """Import OpenVINO without `openvino_telemetry`, which reports every import to a server, and return it."""
    with _importing:
        if "openvino" not in sys.modules:
            known = sys.modules.get(TELEMETRY)
            sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
            try:
                import openvino
            finally:
                del sys.modules[TELEMETRY]
                if known is not None:
                    sys.modules[TELEMETRY] = known
    import openvino

    return openvino


_cores: list[Any] = []


def core() -> Any:
    """Return OpenVINO's core; there is one for the life of a process.

    Where it loads the processor's plugin, the calling thread gets another stack for its signal handlers, which belongs
    to the plugin. Were the plugin freed later, by another thread, the next Ctrl-C would end the process.
    """
    openvino = library()
    with _importing:
        if not _cores:
            _cores.append(openvino.Core())
        return _cores[0]


def is_empty() -> bool:
    """Whether no graphs are in the cache."""
    try:
        return not _by_use("*")
    except (OSError, RuntimeError):
        return True


def keep(name: str, model: Any, options: Options) -> None:
    """Put a graph that was compiled with `options` into the cache, if that can be written."""
    with contextlib.suppress(OSError, RuntimeError):
        path = _folder() / (name + SUFFIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(options).encode() + b"\n" + model.export_model().getvalue()
        atomic.write(path, _sum(content) + content)
        _use(name)
        room = MOST_KEPT
        for each in _by_use("*"):
            room -= each.stat().st_size
            if room < 0:
                each.unlink(missing_ok=True)


def note(name: str) -> None:
    """Note in the cache that a form of a network gives the same, if that can be written."""
    with contextlib.suppress(OSError, RuntimeError):
        if not _is_off():
            path = _folder() / (name + NOTE)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def is_noted(name: str) -> bool:
    """Whether `note` was called with the name, by any process."""
    try:
        return not _is_off() and (_folder() / (name + NOTE)).is_file()
    except (OSError, RuntimeError):
        return False


def read(name: str) -> Any:
    """Return a graph from the cache, compiled; None where there is none, or a damaged one."""
    early = _early.pop(name, None)
    if early is None:  # another kind of run than the last one
        for other in _early.values():
            other.cancel()
    # One that waits for others, which may not be needed, is loaded here.
    model = _load(name) if early is None or early.cancel() else early.result()
    if model is not None:
        with contextlib.suppress(OSError, RuntimeError):
            _use(name)
    return model


_used: list[str] = []
"""Names of the graphs of the cache that this process uses."""


def _use(name: str) -> None:
    """Note that a graph is used: the next process begins to load it. Raises OSError and RuntimeError."""
    os.utime(_folder() / (name + SUFFIX))
    if name not in _used:
        _used.append(name)
        atomic.write(_folder() / LAST, "\n".join(_used).encode())


_early: dict[str, Future[Any]] = {}
"""Graphs that are being loaded, or were and are not asked for yet."""


_begun = threading.Event()


def load_early() -> None:
    """Begin to load the graphs of the process before, in a thread: the first run of this one probably needs the same.

    Later runs have them from that one, so that nothing is done again.
    """
    if not is_supported() or _begun.is_set():
        return
    _begun.set()
    with contextlib.suppress(OSError, RuntimeError):
        names = (_folder() / LAST).read_text().split()[:EARLY]
        if names:
            _early.update({name: Future() for name in names})
            # Not a daemon: a process does not end within a library's loading.
            threading.Thread(target=_load_early, args=[dict(_early)], name="graphs").start()


def _load_early(wanted: Mapping[str, Future[Any]]) -> None:
    for name, future in wanted.items():
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(_load(name))
        except BaseException as error:
            future.set_exception(error)


def _load(name: str) -> Any:
    try:
        content = (_folder() / (name + SUFFIX)).read_bytes()
        if _sum(content[SUM:]) != content[:SUM]:
            return None  # OpenVINO does not look, and stops the process
        end = content.index(b"\n", SUM)
        options = json.loads(content[SUM:end])
        return core().import_model(io.BytesIO(content[end + 1 :]), "CPU", options)
    except (OSError, RuntimeError, ValueError):  # OpenVINO's errors too: of another build of a version
        return None


def _sum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(SUM)  # a cryptographic one takes as long as reading the file


def _folder() -> Path:
    return Path(_named()) if _named() else cache_folder() / "graphs"


def _by_use(pattern: str) -> Sequence[Path]:
    """List files of the cache, those that were used last first."""
    return sorted(_folder().glob(pattern + SUFFIX), key=lambda file: file.stat().st_mtime, reverse=True)
