"""Parseq manifests: values of each frame that were made with Parseq, in place of schedules.

`manifest` reads one, `find` gets its text from a setting, `fields` puts its values in place of settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deforum.settings.parseq.manifest import Manifest


@dataclass(frozen=True)
class Managed:
    """What a Parseq manifest gave to the settings that hold this."""

    manifest: Manifest = field(compare=False, repr=False)
    settings: frozenset[str]
    """Names of the settings whose values are the manifest's; `dump` leaves them out, as reading gives them again."""
    keyframes: tuple[int, ...]
    """Frames of the keyframes in the manifest's document, ascending."""
    is_reversed: bool = False
    """Whether the film is meant to be played backwards."""
    file: str = ""
    """Path of the manifest, or of the one that it was taken from; "" for one that was in the settings."""
