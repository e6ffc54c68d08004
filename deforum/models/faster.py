"""Networks run in a faster form where that gives the same results."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol, runtime_checkable

import torch

from deforum.models.branches import PLAIN, current
from deforum.models.kept_graphs import making

Tensor = torch.Tensor
Run = Callable[..., Any]
"""Returns a tensor, or a tuple of them."""

SMALL = 256 * 2**20
"""Bytes of weights up to which a network may be held twice, in its own form and in a faster one."""
TOLERANCE = 1e-4
"""Largest difference of the results, relative to their range."""

_log = logging.getLogger(__name__)
_version = attrgetter("_version")  # in each call of a network, for all of its weights: half the time of a loop


@dataclass(frozen=True)
class Form:
    """A faster form of a network's function."""

    make: Callable[[], Run]
    """Returns it: a function of the same tensors."""
    suits: Callable[[Any], bool]
    """Whether it may be used for the network where and as that is, and for the inputs of adapters of this thread."""
    pays: Callable[[Sequence[Tensor | None]], bool] = lambda inputs: True
    """Whether inputs of these shapes are worth it."""


@runtime_checkable
class Kept(Protocol):
    """A faster form that is kept from process to process, for the shapes of inputs for which it gave the same."""

    def recall(self, *inputs: Tensor | None) -> bool:
        """Return whether it is there for inputs of these shapes, and needs no comparison."""
        ...

    def keep(self, *inputs: Tensor | None) -> None:
        """Keep it for these shapes: it gives the same as the network."""
        ...


class Faster:
    """A function of tensors by a network, in the first of several faster forms that gives the same results.

    Forms are made when the function is first called. The result of one for noise is compared with that of `plain` for
    each new shape of inputs, or was in an earlier process, see `Kept`. Where it differs by more than `TOLERANCE`, or
    cannot be made, the next one is tried, in the end `plain`, and a warning says so once. All calls with one shape use
    the same form, also the first, so that results do not depend on what was rendered before. Calls by several threads
    at once are allowed.

    `plain` is also used while hooks are attached to the network, and where no form suits, as after a conversion to
    another precision or device. Forms are made again after weights have changed; changes through `Tensor.data` are not
    noticed.
    """

    def __init__(self, name: str, network: Any, plain: Run, forms: Sequence[Form]) -> None:
        """`name` is for the warning: "the UNet". `forms`: the fastest one first."""
        self._name, self._network, self._plain, self._forms = name, network, plain, forms
        self._lock = threading.Lock()
        self._hooks: list[Any] | None = None
        """Those of each module, before and after: mappings, empty where there are none. None: nothing is listed yet."""
        self._weights: list[Tensor] = []
        self._suits = False
        """Whether the weights are few enough, and changes to them are counted."""
        self._state: object = None
        self._made: dict[int, Run] = {}
        """Forms that were made, by their places."""
        self._chosen: dict[tuple[Any, ...], Run] = {}
        self._warned = False

    def __call__(self, *inputs: Tensor | None) -> Any:
        state = None if PLAIN in current() else self._look()
        if state is None:
            return self._plain(*inputs)
        shapes = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        key = (shapes, *sorted(current()))  # with an adapter it is another function
        with self._lock:
            if state != self._state:
                self._state, self._made, self._chosen = state, {}, {}
            chosen = self._chosen.get(key)
            if chosen is None:
                chosen = self._chosen[key] = self._choose(inputs)
        return chosen(*inputs)

    def _form(self, place: int) -> Run:
        """Return a form, made if it is not there."""
        run = self._made.get(place)
        if run is None:
            run = self._made[place] = self._forms[place].make()
        return run

    def _look(self) -> object:
        """Return what the faster forms depend on; None where none must be used."""
        suited = tuple(form.suits(self._network) for form in self._forms)
        if not torch.is_inference_mode_enabled() or not any(suited):
            return None
        if self._hooks is None:  # listing them takes longer than looking at them
            self._weights = weights = list(self._network.parameters())
            is_small = sum(weight.nbytes for weight in weights) <= SMALL
            self._suits = is_small and not any(weight.is_inference() for weight in weights)
            parts = list(self._network.modules())
            # Last: other threads take the rest to be there.
            self._hooks = [hooks for part in parts for hooks in (part._forward_pre_hooks, part._forward_hooks)]
        if not self._suits or any(self._hooks):
            return None
        return self._weights[0].data_ptr(), sum(map(_version, self._weights))

    def _choose(self, inputs: tuple[Tensor | None, ...]) -> Run:
        """Return the first form that suits and gives the same for these inputs."""
        sample: list[Tensor | None] = []
        right: tuple[Tensor, ...] = ()
        for place, form in enumerate(self._forms):
            if not form.suits(self._network) or not form.pays(inputs):
                continue
            try:
                run = self._form(place)
                kept = run if isinstance(run, Kept) else None
                if kept is not None and kept.recall(*inputs):
                    return run
                with nullcontext() if kept is None else making:
                    if not sample:
                        sample = _sample(inputs)
                        right = _all_of(self._plain(*sample))
                    problem = _difference(_all_of(run(*sample)), right)
                    if not problem:
                        if kept is not None:
                            kept.keep(*inputs)
                        return run
            except Exception as reason:  # operations of other versions of torch, or of other processors
                problem = str(reason).splitlines()[0][:200] if str(reason) else type(reason).__name__
            if not self._warned:
                self._warned = True
                _log.warning("%s runs in a slower form; the fastest one fails here: %s", self._name, problem)
        return self._plain


def _sample(inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return inputs to compare forms by: noise, so that the same form is chosen whatever a process renders first.

    What adapters read besides belongs to the inputs, which then are as they are.
    """
    if current():
        return list(inputs)
    noise = torch.Generator().manual_seed(0)
    return [
        torch.empty_like(each).normal_(generator=noise) if each is not None and each.is_floating_point() else each
        for each in inputs
    ]


def _difference(made: Sequence[Tensor], right: Sequence[Tensor]) -> str:
    """Say how results differ from the right ones; "" where they do not."""
    error = max(
        float((one - other).abs().max() / (other.max() - other.min()).clamp(min=1))
        for one, other in zip(made, right, strict=True)
    )
    return "" if error <= TOLERANCE else f"it differs by {error:.1e}"


def _all_of(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)
