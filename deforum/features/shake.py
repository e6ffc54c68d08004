"""Camera shake: what is checked and said of it. The shake itself is in the motion curves of the timeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.paths import is_file
from deforum.settings.options import Settings
from deforum.timeline.shakes import shake_of

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
    """Return the file of the recording; None for one that ships."""
    return Path(settings.shake_file) if settings.shake_file else None


def attach(stages: Stages, found: Path | None, kit: Kit) -> Stages:
    """Change nothing: the shake is in the motion of each frame."""
    return stages
