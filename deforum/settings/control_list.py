"""The list `control` of a settings file: control units with short names, as entries cn_1_model and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from deforum.errors import Problem
from deforum.settings import document
from deforum.settings.document import Node, Place, Scalar
from deforum.settings.faults import Wrong
from schedules import nearest
from schedules.quoting import quote

CONTROL_LIST = "control"
"""The name of the list."""

NAMES: Mapping[str, str] = {
    # in the list -> of a unit
    "model": "model",
    "image": "vid_path",
    "mask": "mask_vid_path",
    "preprocessor": "module",
    "weight": "weight",
    "start": "guidance_start",
    "end": "guidance_end",
    "priority": "control_mode",
    "fit": "resize_mode",
    "resolution": "processor_res",
    "low": "threshold_a",
    "high": "threshold_b",
    "value": "threshold_a",
    "kind": "control_type",
    "enabled": "enabled",
}
SOURCES = ("init", "previous")
"""Values of `image` that name no file: what is about to be painted over, and the frame before."""
CHOICES: Mapping[str, Mapping[str, str]] = {
    "priority": {
        "balanced": "Balanced",
        "prompt": "My prompt is more important",
        "control": "ControlNet is more important",
    },
    "fit": {"fill": "Inner Fit (Scale to Fit)", "fit": "Outer Fit (Shrink to Fit)", "stretch": "Just Resize"},
    "resolution": {"auto": "null"},
}
"""Short values in the list; those of units are read too."""


def unfold(node: Node, place: Place) -> Iterator[tuple[str, Place, Node]]:
    """Yield (setting, place of its name, value) of each unit in the list, numbered from 1. Raises Wrong."""
    if isinstance(node, Scalar) and node.is_null:
        return
    if isinstance(node, document.Mapping):  # a single unit
        node = document.Sequence((node,), node.place)
    if not isinstance(node, document.Sequence):
        raise Wrong(Problem(f"{CONTROL_LIST}: expected a list of units, such as - model: embedded", str(node.place)))
    for number, unit in enumerate(node.items, 1):
        if not isinstance(unit, document.Mapping):
            what = "expected a unit with its settings, such as - model: embedded, with image: a.mp4 below it"
            raise Wrong(Problem(f"{CONTROL_LIST}: {what}", str(unit.place)))
        yield from _unit(number, unit, place)


def _unit(number: int, unit: document.Mapping, place: Place) -> Iterator[tuple[str, Place, Node]]:
    prefix = f"cn_{number}_"
    written = {key.text for key, _ in unit.entries}
    if "enabled" not in written:
        yield f"{prefix}enabled", unit.place, Scalar("true", unit.place)
    if "model" not in written:
        raise Wrong(Problem(f"{CONTROL_LIST}: unit {number} has no model", str(unit.place)))
    for key, value in unit.entries:
        name = NAMES.get(key.text)
        if name is None:
            meant = nearest(key.text, NAMES)
            hint = f"; did you mean {meant}?" if meant else f"; expected {', '.join(NAMES)}"
            raise Wrong(Problem(f"{CONTROL_LIST}: a unit has no {quote(key.text)}{hint}", str(key.place)))
        if key.text == "image" and isinstance(value, Scalar) and value.text.strip() in SOURCES:
            name = "source"
        if isinstance(value, Scalar):
            short = CHOICES.get(key.text, {}).get(value.text.strip().casefold())
            value = value if short is None else replace(value, text=short)
        yield prefix + name, key.place, value
