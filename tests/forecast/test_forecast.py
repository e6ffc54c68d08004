"""Forecasts: the motion is that of the renderer's warps, and what is foreseen is what happens."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deforum.animation.cameras import FlatCamera
from deforum.animation.depth_camera import DepthCamera
from deforum.animation.parts import Camera
from deforum.build import Prepared, prepare
from deforum.cli import main as cli
from deforum.depth import Gives
from deforum.features.feature import Kit
from deforum.forecast import Forecast, Jump, find_jumps, forecast
from deforum.forecast.clips import clip_motion
from deforum.forecast.keyframes import DeadKeyframe, dead_keyframes
from deforum.forecast.motion import Motions, as_sampled, distinct, motions_of, seed_range
from deforum.forecast.scenes import ENCLOSED, OPEN, Scene, at_grid, scene_of
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.motion.pose import UNITS
from deforum.motion.positions import sample_at
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.timeline import Timeline
from tests.helpers import ROOT

WIDTH, HEIGHT = 192, 128


def prepared(**changes: object) -> Prepared:
    usual = {"width": WIDTH, "height": HEIGHT, "max_frames": 6, "seed": 3, "zoom": 1, "finish": "none", "device": "cpu",
             "prompts": {0: "a calm sea"}, "cadence": 1, "translation_z": 0}  # fmt: skip
    return prepare(load(usual | changes).settings)


# --- motion -----------------------------------------------------------------------------------------------------------


def measured(warp: Warp) -> tuple[float, float]:
    """The mean displacement of what was seen before, in px, and the share that was not."""
    here, _ = warp.charts()
    height, width = here.positions.shape[1:]
    x, y = here.positions.numpy() - np.stack(np.meshgrid(np.arange(width), np.arange(height)))
    cover = here.covers.numpy()
    return float((np.hypot(x, y) * cover).sum() / cover.sum()), float(1 - cover.mean())


def camera_of(settings: Settings, scene: Scene, before: Params[float]) -> Camera:
    """The renderer's camera, in 3D before a picture as deep as the forecast assumes."""
    profile = PROFILES[settings.profile]
    if not settings.mode.has_depth:
        return FlatCamera(settings, profile, CPU)
    least, most = UNITS / before.far, UNITS / before.near
    inverse = least + scene.nearness * (most - least) if profile.physical_camera else scene.slab
    depth = torch.from_numpy((1 / at_grid(inverse, HEIGHT, WIDTH)).astype(np.float32))
    camera = DepthCamera(settings, profile, CPU, None, False, before=before)
    return replace(camera, depth=depth) if settings.use_depth_warping else camera


MOTIONS: dict[str, dict[str, object]] = {
    "zoom": {"zoom": 1.04},
    "shrinking": {"zoom": 0.95, "border": "wrap"},
    "turn": {"angle": 4, "transform_center_x": 0.2},
    "shift": {"translation_x": 7, "translation_y": -3.5},
    "all": {"zoom": 1.02, "angle": -2, "translation_x": "6*sin(t)"},
    "flip": {"enable_perspective_flip": True, "perspective_flip_phi": 3, "perspective_flip_gamma": -2},
    "flip of Deforum": {"enable_perspective_flip": True, "perspective_flip_theta": 2, "profile": "deforum"},
}
DEEP: dict[str, dict[str, object]] = {
    "forward": {"translation_z": 8},
    "forward fast": {"translation_z": 20},
    "back": {"translation_z": -8},
    "sideways": {"translation_x": 6, "translation_y": 3},
    "pan": {"rotation_3d_y": 2},
    "roll": {"rotation_3d_z": 3, "rotation_3d_x": 1},
    "all": {"translation_z": 5, "translation_x": -4, "rotation_3d_y": 1},
    "lens": {"fov": "0: (70), 5: (50)", "translation_z": 3},
    "flat": {"translation_x": 9, "use_depth_warping": False},
    "flip": {"enable_perspective_flip": True, "perspective_flip_phi": 3, "translation_z": 4},
    "old aspect": {"aspect_ratio_use_old_formula": True, "translation_x": 5, "rotation_3d_y": 1},
}
CASES = [(name, {"animation_mode": "2D", **motion}, OPEN) for name, motion in MOTIONS.items()] + [
    (f"3D {profile} {name}", {"animation_mode": "3D", "profile": profile, **motion}, scene)
    for profile, scene in (("corrected", OPEN), ("corrected", ENCLOSED), ("deforum", OPEN))
    for name, motion in DEEP.items()
    if not (profile == "deforum" and name == "lens")
]


@pytest.mark.parametrize(("settings", "scene"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_motion_is_that_of_the_warps(settings: dict[str, object], scene: Scene) -> None:
    run = prepared(**settings, sampling_mode="bilinear")  # bicubic sampling has a motion of its own, tested below
    # Of smooth depth: what is hidden behind edges is foreseen by their statistics.
    found = motions_of(run.settings, run.timeline, replace(scene, edges=(0, 0), slab_edges=(0, 0)), run.frames)
    assert found.speed[0] == found.uncovered[0] == 0
    for index in (1, 4):
        warp, _ = camera_of(run.settings, scene, run.timeline[index - 1].params).move(run.timeline[index])
        speed, uncovered = measured(warp)
        assert found.speed[index] == pytest.approx(speed, rel=0.05)
        assert found.uncovered[index] == pytest.approx(uncovered, abs=0.012)


@pytest.mark.parametrize("shift", [0.05, 0.17, 0.3, 0.5, 0.8, 1.25, -0.17, -0.9, 3.0])
def test_shapes_move_as_the_sampling_moves_them(shift: float) -> None:
    """By the phase of waves of 11 px."""
    here = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(132.0), indexing="ij")[::-1])
    wave = torch.sin(2 * torch.pi * here[:1] / 11)
    moved = sample_at(wave, here - torch.tensor([shift, 0.0])[:, None, None], "bicubic", "border")
    before, after = (
        (each[0, 4, 11:121] * torch.exp(2j * torch.pi * here[0, 4, 11:121] / 11)).sum() for each in (wave, moved)
    )
    way = float(torch.angle(after / before)) * 11 / (2 * np.pi)
    assert as_sampled(np.array(shift)) == pytest.approx(way, abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "is_moved_further"),
    [
        ({"profile": "deforum"}, True),
        ({"profile": "deforum", "cadence": 3}, True),
        ({}, True),
        ({"cadence": 3}, False),  # in-betweens are sampled over longer ways
        ({"profile": "deforum", "sampling_mode": "bilinear"}, False),
        ({"animation_mode": "2D"}, False),
    ],
)
def test_slow_motion_of_frames_that_are_sampled_one_after_the_other(
    changes: dict[str, object], is_moved_further: bool
) -> None:
    """0.17 px become 0.21 px on the screen."""
    usual = {"animation_mode": "3D", "use_depth_warping": False, "translation_x": 0.3}
    run = prepared(**usual | changes)
    found = motions_of(run.settings, run.timeline, OPEN, run.frames)
    flat = prepared(**usual | changes | {"sampling_mode": "bilinear"})
    plain = motions_of(flat.settings, flat.timeline, OPEN, flat.frames)
    assert 0.05 < plain.speed[5] < 0.5
    further = float(as_sampled(plain.speed[5])) if is_moved_further else plain.speed[5]
    assert found.speed[5] == pytest.approx(further, rel=1e-3)


@dataclass(frozen=True)
class Painted:
    """Sees the assumed scene in every picture, as painting renews it."""

    scene: Scene
    gives: Gives = "inverse depth"

    def __call__(self, image: torch.Tensor, index: int) -> torch.Tensor:
        return torch.from_numpy(at_grid(self.scene.nearness, *image.shape[1:]).astype(np.float32))


@pytest.mark.parametrize(
    ("scene", "motion"),
    [
        (OPEN, {"translation_z": 5}),
        (ENCLOSED, {"translation_z": 5, "rotation_3d_y": 0.3}),
        (ENCLOSED, {"translation_z": -4}),
        (OPEN, {"translation_x": 6}),
    ],
)
def test_a_long_flight_is_foreseen_to_its_end(scene: Scene, motion: dict[str, object]) -> None:
    """By the loop's own rule: depth is carried, estimated anew every second frame, and scaled."""
    run = prepared(**motion, animation_mode="3D", max_frames=65, cadence=2, width=72, height=48, far=1000)
    found = motions_of(run.settings, run.timeline, scene, run.frames)
    camera: Camera = DepthCamera(run.settings, PROFILES["corrected"], CPU, Painted(scene), False)
    speeds = list[float]()
    for frame in run.frames[1:]:
        if frame % 2:
            camera = camera.look(torch.zeros(3, 48, 72), run.timeline[frame - 1])
        warp, camera = camera.move(run.timeline[frame])
        speeds.append(measured(warp)[0])
    for frames in (slice(0, 32), slice(32, 64)):
        assert found.speed[1:][frames].mean() == pytest.approx(np.mean(speeds[frames]), rel=0.1)


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        ({"translation_x": 6, "far": 1000000}, 0.85, 1.15),  # as far as things are near
        ({"translation_z": 4, "far": 1000000}, 0.84, 1.16),
        ({"translation_x": "6*sin(t)", "far": 1000000}, 0.85, 1.15),
        ({"translation_x": 6, "profile": "deforum"}, 0.95, 1.05),
        ({"rotation_3d_y": 2}, 1, 1),  # a turn moves all alike
        ({"translation_x": 6, "use_depth_warping": False}, 1, 1),
        ({"translation_x": 6, "animation_mode": "2D"}, 1, 1),
        ({"translation_x": 6, "max_frames": 1}, 1, 1),
    ],
)
def test_seeds_differ_where_depth_matters(settings: dict[str, object], low: float, high: float) -> None:
    run = prepared(**({"animation_mode": "3D"} | settings))
    scene = replace(OPEN, spread=0.15, slab_spread=0.05)
    assert seed_range(run.settings, run.timeline, scene, run.frames) == pytest.approx((low, high), abs=0.02)


def test_many_frames_are_as_few() -> None:
    """In blocks, each different motion once: what the frames are is the same."""
    run = prepared(max_frames=600, translation_x="t % 5", angle="0: (0), 599: (3)")
    whole = motions_of(run.settings, run.timeline, OPEN, run.frames)
    short = prepared(max_frames=600, translation_x="t % 5", angle="0: (0), 599: (3)")
    assert whole.speed[:3] == pytest.approx(motions_of(short.settings, short.timeline, OPEN, short.frames).speed[:3])
    steady = prepared(max_frames=600, translation_x="t % 5")
    keys, of_frame = distinct(steady.settings, steady.timeline)
    assert len(keys) == 5 and (of_frame[5:] == of_frame[:-5]).all()
    speed = motions_of(steady.settings, steady.timeline, OPEN, steady.frames).speed
    assert speed[1:] == pytest.approx(np.arange(1, 600) % 5)
    assert whole.change[2:].min() > 0.9


def test_what_does_not_act_makes_no_difference_between_frames() -> None:
    """As the usual zoom in 3D, which changes all the time."""
    flight = {"animation_mode": "3D", "zoom": "1 + t/1000", "translation_z": 3, "perspective_flip_phi": "t"}
    assert len(distinct(*_parts(prepared(**flight)))[0]) == 1
    assert len(distinct(*_parts(prepared(**flight, enable_perspective_flip=True)))[0]) == 6
    assert len(distinct(*_parts(prepared(**(flight | {"animation_mode": "2D"}))))[0]) == 6


def _parts(run: Prepared) -> tuple[Settings, Timeline]:
    return run.settings, run.timeline


@pytest.mark.parametrize(
    ("motion", "left"),
    [
        ({"zoom": 1.1}, 1.1**-10),
        ({"zoom": 0.9}, 0.9**10),
        ({"translation_x": WIDTH / 10}, 0.9**5),
        ({"animation_mode": "3D", "use_depth_warping": False, "translation_z": 20}, 0.9**10),  # a tenth nearer
    ],
)
def test_what_is_left_of_the_first_picture(motion: dict[str, object], left: float) -> None:
    run = prepared(**motion)
    assert motions_of(run.settings, run.timeline, OPEN, run.frames).left[5] == pytest.approx(left, rel=0.05)


@pytest.mark.parametrize(
    ("prompts", "scene"),
    [
        (["an autumn forest with a path"], ENCLOSED),
        (["The Woods at night", "a calm sea", "a dark tunnel"], ENCLOSED),
        (["a calm sea", "a forest"], OPEN),
        (["forestry equipment"], OPEN),
        ([], OPEN),
    ],
)
def test_the_depth_is_chosen_by_the_prompts(prompts: list[str], scene: Scene) -> None:
    assert scene_of(prompts) is scene


def test_a_clip_gives_its_motion() -> None:
    """Measured on small frames: near that of the flow that the render takes."""
    from deforum.animation.modes import stages_of
    from deforum.animation.painter import each
    from deforum.features.hybrid.attach import attach
    from deforum.features.hybrid.camera import HybridCamera

    run = prepare(load(ROOT / "examples" / "hybrid.yaml", ["max_frames=5", "hybrid_flow_factor=1.5"]).settings)
    added, says = clip_motion(run, run.frames)
    assert added is not None and says == "the motion of valley.mp4"
    found = motions_of(run.settings, run.timeline, OPEN, run.frames, added)
    plain = stages_of(run.settings, each(lambda init, frame: torch.zeros(3, 176, 320)), CPU)
    kit = Kit(run.settings, PROFILES["corrected"], CPU, 8, KeptModels())
    camera = attach(plain, run.found["hybrid video"], kit).camera
    assert isinstance(camera, HybridCamera)
    speeds = []
    for index in range(1, 5):
        warp, _ = camera.look(torch.zeros(3, 176, 320), run.timeline[index - 1]).move(run.timeline[index])
        speeds.append(measured(warp)[0])
    assert found.speed[1:].mean() == pytest.approx(np.mean(speeds), rel=0.1)


# --- what is told -----------------------------------------------------------------------------------------------------


def moving(speeds: list[float]) -> Motions:
    """A motion to the right at these speeds."""
    speed = np.array(speeds)
    return Motions(np.abs(speed), np.abs(np.diff(speed, prepend=speed[0])), np.zeros(len(speed)), np.ones(len(speed)))


STEADY = [0.0] + [3.0] * 20


@pytest.mark.parametrize(
    ("speeds", "jumps"),
    [
        (STEADY, []),
        ([*STEADY, 41.0, *STEADY[1:]], [(21, 41, 3)]),  # there and back is one
        ([*STEADY, *[41.0] * 20], [(21, 41, 3)]),  # and so is a step
        ([*STEADY, 41.0, 30.0, 12.0, *STEADY[1:]], [(21, 41, 3)]),
        ([*STEADY, *[-15.0] * 20], [(21, 15, 3)]),
        ([*STEADY, *np.linspace(3, 80, 60)], []),  # gathering speed
        ([0.0, *[20.0 * (-1) ** index for index in range(40)]], []),  # shaking all the time
        ([*STEADY, 4.5, *STEADY[1:]], []),  # too little to be seen
        ([*STEADY, 41.0, *STEADY[1:], 41.0, *STEADY[1:]], [(21, 41, 3), (42, 41, 3)]),
    ],
)
def test_jumps_are_found(speeds: list[float], jumps: list[tuple[int, float, float]]) -> None:
    found = find_jumps(moving(speeds), 256)
    assert [(jump.frame, jump.speed, jump.before) for jump in found] == jumps


def test_a_jump_says_where_it_is_and_how_far() -> None:
    assert str(Jump(212, 41.3, 3.04, 39)) == "frame 212: 41 px, after 3 px"
    assert str(Jump(7, 19, 16, 35)) == "frame 7: 19 px, after 16 px the other way"


@pytest.mark.parametrize(
    ("settings", "dead"),
    [
        ({"strength": "0: (0.5), 3: (0.6)"}, []),
        ({"strength": "0: (0.5), 9: (0.6), 20: (0.7)"}, [("strength", 9, True), ("strength", 20, False)]),
        ({"strength": "0: (0.5), 5: (0.6), 9: (0.7)"}, [("strength", 9, False)]),  # reached in the last frame
        ({"strength": "0: (0.5) step, 9: (0.6)"}, [("strength", 9, False)]),
        ({"strength": "0: (0.5), max_f+1: (0.6)"}, [("strength", 6, True)]),
        ({"strength": "0: (0.5), 2s: (0.6)", "fps": 10}, [("strength", 20, True)]),
        ({"rotation_3d_y": "0: (0), 9: (2)"}, []),  # 2D does not read it
        ({"sampler": "0: (Euler a), 30: (DDIM)"}, [("sampler", 30, False)]),
        ({"prompts": {0: "a", 30: "b", 60: "c"}}, [("prompts", 30, False), ("prompts", 60, False)]),
        ({"prompts": {0: "a", 30: "b"}, "prompt_blend": "linear"}, [("prompts", 30, True)]),
    ],
)
def test_keyframes_behind_the_end_are_found(settings: dict[str, object], dead: list[tuple[str, int, bool]]) -> None:
    assert dead_keyframes(prepared(**settings).settings) == tuple(DeadKeyframe(*each) for each in dead)


def test_values_out_of_range_are_told(tmp_path: Path) -> None:
    """An old file may have them."""
    values = {"W": 64, "H": 64, "max_frames": 4, "animation_mode": "2D", "strength_schedule": "0: (0.5), 3: (2)",
              "prompts": {"0": "a"}, "noise_schedule": "0: (-0.1)"}  # fmt: skip
    (tmp_path / "old.txt").write_text(json.dumps(values))
    told = forecast(prepare(load(tmp_path / "old.txt").settings)).out_of_range
    assert told == (
        "strength is 1.5 at frame 2 (and 1 more); expected 0..1 (share); the nearest valid value is used",
        "noise is -0.1 at frame 0 (and 3 more); expected 0..1 (share); the nearest valid value is used",
    )


def test_the_whole_forecast() -> None:
    run = prepared(
        max_frames=24, cadence=3, fps=12, translation_x="0: (2), 12: (2), 13: (40), 14: (2)", diffusion_redo=1,
        strength="0: (0.5), 99: (0.6)",
    )  # fmt: skip
    found = forecast(run)
    assert (found.frames, found.paintings, found.passes) == (24, 8, 16)
    assert found.median_speed == pytest.approx(2) and found.top_speed == pytest.approx(2)
    assert found.median_uncovered == pytest.approx(2 / WIDTH, abs=1e-3)
    assert [jump.frame for jump in found.jumps] == [13]
    assert found.lines() == [
        "24 frames, 2.0 s; 8 are painted, 16 diffusions",
        "motion: 2 px/frame (median), 2 (95 %)",
        "newly uncovered: 1 % of each frame (median), 1 % (95 %)",
        "jumps: frame 13: 40 px, after 2 px",
        "strength: the keyframe 99 lies behind the last frame, 23; it is approached, and not reached",
        found.lines()[5],
        "memory: about 1.0 GB (estimated)",
    ]
    assert found.lines()[5].startswith("time: about ") and "no run on this machine yet" in found.lines()[5]
    fields = json.loads(json.dumps(found.as_json()))
    assert fields["jumps"] == [{"frame": 13, "speed": 40.0, "before": 2.0, "change": 38.0}]
    assert len(fields["speed"]) == 24 and fields["speed"][13] == 40 and fields["median_speed"] == 2


def test_a_film_of_shots_is_that_of_its_shots() -> None:
    """Each is a chain of its own: between them nothing moves, and frames are those of the film."""
    moves = {"translation_x": "0: (1), 15: (1), 16: (40), 17: (1)", "strength": "0: (0.5), 99: (0.6)", "cadence": 2}
    shots = [{"name": "sea", "to": 10}, {"name": "port", "to": 24, **moves}]
    run = prepared(max_frames=24, translation_x=3, prompts={0: "a", 50: "b"}, shots=shots)
    found = forecast(run)
    assert (found.frames, found.first, found.begins, found.paintings) == (24, 0, (0, 10), 10 + 7)
    assert found.speed[0] == found.speed[10] == 0 and found.speed[1] == pytest.approx(3)
    assert found.speed[11] == pytest.approx(1)
    assert [jump.frame for jump in found.jumps] == [16]
    assert [(each.setting, each.frame) for each in found.dead_keyframes] == [("prompts", 50), ("port, strength", 99)]
    assert found.median_speed == pytest.approx(1) and found.seconds is not None


def test_frames_before_the_first_one_do_not_count() -> None:
    found = forecast(prepared(max_frames=24, first_frame=8, translation_x="0: (50), 8: (50), 9: (2)", cadence=4))
    assert (found.frames, found.first, found.paintings, len(found.speed)) == (16, 8, 4, 16)
    assert found.speed[0] == 0 and found.top_speed == pytest.approx(2) and not found.jumps


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "motion: none"),
        ({"animation_mode": "Interpolation"}, "motion: none"),
        ({"animation_mode": "3D", "translation_z": 4}, "; depth as in an open scene, near below and far above"),
        ({"animation_mode": "3D", "translation_z": 4, "prompts": {0: "a cave"}}, "; depth as in an enclosed scene"),
        ({"animation_mode": "3D", "translation_z": 4, "use_depth_warping": False}, "; a flat scene"),
        ({"animation_mode": "3D", "translation_x": 20}, " by the seed), "),
        ({"width": 2048, "height": 2048}, "time: not known yet: the first run with this model on this machine"),
    ],
)
def test_what_is_assumed_is_said(settings: dict[str, object], line: str) -> None:
    assert any(line in each for each in forecast(prepared(**settings)).lines())


def test_the_command_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quickstart", "max_frames=8", "cadence=1"]
    assert cli.main(["forecast", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("quickstart.yaml") and lines[1] == "  8 frames, 0.7 s; 8 are painted"
    assert any("prompts: the keyframes 38, 72 lie behind" in line for line in lines)
    assert cli.main(["forecast", *words, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out.splitlines()[-1])["forecasts"]
    assert told["paintings"] == 8 and told["status"] == 0 and len(told["speed"]) == 8
    assert cli.main(["check", "-v", *words]) == 0
    assert "8 frames, 0.7 s; 8 are painted" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("zomm: 2")
    assert cli.main(["forecast", str(tmp_path / "bad.yaml"), *words]) == 2
    said = capsys.readouterr()
    assert "zomm" in said.err and "8 are painted" in said.out


def test_a_forecast_is_frozen() -> None:
    found: Any = forecast(prepared())
    assert isinstance(found, Forecast) and hash(found)
    with pytest.raises(AttributeError):
        setattr(found, "frames", 3)  # noqa: B010
