"""Shared parts of the model tables: functions named by import path, and weights that the user downloads by hand."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """A row of a model table: where its code is, which weights it needs, and where they come from."""

    load: str
    """Import path of its loader: module:function."""
    files: tuple[str, ...] = ()
    """File names of its weights, best first; one of them is needed."""
    url: str = ""
    """Download address of the first file."""
    hub: str = ""
    """Its name on the model hub; empty: it is not fetched from there."""
    licence: str = ""


def find_function(path: str) -> Any:
    """Import the function that a row names as module:function; its module is imported only now."""
    module, function = path.split(":")
    return getattr(importlib.import_module(module), function)


def find(files: Sequence[str], beside: Path) -> Path | None:
    """Find a file of one of these names, best first, in `beside` or in torch's checkpoint cache; None if missing."""
    return next((folder / file for file in files for folder in _folders(beside) if (folder / file).is_file()), None)


def existing(text: str) -> Path | None:
    """Return the file or folder of this path, ~ for the home folder; None if there is none."""
    try:
        path = Path(text).expanduser()
        return path if text.strip() and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        # Too long, with a NUL, or in the home folder of an unknown user.
        return None


def missing(name: str, files: Sequence[str], beside: Path, url: str, licence: str) -> str:
    """Return the message for missing weights: where they were looked for, and how to get the first of them."""
    looked = " and ".join(str(folder.absolute()) for folder in _folders(beside))
    return (
        f"{name}, {' or '.join(files)} ({licence}); looked for in {looked}. Get them with: "
        f"mkdir -p {beside} && curl -L -o {beside / files[0]} {url}"
    )


def _folders(beside: Path) -> tuple[Path, Path]:
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    return beside, home / "hub" / "checkpoints"
