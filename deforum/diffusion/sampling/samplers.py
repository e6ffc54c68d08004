"""The table of samplers by the names people know. Does not import torch.

A sampler is a solver (the algorithm, `solvers.py`) on a grid (the noise levels it visits, `sigmas.py`). Every solver
runs on every grid: add the grid's name to the sampler's, as in "Heun SGM Uniform".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from deforum.errors import UserError
from schedules.quoting import quote


@dataclass(frozen=True)
class Sampler:
    """A row of the table: a sampler's name, solver and grid."""

    name: str
    solver: str
    """A key of `solvers.SOLVERS`."""
    grid: str = "normal"
    """A key of `sigmas.GRIDS`."""
    eta: str = ""
    """The frame parameter that scales the random part: "ancestral_eta", "ddim_eta", or "" for none."""
    skip_penultimate: bool = False
    """Skip the last noise level above 0, where second-order steps gain nothing (as hosts of k-diffusion do)."""
    also: tuple[str, ...] = ()
    """Names in other hosts that `_squash` does not reduce to `name`."""
    note: str = ""
    """The difference from the sampler of this name, for one that is substituted."""


ANCESTRAL = "ancestral_eta"

SAMPLERS: tuple[Sampler, ...] = (
    Sampler("Euler", "euler"),
    Sampler("Euler a", "euler_ancestral", eta=ANCESTRAL),
    Sampler("Heun", "heun"),
    Sampler("DPM2", "dpm_2", skip_penultimate=True),
    Sampler("DPM2 a", "dpm_2_ancestral", eta=ANCESTRAL, skip_penultimate=True),
    Sampler("LMS", "lms"),
    Sampler("DPM++ 2S a", "dpmpp_2s_ancestral", eta=ANCESTRAL, also=("DPMSolverSinglestep", "dpmpp_2s")),
    Sampler("DPM++ 2M", "dpmpp_2m", also=("DPMSolverMultistep", "dpmpp")),
    Sampler("DPM++ SDE", "dpmpp_sde", eta=ANCESTRAL, also=("DPMSolverSDE",)),
    Sampler("DPM++ 2M SDE", "dpmpp_2m_sde", eta=ANCESTRAL),
    Sampler("DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun", eta=ANCESTRAL),
    Sampler("DPM++ 3M SDE", "dpmpp_3m_sde", eta=ANCESTRAL),
    Sampler("DDIM", "euler_ancestral", "ddim uniform", eta="ddim_eta"),
    Sampler("PLMS", "plms", "ddim uniform", also=("PNDM",)),
    Sampler("UniPC", "unipc", skip_penultimate=True, also=("uni_pc_bh2", "UniPCMultistep")),
    Sampler("DEIS", "deis", also=("DEISMultistep",)),
    Sampler("LCM", "lcm", "lcm"),
    Sampler("TCD", "tcd", "lcm"),
    Sampler("DPM fast", "dpmpp_2s_ancestral", note="DPM fast is run as DPM++ 2S, the closest here"),
    Sampler("DPM adaptive", "dpmpp_2m", "karras", note="DPM adaptive is run as DPM++ 2M Karras, in `steps` steps"),
    Sampler("Restart", "heun", "karras", note="Restart is run as Heun Karras, without going back up in noise"),
    Sampler("DDPM", "euler_ancestral", "ddim uniform", eta=ANCESTRAL),
    Sampler("HeunPP2", "heun", note="HeunPP2 is run as Heun, the closest here"),
    Sampler("IPNDM", "plms", "normal", note="IPNDM is run as PLMS on the usual noise levels, the closest here"),
)

GRID_NAMES: dict[str, str] = {
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm uniform",
    "Simple": "simple",
    "DDIM Uniform": "ddim uniform",
    "Normal": "normal",
}
"""Grid suffixes of a sampler's name."""

_GRID_ALIASES = {"polyexponential": "Exponential", "uniform": "Normal", "trailing": "SGM Uniform"}


def resolve_sampler(name: str) -> str:
    """Return the canonical name of a sampler for any known spelling.

    Raises UserError, suggesting the nearest name, for an unknown sampler.
    """
    return find_sampler(name).name


def sampler_note(name: str) -> str:
    """Return one line on the difference from the sampler that was asked for, "" for none. Raises as `find_sampler`."""
    return find_sampler(name).note


@cache
def find_sampler(name: str) -> Sampler:
    """Return the row of a sampler name; case, spaces, underscores, `k_`, `_gpu` and "ancestral" for "a" do not matter.

    Raises UserError as `resolve_sampler` does.
    """
    rows = _index()
    squashed = _squash(name)
    if squashed in rows:
        return rows[squashed]
    for suffix, grid_name in _grid_suffixes().items():
        solver = squashed.removesuffix(suffix)
        if solver != squashed and solver in rows:
            row = rows[solver]
            if suffix == "automatic":
                return row
            grid = GRID_NAMES[grid_name]
            return row if grid == row.grid else replace(row, name=f"{row.name} {grid_name}", grid=grid)
    from schedules import nearest

    names = [row.name for row in SAMPLERS] + [f"{row.name} Karras" for row in SAMPLERS if row.grid == "normal"]
    close = nearest(name, names)
    hint = f"did you mean {close!r}? " if close else ""
    raise UserError(
        f"there is no sampler {quote(name)}; {hint}There are: {', '.join(row.name for row in SAMPLERS)}; each also "
        f"with {', '.join(GRID_NAMES)} after its name"
    )


@cache
def _index() -> dict[str, Sampler]:
    return {_squash(name): row for row in SAMPLERS for name in (row.name, *row.also)}


@cache
def _grid_suffixes() -> dict[str, str]:
    names = {_squash(name): name for name in GRID_NAMES} | _GRID_ALIASES | {"automatic": ""}
    # Longest first: "ddimuniform" also ends with "uniform".
    return dict(sorted(names.items(), key=lambda item: -len(item[0])))


def _squash(name: str) -> str:
    """Normalise a sampler name: "k_dpmpp_2s_ancestral" and "DPM++ 2S a" both become "dpmpp2sa"."""
    word = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    word = word.removesuffix("scheduler").removesuffix("gpu").replace("ancestral", "a").replace("discrete", "")
    return word.removeprefix("k") if word.startswith(("keuler", "kdpm", "kheun", "klms")) else word
