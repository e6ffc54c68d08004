"""Optical flow, the displacement of each pixel from one picture to another: the estimators by name.

To add an estimator, add a row to `METHODS` and a function of type `LoadFlow`. Warps made from flow are in
`deforum.motion.flow_warp`.

Convention: a `Flow` is (H, W, 2) float32 px, x then y, on the device of the pictures: the pixel at position p of the
first picture is at p + flow[p] in the second. Flow is in px everywhere, never in shares of the picture's size.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deforum.errors import Problem, UserError
from deforum.models import catalogue
from deforum.models.catalogue import Row
from deforum.models.weights import read_header

if TYPE_CHECKING:
    import torch

    from deforum.pixels.image import Device, Image

WEIGHTS = Path("models/flow")  # relative to the working folder


class FlowModel(Protocol):
    """Estimates the flow from one picture to another."""

    def __call__(self, a: Image, b: Image) -> torch.Tensor:
        """Return the flow (H, W, 2) px from `a` to `b`, both (3, H, W) RGB in 0..1, on their device."""


@dataclass(frozen=True)
class FlowSource:
    """An estimator that was found, before it is loaded."""

    name: str
    """A row of `METHODS`."""
    path: Path | None = None
    """Its weights; None: it needs none."""
    says: str = ""
    """Note to the user: which estimator replaces the one asked for, and why; or empty."""


STAND_IN = "DIS Medium"
"""Replaces a missing estimator; nearly as good as DIS Fine in a tenth of its time."""

LoadFlow = Callable[[FlowSource, "Device"], FlowModel]


METHODS: Mapping[str, Row] = {
    "DIS Medium": Row("deforum.flow.dense:load_dis_medium"),
    "DIS Fine": Row("deforum.flow.dense:load_dis_fine"),
    "Farneback": Row("deforum.flow.dense:load_farneback"),
    "RAFT": Row(
        "deforum.flow.raft:load",
        (
            "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
            "raft_large_C_T_SKHT_V1-22a6c259.pth",
            "raft_small_C_T_V2-01064c6d.pth",
            "raft_small_C_T_V1-ad48884c.pth",
        ),
        "https://download.pytorch.org/models/",
        "BSD 3-clause",
    ),
}


def resolve_flow(method: str, where: str = "") -> FlowSource | None:
    """Find an estimator; None for "None".

    Raises UserError with `where` for an unknown name, and for RAFT without its weights or without torchvision: what is
    missing, where it is looked for, and how to get it. Does not import torch.
    """
    if method == "None":
        return None
    row = METHODS.get(method)
    if row is None:
        raise UserError(Problem(f"{method}: no optical flow of this name; expected {', '.join(METHODS)}", where))
    try:
        return FlowSource(method, _find(method, row) if row.files else None)
    except UserError as error:
        raise UserError(Problem(problem.message, where) for problem in error.problems) from None


def resolve_or_stand_in(method: str, where: str, *, stands_in: bool) -> FlowSource | None:
    """Find an estimator as `resolve_flow` does; with `stands_in` STAND_IN replaces a missing one, with a note."""
    try:
        return resolve_flow(method, where)
    except UserError as error:
        if not stands_in:
            raise
        return FlowSource(STAND_IN, says=f"{error.problems[0].message}; {STAND_IN} stands in")


def load_flow(source: FlowSource, device: Device) -> FlowModel:
    """Load an estimator that was found. Raises UserError where its weights are not what their name says."""
    load: LoadFlow = catalogue.find_function(METHODS[source.name].load)
    return load(source, device)


def _find(method: str, row: Row) -> Path:
    """Find weights, and check for torchvision. Raises UserError where either is missing."""
    found = catalogue.find(row.files, WEIGHTS)
    missing = []
    if found is None:
        missing.append(
            catalogue.missing(f"{method} needs weights", row.files, WEIGHTS, f"{row.url}{row.files[0]}", row.licence)
        )
    if importlib.util.find_spec("torchvision") is None:
        missing.append(f"{method} needs torchvision, which is not installed: pip install torchvision")
    if missing or found is None:
        others = ", ".join(name for name, each in METHODS.items() if not each.files)
        raise UserError(". ".join([*missing, f"Without either: {others}"]))
    read_header(found)
    return found
