"""Frames in between two pictures: the engines by name, and how one is found and loaded.

To add an engine, add a row to `ENGINES` and a function of type `LoadInterpolator`. `between.by_flow` is the one that
needs nothing; `between.stretched` makes a slower film with any of them.

Convention: times are shares of the way, 0 is the first picture and 1 the last. An engine returns its pictures as it got
them: (3, H, W) RGB in 0..1, on their device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deforum.errors import Problem, UserError
from deforum.flow import METHODS, WEIGHTS, FlowSource, resolve_flow
from deforum.models import catalogue
from deforum.models.catalogue import Row

if TYPE_CHECKING:
    from deforum.pixels.image import Device, Image


class Interpolator(Protocol):
    """Makes the pictures between two that follow each other."""

    def __call__(self, first: Image, last: Image, at: Sequence[float]) -> list[Image]:
        """Return the pictures at times `at`, each in 0..1, between `first` and `last`, (3, H, W) of one size."""


@dataclass(frozen=True)
class InterpolatorSource:
    """An engine that was found, before it is loaded."""

    name: str
    """A row of `ENGINES`."""
    flow: FlowSource | None = None
    """The estimator of an engine that follows optical flow."""
    path: Path | None = None
    """The user's TorchScript file."""
    form: str = "auto"
    """A row of `FORMS`: what that network is given."""
    says: str = ""
    """Note to the user, or empty."""


LoadInterpolator = Callable[[InterpolatorSource, "Device"], Interpolator]

ENGINES: Mapping[str, Row] = {
    "flow": Row("deforum.interpolation.by_flow:load"),
    "raft": Row("deforum.interpolation.by_flow:load", METHODS["RAFT"].files, METHODS["RAFT"].url),
    "file": Row("deforum.interpolation.scripted:load"),
}
FORMS: Mapping[str, tuple[str, ...]] = {
    "film": ("film",),
    "rife": ("rife", "rife number", "rife stacked"),
    "plane": ("plane",),
    "number": ("number",),
    "middle": ("middle", "middle stacked"),
}
"""What a network of the user's is given, as told by interpolator_inputs, and the rows of `scripted.CALLS` for it."""
BY_FLOW = "DIS Medium"
EXECUTES = "it is a program, which runs when it is loaded: use only files that you trust"


def resolve_interpolator(
    choice: str, where: str = "", *, form: str = "auto", on_gpu: bool = False
) -> InterpolatorSource:
    """Find an engine: `auto`, `flow`, `raft`, or the path of a TorchScript file.

    `auto` is raft on a graphics card where its weights are, and flow otherwise: on a processor RAFT takes minutes for a
    second of film. `form` says how the network in a file is called. Raises UserError with `where` for a file or weights
    that are missing. Does not import torch.
    """
    if choice == "auto":
        choice = "raft" if on_gpu and _has_raft() else "flow"
    if choice in ("flow", "raft"):
        return InterpolatorSource(choice, resolve_flow("RAFT" if choice == "raft" else BY_FLOW, where))
    path = catalogue.existing(choice)
    if path is None or not path.is_file():
        raise UserError(
            Problem(f"{choice}: no such file; expected auto, flow, raft or a TorchScript file of RIFE or FILM", where)
        )
    return InterpolatorSource("file", path=path, form=form, says=f"{path.name}: {EXECUTES}")


def load_interpolator(source: InterpolatorSource, device: Device) -> Interpolator:
    """Load an engine that was found. Raises UserError where a file is not what it should be."""
    load: LoadInterpolator = catalogue.find_function(ENGINES[source.name].load)
    return load(source, device)


def _has_raft() -> bool:
    return (
        catalogue.find(METHODS["RAFT"].files, WEIGHTS) is not None
        and importlib.util.find_spec("torchvision") is not None
    )
