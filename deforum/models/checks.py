"""Conditions that are found on the render device: noted where they arise, read later with others, all at once.

Reading one flag makes the host wait for everything that the device has been given before it. The frame's painting reads
those of the frame together: see `deforum.diffusion.faults`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Check:
    """An error that holds where `failed`, () bool on a device, is set."""

    failed: torch.Tensor
    error: Exception


class _Noted(threading.local):
    def __init__(self) -> None:
        self.checks: list[Check] = []


_noted = _Noted()


def refuse_where(failed: torch.Tensor, error: Exception) -> None:
    """Raise an error where `failed`, () bool, is set: at once on the CPU, with the next reading on another device."""
    if failed.device.type != "cpu":
        _noted.checks.append(Check(failed, error))
    elif failed:
        raise error


def take_checks() -> list[Check]:
    """Return the checks of this thread that have not been read, and forget them."""
    checks, _noted.checks = _noted.checks, []
    return checks


def settle_checks() -> None:
    """Read the checks of this thread, and raise the first error that holds."""
    settle(take_checks())


def settle(checks: Sequence[Check]) -> None:
    """Read checks, and raise the first error that holds."""
    import torch

    if not checks:
        return
    failed = torch.stack([check.failed for check in checks]).tolist()
    for check, is_failed in zip(checks, failed, strict=True):
        if is_failed:
            raise check.error
