"""Parseq manifests as Parseq writes them, from the curves of their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Curves = Mapping[str, Sequence[float]]


def rendered(
    curves: Curves, prompts: Sequence[str] = (), *, is_reversed: bool = False, **options: Any
) -> dict[str, Any]:
    """Make a manifest of the curves of some fields, one value a frame, with their changes and percentages.

    `options` are those of the document, such as output_fps=24. Additive changes, reciprocals where it is reversed: as
    sd-parseq does it.
    """
    count = len(next(iter(curves.values()))) if curves else len(prompts)
    frames = []
    for index in range(count):
        record: dict[str, Any] = {"frame": index}
        record |= {name: curve[index] for name, curve in curves.items()}
        record |= {"deforum_prompt": prompts[index]} if prompts else {}
        if "seed" in curves:
            seed = curves["seed"][index]
            record |= {"subseed": -(-seed // 1), "subseed_strength": seed % 1}
        for name, curve in curves.items():
            still = 1 if name == "zoom" else 0
            record[f"{name}_delta"] = curve[index] - curve[index - 1] + still if index else curve[0]
            most = max(map(abs, curve))
            record[f"{name}_pc"] = curve[index] / most * 100 if most else curve[index]
        frames.append(record)
    if is_reversed:
        for record in frames:
            for name in curves:
                delta = record[f"{name}_delta"]
                record[f"{name}_delta"] = (1 / delta if delta else 0) if name == "zoom" else -delta
        frames = [record | {"frame": index} for index, record in enumerate(reversed(frames))]
    return {
        "meta": {"generated_by": "sd_parseq", "version": "0.1.112"},
        "prompts": {"format": "v2", "enabled": bool(prompts)},
        "options": {"bpm": 140, "output_fps": 20, "cadence": 1} | options,
        "managedFields": list(curves),
        "keyframes": [{"frame": 0}, {"frame": count - 1}],
        "reverseRender": is_reversed,
        "rendered_frames": frames,
        "rendered_frames_meta": {},
    }


def text_of(curves: Curves, prompts: Sequence[str] = (), **options: Any) -> str:
    """Make a manifest as text, see `rendered`."""
    return json.dumps(rendered(curves, prompts, **options))
