"""The state of a run between two frames, and its way into a folder and back.

A folder holds `state.json`, which says what there is, and `state.safetensors` with the tensors. With it, the settings
and the models, a run goes on exactly as it would have: frames are the same, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deforum.animation.parts import Camera, Memory
from deforum.errors import UserError
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

FORMAT = 2
NAME = "state"


@dataclass(frozen=True)
class State:
    """All that one frame hands on to the next; with it, and the settings, a run can go on."""

    frame: Frame
    shown: Image
    picture: Image
    """What the next frame is painted from: the one that is shown, before `Stages.show`."""
    newer: Image
    """The last diffused picture, moved to where `picture` is."""
    palette: ColorReference | None
    camera: Camera
    trails: Memory = field(default_factory=dict)
    """What is remembered of the pictures that were shown."""
    is_boundary: bool = True
    """The frame is the last one of its span, or of those that are painted together."""
    begun: State | None = None
    """Where it is not: the state at the last boundary before; None where the run began since."""

    @property
    def boundary(self) -> State | None:
        """The last state from which the loop goes on by a span of its own; None: from the beginning."""
        return self if self.is_boundary else self.begun


def write_state(state: State, folder: Path) -> None:
    """Write a state into a folder, which is made where it is not there.

    Within a span what is written is the state at its beginning, and the frame that was reached: going on does the span
    again, and hands out what comes behind that frame.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    document: dict[str, Any] = {"format": FORMAT, "frame": state.frame.index, "boundary": None}
    at = state.boundary
    if at is not None:
        document["boundary"] = {
            "frame": at.frame.index,
            "memory": _pack(
                {
                    "shown": at.shown,
                    "picture": at.picture,
                    "newer": at.newer,
                    "palette": {} if at.palette is None else _colors(at.palette),
                    "camera": at.camera.memory(),
                    "trails": at.trails,
                },
                tensors,
            ),
        }
    save_file(tensors, folder / f"{NAME}.safetensors")
    (folder / f"{NAME}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_state(folder: Path, camera: Camera, timeline: Timeline) -> State:
    """Read a state; `camera` is the run's as it is before the first frame, `timeline` the run's.

    Pictures come back on the CPU. Raises UserError where the folder holds no state that can be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        document = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / f"{NAME}.safetensors")
        if document["format"] != FORMAT:
            raise UserError(f"{folder}: a state of format {document['format']}; this version reads format {FORMAT}")
        boundary, reached = document["boundary"], timeline[document["frame"]]
        begun = None
        if boundary is not None:
            memory = _unpack(boundary["memory"], tensors)
            begun = State(
                frame=timeline[boundary["frame"]],
                shown=memory["shown"],
                picture=memory["picture"],
                newer=memory["newer"],
                palette=_palette(memory["palette"]) if memory["palette"] else None,
                camera=camera.recall(memory["camera"]),
                trails=memory["trails"],
            )
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: no state of a run that can be read ({type(error).__name__}: {error})") from None
    if begun is not None and begun.frame.index == reached.index:
        return begun
    # Nothing of the pictures within the span is read: it is done again from where it began.
    nothing = torch.empty(0)
    return State(reached, nothing, nothing, nothing, None, camera, is_boundary=False, begun=begun)


def _colors(palette: ColorReference) -> Memory:
    return {
        "space": palette.space,
        "true_channels": int(palette.true_channels),
        "float_color": int(palette.float_color),
        "counts": torch.from_numpy(palette.counts),
        "detail": palette.detail,
    }


def _palette(memory: Mapping[str, Any]) -> ColorReference:
    return ColorReference(
        space=memory["space"],
        true_channels=bool(memory["true_channels"]),
        float_color=bool(memory["float_color"]),
        counts=np.asarray(memory["counts"].numpy(), np.float64),
        detail=memory["detail"],
    )


def _pack(memory: Memory, tensors: dict[str, torch.Tensor], prefix: str = "") -> dict[str, object]:
    """Put tensors aside under names of their own, and give the rest as what JSON can hold."""
    packed: dict[str, object] = {}
    for name, value in memory.items():
        if isinstance(value, torch.Tensor):
            key, order = f"{prefix}{name}", _order(value)
            tensors[key] = value.detach().permute(order).contiguous().cpu().clone()
            packed[name] = {"tensor": key, "order": order}
        elif isinstance(value, Mapping):
            packed[name] = {"group": _pack(value, tensors, f"{prefix}{name}.")}
        else:
            packed[name] = {"value": value}
    return packed


def _unpack(packed: Mapping[str, Mapping[str, Any]], tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Turn back what `_pack` gave."""
    memory: dict[str, Any] = {}
    for name, entry in packed.items():
        if "tensor" in entry:
            order: list[int] = entry["order"]
            back = [order.index(axis) for axis in range(len(order))]
            memory[name] = tensors[entry["tensor"]].permute(back)
        elif "group" in entry:
            memory[name] = _unpack(entry["group"], tensors)
        else:
            memory[name] = entry["value"]
    return memory


def _order(tensor: torch.Tensor) -> list[int]:
    """Give the axes from the one that is stored farthest apart to the nearest: networks go by how pictures lie."""
    return sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride()[axis], axis))
