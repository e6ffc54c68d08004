"""Camera shakes: how a hand-held or mounted camera sways, added to the motion of a run.

The nine are the recordings of Camera Shakify, whose data is in the public domain (CC0); they ship in
`embedded/shakes/recordings.json`, to 1e-5 m and radians, most of them at every second frame. `shake_file` reads others
(`deforum.timeline.shake_files`).

Convention: a pose is a location in metres, x right, y up, z backward (Blender's camera), and an Euler rotation XYZ in
radians about these axes, of the shaken camera seen from the steady one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deforum.embedded import SHAKES
from deforum.errors import UserError
from deforum.settings.options import Settings
from deforum.timeline.camera_path import Floats
from deforum.timeline.shake_files import read_shake
from schedules import nearest
from schedules.quoting import cut

RATE = 24.0
"""Frames per second in which shakes are counted."""


@dataclass(frozen=True)
class Shake:
    """A periodic shake."""

    label: str
    poses: Floats
    """(P, 6): location and rotation at each 1/24 second of its period."""

    def at(self, time: Floats) -> Floats:
        """Return the poses (F, 6) at times (F,) in 1/24 second, by the cubic spline through the poses."""
        count = len(self.poses)
        angle = 2 * np.pi * np.fft.rfftfreq(count)
        weights = np.fft.irfft(np.fft.rfft(self.poses, axis=0) / ((2 + np.cos(angle)) / 3)[:, None], count, axis=0)
        first = np.floor(time).astype(int)
        u = (time - first)[:, None]
        basis = ((1 - u) ** 3 / 6, (3 * u**3 - 6 * u**2 + 4) / 6, (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6, u**3 / 6)
        parts = [share * weights[(first + i - 1) % count] for i, share in enumerate(basis)]
        found: Floats = np.sum(parts, axis=0)
        return found


LABELS: Mapping[str, str] = {
    "INVESTIGATION": "Investigation",
    "THE_CLOSEUP": "The Closeup",
    "THE_WEDDING": "The Wedding",
    "WALK_TO_THE_STORE": "Walk to the Store",
    "HANDYCAM_RUN": "HandyCam Run",
    "OUT_CAR_WINDOW": "Out Car Window",
    "BIKE_ON_GRAVEL_2D": "Bike On Gravel (2D)",
    "SPACESHIP_SHAKE_2D": "Spaceship Shake (2D)",
    "THE_ZEEK_2D": "The Zeek (2D)",
}
"""The recordings that ship, by key."""


def key_of(name: str) -> str:
    """Return the key of a shake by its key or label, in any spelling; "" for None.

    Raises UserError for an unknown name.
    """
    folded = _folded(name)
    if folded in ("", "none", "null"):
        return ""
    for key, label in LABELS.items():
        if folded in (_folded(key), _folded(label)):
            return key
    meant = nearest(name, list(LABELS))
    hint = f" (did you mean {meant}?)" if meant else ""
    raise UserError(f"shake_name: there is no shake {cut(name, 60)}{hint}; expected {', '.join(LABELS)} or None")


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def recorded(key: str) -> Shake:
    """Return a recording that ships."""
    return Shake(*read_shake(SHAKES, key))


def shake_of(settings: Settings) -> Shake | None:
    """Return the shake that settings name; None where they name none. Raises UserError."""
    if not settings.mode.goes_on:
        return None
    if settings.shake_file:
        return Shake(*read_shake(Path(settings.shake_file), settings.shake_name))
    key = key_of(settings.shake_name)
    return recorded(key) if key else None


def times(speed: Floats, fps: float) -> Floats:
    """Return the time of each frame in the shake, in 1/24 second, at a speed (F,)."""
    steps = speed * RATE / fps
    found: Floats = np.concatenate(([0.0], np.cumsum(steps[1:])))
    return found
