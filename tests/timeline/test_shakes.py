"""Camera shakes: amplitudes, signs, closed paths, and what is read from files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.motion.matrices import flat_matrix
from deforum.motion.pose import Lens, Pose
from deforum.settings.options import Settings
from deforum.timeline.camera_path import Path2D, Path3D
from deforum.timeline.shake_files import read_shake
from deforum.timeline.shakes import LABELS, Shake, key_of, recorded, times
from tests.helpers import STILL, Make, settings_maker, write_settings


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return settings_maker(tmp_path, {**STILL, "translation_z": 0, "fps": 24, "width": 256, "height": 256})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("INVESTIGATION", "INVESTIGATION"),
        ("The Closeup", "THE_CLOSEUP"),
        ("walk to the store", "WALK_TO_THE_STORE"),
        ("HandyCam Run", "HANDYCAM_RUN"),
        ("Bike On Gravel (2D)", "BIKE_ON_GRAVEL_2D"),
        ("None", ""),
        ("", ""),
    ],
)
def test_shakes_are_known_by_key_and_label(name: str, key: str) -> None:
    assert key_of(name) == key


# Of the recordings: frames of 1/24 second, largest displacement in m, largest angle in radians.
MEASURES = {
    "INVESTIGATION": (371, 0.244, 0.083),
    "THE_CLOSEUP": (438, 0.0095, 0.0132),
    "THE_WEDDING": (161, 0.0045, 0.0195),
    "WALK_TO_THE_STORE": (122, 0.062, 0.035),
    "HANDYCAM_RUN": (64, 0.063, 0.121),
    "OUT_CAR_WINDOW": (160, 0.038, 0.052),
    "BIKE_ON_GRAVEL_2D": (126, 0, 0.270),
    "SPACESHIP_SHAKE_2D": (143, 0, 0.030),
    "THE_ZEEK_2D": (400, 0, 0.0042),
}


@pytest.mark.parametrize("key", LABELS)
def test_the_recordings_that_ship(key: str) -> None:
    shake, (length, location, rotation) = recorded(key), MEASURES[key]
    assert shake.label == LABELS[key]
    # An end that is not the beginning goes over into it, which takes up to 24 frames, and a little of a peak in them.
    assert length - 24 <= len(shake.poses) <= length
    assert np.abs(shake.poses[:, :3]).max() == pytest.approx(location, rel=0.05)
    assert np.abs(shake.poses[:, 3:]).max() == pytest.approx(rotation, rel=0.05)
    # A sway, not noise: no pose stands out from its neighbours, and it closes like any other step.
    poses = np.vstack((shake.poses[-2:], shake.poses, shake.poses[:2]))
    out = np.abs(poses[1:-1] - (poses[:-2] + poses[2:]) / 2)
    assert (out.max(0) <= 0.55 * np.ptp(shake.poses, axis=0) + 1e-5).all()
    steps = np.abs(np.diff(np.vstack((shake.poses, shake.poses[:1])), axis=0))
    assert (steps[-1] <= 1.5 * steps[:-1].max(0) + 2e-5).all()


def test_the_curve_goes_through_the_poses_and_round() -> None:
    shake = recorded("THE_WEDDING")
    count = len(shake.poses)
    time = np.arange(2 * count, dtype=float)
    assert np.allclose(shake.at(time), np.tile(shake.poses, (2, 1)), atol=1e-12)
    sine = np.sin(2 * np.pi * np.arange(40) / 40)[:, None] * np.ones(6)
    assert np.abs(Shake("", sine).at(np.array([10.5]))[0, 0] - math.cos(2 * np.pi * 0.5 / 40)) < 1e-5


@pytest.mark.parametrize(("fps", "speed", "time"), [(24, 1, [0, 1, 2, 3]), (12, 1, [0, 2, 4, 6]), (24, 3, [0, 3, 6, 9]),
                                                    (48, 1, [0, 0.5, 1, 1.5]), (24, 0, [0, 0, 0, 0])])  # fmt: skip
def test_a_higher_speed_is_faster_at_any_rate(fps: float, speed: float, time: list[float]) -> None:
    assert times(np.full(4, float(speed)), fps).tolist() == time


# x right, y up, z backward; radians -> where a point straight ahead (5 units) goes: px right, px down
POSES = [
    ("tilt up", (0, 0, 0, 0.05, 0, 0), (0, math.tan(0.05))),
    ("turn left", (0, 0, 0, 0, 0.05, 0), (math.tan(0.05), 0)),
    ("to the right", (0.4, 0, 0, 0, 0, 0), (-0.1 / 5, 0)),
    ("up", (0, 0.4, 0, 0, 0, 0), (0, 0.1 / 5)),
    ("roll", (0, 0, 0, 0, 0, 0.3), (0, 0)),
]


@pytest.mark.parametrize(("what", "pose", "moved"), POSES)
def test_signs_and_amplitudes_in_3d(what: str, pose: tuple[float, ...], moved: tuple[float, float]) -> None:
    view = Path3D.of_poses(np.array([pose], float), 50)
    x, y, z = np.array([0, 0, 5.0]) @ view.rotation[0] + view.translation[0]
    assert (x / z, y / z) == pytest.approx(moved, abs=1e-9)


def test_a_roll_of_the_camera_turns_the_picture_the_other_way() -> None:
    # The camera rolls counter-clockwise seen from behind: a point on the right goes down.
    view = Path3D.of_poses(np.array([[0, 0, 0, 0, 0, 0.3]]), 50)
    assert (np.array([1, 0, 5.0]) @ view.rotation[0])[1] == pytest.approx(math.sin(0.3))
    # And forward (z backward) brings things nearer.
    view = Path3D.of_poses(np.array([[0, 0, -0.4, 0, 0, 0]]), 50)
    assert view.translation[0, 2] == pytest.approx(-0.1)


@pytest.mark.parametrize(("what", "pose", "moved"), POSES[:2] + POSES[4:])
def test_2d_moves_the_picture_as_3d_does(what: str, pose: tuple[float, ...], moved: tuple[float, float]) -> None:
    still = Path2D(np.ones(1, complex), np.zeros(1, complex), np.zeros(1, complex), 256)
    view = still.of_poses(np.array([pose], float), 50)
    focal = Lens.of(70, 1, 256, 256).x
    assert (view.b[0].real, view.b[0].imag) == pytest.approx((focal * moved[0], focal * moved[1]))
    turned = (view.a[0] * 10).imag  # of a point on the right
    assert turned == pytest.approx(10 * math.sin(pose[5]))


def whole(settings: Settings, upto: int) -> Pose:
    pose = Pose(np.eye(3), np.zeros(3))
    for frame in list(timeline_of(settings))[1 : upto + 1]:
        pose = pose.then(Pose.of(frame.params))
    return pose


@pytest.mark.parametrize("key", LABELS)
def test_after_a_period_the_camera_is_where_it_was(make: Make, key: str) -> None:
    period = len(recorded(key).poses)
    settings = make(animation_mode="3D", max_frames=period + 1, shake_name=key, shake_intensity=2)
    pose = whole(settings, period)
    assert np.abs(pose.rotation - np.eye(3)).max() < 1e-6
    assert np.abs(pose.translation).max() < 1e-6


def test_the_shake_is_added_in_the_view_of_the_moving_camera(make: Make) -> None:
    moving = {"animation_mode": "3D", "max_frames": 20, "translation_z": 5, "rotation_3d_y": 1}
    steady, shaken = (whole(make(**moving, shake_name=name), 19) for name in ("None", "HANDYCAM_RUN"))
    poses = Path3D.of_poses(recorded("HANDYCAM_RUN").at(np.array([0.0, 19.0])), 50)
    first, last = (Pose(poses.rotation[i], poses.translation[i]) for i in (0, 1))
    expected = first.inverse().then(steady).then(last)
    assert np.allclose(shaken.rotation, expected.rotation, atol=1e-9)
    assert np.allclose(shaken.translation, expected.translation, atol=1e-9)


def test_amplitude_on_screen_is_that_of_the_angles(make: Make) -> None:
    key = "THE_ZEEK_2D"
    poses, focal = recorded(key).poses, 128 / math.tan(math.radians(35))
    for mode in ("2D", "3D"):
        frames = list(timeline_of(make(animation_mode=mode, zoom=1, max_frames=len(poses), shake_name=key)))
        at = np.eye(3)
        seen = [np.zeros(2)]
        pose = Pose(np.eye(3), np.zeros(3))
        for frame in frames[1:]:
            at = flat_matrix(frame.params, 256, 256, flip=False, flip_keeps_translation=True) @ at
            pose = pose.then(Pose.of(frame.params))
            x, y, z = np.array([0, 0, 5.0]) @ pose.rotation + pose.translation
            seen.append(at[:2] @ (128, 128, 1) - 128 if mode == "2D" else focal * np.array([x, y]) / z)
        reach = np.ptp(np.array(seen), axis=0) / focal
        assert reach == pytest.approx((np.ptp(poses[:, 4]), np.ptp(poses[:, 3])), rel=0.02)


def test_intensity_and_speed_are_schedules(make: Make) -> None:
    shaken = {"animation_mode": "3D", "max_frames": 8, "shake_name": "THE_WEDDING"}
    faded = timeline_of(make(**shaken, shake_intensity='"0: (0), 4: (0), 7: (1)"'))
    assert [frame.params.rotation_3d_x for frame in faded][:5] == pytest.approx([0] * 5)
    assert faded[7].params.rotation_3d_x != 0
    still = timeline_of(make(**shaken, shake_speed=0))
    assert all(abs(frame.params.rotation_3d_x) < 1e-12 for frame in still)


# --- files ------------------------------------------------------------------------------------------------------------

TRACK = [(0, 0.0), (10, 0.1), (20, 0.0), (30, -0.1), (40, 0.0)]
SHAKIFY = f"""# Comments, and code that must not run
import os
VERSION = 3
SHAKES = {{
    'A_RUN': ("A Run", 24.0, {{
        ('location', 1): {[(frame, value * 2) for frame, value in TRACK]},
        ('rotation_euler', 0): {TRACK},
    }}),
    'A_WALK': ("A Walk", 24.0, {{ ('rotation_euler', 2): {TRACK}, }}),
}}
raise SystemExit(1)
"""
AS_JSON = json.dumps({"A_RUN": {"fps": 24, "location": [[], [[f, 2 * v] for f, v in TRACK]], "rotation": [TRACK]}})
AS_CSV = "frame, y, rx\n" + "".join(f"{frame}, {2 * value}, {math.degrees(value)}\n" for frame, value in TRACK)


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("shake_data.py", SHAKIFY, "A Run"),
        ("shake_data.py", SHAKIFY, "None"),
        ("mine.json", AS_JSON, "a_run"),
        ("mine.csv", AS_CSV, "None"),
        ("mine.csv", "\ufeff" + AS_CSV, "anything"),
    ],
)
def test_recordings_are_read(tmp_path: Path, file: str, text: str, name: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    _, poses = read_shake(tmp_path / file, name)
    assert poses.shape == (40, 6)
    assert poses[::10, 3] == pytest.approx([0, 0.1, 0, -0.1])
    assert poses[::10, 1] == pytest.approx([0, 0.2, 0, -0.2])
    assert not poses[:, [0, 2, 4, 5]].any()


def test_a_recording_of_another_rate_and_an_open_end(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"fps": 12, "rotation": [[[frame, frame / 100] for frame in range(101)]]}))
    _, poses = read_shake(path, "None")
    assert len(poses) == 201 - 24  # 8.3 seconds, and the last one goes over into the first
    steps = np.abs(np.diff(np.append(poses[:, 3], poses[0, 3])))
    assert steps.max() < 0.1
    assert poses[-1, 3] == pytest.approx(0.88, abs=0.01)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (SHAKIFY, "A_RUM", "has no shake 'A_RUM' (did you mean A_RUN?); it has A_RUN, A_WALK"),
        ("print('hello')", "None", "mine.txt has no recording"),
        ("{" * 5000, "None", "has no recording"),
        ('{"A": {"fps": 24, "rotation": [[[0, 1], [1, 2]]]}}', "None", "it lasts 2 frames"),
        ('{"A": {"fps": 24, "rotation": [[[0, 1], [9e9, 2]]]}}', "None", "above 1e9"),
        ('{"A": {"fps": 24, "rotation": [[[0, NaN], [9, 2]]]}}', "None", "not finite"),
        ("frame,x\n0,1\n1,two\n", "None", "has no recording"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, name: str, message: str) -> None:
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(UserError, match=r"shake_\w+: .*") as caught:
        read_shake(tmp_path / "mine.txt", name)
    assert message in str(caught.value)


def test_settings_with_a_recording(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(AS_CSV)
    values: dict[str, object] = {**STILL, "animation_mode": "3D", "max_frames": 11, "fps": 24, "translation_z": 0}
    settings = load(write_settings(tmp_path, {**values, "shake_file": "mine.csv"})).settings
    assert sum(frame.params.rotation_3d_x for frame in timeline_of(settings)) == pytest.approx(math.degrees(0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shake_name": "INVESTIGATOR"}, "there is no shake INVESTIGATOR (did you mean INVESTIGATION?)"),
        ({"shake_file": "nowhere.json"}, "nowhere.json"),
    ],
)
def test_a_shake_that_is_not_there(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(write_settings(tmp_path, {**STILL, **changes}))
    assert message in str(caught.value)
    assert "settings.yaml:7" in str(caught.value)


def test_paths_in_space_survive_their_curves() -> None:
    rng = np.random.default_rng(1)
    from deforum.settings.params import PARAMS, Params

    curves = Params(**{name: rng.uniform(0.5, 1.5, 7) for name in PARAMS})
    for path in (Path3D.read(curves), Path2D.read(curves, 256, 200)):
        written = path.write(curves)
        assert max(np.abs(getattr(written, name) - getattr(curves, name)).max() for name in PARAMS) < 1e-12
