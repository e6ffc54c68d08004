"""Loaded models, kept from one run to the next where both ask for the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class KeptModels:
    """At most one model of each kind: before another is loaded, the memory of the last is given back."""

    _held: dict[Callable[..., Any], tuple[Hashable, Any]] = field(default_factory=dict)

    def get(self, load: partial[T]) -> T:
        """Call `load`, or give what the same function with the same arguments gave last time.

        Its arguments are hashable, and say all that the model depends on.
        """
        key = (load.args, tuple(sorted(load.keywords.items())))
        held = self._held.get(load.func)
        if held is not None and held[0] == key:
            model: T = held[1]
            return model
        del held
        self._held.pop(load.func, None)
        model = load()
        self._held[load.func] = (key, model)
        return model

    def clear(self) -> None:
        """Give all memory back, as after a run that broke, whose models may be in any state."""
        self._held.clear()
