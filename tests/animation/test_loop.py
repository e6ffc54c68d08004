"""The loop: which frames come out, where diffused pictures stand, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.cameras import StillCamera
from deforum.animation.filters import Noise
from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Memory, Moment
from deforum.animation.stages import Stages
from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.pixels.image import CPU, Image, to_array
from deforum.pixels.noise import add_noise, perlin_noise
from deforum.pixels.sharpness import blur, fine_detail, local_sharpness, unsharp_mask
from deforum.seeds import derive_seed
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, keeping, settings_maker
from tests.helpers.pictures import texture

SIZE = 64


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Make settings of a small 2D run that stands still, has no filters, and differs as the test says."""
    return settings_maker(tmp_path, {"width": SIZE, "height": SIZE, **STILL})


def fresh(init: Image | None, frame: Frame) -> Image:
    """A diffusion that ignores what it is given."""
    return texture(frame.index)


def run(settings: Settings, diffuse: Callable[[Image | None, Frame], Image]) -> dict[int, Image]:
    timeline = sample(settings)
    stages = stages_of(settings, each(diffuse), CPU)
    return {frame.index: image for frame, image in animate(stages, timeline.spans())}


@pytest.mark.parametrize("cadence", [1, 2, 3, 5])
def test_on_time_a_diffused_picture_is_shown_unmixed_at_its_own_index(settings: Make, cadence: int) -> None:
    frames = run(settings(max_frames=12, cadence=cadence, zoom=1.05, translation_x=3), fresh)
    for key in range(0, 12, cadence):
        assert torch.equal(frames[key], texture(key))


def test_deforum_shows_it_whole_just_before_the_next(settings: Make) -> None:
    frames = run(settings(max_frames=9, cadence=3, profile="deforum"), fresh)
    assert torch.equal(frames[5], texture(3))
    assert torch.allclose(frames[3], torch.lerp(texture(0), texture(3), 1 / 3))


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("cadence", [1, 2, 4])
def test_the_camera_moves_the_same_at_every_cadence(settings: Make, cadence: int, profile: str) -> None:
    """A diffusion that paints what it is given, on a picture that moves 2 px a frame: content is at 2 px x frame."""
    chosen = settings(max_frames=9, cadence=cadence, translation_x=2, border="wrap", profile=profile)
    frames = run(chosen, keeping(texture(1)))
    # Sharpness is measured around each pixel, and at the edges that area does not wrap around.
    inner = slice(16, -16)
    for index, image in frames.items():
        apart = np.abs(to_array(image) - np.roll(to_array(texture(1)), 2 * index, axis=1))
        assert apart[inner, inner].max() < 1e-3, index


def test_in_betweens_show_the_new_picture_moved_back(settings: Make) -> None:
    """Half-way to a key at 4, with 2 px a frame: half the old picture 4 px on, half the new one 4 px back."""
    frames = run(settings(max_frames=5, cadence=4, translation_x=2, border="wrap"), fresh)
    old, new = to_array(texture(0)), to_array(texture(4))
    want = (np.roll(old, 4, axis=1) + np.roll(new, -4, axis=1)) / 2
    # Detail is given back the contrast that it loses in a mix: compare what is coarser. Content that came in over the
    # edge is not of one mind with content that has gone out: compare the middle.
    soft, soft_want = (cv2.GaussianBlur(picture, (0, 0), 9) for picture in (to_array(frames[2]), want))
    assert np.abs(soft - soft_want)[16:-16, 16:-16].max() < 0.01
    assert np.abs(soft - cv2.GaussianBlur(old, (0, 0), 9))[16:-16, 16:-16].max() > 0.02


def test_in_betweens_are_as_sharp_as_the_pictures_around_them(settings: Make) -> None:
    """Unrelated pictures lose half of their detail in a mix, and a motion by parts of a pixel takes more."""
    frames = run(settings(max_frames=9, cadence=4, translation_x=1.4, zoom=1.01), fresh)
    sharp = {index: float(local_sharpness(image)[8:-8, 8:-8].mean()) for index, image in frames.items()}
    for index in (1, 2, 3, 5, 6, 7):
        before, after = sharp[index // 4 * 4], sharp[index // 4 * 4 + 4]
        assert sharp[index] == pytest.approx(before + (after - before) * (index % 4) / 4, rel=0.15)


def test_stages_run_in_order(settings: Make) -> None:
    seen: list[str] = []

    def note(name: str) -> Callable[..., Image]:
        def stage(image: Image, *_: object) -> Image:
            seen.append(name)
            return texture(0) if image is None else image

        return stage

    chosen = settings(max_frames=3)
    stages = replace(stages_of(chosen, each(note("diffuse")), CPU), before=[note("before")], after=[note("after")])
    list(animate(stages, sample(chosen).spans()))
    assert seen == ["diffuse", "after", "before", "diffuse", "after"]
    assert isinstance(stages, Stages)


def test_a_still_camera_changes_no_pixel_in_50_frames(settings: Make) -> None:
    frames = run(settings(max_frames=50), keeping(texture(1)))
    assert torch.equal(frames[49], frames[0])


@pytest.mark.parametrize("mode", ["LAB", "HSV", "RGB"])
def test_color_coherence_holds_the_colors_of_the_first_frame(settings: Make, mode: str) -> None:
    """Diffusions that grow ever redder are brought back."""

    def redder(init: Image | None, frame: Frame) -> Image:
        image = texture(1) if init is None else init.clone()
        image[0] = (image[0] + 0.02 * frame.index).clamp(0, 1)
        return image

    held = run(settings(max_frames=10, color_coherence=mode), redder)
    free = run(settings(max_frames=10, color_coherence="None"), redder)
    assert abs(held[9].mean(dim=(1, 2)) - held[0].mean(dim=(1, 2))).max() < 0.02
    assert abs(free[9].mean(dim=(1, 2)) - free[0].mean(dim=(1, 2))).max() > 0.1


DAY_AND_NIGHT = "{0: day, 20: night}"
RENEWING: dict[str, object] = {"max_frames": 60, "cadence": 2, "color_coherence": "LAB", "prompts": DAY_AND_NIGHT}


def by_prompt(init: Image | None, frame: Frame) -> Image:
    """A diffusion that darkens half of the way to what the prompts ask for, and reddens a little each time."""
    image = 0.5 + 0.5 * texture(1) if init is None else init.clone()
    wanted = sum(prompt.weight * {"day": 0.7, "night": 0.15}[prompt.positive] for prompt in frame.prompts)
    image = image * (1 + (wanted / float(image.mean()) - 1) / 2)
    image[0] += 0.01
    return image.clamp(0, 1)


def brightness(frames: dict[int, Image]) -> list[float]:
    return [float(frames[k].mean()) for k in sorted(frames)]


@pytest.mark.parametrize("blend", ["hold", "linear"])
def test_colors_follow_the_prompts_and_are_held_within_one(settings: Make, blend: str) -> None:
    frames = run(settings(**RENEWING, prompt_blend=blend), by_prompt)
    light = brightness(frames)
    assert light[-1] < 0.4 * light[0]
    held = frames[58] - frames[46]  # all of 6 paintings later
    assert abs(held.mean(dim=(1, 2))).max() < 0.005, "night stays night, and no redder"
    if blend == "hold":
        assert np.ptp(light[:19]) < 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"color_renewal": 0},
        {"color_renewal": '"0: (0), 58: (0), 59: (12)"'},
        {"profile": "deforum"},
        {"legacy_colormatch": True, "color_renewal": 12},
        {"prompts": "{0: day, 20: day}"},
    ],
    ids=str,
)
def test_colors_are_not_renewed(settings: Make, changes: dict[str, object]) -> None:
    timeline = sample(settings(**(RENEWING | changes)))
    assert not any(frame.renewal for frame in timeline)


def test_the_renewal_of_colors_is_the_share_of_the_prompts_that_changed(settings: Make) -> None:
    def shares(**changes: object) -> list[float]:
        return [frame.renewal for frame in sample(settings(**(RENEWING | changes)))]

    # A hard change: fully, for 12 painted frames of cadence 2.
    assert shares() == [0.0] * 20 + [1.0] * 24 + [0.0] * 16
    assert shares(color_renewal=3, cadence=5) == [0.0] * 20 + [1.0] * 15 + [0.0] * 25
    # A blend of 20 frames, of which the last 10 count: half, reached and left within 10 frames.
    blended = shares(prompt_blend="linear", color_renewal=5)
    assert blended == pytest.approx(
        [min(i, 10) / 20 for i in range(21)] + [(30 - i) / 20 for i in range(21, 31)] + [0] * 29
    )
    # Within a long blend each painted frame renews little.
    slow = shares(prompts="{0: day, 1000: night}", prompt_blend="linear")
    assert slow[-1] == pytest.approx(24 / 1000)


def test_an_init_image_is_held_to_until_the_prompt_changes(settings: Make, tmp_path: Path) -> None:
    path = tmp_path / "init.png"
    cv2.imwrite(str(path), np.full((20, 30, 3), 150, np.uint8))
    light = brightness(run(settings(**RENEWING, init_image=path), by_prompt))
    assert light[:19] == pytest.approx([150 / 255] * 19, abs=0.01)
    assert light[-1] < 0.4 * light[0]


@pytest.mark.parametrize("sigma", [0.7, 0.0])
def test_detail_coherence_holds_the_fine_detail_of_the_first_frame(settings: Make, sigma: float) -> None:
    """Diffusions that blur, or that draw ever crisper, come back to the detail of frame 0."""

    def wear(init: Image | None, frame: Frame) -> Image:
        image = (0.3 + 0.4 * texture(1)) if init is None else init
        return blur(image, 5, sigma) if sigma else unsharp_mask(image, 0.3)

    def details(**changes: object) -> list[float]:
        frames = run(settings(max_frames=13, color_coherence="LAB", **changes), wear)
        return [fine_detail(frames[k]) / fine_detail(frames[0]) for k in (4, 12)]

    assert details(detail_coherence=1) == pytest.approx([1, 1], rel=0.02)
    assert max(abs(np.log(details()))) > 0.3
    held, half = np.log(details(detail_coherence=0.8)), np.log(details(detail_coherence=0.4))
    assert all(abs(held) < abs(half)) and all(abs(half) < abs(np.log(details())))


def test_detail_is_held_neither_without_a_picture_to_hold_to_nor_where_frames_stand_alone(
    settings: Make, tmp_path: Path
) -> None:
    for changes, why in (
        ({"color_coherence": "None"}, "acts where color_coherence is not None"),
        ({"color_coherence": "LAB", "animation_mode": "Interpolation"}, "in Interpolation mode"),
    ):
        chosen = settings(max_frames=3, detail_coherence=1, **changes)
        [note] = [note for note in load(tmp_path / "settings.yaml").report if "detail_coherence" in note]
        assert note.startswith("without effect") and why in note
        held, free = run(chosen, fresh), run(settings(max_frames=3, **changes), fresh)
        assert all(torch.equal(held[k], free[k]) for k in range(3))


def test_noise_differs_in_each_frame_of_a_fixed_seed(settings: Make) -> None:
    """Deforum's is the same in each frame, and piles up."""
    inits: list[Image] = []

    def remember(init: Image | None, frame: Frame) -> Image:
        if init is not None:
            inits.append(init)
        return torch.full((3, SIZE, SIZE), 0.5)

    for profile, same in (("corrected", False), ("deforum", True)):
        inits.clear()
        run(settings(max_frames=3, cadence=1, noise=0.2, seed_behavior="fixed", profile=profile), remember)
        assert torch.equal(inits[0], inits[1]) is same


@pytest.mark.parametrize(("profile", "across", "down"), [("corrected", 2, 7), ("deforum", 7, 2)])
def test_perlin_cells(settings: Make, profile: str, across: int, down: int) -> None:
    """perlin_w counts the cells across, and in Deforum those down."""
    chosen = settings(
        perlin_w=2, perlin_h=7, noise=0.5, max_frames=2, cadence=1, profile=profile, seed_behavior="fixed"
    )
    frame = sample(chosen)[1]
    seed = frame.seed if profile == "deforum" else derive_seed(frame.seed, frame.index, "noise")
    field = perlin_noise(seed, SIZE, SIZE, grid=(across, down))
    field = field.flip(0) if profile == "deforum" else field
    grey = torch.full((3, SIZE, SIZE), 0.5)
    noisy = Noise(chosen, PROFILES[profile])(grey, Moment(frame, None, StillCamera(chosen, CPU), None))
    assert torch.equal(noisy, add_noise(grey, field, 0.5))
    other = perlin_noise(seed, SIZE, SIZE, grid=(down, across))
    assert not torch.allclose(noisy, add_noise(grey, other, 0.5), atol=0.05)


def test_noise_that_keeps_the_mean_does_not_draw_a_bright_picture_to_grey(settings: Make) -> None:
    """40 times the default amount: mixed in, a picture of 0.9 is near mid-grey; added, it is as bright as before."""

    def keep(init: Image | None, frame: Frame) -> Image:
        mean = 0.9 if init is None else float(init.mean())
        return torch.full((3, SIZE, SIZE), mean)

    runs = {
        keeps: run(settings(max_frames=41, cadence=1, noise=0.065, noise_keeps_mean=str(keeps).lower()), keep)
        for keeps in (True, False)
    }
    assert abs(float(runs[True][40].mean()) - 0.9) < 0.01
    assert float(runs[False][40].mean()) < 0.6


def test_greyscale_is_forced(settings: Make) -> None:
    frames = run(settings(max_frames=3, color_force_grayscale="true"), fresh)
    assert all(torch.equal(image[0], image[1]) and torch.equal(image[1], image[2]) for image in frames.values())


def test_init_image_is_where_the_first_frame_starts_from(settings: Make, tmp_path: Path) -> None:
    path = tmp_path / "init.png"
    cv2.imwrite(str(path), np.full((20, 30, 3), (0, 128, 255), np.uint8))
    given: list[tuple[Image | None, float]] = []

    def remember(init: Image | None, frame: Frame) -> Image:
        given.append((init, frame.params.strength))
        return texture(0)

    run(settings(max_frames=3, init_image=path, init_strength=0.9, strength=0.4), remember)
    assert given[0][0] is not None and given[0][0].shape == (3, SIZE, SIZE)
    assert torch.allclose(given[0][0].mean(dim=(1, 2)), torch.tensor([1, 128 / 255, 0]), atol=1e-3)
    assert [strength for _, strength in given] == [0.9, 0.4]


def fading_marks(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
    """Brighten what is shown by a hundredth for every frame shown before: a `Show` with a memory."""
    count = trails.get("count", 0)
    assert isinstance(count, int)
    return image + count / 100, {"count": count + 1}


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("mode", ["2D", "3D"])
@pytest.mark.parametrize("cadence", [1, 3])
def test_what_is_shown_is_changed_and_what_is_painted_from_is_not(
    settings: Callable[..., Settings], profile: str, mode: str, cadence: int
) -> None:
    given: list[list[Image | None]] = []

    def paint(init: Image | None, frame: Frame) -> Image:
        given[-1].append(init)
        return texture(frame.index) if init is None else torch.lerp(init, texture(frame.index), 0.5)

    run = settings(max_frames=7, cadence=cadence, profile=profile, animation_mode=mode, translation_x=2)
    stages, shown = stages_of(run, each(paint), CPU), []
    for show in ((), (fading_marks,)):
        given.append([])
        frames = animate(replace(stages, show=show), sample(run).spans())
        shown.append([image for _, image in frames])
    for plain, marked in zip(given[0][1:], given[1][1:], strict=True):
        assert plain is not None
        assert marked is not None
        assert torch.equal(plain, marked)
    assert all(torch.equal(plain + i / 100, marked) for i, (plain, marked) in enumerate(zip(*shown, strict=True)))


def test_frames_painted_apart_are_each_shown_once_however_many_are_painted_together(
    settings: Callable[..., Settings],
) -> None:
    """A run that had the memory for two frames at a time goes on in one that has it for four."""
    run = settings(max_frames=7, animation_mode="Interpolation")
    stages = [replace(stages_of(run, each(fresh), CPU, room=room), show=[fading_marks]) for room in (2, 4)]
    begun = list(stages[0].pace(stages[0], sample(run).spans(), None))
    for state in begun:
        rest = list(stages[1].pace(stages[1], sample(run).spans(), state))
        assert [each.frame.index for each in rest] == list(range(state.frame.index + 1, 7))
        assert all(torch.equal(a.shown, b.shown) for a, b in zip(begun[state.frame.index + 1 :], rest, strict=True))
