"""Detection of NaN, Inf and blank results at the stage that made them, with one retry in float32."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from deforum.errors import UserError
from deforum.models.offload import cast

T = TypeVar("T")

_log = logging.getLogger(__name__)

_alone: ContextVar[bool] = ContextVar("alone", default=True)
"""Whether the modules are used by this thread only, so that their precision may be changed."""


class RenderError(UserError):
    """A frame cannot be rendered; the message names the frame and the stage."""


def guarded(stage: str, frame: int, modules: Sequence[Any], work: Callable[[], tuple[T, str]]) -> T:
    """Run a stage, and again with its modules in float32 where the result is faulty.

    `work` returns its result and a description of its fault, "" for none. The modules' precision is restored
    afterwards, so that later frames do not depend on the retry. There is no retry while modules are `shared` or already
    in float32. Raises RenderError where a fault remains.
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


def is_blank(picture: torch.Tensor, span: float) -> bool:
    """Whether a picture (C, H, W) is of one colour: the range of values in every channel is below `span`."""
    return bool((picture.amax((-2, -1)) - picture.amin((-2, -1))).amax() < span)
