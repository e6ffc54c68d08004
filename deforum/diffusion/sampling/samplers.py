"""The table of samplers by the names people know. Does not import torch.

A sampler is a solver (the algorithm, `solvers.py`) on a grid (the noise levels it visits, `sigmas.py`). Every solver
runs on every grid: add the grid's name to the sampler's, as in "Heun SGM Uniform".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from deforum.errors import UserError
from schedules.quoting import quote

Timesteps = Literal["", "leading", "even"]
"""How a sampler of the A1111 web UI that walks over timesteps places them, see `paths`; "": it walks over a grid."""


@dataclass(frozen=True)
class Sampler:
    """A row of the table: a sampler's name, solver and grid."""

    name: str
    solver: str
    """A key of `solvers.SOLVERS`."""
    grid: str = "normal"
    """A key of `sigmas.GRIDS`."""
    automatic: str = ""
    """Key of `GRID_NAMES`: the grid that the web UI's scheduler Automatic stands for; "": the sampler's own."""
    eta: str = ""
    """The frame parameter that scales the random part: "ancestral_eta", "ddim_eta", or "" for none."""
    skip_penultimate: bool = False
    """Skip the last noise level above 0, where second-order steps gain nothing (as hosts of k-diffusion do)."""
    timesteps: Timesteps = ""
    cfg_pp: bool = False
    """It needs the prediction without guidance, too: CFG++."""
    cfg_share: float = 1.0
    """Factor on cfg_scale, which makes a usual one right for the sampler."""
    twice: bool = False
    """It evaluates the network twice in each step but the last one, which ends without noise."""
    alone: bool = False
    """Its steps depend on the latents, so that frames are never diffused in one batch."""
    also: tuple[str, ...] = ()
    """Names in other hosts that `_squash` does not reduce to `name`."""
    runs_as: str = ""
    """For a substituted sampler: the name of the one that is run, without its grid."""
    but: str = ""
    """For a substituted sampler: the rest of the note on it."""
    missing_grid: str = ""
    """A noise schedule of other hosts that was asked for and is not here."""

    @property
    def note(self) -> str:
        """The difference from the sampler that was asked for, in one line; "" for none."""
        grid = next((name for name, grid in GRID_NAMES.items() if grid == self.grid), "")
        notes = []
        if self.runs_as:
            shown = f" {grid}" if self.grid != find_sampler(self.runs_as).grid else ""
            notes.append(f"{self.name} is run as {self.runs_as}{shown}{self.but}")
        if self.missing_grid:
            shown = f" ({grid})" if grid else ""
            what = f"{self.name} runs on its usual noise levels{shown}"
            notes.append(f"the noise schedule {self.missing_grid} is not here; {what}")
        return "; ".join(notes)


ANCESTRAL = "ancestral_eta"
CLOSEST = ", the closest here"

SAMPLERS: tuple[Sampler, ...] = (
    Sampler("Euler", "euler"),
    Sampler("Euler a", "euler_ancestral", eta=ANCESTRAL),
    Sampler("Heun", "heun", twice=True),
    Sampler("DPM2", "dpm_2", automatic="Karras", skip_penultimate=True, twice=True),
    Sampler("DPM2 a", "dpm_2_ancestral", automatic="Karras", eta=ANCESTRAL, skip_penultimate=True, twice=True),
    Sampler("LMS", "lms"),
    Sampler("DPM++ 2S a", "dpmpp_2s_ancestral", automatic="Karras", eta=ANCESTRAL, twice=True,
            also=("DPMSolverSinglestep", "dpmpp_2s")),
    Sampler("DPM++ 2M", "dpmpp_2m", automatic="Karras", also=("DPMSolverMultistep", "dpmpp")),
    Sampler("DPM++ SDE", "dpmpp_sde", automatic="Karras", eta=ANCESTRAL, twice=True,
            also=("DPMSolverSDE",)),
    Sampler("DPM++ 2M SDE", "dpmpp_2m_sde", automatic="Exponential", eta=ANCESTRAL),
    Sampler("DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun", automatic="Exponential", eta=ANCESTRAL),
    Sampler("DPM++ 3M SDE", "dpmpp_3m_sde", automatic="Exponential", eta=ANCESTRAL, skip_penultimate=True),
    Sampler("DDIM", "euler_ancestral", "ddim uniform", eta="ddim_eta", timesteps="leading"),
    Sampler("PLMS", "plms", "ddim uniform", timesteps="leading", also=("PNDM",)),
    Sampler("UniPC", "unipc", skip_penultimate=True, timesteps="even", also=("uni_pc_bh2", "UniPCMultistep")),
    Sampler("DEIS", "deis", also=("DEISMultistep",)),
    Sampler("LCM", "lcm", "lcm"),
    Sampler("TCD", "tcd", "lcm"),
    Sampler("DPM fast", "dpm_fast"),
    Sampler("DPM adaptive", "dpm_adaptive", also=("dpm_ad",), alone=True),
    Sampler("Restart", "restart", "karras"),
    Sampler("DDPM", "euler_ancestral", "ddim uniform", eta=ANCESTRAL),
    Sampler("ER SDE", "er_sde", eta=ANCESTRAL),
    Sampler("RES Multistep", "res_multistep"),
    Sampler("RES Multistep a", "res_multistep_ancestral", eta=ANCESTRAL),
    Sampler("IPNDM", "ipndm"),
    Sampler("IPNDM_V", "lms"),
    Sampler("Euler CFG++", "euler_cfg_pp", cfg_pp=True),
    Sampler("Euler a CFG++", "euler_ancestral_cfg_pp", eta=ANCESTRAL, cfg_pp=True),
    Sampler("DPM++ 2M CFG++", "dpmpp_2m_cfg_pp", automatic="Karras", cfg_pp=True),
    Sampler("DPM++ 2S a CFG++", "dpmpp_2s_ancestral_cfg_pp", automatic="Karras", eta=ANCESTRAL, cfg_pp=True,
            twice=True),
    Sampler("RES Multistep CFG++", "res_multistep_cfg_pp", cfg_pp=True),
    Sampler("DDIM CFG++", "euler_ancestral_cfg_pp", "ddim uniform", eta="ddim_eta", timesteps="leading", cfg_pp=True,
            cfg_share=1 / 12.5),
    Sampler("HeunPP2", "heun", runs_as="Heun", but=CLOSEST, twice=True),
)  # fmt: skip

GRID_NAMES: dict[str, str] = {
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm uniform",
    "Simple": "simple",
    "DDIM Uniform": "ddim uniform",
    "Normal": "normal",
    "Beta": "beta",
    "KL Optimal": "kl optimal",
    "Align Your Steps": "align your steps",
    "Align Your Steps 32": "align your steps 32",
    "GITS": "gits",
    "Turbo": "turbo",
    "Linear Quadratic": "linear quadratic",
    "Karras Exponential": "karras exponential",
    "Bong Tangent": "bong tangent",
}
"""Grid suffixes of a sampler's name."""

_GRID_ALIASES = {
    "polyexponential": "Exponential", "exp": "Exponential", "ka": "Karras", "uniform": "Normal", "ddim": "DDIM Uniform",
    "trailing": "SGM Uniform", "alignyoursteps11": "Align Your Steps", "ays": "Align Your Steps",
    "ays11": "Align Your Steps", "ays32": "Align Your Steps 32", "alignyourstepsgits": "GITS", "aysgits": "GITS",
}  # fmt: skip
_AUTOMATIC = "automatic"

MISSING_GRIDS = ("Beta57", "Cosine", "Laplace", "Phi", "Karras Dynamic", "Sigmoid Offset")
"""Noise schedules of other hosts that are not here; a sampler keeps its own levels in their place, with a note."""


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
    row = _look_up(name)
    if row is not None:
        return row
    from schedules import nearest

    names = [row.name for row in SAMPLERS] + [f"{row.name} Karras" for row in SAMPLERS if row.grid == "normal"]
    close = nearest(name, names)
    hint = f"did you mean {close!r}? " if close else ""
    raise UserError(
        f"there is no sampler {quote(name)}; {hint}There are: {', '.join(row.name for row in SAMPLERS)}; each also "
        f"with {', '.join(GRID_NAMES)} after its name"
    )


def find_beginning(name: str) -> str:
    """Return the sampler that an unknown name begins with, such as DPM++ 2M for "dpmpp_2m_cfg_pp"; "" for none."""
    words = re.split(r"[\s_]+", name.strip())
    found = (_look_up(" ".join(words[:count])) for count in range(len(words) - 1, 0, -1))
    return next((row.name for row in found if row is not None), "")


def with_scheduler(name: str, scheduler: str) -> tuple[str, str]:
    """Join a sampler and a scheduler, two settings in other hosts; return the sampler's full name, and a note or "".

    A sampler name that contains a grid keeps it. The web UI's Automatic stands for a grid of the sampler's own choice.
    Samplers over timesteps (DDIM, PLMS, UniPC) have no scheduler there. With an unknown scheduler the sampler keeps its
    usual grid. Raises UserError for an unknown sampler.
    """
    row, wanted = find_sampler(name), _squash(scheduler)
    if wanted in ("", "none") or row.name not in {plain.name for plain in SAMPLERS}:
        return name, ""
    if row.timesteps:
        idle = wanted not in (_AUTOMATIC, "normal", "uniform", "ddim", "ddimuniform")
        return name, f"scheduler {scheduler} has no effect on {row.name}, as in the web UI" if idle else ""
    if wanted not in _grid_suffixes():
        return name, replace(row, missing_grid=scheduler).note
    joined = find_sampler(f"{row.name} {scheduler}").name
    return (name, "") if joined == row.name else (joined, f"sampler and scheduler became {joined}")


def scheduler_problem(name: str) -> str:
    """Return what is wrong with a scheduler's name, "" for one that `with_scheduler` knows."""
    wanted = _squash(name)
    if wanted in ("", "none", *_grid_suffixes()):
        return ""
    from schedules import nearest

    close = nearest(name, GRID_NAMES)
    hint = f"did you mean {close!r}? " if close else ""
    return f"there is no scheduler {quote(name)}; {hint}There are: Automatic, {', '.join(GRID_NAMES)}"


def _look_up(name: str) -> Sampler | None:
    rows = _index()
    squashed = _squash(name)
    if squashed in rows:
        return rows[squashed]
    for suffix, grid_name in _grid_suffixes().items():
        row = rows.get(squashed.removesuffix(suffix)) if squashed.endswith(suffix) else None
        if row is None:
            continue
        grid_name = row.automatic if suffix == _AUTOMATIC else grid_name
        grid = GRID_NAMES.get(grid_name, row.grid)
        return row if grid == row.grid else replace(row, name=f"{row.name} {grid_name}", grid=grid, timesteps="")
    for missing in MISSING_GRIDS:
        row = rows.get(squashed.removesuffix(_squash(missing)))
        if row is not None:
            return replace(row, missing_grid=missing)
    return None


@cache
def _index() -> dict[str, Sampler]:
    return {_squash(name): row for row in SAMPLERS for name in (row.name, *row.also)}


@cache
def _grid_suffixes() -> dict[str, str]:
    names = {_squash(name): name for name in GRID_NAMES} | _GRID_ALIASES | {_AUTOMATIC: ""}
    # Longest first: "ddimuniform" also ends with "uniform".
    return dict(sorted(names.items(), key=lambda item: -len(item[0])))


def _squash(name: str) -> str:
    """Normalise a sampler name: "k_dpmpp_2s_ancestral" and "DPM++ 2S a" both become "dpmpp2sa"."""
    word = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    for noise in ("scheduler", "gpu", "discrete"):
        word = word.replace(noise, "")
    word = word.replace("ancestral", "a")
    return word.removeprefix("k") if word.startswith(("keuler", "kdpm", "kheun", "klms")) else word
