"""The state of a run between two frames: saving to a folder and resuming.

A folder holds `state.json`, which describes the state, and `state.safetensors` with the tensors. With the same settings
and models, a run resumed from it renders the same frames, bit for bit.
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
from deforum.pixels.image import CPU, Device, Image
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

FORMAT = 1
DOCUMENT = "state.json"
TENSORS = "state.safetensors"


@dataclass(frozen=True)
class State:
    """Everything that one frame passes to the next; with the settings it is enough to resume a run.

    It refers to at most one other state, so that memory stays bounded in long runs.
    """

    frame: Frame
    shown: Image
    picture: Image
    """The picture that the next frame is painted from: the shown one before `Stages.show`."""
    newer: Image
    """The last diffused picture, moved to the frame of `picture`."""
    palette: ColorReference | None
    camera: Camera
    trails: Memory = field(default_factory=dict)
    """The memory of shown pictures."""
    is_boundary: bool = True
    """Whether the frame is the last one of its span or batch."""
    begun: State | None = None
    """Set within a span: the state at the previous boundary; None in the first span."""

    @property
    def boundary(self) -> State | None:
        """The last state from which the loop can start a span; None: start from the beginning."""
        return self if self.is_boundary else self.begun


@dataclass(frozen=True)
class Packed:
    """A state as data: JSON values, and tensors in main memory that nothing else refers to."""

    document: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    @property
    def frame(self) -> int:
        """Index of the frame that was reached."""
        index: int = self.document["frame"]
        return index


def pack_state(state: State) -> Packed:
    """Copy a state into main memory. A tensor that stands in several places is copied once.

    Within a span, the state at its beginning and the reached frame are kept: resuming repeats the span and yields the
    frames after that one.
    """
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
                {},
            ),
        }
    return Packed(document, tensors)


def unpack_state(packed: Packed, camera: Camera, timeline: Timeline, device: Device = CPU, where: str = "") -> State:
    """Invert `pack_state`. `camera` is the run's camera before the first frame, `timeline` the run's timeline.

    Pictures and trails are put on the device; the camera puts its own memory where it keeps it. `where` names the state
    in messages. Raises UserError where the state belongs to other settings.
    """
    document, tensors = packed.document, packed.tensors
    try:
        boundary, reached = document["boundary"], timeline[document["frame"]]
        begun = None
        if boundary is not None:
            memory = _unpack(boundary["memory"], tensors, {})
            begun = State(
                frame=timeline[boundary["frame"]],
                shown=memory["shown"].to(device),
                picture=memory["picture"].to(device),
                newer=memory["newer"].to(device),
                palette=_palette(memory["palette"]) if memory["palette"] else None,
                camera=camera.recall(memory["camera"]),
                trails=_on(device, memory["trails"]),
            )
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError):
        place = f"{where}: " if where else ""
        raise UserError(
            f"{place}this state does not fit the settings; use the settings of the run that wrote it"
        ) from None
    if begun is not None and begun.frame.index == reached.index:
        return begun
    # Pictures within the span are not needed: the span is repeated from its beginning.
    nothing = torch.empty(0)
    return State(reached, nothing, nothing, nothing, None, camera, is_boundary=False, begun=begun)


def write_state(state: State, folder: Path) -> None:
    """Write a state into a folder, which is created where it is missing.

    Raises OSError where the folder cannot be written.
    """
    from safetensors.torch import save

    packed = pack_state(state)
    folder.mkdir(parents=True, exist_ok=True)
    # The document is removed first and written last: after an interrupted write no state can be read.
    described = folder / DOCUMENT
    described.unlink(missing_ok=True)
    (folder / TENSORS).write_bytes(save(dict(packed.tensors)))
    described.write_text(json.dumps(packed.document, indent=1), encoding="utf-8")


def read_state(folder: Path, camera: Camera, timeline: Timeline, device: Device = CPU) -> State:
    """Read a state; `camera`, `timeline` and `device` as for `unpack_state`.

    Raises UserError where a file is missing or damaged, and where the state belongs to other settings.
    """
    packed = Packed(_read_document(folder / DOCUMENT), _read_tensors(folder / TENSORS))
    return unpack_state(packed, camera, timeline, device, str(folder))


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _unreadable(path) from None
    if not isinstance(document, dict):
        raise _unreadable(path)
    if document.get("format") != FORMAT:
        raise UserError(f"{path}: a state of format {document.get('format')}; this version reads format {FORMAT}")
    return document


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # Read as a whole, not mapped: the file may be written over while the run goes on.
        return load(path.read_bytes())
    except (OSError, SafetensorError):
        raise _unreadable(path) from None


def _unreadable(path: Path) -> UserError:
    if not path.is_file():
        return UserError(f"{path}: no such file; a folder with the state of a run has {DOCUMENT} and {TENSORS}")
    return UserError(f"{path}: damaged, or not written to the end; go on from an earlier state")


def _colors(palette: ColorReference) -> Memory:
    return {
        "space": palette.space,
        "true_channels": int(palette.true_channels),
        "float_color": int(palette.float_color),
        "counts": torch.as_tensor(palette.counts),
        "detail": float(palette.detail),
    }


def _palette(memory: Mapping[str, Any]) -> ColorReference:
    return ColorReference(
        space=memory["space"],
        true_channels=bool(memory["true_channels"]),
        float_color=bool(memory["float_color"]),
        counts=np.asarray(memory["counts"].numpy(), np.float64),
        detail=memory["detail"],
    )


def _pack(
    memory: Memory, tensors: dict[str, torch.Tensor], known: dict[tuple[object, ...], str], prefix: str = ""
) -> dict[str, object]:
    """Move tensors into `tensors` under unique names, and return the rest as JSON values.

    `known` are the names of those that were moved, by what they refer to in memory.
    """
    packed: dict[str, object] = {}
    for name, value in memory.items():
        if isinstance(value, torch.Tensor):
            order = _order(value)
            same = (value.data_ptr(), value.dtype, value.device, tuple(value.shape), value.stride())
            key = known.setdefault(same, f"{prefix}{name}") if value.numel() else f"{prefix}{name}"
            if key not in tensors:
                tensors[key] = value.detach().permute(order).contiguous().cpu().clone()
            packed[name] = {"tensor": key, "order": order}
        elif isinstance(value, Mapping):
            packed[name] = {"group": _pack(value, tensors, known, f"{prefix}{name}.")}
        else:
            packed[name] = {"value": value}
    return packed


def _unpack(
    packed: Mapping[str, Mapping[str, Any]], tensors: Mapping[str, torch.Tensor], made: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Invert `_pack`. `made` are the tensors that were unpacked, by name: those that were one are one again."""
    memory: dict[str, Any] = {}
    for name, entry in packed.items():
        if "tensor" in entry:
            key: str = entry["tensor"]
            if key not in made:
                order: list[int] = entry["order"]
                back = [order.index(axis) for axis in range(len(order))]
                # Copied into aligned memory as during a run, because the rounding of sums can depend on alignment.
                made[key] = tensors[key].permute(back).clone()
            memory[name] = made[key]
        elif "group" in entry:
            memory[name] = _unpack(entry["group"], tensors, made)
        else:
            memory[name] = entry["value"]
    return memory


def _on(device: Device, memory: Mapping[str, Any]) -> Memory:
    """Move all tensors to a device."""
    moved: dict[str, Any] = {}
    for name, value in memory.items():
        if isinstance(value, torch.Tensor):
            moved[name] = value.to(device)
        else:
            moved[name] = _on(device, value) if isinstance(value, Mapping) else value
    return moved


def _order(tensor: torch.Tensor) -> list[int]:
    """List the axes by decreasing stride: results of networks depend on the memory layout."""
    return sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride()[axis], axis))
