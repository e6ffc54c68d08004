"""What was heard, in the user's cache: a file of arrays for each sound, by its digest."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deforum import atomic
from deforum.paths import cache_folder

FOLDER = "heard"
VERSION = 1
"""Of the analysis: what another one heard is not used."""
MOST_KEPT = 200
"""Files in the cache; the oldest ones are deleted."""

Arrays = Mapping[str, NDArray[Any]]


def kept(name: str, make: Callable[[], Arrays]) -> Arrays:
    """Return arrays from the cache, or make and keep them; without a cache that can be written, make them."""
    try:
        path = cache_folder() / FOLDER / f"{name}-{VERSION}.npz"
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, RuntimeError, EOFError):
        pass
    except Exception as error:  # a damaged archive: zipfile and zlib have errors of their own
        if type(error).__module__ not in ("zipfile", "zlib"):
            raise
    arrays = make()
    with contextlib.suppress(OSError, RuntimeError):
        path = cache_folder() / FOLDER / f"{name}-{VERSION}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        atomic.write(path, content.getvalue())
        for old in sorted(path.parent.glob("*.npz"), key=lambda each: each.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    return arrays
