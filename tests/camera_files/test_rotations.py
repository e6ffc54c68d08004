"""Rotations against scipy's, gimbal places and signs of quaternions."""

from __future__ import annotations

import numpy as np
import pytest

from deforum.camera_files.rotations import (
    ORDERS,
    nearest_rotation,
    of_euler,
    of_quaternion,
    slerp,
    to_euler,
    to_quaternion,
)

AXES = "XYZ"


def angles(seed: int, count: int = 200) -> np.ndarray:
    """At random, with many right angles among them, at which two axes coincide."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(-180, 180, (count, 3))
    right = rng.random((count, 3)) < 0.3
    return np.where(right, rng.choice((-180, -90, 0, 90, 180), (count, 3)), found)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_turn_as_scipys_and_come_back(order: str) -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    given = angles(1)
    matrices = of_euler(given, order)
    ours = [AXES.index(axis) for axis in order]
    theirs = rotation.from_euler(order.lower(), given[:, ours], degrees=True).as_matrix()  # lower case: extrinsic
    np.testing.assert_allclose(matrices, theirs, atol=1e-12)
    for smooth in (True, False):
        np.testing.assert_allclose(of_euler(to_euler(matrices, order, smooth=smooth), order), matrices, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_angles_go_on_beyond_180_degrees(order: str) -> None:
    turns = np.zeros((100, 3))
    turns[:, AXES.index(order[0])] = np.arange(100) * 11
    turns[:, AXES.index(order[2])] = np.arange(100) * -7
    np.testing.assert_allclose(to_euler(of_euler(turns, order), order), turns, atol=1e-9)


def test_quaternions_are_scipys_and_neighbours_have_one_sign() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    matrices = of_euler(angles(2), "XYZ")
    found = to_quaternion(matrices)
    theirs = rotation.from_matrix(matrices).as_quat(scalar_first=True)
    np.testing.assert_allclose(np.abs((found * theirs).sum(1)), 1, atol=1e-12)
    np.testing.assert_allclose(of_quaternion(-3 * found), matrices, atol=1e-12)
    assert ((found[1:] * found[:-1]).sum(1) >= 0).all() and found[0, 0] >= 0
    whole_turn = to_quaternion(of_euler(np.linspace(0, 720, 90)[:, None] * (0, 1, 0), "XYZ"))
    assert np.abs(np.diff(whole_turn, axis=0)).max() < 0.1


def test_slerp_goes_the_shorter_way_at_even_speed() -> None:
    a, b = (to_quaternion(of_euler(np.array([[0.0, 0.0, z]]), "XYZ")) for z in (10, 70))
    for sign in (1, -1):
        halves = [slerp(a, sign * b, np.array([share]))[0] for share in (0.0, 0.25, 1.0)]
        turned = [to_euler(of_quaternion(each[None]), "XYZ")[0, 2] for each in halves]
        assert turned == pytest.approx([10, 25, 70])
    assert slerp(a, a, np.array([0.5]))[0] == pytest.approx(a[0])


def test_the_nearest_rotation_of_a_scaled_a_bent_and_a_mirrored_matrix() -> None:
    turned = of_euler(np.array([[20.0, 30.0, 40.0]]), "XYZ")
    bent = turned @ np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]])
    for matrix, apart in ((7 * turned, 0.0), (bent, 0.1), (turned * (1, 1, -1), 1.0)):
        rotation, far = nearest_rotation(matrix)
        assert np.linalg.det(rotation[0]) == pytest.approx(1)
        assert far[0] == pytest.approx(0, abs=1e-12) if apart == 0 else far[0] > apart
