"""Keyframe animation with Stable Diffusion: a settings file in, a video out.

`from deforum import load, render`, then `render(load("my.yaml").settings, output="out")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deforum.errors import UserError
    from deforum.events import RunResult
    from deforum.loading import Loaded, load
    from deforum.rendering import render
    from deforum.settings.options import Settings
    from deforum.settings.read import dump

__all__ = ["Loaded", "RunResult", "Settings", "UserError", "dump", "load", "render"]
__version__ = "0.1.0"

_HOMES = {
    "Loaded": "loading",
    "RunResult": "events",
    "Settings": "settings.options",
    "UserError": "errors",
    "dump": "settings.read",
    "load": "loading",
    "render": "rendering",
}
"""Where each public name comes from."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `render.py --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
