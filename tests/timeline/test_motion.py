"""Loops: motion that comes back, prompts that return, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deforum.build import prepare
from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.motion.matrices import flat_matrix
from deforum.motion.pose import Pose
from deforum.settings.options import Settings
from deforum.timeline.ending import Plan, plan_of
from deforum.timeline.prompts import PromptTrack
from tests.helpers import STILL, Make, settings_maker, write_settings

TO_AND_FRO_2D = {"zoom": "1+0.02*sin(2*pi*t/40)", "angle": "2*sin(2*pi*t/40)", "translation_x": "3*cos(2*pi*t/20)"}
TO_AND_FRO_3D = {"translation_z": "3*sin(2*pi*t/40)", "rotation_3d_y": "sin(2*pi*t/20)", "translation_x": "cos(t/3)"}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    usual = {**STILL, "translation_z": 0, "width": 256, "height": 192, "max_frames": 48, "loop": "true", "cadence": 1}
    return settings_maker(tmp_path, usual)


def round_trip(settings: Settings) -> np.ndarray:
    """Return the motion of one round as a matrix, less the identity."""
    frames = list(timeline_of(settings))
    params = [frame.params for frame in (*frames[1:], frames[0])]
    if settings.mode.has_depth:
        pose = Pose(np.eye(3), np.zeros(3))
        for each in params:
            pose = pose.then(Pose.of(each))
        return np.vstack((pose.rotation - np.eye(3), pose.translation))
    matrix = np.eye(3)
    for each in params:
        matrix = flat_matrix(each, *settings.size, flip=False, flip_keeps_translation=True) @ matrix
    return np.asarray(matrix - np.eye(3))


@pytest.mark.parametrize("shake", ["None", "WALK_TO_THE_STORE"])
@pytest.mark.parametrize(
    "changes",
    [
        {"animation_mode": "2D", **TO_AND_FRO_2D},
        {"animation_mode": "2D", **TO_AND_FRO_2D, "transform_center_x": "0.2+t/100", "profile": "deforum"},
        {"animation_mode": "3D", **TO_AND_FRO_3D},
        {"animation_mode": "2D", "zoom": 1.02, "angle": 3, "loop_drift": "remove"},
        {"animation_mode": "3D", "translation_z": 5, "rotation_3d_y": 2, "loop_drift": "remove"},
        {"animation_mode": "2D"},
        {"animation_mode": "2D", "angle": 7.5},  # 360 degrees in 48 frames
        {"animation_mode": "3D", "rotation_3d_z": 7.5},
    ],
)
def test_a_path_to_and_fro_is_closed(make: Make, changes: dict[str, object], shake: str) -> None:
    assert np.abs(round_trip(make(**changes, shake_name=shake))).max() < 1e-9


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"animation_mode": "2D", "zoom": 1.02}, "after 48 frames the picture is 2.59 times as large; the last frames"),
        ({"animation_mode": "2D", "translation_x": 2}, "after 48 frames the picture is moved by 96"),
        ({"animation_mode": "3D", "translation_z": 5}, "after 48 frames the picture is moved by 240"),
        ({"animation_mode": "2D", "zoom": 1.02, "loop_drift": "remove"}, "would be 2.59 times as large; this drift is"),
        ({"animation_mode": "2D", **TO_AND_FRO_2D}, "times as large, turned by"),
        ({"animation_mode": "3D", "fov": '"0: (70), 47: (50)"'}, "over the last 24 frames fov returns to the first"),
        ({"animation_mode": "2D", "echo_amount": 0.3}, "over the last 24 frames echo_amount returns"),
        ({"animation_mode": "2D"}, ""),
        ({"animation_mode": "2D", "angle": 7.5}, ""),
    ],
)
def test_what_a_loop_says_of_the_motion(make: Make, changes: dict[str, object], note: str) -> None:
    notes = [each for each in prepare(make(**changes)).notes if each.startswith("loop")]
    assert len(notes) == bool(note)
    assert note in "".join(notes)


def test_an_endless_zoom_remains_one(make: Make) -> None:
    timeline = timeline_of(make(zoom=1.02))
    assert {round(frame.params.zoom, 12) for frame in timeline} == {1.02}


def test_the_last_step_is_like_those_beside_it(make: Make) -> None:
    timeline = timeline_of(make(zoom='"0: (1.5), 1: (1.02)"', loop_drift="keep"))
    assert timeline[0].params.zoom == pytest.approx(1.02, abs=1e-9)


def test_curves_return_and_trails_fade(make: Make) -> None:
    timeline = timeline_of(make(animation_mode="3D", fov='"0: (70), 47: (50)"', echo_amount=0.3))
    fov = [frame.params.fov for frame in timeline]
    assert abs(fov[-1] - fov[0]) <= np.abs(np.diff(fov)).max()
    assert fov[:24] == pytest.approx([70 - 20 * t / 47 for t in range(24)])
    assert [timeline[index].params.echo_amount for index in (0, 23)] == [0.3, 0.3]
    assert timeline[47].params.echo_amount < 0.01


@pytest.mark.parametrize(
    ("share", "last", "cadence", "settle"),
    [
        (0.8, 47, 1, 0), (1, 47, 1, 0.5), (0.9, 47, 1, 0.25),
        (1, 44, 4, 0.8), (1, 47, 4, 0.95),  # one step in place of four
        (1, 40, 4, 0.8),
    ],
)  # fmt: skip
def test_the_last_painted_frame_is_settled(share: float, last: int, cadence: int, settle: float) -> None:
    assert Plan(24, 48, True).settle(share, last, cadence) == pytest.approx(settle)
    assert Plan(24, 48, False).settle(share, last, cadence) == 0


A, B = (("a", 1.0),), (("b", 1.0),)


@pytest.mark.parametrize(
    ("track", "blend", "at"),
    [
        (PromptTrack((0, 10), ("a", "b")), True, {0: A, 10: B, 20: (("b", 0.5), ("a", 0.5))}),
        (PromptTrack((0, 10), ("a", "b")), False, {9: A, 10: B, 20: B, 25: (("b", 0.5), ("a", 0.5))}),
        (PromptTrack((0, 25), ("a", "b")), False, {24: A, 25: B, 27: (("b", 0.6), ("a", 0.4))}),
        (PromptTrack((0, 10, 20), ("a", "b", "a")), False, {15: B, 20: A, 29: A}),
        (PromptTrack((0, 40), ("a", "b")), True, {0: A, 29: A}),
        (PromptTrack((0,), ("a",)), True, {29: A}),
    ],
)
def test_prompts_return_to_the_first(track: PromptTrack, blend: bool, at: dict[int, object]) -> None:
    closed = track.closed(20, 30, blend=blend)
    found = {frame: closed.at(frame, blend=blend) for frame in at}
    rounded = {frame: tuple((text, round(weight, 9)) for text, weight in each) for frame, each in found.items()}
    assert rounded == at


def test_keyframes_after_the_end_of_a_loop_are_told(tmp_path: Path) -> None:
    path = write_settings(tmp_path, {**STILL, "max_frames": 10, "loop": "true", "prompt_blend": "linear",
                                     "prompts": "{0: a, 5: b, 10: c}"})  # fmt: skip
    assert any("never shown: 10" in line for line in load(path).report)


def test_interpolation_closes_its_prompts(make: Make) -> None:
    prompts = "{0: a, 24: b}"
    timeline = timeline_of(make(animation_mode="Interpolation", prompts=prompts))
    weights = [{prompt.positive: prompt.weight for prompt in frame.prompts} for frame in timeline]
    assert weights[36] == pytest.approx({"b": 0.5, "a": 0.5})
    assert weights[47]["a"] == pytest.approx(23 / 24)
    assert timeline[47].ending is None


@pytest.mark.parametrize(
    ("changes", "plan"),
    [
        ({"fps": 12}, Plan(24, 48, True)),  # at most half
        ({"fps": 4}, Plan(36, 48, True)),  # at least 12 frames
        ({"ending_frames": 10}, Plan(38, 48, True)),
        ({"ending_frames": 1000}, Plan(0, 48, True)),
        ({"max_frames": 2}, Plan(1, 2, True)),
        ({"max_frames": 1}, None),
        ({"loop": "false"}, None),
        ({"loop": "false", "end_image": "a.png"}, Plan(24, 47, False)),
    ],
)
def test_where_the_ending_begins(make: Make, tmp_path: Path, changes: dict[str, object], plan: Plan | None) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert plan_of(make(**changes)) == plan


@pytest.mark.parametrize("cadence", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("ending", [{"loop": "true"}, {"loop": "false", "end_image": "a.png"}])
def test_pulls_add_up_to_the_end(make: Make, tmp_path: Path, cadence: int, ending: dict[str, str]) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    timeline = timeline_of(make(cadence=cadence, max_frames=50, **ending))
    assert (timeline.keys[-1] == 49) or (timeline.plan is not None and timeline.plan.is_loop)
    left = 1.0
    for key in timeline.keys:
        end = timeline[key].ending
        if end is not None:
            left *= 1 - end.pull
            assert len(end.way) == (50 if timeline.plan and timeline.plan.is_loop else 49) - key + 1
    assert left < 0.01
    frames = [frame.index for span in timeline.spans() for frame in span.frames]
    assert frames == list(range(50))
    closing = [span for span in timeline.spans() if span.closes is not None]
    assert len(closing) == (ending["loop"] == "true" and timeline.keys[-1] < 49)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_image": "a.png"}, "end_image: a loop ends at its own first frame"),
        ({"hybrid_motion": "Affine", "video_init_path": "a.png"}, "loop: hybrid_motion Affine cannot be followed"),
        ({"animation_mode": "3D", "enable_perspective_flip": "true"}, "loop: in 3D it cannot be combined"),
        ({"end_image": "b.png", "loop": "false"}, "b.png"),
        ({"first_frame": 3}, "loop: it closes one chain of frames"),
        ({"shot_cuts": "prompts"}, "loop: it closes one chain of frames"),
    ],
)
def test_what_cannot_be_combined(make: Make, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        make(**changes)
    assert message in str(caught.value)
    assert "settings.yaml:" in str(caught.value)
