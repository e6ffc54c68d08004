"""The house holds: imports point down, and nothing goes round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FLOORS: dict[str, int] = {
    "schedules": 1,
    "deforum.errors": 1,
    "deforum.version": 1,
    "deforum.seeds": 1,
    "deforum.background": 1,
    "deforum.models": 1,
    "deforum.embedded": 1,
    "deforum.settings": 2,
    "deforum.pixels": 2,
    "deforum.timeline": 3,
    "deforum.motion": 3,
    "deforum.depth": 3,
    "deforum.flow": 3,
    "deforum.video": 3,
    "deforum.animation": 4,
    "deforum.diffusion": 4,
    "deforum.features": 5,
    "deforum.build": 6,
    "deforum.events": 6,
    "deforum.loading": 6,
    "deforum.validate": 6,
    "deforum.output": 7,
    "deforum.rendering": 8,
    "deforum.reports": 8,
    "deforum.cli": 9,
    "deforum.__main__": 9,
    "deforum": 9,
    "render": 10,
}
"""The floor of each room, from the ground up; a module is on the floor of the longest name that it begins with."""


def modules() -> dict[str, Path]:
    """List the program's modules by name."""
    found = {"render": ROOT / "render.py"}
    for package in ("deforum", "schedules"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """Give the modules that a module names: at its head, late in a function, and for types alone."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


GRAPH: dict[str, set[str]] = {name: {other for other in imports(name) if other != name} for name in MODULES}


def floor(name: str) -> int:
    while name not in FLOORS:
        name = name.rpartition(".")[0]
    return FLOORS[name]


def test_every_import_is_written_in_full() -> None:
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{name}: a relative import"


def test_nothing_imports_upwards() -> None:
    wrong = [
        f"{name} ({floor(name)}) imports {other} ({floor(other)})"
        for name, others in GRAPH.items()
        for other in sorted(others)
        if floor(other) > floor(name) and not (other == "deforum" and name != "schedules")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles() -> None:
    """Late imports and those for types count too; `schedules`, which is one subject, may have them."""
    graph = {
        name: {other for other in others if not other.startswith("schedules") and other != "deforum"}
        for name, others in GRAPH.items()
        if not name.startswith("schedules") and name != "deforum"
    }
    circles = []
    while True:
        try:
            tuple(TopologicalSorter(graph).static_order())
            break
        except CycleError as error:
            circle = error.args[1]
            circles.append(" <- ".join(circle))
            graph[circle[1]] = graph[circle[1]] - {circle[0]}
    assert not circles, "\n".join(circles)


def test_the_schedule_language_knows_nothing_of_the_rest() -> None:
    for name in MODULES:
        if name.startswith("schedules"):
            assert all(other.startswith("schedules") for other in GRAPH[name]), name
