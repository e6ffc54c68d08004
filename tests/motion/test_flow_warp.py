"""Optical flow: what it finds of known motions, how it moves things, and in-betweens that follow it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.stages import Stages
from deforum.build import prepare
from deforum.depth import Gives
from deforum.errors import UserError
from deforum.features.flow_cadence import with_flow
from deforum.features.flows import find_flow
from deforum.features.table import timeline_of as sample
from deforum.flow import METHODS, FlowModel, FlowSource, load_flow, resolve_flow
from deforum.loading import load
from deforum.motion.flat import FlatWarp, rotation, translation
from deforum.motion.flow_warp import (
    Flow,
    FlowWarp,
    consistency,
    join,
    move_flow,
    move_mask,
    reliable_flow,
    to_positions,
)
from deforum.motion.positions import pixels
from deforum.motion.surface import warp_physical
from deforum.motion.warps import Warp
from deforum.pixels.image import CPU, Image, from_array, to_array
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import move_by_flow, to_flow
from tests.motion.test_surface import motion_of

SIZE = 96
INNER = (slice(16, -16), slice(16, -16))
CLASSIC = [name for name, row in METHODS.items() if not row.files]


def scene(moved: Callable[[Any, Any], tuple[Any, Any]] = lambda x, y: (x, y), size: int = SIZE) -> Image:
    """A picture with detail everywhere, whose pixel (x, y) shows what is at `moved(x, y)`: known between pixels too."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    x, y = moved(x, y)
    random = np.random.default_rng(3)
    length = 0.1 * 8 ** random.random(48)  # radians per px, coarse to fine
    turn, phases = random.uniform(0, 6.28, 48), random.uniform(0, 6.28, (48, 3, 1, 1))
    waves = (
        ((0.1 / k) ** 0.5, k * np.cos(a), k * np.sin(a), phase)
        for k, a, phase in zip(length, turn, phases, strict=True)
    )
    picture = sum(height * np.sin(x * u + y * v + phase) for height, u, v, phase in waves)
    return from_array(np.moveaxis(0.5 + 0.07 * np.asarray(picture), 0, -1).clip(0, 1).astype(np.float32))


def even_flow(x: float, y: float, size: int = SIZE) -> Flow:
    return torch.tensor((float(x), float(y))).expand(size, size, 2).contiguous()


def swirl(strength: float = 1.0) -> Flow:
    """A smooth uneven flow of some px."""
    y, x = torch.meshgrid(torch.arange(SIZE) / SIZE * 6.28, torch.arange(SIZE) / SIZE * 6.28, indexing="ij")
    return strength * torch.stack((3 * y.sin() + 1, 4 * x.cos() - 1), dim=-1)


def estimator(method: str) -> FlowModel:
    source = resolve_flow(method)
    assert source is not None
    return load_flow(source, CPU)


def levels_apart(a: Image, b: Image) -> NDArray[np.float32]:
    return np.asarray(np.abs(to_array(a) - to_array(b))[INNER] * 255)


def flat(matrix: Any) -> FlatWarp:
    return FlatWarp(matrix, SIZE, SIZE, "replicate", CPU)


# --- estimators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CLASSIC)
@pytest.mark.parametrize("shift", [(7.3, -4.1), (-0.4, 0.25), (0.0, 0.0)])
def test_a_motion_is_found_in_pixels(method: str, shift: tuple[float, float]) -> None:
    dx, dy = shift
    flow = estimator(method)(scene(size=160), scene(lambda x, y: (x - dx, y - dy), size=160))[INNER]
    assert (flow - torch.tensor(shift)).norm(dim=-1).median() <= 0.3
    assert (flow.mean((0, 1)) - torch.tensor(shift)).norm() <= 0.3


@pytest.mark.parametrize("method", CLASSIC)
def test_an_uneven_motion_is_found(method: str) -> None:
    source = FlowWarp.of(swirl(0.7)).source.double().numpy()
    flow = estimator(method)(scene(), scene(lambda x, y: (source[0], source[1])))
    assert (flow - swirl(0.7))[INNER].norm(dim=-1).mean() <= 0.5


def test_colours_count_by_their_brightness() -> None:
    """A red picture is not a blue one: what is found in both is what grey would show."""
    first, second = scene(), scene(lambda x, y: (x - 2, y))
    gray = [image.mean(0, keepdim=True).expand(3, -1, -1) for image in (first, second)]
    assert (estimator("DIS Medium")(*gray) - estimator("DIS Medium")(first, second))[INNER].norm(dim=-1).mean() < 0.3


def test_an_unknown_estimator_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match=r"here: Foo: no optical flow of this name; expected DIS Medium, DIS Fine"):
        resolve_flow("Foo", "here")
    assert resolve_flow("None") is None


# --- RAFT -------------------------------------------------------------------------------------------------------------

SMALL, LARGE = "raft_small_C_T_V2-01064c6d.pth", "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to run in that has no weights anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture
def models() -> ModuleType:
    module: ModuleType = pytest.importorskip("torchvision.models.optical_flow")
    return module


def test_missing_weights_are_named_with_the_places_and_the_way_to_get_them(home: Path) -> None:
    with pytest.raises(UserError) as error:
        resolve_flow("RAFT", "settings.yaml:3")
    [problem] = error.value.problems
    assert problem.where == "settings.yaml:3"
    for part in (LARGE, SMALL, str(home / "models" / "flow"), str(home / "torch" / "hub"), "curl", "DIS Fine"):
        assert part in problem.message


@pytest.mark.parametrize("folder", ["models/flow", "torch/hub/checkpoints"])
def test_weights_are_found_and_the_network_gives_pixels(
    home: Path, folder: str, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deforum.flow.raft.UPDATES", 2)
    (home / folder).mkdir(parents=True)
    torch.save(models.raft_small(weights=None).state_dict(), home / folder / SMALL)
    source = resolve_flow("RAFT")
    assert source is not None and source.path is not None and source.path.name == SMALL
    first = torch.rand(3, 100, 140)
    flow = load_flow(source, CPU)(first, first)
    assert flow.shape == (100, 140, 2) and flow.dtype == torch.float32 and flow.isfinite().all()


def test_the_large_network_is_chosen_by_its_file(
    home: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deforum.flow.raft.UPDATES", 1)
    (home / "models" / "flow").mkdir(parents=True)
    torch.save(models.raft_large(weights=None).state_dict(), home / "models" / "flow" / LARGE)
    (home / "models" / "flow" / SMALL).write_bytes(b"")
    source = resolve_flow("RAFT")
    assert source is not None and source.path is not None and source.path.name == LARGE
    assert load_flow(source, CPU)(torch.rand(3, 128, 128), torch.rand(3, 128, 128)).shape == (128, 128, 2)


def test_weights_of_something_else_are_refused(home: Path, models: ModuleType) -> None:
    path = home / SMALL
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="not the weights of torchvision's raft_small"):
        load_flow(FlowSource("RAFT", path), CPU)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_flow(FlowSource("RAFT", path), CPU)


def test_a_file_of_deforums_goes_on_without_raft_and_a_new_one_does_not(home: Path) -> None:
    (home / "old.txt").write_text(json.dumps({"prompts": {"0": "a"}, "optical_flow_cadence": "RAFT"}))
    (home / "new.yaml").write_text("prompts: {0: a}\noptical_flow_cadence: RAFT\n")
    old, new = load(home / "old.txt").settings, load(home / "new.yaml").settings
    found = find_flow(old, "optical_flow_cadence")
    assert found is not None and found.name == "DIS Medium"
    assert any(
        "optical_flow_cadence: RAFT" in line and line.endswith("DIS Medium stands in") for line in prepare(old).notes
    )
    with pytest.raises(UserError, match="optical_flow_cadence: RAFT needs weights"):
        find_flow(new, "optical_flow_cadence")


# --- motions made from flow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["bilinear", "bicubic"])
def test_no_flow_moves_nothing(sampling: Any) -> None:
    picture = scene()
    warp = FlowWarp.of(even_flow(0, 0), sampling=sampling)
    assert torch.equal(warp(picture), picture)
    assert torch.equal(move_by_flow(picture, even_flow(0, 0), 3), picture)
    assert (warp.coverage() == 1).all()
    assert torch.equal(warp.inverse()(picture), picture)


@pytest.mark.parametrize("move", [lambda image, flow: FlowWarp.of(flow)(image), move_by_flow])
def test_a_motion_is_applied_in_pixels(move: Callable[[Image, Flow], Image]) -> None:
    moved = move(scene(), even_flow(7.3, -4.1))
    truth = scene(lambda x, y: (x - 7.3, y + 4.1))
    assert np.hypot(*shift_between(truth, moved)) <= 0.2
    assert levels_apart(moved, truth).mean() < 3


def shift_between(a: Image, b: Image) -> NDArray[np.float64]:
    """Measure by how many px, a small part of one, the second picture is moved: least squares over the gradients."""
    before, after = (to_array(image).astype(np.float64).mean(-1) for image in (a, b))
    down, right = np.gradient(before)
    slopes = np.stack([right[INNER].ravel(), down[INNER].ravel()], axis=1)
    return np.asarray(-np.linalg.lstsq(slopes, (after - before)[INNER].ravel(), rcond=None)[0])


@pytest.mark.parametrize("factor", [1.0, 0.5, -0.7])
def test_a_pixel_takes_its_own_flow_along(factor: float) -> None:
    """Not that of the place where it arrives."""
    flow = swirl()
    warp = FlowWarp.of(flow, factor=factor)
    arrived = warp.source + factor * bilinear(flow, warp.source)
    assert ((arrived - pixels(SIZE, SIZE, CPU)).abs().amax(0)[INNER]).max() < 0.1


def bilinear(flow: Flow, positions: torch.Tensor) -> torch.Tensor:
    x, y = positions.numpy()
    return torch.from_numpy(cv2.remap(flow.numpy(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)).permute(
        2, 0, 1
    )


def test_a_motion_and_its_inverse_are_none() -> None:
    warp = FlowWarp.of(swirl())
    for both in (warp.then(warp.inverse()), warp.inverse().then(warp)):
        assert (both.source - pixels(SIZE, SIZE, CPU)).abs().amax(0)[INNER].max() < 0.1
        assert (both.coverage()[INNER] == 1).all()
    assert torch.equal(to_flow(to_positions(swirl())), to_flow(warp.charts()[1].positions))


@pytest.mark.parametrize(
    "camera",
    [
        lambda: flat(rotation(7, 1.06, SIZE / 2, SIZE / 2) @ translation(3, -2)),
        lambda: warp_physical(torch.ones(SIZE, SIZE), motion_of(rotation_3d_z=4, translation_z=6), SIZE, SIZE),
    ],
    ids=["flat", "depth"],
)
def test_a_camera_and_a_flow_are_sampled_once(camera: Callable[[], Warp]) -> None:
    warp, on = camera(), FlowWarp.of(swirl(), sampling="bicubic")
    for first, later in ((warp, on), (on, warp)):
        joined = join(first, later, sampling="bicubic")
        assert levels_apart(joined(scene()), later(first(scene()))).mean() < 2
        # Sampled once, there and back is the picture itself; twice, it is softer.
        back = join(joined, join(later.inverse(), first.inverse()), sampling="bicubic")(scene())
        assert levels_apart(back, scene()).mean() < 0.5


def test_two_of_a_kind_join_as_they_do() -> None:
    first, later = flat(translation(3, 0)), flat(translation(-3, 2))
    joined = join(first, later)
    assert isinstance(joined, FlatWarp)
    assert np.array_equal(joined.matrix, translation(0, 2))


def test_a_flow_is_turned_and_stretched_with_the_picture() -> None:
    """A quarter turn (counter-clockwise on the screen) makes rightward upward, and enlarging makes it longer."""
    turned = move_flow(flat(rotation(90, 1, SIZE / 2 - 0.5, SIZE / 2 - 0.5)), even_flow(4, 0))
    assert torch.allclose(turned[INNER], torch.tensor((0.0, -4.0)), atol=1e-3)
    larger = move_flow(flat(rotation(0, 1.5, SIZE / 2, SIZE / 2)), even_flow(-4, 2))
    assert torch.allclose(larger[INNER], torch.tensor((-6.0, 3.0)), atol=1e-3)


def test_a_mask_is_moved_with_the_picture() -> None:
    mask = torch.zeros(SIZE, SIZE)
    mask[40:50, 40:50] = 1
    assert torch.equal(move_mask(FlowWarp.of(even_flow(5, 3)), mask), mask.roll((3, 5), (0, 1)))


def test_what_comes_in_at_the_edge_is_not_covered() -> None:
    covers = FlowWarp.of(even_flow(10, 0)).coverage()
    assert (covers[:, :10] == 0).all() and (covers[:, 11:] == 1).all()


# --- consistency ------------------------------------------------------------------------------------------------------


def passing_square() -> tuple[Flow, Flow]:
    """A square of 20 px goes 12 px to the right over ground that stands still: its flow, and that back."""
    forward, backward = even_flow(0, 0), even_flow(0, 0)
    forward[30:50, 30:50, 0] = 12
    backward[30:50, 42:62, 0] = -12
    return forward, backward


def test_ground_that_is_hidden_in_the_other_picture_is_doubtful() -> None:
    forward, backward = passing_square()
    agrees = consistency(forward, backward)
    expected = torch.ones(SIZE, SIZE)
    expected[30:50, 50:62] = 0  # ground that the square comes to
    assert torch.equal(agrees, expected)


def test_blur_softens_the_border_and_stays_within_bounds() -> None:
    soft = consistency(*passing_square(), blur=3)
    assert 0 <= soft.min() < 0.2 and soft.max() <= 1 and 0.3 < soft[40, 50] < 0.7


def test_a_doubtful_flow_rests_or_is_turned_round() -> None:
    forward, backward = passing_square()
    wrong = backward * 0.5
    assert (reliable_flow(forward, wrong)[35:45, 35:45] == 0).all()
    assert torch.allclose(reliable_flow(forward, wrong, opposed=0.75)[35:45, 35:45], forward[35:45, 35:45] * -0.75)


# --- cadence ----------------------------------------------------------------------------------------------------------

DRIFT = (1.8, -1.1)  # px per frame that the painted world moves beside the camera


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Make settings of a small 2D run with flow cadence and no filters that differs as the test says."""

    def make(**changes: object) -> Settings:
        plain = {"zoom": 1, "noise": 0, "antiblur_amount": 0, "color_coherence": "None", "seed": 5, "prompts": {0: "a"}}
        size = {"width": SIZE, "height": SIZE, "cadence": 4, "max_frames": 9}
        path = tmp_path / "settings.yaml"
        path.write_text("\n".join(f"{k}: {v}" for k, v in {**size, **plain, **changes}.items()))
        return load(path).settings

    return make


def world(zoom: float, frame: Frame) -> Image:
    """What is to be seen at a frame: it drifts, and the camera has zoomed in."""

    def moved(x: Any, y: Any) -> tuple[Any, Any]:
        scale, middle = zoom**frame.index, SIZE / 2
        return (x - middle) / scale + middle - DRIFT[0] * frame.index, (y - middle) / scale + middle - DRIFT[
            1
        ] * frame.index

    return scene(moved)


def run(settings: Settings, change: Callable[[Stages], Stages] = lambda stages: stages) -> list[Image]:
    """Render with a diffusion that paints the world as it is, whatever it is given."""
    timeline, zoom = sample(settings), float(sample(settings).curves.zoom[0])
    stages = change(stages_of(settings, each(lambda init, frame: world(zoom, frame)), CPU))
    return [image for _, image in animate(stages, timeline.spans())]


def by_flow(stages: Stages) -> Stages:
    return with_flow(stages, estimator("DIS Fine"))


@pytest.mark.parametrize("zoom", [1, 1.03])
def test_details_move_where_a_fade_would_show_them_twice(settings: Callable[..., Settings], zoom: float) -> None:
    made = settings(zoom=zoom)
    truth = [world(zoom, frame) for frame in sample(made)]
    followed, faded = run(made, by_flow), run(made)
    for index in (1, 2, 3, 5, 6, 7):
        assert levels_apart(followed[index], truth[index]).mean() < 4
        assert levels_apart(faded[index], truth[index]).mean() > 3 * levels_apart(followed[index], truth[index]).mean()
    assert all(torch.equal(followed[index], truth[index]) for index in (0, 4, 8))


def test_in_betweens_keep_nine_tenths_of_the_sharpness(settings: Callable[..., Settings]) -> None:
    made = settings(zoom=1.01)
    for image, frame in zip(run(made, by_flow), sample(made), strict=True):
        assert sharpness(image) >= 0.9 * sharpness(world(1.01, frame))


def sharpness(image: Image) -> float:
    gray = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F)[INNER].var())


@pytest.mark.parametrize("cadence", [2, 3, 4])
def test_deforums_cadence_goes_the_way_of_the_details(settings: Callable[..., Settings], cadence: int) -> None:
    """There a picture painted at k is whole C - 1 frames later, when its details are where they were painted."""
    made = settings(profile="deforum", cadence=cadence, max_frames=3 * cadence)
    followed, faded = run(made, by_flow), run(made)
    for index in range(cadence, 3 * cadence):
        key, fade = index // cadence * cadence, (index % cadence + 1) / cadence
        painted = world(1, sample(made)[key])
        behind = (fade - 1) * cadence * np.array(DRIFT)
        truth = scene(lambda x, y, d=behind, k=key: (x - d[0] - DRIFT[0] * k, y - d[1] - DRIFT[1] * k))  # type: ignore[misc]
        assert levels_apart(followed[index], truth).mean() < 5
        if fade < 1:
            assert levels_apart(faded[index], truth).mean() > 2 * levels_apart(followed[index], truth).mean()
        else:
            assert levels_apart(followed[index], painted).mean() < 5


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_without_a_factor_or_after_a_cut_pictures_fade(settings: Callable[..., Settings], profile: str) -> None:
    for changes in ({"cadence_flow_factor": 0}, {"strength": 0}):
        made = settings(profile=profile, zoom=1, **changes)
        for followed, faded in zip(run(made, by_flow), run(made), strict=True):
            assert torch.allclose(followed, faded, atol=1e-5)


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_what_only_the_camera_moves_is_left_to_the_camera(settings: Callable[..., Settings], profile: str) -> None:
    made = settings(profile=profile, zoom=1.02, max_frames=5)
    stages = stages_of(made, each(lambda init, frame: scene() if init is None else init), CPU)
    spans = list(sample(made).spans())
    followed, faded = ([image for _, image in animate(each_, spans)] for each_ in (by_flow(stages), stages))
    assert max(levels_apart(a, b).mean() for a, b in zip(followed, faded, strict=True)) < 2.5


class Slope:
    """A depth model that sees a slope, near below."""

    gives: Gives = "inverse depth"

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        return torch.linspace(0.2, 1, SIZE)[:, None].expand(SIZE, SIZE).contiguous()


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_in_space_details_move_too(settings: Callable[..., Settings], profile: str) -> None:
    """What the camera moves in space is taken out of a world that drifts on the screen, and the rest is followed."""
    made = settings(animation_mode="3D", profile=profile, translation_z=3, rotation_3d_z=0.5, max_frames=8)
    shown = []
    for change in (by_flow, lambda stages: stages):
        stages = change(stages_of(made, each(lambda init, frame: world(1, frame)), CPU, Slope()))
        shown.append([sharpness(image) for _, image in animate(stages, sample(made).spans())])
    followed, faded = shown
    assert min(a / b for a, b in zip(followed[5:7], faded[5:7], strict=True)) > 1.2
