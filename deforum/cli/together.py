"""Runs at once, for `render --together`: which can be, how many, and the progress of all of them."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

from deforum.cli.progress import Progress, Silent

if TYPE_CHECKING:
    from deforum.animation.together import Together
    from deforum.build import Prepared

T = TypeVar("T")


def groups_of(ready: Sequence[tuple[T, Prepared]]) -> list[list[T]]:
    """Group runs of one size that load the same model, in the order in which they are given."""
    from deforum.build import model_key

    groups: dict[Hashable, list[T]] = {}
    for each, prepared in ready:
        groups.setdefault((model_key(prepared), prepared.settings.size), []).append(each)
    return list(groups.values())


def together_for(prepared: Prepared) -> Together:
    """Return what renders runs of this size and device at once.

    On a processor at most as many as it has cores, and as the memory of a batch allows; on a graphics card as many as
    make a batch.
    """
    from deforum.rendering import prepare_process

    prepare_process(prepared.settings)
    import torch

    from deforum.animation.together import Together
    from deforum.diffusion.diffuser import batch_size
    from deforum.models.device import choose_device

    device = choose_device(prepared.settings.device)
    room = batch_size(device, *prepared.settings.size)
    if device.type == "cpu":
        return Together(min(room, max(2, torch.get_num_threads())))
    return Together(room, in_batches=True)


class SharedProgress:
    """One display for several runs at once: the frames of all."""

    def __init__(self, display: Progress, totals: Sequence[int]) -> None:
        """`totals` are the numbers of frames of the runs."""
        self._display = display
        self._lock = threading.RLock()
        self._done, self._totals = [0] * len(totals), list(totals)
        self._open = len(totals)
        self._has_begun = False

    def part(self, number: int) -> Progress:
        """Return the display of one of the runs."""
        return _Part(self, number)

    def status(self, text: str) -> None:
        with self._lock:
            self._display.status(text)

    def show(self, number: int, done: int) -> None:
        with self._lock:
            self._done[number] = done
            if done or not self._has_begun:
                self._has_begun = True
                self._display(sum(self._done), sum(self._totals))

    def end(self, number: int) -> None:
        """Count no more frames of a run; the last one to end closes the display."""
        with self._lock:
            self._totals[number] = self._done[number]
            self._open -= 1
            if not self._open:
                self._display.close()


class _Part(Silent):
    """The display of one run among others."""

    def __init__(self, shared: SharedProgress, number: int) -> None:
        self._shared, self._number = shared, number

    def status(self, text: str) -> None:
        self._shared.status(text)

    def __call__(self, done: int, total: int) -> None:
        self._shared.show(self._number, done)

    def close(self) -> None:
        self._shared.end(self._number)
