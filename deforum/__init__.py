"""Keyframe animation with Stable Diffusion, from a settings file to a video.

    from deforum import load, render

    result = render(load("my.yaml").settings, output="out")

`load` reads a settings file, a mapping, or a frame or film of a run; `check` finds mistakes, `render` writes a run's
folder, `resume` goes on with one, `frames` yields pictures, `make_films` makes films of a run's frames. See
docs/library.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from deforum.version import __version__ as __version__

if TYPE_CHECKING:
    from deforum.errors import UserError
    from deforum.events import RunResult
    from deforum.loading import Loaded, load
    from deforum.output.film import FilmResult, make_films
    from deforum.rendering import check, frames, render
    from deforum.resuming import resume
    from deforum.settings.options import Settings
    from deforum.settings.read import dump

__all__ = [
    "FilmResult", "Loaded", "RunResult", "Settings", "UserError", "check", "dump", "frames", "load", "make_films",
    "render", "resume",
]  # fmt: skip

_HOMES = {
    "FilmResult": "output.film",
    "Loaded": "loading",
    "RunResult": "events",
    "Settings": "settings.options",
    "UserError": "errors",
    "check": "rendering",
    "dump": "settings.read",
    "frames": "rendering",
    "load": "loading",
    "make_films": "output.film",
    "render": "rendering",
    "resume": "resuming",
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `render.py --help` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, for tab completion."""
    return sorted([*__all__, "__version__"])
