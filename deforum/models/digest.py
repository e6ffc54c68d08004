"""SHA-256 digests of files. Those of large files take seconds, and are kept for files of equal path, size and time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from pathlib import Path

from deforum import atomic
from deforum.paths import cache_folder

KEPT_ABOVE = 2**24
"""Bytes above which a digest is kept in a file in the user's cache."""
_BLOCK = 2**20


def sha256_of(path: Path, is_over: threading.Event | None = None) -> str:
    """Return the digest of a file; "" where it cannot be read, or `is_over` before its end."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
                if is_over is not None and is_over.is_set():
                    return ""
    except OSError:
        return ""
    return found.hexdigest()


def kept_digest(path: Path, name: str, size: int, mtime: float, is_over: threading.Event | None = None) -> str:
    """Return the digest of a file of this size and time, from the cache if it is known there.

    `name` is what the cache calls it. "" where the file cannot be read, or `is_over` before its end.
    """
    if size < KEPT_ABOVE:
        return sha256_of(path, is_over)
    known = _read_cache()
    if _key(name, size, mtime) not in known:
        found = sha256_of(path, is_over)
        if not found:
            return ""
        known = _read_cache() | {_key(name, size, mtime): found}
        with contextlib.suppress(OSError):
            _cache().parent.mkdir(parents=True, exist_ok=True)
            atomic.write(_cache(), json.dumps(known, indent=0).encode())
    return known[_key(name, size, mtime)]


def digest_of_file(path: Path) -> str:
    """Return the digest of a file, see `kept_digest`."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return kept_digest(path, str(path.resolve()), facts.st_size, facts.st_mtime)


def known_digests() -> dict[str, str]:
    """Return the digests that are kept, by `known_key`."""
    return _read_cache()


def known_key(path: Path) -> str:
    """Return what the cache calls a file as it is now; raises OSError where it is gone."""
    facts = path.stat()
    return _key(str(path.resolve()), facts.st_size, facts.st_mtime)


def _key(name: str, size: int, mtime: float) -> str:
    return f"{name}|{size}|{mtime}"


def _cache() -> Path:
    return cache_folder() / "digests.json"


def _read_cache() -> dict[str, str]:
    try:
        known = json.loads(_cache().read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    return {str(key): str(value) for key, value in known.items()} if isinstance(known, dict) else {}
