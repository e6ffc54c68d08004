"""Keyframe animation with Stable Diffusion: a settings file in, a video out.

`from deforum import load, render`, then `render(load("my.yaml").settings, output="out")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deforum.errors import UserError
    from deforum.run import RunResult, render
    from deforum.settings import Loaded, Settings, dump, load

__all__ = ["Loaded", "RunResult", "Settings", "UserError", "dump", "load", "render"]
__version__ = "0.1.0"

_HOMES = {"UserError": "errors", "RunResult": "run", "render": "run"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `render.py --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'settings')}"), name)
