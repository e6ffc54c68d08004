"""The examples that ship with the program, by name."""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
FOLDER: Path = next((path for path in (_PACKAGE / "examples", _PACKAGE.parent / "examples") if path.is_dir()), _PACKAGE)
"""The examples of an installed package, or of the repository."""
SUFFIX = ".yaml"


def example_names() -> list[str]:
    """List the names of the examples, the quickstart first."""
    return sorted((path.stem for path in FOLDER.glob(f"*{SUFFIX}")), key=lambda name: (name != "quickstart", name))


def find_example(word: str) -> Path | None:
    """Return the example called `word`, as quickstart, quickstart.yaml or examples/quickstart.yaml; None if unknown."""
    name = word.replace("\\", "/").removeprefix("examples/").removesuffix(SUFFIX)
    return FOLDER / f"{name}{SUFFIX}" if name in example_names() else None


def describe(path: Path) -> str:
    """Return the first sentence of the comment at the head of a file."""
    comment = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
    text = " ".join(line.strip("# ") for line in (comment[0] if comment else "").splitlines())
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
