"""Optical flow estimators named by settings of several features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deforum.settings.declare import when
from deforum.settings.options import OPTIONS, Settings
from deforum.settings.profiles import PROFILES

if TYPE_CHECKING:
    from deforum.flow import FlowSource

IN_BETWEENS = when(
    "cadence is above 1 or keyframe_distribution is not Off", lambda settings, sampled: settings.has_in_betweens
)
FOLLOWED = when(
    "optical_flow_cadence is not None",
    lambda settings, sampled: method_of(settings, "optical_flow_cadence") != "None",
)


def find_flow(settings: Settings, name: str) -> FlowSource | None:
    """Find the estimator that a setting names; None where it is off. Raises UserError if it is missing.

    A file of Deforum's that asks for RAFT without its weights is rendered with another.
    """
    from deforum.flow import resolve_or_stand_in

    method = method_of(settings, name) if settings.animation_mode in OPTIONS[name].modes else "None"
    return resolve_or_stand_in(method, name, stands_in=settings.is_lenient)


def method_of(settings: Settings, name: str) -> str:
    """Return the estimator that a setting names; `auto` is DIS Medium or None, by the profile."""
    method: str = getattr(settings, name)
    if method != "auto":
        return method
    return "DIS Medium" if PROFILES[settings.profile].in_betweens_follow else "None"


def notes(name: str, found: FlowSource | None) -> list[str]:
    """Note which estimator replaces the requested one."""
    return [f"{name}: {found.says}"] if found is not None and found.says else []
