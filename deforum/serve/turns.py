"""Work for one reader after the other, where only the latest result counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deforum.serve.jobs import NotNow


class Turns:
    """Lets one thread work at a time; of those that wait, the one that came last."""

    def __init__(self) -> None:
        self._count, self._turn = threading.Lock(), threading.Lock()
        self._last = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn. Raises NotNow where another thread came later, and waits or works in its place."""
        with self._count:
            self._last += 1
            number = self._last
        with self._turn:
            if number != self._last:
                raise NotNow("this was asked again meanwhile, with other settings")
            yield
