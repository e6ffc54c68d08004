"""The versions of other packages that this one is known to work with.

    python requirements/versions.py tested    # write tested.txt: what is installed here, after the suite has passed
    python requirements/versions.py changed   # say what is installed here in other versions than tested.txt has
    python requirements/versions.py lowest    # install the lowest versions that pyproject.toml allows, run the suite

`tested.txt` is the way back when something newer breaks: pip install -e . -c requirements/tested.txt
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTED = ROOT / "requirements" / "tested.txt"
EXTRAS = ("test",)
LOWER_BOUND = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*>=\s*([\w.]+)")
NAME = re.compile(r"\s*([\w.-]+)")


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extras: Iterable[str] = EXTRAS) -> list[str]:
    """List the requirements of pyproject.toml, as they stand there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(each for extra in extras for each in optional[extra])]


def installed(requirements: Iterable[str]) -> dict[str, str]:
    """Give name and version of each package that is installed here for the sake of some requirements."""
    found: dict[str, str] = {}
    waiting = [match[1] for match in map(NAME.match, requirements) if match]
    while waiting:
        name = normalized(waiting.pop())
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another platform, or of an extra that nobody asked for
            continue
        found[name] = package.version
        wanted = (each for each in package.requires or () if "extra ==" not in each)
        waiting += [match[1] for match in map(NAME.match, wanted) if match]
    return dict(sorted(found.items()))


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """Turn each lower bound into the one version that is allowed."""
    for requirement in requirements:
        bound = LOWER_BOUND.match(requirement)
        if bound:
            yield f"{bound[1]}=={bound[2]}"


def write_tested() -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    lines = [f"# Written by versions.py: the suite passed with these, on Python {python} and {sys.platform}."]
    lines += [f"{name}=={version}" for name, version in installed(declared()).items()]
    TESTED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TESTED.relative_to(ROOT)}: {len(lines) - 1} packages")


def changed() -> str:
    """Say which packages are here in other versions than those of tested.txt."""
    tested = dict(line.split("==") for line in TESTED.read_text(encoding="utf-8").splitlines() if "==" in line)
    here = installed(declared())
    other = [
        f"  {name}: {tested.get(name, 'none')} tested, {here.get(name, 'none')} here"
        for name in sorted({*tested, *here})
        if tested.get(name) != here.get(name)
    ]
    return "\n".join(["not as in requirements/tested.txt:", *other]) if other else "as in requirements/tested.txt"


def run_lowest(pytest_arguments: list[str]) -> int:
    """Install the lowest versions into an environment of their own, and run the suite there; gives its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        constraints = Path(folder) / "lowest.txt"
        constraints.write_text("\n".join(lowest(declared())) + "\n", encoding="utf-8")
        print(constraints.read_text(encoding="utf-8"), flush=True)
        install = [python, "-m", "pip", "install", "--no-cache-dir", "-e", f"{ROOT}[{','.join(EXTRAS)}]"]
        status = subprocess.run([*install, "-c", constraints], check=False).returncode
        return status or subprocess.run([python, "-m", "pytest", *pytest_arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["tested"]:
            write_tested()
        case ["changed"]:
            print(changed())
        case ["lowest", *arguments]:
            sys.exit(run_lowest(arguments))
        case _:
            sys.exit(__doc__)
