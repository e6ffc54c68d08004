"""Rendering Parseq documents that have no rendered frames: their keyframes, expressions and prompts at every frame.

What Parseq itself would render, but for its random functions, which are refused. Source: how sd-parseq 0.1.112 renders.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from deforum.errors import UserError
from deforum.limits import FRAMES
from deforum.settings.parseq.language import Value, Wrong, number, parse, written
from schedules.quoting import LONGEST_NAME, quote

DEFAULTS: Mapping[str, float] = {
    "seed": -1, "scale": 7, "noise": 0.08, "noise_multiplier": 1.05, "strength": 0.6, "clipskip": 0, "contrast": 1,
    "prompt_weight_1": 1, "prompt_weight_8": 1, "zoom": 1, "transform_center_x": 0.5, "transform_center_y": 0.5,
    "perspective_flip_fv": 50, "translation_z": 10, "fov": 40, "near": 200, "far": 10000, "antiblur_kernel": 5,
    "antiblur_sigma": 1, "antiblur_amount": 0.2, "hybrid_comp_alpha": 1, "hybrid_comp_mask_blend_alpha": 0.5,
    "hybrid_comp_mask_contrast": 1, "hybrid_comp_mask_auto_contrast_cutoff_high": 100, "hybrid_flow_factor": 1,
    "cadence_flow_factor": 1, "redo_flow_factor": 1, "guided_blendFactorMax": 0.35, "guided_blendFactorSlope": 0.25,
    "guided_tweening_frames": 20, "guided_color_correction_factor": 0.075,
    **{f"cn_{unit}_{name}": 1 for unit in range(1, 6) for name in ("weight", "guidance_end")},
    **dict.fromkeys((
        "angle", "translation_x", "translation_y", "rotation_3d_x", "rotation_3d_y", "rotation_3d_z",
        "perspective_flip_theta", "perspective_flip_phi", "perspective_flip_gamma", "antiblur_threshold",
        "hybrid_comp_mask_auto_contrast_cutoff_low", *(f"prompt_weight_{number}" for number in range(2, 8)),
        *(f"cn_{unit}_guidance_start" for unit in range(1, 6)),
    ), 0),
}  # fmt: skip
"""Parseq's fields and their default values; those of other names are 0."""
MOST_WORK = 4_000_000
"""Letters of expressions that are evaluated, over all frames and fields."""
MOST_CONTROL_POINTS = 60
"""Of a polynomial."""


@dataclass(frozen=True)
class Rendered:
    """What a document has at its frames 0 to num_frames - 1: the records of a manifest, by field."""

    num_frames: int
    numbers: Mapping[str, Sequence[float]]
    texts: Mapping[str, Sequence[str]]


def render(document: Mapping[str, Any]) -> Rendered:
    """Render a document. Raises UserError, which names field and frame, for what cannot be rendered here."""
    keyframes = sorted(_keyframes(document.get("keyframes")), key=lambda each: each[0])
    if len(keyframes) < 2:
        raise UserError("a document needs two keyframes to be rendered")
    if keyframes[0][0] != 0:
        raise UserError(f"its first keyframe is at frame {keyframes[0][0]}; expected 0")
    count = keyframes[-1][0] + 1
    if count > FRAMES.most:
        raise UserError(f"its last keyframe is at frame {count - 1}; expected at most {FRAMES}")
    managed = [name for name in _list(document.get("managedFields")) if isinstance(name, str)] or list(DEFAULTS)
    timing = Timing.of(_dict(document.get("options")), count - 1, _series(document.get("timeSeries")))
    tracks = [Track(name, keyframes, timing) for name in managed]
    prompts = _Prompts(_dict_or_list(document.get("prompts")), timing)
    if sum(track.work for track in tracks) + prompts.work > MOST_WORK:
        raise UserError(f"its {count} frames are too many to be rendered here; render it in Parseq")
    values = {track.name: track.values() for track in tracks}
    numbers: dict[str, Sequence[float]] = dict(values)
    if "seed" in values:
        numbers["subseed"] = [float(math.ceil(seed)) for seed in values["seed"]]
        numbers["subseed_strength"] = [math.fmod(seed, 1) for seed in values["seed"]]
    for name, curve in values.items():
        still = 1 if name == "zoom" else 0
        changes = (now - before + still for before, now in pairwise(curve))
        numbers[f"{name}_delta"] = [curve[0], *changes]
    texts = {"deforum_prompt": prompts.texts(values, count)} if prompts.is_on else {}
    if document.get("reverseRender") is True:
        numbers = {name: list(reversed(list(_turned(name, curve)))) for name, curve in numbers.items()}
        texts = {name: list(reversed(each)) for name, each in texts.items()}
    return Rendered(count, numbers, texts)


def _turned(name: str, curve: Sequence[float]) -> Iterator[float]:
    """Yield the values of a field for a film that is played backwards."""
    for value in curve:
        if name == "zoom_delta":
            yield 1 / value if value else 0.0
        else:
            yield -value if name.endswith("_delta") else value


# --- fields -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """What all fields share."""

    fps: float
    bpm: float
    cadence: float
    last: int
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    """Time series by alias: frames, ascending, and values."""

    @staticmethod
    def of(
        options: Mapping[str, Any], last: int, series: Mapping[str, tuple[list[float], list[float], bool]]
    ) -> Timing:
        def option(name: str, usual: float) -> float:
            value = options.get(name)
            return value if isinstance(value, float) and 0 < value < 1e6 else usual

        fps = option("output_fps", 20)
        in_frames = {
            alias: ([at * fps / 1000 for at in times] if in_ms else times, values)
            for alias, (times, values, in_ms) in series.items()
        }
        return Timing(fps, option("bpm", 140), option("cadence", 1), last, in_frames)

    def variable(self, name: str, frame: int) -> Value | None:
        """Return a variable that does not depend on a field."""
        beat = frame * self.bpm / self.fps / 60
        known: dict[str, float] = {
            "f": frame, "b": beat, "wb": math.floor(beat), "s": frame / self.fps, "fps": self.fps, "bpm": self.bpm,
            "cadence": self.cadence, "final_frame": self.last, "last_frame": self.last,
        }  # fmt: skip
        if name in known:
            return float(known[name])
        if name in self.series:
            times, values = self.series[name]
            return values[max(bisect_right(times, frame) - 1, 0)] if times else 0.0
        return None


@dataclass
class Track:
    """One field over time; also the scope of its expressions."""

    name: str
    keyframes: Sequence[tuple[int, Mapping[str, Any]]]
    timing: Timing
    frame: int = 0
    before: float = 0.0
    """The value of the frame before."""
    points: list[tuple[int, float]] = field(init=False)
    """Control points: frames and values, with those at both ends."""
    ways: list[tuple[int, str]] = field(init=False)
    """Expressions, from their frames on."""

    def __post_init__(self) -> None:
        given = {at: each[self.name] for at, each in self.keyframes if _is_number(each.get(self.name))}
        usual = DEFAULTS.get(self.name, 0.0)
        inside = sorted(given.items()) or [(0, float(usual))]
        first, last = self.keyframes[0][0], self.keyframes[-1][0]
        ends = {first: inside[0][1], last: inside[-1][1]}
        self.points = sorted((ends | dict(inside)).items())
        self.ways = [(at, each[f"{self.name}_i"]) for at, each in self.keyframes
                     if isinstance(each.get(f"{self.name}_i"), str) and each[f"{self.name}_i"].strip()]  # fmt: skip
        if not self.ways or self.ways[0][0] > first:
            self.ways.insert(0, (first, "L"))
        self.fps, self.bpm = self.timing.fps, self.timing.bpm

    @property
    def work(self) -> int:
        """Letters of the expressions of all frames."""
        ends = [*(at for at, _ in self.ways[1:]), self.timing.last + 1]
        return sum((end - at) * (len(text) + 4) for (at, text), end in zip(self.ways, ends, strict=True))

    def values(self) -> list[float]:
        """Evaluate the field at every frame. Raises UserError."""
        found: list[float] = []
        starts = [at for at, _ in self.ways]
        for frame in range(self.timing.last + 1):
            self.frame = frame
            text = self.ways[bisect_right(starts, self.frame) - 1][1]
            try:
                value = number(parse(text)(self))
                if not math.isfinite(value):
                    raise Wrong(f"it is {value}")
            except Wrong as wrong:
                named = quote(self.name, LONGEST_NAME)
                raise UserError(f"{named}, frame {self.frame}: {quote(text, 60)}: {wrong}") from None
            found.append(value)
            self.before = value
        return found

    def variable(self, name: str) -> Value | None:
        if name in self._own:
            return self._own[name]()
        return self.timing.variable(name, self.frame)

    @cached_property
    def _own(self) -> Mapping[str, Callable[[], float]]:
        def active() -> tuple[int, float]:
            return self.points[max(bisect_right(self.frames, self.frame) - 1, 0)]

        def following() -> tuple[int, float]:
            return self.points[min(bisect_right(self.frames, self.frame), len(self.points) - 1)]

        return {
            "L": self._linear, "C": self._spline, "P": self._polynomial, "S": lambda: active()[1],
            "k": lambda: float(self.frame - active()[0]),
            **dict.fromkeys(("active_keyframe", "prev_keyframe"), lambda: float(active()[0])),
            **dict.fromkeys(("active_keyframe_value", "prev_keyframe_value"), lambda: active()[1]),
            "next_keyframe": lambda: float(following()[0]), "next_keyframe_value": lambda: following()[1],
            "prev_computed_value": lambda: self.before,
        }  # fmt: skip

    @cached_property
    def frames(self) -> list[int]:
        return [at for at, _ in self.points]

    def _linear(self) -> float:
        right = bisect_right(self.frames, self.frame)
        left = max(right - 1, 0)
        if right == len(self.points):
            return self.points[left][1]
        (x0, y0), (x1, y1) = self.points[left], self.points[right]
        return y0 + (y1 - y0) * (self.frame - x0) / (x1 - x0)

    @cached_property
    def _bends(self) -> list[float]:
        """Second derivatives of the natural cubic spline at the control points."""
        import numpy as np

        x, y = (np.asarray(each, np.float64) for each in zip(*self.points, strict=True))
        count = len(x)
        if count < 3:
            return [0.0] * count
        steps, slopes = np.diff(x), np.diff(y) / np.diff(x)
        # Thomas' algorithm for the natural spline's tridiagonal system.
        diagonal, right = 2 * (steps[:-1] + steps[1:]), 6 * np.diff(slopes)
        for row in range(1, count - 2):
            share = steps[row] / diagonal[row - 1]
            diagonal[row] -= share * steps[row]
            right[row] -= share * right[row - 1]
        bends = np.zeros(count)
        for row in range(count - 3, -1, -1):
            bends[row + 1] = (right[row] - steps[row + 1] * bends[row + 2]) / diagonal[row]
        return [float(bend) for bend in bends]

    def _spline(self) -> float:
        right = min(max(bisect_right(self.frames, self.frame), 1), len(self.points) - 1)
        (x0, y0), (x1, y1) = self.points[right - 1], self.points[right]
        m0, m1, step = self._bends[right - 1], self._bends[right], x1 - x0
        a, b = (x1 - self.frame) / step, (self.frame - x0) / step
        return a * y0 + b * y1 + ((a**3 - a) * m0 + (b**3 - b) * m1) * step * step / 6

    def _polynomial(self) -> float:
        if len(self.points) > MOST_CONTROL_POINTS:
            raise Wrong(f"P goes through {len(self.points)} points; expected at most {MOST_CONTROL_POINTS}")
        whole = 0.0
        for x, y in self.points:
            for other in self.frames:
                if other != x:
                    y *= (self.frame - other) / (x - other)
            whole += y
        return whole


# --- prompts ----------------------------------------------------------------------------------------------------------

_EXPRESSION = re.compile(r"\$\{([^}]*)\}")


@dataclass
class _Scope:
    """The scope of expressions in prompts: all fields by name."""

    timing: Timing
    values: Mapping[str, Sequence[float]]
    frame: int = 0

    def __post_init__(self) -> None:
        self.fps, self.bpm = self.timing.fps, self.timing.bpm

    def variable(self, name: str) -> Value | None:
        if name in self.values:
            return self.values[name][self.frame]
        return self.timing.variable(name, self.frame)


@dataclass
class _Prompts:
    """The prompts of a document, in any of the forms that there have been."""

    source: Mapping[str, Any] | list[Any]
    timing: Timing

    @cached_property
    def prompts(self) -> list[Mapping[str, Any]]:
        if isinstance(self.source, list):
            return [each for each in self.source if isinstance(each, dict)]
        if "promptList" in self.source:
            return [each for each in _list(self.source["promptList"]) if isinstance(each, dict)]
        return [{**self.source, "allFrames": True}] if "positive" in self.source or "negative" in self.source else []

    @cached_property
    def common(self) -> Mapping[str, Any]:
        return {} if isinstance(self.source, list) else _dict(self.source.get("commonPrompt"))

    @property
    def is_on(self) -> bool:
        switched_off = isinstance(self.source, dict) and self.source.get("enabled") is False
        return bool(self.prompts) and not switched_off

    @property
    def work(self) -> int:
        texts = [_string(each.get(side)) for each in self.prompts for side in ("positive", "negative")]
        letters = sum(len(found[1]) + 4 for text in texts for found in _EXPRESSION.finditer(text))
        return (self.timing.last + 1) * (letters + len(self.prompts)) if self.is_on else 0

    def texts(self, values: Mapping[str, Sequence[float]], count: int) -> list[str]:
        scope = _Scope(self.timing, values)
        found = []
        for frame in range(count):
            scope.frame = frame
            try:
                found.append(self._text(scope))
            except Wrong as wrong:
                raise UserError(f"prompts, frame {scope.frame}: {wrong}") from None
        return found

    def _text(self, scope: _Scope) -> str:
        active = [each for each in self.prompts if each.get("allFrames") is True or _holds(each, scope.frame)]
        parts = [
            (*(self._filled(each, side, scope) for side in ("positive", "negative")), self._weight(each, scope))
            for each in active
        ]
        if len(parts) > 1:
            positive = " AND ".join(f"{text}: {weight}" for text, _, weight in parts)
            negative = " AND ".join(f"{text}: {weight}" for _, text, weight in parts if text)
        else:
            positive, negative = (parts[0][:2]) if parts else ("", "")
        return f"{positive} --neg {negative}" if negative else positive

    def _filled(self, prompt: Mapping[str, Any], side: str, scope: _Scope) -> str:
        text, common = _string(prompt.get(side)).strip(), _string(self.common.get(side)).strip()
        place = self.source.get("commonPromptPos", "append") if isinstance(self.source, dict) else "append"
        if place == "template":
            text = common.replace("[prompt]", text) if common else text
        elif common:
            text = f"{common} {text}".strip() if place == "prepend" else f"{text} {common}".strip()

        def value(found: re.Match[str]) -> str:
            result = parse(found[1])(scope)
            return result if isinstance(result, str) else f"{result:.5f}"

        return " ".join(_EXPRESSION.sub(value, text).split("\n"))

    def _weight(self, prompt: Mapping[str, Any], scope: _Scope) -> str:
        overlap = _dict(prompt.get("overlap"))
        kind = overlap.get("type", "none")
        if kind == "custom":
            return written(parse(_string(overlap.get("custom")) or "1")(scope))
        if kind != "linear":
            return "1"
        first, last = _at(prompt.get("from"), 0), _at(prompt.get("to"), self.timing.last)
        fade_in, fade_out = _at(overlap.get("inFrames"), 0), _at(overlap.get("outFrames"), 0)
        weight = 1.0
        if fade_in and scope.frame < first + fade_in:
            weight = (scope.frame - first) / fade_in
        if fade_out and scope.frame > last - fade_out:
            weight = min(weight, (last - scope.frame) / fade_out)
        return f"{weight:.4g}"


def _holds(prompt: Mapping[str, Any], frame: int) -> bool:
    return _at(prompt.get("from"), 0) <= frame <= _at(prompt.get("to"), frame)


# --- forms ------------------------------------------------------------------------------------------------------------


def _keyframes(given: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for each in _list(given):
        if isinstance(each, dict) and _is_number(each.get("frame")):
            frame = each["frame"]
            if not frame.is_integer() or abs(frame) > FRAMES.most:
                raise UserError(f"a keyframe is at frame {frame:g}; expected a whole number up to {FRAMES}")
            yield int(frame), each


def _series(given: object) -> dict[str, tuple[list[float], list[float], bool]]:
    found: dict[str, tuple[list[float], list[float], bool]] = {}
    for each in _list(given):
        series = _dict(_dict(each).get("ts"))
        points = [(point["x"], point["y"]) for point in _list(series.get("data"))
                  if isinstance(point, dict) and _is_number(point.get("x")) and _is_number(point.get("y"))]  # fmt: skip
        points.sort()
        alias = _dict(each).get("alias")
        if isinstance(alias, str):
            found[alias] = [x for x, _ in points], [y for _, y in points], series.get("timestampType") == 1
    return found


def _at(value: object, usual: int) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else float(usual)


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict_or_list(value: object) -> Mapping[str, Any] | list[Any]:
    return value if isinstance(value, dict | list) else {}
