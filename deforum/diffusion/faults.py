"""A picture that is not a number or blank is caught at the stage that made it, and never handed on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from deforum.errors import UserError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_alone: ContextVar[bool] = ContextVar("alone", default=True)
"""Whether nobody else uses the modules now, so that their precision may be changed."""


class RenderError(UserError):
    """A frame cannot be made; names the frame and the stage."""


def guarded(stage: str, frame: int, modules: Sequence[Any], work: Callable[[], tuple[T, str]]) -> T:
    """Run a stage; where it says that something is wrong, run it once more with its modules in float32.

    `work` returns its result and the fault in it, "" for none. The modules' own precision is restored afterwards, so
    that a frame does not depend on whether an earlier one needed this. Raises RenderError where the fault stays.
    """
    result, fault = work()
    if not fault:
        return result
    used = next(iter(modules)).dtype
    if _alone.get() and any(module.dtype != torch.float32 for module in modules):
        _log.warning(
            "frame %d: %s gave %s in %s; doing it again in fp32 (precision: fp32 avoids the detour)",
            frame,
            stage,
            fault,
            str(used).removeprefix("torch."),
        )
        with in_float32(modules):
            result, fault = work()
        if not fault:
            return result
    raise RenderError(
        f"frame {frame}: {stage} gave {fault}, in fp32 as well; expected a picture. Nothing was written for it. Look "
        f"at this frame's prompt, cfg_scale and init image, and whether the model file is whole"
    )


@contextmanager
def shared() -> Iterator[None]:
    """Let stages of this thread use modules beside other threads: what would be run once more in float32 fails."""
    token = _alone.set(False)
    try:
        yield
    finally:
        _alone.reset(token)


@contextmanager
def in_float32(modules: Sequence[Any]) -> Iterator[None]:
    """Hold modules in float32 for a while; going up and back changes no weight."""
    # Past the libraries' own `to`, which warns of casts.
    before = [module.dtype for module in modules]
    try:
        for module in modules:
            torch.nn.Module.to(module, torch.float32)
        yield
    finally:
        for module, dtype in zip(modules, before, strict=True):
            torch.nn.Module.to(module, dtype)


def is_blank(picture: torch.Tensor, span: float) -> bool:
    """Say whether a picture (C, H, W) is of one colour: no channel varies by as much as `span`."""
    return bool((picture.amax((-2, -1)) - picture.amin((-2, -1))).amax() < span)
