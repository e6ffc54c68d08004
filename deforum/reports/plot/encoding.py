"""A plot as JSON: what pages draw, see assets/plot.js.

Curves are base64, so that 40 curves over 10,000 frames stay below 3 MB.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deforum.reports.plot.texts import Texts
from deforum.reports.plot.timeline import Curve, Mark, Plot, Soundtrack, Track
from schedules.quoting import cut

DIGITS = 6
"""Significant digits of fractions, as in the tables of `values`: float32 keeps these many."""
LARGEST = 2**24
"""Whole numbers up to this one are exact in float32."""

LONGEST_SOURCE = 4000
"""Letters of a schedule that are shown at most."""

Json = dict[str, object]


def as_json(plot: Plot) -> Json:
    """Return a plot as JSON: names as in `Plot`.

    Curves are as by `encode`, keyframes as by `_marks`, texts lists of [start, kept, middle, tail], see `texts.Change`.
    """
    prompts = plot.prompts
    return {
        "title": plot.title,
        "frames": plot.num_frames,
        "fps": plot.fps,
        "size": plot.size,
        "mode": plot.mode,
        "seed": plot.seed,
        "seed_drawn": plot.is_seed_drawn,
        "cadence": plot.cadence,
        "first": plot.first,
        "painted": plot.painted,
        "seeds": plot.seeds,
        "prompts": {
            "bands": [[band.first, band.positive, band.negative] for band in prompts.bands],
            "blend": prompts.blend,
            "positive": _texts(prompts.positive),
            "negative": _texts(prompts.negative),
        },
        "rows": [_row(row) for row in plot.rows],
        "steady": [[each.name, each.value, each.unit] for each in plot.steady],
        "idle": plot.idle,
        "sound": None if plot.sound is None else _sound(plot.sound),
    }


def _row(row: Curve | Track) -> Json:
    common: Json = {"name": row.name, "section": row.section, "help": row.help}
    if isinstance(row, Track):
        return {**common, "texts": _texts(row.texts)}
    source = cut(row.source, LONGEST_SOURCE)
    written: Json = {"unit": row.unit, "source": source, "idle": row.idle, "marks": _marks(row.marks)}
    return {**common, **written, "values": encode(row.values)}


def _marks(marks: Sequence[Mark]) -> list[list[int]]:
    """Return keyframes as rows of equal distances: [first frame, distance, number of them, 1 for expressions]."""
    rows: list[list[int]] = []
    for mark in marks:
        kind = int(mark.is_expression)
        if rows and rows[-1][3] == kind:
            first, distance, count, _ = rows[-1]
            if count == 1 or mark.frame == first + distance * count:
                rows[-1] = [first, mark.frame - first if count == 1 else distance, count + 1, kind]
                continue
        rows.append([mark.frame, 1, 1, kind])
    return rows


def _texts(texts: Texts) -> list[tuple[int, int, str, int]]:
    return [
        (start, change.kept, change.middle, change.tail)
        for start, change in zip(texts.starts, texts.changes, strict=True)
    ]


def _sound(sound: Soundtrack) -> Json:
    return {
        "name": sound.name,
        "bpm": sound.bpm,
        "beats": [round(beat, 3) for beat in sound.beats],
        "bars": [round(bar, 3) for bar in sound.bars],
        "sections": [[round(first, 3), name] for first, name in sound.sections],
        "low": None if np.array_equal(sound.low, -sound.high) else encode(np.round(sound.low, 3)),  # as high, below 0
        "high": encode(np.round(sound.high, 3)),
        "first": sound.first,
        "last": sound.last,
    }


def encode(values: NDArray[np.float64]) -> str:
    """Encode a curve (F,) of finite numbers as base64 of little-endian floats, behind "f4:" or "f8:" for their width.

    Fractions have `DIGITS` significant digits, whole numbers all of theirs.
    """
    whole = values == np.trunc(values)
    rounded = np.where(whole, values, significant(values))
    kind = "f8" if (np.abs(rounded[whole]) > LARGEST).any() else "f4"
    return f"{kind}:{base64.b64encode(rounded.astype('<' + kind).tobytes()).decode('ascii')}"


def significant(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round numbers to `DIGITS` significant digits."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    factor = 10.0 ** (DIGITS - 1 - exponent)
    return np.asarray(np.where(np.isfinite(factor), np.round(values * factor) / factor, 0.0))
