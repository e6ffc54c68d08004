"""Recorded camera shakes, read from a file of the user's.

Three forms, told apart by what is in the file:

* the Python file that Camera Shakify keeps its recordings in: a table of literals, which is read and never run;
* JSON of the same form: {"NAME": {"fps": 24, "location": [[[frame, value], ...] x 3], "rotation": [... x 3]}};
* CSV with a header, a row for each frame: frame, x, y, z (metres), rx, ry, rz (degrees).

Convention: as in `deforum.timeline.shakes`; rotations are in radians but for CSV, whose columns are in degrees.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deforum.errors import UserError
from deforum.timeline.camera_path import Floats
from schedules import nearest
from schedules.quoting import cut, quote

RATE = 24.0
LARGEST = 16 * 2**20
"""Bytes; a larger file is refused."""
LONGEST = 100_000
"""Frames of 1/24 second; a longer recording is refused."""
CLOSED = 0.02
"""A recording is closed where its end differs from its start by less than this share of its range."""
CHANNELS = {"location": 0, "rotation_euler": 3, "rotation": 3}
COLUMNS = ("x", "y", "z", "rx", "ry", "rz")

Tracks = Mapping[int, Sequence[tuple[float, float]]]
"""(frame, value) pairs by axis, 0..5."""


def read_shake(path: Path, name: str) -> tuple[str, Floats]:
    """Read a recording: its name, and its poses (P, 6) at each 1/24 second of a closed period.

    `name` chooses one of several, by key or label; "None" takes the first. Raises UserError.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise UserError(f"shake_file: {path}: {error.strerror or error}") from None
    return _read(path, name, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, name: str, size: int, changed: int) -> tuple[str, Floats]:
    if size > LARGEST:
        raise UserError(f"shake_file: {path.name} has {size >> 20} MB; expected at most {LARGEST >> 20}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"shake_file: {path.name} cannot be read: {error}") from None
    found = dict(_recordings(text, path))
    if not found:
        raise UserError(f"shake_file: {path.name} has no recording; expected shake_data.py of Camera Shakify, JSON of "
                        'the form {"NAME": {"fps": 24, "location": ..., "rotation": ...}}, or CSV with the columns '
                        f"frame, {', '.join(COLUMNS)}")  # fmt: skip
    chosen = _choose(found, name, path)
    label, fps, tracks = found[chosen]
    return label, _closed(_sampled(tracks, fps, f"shake_file: {path.name}: {cut(label, 40)}"))


def _choose(found: Mapping[str, tuple[str, float, Tracks]], name: str, path: Path) -> str:
    def folded(text: str) -> str:
        return "".join(letter for letter in text.casefold() if letter.isalnum())

    wanted = folded(name)
    for key, (label, _, _) in found.items():
        if wanted in ("", "none", folded(key), folded(label)):
            return key
    if len(found) == 1 and next(iter(found)) == path.stem:
        return path.stem  # one recording without a name of its own
    meant = nearest(name, list(found))
    hint = f" (did you mean {cut(meant, 60)}?)" if meant else ""
    raise UserError(f"shake_name: {path.name} has no shake {quote(name[:60])}{hint}; it has "
                    f"{cut(', '.join(found), 300)}")  # fmt: skip


def _recordings(text: str, path: Path) -> Iterator[tuple[str, tuple[str, float, Tracks]]]:
    """Yield the recordings in a text: key, and (label, frames per second, tracks)."""
    start = text.lstrip()[:1]
    table: object = None
    if start in ("{", "["):
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            table = _literal_table(text)
    else:
        table = _literal_table(text)
        if table is None:
            tracks = _from_csv(text)
            if tracks is not None:
                yield path.stem, (path.stem, *tracks)
            return
    if isinstance(table, dict) and {"location", "rotation", "rotation_euler"} & set(table):
        table = {path.stem: table}
    if isinstance(table, dict):
        for key, value in table.items():
            known = _one(str(key), value)
            if known is not None:
                yield str(key), known


def _literal_table(text: str) -> object:
    """Return the first table of recordings that a Python file assigns, as literals; None if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for statement in tree.body:
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.Dict):
            continue
        try:
            table = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            continue
        if any(_one(str(key), each) for key, each in table.items()):
            return table
    return None


def _one(key: str, value: Any) -> tuple[str, float, Tracks] | None:
    """Read one recording of a table; None if it is none."""
    try:
        if isinstance(value, dict):
            label, fps = str(value.get("label", key)), float(value.get("fps", RATE))
            known = [(channel, value[channel]) for channel in CHANNELS if channel in value]
            given = [((channel, axis), keys) for channel, axes in known for axis, keys in enumerate(axes)]
        else:
            label, fps, channels = str(value[0]), float(value[1]), value[2]
            given = list(channels.items())
        tracks = {
            CHANNELS[channel] + int(axis): [(float(frame), float(number)) for frame, number in keys]
            for (channel, axis), keys in given
            if len(keys)
        }
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return None
    good = tracks and all(0 <= axis < 6 for axis in tracks) and 0 < fps < 10_000
    return (label, fps, tracks) if good else None


def _from_csv(text: str) -> tuple[float, Tracks] | None:
    try:
        rows = list(csv.DictReader(io.StringIO(text), skipinitialspace=True))
        names = {name.strip().casefold(): name for name in (rows[0] if rows else {})}
        if "frame" not in names or not set(COLUMNS) & set(names):
            return None
        frames = [float(row[names["frame"]]) for row in rows]
        return RATE, {
            axis: [(frame, float(row[names[name]]) * (np.pi / 180 if axis > 2 else 1))
                   for frame, row in zip(frames, rows, strict=True)]
            for axis, name in enumerate(COLUMNS) if name in names
        }  # fmt: skip
    except (ValueError, TypeError, csv.Error):
        return None


def _sampled(tracks: Tracks, fps: float, where: str) -> Floats:
    """Sample tracks at each 1/24 second from their first to their last frame, by cubic curves: (L, 6)."""
    numbers = np.array([pair for keys in tracks.values() for pair in keys])
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e9:
        raise UserError(f"{where}: a number is not finite or above 1e9")
    first, last = float(numbers[:, 0].min()), float(numbers[:, 0].max())
    count = int((last - first) * RATE / fps) + 1
    if not 4 <= count <= LONGEST:
        raise UserError(f"{where}: it lasts {count} frames of 1/24 second; expected 4..{LONGEST}")
    time = first + np.arange(count, dtype=np.float64) * (fps / RATE)
    poses = np.zeros((count, 6))
    for axis, keys in tracks.items():
        frames, values = np.array(sorted(dict(keys).items()), np.float64).T
        poses[:, axis] = _curve(frames, values, time)
    return poses


def _curve(frames: Floats, values: Floats, time: Floats) -> Floats:
    """Interpolate by cubic Hermite curves; before the first and after the last key the value stays."""
    if len(frames) < 2:
        return np.full(len(time), values[0])
    slopes = np.gradient(values, frames)
    time = time.clip(frames[0], frames[-1])
    left = np.searchsorted(frames, time, side="right").clip(1, len(frames) - 1) - 1
    width = frames[left + 1] - frames[left]
    u = (time - frames[left]) / width
    found: Floats = (
        (1 + 2 * u) * (1 - u) ** 2 * values[left]
        + u**2 * (3 - 2 * u) * values[left + 1]
        + width * u * (1 - u) * ((1 - u) * slopes[left] - u * slopes[left + 1])
    )
    return found


def _closed(poses: Floats) -> Floats:
    """Close a recording (L, 6) into a period: its end goes over into its start, unless they are the same."""
    reach = np.abs(poses - poses.mean(0)).max(0)
    if (np.abs(poses[-1] - poses[0]) <= CLOSED * reach).all():
        return poses[:-1]
    over = min(24, len(poses) // 8)
    fade = ((np.arange(over) + 0.5) / over)[:, None]
    fade = fade * fade * (3 - 2 * fade)
    period: Floats = poses[:-over].copy()
    period[:over] = poses[-over:] * (1 - fade) + poses[:over] * fade
    return period
