"""Control units: their settings, preprocessors, sources, and what they do in the loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum import build
from deforum.animation.painter import each
from deforum.animation.parts import Moment
from deforum.build import prepare
from deforum.diffusion.adapters.find import FLUX_TASKS, TASKS
from deforum.errors import UserError
from deforum.features.controlnet import annotators, curve_of
from deforum.features.controlnet.attach import Guide, controlled, fitted, work_size
from deforum.features.controlnet.filters import Given
from deforum.features.controlnet.preprocessors import PREPROCESSORS, find_preprocessor
from deforum.loading import load
from deforum.models.catalogue import find_function
from deforum.pixels.image import Image, from_bytes, to_bytes
from deforum.settings.options import ControlUnit
from deforum.settings.read import dump
from schedules import parse_number
from tests.helpers import STILL, assembled, keeping, recording, write_settings

SIZE = 64


def given(a: float = 0, b: float = 0, **more: Any) -> Given:
    return Given(a, b, 0, 1, **more)


def grey(levels: NDArray[Any]) -> Image:
    return from_bytes(np.repeat(np.asarray(levels, np.uint8)[..., None], 3, axis=2))


def square(inside: int = 200, outside: int = 20) -> Image:
    levels = np.full((SIZE, SIZE), outside)
    levels[16:48, 16:48] = inside
    return grey(levels)


def run(name: str, image: Image, a: float | None = None, b: float | None = None, **more: Any) -> Image:
    row = find_preprocessor(name)
    function: Callable[[Image, Given], Image] = find_function(row.run)
    return function(image, given(row.a.value(a), row.b.value(b), **more))


def inverse_depth(values: torch.Tensor) -> Callable[[Image, int], torch.Tensor]:
    return lambda image, index: values


# --- preprocessors ----------------------------------------------------------------------------------------------------


def test_every_preprocessor_names_a_function_and_a_size_that_stays() -> None:
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    for name, row in PREPROCESSORS.items():
        assert name == name.casefold() and find_preprocessor(name.upper()) is row
        function = find_function(row.run)
        if not row.annotator:
            more = {"depth": inverse_depth(torch.rand(SIZE, SIZE)), "flow": lambda a, b: torch.ones(SIZE, SIZE, 2)}
            made = function(image, given(row.a.usual, row.b.usual, before=image.flip(1), **more))
            assert made.shape == image.shape and made.dtype == torch.float32
            assert row.needs == "mask" or 0 <= float(made.min()) <= float(made.max()) <= 1


def test_invert_and_none() -> None:
    image = square()
    assert torch.equal(run("none", image), image)
    assert torch.allclose(run("invert (from white bg & black line)", image), 1 - image)


def test_canny_finds_the_outline_of_a_square() -> None:
    lines = run("canny", square())
    assert set(lines.unique().tolist()) == {0.0, 1.0} and torch.equal(lines[0], lines[2])
    rows, columns = np.nonzero(lines[0].numpy())
    assert {int(rows.min()), int(columns.min())} <= {15, 16} and {int(rows.max()), int(columns.max())} <= {47, 48}
    assert not lines[0, 20:44, 20:44].any()
    faint = square(60, 20)  # a step of 40 levels: four times that in Sobel's units
    assert run("canny", faint, 100, 200).any() == bool(cv2.Canny(to_bytes(faint), 100, 200).any())
    assert not run("canny", faint, 255, 255).any()


def test_blur_is_a_gaussian_of_that_sigma() -> None:
    point = torch.zeros(3, 65, 65)
    point[:, 32, 32] = 1
    blurred = run("blur_gaussian", point, 4)[0]
    distance = torch.arange(-32, 33, dtype=torch.float32)
    assert float((blurred.sum(1) * distance**2).sum() / blurred.sum()) == pytest.approx(16, rel=0.02)


def test_threshold_is_white_where_all_channels_are_above() -> None:
    image = torch.zeros(3, 4, 4)
    image[:, 0] = 128 / 255
    image[0, 1] = 1  # red alone
    assert run("threshold", image)[1].tolist() == [[1.0] * 4, *[[0.0] * 4] * 3]
    assert not run("threshold", image, 128).any()


def test_tile_takes_the_detail_away() -> None:
    checks = grey(np.indices((SIZE, SIZE)).sum(0) % 2 * 255)
    assert torch.equal(run("tile_resample", checks), checks)
    assert run("tile_resample", checks, 2).std() < 0.01  # the mean of four
    soft = grey(np.tile(np.linspace(0, 255, SIZE), (SIZE, 1)))
    assert (run("tile", soft, 4) - soft)[:, :, 4:-4].abs().max() < 0.02


def test_shuffle_keeps_colours_and_loses_places() -> None:
    image = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).round()
    image[0] = (torch.arange(SIZE) > SIZE // 2).float()
    made = run("shuffle", image)
    assert torch.equal(made, run("shuffle", image)) and not torch.allclose(made, image, atol=0.2)
    other = find_function(PREPROCESSORS["shuffle"].run)(image, Given(0, 0, 0, 2))
    assert not torch.equal(made, other)  # another run


def test_recolor_is_the_brightness_with_its_gamma() -> None:
    image = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 4, 4).contiguous()
    assert torch.allclose(run("recolor_intensity", image), torch.ones(3, 4, 4))
    assert run("recolor_luminance", image)[0, 0, 0] == pytest.approx(136 / 255, abs=1e-3)  # L of red in LAB, 53 of 100
    half = torch.full((3, 4, 4), 0.5)
    assert run("recolor_intensity", half, 2)[0, 0, 0] == pytest.approx((128 / 255) ** 2, abs=1e-3)


def test_color_is_a_grid_of_means() -> None:
    levels = np.zeros((128, 128))
    levels[:64, 64:] = 255
    made = run("t2ia_color_grid", grey(levels))
    assert made[0, :64, :64].max() == 0 and made[0, :64, 64:].min() == 1 and made[0, 64:].max() == 0


def test_lines_are_found_where_it_is_darker_than_around() -> None:
    levels = np.full((SIZE, SIZE), 230)
    levels[:, 31:33] = 20  # a pen stroke
    for name in ("scribble_xdog", "lineart_standard"):
        lines = run(name, grey(levels))[0]
        assert lines[:, 31:33].min() > 0.45 and lines[:, :20].max() < 0.05 and lines[:, 45:].max() < 0.05
        assert not run(name, grey(255 - levels))[0, :, 31:33].any()  # a light one is none
    assert set(run("scribble_xdog", grey(levels)).unique().tolist()) == {0.0, 1.0}


def test_mlsd_finds_straight_lines() -> None:
    levels = np.zeros((128, 128), np.uint8)
    cv2.line(levels, (10, 20), (110, 90), 255, 3)
    lines = run("mlsd", grey(levels))[0].numpy()
    rows, columns = np.nonzero(lines)
    offset = np.abs((columns - 10) * 70 - (rows - 20) * 100) / np.hypot(70, 100)
    assert len(rows) > 100 and offset.max() < 5
    assert not run("mlsd", grey(np.full((64, 64), 90))).any()


def test_depth_is_bright_where_it_is_near() -> None:
    ramp = torch.linspace(3, 8, SIZE).expand(SIZE, SIZE)
    made = run("depth_midas", torch.zeros(3, SIZE, SIZE), depth=inverse_depth(ramp))
    assert torch.allclose(made[1], torch.linspace(0, 1, SIZE).expand(SIZE, SIZE), atol=1e-6)
    as_distance = run("depth", torch.zeros(3, SIZE, SIZE), depth=inverse_depth(1 / ramp), is_inverse=False)
    assert torch.allclose(as_distance, made, atol=1e-5)
    flat = run("depth", torch.zeros(3, SIZE, SIZE), depth=inverse_depth(torch.ones(SIZE, SIZE)))
    assert torch.isfinite(flat).all()


def test_normals_of_a_ramp_lean_and_far_things_face_the_viewer() -> None:
    ramp = torch.linspace(0, 1, SIZE).expand(SIZE, SIZE)
    made = run("normal_map", torch.zeros(3, SIZE, SIZE), depth=inverse_depth(ramp))
    vectors = made * 2 - 1
    assert torch.allclose(vectors.norm(dim=0), torch.ones(SIZE, SIZE), atol=1e-5)
    far, near = vectors[:, 30, 10], vectors[:, 30, 50]
    assert far.tolist() == pytest.approx([0, 0, 1], abs=1e-6)
    slope = SIZE / (SIZE - 1)  # the range as deep as the picture is high; 8 is the sum of Sobel's weights
    assert near[0] / near[2] == pytest.approx(8 * slope / (2 * np.pi), rel=1e-3) and near[1] == pytest.approx(
        0, abs=1e-5
    )


def test_optical_flow_is_a_colour_by_direction() -> None:
    image, before = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    for direction, color in (((4.0, 0.0), [1, 0, 0]), ((-4.0, 0.0), [0, 1, 1])):
        made = run(
            "optical_flow", image, before=before, flow=lambda a, b, to=direction: torch.tensor(to).expand(8, 8, 2)
        )
        assert made[:, 4, 4].tolist() == pytest.approx(color, abs=1e-5)
    assert not run("optical_flow", image, flow=lambda a, b: torch.ones(8, 8, 2)).any()  # nothing before


def test_inpaint_marks_what_is_painted() -> None:
    image, mask = torch.rand(3, 8, 8), torch.zeros(8, 8)
    mask[:, 4:] = 1
    made = run("inpaint_only+lama", image, mask=mask)
    assert torch.equal(made[..., :4], image[..., :4]) and (made[..., 4:] == -1).all()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cany", "did you mean canny"),
        ("reference_only", "without a control model"),
        ("ip-adapter_clip_sd15", "belongs to an IP-Adapter"),
        ("instant_id_face_embedding", "InstantID"),
        ("oneformer_ade20k", "give them, with module: none"),
        ("xyzzy", "expected one of none, invert, canny"),
    ],
)
def test_unknown_modules_say_what_they_are(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        find_preprocessor(name)


def test_a_union_is_told_the_kind_of_picture() -> None:
    from deforum.features.controlnet import _task

    canny, none = PREPROCESSORS["canny"], PREPROCESSORS["none"]
    assert (_task(ControlUnit(), canny, TASKS), _task(ControlUnit(), canny, FLUX_TASKS)) == (3, 0)
    assert _task(ControlUnit(control_type="depth"), canny, FLUX_TASKS) == 2
    for unit, row, tasks in ((ControlUnit(), none, TASKS), (ControlUnit(control_type="normal"), canny, FLUX_TASKS)):
        with pytest.raises(UserError, match="set control_type to one of"):
            _task(unit, row, tasks)
    assert {row.task for row in PREPROCESSORS.values()} <= {"", *TASKS}


def test_annotators_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    row = find_preprocessor("dw_openpose_full")
    monkeypatch.setattr(annotators, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"controlnet-aux: pip install 'deforum-renderer\[annotators\]'"):
        annotators.check(row.name, row.annotator)
    monkeypatch.setattr(annotators, "is_installed", lambda: True)
    monkeypatch.setattr("deforum.models.hub.find_cached", lambda *_: None)
    with pytest.raises(UserError, match="nothing is downloaded without --allow-download"):
        annotators.check(row.name, row.annotator)


def test_options_are_of_names_that_annotators_have() -> None:
    assert all(PREPROCESSORS[name].annotator for name in annotators.OPTIONS)
    assert {row.annotator for row in PREPROCESSORS.values() if row.annotator} == set(annotators.WEIGHTS)


def test_an_annotator_gets_the_picture_and_gives_one_of_its_size() -> None:
    from PIL import Image as Picture

    seen: list[Any] = []

    def annotator(picture: Any, **options: Any) -> Any:
        seen.append((picture.size, options))
        return Picture.new("RGB", (64, 128), (255, 0, 0))

    made = annotators.annotate(torch.rand(3, 96, 48), given(more={"annotator": annotator, "options": {}}))
    assert seen == [((48, 96), {"detect_resolution": 48, "image_resolution": 48})]
    assert made.shape == (3, 96, 48) and made[:, 0, 0].tolist() == [1, 0, 0]


# --- geometry ---------------------------------------------------------------------------------------------------------

INNER, OUTER, STRETCH = "Inner Fit (Scale to Fit)", "Outer Fit (Shrink to Fit)", "Just Resize"


@pytest.mark.parametrize(
    ("mode", "resolution", "perfect", "wanted"),
    [
        (INNER, None, False, (256, 128)),  # 100x50 in a frame of 128x128: by 2.56, cropped at the sides
        (OUTER, None, False, (128, 64)),
        (INNER, 64, False, (128, 64)),  # 64 px of the shorter side
        (INNER, 64, True, (256, 128)),
        (INNER, 512, False, (1024, 512)),
        (INNER, 1, False, (32, 16)),
    ],
)
def test_size_at_which_a_preprocessor_works(
    mode: Any, resolution: int | None, perfect: bool, wanted: tuple[int, int]
) -> None:
    unit = ControlUnit(resize_mode=mode, processor_res=resolution, pixel_perfect=perfect)
    assert work_size((100, 50), (128, 128), unit, PREPROCESSORS["canny"]) == wanted
    if mode == INNER:  # a picture that is given as it is has no resolution of its own
        assert work_size((100, 50), (128, 128), unit, PREPROCESSORS["none"]) == (256, 128)


def test_fitting_crops_adds_borders_or_stretches() -> None:
    picture = torch.zeros(3, 32, 64)
    picture[:, :, 24:40] = 1  # a white bar in the middle
    assert fitted(picture, (64, 32), INNER) is picture
    inner = fitted(picture, (32, 32), INNER)
    assert inner[0, 16].tolist() == [0] * 8 + [1] * 16 + [0] * 8
    outer = fitted(1 - picture, (64, 64), OUTER)  # the border's median is white
    assert outer[0, 4, 32] == 1 and outer[0, 32, 32] == 0 and outer[0, 32, 4] == 1
    stretched = fitted(picture, (32, 32), STRETCH)
    assert set(stretched.unique().tolist()) == {0.0, 1.0} and stretched[0, 0].tolist() == [0] * 12 + [1] * 8 + [0] * 12
    soft = torch.rand(3, 32, 64)
    assert fitted(soft, (96, 64), INNER).shape == (3, 64, 96)
    marked = soft.clone()
    marked[:, :16] = -1
    assert set((fitted(marked, (128, 64), INNER) < 0)[0].float().mean(1).tolist()) == {0.0, 1.0}


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_list_of_units_is_the_same_as_their_settings(tmp_path: Path) -> None:
    long = {"cn_1_enabled": True, "cn_1_model": "embedded", "cn_1_vid_path": "a.png", "cn_1_module": "canny",
            "cn_1_weight": "0:(0.5), 9:(1)", "cn_1_guidance_end": 0.8, "cn_1_threshold_a": 60, "cn_1_threshold_b": 140,
            "cn_1_control_mode": "My prompt is more important", "cn_1_resize_mode": "Just Resize",
            "cn_2_enabled": True, "cn_2_model": "depth.safetensors", "cn_2_source": "init", "cn_2_module": "depth",
            "cn_2_processor_res": 384, "cn_2_mask_vid_path": "m.png"}  # fmt: skip
    short = """
control:
  - model: embedded
    image: a.png
    preprocessor: canny
    low: 60
    high: 140
    weight: {0: 0.5, 9: 1}
    end: 0.8
    priority: prompt
    fit: stretch
  - {model: depth.safetensors, image: init, preprocessor: depth, resolution: 384, mask: m.png}
"""
    (tmp_path / "b.yaml").write_text(short)
    one = load(write_settings(tmp_path, long), to_render=False)
    other = load(tmp_path / "b.yaml", to_render=False)
    assert one.settings.control_units == other.settings.control_units and len(one.settings.control_units) == 2
    (tmp_path / "c.yaml").write_text(dump(other.settings))
    assert load(tmp_path / "c.yaml", to_render=False).settings == other.settings
    inside = f"controlnet:\n{short.replace(chr(10), chr(10) + '  ')}"
    (tmp_path / "d.yaml").write_text(inside)
    assert load(tmp_path / "d.yaml", to_render=False).settings == other.settings
    (tmp_path / "e.yaml").write_text("prompts: {0: a}\n")
    asked = load(tmp_path / "e.yaml", ["control=[{model: x, image: init}]"], to_render=False)
    assert asked.settings.control_units == (ControlUnit(enabled=True, model="x", source="init"),)
    changed = load(tmp_path / "b.yaml", ["cn_1_weight=0.2"], to_render=False)
    assert changed.settings.control_units[0].weight == parse_number(0.2, name="weight")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("control: embedded", r"a.yaml:1:10: control: expected a list of units"),
        ("control:\n  - canny", r"a.yaml:2:5: control: expected a unit with its settings"),
        ("control:\n  - {image: a.png}", r"unit 1 has no model"),
        ("control:\n  - {model: x, wieght: 1}", r"a.yaml:2:16: control: a unit has no 'wieght'; did you mean weight"),
        ("control:\n  - {model: x, priority: yes}", r"cn_1_control_mode: 'yes' is not a choice"),
        ("control:\n  - {model: x}\ncn_1_model: y", "cn_1_model is given twice"),
        ("control:\n  - {model: x, image: init, preprocessor: cany}", "did you mean canny"),
        ("control:\n  - {model: x, image: init, start: 0.8, end: 0.5}", "cn_1_guidance_start: at frame 0 0.8 is after"),
        ("control:\n  - {model: x, image: init, end: 1+t}", r"cn_1_guidance_end is 2 at frame 1"),
    ],
)
def test_faults_have_their_place(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text + "\n")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "a.yaml", to_render=False)
    assert any(__import__("re").search(says, str(problem)) for problem in caught.value.problems), caught.value


def write_picture(path: Path, image: Image) -> Path:
    cv2.imwrite(str(path), to_bytes(image)[..., ::-1])
    return path


def test_what_is_missing_is_said_before_a_render(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", square())
    for unit, says in (
        ("{model: embedded, image: no.mp4}", "cn_1_vid_path: there is no file 'no.mp4'"),
        ("{model: embedded}", "cn_1_vid_path: this has to name a clip"),
        ("{model: no.safetensors, image: a.png}", "cn_1_model: there is no ControlNet 'no.safetensors'"),
        ("{model: None, image: a.png}", "cn_1_model: this has to name a control model"),
        ("{model: embedded, image: a.png, preprocessor: openpose}", "cn_1_module: openpose needs the package"),
    ):
        (tmp_path / "a.yaml").write_text(f"prompts: {{0: a}}\nmax_frames: 2\ncontrol:\n  - {unit}\n")
        with pytest.raises(UserError) as caught:
            prepare(load(tmp_path / "a.yaml").settings)
        assert says in str(caught.value)


def test_deforums_files_go_without_units_that_are_not_here(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", square())
    file = {"prompts": {"0": "a"}, "max_frames": 2, "cn_1_enabled": True, "cn_1_model": "control_x [12345678]",
            "cn_1_vid_path": str(tmp_path / "a.png"), "cn_2_enabled": True, "cn_2_model": "embedded",
            "cn_2_module": "canny", "cn_2_vid_path": f'"{tmp_path / "a.png"}"'}  # fmt: skip
    (tmp_path / "a.txt").write_text(json.dumps(file))
    loaded = load(tmp_path / "a.txt")
    assert [unit.enabled for unit in loaded.settings.control_units] == [False, True]
    [said] = [note for note in loaded.report if "cn_1" in note]
    assert "there is no ControlNet 'control_x [12345678]'" in said and said.endswith(
        "The animation goes without this unit"
    )
    notes = [note for note in prepare(loaded.settings).notes if "cn_2" in note]
    assert notes and "64 is what Deforum's sliders show" in notes[0]
    [source] = prepare(loaded.settings).found["control units"]
    assert source.settings.threshold_a == 64 and source.settings.processor_res == 64  # they act, as in Deforum


def test_the_seed_of_schedules_is_minus_1_in_deforums_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        json.dumps({"seed": 7, "max_frames": 3, "cn_1_enabled": True, "cn_1_weight": "0:(-s*t)"})
    )
    settings = load(tmp_path / "a.txt", to_render=False).settings
    assert curve_of("weight", settings.control_units[0], settings).tolist() == [0, 1, 2]


def test_settings_of_a_unit_that_is_off_have_no_effect(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "prompts: {0: a}\ncn_1_model: embedded\ncn_2_enabled: true\ncn_2_model: embedded\n"
    )
    report = load(tmp_path / "a.yaml", to_render=False).report
    assert "without effect: cn_1_model; acts where cn_1_enabled is on" in report


# --- in the loop ------------------------------------------------------------------------------------------------------


def painted_with(guides: Sequence[Guide], inits: Sequence[Image | None], moments: Sequence[Any]) -> list[Any]:
    """The controls of each frame."""
    seen: list[Any] = []

    def diffuse(inits: Sequence[Image | None], moments: Sequence[Any]) -> list[Image]:
        seen.extend(moment.frame.controls for moment in moments)
        return [torch.zeros(3, SIZE, SIZE) for _ in inits]

    controlled(diffuse, guides)(inits, moments)
    return seen


def moment(index: int, moved: Image | None = None) -> Any:
    from deforum.timeline.frame import Frame
    from tests.helpers import params_of

    frame = Frame(index, 1, 2, (), "Euler", "", params_of())
    return Moment(frame, None, SimpleNamespace(), None, moved=moved)  # type: ignore[arg-type]


def guides_of(folder: Path, unit: str, **values: object) -> list[Guide]:
    """The guides of the units of a settings file, with a loaded model of their own."""
    from deforum.features.controlnet.attach import attach
    from deforum.features.feature import Kit
    from deforum.models.kept import KeptModels
    from deforum.settings.profiles import PROFILES

    usual = STILL | {"width": SIZE, "height": SIZE, "max_frames": 6} | values
    write_settings(folder, usual)
    with (folder / "settings.yaml").open("a") as file:
        file.write(f"control:\n  - {unit}\n")
    prepared = prepare(load(folder / "settings.yaml").settings)
    kit = Kit(prepared.settings, PROFILES[prepared.settings.profile], torch.device("cpu"), 16, KeptModels())
    kept: list[Guide] = []
    stages: Any = SimpleNamespace(painting=SimpleNamespace(masked=None), around=[])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deforum.features.controlnet.attach.replace", lambda old, around: SimpleNamespace(around=around))
        patch.setattr("deforum.features.controlnet.attach.controlled", lambda diffuse, guides: kept.extend(guides))
        for around in attach(stages, prepared.found["control units"], kit).around:
            around(None)  # type: ignore[arg-type]
    return kept


def test_a_clip_gives_each_frame_its_own_picture(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for index in range(4):
        write_picture(tmp_path / f"clip/{index}.png", torch.full((3, SIZE, SIZE), index / 5))
    unit = "{model: embedded, image: clip, weight: '0:(1), 3:(0)', end: 0.5, priority: control}"
    guides = guides_of(tmp_path, unit)
    frames = painted_with(guides, [None] * 6, [moment(index) for index in range(6)])
    assert [len(controls) for controls in frames] == [1, 1, 1, 0, 0, 0]  # none where the weight is 0
    assert [round(float(controls[0].picture.mean()), 3) for controls in frames[:3]] == [0.0, 0.2, 0.4]
    assert [controls[0].weight for controls in frames[:3]] == pytest.approx([1, 2 / 3, 1 / 3])
    assert frames[0][0].end == 0.5 and frames[0][0].priority == "control"


def test_a_picture_stays_and_a_short_clip_is_held(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", square())
    (tmp_path / "clip").mkdir()
    for index in range(2):
        write_picture(tmp_path / f"clip/{index}.png", torch.full((3, SIZE, SIZE), index / 2))
    init = torch.full((3, SIZE, SIZE), 0.9)
    for image, unit_values, wanted in (("a.png", {}, None), ("clip", {}, 0.5), ("clip", {"profile": "deforum"}, 0.9)):
        guides = guides_of(tmp_path, f"{{model: embedded, image: {image}}}", **unit_values)
        pictures = [
            controls[0].picture for controls in painted_with(guides, [init] * 3, [moment(i) for i in (0, 1, 5)])
        ]
        if wanted is None:
            assert torch.equal(pictures[0], pictures[2]) and torch.allclose(pictures[0], square(), atol=0.01)
        else:  # with Deforum's profile, what is painted over guides after the end
            assert float(pictures[2].mean()) == pytest.approx(wanted, abs=0.005)


def test_the_animation_itself_guides(tmp_path: Path) -> None:
    init, before = square(), torch.rand(3, SIZE, SIZE)
    [loop] = guides_of(tmp_path, "{model: embedded, image: init, preprocessor: canny}")
    first, without, later = painted_with([loop], [init, None, init], [moment(0), moment(0), moment(1, before)])
    assert torch.equal(first[0].picture, run("canny", init)) and without == () and len(later) == 1
    [previous] = guides_of(tmp_path, "{model: embedded, image: previous}")
    none, some = painted_with([previous], [init, init], [moment(0), moment(1, before)])
    assert none == () and torch.equal(some[0].picture, before)
    near = guides_of(tmp_path, "{model: embedded, image: init, preprocessor: depth}")
    [[made]] = painted_with(near, [init], [moment(0)])
    assert float(made.picture.min()) == 0 and float(made.picture.max()) == 1


def test_a_unit_of_weight_0_leaves_pictures_bit_identical(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", square())
    usual = STILL | {"width": SIZE, "height": SIZE, "max_frames": 3, "steps": 4, "cadence": 1, "finish": "none"}
    plain = tmp_path / "plain.yaml"
    plain.write_text("".join(f"{name}: {value}\n" for name, value in usual.items()))

    def render(text: str) -> list[Image]:
        (tmp_path / "b.yaml").write_text(plain.read_text() + text)
        return [picture for _, picture in build.build(load(tmp_path / "b.yaml").settings).frames()]

    unit = "control:\n  - {{model: embedded, image: a.png, preprocessor: canny, weight: '{}'}}\n"
    without, off, later = render(""), render(unit.format("0")), render(unit.format("0:(0), 1:(0), 2:(1)"))
    assert all(torch.equal(one, other) for one, other in zip(without, off, strict=True))
    assert [torch.equal(one, other) for one, other in zip(without, later, strict=True)] == [True, True, False]


@pytest.mark.parametrize("saves", [True, False])
def test_control_pictures_are_saved(saves: bool, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", square())
    usual = STILL | {"width": SIZE, "height": SIZE, "max_frames": 3, "cadence": 2, "save_control_pictures": saves}
    write_settings(tmp_path, usual)
    with (tmp_path / "settings.yaml").open("a") as file:
        file.write(
            "control:\n  - {model: embedded, image: a.png, preprocessor: canny}\n"
            "  - {model: embedded, image: init, preprocessor: invert}\n"
        )
    animation = assembled(load(tmp_path / "settings.yaml").settings, each(keeping(square())))
    with ExitStack() as beside:
        list(animation.recorded(recording(animation, tmp_path, beside)).frames())
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("control_*/*"))
    if not saves:
        assert not made
        return
    both = ["control_1/000000000.png", "control_1/000000002.png", "control_2/000000002.png"]
    assert made == both  # frame 0 has no init
    shown = cv2.imread(str(tmp_path / made[0]))
    assert np.array_equal(shown[..., ::-1], to_bytes(run("canny", square())))


def test_an_enlarged_region_has_its_part_of_the_control_picture(tmp_path: Path) -> None:
    from dataclasses import replace as changed

    from deforum.animation.painter import Masked, Painting, Region
    from deforum.timeline.control import Control

    seen: list[Any] = []

    def painter(inits: Any, frames: Any, *, paints: Any = None) -> Any:
        seen.extend(frames[0].controls)
        return list(inits)

    mask = torch.zeros(256, 256)
    mask[128:, 128:] = 1
    picture = torch.zeros(3, 256, 256)
    picture[:, 140:, 140:] = 1
    at = moment(0)
    at = changed(at, frame=changed(at.frame, controls=(Control(None, picture, 1, 0, 1, mask=mask),)))
    Painting(painter, masked=Masked(lambda *_: mask, "original", Region(0, 0.0)))([torch.zeros(3, 256, 256)], [at])
    [control] = seen
    assert control.picture.shape == (3, 256, 256) and float(control.picture.mean()) > 0.7
    assert control.mask is not None and control.mask.min() > 0.99
