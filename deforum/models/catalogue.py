"""What tables of models share: functions named by import path, and weights that a person fetches by hand."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """A model of a table: where its code is, which weights it needs, and where they come from."""

    load: str
    """Import path of what loads it: module:function."""
    files: tuple[str, ...] = ()
    """Names under which its weights are known, best first; one of them is needed."""
    url: str = ""
    """Where a person gets the first of them."""
    hub: str = ""
    """Its name on the model hub, where it comes from there."""
    licence: str = ""


def find_function(path: str) -> Any:
    """Import what a row names as module:function; only then is its module loaded."""
    module, function = path.split(":")
    return getattr(importlib.import_module(module), function)


def find(files: Sequence[str], beside: Path) -> Path | None:
    """Find a file that goes by one of these names, best first: in `beside`, or where torch keeps what it fetched."""
    return next((folder / file for file in files for folder in _folders(beside) if (folder / file).is_file()), None)


def missing(name: str, files: Sequence[str], beside: Path, url: str, licence: str) -> str:
    """Say that a model's weights are not there, where they were looked for, and how to get the first of them."""
    looked = " and ".join(str(folder.absolute()) for folder in _folders(beside))
    return (
        f"{name}, {' or '.join(files)} ({licence}); looked for in {looked}. Get them with: "
        f"mkdir -p {beside} && curl -L -o {beside / files[0]} {url}"
    )


def _folders(beside: Path) -> tuple[Path, Path]:
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    return beside, home / "hub" / "checkpoints"
