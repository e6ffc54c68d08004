"""Video Input and Interpolation: what each frame is painted from, several at a time, with feedback, with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.animation.painter import each
from deforum.build import Animation, build, prepare
from deforum.build import prepare as check
from deforum.errors import UserError
from deforum.features.table import settle
from deforum.features.video_input import holds_colors
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.pixels.image import Image, from_bytes, to_bytes
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from deforum.video import ClipError, open_clip, video_init
from deforum.video.writer import Soundtrack, VideoWriter
from tests.helpers import Make, assembled, settings_maker

SIZE = 64
FRAMES = 7
STEP = (3, -2)
"""px that the clip's picture moves in each frame."""


def texture(seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Make a picture of coloured blobs, as many dark as bright, whose colours are far from black and white."""
    rng = np.random.default_rng(seed)
    blurred = cv2.GaussianBlur(rng.standard_normal((size, size, 3)), (0, 0), 2.5)
    return np.clip(128 + 55 * blurred / blurred.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture that moves by STEP in each frame."""
    path, wide = tmp_path_factory.mktemp("clip"), texture(size=2 * SIZE)
    for t in range(FRAMES):
        shown = np.roll(wide, (STEP[1] * t, STEP[0] * t), (0, 1))[SIZE // 2 :, SIZE // 2 :][:SIZE, :SIZE]
        cv2.imwrite(str(path / f"{t}.png"), shown[..., ::-1])
    return path


@pytest.fixture
def settings(tmp_path: Path, clip: Path) -> Make:
    usual = {
        "width": SIZE, "height": SIZE, "seed": 1, "max_frames": 100, "animation_mode": "Video Input", "fps": 12,
        "steps": 4, "cfg_scale": 2, "prompts": "{0: hills}", "video_init_path": clip,
    }  # fmt: skip
    return settings_maker(tmp_path, usual)


def animation(settings: Settings, paint: Callable[[Image | None, Frame], Image]) -> Animation:
    """Put an animation together whose model is a function."""
    return assembled(settings, each(paint))


def rendered(settings: Settings, paint: Callable[[Image | None, Frame], Image]) -> list[Image]:
    return [image for _, image in animation(settings, paint).frames()]


def keep(init: Image | None, frame: Frame) -> Image:
    assert init is not None
    return init


def clip_frames(settings: Settings) -> list[Image]:
    with open_clip(video_init(settings), settings.width, settings.height) as clip:
        return [clip(t) for t in range(len(clip))]


# --- Video Input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_each_frame_is_painted_from_the_clips_and_nothing_else(settings: Make, profile: str) -> None:
    """No motion, noise, contrast, sharpening, nor colours of another frame; whatever the cadence."""
    chosen = settings(
        profile=profile, cadence=3, zoom=1.2, angle=5, noise=0.3, contrast=1.5, antiblur_amount=2, color_coherence="RGB"
    )
    shown = rendered(chosen, keep)
    assert len(shown) == FRAMES
    for image, picture in zip(shown, clip_frames(chosen), strict=True):
        assert torch.equal(image, picture)


def test_nth_from_and_to(settings: Make) -> None:
    chosen = settings(extract_nth_frame=2, extract_from_frame=1, extract_to_frame=5)
    every = clip_frames(settings())
    assert all(torch.equal(a, b) for a, b in zip(rendered(chosen, keep), every[1:6:2], strict=True))


def test_every_schedule_acts_in_each_frame(settings: Make) -> None:
    chosen = settings(strength='"0.1*t"', cfg_scale='"1+t"', init_strength=0.9, seed_behavior="iter")
    seen: list[Frame] = []

    def note(init: Image | None, frame: Frame) -> Image:
        seen.append(frame)
        return keep(init, frame)

    rendered(chosen, note)
    assert [frame.index for frame in seen] == list(range(FRAMES))
    assert np.allclose([frame.params.strength for frame in seen], 0.1 * np.arange(FRAMES))
    assert [frame.params.cfg_scale for frame in seen] == [1 + t for t in range(FRAMES)]
    assert [frame.seed for frame in seen] == [1 + t for t in range(FRAMES)]


def test_colours_of_a_picture_and_of_the_clip(settings: Make, tmp_path: Path) -> None:
    red = np.clip(texture(5).astype(int) + np.array((70, -40, -40)), 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "red.png"), red[..., ::-1])

    def grey(init: Image | None, frame: Frame) -> Image:
        return keep(init, frame).mean(0, keepdim=True).expand(3, -1, -1) * 0.5

    def means(images: Sequence[Image]) -> NDArray[np.float32]:
        return np.stack([image.mean((1, 2)).numpy() for image in images])

    held = rendered(settings(color_coherence="Image", color_coherence_image_path=tmp_path / "red.png"), grey)
    assert abs(means(held) - red.mean((0, 1)) / 255).max() < 0.03
    chosen = settings(color_coherence="Video Input", color_coherence_video_every_n_frames=3)
    pictures = clip_frames(chosen)
    asked = [pictures[t // 3 * 3] for t in range(FRAMES)]
    assert abs(means(rendered(chosen, grey)) - means(asked)).max() < 0.02
    assert abs(means(rendered(settings(color_coherence="None"), grey)) - means(asked)).max() > 0.1


def test_colours_of_the_clip_in_the_other_modes(settings: Make) -> None:
    """Frame t is held to the clip's frame t; Deforum does so in hybrid video only."""
    chosen = settings(animation_mode="2D", color_coherence="Video Input", max_frames=5, zoom=1, cadence=1, noise=0)
    shown = rendered(chosen, lambda init, frame: torch.full((3, SIZE, SIZE), 0.2) + 0.1 * torch.rand(3, SIZE, SIZE))
    for image, picture in zip(shown, clip_frames(chosen)[:5], strict=True):
        assert abs(image.mean((1, 2)) - picture.mean((1, 2))).max() < 0.02
    assert holds_colors(chosen) and not holds_colors(replace(chosen, profile="deforum"))


def test_greyscale(settings: Make) -> None:
    for image in rendered(settings(color_force_grayscale="true"), keep):
        assert abs(image[0] - image[1]).max() < 1e-5


# --- how long it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, FRAMES),
        ({"max_frames": 4}, 4),
        ({"extract_nth_frame": 3}, 3),
        ({"clip_end": "hold", "max_frames": 9}, 9),
        ({"clip_end": "loop", "max_frames": 9}, 9),
        ({"profile": "deforum", "max_frames": 3}, FRAMES),
        ({"profile": "deforum", "max_frames": 300, "extract_nth_frame": 2}, 4),
        ({"animation_mode": "2D", "max_frames": 9}, 9),
        ({"animation_mode": "2D", "hybrid_composite": "Normal", "max_frames": 9}, FRAMES),
        ({"animation_mode": "2D", "hybrid_composite": "Normal", "profile": "deforum", "max_frames": 3}, FRAMES),
    ],
)
def test_length(settings: Make, given: dict[str, object], count: int) -> None:
    chosen = settings(**given)
    assert chosen.max_frames == count == len(check(chosen).timeline)
    assert settle(chosen) == chosen


def test_what_became_of_max_frames_is_told(settings: Make, tmp_path: Path) -> None:
    settings()
    assert f"max_frames: 100 became {FRAMES}, the length of clip0" in load(tmp_path / "settings.yaml").report


def test_holding_and_looping(settings: Make) -> None:
    pictures = clip_frames(settings())
    held = rendered(settings(clip_end="hold", max_frames=9), keep)
    assert torch.equal(held[8], pictures[6]) and torch.equal(held[7], pictures[6])
    looped = rendered(settings(clip_end="loop", max_frames=9), keep)
    assert torch.equal(looped[7], pictures[0]) and torch.equal(looped[8], pictures[1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"extract_from_frame": 7}, "extract_from_frame: there is no frame 7"),
        ({"video_init_path": "nowhere.mp4"}, "video_init_path: there is no file 'nowhere.mp4'"),
        ({"clip_feedback": 0.5, "clip_feedback_flow": "RAFT"}, "clip_feedback_flow: RAFT needs weights"),
        ({"clip_feedback": 1.5}, "clip_feedback is 1.5 at frame 0"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(
    settings: Make, home: Path, given: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        check(settings(**given))


# --- several at a time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["Video Input", "Interpolation"])
def test_several_at_a_time_are_the_same_as_one_by_one(settings: Make, mode: str) -> None:
    """With the embedded model, in fp32: in bf16 a last bit of the encoder's may round a latent the other way."""
    models = KeptModels()
    prompts = "{0: hills, 6: the sea at night --neg trees}"
    given = {"prompts": prompts, "strength": '"0.5"', "max_frames": FRAMES, "precision": "fp32"}
    made, threads = [], torch.get_num_threads()
    try:
        for size in (1, 3, 7):
            torch.set_num_threads(2 if size > 1 else 1)  # so that several are painted beside each other, too
            chosen = settings(animation_mode=mode, batch_size=size, **given)
            made.append(torch.stack([image for _, image in build(chosen, models).frames()]))
    finally:
        torch.set_num_threads(threads)
    assert made[0].shape == (FRAMES, 3, SIZE, SIZE)
    assert max(abs(made[1] - made[0]).max(), abs(made[2] - made[0]).max()) <= 1 / 255
    assert min(abs(a - b).mean() for a, b in pairwise(made[0])) > 1 / 255, "frames differ"


def test_so_many_at_a_time(settings: Make) -> None:
    sizes: list[int] = []

    def paint(inits: Sequence[Image | None], frames: Sequence[Frame], paints: object = None) -> list[Image]:
        sizes.append(len(frames))
        return [keep(init, frame) for init, frame in zip(inits, frames, strict=True)]

    chosen = settings(batch_size=3)
    assert [frame.index for frame, _ in assembled(chosen, paint).frames()] == list(range(FRAMES))
    assert sizes == [3, 3, 1]


def test_where_memory_is_short_fewer_are_painted_at_a_time(settings: Make) -> None:
    sizes: list[int] = []

    def paint(inits: Sequence[Image | None], frames: Sequence[Frame], paints: object = None) -> list[Image]:
        sizes.append(len(frames))
        if len(frames) > 2:
            raise torch.OutOfMemoryError
        return [keep(init, frame) for init, frame in zip(inits, frames, strict=True)]

    chosen = settings(batch_size=6)
    assert [frame.index for frame, _ in assembled(chosen, paint).frames()] == list(range(FRAMES))
    assert sizes == [6, 3, 2, 2, 2, 1]


# --- feedback ---------------------------------------------------------------------------------------------------------


def speckle(init: Image | None, frame: Frame) -> Image:
    """Paint as a model does: what is there stays recognisable, and every frame has details of its own."""
    generator = torch.Generator().manual_seed(frame.seed)
    return 0.65 * keep(init, frame) + 0.35 * torch.rand((3, SIZE, SIZE), generator=generator)


def flicker(images: Sequence[Image]) -> float:
    """Give the mean difference of successive pictures, the earlier one moved as the clip moves; away from the edges."""
    dx, dy = STEP
    differences = [
        abs(a[:, 8:-8, 8:-8].roll((dy, dx), (1, 2)) - b[:, 8:-8, 8:-8])[:, 8:-8, 8:-8].mean()
        for a, b in pairwise(images)
    ]
    return float(torch.stack(differences).mean())


def test_feedback_takes_out_half_of_the_flicker(settings: Make) -> None:
    alone = flicker(rendered(settings(), speckle))
    fed = flicker(rendered(settings(clip_feedback=0.5), speckle))
    assert flicker(clip_frames(settings())) < 0.002, "the clip itself has none"
    assert fed <= alone / 2


@pytest.mark.parametrize("name", ["clip_feedback", "clip_feedback_init"])
def test_feedback_of_what_is_kept_is_the_clip(settings: Make, name: str) -> None:
    """Painting that changes nothing gives the clip: things stay where they are, within what flow can find."""
    chosen = settings(**{name: 0.5})
    for image, picture in zip(rendered(chosen, keep), clip_frames(chosen), strict=True):
        assert abs(image - picture)[:, 12:-12, 12:-12].mean() < 0.01


def test_feedback_before_painting_carries_on_what_was_painted(settings: Make) -> None:
    """A spot painted once stays, moved as the clip moves, and fades by its share from frame to frame."""

    def spot(init: Image | None, frame: Frame) -> Image:
        image = keep(init, frame).clone()
        if frame.index == 0:
            image[:, 30:38, 20:28] = 1
        return image

    pictures, shown = clip_frames(settings()), rendered(settings(clip_feedback_init=0.5), spot)
    for t in range(1, 4):
        here = np.s_[:, 33 + STEP[1] * t : 35 + STEP[1] * t, 23 + STEP[0] * t : 25 + STEP[0] * t]
        assert float((shown[t] - pictures[t])[here].mean()) == pytest.approx(
            0.5**t * float((1 - pictures[t])[here].mean()), rel=0.25
        )


@pytest.mark.parametrize("name", ["clip_feedback", "clip_feedback_init"])
def test_feedback_is_a_schedule(settings: Make, name: str) -> None:
    """In a frame without it, nothing of the one before is there."""
    chosen = settings(**{name: '"0: (0.5), 3: (0), 4: (0.5)"'})
    alone, fed = rendered(settings(), speckle), rendered(chosen, speckle)
    same = [torch.equal(a, b) for a, b in zip(alone, fed, strict=True)]
    assert same == [t in (0, 3) for t in range(FRAMES)]


def test_what_comes_into_view_is_painted_from_the_clip_alone(settings: Make, tmp_path: Path) -> None:
    """A square leaves its place: what was behind it is not made of the square."""
    ground, square = texture(1, 256), texture(2, 96) // 3
    folder = tmp_path / "square"
    folder.mkdir()
    for t in range(2):
        picture = ground.copy()
        picture[80:176, 40 + 16 * t : 136 + 16 * t] = square
        cv2.imwrite(str(folder / f"{t}.png"), picture)
    chosen = settings(video_init_path=folder, clip_feedback=1, width=256, height=256)
    shown, pictures = rendered(chosen, keep), clip_frames(chosen)
    uncovered = np.s_[:, 90:166, 42:54]  # between the square's old edge and its new one
    assert abs(shown[1] - pictures[1])[uncovered].mean() < 0.1 * abs(pictures[0] - pictures[1])[uncovered].mean()


# --- masks, sound -----------------------------------------------------------------------------------------------------


def test_outside_a_mask_is_the_clip(settings: Make, tmp_path: Path) -> None:
    """With the embedded model: painted on the left, the clip's own pixels on the right."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, : SIZE // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    chosen = settings(
        use_mask="true", mask_file=tmp_path / "mask.png", mask_overlay_blur=0, full_res_mask="false", strength=0.3
    )
    pictures = clip_frames(chosen)
    shown = [image for _, image in build(chosen).frames()]
    for image, picture in zip(shown, pictures, strict=True):
        assert torch.equal(image[:, :, SIZE // 2 :], picture[:, :, SIZE // 2 :])
        assert abs(image - picture)[:, :, : SIZE // 2].mean() > 0.02


def test_the_sound_of_the_clip_goes_with_its_frames(settings: Make, tmp_path: Path) -> None:
    """The clip's sound is kept from the first frame used; where speeds differ, that is told."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, SIZE, SIZE, 12) as video:
        for t in range(24):
            video.write(np.roll(texture(), t, 1))
    chosen = settings(video_init_path=path, extract_from_frame=6, add_soundtrack="Init Video")
    from deforum.output.choice import Outputs

    outputs, _ = Outputs.of(chosen)
    assert outputs.films[0].soundtrack == Soundtrack(path, 0.5)
    assert not any("drift" in line for line in prepare(chosen).notes)
    told = prepare(settings(video_init_path=path, extract_nth_frame=2, add_soundtrack="Init Video")).notes
    assert any("belong 6 to a second, and fps is 12" in line for line in told)


# --- Interpolation ----------------------------------------------------------------------------------------------------


def test_interpolation_paints_every_frame_from_noise_and_blends_prompts(settings: Make) -> None:
    chosen = settings(
        animation_mode="Interpolation", max_frames=5, prompts="{0: hills --neg a, 4: sea --neg b}", strength=0.9,
        cadence=3, subseed_strength=0.3, color_coherence="LAB", init_image="null",
    )  # fmt: skip
    seen: list[tuple[Image | None, Frame]] = []

    def note(init: Image | None, frame: Frame) -> Image:
        seen.append((init, frame))
        return from_bytes(texture(frame.index))

    shown = rendered(chosen, note)
    assert [to_bytes(image).tolist() for image in shown] == [texture(t).tolist() for t in range(5)], "colours are free"
    assert all(init is None for init, _ in seen)
    assert [[(p.positive, p.negative, p.weight) for p in frame.prompts] for _, frame in seen] == [
        [("hills", "a", 1.0)],
        [("hills", "a", 0.75), ("sea", "b", 0.25)],
        [("hills", "a", 0.5), ("sea", "b", 0.5)],
        [("hills", "a", 0.25), ("sea", "b", 0.75)],
        [("sea", "b", 1.0)],
    ]
    assert len({frame.subseed for _, frame in seen}) == 5 and [frame.seed for _, frame in seen] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("mode", "given", "blending"),
    [
        ("Interpolation", "null", "linear"),
        ("Interpolation", "hold", "hold"),
        ("Interpolation", "spherical", "spherical"),
        ("2D", "null", "hold"),
        ("2D", "linear", "linear"),
    ],
)
def test_how_prompts_are_blended(settings: Make, mode: str, given: str, blending: str) -> None:
    assert settings(animation_mode=mode, prompt_blend=given).blending == blending


def test_a_path_to_nothing_says_so() -> None:
    with pytest.raises(ClipError, match="video_init_path: this has to name a clip"):
        check(Settings(animation_mode="Video Input", seed=1))
