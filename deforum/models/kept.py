"""A cache of loaded models: a run reuses a model of the run before if both ask for the same."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class KeptModels:
    """At most one model per load function: its memory is freed before another one is loaded."""

    _held: dict[Callable[..., Any], tuple[Hashable, Any]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    """Animations that render at once ask for their models on threads of their own."""

    def get(self, load: partial[T]) -> T:
        """Return the model that `load` makes; reuse the last one of the same function if the arguments are equal.

        The arguments must be hashable, and everything that the model depends on must be among them.
        """
        with self._lock:
            key = (load.args, tuple(sorted(load.keywords.items())))
            held = self._held.get(load.func)
            if held is not None and held[0] == key:
                model: T = held[1]
                return model
            if held is not None:
                del held, self._held[load.func]
                gc.collect()  # hooks and wrappers of networks refer to them in circles
            model = load()
            self._held[load.func] = (key, model)
            return model

    def clear(self) -> None:
        """Free all models; needed after a failed run, which may leave them in any state."""
        with self._lock:
            self._held.clear()
            gc.collect()
