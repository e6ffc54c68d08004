"""Detection of NaN, Inf and blank results: the stage that made them is run again in float32.

What is found on the device is read once per frame, after all of its stages: reading makes the host wait for the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from deforum.errors import UserError
from deforum.models.checks import take_checks
from deforum.models.offload import cast

T = TypeVar("T")

_log = logging.getLogger(__name__)

_alone: ContextVar[bool] = ContextVar("alone", default=True)
"""Whether the modules are used by this thread only, so that their precision may be changed."""


class RenderError(UserError):
    """A frame cannot be rendered; the message names the frame and the stage."""


@dataclass(frozen=True, eq=False)
class Fault:
    """A fault that a result has where `found`, () bool on the device, is set."""

    found: torch.Tensor
    says: str


def not_finite(values: torch.Tensor) -> Fault:
    """Return the fault of values that hold NaN or Inf."""
    return Fault(torch.isfinite(values).all().logical_not(), "NaN or Inf")


def blank(pictures: torch.Tensor, span: float, allowed: torch.Tensor | None = None) -> Fault:
    """Return the fault of pictures (B, C, H, W) of which one is blank, see `is_blank`; `allowed`, () bool, may be."""
    found = is_blank(pictures, span).any()
    return Fault(found if allowed is None else found & ~allowed, "a picture of one colour")


@dataclass(frozen=True, eq=False)
class _Stage:
    """A stage that was run, and the faults that its result may have."""

    name: str
    frame: int
    modules: Sequence[Any]
    faults: Sequence[Fault]
    forget: Callable[[], None]


@dataclass(frozen=True)
class _Watch:
    """One try of a frame."""

    exact: frozenset[str]
    """The stages to run in float32."""
    stages: list[_Stage] = field(default_factory=list)

    def first_fault(self) -> tuple[_Stage, str] | None:
        """Read all faults in one transfer; return the first one that there is. Raises the error of a failed check."""
        checks = take_checks()
        faults = [(stage, fault) for stage in self.stages for fault in stage.faults]
        flags = [*(check.failed for check in checks), *(fault.found for _, fault in faults)]
        if not flags:
            return None
        found = torch.stack(flags).tolist()
        for check, is_failed in zip(checks, found, strict=False):
            if is_failed:
                raise check.error
        faulty = [each for each, is_there in zip(faults, found[len(checks) :], strict=True) if is_there]
        if not faulty:
            return None
        stage = faulty[0][0]
        for other, _ in faulty:
            if other.name == stage.name:
                other.forget()
        return stage, faulty[0][1].says


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


def guarded(
    stage: str,
    frame: int,
    modules: Sequence[Any],
    work: Callable[[], tuple[T, Sequence[Fault]]],
    forget: Callable[[], None] = lambda: None,
) -> T:
    """Run a stage of the work that is `watched`, and note the faults that its result may have.

    `work` returns its result and its faults. Where one is found later, the stage is run again with its modules in
    float32, after `forget`, which drops what was kept of the result.
    """
    watch = _watch.get()
    if watch is None:
        return watched(lambda: guarded(stage, frame, modules, work, forget))
    with in_float32(modules) if stage in watch.exact else nullcontext():
        result, faults = work()
    watch.stages.append(_Stage(stage, frame, modules, faults, forget))
    return result


def watched(work: Callable[[], T]) -> T:
    """Run work of `guarded` stages, read all of their faults at once, and do it again where there is one.

    Each faulty stage is then run with its modules in float32. Their precision is restored afterwards, so that later
    frames do not depend on the retry. There is no retry while modules are `shared` or already in float32. Within other
    watched work the faults are read with those of the other. Raises RenderError where a fault remains.
    """
    if _watch.get() is not None:
        return work()
    exact: frozenset[str] = frozenset()
    while True:
        watch = _Watch(exact)
        token = _watch.set(watch)
        try:
            result = work()
        finally:
            _watch.reset(token)
        fault = watch.first_fault()
        if fault is None:
            return result
        stage, says = fault
        half = next((module.dtype for module in stage.modules if module.dtype != torch.float32), None)
        if half is None or stage.name in exact or not _alone.get():
            raise RenderError(
                f"frame {stage.frame}: {stage.name} gave {says}, in fp32 as well; expected a picture. Nothing was "
                f"written for it. Look at this frame's prompt, cfg_scale and init image, and whether the model file is "
                f"whole"
            )
        _log.warning(
            "frame %d: %s gave %s in %s; doing it again in fp32 (precision: fp32 avoids the detour)",
            stage.frame,
            stage.name,
            says,
            str(half).removeprefix("torch."),
        )
        exact |= {stage.name}


@contextmanager
def shared() -> Iterator[None]:
    """Let this thread share modules with other threads: a faulty stage raises RenderError without a retry."""
    token = _alone.set(False)
    try:
        yield
    finally:
        _alone.reset(token)


@contextmanager
def in_float32(modules: Sequence[Any]) -> Iterator[None]:
    """Convert modules to float32 for the duration of the context; the conversion and its reverse are lossless."""
    with ExitStack() as conversions:
        for module in modules:
            conversions.enter_context(cast(module, torch.float32))
        yield


def is_blank(pictures: torch.Tensor, span: float) -> torch.Tensor:
    """Return which pictures (..., C, H, W) are of one colour: the range of values in each channel is below `span`."""
    return (pictures.amax((-2, -1)) - pictures.amin((-2, -1))).amax(-1) < span
