"""What a plot shows: curves, keyframes, prompts, texts and names, and the form in which pages get them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.reports.plot.encoding import as_json, encode
from deforum.reports.plot.page import embed
from deforum.reports.plot.texts import Texts
from deforum.reports.plot.timeline import Curve, Plot, Track, plot_of
from deforum.reports.tabulate import look

MOVING = """\
max_frames: 10
seed: 7
cadence: 2
zoom: 1
prompts: {0: a calm sea --neg fog, 6: a storm}
strength: "0: (0.5), 9: (0.95)"
translation_x: t/4
angle: "0: (1), 3: (2*t) step, 99: (7)"
sampler: "0: (Euler a), 4: (DDIM)"
"""


def plot(folder: Path, text: str = MOVING, *names: str) -> Plot:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    settings = load(folder / "a.yaml", to_render=False).settings
    return plot_of(settings, look(settings), names, title="a.yaml")


def test_what_varies_and_acts_is_drawn(tmp_path: Path) -> None:
    found = plot(tmp_path)
    assert [row.name for row in found.rows] == ["angle", "translation_x", "strength", "sampler"]
    assert (found.num_frames, found.cadence, found.painted, found.seeds) == (10, 2, (0, 2, 4, 6, 8), (7, 8, 9, 10, 11))
    assert [(each.name, each.value) for each in found.steady if each.name in ("zoom", "cfg_scale", "fov")] == [
        ("zoom", 1), ("cfg_scale", 7),
    ]  # fmt: skip
    assert found.idle == (("seed_schedule", "acts where seed_behavior is schedule"),)


@pytest.mark.parametrize(("keys", "cadence"), [((0, 4, 8), 4), ((0, 3, 8), 0), ((0,), 1), (tuple(range(10)), 1)])
def test_painted_frames_may_be_irregular(tmp_path: Path, keys: tuple[int, ...], cadence: int) -> None:
    (tmp_path / "a.yaml").write_text(MOVING, encoding="utf-8")
    settings = load(tmp_path / "a.yaml", to_render=False).settings
    found = plot_of(settings, replace(look(settings), keys=keys, seeds=tuple(range(len(keys)))))
    assert (found.painted, found.cadence) == (keys, cadence)


def test_a_run_may_begin_later(tmp_path: Path) -> None:
    found = plot(tmp_path, f"{MOVING}first_frame: 3\n")
    assert (found.first, found.painted, found.seeds, found.cadence) == (3, (3, 4, 6, 8), (9, 10, 11, 12), 0)


def test_curves_are_those_of_the_timeline(tmp_path: Path) -> None:
    angle, translation, strength = plot(tmp_path).curves
    assert np.array_equal(translation.values, np.arange(10) / 4)
    assert np.allclose(strength.values, 0.5 + 0.05 * np.arange(10))
    assert [(mark.frame, mark.is_expression) for mark in angle.marks] == [(0, False), (3, True)]
    assert angle.source == "0: (1), 3: (2 * t), 99: (7)"
    assert (angle.unit, angle.section) == ("degrees/frame", "motion")


def test_a_prepared_run_knows_its_size_and_seed() -> None:
    from deforum.build import prepare

    prepared = prepare(load({"max_frames": 4, "seed": -1, "prompts": {0: "a sea"}}).settings)
    found = plot_of(prepared.settings, prepared.timeline)
    assert (found.size, found.seed, found.is_seed_drawn) == ((256, 256), prepared.settings.seed, False)


def test_prompts_are_bands_and_texts(tmp_path: Path) -> None:
    held = plot(tmp_path).prompts
    assert [(band.first, band.positive, band.negative) for band in held.bands] == [
        (0, "a calm sea", "fog"), (6, "a storm", ""),
    ]  # fmt: skip
    assert list(held.positive.runs()) == [(0, "a calm sea"), (6, "a storm")]
    assert list(held.negative.runs()) == [(0, "fog"), (6, "")]


@pytest.mark.parametrize(
    "changed",
    [
        "prompt_blend: linear",
        "loras: {a: '0: (0), 9: (1)'}",
        "positive_prompt: '`t` of `sin(t)` <lora:x:`t/9`>'",
        "negative_prompt: dull",
        "prompt_weighting: shares",
    ],
)
def test_prompts_of_every_frame_are_those_that_values_prints(tmp_path: Path, changed: str) -> None:
    from deforum.reports.tabulate import tabulate

    (tmp_path / "a.yaml").write_text(f"{MOVING}{changed}\n", encoding="utf-8")
    settings = load(tmp_path / "a.yaml", to_render=False).settings
    timeline = timeline_of(settings)
    table = tabulate(settings, timeline, ("prompt", "negative_prompt"), range(10)).columns
    found = plot_of(settings, timeline).prompts
    assert [found.positive.at(frame) for frame in range(10)] == table["prompt"]
    assert [found.negative.at(frame) for frame in range(10)] == table["negative_prompt"]


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("strength_schedule",), ["strength"]),
        (("zoom", "translation_x"), ["zoom", "translation_x"]),
        (("prompts",), []),
        (("loras",), ["lora paint weight", "lora paint start", "lora paint end"]),
        (("lora paint end",), ["lora paint end"]),
        (("cn_1_weight", "fov"), ["fov", "cn_1_weight"]),
    ],
)
def test_names_choose_also_what_is_steady_or_idle(tmp_path: Path, names: tuple[str, ...], rows: list[str]) -> None:
    found = plot(tmp_path, f"{MOVING}cn_1_weight: t\nloras: {{paint: 1}}\n", *names)
    assert [row.name for row in found.rows] == rows
    assert (found.steady, found.idle, found.seeds) == ((), (), ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zoon", "zoon: there is no such schedule; did you mean zoom?"),
        ("max_frames", "max_frames: this is not a schedule; it is 10 in every frame"),
        ("\x1b[31m", r"\x1b[31m: there is no such schedule; without names, all that vary are shown"),
    ],
)
def test_names_that_are_no_schedules(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        plot(tmp_path, MOVING, name)
    assert str(error.value) == message


def test_units_and_pictures_are_rows(tmp_path: Path) -> None:
    text = f"{MOVING}cn_2_enabled: true\ncn_2_weight: t\nreference: {{picture: c.png, strength: t/9}}\n"
    found = plot(tmp_path, text + "ip_adapter: {model: x, image_encoder: y, images: {0: a.png, 5: b.png}}\n")
    rows = {row.name: row for row in found.rows}
    assert {"cn_2_weight", "ip_adapter 1 images", "reference strength"} <= rows.keys()
    pictures = rows["ip_adapter 1 images"]
    assert isinstance(pictures, Track)
    assert list(pictures.texts.runs()) == [(0, "a.png"), (5, "b.png")]


def test_pages_do_not_tell_the_name_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = f"{MOVING}checkpoint: '0: (x), 5: ({tmp_path}/m.safetensors)'\nreference: {tmp_path}/c.png\n"
    found = embed(as_json(plot(tmp_path, text, "checkpoint", "reference")))
    assert "~/m.safetensors" in found and "~/c.png" in found
    assert str(tmp_path) not in found


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        ["a"],
        ["", "", "a", ""],
        ["same", "same", "other"],
        ["weight 0.51", "weight 0.52", "weight 10.52", "aaaa", "aaa", "aaaaa"],
        ["\N{ROCKET}\N{FIRE}", "\N{ROCKET}x\N{FIRE}", "\N{FIRE}", "\ud83d", "\ud83d\udd25", "\N{FIRE}\udd25"],
    ],
)
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    packed = Texts.of(enumerate(texts))
    expected = [text.encode("utf-16-le", "surrogatepass") for text in texts]
    assert [packed.at(frame).encode("utf-16-le", "surrogatepass") for frame in range(len(texts))] == expected


def test_texts_that_change_a_little_are_small() -> None:
    packed = Texts.of((frame, f"a very long prompt, weight {frame / 7}, and more of it") for frame in range(1000))
    assert sum(len(change.middle) for change in packed.changes) < 20_000


# --- as JSON ----------------------------------------------------------------------------------------------------------


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text[3:]), "<" + text[:2])


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 123.456, 1e6, 3e20])
def test_curves_keep_six_digits(scale: float) -> None:
    values = np.concatenate([np.sin(np.arange(200)) * scale, [0.0, -scale]])
    back = decoded(encode(values))
    assert [f"{value:.6g}" for value in back] == [f"{value:.6g}" for value in values]


@pytest.mark.parametrize("whole", [0, -1, 2**24, 2**24 + 1, 2**32 - 1, -(2**53) + 1])
def test_whole_numbers_keep_all_digits(whole: int) -> None:
    assert decoded(encode(np.asarray([float(whole), 0.5]))).tolist() == [whole, 0.5]


def test_json_has_no_python_in_it(tmp_path: Path) -> None:
    found = json.loads(embed(as_json(plot(tmp_path))))
    assert [row["name"] for row in found["rows"]] == ["angle", "translation_x", "strength", "sampler"]
    assert found["rows"][0]["marks"] == [[0, 1, 1, 0], [3, 1, 1, 1]]
    assert found["prompts"]["bands"] == [[0, "a calm sea", "fog"], [6, "a storm", ""]]


def test_a_keyframe_at_every_frame_takes_no_room(tmp_path: Path) -> None:
    keyframes = ", ".join(f"{frame}: ({frame % 7})" for frame in range(2000))
    found = as_json(plot(tmp_path, f"max_frames: 2000\nseed: 1\nangle: '{keyframes}, 1999: (t)'\n", "angle"))
    assert isinstance(found["rows"], list)
    [row] = found["rows"]
    assert row["marks"] == [[0, 1, 1999, 0], [1999, 1, 1, 1]]
    assert len(row["source"]) == 4000


def test_a_curve_of_a_camera_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "move.chan").write_text("".join(f"{frame} {frame / 10} 0 0 0 0 0\n" for frame in range(10)))
    settings = load(
        {"max_frames": 10, "seed": 1, "animation_mode": "3D", "camera_file": str(tmp_path / "move.chan")}
    ).settings
    curve = next(row for row in plot_of(settings, look(settings), ["translation_x"]).curves)
    assert (curve.source, curve.marks) == ("camera_file: move.chan", ())
    assert curve.varies or curve.values[0] != 0


def test_a_long_run_with_many_curves_stays_small(tmp_path: Path) -> None:
    names = [name for name, _ in load({}).settings.params.items() if name not in ("subseed", "seed_schedule")][:40]
    found = plot(tmp_path, "max_frames: 1000\nseed: 1\n", *names)
    noise = np.sin(np.arange(10_000.0) ** 2)
    rows = [Curve(row.name, "", "", "", "", "", noise, row.marks) for row in found.curves]
    assert len(rows) == 40
    assert sum(len(encode(row.values)) for row in rows) < 2_200_000
