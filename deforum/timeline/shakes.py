"""Camera shakes: how a hand-held or mounted camera sways, added to the motion of a run.

The nine names are those of the recorded shakes of Camera Shakify. The recordings do not ship: these are synthesised,
with the length, the largest displacement and the largest angle of each recording, and the kind of motion that its name
says. `shake_file` reads the recordings themselves, or others (`deforum.timeline.shake_files`).

Convention: a pose is a location in metres, x right, y up, z backward (Blender's camera), and an Euler rotation XYZ in
radians about these axes, of the shaken camera seen from the steady one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from deforum.errors import UserError
from deforum.seeds import derive_seed
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


@dataclass(frozen=True)
class Kind:
    """What a recording measures (Camera Shakify's shake_data.py, CC0), and what moves in it."""

    label: str
    period: int
    """Frames of 1/24 second."""
    location: float
    """Largest displacement along an axis, m."""
    rotation: float
    """Largest angle about an axis, radians."""
    band: tuple[float, float]
    """Hz; from the slowest to the fastest motion."""
    slope: float
    """Amplitude falls with the frequency to this power."""
    steps: float = 0.0
    """Steps per second; 0 for a camera that does not walk."""
    axes: tuple[float, float, float, float, float, float] = (1, 1, 1, 1, 1, 0.5)
    """Relative amplitude of each axis."""


KINDS: Mapping[str, Kind] = {
    "INVESTIGATION": Kind("Investigation", 371, 0.244, 0.083, (0.06, 2.5), 1.6, axes=(1, 0.5, 0.8, 0.8, 1, 0.3)),
    "THE_CLOSEUP": Kind("The Closeup", 438, 0.0095, 0.0132, (0.06, 3), 1.1),
    "THE_WEDDING": Kind("The Wedding", 161, 0.0045, 0.0195, (0.15, 2.5), 1.3, axes=(1, 0.8, 0.6, 0.8, 1, 0.4)),
    "WALK_TO_THE_STORE": Kind("Walk to the Store", 122, 0.062, 0.035, (0.2, 4), 1.2, steps=1.8,
                              axes=(0.7, 1, 0.6, 1, 0.8, 0.6)),
    "HANDYCAM_RUN": Kind("HandyCam Run", 64, 0.063, 0.121, (0.38, 6), 1.2, steps=2.7, axes=(0.8, 1, 0.6, 1, 0.9, 0.8)),
    "OUT_CAR_WINDOW": Kind("Out Car Window", 160, 0.038, 0.052, (0.15, 7), 0.9, axes=(0.5, 1, 0.3, 1, 0.6, 0.8)),
    "BIKE_ON_GRAVEL_2D": Kind("Bike On Gravel (2D)", 126, 0, 0.27, (0.3, 8), 1.1, axes=(0, 0, 0, 1, 0.7, 0)),
    "SPACESHIP_SHAKE_2D": Kind("Spaceship Shake (2D)", 143, 0, 0.03, (1, 9), 0.6, axes=(0, 0, 0, 1, 1, 0)),
    "THE_ZEEK_2D": Kind("The Zeek (2D)", 400, 0, 0.0042, (0.06, 4), 0.8, axes=(0, 0, 0, 1, 1, 0)),
}  # fmt: skip
STEPS = 0.55
"""Share of the steps in the motion of a walking camera."""


def key_of(name: str) -> str:
    """Return the key of a shake by its key or label, in any spelling; "" for None.

    Raises UserError for an unknown name.
    """
    folded = _folded(name)
    if folded in ("", "none", "null"):
        return ""
    for key, kind in KINDS.items():
        if folded in (_folded(key), _folded(kind.label)):
            return key
    meant = nearest(name, list(KINDS))
    hint = f" (did you mean {meant}?)" if meant else ""
    raise UserError(f"shake_name: there is no shake {cut(name, 60)}{hint}; expected {', '.join(KINDS)} or None")


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@cache
def synthesise(key: str) -> Shake:
    """Make the shake of a key: sums of sines whose periods divide the shake's, with phases that never change."""
    kind = KINDS[key]
    time, seconds = np.arange(kind.period), kind.period / RATE
    number = np.arange(max(math.ceil(kind.band[0] * seconds), 1), math.floor(kind.band[1] * seconds) + 1, dtype=float)
    # What goes up and down falls with every step, what goes sideways takes turns with the feet.
    step = round(kind.steps * seconds / 2)
    treads = [step, 2 * step, step, 2 * step, step, step]

    def wave(axis: int, numbers: Floats, amplitudes: Floats, purpose: str) -> Floats:
        draw = np.random.default_rng(derive_seed(axis, kind.period, purpose))
        phases = draw.uniform(0, 2 * np.pi, len(numbers))
        summed = np.sin(2 * np.pi * time[:, None] * numbers / kind.period + phases) @ amplitudes
        found: Floats = summed / np.abs(summed).max()
        return found

    poses = np.zeros((kind.period, 6))
    for axis in range(6):
        sway = wave(axis, number, (number / seconds) ** -kind.slope, f"{key} sway")
        if kind.steps:
            tread = wave(axis, treads[axis] * np.array([1.0, 2.0]), np.array([1, 0.35]), f"{key} steps")
            sway = (1 - STEPS) * sway + STEPS * tread
        poses[:, axis] = kind.axes[axis] * sway
    for part, largest in ((slice(0, 3), kind.location), (slice(3, 6), kind.rotation)):
        reach = np.abs(poses[:, part]).max()
        poses[:, part] *= largest / reach if reach else 0
    return Shake(kind.label, poses)


def shake_of(settings: Settings) -> Shake | None:
    """Return the shake that settings name; None where they name none. Raises UserError."""
    if not settings.mode.goes_on:
        return None
    if settings.shake_file:
        name, poses = read_shake(Path(settings.shake_file), settings.shake_name)
        return Shake(name, poses)
    key = key_of(settings.shake_name)
    return synthesise(key) if key else None


def times(speed: Floats, fps: float) -> Floats:
    """Return the time of each frame in the shake, in 1/24 second, at a speed (F,)."""
    steps = speed * RATE / fps
    found: Floats = np.concatenate(([0.0], np.cumsum(steps[1:])))
    return found
