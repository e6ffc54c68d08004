"""The files that a run is made from, and their digests.

Digests of large files take seconds: they are computed beside the renderer, and kept from run to run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from deforum.build import Prepared
from deforum.models.digest import kept_digest
from deforum.output.record import Input
from deforum.paths import is_file, is_folder
from deforum.settings.options import DECLARATIONS, Settings
from deforum.settings.parseq.find import embedded, is_inline

MOST_FILES = 2_000
"""Files that are recorded of one run; a longer folder of pictures is recorded by its first ones."""
_PROGRAM = Path(__file__).resolve().parents[2]


def find_inputs(prepared: Prepared) -> tuple[Input, ...]:
    """List the files that a run reads: its model, what its features found, and the files that its settings name."""
    paths = dict.fromkeys([*_paths(prepared.model), *_paths(prepared.found), *_named(prepared.settings)])
    files = dict.fromkeys(file for path in paths for file in _files(path))
    found = []
    for path in list(files)[:MOST_FILES]:
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append(Input(_shown(path), facts.st_size, facts.st_mtime))
    return tuple(found)


def _shown(path: Path) -> str:
    """Return the path to record: files of the program itself are named from its folder, wherever that is."""
    return path.relative_to(_PROGRAM).as_posix() if path.is_relative_to(_PROGRAM / "deforum") else str(path)


def place_of(each: Input) -> Path:
    """Return where an input is."""
    return _PROGRAM / each.path


def _paths(value: object) -> Iterator[Path]:
    """Yield the paths within a value: a path, a dataclass, a tuple, a mapping."""
    if isinstance(value, Path):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            yield from _paths(getattr(value, each.name))
    elif isinstance(value, Mapping):
        yield from _paths(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _paths(part)


def _named(settings: Settings) -> Iterator[Path]:
    for name, declaration in DECLARATIONS.items():
        value = getattr(settings, name, None)
        if declaration.path and isinstance(value, str) and value and value not in declaration.words:
            yield Path(value)
    manifest = embedded(settings).parseq_manifest
    if settings.parseq is not None and not is_inline(manifest):
        yield Path(manifest)


def _files(path: Path) -> Iterator[Path]:
    if is_file(path):
        yield path.resolve()
    elif is_folder(path):
        yield from sorted(each.resolve() for each in path.rglob("*") if each.is_file())[:MOST_FILES]


def digest_of(each: Input, is_over: threading.Event | None = None) -> str:
    """Return the digest of an input; "" where it cannot be read."""
    return kept_digest(place_of(each), each.path, each.bytes, each.mtime, is_over)


class Digests:
    """Compute the digests of inputs in a thread, beside the renderer."""

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        self._inputs, self._over = list(inputs), threading.Event()
        self._thread = threading.Thread(target=self._work, name="digests", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        for at, each in enumerate(self._inputs):
            if not each.sha256 and not self._over.is_set():
                self._inputs[at] = replace(each, sha256=digest_of(each, self._over))

    def take(self, *, wait: bool) -> tuple[Input, ...]:
        """Return the inputs with the digests that are known by now; with `wait`, with all of them."""
        if wait:
            self._thread.join()
        return tuple(self._inputs)

    def stop(self) -> None:
        self._over.set()


def changed_inputs(inputs: tuple[Input, ...]) -> list[str]:
    """Return what is different about inputs of a run, a line each: missing, or not the file that it was."""
    found = []
    for each in inputs:
        path = place_of(each)
        try:
            facts = path.stat()
        except OSError:
            found.append(f"{path}: is not there any more")
            continue
        if facts.st_size != each.bytes:
            found.append(f"{path}: has {facts.st_size:,} bytes, and had {each.bytes:,}")
        elif facts.st_mtime != each.mtime and each.sha256:
            now = Input(each.path, facts.st_size, facts.st_mtime)
            if digest_of(now) != each.sha256:
                found.append(f"{path}: its contents are not what they were")
    return found
