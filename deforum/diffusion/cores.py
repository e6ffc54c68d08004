"""Cores of a processor, shared by threads that diffuse frames side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch

from deforum.models.open_vino import side_by_side


@dataclass(frozen=True)
class Cores:
    """All cores of the renderer, for threads that each have some of them, and in turn all."""

    all: int
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def split(self, threads: int) -> Iterator[None]:
        """Give this thread its share of the cores, one of `threads`, within the block."""
        share = max(1, self.all // threads)
        with self._given(share, threads, (self, share)):
            yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Give this thread all cores within the block, while no other one works."""
        with self._given(self.all, 1, None):
            yield

    @contextmanager
    def _given(self, cores: int, threads: int, shared: tuple[Cores, int] | None) -> Iterator[None]:
        before, token = torch.get_num_threads(), _shared.set(shared)
        torch.set_num_threads(cores)  # of this thread only
        try:
            with side_by_side(threads):
                yield
        finally:
            torch.set_num_threads(before)
            _shared.reset(token)


_shared: ContextVar[tuple[Cores, int] | None] = ContextVar("cores", default=None)
"""The cores that this thread shares with others, and the number that it has of them."""


@contextmanager
def in_turn(*, needed: bool = True) -> Iterator[None]:
    """Have all cores within the block, one thread after the other, where threads share them; else do nothing.

    Sums over large pictures are split among threads, so that their last digits depend on the number of threads. Where
    that matters, such a stage runs with the threads that it has alone. `needed` False does nothing.
    """
    held = _shared.get()
    if held is None or not needed:
        yield
        return
    cores, share = held
    with cores._turn:
        torch.set_num_threads(cores.all)
        try:
            yield
        finally:
            torch.set_num_threads(share)
