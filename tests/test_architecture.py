"""The house holds: imports point down, nothing goes round in a circle, and tests mirror the rooms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FLOORS: dict[str, int] = {
    "schedules": 1,
    "deforum.atomic": 1,
    "deforum.errors": 1,
    "deforum.limits": 1,
    "deforum.paths": 1,
    "deforum.version": 1,
    "deforum.seeds": 1,
    "deforum.background": 1,
    "deforum.profiling": 1,
    "deforum.program": 1,
    "deforum.models": 1,
    "deforum.embedded": 1,
    "deforum.settings": 2,
    "deforum.pixels": 2,
    "deforum.metadata": 2,
    "deforum.camera_files": 3,
    "deforum.timeline": 3,
    "deforum.motion": 3,
    "deforum.depth": 3,
    "deforum.flow": 3,
    "deforum.finishing": 3,
    "deforum.audio": 3,
    "deforum.interpolation": 3,
    "deforum.upscaling": 3,
    "deforum.video": 3,
    "deforum.animation": 4,
    "deforum.diffusion": 4,
    "deforum.features": 5,
    "deforum.build": 6,
    "deforum.events": 6,
    "deforum.loading": 6,
    "deforum.sources": 6,
    "deforum.foreign": 6,
    "deforum.validate": 6,
    "deforum.shots": 6,
    "deforum.needs": 7,
    "deforum.needs_behind": 7,
    "deforum.probe": 7,
    "deforum.forecast": 7,
    "deforum.output": 7,
    "deforum.again": 8,
    "deforum.cut_lists": 8,
    "deforum.behind": 8,
    "deforum.editing": 8,
    "deforum.going": 8,
    "deforum.piecewise": 8,
    "deforum.post": 8,
    "deforum.preview": 8,
    "deforum.rendering": 8,
    "deforum.resuming": 8,
    "deforum.reports": 8,
    "deforum.cluster": 8,
    "deforum.cli": 9,
    "deforum.serve": 9,
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


# --- the tests --------------------------------------------------------------------------------------------------------

TESTS = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "tests").rglob("*.py"))}

OTHER_FOLDERS = {"golden", "helpers", "schedules", "security", "training"}
"""Folders without a room: tests of other packages, and shared helpers."""

CLOCKS = re.compile(r"time\.(time|monotonic|perf_counter|process_time|thread_time)(_ns)?|os\.times|timeit\..*")

WAITS = {"helpers/__init__.py": "wait_until has a timeout"}
"""Files that may read a clock, and why. Measurements belong in benchmarks."""


def test_tests_mirror_the_rooms() -> None:
    rooms = {path.name for path in (ROOT / "deforum").iterdir() if path.is_dir()}
    folders = {path.parent.name for path in TESTS if path.parent.parent == ROOT / "tests"}
    assert folders <= rooms | OTHER_FOLDERS, folders - rooms - OTHER_FOLDERS
    assert all((path.parent / "__init__.py").exists() for path in TESTS)


def test_test_modules_do_not_import_from_each_other() -> None:
    """Scripts that tests run count too. Shared code is in `tests.helpers` or in a module without tests."""
    for path, tree in TESTS.items():
        for node in ast.walk(tree):
            named: list[str] = []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                named = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = re.findall(r"from (tests[\w.]+) import|import (tests[\w.]+)", node.value)
            for name in named:
                assert not re.match(r"tests\.(\w+\.)*test_", "".join(name)), f"{path}:{node.lineno} imports {name}"


def test_no_test_reads_a_clock() -> None:
    read = {
        (path.relative_to(ROOT / "tests").as_posix(), node.lineno)
        for path, tree in TESTS.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and CLOCKS.fullmatch(ast.unparse(node.func)))
        or (isinstance(node, ast.ImportFrom) and node.module in ("time", "timeit"))
    }
    assert {name for name, _ in read} == set(WAITS), read


def asserts(function: ast.FunctionDef, known: set[str]) -> bool:
    """Return whether a function asserts, expects an error, or calls a function that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            if called in ("pytest.raises", "pytest.fail", "pytest.warns", *known) or name.startswith("assert_"):
                return True
    return False


def test_no_test_is_empty() -> None:
    helpers: dict[str, set[str]] = {}

    def functions(tree: ast.Module) -> list[ast.FunctionDef]:
        return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]

    def known(path: Path) -> set[str]:
        """Return the names of a module's functions that assert, defined or imported."""
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name not in helpers:
            found = helpers[name] = set()
            for node in ast.walk(TESTS[path]):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                    place = ROOT / str(node.module).replace(".", "/")
                    other = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
                    found |= {alias.name for alias in node.names} & known(other)
            own = [each for each in functions(TESTS[path]) if not each.name.startswith("test_")]
            while more := {each.name for each in own if each.name not in found and asserts(each, found)}:
                found |= more
        return helpers[name]

    empty = [
        f"{path.relative_to(ROOT)}:{test.lineno} {test.name}"
        for path, tree in TESTS.items()
        for test in functions(tree)
        if test.name.startswith("test_") and not asserts(test, known(path))
    ]
    assert not empty, "\n".join(empty)
