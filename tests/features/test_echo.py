"""Echo: what the trail is, how it is laid over, where it lies, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.painter import each
from deforum.animation.state import write_state
from deforum.build import Animation
from deforum.errors import UserError
from deforum.features.echo import BLENDS, Trail, covered
from deforum.features.table import switched_on
from deforum.loading import load
from deforum.motion.flat import FlatWarp
from deforum.motion.matrices import translation
from deforum.pixels.image import CPU, Image, Mask, to_bytes
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, assembled, pictures, settings_maker

SIZE = 48
AMOUNT, DECAY = 0.5, 0.75
PROFILES = ["corrected", "deforum"]
Paint = Callable[[Image | None, Frame], Image]


def texture(seed: int) -> Image:
    return pictures.texture(seed, SIZE, SIZE)


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Make settings of a small 2D run that stands still, has no filters, and differs as the test says."""
    echo = {"max_frames": 8, "cadence": 1, "translation_z": 0, "echo_amount": AMOUNT, "echo_decay": DECAY}
    echo |= {"motion_gain": "off"}  # what paints here takes no motion back
    return settings_maker(tmp_path, STILL | echo | {"width": SIZE, "height": SIZE})


def animation(settings: Settings, paint: Paint) -> Animation:
    return assembled(settings, each(paint))


def shown(settings: Settings, paint: Paint) -> list[Image]:
    return [image for _, image in animation(settings, paint).frames()]


def fresh(init: Image | None, frame: Frame) -> Image:
    """Paint a picture of its own for each frame."""
    return texture(frame.index)


def keep(init: Image | None, frame: Frame) -> Image:
    """Paint what it is given."""
    return texture(0) if init is None else init


def half(init: Image | None, frame: Frame) -> Image:
    """Paint half of what it is given, and half anew."""
    return texture(frame.index) if init is None else torch.lerp(init, texture(frame.index), 0.5)


def dots(on: float, off: float) -> Paint:
    """Paint a dot that jumps 4 px to the right in each frame."""

    def paint(init: Image | None, frame: Frame) -> Image:
        image = torch.full((3, SIZE, SIZE), off)
        image[:, 20, 4 * frame.index] = on
        return image

    return paint


@dataclass(frozen=True)
class Seen(FlatWarp):
    """A motion that moves nothing, and says what it covers."""

    seen: Mask = field(kw_only=True)

    def coverage(self) -> Mask:
        return self.seen


def over(blend: str, image: Image, trail: Image, amount: float) -> Image:
    """Say what a blend is, in other words than the program's."""
    difference = {
        "normal": trail - image,
        "lighten": (trail - image).clamp(min=0),
        "darken": (trail - image).clamp(max=0),
        "add": torch.minimum(trail, 1 - image),
    }[blend]
    return image + amount * difference


def echoed(
    pictures: Sequence[Image], blend: str = "normal", step: tuple[int, int] = (0, 0), amount: float = AMOUNT
) -> list[Image]:
    """Say what is shown of pictures that move by `step`, whole px to the right and down, in each frame."""
    found, trails, covers = [pictures[0]], trails_of(pictures, blend, step), covered_after(step)
    for image, trail in zip(pictures[1:], trails, strict=True):
        found.append(image + covers * (over(blend, image, trail, amount) - image))
    return found


def trails_of(pictures: Sequence[Image], blend: str, step: tuple[int, int]) -> list[Image]:
    """Give the trail in every frame but the first."""
    trails, remembered, covers = [], pictures[0], covered_after(step)
    for image in pictures[1:]:
        trails.append(torch.roll(remembered, step[::-1], (1, 2)))
        remembered = image + covers * (over("lighten" if blend == "add" else blend, image, trails[-1], DECAY) - image)
    return trails


def covered_after(step: tuple[int, int]) -> torch.Tensor:
    """Say where a trail covers the picture, after a step of whole px to the right and up."""
    right, up = step[0], -step[1]
    seen = np.zeros((SIZE, SIZE), np.float32)
    seen[: SIZE - up, right:] = 1
    return torch.from_numpy(
        1 - np.minimum(2 * cv2.GaussianBlur(1 - seen, (19, 19), 3, borderType=cv2.BORDER_REPLICATE), 1)
    )


def assert_close(found: Sequence[Image], expected: Sequence[Image]) -> None:
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a - b).abs().max() < 2e-6, index


# --- the trail, and how it is laid over -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blend", "over_darker", "over_brighter", "kept_darker", "kept_brighter"),
    [
        ("normal", 0.6, 0.6, 0.6, 0.6),
        ("lighten", 0.6, 0.8, 0.6, 0.8),
        ("darken", 0.4, 0.6, 0.4, 0.6),
        ("add", 0.7, 0.9, 0.6, 0.8),
    ],
)
def test_half_of_a_trail(
    blend: str, over_darker: float, over_brighter: float, kept_darker: float, kept_brighter: float
) -> None:
    """A picture of 0.4 and 0.8, under a trail of 0.8 and 0.4."""
    image, trail = (torch.tensor(pair).expand(3, 1, 2) for pair in ((0.4, 0.8), (0.8, 0.4)))
    for mix, expected in (
        (BLENDS[blend].over, (over_darker, over_brighter)),
        (BLENDS[blend].keep, (kept_darker, kept_brighter)),
    ):
        mixed = Trail(trail, None).laid_over(image, mix, 0.5)
        assert mixed[0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("blend", ["normal", "lighten", "add"])
def test_a_bright_dot_that_jumps_leaves_dots_that_fade(settings: Make, blend: str, profile: str) -> None:
    for n, image in enumerate(shown(settings(echo_blend=blend, profile=profile), dots(1.0, 0.0))):
        for k in range(1, n + 1):  # frames since the dot was there
            newly_there = 1 - DECAY if blend == "normal" and n > k else 1
            assert image[0, 20, 4 * (n - k)] == pytest.approx(AMOUNT * newly_there * DECAY ** (k - 1), abs=1e-6)
        assert image[0, 20, 4 * n] == (1 - AMOUNT if blend == "normal" and n else 1)
        elsewhere = image.clone()
        elsewhere[:, 20, : 4 * n + 1 : 4] = 0
        assert not elsewhere.any()


def test_a_dark_dot_that_jumps_leaves_dots_that_fade(settings: Make) -> None:
    for n, image in enumerate(shown(settings(echo_blend="darken"), dots(0.0, 1.0))):
        for k in range(1, n + 1):
            assert image[0, 20, 4 * (n - k)] == pytest.approx(1 - AMOUNT * DECAY ** (k - 1), abs=1e-6)
        assert image[0, 20, 4 * n] == 0


@pytest.mark.parametrize("blend", ["normal", "lighten", "darken"])
def test_a_scene_that_stands_still_has_no_trail(settings: Make, blend: str) -> None:
    for image in shown(settings(echo_blend=blend, cadence=2), lambda init, frame: texture(0)):
        assert torch.equal(image, texture(0))


def test_add_lights_a_scene_that_stands_still(settings: Make) -> None:
    image = texture(0)
    first, *rest = shown(settings(echo_blend="add"), lambda init, frame: image)
    assert torch.equal(first, image)
    assert_close(rest, [image + AMOUNT * torch.minimum(image, 1 - image)] * len(rest))


@pytest.mark.parametrize("blend", BLENDS)
def test_values_stay_in_range(settings: Make, blend: str) -> None:
    def extreme(init: Image | None, frame: Frame) -> Image:
        return (texture(frame.index) > 0.5).float()

    many = settings(echo_blend=blend, max_frames=60, echo_amount="0.5+0.5*sin(t)", echo_decay="0.5+0.5*cos(t)")
    for image in shown(many, extreme):
        assert image.min() >= 0
        assert image.max() <= 1


def test_normal_neither_darkens_nor_brightens(settings: Make) -> None:
    """Pictures of one mean, in changing places: that is the mean of what is shown."""

    def shifted(init: Image | None, frame: Frame) -> Image:
        return torch.roll(texture(0), 7 * frame.index, 2)

    for image in shown(settings(max_frames=100), shifted):
        assert float(image.mean()) == pytest.approx(float(texture(0).mean()), abs=1e-5)


# --- where it lies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize("border", ["replicate", "wrap", "reflect"])
@pytest.mark.parametrize("blend", BLENDS)
def test_the_trail_moves_with_the_picture_and_does_not_come_from_beyond_it(
    settings: Make, blend: str, border: str, cadence: int, profile: str
) -> None:
    """At every frame, diffused or not, what is shown follows by the formula from what is shown without an echo."""
    moving = {"translation_x": 3, "translation_y": -2, "border": border, "cadence": cadence, "profile": profile}
    plain = shown(settings(echo_amount=0, **moving), fresh)
    assert_close(shown(settings(echo_blend=blend, **moving), fresh), echoed(plain, blend, step=(3, -2)))


@pytest.mark.parametrize("width", [1, 2, 12])
def test_what_comes_in_at_an_edge_has_no_trail(width: int) -> None:
    """However little it is; beside it the trail begins softly."""
    covers = covered(FlatWarp(translation(width, 0), SIZE, SIZE, "wrap", CPU))
    assert covers is not None
    assert not covers[:, :width].any()
    assert (covers[:, width:].diff() >= 0).all()
    assert covers[:, width + 9 :].min() > 0.99


def test_a_crack_does_not_show_and_a_hole_has_no_trail() -> None:
    seen = torch.ones(SIZE, SIZE)
    seen[:, 12], seen[20:32, 24:36] = 0, 0
    covers = covered(Seen(translation(0, 0), SIZE, SIZE, "wrap", CPU, seen=seen))
    assert covers is not None
    assert covers[:, 12].min() > 0.7
    assert not covers[22:30, 26:34].any()
    assert (covers[-6:, -6:] == 1).all()


def test_a_zoom_zooms_the_trail(settings: Make) -> None:
    """A disc that is there in frame 0 only; its trail grows as the picture does."""

    def disc(init: Image | None, frame: Frame) -> Image:
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        inside = (x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2 < 6**2
        return inside.float().expand(3, -1, -1) * (frame.index == 0)

    for n, image in enumerate(shown(settings(zoom=1.2, max_frames=6), disc)[1:], start=1):
        left = AMOUNT * DECAY ** (n - 1)
        assert image.max() == pytest.approx(left, abs=1e-4)
        assert (image[0] > left / 2).sum() == pytest.approx(np.pi * 6**2 * 1.2 ** (2 * n), rel=0.1)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize(
    ("moving", "tolerance"),
    [
        # In-betweens are sharpened against what sampling takes, trails are not.
        ({"zoom": 1.03, "angle": 1}, 0.006),
        ({"animation_mode": "3D", "use_depth_warping": False, "translation_z": 5, "rotation_3d_y": 0.5}, 0.006),
        ({"animation_mode": "3D", "translation_z": 5, "rotation_3d_y": 0.5}, 0.01),
    ],
    ids=["2D", "3D, flat", "3D"],
)
def test_the_camera_alone_leaves_no_trail(
    settings: Make, moving: dict[str, object], tolerance: float, cadence: int, profile: str
) -> None:
    """A scene that does not change is shown as it is without an echo, but for what sampling takes from the trail."""
    run = moving | {"cadence": cadence, "profile": profile, "max_frames": 6}
    plain, still = shown(settings(echo_amount=0, **run), keep), shown(settings(echo_amount=0), keep)
    with_trail = shown(settings(**run), keep)
    assert (plain[-1] - still[-1]).abs().mean() > 0.05
    for a, b in zip(plain, with_trail, strict=True):
        assert (a - b).abs().mean() < tolerance


# --- only shown, and in the loop --------------------------------------------------------------------------------------


def asked(settings: Settings, paint: Paint) -> tuple[list[Image | None], list[Image]]:
    """Render; give what each diffusion started from, and what is shown."""
    starts: list[Image | None] = []

    def painted(init: Image | None, frame: Frame) -> Image:
        starts.append(init)
        return paint(init, frame)

    images = shown(settings, painted)
    return starts, images


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_what_is_only_shown_is_not_painted_from(settings: Make, mode: str, cadence: int, profile: str) -> None:
    run = {"animation_mode": mode, "cadence": cadence, "profile": profile, "translation_x": 3, "translation_z": 4}
    plain, _ = asked(settings(echo_amount=0, **run), half)
    echo, _ = asked(settings(**run), half)
    for a, b in zip(plain[1:], echo[1:], strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("blend", BLENDS)
def test_in_the_loop_the_trail_is_laid_over_what_is_painted_from(settings: Make, blend: str, profile: str) -> None:
    """Pictures that do not depend on what they are painted from: what that is can be said."""
    moving = {"translation_x": 3, "profile": profile, "echo_blend": blend}
    plain, pictures = asked(settings(echo_amount=0, **moving), fresh)
    looped, images = asked(settings(echo_in_loop=True, **moving), fresh)
    assert_close(images, echoed(pictures, blend, step=(3, 0)))
    trails, covers = trails_of(pictures, blend, (3, 0)), covered_after((3, 0))
    for image, start, trail in zip(plain[1:], looped[1:], trails, strict=True):
        assert image is not None
        assert start is not None
        assert_close([start], [image + covers * (over(blend, image, trail, AMOUNT) - image)])


@pytest.mark.parametrize("profile", PROFILES)
def test_in_the_loop_the_whole_way_to_a_key_moves_the_trail(settings: Make, profile: str) -> None:
    """The painter keeps what it is given: the trail is the scene at every frame, and changes nothing."""
    run = {"cadence": 3, "translation_x": 3, "profile": profile, "border": "wrap"}
    plain, _ = asked(settings(echo_amount=0, **run), keep)
    looped, _ = asked(settings(echo_in_loop=True, **run), keep)
    for a, b in zip(plain[1:], looped[1:], strict=True):
        assert a is not None
        assert b is not None
        assert (a - b).abs().max() < 1e-6


# --- off, and on for a while ------------------------------------------------------------------------------------------


def test_an_amount_of_0_all_the_time_is_off(settings: Make) -> None:
    assert "echo" in {feature.name for feature in switched_on(settings(echo_amount='"0: (0), 5: (0.1)"'))}
    off = settings(echo_amount=0, echo_in_loop=True)
    assert "echo" not in {feature.name for feature in switched_on(off)}
    stages = animation(off, fresh).stages
    assert not stages.show
    assert len(stages.before) == len(animation(settings(echo_amount=0), fresh).stages.before)


def test_frames_with_an_amount_of_0_are_as_they_were_and_remembered(settings: Make) -> None:
    plain = shown(settings(echo_amount=0), fresh)
    found = shown(settings(echo_amount='"0: (0), 4: (0), 5: (0.5)"'), fresh)
    assert all(torch.equal(a, b) for a, b in zip(plain[:5], found[:5], strict=True))
    assert_close(found[5:], echoed(plain)[5:])


def test_a_symmetric_picture_is_symmetric_with_its_trail(settings: Make) -> None:
    run = {"symmetry": "mirror x", "translation_x": 4, "angle": 2, "cadence": 2}
    assert any(
        not torch.equal(a, b)
        for a, b in zip(shown(settings(**run), fresh), shown(settings(echo_amount=0, **run), fresh), strict=True)
    )
    assert all(torch.equal(image, image.flip(2)) for image in shown(settings(**run), fresh))


# --- frames that do not depend on each other --------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("blend", BLENDS)
def test_interpolation(settings: Make, blend: str, profile: str) -> None:
    run = settings(animation_mode="Interpolation", batch_size=3, echo_blend=blend, zoom=1.1, profile=profile)
    assert_close(shown(run, fresh), echoed([texture(index) for index in range(8)], blend))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(8):
        cv2.imwrite(str(folder / f"{index}.png"), to_bytes(texture(index))[..., ::-1])
    return folder


@pytest.mark.parametrize("feedback", [0, 0.3])
def test_video_input(settings: Make, clip: Path, feedback: float) -> None:
    """Without feedback nothing moves; with it the trail follows the clip's flow."""
    run = {"animation_mode": "Video Input", "video_init_path": clip, "batch_size": 3, "clip_feedback": feedback}
    plain, found = shown(settings(echo_amount=0, **run), keep), shown(settings(**run), keep)
    assert torch.equal(plain[0], found[0])
    assert all(not torch.equal(a, b) for a, b in zip(plain[1:], found[1:], strict=True))
    if not feedback:
        assert_close(found, echoed(plain))


# --- going on from a state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "corrected"},
        {"profile": "deforum"},
        {"profile": "corrected", "animation_mode": "3D", "translation_z": 4},
        {"profile": "deforum", "animation_mode": "3D", "translation_z": 4},
        {"animation_mode": "Interpolation", "batch_size": 3},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_a_run_that_goes_on_is_the_same(
    settings: Make, tmp_path: Path, changes: dict[str, object], cadence: int, in_loop: bool
) -> None:
    """Cut at every frame: within a span, and at its end."""
    run = settings(**changes, cadence=cadence, echo_in_loop=in_loop, translation_x=1.5, echo_blend="lighten")
    whole = list(animation(run, half).states())
    assert cadence == 1 or not all(state.is_boundary for state in whole)
    for state in whole:
        folder = tmp_path / str(state.frame.index)
        write_state(state, folder)
        again = animation(run, half)
        rest = list(again.states(again.read_state(folder)))
        expected = whole[state.frame.index + 1 :]
        assert [each.frame.index for each in rest] == [each.frame.index for each in expected]
        assert all(torch.equal(a.shown, b.shown) for a, b in zip(rest, expected, strict=True))


# --- settings ---------------------------------------------------------------------------------------------------------


def report(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "a.yaml"
    path.write_text(f"prompts: a sea\n{text}")
    return load(path).report


def test_settings_that_do_not_act_are_told(tmp_path: Path) -> None:
    assert report(tmp_path, "echo_decay: 0.5\necho_blend: add\necho_in_loop: true") == (
        "without effect: echo_decay, echo_blend, echo_in_loop; acts where echo_amount is not 0",
    )
    assert report(tmp_path, "echo_amount: 0.5\necho_decay: 0.5\necho_blend: add\necho_in_loop: true") == ()
    assert report(tmp_path, "animation_mode: Interpolation\necho_amount: 0.5\necho_in_loop: true") == (
        "without effect in Interpolation mode, only in 2D or 3D: echo_in_loop",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo_amount: 1.5", "a.yaml:2:14: echo_amount is 1.5 at frame 0 (and 119 more); expected 0..1 (share)"),
        ("echo_amount: 0.5\necho_decay: t/100", "echo_decay is 1.01 at frame 101 (and 18 more); expected 0..1 (share)"),
        ("echo_blend: screen", "expected normal or lighten or darken or add"),
    ],
)
def test_what_is_out_of_range_is_told(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        report(tmp_path, text)
    assert expected in str(error.value)
