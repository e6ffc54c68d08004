"""What carries out a plan: a row for each engine. A new one is a new row, and a module with its crew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deforum.cluster.carrying import Crew
from deforum.errors import UserError
from deforum.models.catalogue import find_function
from schedules import nearest


@dataclass(frozen=True)
class Engine:
    """An engine, as `--on NAME` or `--on NAME://ADDRESS` names it."""

    open: str
    """Import path of (address, workers, threads) -> Crew."""
    address: str
    """What an address names, in words."""
    package: str = ""
    """The package that it needs."""


ENGINES: Mapping[str, Engine] = {
    "local": Engine("deforum.cluster.local:open_crew", "the number of processes on this machine"),
    "ray": Engine("deforum.cluster.on_ray:open_crew", "a cluster, HOST:10001; without it one is started here", "ray"),
    "slurm": Engine(
        "deforum.cluster.slurm:open_crew", "a partition of the Slurm cluster; slurm://local runs jobs here", "submitit"
    ),
}  # fmt: skip


def open_crew(on: str, workers: int, threads: int) -> Crew:
    """Start the workers that `--on` names. Raises UserError."""
    name, _, address = on.partition("://")
    engine = ENGINES.get(name.casefold())
    if engine is None:
        meant = nearest(name, ENGINES)
        hint = f"; did you mean {meant}?" if meant else ""
        raise UserError(f"--on {on}: there is no engine {name!r}{hint}; expected {', '.join(ENGINES)}")
    try:
        crew: Crew = find_function(engine.open)(address, workers, threads)
    except ModuleNotFoundError as error:
        if engine.package and error.name == engine.package:
            raise UserError(
                f"--on {on} needs the package {engine.package}: pip install 'deforum-renderer[cluster]'"
            ) from None
        raise
    return crew
