"""Camera shake: what is checked and said of it. The shake itself is in the motion curves of the timeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.paths import is_file
from deforum.settings.options import Settings
from deforum.timeline.shakes import KINDS, key_of, shake_of

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


def check(settings: Settings) -> Iterable[tuple[str, str]]:
    """Yield what is wrong with the name or the file of a shake."""
    if not settings.mode.goes_on or (settings.shake_file and not is_file(Path(settings.shake_file))):
        return
    try:
        shake_of(settings)
    except UserError as error:
        yield ("shake_file" if str(error).startswith("shake_file") else "shake_name"), str(error)


def find(settings: Settings) -> Path | None:
    """Return the file of the recording; None for a synthesised shake."""
    return Path(settings.shake_file) if settings.shake_file else None


def notes(settings: Settings, found: Path | None) -> Iterable[str]:
    """Say that a shake is no recording."""
    if found is None:
        kind = KINDS[key_of(settings.shake_name)]
        yield (f"shake_name: {kind.label} is synthesised to the length and the amplitudes of the recording, which does "
               "not ship; shake_file reads recordings")  # fmt: skip


def attach(stages: Stages, found: Path | None, kit: Kit) -> Stages:
    """Change nothing: the shake is in the motion of each frame."""
    return stages
