"""Numbers and names as camera files are written with them."""

from __future__ import annotations

import json
from typing import Any


def digits(value: float) -> str:
    """Write a number with 12 digits, without an exponent where that is shorter, and 0 without a sign."""
    return f"{value + 0.0:.12g}" if abs(value) >= 1e-12 else "0"


def rounded(value: float) -> float:
    """Return the number that `digits` writes."""
    return float(digits(value))


def picture_name(index: int) -> str:
    """Return the name of a frame's picture, as runs write it."""
    return f"{index:09d}.png"


def as_json(root: Any) -> bytes:
    """Write JSON, with the lists of numbers on one line each."""
    return (_text(root, "") + "\n").encode("utf-8")


def _text(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        parts = [f"{inner}{json.dumps(key)}: {_text(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return "[\n" + ",\n".join(f"{inner}{_text(part, inner)}" for part in value) + f"\n{indent}]"
    return json.dumps(value)
