"""The camera against geometry that is known: points, and a scene whose true pictures are traced ray by ray."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from deforum.errors import UserError
from deforum.motion.flat import warp_flat
from deforum.motion.flow_warp import move_flow, move_mask
from deforum.motion.matrices import rotation, translation
from deforum.motion.pose import Lens, Pose
from deforum.motion.slab import warp_slab
from deforum.motion.surface import DepthWarp, stay, warp_physical
from deforum.pixels.image import to_bytes
from tests.helpers import motion_of
from tests.helpers.pictures import BOX, TRACED, WALL, grid, trace

Camera = Callable[..., DepthWarp]
CAMERAS = (warp_slab, warp_physical)


def center(moved: DepthWarp, x: float = 0, y: float = 0) -> tuple[float, float]:
    """How far the content moves that is at (x, y) from the middle."""
    lookup = moved.inverse().source - grid(256, 256)
    return tuple(lookup[:, round(127.5 + y), round(127.5 + x)].tolist())


# Content motion in px at 256x256, fov 70, flat z = 1: as measured with Deforum, and as a real camera does it.
SIGNS = [
    ({"translation_x": 10}, (0, 0), (-9.19, 0), (-9.14, 0)),
    ({"translation_y": 10}, (0, 0), (0, 9.19), (0, 9.14)),
    ({"translation_z": 10}, (50, -30), (4.1, -2.4), (2.63, -1.58)),
    ({"rotation_3d_x": 2}, (0, 0), (0, 6.46), (0, 6.38)),
    ({"rotation_3d_y": 2}, (0, 0), (-6.45, 0), (-6.38, 0)),
    ({"rotation_3d_z": 2}, (50, -30), (-1.6, -2.4), (-1.08, -1.73)),
]


@pytest.mark.parametrize(("numbers", "place", "slab", "physical"), SIGNS, ids=lambda value: str(value))
def test_signs_and_magnitudes(
    numbers: dict[str, float],
    place: tuple[float, float],
    slab: tuple[float, float],
    physical: tuple[float, float],
) -> None:
    motion = motion_of(**numbers)
    assert center(warp_slab(None, motion, 256, 256), *place) == pytest.approx(slab, abs=0.12)
    assert center(warp_physical(None, motion, 256, 256), *place) == pytest.approx(physical, abs=0.06)


@pytest.mark.parametrize("warp", CAMERAS)
def test_no_motion_changes_nothing(warp: Camera) -> None:
    image, depth = trace({})
    still = warp(depth, motion_of(), TRACED, TRACED)
    assert still(image) is image
    assert still.coverage().min() == 1
    assert torch.equal(still.depth, depth)
    assert still.then(still)(image) is image
    assert still.inverse()(image) is image


MOTIONS = [
    {"translation_x": 30.0},
    {"translation_z": 60.0},
    {"rotation_3d_y": 5.0, "translation_x": -20.0},
    {"rotation_3d_z": 10.0, "rotation_3d_x": 4.0, "translation_y": 20.0, "translation_z": -30.0},
]


@pytest.mark.parametrize("numbers", MOTIONS, ids=str)
def test_physical_camera_sees_what_is_there(numbers: dict[str, float]) -> None:
    """Against the traced picture from the new place: colours, depth, and what the old place did not see."""
    image, depth = trace({})
    expected, expected_depth = trace(numbers)
    moved = warp_physical(depth, motion_of(**numbers), TRACED, TRACED)
    seen = moved.coverage() > 0.99
    error = (moved(image) - expected).abs().amax(0)
    # At the outline of the box the traced pictures have steps, which no sampling between pixels gives back.
    assert error[seen].median() < 2e-3
    assert (error[seen] > 0.05).float().mean() < 0.02
    wrong_depth = (moved.depth / expected_depth - 1).abs() > 0.01
    assert wrong_depth[seen].float().mean() < 0.015

    # A pixel was seen before if the old view has its depth at the place where it was.
    back = warp_physical(expected_depth, motion_of(), TRACED, TRACED)  # for its pixels only
    pose = Pose.of(motion_of(**numbers)).inverse()
    lens, middle = Lens.of(70, 1, TRACED, TRACED), (TRACED - 1) / 2
    x, y = (back.source - middle) / lens.x * expected_depth
    point = torch.stack((x, y, expected_depth), -1) @ torch.from_numpy(pose.rotation).float()
    point = point + torch.from_numpy(pose.translation).float()
    column, row = point[..., 0] / point[..., 2] * lens.x + middle, point[..., 1] / point[..., 2] * lens.y + middle
    inside = (column >= 0) & (column <= TRACED - 1) & (row >= 0) & (row <= TRACED - 1)
    old = depth[row.round().long().clamp(0, TRACED - 1), column.round().long().clamp(0, TRACED - 1)]
    truly = inside & ((old / point[..., 2] - 1).abs() < 0.05)
    assert (truly != seen).float().mean() < 0.015


def test_flow_between_rendered_frames_is_that_of_the_geometry() -> None:
    """Estimated from the two pictures alone; and near things move more than far ones."""
    image, depth = trace({})
    moved = warp_physical(depth, motion_of(translation_x=15.0), TRACED, TRACED)
    grey = [cv2.cvtColor(to_bytes(picture), cv2.COLOR_RGB2GRAY) for picture in (image, moved(image))]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    true_x = -15 / 200 * Lens.of(70, 1, TRACED, TRACED).x / depth.numpy()
    margin = slice(12, -12)
    error = np.hypot(flow[margin, margin, 0] - true_x[margin, margin], flow[margin, margin, 1])
    assert np.median(error) < 0.5
    near = depth.numpy() < 3
    assert np.median(flow[near, 0]) < 2 * np.median(flow[~near, 0]) < -2


def test_field_of_view_against_translation_is_a_dolly_zoom() -> None:
    """The box keeps its size while the camera comes nearer and the lens widens; the wall behind it shrinks."""
    _, depth = trace({})
    step = 80.0
    fov = np.degrees(2 * np.arctan(np.tan(np.radians(35)) * BOX / (BOX - step / 200)))
    motion = motion_of(translation_z=step, fov=float(fov))
    move = warp_physical(depth, motion, TRACED, TRACED, before=motion_of()).inverse().source - grid()
    assert move[:, depth == BOX].abs().max() < 0.01
    corner = move[:, 0, 0]
    assert corner[0] > 5
    assert corner[1] > 5


def test_a_wider_lens_zooms_out() -> None:
    moved = warp_physical(None, motion_of(fov=90.0), TRACED, TRACED, before=motion_of()).inverse()
    assert moved.source[0, 0, 0] == pytest.approx((TRACED - 1) / 2 * (1 - np.tan(np.radians(35))), abs=0.01)


@pytest.mark.parametrize("warp", CAMERAS)
def test_brightness_stays(warp: Camera) -> None:
    """The whole picture is in sight all the time, so that its mean must stay: within 0.1 level in 50 frames."""
    seed = torch.Generator().manual_seed(0)
    inner = torch.rand((3, 16, 16), generator=seed)
    image = torch.full((3, 128, 128), 0.5)
    image[:, 32:96, 32:96] = torch.nn.functional.interpolate(inner[None], size=64, mode="bicubic")[0].clamp(0.1, 0.9)
    start = image.mean()
    depth = torch.full((128, 128), 1.0)
    for index in range(50):
        back = 1 if index % 2 else -1
        motion = motion_of(translation_x=0.53 * back, translation_y=0.31 * back, rotation_3d_z=0.7 * back)
        image = warp(depth, motion, 128, 128)(image)
    assert abs(float(image.mean() - start)) * 255 < 0.1


@pytest.mark.parametrize("warp", CAMERAS)
def test_motions_join_and_turn_back(warp: Camera) -> None:
    image, depth = trace({})
    first = warp(depth, motion_of(translation_x=8.0, rotation_3d_z=2.0), TRACED, TRACED)
    second = warp(first.depth, motion_of(translation_z=8.0, rotation_3d_y=1.0), TRACED, TRACED)
    joined = first.then(second)
    seen = joined.coverage() > 0.99
    assert seen.float().mean() > 0.85
    assert (joined(image) - second(first(image))).abs().amax(0)[seen].median() < 5e-3

    there_and_back = joined.then(joined.inverse())
    seen = there_and_back.coverage() > 0.99
    assert seen.float().mean() > 0.8
    assert (there_and_back.source - grid()).abs().amax(0)[seen].quantile(0.98) < 0.1
    assert torch.equal(joined.inverse().inverse().source, joined.source)
    assert torch.equal(joined.inverse().depth, depth)


def test_small_steps_add_up_to_the_large_one() -> None:
    _, depth = trace({})
    step, large = motion_of(translation_x=4.0), warp_physical(depth, motion_of(translation_x=64.0), TRACED, TRACED)
    path = stay(depth, TRACED, TRACED)
    for _ in range(16):
        path = path.then(warp_physical(path.depth, step, TRACED, TRACED))
    torch.testing.assert_close(path.source, large.source, atol=0.02, rtol=0)
    assert torch.equal(path.coverage() > 0.5, large.coverage() > 0.5)
    torch.testing.assert_close(path.depth, large.depth, atol=1e-3, rtol=1e-3)


def test_steps_one_by_one_leave_no_trail() -> None:
    """With the depth found anew at each, as between diffused frames, near things keep their outline and colour."""
    picture, _ = trace({})
    for number in range(16):
        _, depth = trace({"translation_x": 4.0 * number})
        picture = warp_physical(depth, motion_of(translation_x=4.0), TRACED, TRACED)(picture)
    expected, _ = trace({"translation_x": 64.0})
    inner = slice(TRACED // 6, -TRACED // 6)  # away from what comes in at the edge
    red, expected_red = ((one[0] > one[2])[:, inner] for one in (picture, expected))
    assert (red != expected_red).float().sum(1).max() <= 3  # px in a row: depth maps are of whole pixels
    assert picture[2, :, inner].max() < expected[2, :, inner].max() + 0.05


def test_the_way_back_shows_what_the_first_view_did_not() -> None:
    """On the way to a view, what it uncovers on the way is seen from that view, though not from the first."""
    _, depth = trace({})
    half = motion_of(translation_x=20.0)
    there = warp_physical(depth, half, TRACED, TRACED)
    path = there.then(warp_physical(there.depth, half, TRACED, TRACED))
    from_key = path.inverse().then(there)
    middle = (grid()[0] > TRACED * 0.2) & (grid()[0] < TRACED * 0.8)
    uncovered = (there.coverage() == 0) & middle
    assert uncovered.sum() > 100
    assert from_key.coverage()[uncovered].float().mean() > 0.9


def test_what_comes_into_view_is_filled_from_behind_or_stretched() -> None:
    image, depth = trace({})
    motion = motion_of(translation_x=40.0)
    far, stretched = (warp_physical(depth, motion, TRACED, TRACED, fill=fill) for fill in ("far", "stretch"))
    hole = (far.coverage() == 0) & (grid()[0] < TRACED * 0.7) & (grid()[0] > TRACED * 0.3)
    assert 200 < hole.sum() < 2000
    assert torch.equal(far.coverage(), stretched.coverage())
    assert far.depth[hole].min() > 0.99 * WALL
    red = {name: (moved(image)[0] > moved(image)[2])[hole].float().mean() for name, moved in
           {"far": far, "stretched": stretched}.items()}  # fmt: skip
    assert red["far"] < 0.05
    assert red["stretched"] > 0.5  # the edge of the near thing is pulled over what it uncovers


def test_a_growing_surface_has_no_cracks() -> None:
    """Nothing behind shows through a near slope that fills the picture ever larger."""
    depth = 1 + grid()[1].flip(0) / TRACED * 2
    moved = warp_physical(depth, motion_of(translation_z=60.0), TRACED, TRACED)
    assert moved.coverage().min() == 1
    rows = moved.depth.diff(dim=0)
    assert rows.max() < 0.03  # a hole would show the slope's far end


def test_masks_and_flow_move_along() -> None:
    turned = warp_physical(None, motion_of(rotation_3d_z=90.0), TRACED, TRACED)
    mask = torch.zeros(TRACED, TRACED)
    mask[20:40, 100:120] = 1
    moved = move_mask(turned, mask)
    row, column = (int(axis.float().mean()) for axis in torch.nonzero(moved > 0.5, as_tuple=True))
    assert (column, row) == (29, TRACED - 1 - 110)  # counter-clockwise: what was above is now on the left
    rightward = torch.zeros(TRACED, TRACED, 2)
    rightward[..., 0] = 3
    flow = move_flow(turned, rightward)[20:-20, 20:-20]
    torch.testing.assert_close(flow, torch.tensor([0.0, -3.0]).expand_as(flow), atol=2e-3, rtol=0)


def test_beyond_the_edge() -> None:
    image, depth = trace({})
    pan = motion_of(rotation_3d_y=10.0)
    black = warp_physical(depth, pan, TRACED, TRACED, padding="zeros")(image)
    repeated = warp_physical(depth, pan, TRACED, TRACED, padding="border")(image)
    mirrored = warp_physical(depth, pan, TRACED, TRACED, padding="reflection")(image)
    assert black[:, :, -10:].max() == 0
    assert repeated[:, 96, -10:].std(1).max() < 0.05 < mirrored[:, 96, -10:].std(1).max()


def test_flip_in_one_sampling_or_two() -> None:
    image, depth = trace({})
    flat = translation(6, -3) @ rotation(4, 1.1, 96, 96)
    expected = warp_flat(image, flat, border="replicate", sampling="bicubic")
    once = stay(depth, TRACED, TRACED).flipped(flat)
    assert (once(image) - expected).abs().max() < 1e-3
    motion = motion_of(translation_x=10.0)
    moved = warp_physical(depth, motion, TRACED, TRACED)
    twice = moved.flipped(flat, "replicate")
    torch.testing.assert_close(twice(image), moved(warp_flat(image, flat, border="replicate")))
    assert (moved.flipped(flat)(image) - twice(image)).abs().mean() < 0.01
    back = twice.then(twice.inverse())
    seen = back.coverage() > 0.99
    assert (back.source - grid()).abs().amax(0)[seen].median() < 0.05


@pytest.mark.parametrize(("width", "height"), [(96, 160), (160, 96), (97, 63)])
def test_a_pan_is_in_square_pixels_at_any_shape(width: int, height: int) -> None:
    """The physical camera turns a picture as a rigid thing; a circle stays one."""
    move = warp_physical(None, motion_of(rotation_3d_z=90.0), width, height).inverse().source
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2]).view(2, 1, 1)
    before, after = grid(width, height) - middle, move - middle
    torch.testing.assert_close(after, torch.stack((before[1], -before[0])), atol=1e-3, rtol=0)


def test_lens() -> None:
    assert Lens.of(90, 1, 200, 100).x == pytest.approx(100)
    assert Lens.of(90, 2, 200, 100).x == pytest.approx(50)
    assert Lens.of(90, 2, 200, 100).y == pytest.approx(100)
    assert Lens.of(90, 2, 200, 100, fov_is_vertical=True).x == pytest.approx(50)


@pytest.mark.parametrize(
    ("warp", "numbers", "says"),
    [
        (warp_physical, {"fov": -70.0}, "fov is -70"),
        (warp_physical, {"fov": 180.0}, "fov is 180"),
        (warp_slab, {"fov": 0.0}, "fov is 0"),
        (warp_physical, {"translation_z": 2000.0}, "past everything"),
    ],
)
def test_what_no_camera_can_do_is_said(warp: Camera, numbers: dict[str, float], says: str) -> None:
    _, depth = trace({})
    with pytest.raises(UserError, match=says):
        _ = warp(depth, motion_of(translation_x=1.0, **numbers), TRACED, TRACED).source
