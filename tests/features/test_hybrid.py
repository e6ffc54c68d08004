"""Hybrid video: masks and composites computed by hand, clips of known motion, and whole small runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.depth_camera import DepthCamera
from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.build import build, prepare
from deforum.build import prepare as check
from deforum.depth import DepthModel
from deforum.depth.maps import GivenMaps
from deforum.errors import UserError
from deforum.features.hybrid import HybridSource, find_hybrid, is_on, masks_by_depth, moves_by_flow
from deforum.features.hybrid.attach import Hybrid, own, with_hybrid
from deforum.features.hybrid.camera import HybridCamera
from deforum.features.hybrid.mask_kinds import (
    Equalize,
    MaskTone,
    auto_contrast,
    blend_mask,
    difference_mask,
    equalize,
    nearness_mask,
    stretch_contrast,
)
from deforum.features.hybrid.match import Kind, find_matrix
from deforum.features.table import timeline_of as sample
from deforum.flow import FlowSource, load_flow
from deforum.loading import load
from deforum.motion.flat import FlatWarp, warp_flat
from deforum.motion.matrices import Matrix, rotation, translation
from deforum.pixels.image import CPU, Image, read, to_bytes
from deforum.reports.compare import Comparison, compare
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, keeping, pictures, recording, settings_maker

Paint = Callable[[Image | None, Frame], Image]
Frames = dict[int, Image]

texture = partial(pictures.texture, width=192, height=128)


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Make settings of a small hybrid run whose own camera stands still, without filters, as the test changes them."""
    small = {"width": 192, "height": 128, "max_frames": 5, "cadence": 1, "translation_z": 0}
    hybrid = {"hybrid_flow_method": "DIS Medium", "hybrid_use_first_frame_as_init_image": "false"}
    return settings_maker(tmp_path, STILL | small | hybrid, to_render=False)


def gray(*levels: float) -> Image:
    """A grey picture, one pixel high."""
    return torch.tensor(levels).expand(3, 1, -1)


def mask(*levels: float) -> torch.Tensor:
    return torch.tensor([levels])


# Masks.


def test_blend_mask_goes_from_one_brightness_to_the_other() -> None:
    image, clip = gray(0, 0.2, 1), gray(1, 0.6, 0)
    for alpha, wanted in ((0, (0, 0.2, 1)), (0.25, (0.25, 0.3, 0.75)), (1, (1, 0.6, 0))):
        torch.testing.assert_close(blend_mask(image, clip, alpha), mask(*wanted))


def test_difference_mask_is_the_distance_in_brightness() -> None:
    red, green = torch.tensor([[[1.0]], [[0]], [[0]]]), torch.tensor([[[0.0]], [[1]], [[0]]])
    torch.testing.assert_close(difference_mask(red, green), mask(0.587 - 0.299))
    assert not difference_mask(red, red).any()


@pytest.mark.parametrize(("gives", "wanted"), [("inverse depth", (0, 0.25, 1)), ("depth", (1, 0.75, 0))])
def test_nearest_is_white(gives: str, wanted: tuple[float, ...]) -> None:
    torch.testing.assert_close(nearness_mask(mask(2, 3, 6), gives), mask(*wanted))  # type: ignore[arg-type]


def test_flat_depth_and_no_numbers_show_the_clip() -> None:
    assert not nearness_mask(mask(3, 3), "depth").any()
    assert not nearness_mask(mask(3, float("nan")), "depth").any()


def test_contrast_is_about_the_mean() -> None:
    torch.testing.assert_close(stretch_contrast(mask(0.2, 0.4, 0.6), 2), mask(0, 0.4, 0.8))
    torch.testing.assert_close(stretch_contrast(mask(0.2, 0.4, 0.6), 0), mask(0.4, 0.4, 0.4))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 100, (0, 0.25, 0.5, 0.75, 1)),
        (25, 100, (0, 0, 1 / 3, 2 / 3, 1)),
        (0, 50, (0, 0.5, 1, 1, 1)),
        (12.5, 100, (0, 1 / 7, 3 / 7, 5 / 7, 1)),  # between two pixels
        (50, 50, (0.2, 0.3, 0.4, 0.5, 0.6)),  # no range is left
    ],
)
def test_automatic_contrast_reaches_black_and_white_at_its_cutoffs(
    low: float, high: float, wanted: tuple[float, ...]
) -> None:
    torch.testing.assert_close(auto_contrast(mask(0.2, 0.3, 0.4, 0.5, 0.6), low, high), mask(*wanted))


def test_equalising_counts_the_darker_pixels() -> None:
    torch.testing.assert_close(equalize(mask(0.1, 0.1, 0.1, 0.5, 0.9)), mask(0, 0, 0, 0.75, 1))
    assert torch.equal(equalize(mask(0.3, 0.3)), mask(0.3, 0.3))


@pytest.mark.parametrize(
    ("when", "wanted"),
    [("None", (1, 0.9, 0)), ("Before", (1, 0.5, 0)), ("After", (1, 0.5, 0)), ("Both", (1, 0.5, 0))],
)
def test_tone_is_made_in_order(when: Equalize, wanted: tuple[float, ...]) -> None:
    """A mask of 0, 0.04 and 0.4 with automatic contrast and inverted."""
    tone = MaskTone(equalize=when, cutoffs=(0, 100), inverse=True)
    torch.testing.assert_close(tone(mask(0, 0.04, 0.4)), mask(*wanted))


# The motion of whole pictures.

MOTIONS: dict[str, Matrix] = {
    "shift": translation(3, -2),
    "fraction": translation(-4.4, 1.7),
    "turn": rotation(3, 1.02, 96, 64) @ translation(1, 2),
}


@pytest.mark.parametrize("kind", ["Affine", "Perspective"])
@pytest.mark.parametrize("name", MOTIONS)
def test_a_known_motion_is_found(kind: Kind, name: str) -> None:
    image, matrix = texture(1), MOTIONS[name]
    moved = warp_flat(image, matrix, border="reflect", sampling="bicubic")
    assert np.hypot(*(corners(find_matrix(image, moved, kind)) - corners(matrix))).max() < 0.3


def test_a_known_homography_is_found() -> None:
    matrix = np.array([[1.02, 0.03, -4], [-0.01, 0.98, 3], [2e-4, -1e-4, 1]])
    moved = warp_flat(texture(1), matrix, border="reflect", sampling="bicubic")
    assert np.hypot(*(corners(find_matrix(texture(1), moved, "Perspective")) - corners(matrix))).max() < 0.5


def corners(matrix: Matrix) -> np.ndarray:
    x, y, w = matrix @ np.array([[0, 191, 0, 191], [0, 0, 127, 127], [1, 1, 1, 1]])
    return np.array((x / w, y / w))


@pytest.mark.parametrize("kind", ["Affine", "Perspective"])
def test_pictures_with_nothing_in_common_do_not_move(kind: Kind) -> None:
    for a, b in (
        (torch.zeros(3, 64, 64), texture(1, width=64, height=64)),
        (torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)),
        (texture(1, softness=1), texture(2, softness=1)),
    ):
        assert np.array_equal(find_matrix(a, b, kind), np.eye(3))


# The camera that takes over a clip's motion.


def moving(x: float, y: float, angle: float = 0) -> Callable[[int], Image]:
    """A clip that shows a part of a large texture, which moves by (x, y) px and turns by an angle in each frame."""
    large = texture(7, width=320, height=256, softness=3)

    def clip(t: int) -> Image:
        matrix = rotation(angle * t, 1, 160, 128) @ translation(x * t, y * t)
        return warp_flat(large, matrix, border="reflect", sampling="bicubic")[:, 64:192, 64:256].clamp(0, 1)

    return clip


def run(settings: Settings, clip: Callable[[int], Image], paint: Paint, model: DepthModel | None = None) -> Frames:
    """Render with a painter and a clip."""
    timeline = sample(settings)
    flow = load_flow(FlowSource("DIS Medium"), CPU) if moves_by_flow(settings) else None
    stages = with_hybrid(stages_of(settings, each(paint), CPU), settings, Hybrid(clip, flow, model))
    return {frame.index: image for frame, image in animate(stages, timeline.spans())}


def measured(a: Image, b: Image) -> torch.Tensor:
    """Measure the flow from one picture to another, away from the edges: (H, W, 2) px."""
    return load_flow(FlowSource("DIS Medium"), CPU)(a, b)[32:-32, 32:-32]


@pytest.mark.parametrize("mode", ["2D", "3D"])
@pytest.mark.parametrize("motion", ["Optical Flow", "Affine", "Perspective"])
def test_the_animation_moves_as_the_clip_does(settings: Make, motion: str, mode: str) -> None:
    frames = run(settings(hybrid_motion=motion, animation_mode=mode), moving(3, -2), keeping(moving(3, -2)(0)))
    for t in (1, 4):
        assert (measured(frames[0], frames[t]) - t * torch.tensor((3.0, -2))).norm(dim=-1).mean() < 0.2 * t


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_in_betweens_move_too(settings: Make, profile: str) -> None:
    chosen = settings(hybrid_motion="Optical Flow", cadence=3, max_frames=7, profile=profile)
    frames = run(chosen, moving(3, -2), keeping(moving(3, -2)(0)))
    for t in (1, 4):
        assert (measured(frames[0], frames[t]) - t * torch.tensor((3.0, -2))).norm(dim=-1).mean() < 0.2 * t


@pytest.mark.parametrize("motion", ["Optical Flow", "Affine"])
def test_a_turning_clip_turns_the_animation(settings: Make, motion: str) -> None:
    clip = moving(0, 0, angle=1.5)
    frames = run(settings(hybrid_motion=motion), clip, keeping(clip(0)))
    assert measured(clip(4), frames[4]).norm(dim=-1).mean() < 0.4  # against 6 degrees, or 3.5 px in the mean


def test_the_camera_moves_too(settings: Make) -> None:
    chosen = settings(hybrid_motion="Optical Flow", translation_x=2)
    frames = run(chosen, moving(1, -2), keeping(moving(1, -2)(0)))
    assert (measured(frames[0], frames[3]) - torch.tensor((9.0, -6))).norm(dim=-1).mean() < 0.5


def test_flow_factor_is_scheduled(settings: Make) -> None:
    """Nothing moves up to frame 2, then everything twice as fast as the clip."""
    chosen = settings(hybrid_motion="Optical Flow", hybrid_flow_factor='"where(t<3, 0, 2)"')
    frames = run(chosen, moving(2, 1), keeping(moving(2, 1)(0)))
    torch.testing.assert_close(frames[2], frames[0])
    assert (measured(frames[2], frames[4]) - torch.tensor((8.0, 4))).norm(dim=-1).mean() < 0.4


def test_detail_lives_through_many_motions(settings: Make) -> None:
    """After 12 motions by fractions of a pixel most of the contrast from pixel to pixel is left."""
    clip = moving(1.4, -0.6)
    frames = run(settings(hybrid_motion="Optical Flow", max_frames=13), clip, keeping(clip(0)))
    detail = [image[:, 32:-32, 32:-32].diff(dim=2).abs().mean() for image in (frames[12], clip(12))]
    assert detail[0] > 0.9 * detail[1]


def test_doubtful_flow_rests(settings: Make) -> None:
    """From one picture to quite another there is no flow, but estimators find one."""
    cut = {t: texture(t, softness=3) for t in range(3)}
    moved = {}
    for sure in ("false", "true"):
        changes = {"hybrid_flow_consistency": sure, "hybrid_consistency_blur": 0}
        frames = run(settings(hybrid_motion="Optical Flow", max_frames=2, **changes), cut.__getitem__, keeping(cut[0]))
        moved[sure] = (frames[1] - frames[0]).abs().mean()
    assert moved["true"] < 0.3 * moved["false"]


def test_motion_from_the_animations_own_picture_brings_it_to_the_clip(settings: Make) -> None:
    """The animation starts 4 px beside the clip, which stands still."""
    clip, beside = moving(0, 0), moving(4, 0)(1)
    chosen = settings(hybrid_motion="Affine", hybrid_motion_use_prev_img="true", max_frames=3)
    frames = run(chosen, clip, keeping(beside))
    assert (frames[1] - clip(1))[:, 16:-16, 16:-16].abs().mean() < 0.01 < (beside - clip(1)).abs().mean()


def test_depth_is_carried_by_the_clips_motion(settings: Make) -> None:
    """A near square is 4 px further to the right after two frames, in the depth as in the picture."""
    depth = torch.full((64, 64), 10.0)
    depth[20:44, 20:30] = 1
    chosen = settings(animation_mode="3D", width=64, height=64)
    first, second = (sample(chosen)[t] for t in (1, 2))
    camera = DepthCamera(chosen, PROFILES["corrected"], CPU, None, False, depth=depth, before=first.params)
    step = FlatWarp(translation(2, 0), 64, 64, "mirror", CPU)
    hybrid = HybridCamera(camera, lambda frame, moved: step, scene=torch.zeros(3, 64, 64))
    _, hybrid = hybrid.move(first)
    _, hybrid = hybrid.move(second)
    inside = hybrid.within(DepthCamera)
    assert inside is not None and inside.depth is not None
    torch.testing.assert_close(inside.depth, torch.roll(depth, 4, 1))


# The composite.


def levels(first: float, step: float) -> Callable[[int], Image]:
    """A clip of plain grey that grows brighter."""
    return lambda t: torch.full((3, 128, 192), float(first + step * t))


def test_the_clip_is_mixed_in_before_diffusion(settings: Make) -> None:
    """Half of the clip's frame in each frame but the first, and after frame 2 nothing."""
    chosen = settings(hybrid_composite="Normal", hybrid_comp_alpha='"where(t<3, 0.5, 0)"', max_frames=5)
    frames = run(chosen, levels(0.5, 0.1), keeping(torch.zeros(3, 128, 192)))
    shown = [float(frames[t].mean()) for t in range(5)]
    np.testing.assert_allclose(shown, (0, 0.3, 0.5, 0.5, 0.5), atol=1e-6)


@pytest.mark.parametrize(("profile", "first"), [("corrected", 0.125), ("deforum", 0)])
def test_after_generation_the_painted_picture_is_mixed(settings: Make, profile: str, first: float) -> None:
    chosen = settings(hybrid_composite="After Generation", hybrid_comp_alpha=0.25, max_frames=3, profile=profile)
    frames = run(chosen, levels(0.5, 0.1), lambda init, frame: torch.full((3, 128, 192), 0.1 * frame.index))
    shown = [float(frames[t].mean()) for t in range(3)]
    np.testing.assert_allclose(shown, (first, 0.075 + 0.15, 0.15 + 0.175), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, [(0, 0.25, 0.25), (2, 0.25, 0.25)]),  # at painted frames
        ({"hybrid_comp_mask_type": "Blend", "hybrid_comp_mask_blend_alpha": 0}, [(0, 0.2, 0.1), (2, 0.2, 0.1)]),
        ({"hybrid_composite": "Normal"}, []),  # painted over
        ({"hybrid_composite": "None"}, []),
    ],
)
def test_how_much_of_each_pixel_is_the_clips_own(
    settings: Make, changes: dict[str, object], wanted: list[tuple[int, float, float]]
) -> None:
    """The animation is 0.2 on the left and 0.6 on the right; a mask of Blend 0 shows the clip where it is dark."""
    halves = torch.where(torch.arange(192) < 96, 0.2, 0.6).expand(3, 128, 192)
    usual = {"hybrid_composite": "After Generation", "hybrid_comp_alpha": 0.25, "max_frames": 3, "cadence": 2}
    chosen, told = settings(**usual | changes), []
    hybrid = Hybrid(levels(0.5, 0), None, None)
    stages = with_hybrid(stages_of(chosen, each(lambda init, frame: halves), CPU), chosen, hybrid)
    source = HybridSource(None, None, None)  # type: ignore[arg-type]
    stages = own(stages, source, lambda index, mask: told.append((index, mask)))
    assert len(list(animate(stages, sample(chosen).spans()))) == 3
    assert [index for index, _ in told] == [index for index, *_ in wanted]
    for (_, mask), (_, left, right) in zip(told, wanted, strict=True):
        np.testing.assert_allclose((mask[64, 10], mask[64, 180]), (left, right), atol=1e-6)


def test_before_motion_the_clip_moves_with_the_picture(settings: Make) -> None:
    """Mixed by hand before the clip's motion, frame by frame; without motion it is as Normal."""
    clip, mixed = moving(3, -2), {0: texture(3)}
    for t in (1, 2):
        together = torch.lerp(mixed[t - 1], clip(t - 1), 0.4)
        mixed[t] = warp_flat(together, find_matrix(clip(t - 1), clip(t), "Affine"), border="replicate")
    changes = {"hybrid_composite": "Before Motion", "hybrid_comp_alpha": 0.4, "max_frames": 3}
    frames = run(settings(hybrid_motion="Affine", **changes), clip, keeping(texture(3)))
    inner = (slice(None), slice(16, -16), slice(16, -16))
    torch.testing.assert_close(frames[2][inner], mixed[2][inner], atol=1e-3, rtol=0)
    frames = run(settings(**changes), levels(0.5, 0.1), keeping(torch.zeros(3, 128, 192)))
    assert float(frames[1].mean()) == pytest.approx(0.4 * 0.6)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        # The animation is 0.2 on the left and 0.6 on the right, the clip is 1 everywhere; alpha is 1.
        ({"hybrid_comp_mask_type": "None"}, (1, 1)),
        ({"hybrid_comp_mask_type": "Difference"}, (0.2 * 0.8 + 0.2, 0.6 * 0.4 + 0.6)),
        ({"hybrid_comp_mask_type": "Difference", "hybrid_comp_mask_inverse": "true"}, (0.84, 0.76)),
        ({"hybrid_comp_mask_type": "Blend", "hybrid_comp_mask_blend_alpha": 0}, (0.84, 0.76)),
        ({"hybrid_comp_mask_type": "Blend", "hybrid_comp_mask_blend_alpha": 1}, (0.2, 0.6)),
        ({"hybrid_comp_mask_type": "Difference", "hybrid_comp_mask_contrast": 2}, (0.2, 0.6 * 0.2 + 0.8)),
        ({"hybrid_comp_mask_type": "Difference", "hybrid_comp_mask_auto_contrast": "true"}, (0.2, 1)),
        ({"hybrid_comp_mask_type": "Difference", "hybrid_comp_mask_equalize": "Before"}, (0.2, 1)),
        ({"hybrid_comp_mask_type": "Depth"}, (0.2, 1)),  # near on the left
        ({"hybrid_comp_mask_type": "Video Depth", "hybrid_comp_mask_inverse": "true"}, (1, 0.6)),
    ],
)
def test_masks_say_where_the_clip_shows(
    settings: Make, changes: dict[str, object], wanted: tuple[float, float], tmp_path: Path
) -> None:
    halves = torch.where(torch.arange(192) < 96, 0.2, 0.6).expand(3, 128, 192)
    cv2.imwrite(str(tmp_path / "depth.png"), np.repeat(np.uint8([[200, 40]]), 96, 1).repeat(128, 0))
    (tmp_path / "maps").mkdir()
    (tmp_path / "depth.png").rename(tmp_path / "maps" / "0.png")
    chosen = settings(hybrid_composite="Normal", hybrid_comp_alpha=1, max_frames=2, **changes)
    frames = run(chosen, levels(1, 0), keeping(halves), GivenMaps(tmp_path / "maps"))
    shown = frames[1][0, 64, 10], frames[1][0, 64, 180]
    np.testing.assert_allclose(shown, wanted, atol=2e-3)


def test_the_first_frame_is_painted_from_the_clip(settings: Make) -> None:
    chosen = settings(hybrid_composite="Normal", hybrid_use_first_frame_as_init_image="true", max_frames=1)
    seen: list[Image | None] = []
    run(chosen, levels(0.5, 0.1), lambda init, frame: seen.append(init) or torch.zeros(3, 128, 192))  # type: ignore[func-returns-value]
    assert seen[0] is not None and float(seen[0].mean()) == 0.5


# From a file to a run.


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """Four pictures that move to the right."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(4):
        cv2.imwrite(str(folder / f"{t}.png"), to_bytes(moving(3, 0)(t))[..., ::-1])
    return folder


def test_a_run_from_a_file(settings: Make, clip_folder: Path, tmp_path: Path) -> None:
    """With the embedded models, and everything on: 3D, motion, a mask by depth, extra frames."""
    chosen = settings(
        width=64, height=64, steps=2, max_frames=4, cadence=2, animation_mode="3D", video_init_path=clip_folder,
        hybrid_motion="Optical Flow", hybrid_composite="Before Motion", hybrid_comp_mask_type="Video Depth",
        hybrid_use_first_frame_as_init_image="true", init_strength=1,
    )  # fmt: skip
    animation = build(replace(chosen, hybrid_comp_save_extra_frames=True))
    with ExitStack() as beside:
        animation = animation.recorded(recording(animation, tmp_path, beside))
        frames = {frame.index: image for frame, image in animation.frames()}
    assert list(frames) == [0, 1, 2, 3]
    first = read(clip_folder / "0.png", 96, 64)[:, :, 16:80]  # cut at two edges
    assert np.corrcoef(frames[0].flatten(), first.flatten())[0, 1] > 0.4  # from noise: none
    kinds = ("clip", "composite", "mask", "mixed")
    assert sorted(path.name for path in (tmp_path / "hybrid").iterdir()) == [
        f"{t:09d}_{kind}.png" for t in (2,) for kind in kinds
    ]


def test_the_init_image_may_be_the_clip(settings: Make, clip_folder: Path) -> None:
    chosen = settings(hybrid_composite="Normal", hybrid_use_init_image="true", init_image=clip_folder / "2.png")
    found = find_hybrid(chosen)
    assert found is not None and len(found.clip) == 1 and found.clip.stored(100) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hybrid_motion": "Affine", "video_init_path": ""}, "video_init_path"),
        ({"hybrid_composite": "Normal", "video_init_path": "nowhere.mp4"}, "nowhere.mp4"),
        ({"hybrid_composite": "Normal", "hybrid_use_init_image": "true"}, "init_image"),
        ({"hybrid_motion": "Optical Flow", "hybrid_flow_method": "RAFT"}, "hybrid_flow_method: RAFT needs weights"),
        (
            {"hybrid_composite": "Normal", "hybrid_comp_mask_type": "Depth", "depth_algorithm": "none"},
            "hybrid_comp_mask_type: Depth needs a depth model",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(
    settings: Make,
    clip_folder: Path,
    home: Path,
    changes: dict[str, object],
    says: str,
) -> None:
    with pytest.raises(UserError, match=says):
        check(settings(**{"video_init_path": clip_folder, **changes}))


@pytest.mark.parametrize(
    ("kind", "composite", "needed"),
    [("Depth", "Normal", True), ("Video Depth", "Normal", True), ("Blend", "Normal", False), ("Depth", "None", False)],
)
@pytest.mark.parametrize("motion", ["None", "Affine"])
def test_the_depth_model_is_asked_for_where_a_mask_needs_it(
    settings: Make, kind: str, composite: str, needed: bool, motion: str
) -> None:
    chosen = settings(hybrid_motion=motion, hybrid_composite=composite, hybrid_comp_mask_type=kind)
    assert masks_by_depth(chosen) == needed


def deforum_file(path: Path, **changes: object) -> Path:
    """Write a settings file as Deforum does."""
    plain = {"W": 64, "H": 64, "max_frames": 3, "animation_mode": "2D", "prompts": {"0": "a"}, "seed": 1}
    path.write_text(json.dumps({**plain, **changes}))
    return path


@pytest.mark.parametrize(("old", "new"), [(True, "Normal"), (False, "None"), ("After Generation", "After Generation")])
def test_old_files_that_switch_the_composite(tmp_path: Path, clip_folder: Path, old: object, new: str) -> None:
    file = deforum_file(
        tmp_path / "a.txt", hybrid_composite=old, hybrid_motion=False, video_init_path=str(clip_folder),
        hybrid_comp_alpha_schedule="0:(0.25)", hybrid_comp_mask_auto_contrast_cutoff_high_schedule="0:(90)",
    )  # fmt: skip
    loaded = load(file).settings
    assert (loaded.hybrid_composite, loaded.hybrid_motion) == (new, "None")
    params = sample(loaded)[2].params
    assert (params.hybrid_comp_alpha, params.hybrid_comp_mask_auto_contrast_cutoff_high) == (0.25, 90)


def test_an_old_file_goes_on_without_its_clip(tmp_path: Path) -> None:
    """And with optical flow that needs no weights."""
    file = deforum_file(tmp_path / "a.txt", hybrid_motion="Optical Flow", video_init_path="gone.mp4")
    loaded = load(file)
    assert not is_on(loaded.settings)
    assert any("there is no clip 'gone.mp4'" in line for line in loaded.report)


def test_an_old_file_goes_on_without_weights(home: Path, clip_folder: Path) -> None:
    file = deforum_file(home / "a.txt", hybrid_motion="Optical Flow", video_init_path=str(clip_folder))
    settings = load(file).settings
    assert settings.hybrid_flow_method == "RAFT"
    found = find_hybrid(settings)
    assert found is not None and found.flow is not None and found.flow.name == "DIS Medium"
    assert any("DIS Medium stands in" in line for line in prepare(settings).notes)


def test_only_what_acts_differs(settings: Make) -> None:
    """Settings of masks say nothing where there is no composite."""
    one, other = settings(hybrid_motion="Affine"), settings(hybrid_motion="Affine", hybrid_comp_mask_type="Depth")
    assert compare(one, other) == Comparison((), ("hybrid_comp_mask_type",))
