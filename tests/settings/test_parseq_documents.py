"""Parseq documents that were not rendered: the expression language, and what Parseq itself rendered."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deforum.errors import UserError
from deforum.settings.parseq.document import Rendered, render
from deforum.settings.parseq.language import Value, Wrong, bezier, parse
from deforum.settings.parseq.manifest import read_manifest

REAL = Path(os.environ.get("DEFORUM_REAL") or Path(__file__).parents[3] / "shared" / "real")
PUBLIC = REAL / "settings" / "parseq-manifest.json"


@pytest.mark.skipif(not PUBLIC.is_file(), reason=f"{PUBLIC} does not exist; DEFORUM_REAL names its folder")
def test_what_parseq_rendered_comes_out_again() -> None:
    """Its values are those at 20 frames a second; its options were changed later."""
    whole = json.loads(PUBLIC.read_text(encoding="utf-8"))
    frames = whole.pop("rendered_frames")
    whole["options"]["output_fps"] = 20
    found = read_manifest(json.dumps(whole), "m")
    for name in ("seed", "angle", "subseed", "subseed_strength", "seed_delta", "angle_delta"):
        assert found.numbers[name].tolist() == [frame[name] for frame in frames], name
    assert found.texts["deforum_prompt"] == tuple(frame["deforum_prompt"] for frame in frames)
    assert "11 frames were rendered here" in found.notes[0] and found.keyframes == (0, 10)


@dataclass
class At:
    """A frame of a field."""

    values: Mapping[str, Value] = field(default_factory=dict)
    fps: float = 20
    bpm: float = 120

    def variable(self, name: str) -> Value | None:
        return self.values.get(name)


HERE = At({"f": 5.0, "L": 0.5, "active_keyframe": 2.0, "active_keyframe_value": 10.0, "next_keyframe": 12.0,
           "next_keyframe_value": 20.0, "cadence": 5.0})  # fmt: skip

VALUES: list[tuple[str, Value]] = [
    ("10-3-2", 9), ("8/4/2", 4), ("2*3^2", 18), ("2^3*2", 64), ("-2^2", 4), ("1 + 2*3", 7), ("7 % 4", 3),
    ("-7 % 4", -3), ("1 < 2 && 3", 0), ("0.5 and 0.2", 1), ("0 or -1", 0), ("1 == 1 != 1", 0), ("2 >= 2", 1),
    ("\"a\" : 1.5", "(a:1.5)"), ("\"a\" + 2", "a2"), ("true + false", 1), ("2f + 1s + 1b", 32), ("1.5b", 15),
    ("1 # one\n+ 2", 3), ("if f > 4 L else 9", 0.5), ("if f > 9 L", 0), ("if (f<4) 1 else if f==5 2 else 3", 2),
    ("PI", math.pi), ("sin(20)", 1), ("sin(p=20, a=3, c=1)", 4), ("sin(p=20, phase=5)", 0), ("sin(p=1, li=1)", 0),
    ("tri(p=20, a=2)", 2), ("saw(20)", 0.25), ("sq(8, 0, 3)", -3), ("pulse(p=20, pw=6)", 1), ("pulse(20)", 0),
    ("min(3, 2)+max(3, 2)", 5), ("round(2.5)+round(-2.5)", 1), ("floor(2.567, 2)", 2.56), ("ceil(v=2.51, p=1)", 2.6),
    ("abs(-3)", 3), ("_sqrt(9)", 3), ("_cbrt(27)", 3), ("_sign(-4)", -1), ("f2s(10)", 0.5), ("s2f(2)", 40),
    ("b2f(3)", 30), ("f2b(30)", 3), ("is_generation(5)", 1), ("is_generation(6)", 0), ("slide(to=0, in=6)", 5),
    ("slide(0, 1, 10)", 0.3), ("slide(in=2)", 20), ("bez(0, 0, 1, 1)", 13), ("bez(c=\"linear\", d=100)", 40),
    ("bez(0.5, 0.5, 0.5, 0.5, 0, 1, 6)", 0.5), ("bez(curve=\"ease-in-out\", from=0, to=1, span=6)", 0.5),
    ("bez(c=\"easeInOutSine\", from=0, to=2, span=6)", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
def test_the_language(text: str, value: Value) -> None:
    found = parse(text)(HERE)
    assert found == (value if isinstance(value, str) else pytest.approx(value, abs=1e-9))


def test_a_bezier_curve_is_that_of_css() -> None:
    """Points of ease, computed from its definition at the parameter s."""
    for s in np.linspace(0.05, 0.95, 7):
        x, y = (3 * a * s * (1 - s) ** 2 + 3 * b * s * s * (1 - s) + s**3 for a, b in ((0.25, 0.25), (0.1, 1)))
        assert bezier(0.25, 0.1, 0.25, 1, x) == pytest.approx(y, abs=1e-12)


REFUSED = [
    ("1/0", "it divides by 0"), ("rand()", "drawn by Parseq"), ("smrand(sm=3)", "drawn by Parseq"),
    ("foo(1)", "no function"), ("foo", "no variable"), ("1 +", "a value is missing at its end"), ("(1", "expected )"),
    ("1 2", "an operator is missing"), ("sin()", "sin() takes 1 to 6 values"),
    ("sin(p=1, 2)", "by name or in order, not both"), ("sin(x=1)", "has no 'x'"), ("sin(a=1)", "p is missing"),
    ("sin(0)", "its period is 0"), ("\"a\" * 2", "expected a number"), ("1 & 2", "no meaning"),
    ("bez(c=\"wild\")", "no curve"), ("bez(2, 0, 1, 1)", "within 0 and 1"), ("_log(0)", "no finite value"),
    ("2^9999", "no finite value"), ("max(1)", "max() takes 2 to 2 values"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_has_no_value(text: str, says: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse(text)(HERE)
    assert says in str(caught.value)


# --- documents --------------------------------------------------------------------------------------------------------


def rendered(keyframes: list[dict[str, Any]], fields: str = "noise", **more: Any) -> Rendered:
    whole = {"managedFields": fields.split(), "keyframes": keyframes, **more}
    return render(json.loads(json.dumps(whole), parse_int=float))


def test_ways_between_keyframes() -> None:
    """Linear, cubic, polynomial, held; the last expression holds until the next one."""
    keys: list[dict[str, Any]] = [
        {"frame": 0, "noise": 0},
        {"frame": 2, "noise": 4},
        {"frame": 4, "noise": 0},
        {"frame": 6, "noise": 4},
    ]
    for way, expected in {
        "": [0, 2, 4, 2, 0, 2, 4],
        "S": [0, 0, 4, 4, 0, 0, 4],
        "P": np.polyval(np.polyfit([0, 2, 4, 6], [0, 4, 0, 4], 3), np.arange(7)).tolist(),
        "C": natural_spline([0, 2, 4, 6], [0, 4, 0, 4]),
        "prev_computed_value + 1": [1, 2, 3, 4, 5, 6, 7],
        "k": [0, 1, 0, 1, 0, 1, 0],
        "next_keyframe_value - active_keyframe_value": [4, 4, -4, -4, 4, 4, 0],
    }.items():
        found = rendered([keys[0] | {"noise_i": way}, *keys[1:]]).numbers["noise"]
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=way)
    held = rendered([keys[0], keys[1] | {"noise_i": "S"}, keys[2], keys[3] | {"noise_i": "9"}]).numbers["noise"]
    assert held == [0, 2, 4, 4, 0, 0, 9]


def natural_spline(x: list[float], y: list[float]) -> list[float]:
    """Return the natural cubic spline at whole numbers, by solving for all its coefficients at once."""
    count = len(x) - 1
    matrix, right = np.zeros((4 * count, 4 * count)), np.zeros(4 * count)
    row = 0
    for piece in range(count):
        for at in (x[piece], x[piece + 1]):
            matrix[row, 4 * piece : 4 * piece + 4] = [at**3, at**2, at, 1]
            right[row], row = y[x.index(at)], row + 1
    for piece in range(count - 1):
        at = x[piece + 1]
        for line in ([3 * at**2, 2 * at, 1, 0], [6 * at, 2, 0, 0]):
            matrix[row, 4 * piece : 4 * piece + 4] = line
            matrix[row, 4 * piece + 4 : 4 * piece + 8] = [-each for each in line]
            row += 1
    matrix[row, :2] = [6 * x[0], 2]
    matrix[row + 1, 4 * count - 4 : 4 * count - 2] = [6 * x[-1], 2]
    solved = np.linalg.solve(matrix, right).reshape(count, 4)
    return [float(np.polyval(solved[min(sum(at >= knot for knot in x[1:-1]), count - 1)], at)) for at in range(7)]


def test_fields_without_values_and_ends() -> None:
    """Both ends get the nearest value, or the field's default."""
    found = rendered([{"frame": 0}, {"frame": 2, "noise": 3}, {"frame": 4, "noise": ""}], "noise fov mood").numbers
    assert found["noise"] == [3] * 5 and found["fov"] == [40] * 5 and found["mood"] == [0] * 5
    assert found["fov_delta"] == [40, 0, 0, 0, 0]
    everything = render({"keyframes": [{"frame": 0.0}, {"frame": 1.0}]}).numbers
    assert everything["translation_z"] == [10, 10] and everything["prompt_weight_8"] == [1, 1]
    assert everything["seed"] == [-1, -1] and everything["zoom_delta"] == [1, 1]


def test_time_series_and_reversed() -> None:
    series = [{"alias": "amp", "ts": {"data": [{"x": 100, "y": 2}, {"x": 0, "y": 1}], "timestampType": 1}},
              {"alias": "at", "ts": {"data": [{"x": 1, "y": 5}, {"x": 3, "y": 7}], "timestampType": 0}}]  # fmt: skip
    keys = [{"frame": 0, "zoom": 1, "zoom_i": "amp+at*10"}, {"frame": 3}]
    found = rendered(keys, "zoom", timeSeries=series, options={"output_fps": 20}).numbers
    assert found["zoom"] == [51, 51, 52, 72] and found["zoom_delta"] == [51, 1, 2, 21]
    turned = rendered(keys, "zoom", timeSeries=series, reverseRender=True).numbers
    assert turned["zoom"] == [72, 52, 51, 51] and turned["zoom_delta"] == [1 / 21, 1 / 2, 1, 1 / 51]


PROMPTS: list[tuple[Any, list[str]]] = [
    ({"positive": "a", "negative": "b"}, ["a --neg b"] * 5),
    ([{"positive": "a", "allFrames": True}], ["a"] * 5),
    ({"format": "v2", "enabled": False, "promptList": [{"positive": "a", "allFrames": True}]}, []),
    ({"promptList": [{"positive": "a", "from": 0, "to": 2}, {"positive": "b", "from": 3, "to": 4}]},
     ["a", "a", "a", "b", "b"]),
    ({"commonPrompt": {"positive": "oil", "negative": "blur"}, "promptList": [{"positive": "a", "allFrames": True}]},
     ["a oil --neg blur"] * 5),
    ({"commonPrompt": {"positive": "oil"}, "commonPromptPos": "prepend",
      "promptList": [{"positive": "a", "allFrames": True}]}, ["oil a"] * 5),
    ({"commonPrompt": {"positive": "x [prompt] y [prompt]"}, "commonPromptPos": "template",
      "promptList": [{"positive": "a", "allFrames": True}]}, ["x a y a"] * 5),
    ([{"positive": "(a:${noise})\nb ${\"c\":f}", "allFrames": True}],
     [f"(a:{frame / 4:.5f}) b (c:{frame})" for frame in range(5)]),
    ([{"positive": "a", "from": 0, "to": 3, "overlap": {"type": "linear", "inFrames": 0, "outFrames": 2}},
      {"positive": "b", "negative": "n", "from": 1, "to": 4, "overlap": {"type": "linear", "inFrames": 2}}],
     ["a", "a: 1 AND b: 0 --neg n: 0", "a: 0.5 AND b: 0.5 --neg n: 0.5", "a: 0 AND b: 1 --neg n: 1", "b --neg n"]),
    ([{"positive": "a", "allFrames": True, "overlap": {"type": "custom", "custom": "noise*2"}},
      {"positive": "b", "allFrames": True}], [f"a: {frame / 2:g} AND b: 1" for frame in range(5)]),
]  # fmt: skip


@pytest.mark.parametrize(("prompts", "expected"), PROMPTS, ids=[f"{n}" for n in range(len(PROMPTS))])
def test_prompts(prompts: Any, expected: list[str]) -> None:
    found = rendered([{"frame": 0, "noise": 0}, {"frame": 4, "noise": 1}], prompts=prompts).texts
    assert list(found.get("deforum_prompt", [])) == expected


@pytest.mark.parametrize(
    ("keyframes", "says"),
    [
        ([{"frame": 0}], "needs two keyframes"),
        ([{"frame": 2}, {"frame": 4}], "its first keyframe is at frame 2; expected 0"),
        ([{"frame": 0, "noise_i": "1/(f-2)"}, {"frame": 4}], "'noise', frame 2: '1/(f-2)': it divides by 0"),
        ([{"frame": 0, "noise_i": "perlin()"}, {"frame": 4}], "render the document there"),
        ([{"frame": 0}, {"frame": 1.5}], "expected a whole number"),
    ],
)
def test_documents_that_are_refused(keyframes: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(UserError) as caught:
        rendered(keyframes)
    assert says in str(caught.value)
