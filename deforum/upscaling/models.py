"""The table of upscalers, and where their weights are; without torch."""

from __future__ import annotations


def settle_upscaler(name: str) -> str:
    """Return the upscaler that a name chooses."""
    return "lanczos" if name == "auto" else name


def missing_upscaler(name: str) -> str:
    """Return the message for an upscaler whose weights are not here; "" if they are."""
    return "" if name == "lanczos" else f"upscaler {name}: not here"
