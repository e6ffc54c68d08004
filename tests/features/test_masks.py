"""Masks: their language, what they are composed of, painting under them, and what stays as it was."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum import atomic
from deforum.animation.cameras import StillCamera
from deforum.animation.painter import SMALLEST, region_of, soften
from deforum.animation.parts import Moment
from deforum.build import prepare as check
from deforum.diffusion.pixel_strength import Paint
from deforum.errors import UserError
from deforum.features.masks.clipseg import above_otsu, load_words
from deforum.features.masks.compose import Masks, evaluate
from deforum.features.masks.find import find_masks, find_words
from deforum.features.masks.language import Joined, MaskExpression, Not, Operand, name_files, parse_mask, parse_masks
from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.motion.flat import FlatWarp
from deforum.motion.matrices import translation
from deforum.pixels.image import CPU, Image, Mask, from_bytes, to_bytes
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from deforum.video import open_clip
from schedules import ScheduleError, parse_text
from tests.helpers import RecordingPainter, SameDepth, assembled, recording

SIZE = 64
STEM = {"width": SIZE, "height": SIZE, "max_frames": 20, "cadence": 1, "seed": 3}


# --- the language -----------------------------------------------------------------------------------------------------


def of(word: str) -> Operand:
    return Operand("words", word)


A, B, C = of("a"), of("b"), of("c")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("", Operand("name", "everywhere")),
        ("  ", Operand("name", "everywhere")),
        ("{video_mask}", Operand("name", "video_mask")),
        ("{ depth }", Operand("name", "depth")),
        ("[a (1), b.png]", Operand("file", "a (1), b.png")),
        ("<a red house>", of("a red house")),
        ("!<a>", Not(A)),
        ("!!<a>", Not(Not(A))),
        ("!<a>&<b>", Joined("&", Not(A), B)),
        ("!(<a>&<b>)", Not(Joined("&", A, B))),
        ("<a>|<b>&<c>", Joined("|", A, Joined("&", B, C))),
        ("<a>&<b>|<c>", Joined("|", Joined("&", A, B), C)),
        ("<a>^<b>|<c>", Joined("^", A, Joined("|", B, C))),
        ("<a>\\<b>^<c>", Joined("\\", A, Joined("^", B, C))),
        ("<a>\\<b>\\<c>", Joined("\\", Joined("\\", A, B), C)),
        ("( <a> | <b> ) & <c>", Joined("&", Joined("|", A, B), C)),
    ],
)
def test_parse(text: str, expression: MaskExpression) -> None:
    assert parse_mask(text) == expression


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("{vidoe_mask}", 0, "unknown mask {vidoe_mask}", "did you mean {video_mask}?"),
        ("!{xyz}", 1, "unknown mask {xyz}", "there are {everywhere}, {video_mask}"),
        ("{human_mask}", 0, "{human_mask} is not available", "<person>"),
        ("video_mask", 0, "'video_mask' is not a mask", "did you mean {video_mask}?"),
        ("{depth", 0, "unmatched {", "close it with }"),
        ("<a> & [x.png", 6, "unmatched [", "close it with ]"),
        ("(<a> | <b>", 0, "unmatched (", None),
        ("<a> | <b>)", 9, "unmatched )", None),
        ("<a> <b>", 4, "expected an operator here", "joined by &"),
        ("<a> + <b>", 4, "expected an operator here", "joined by &"),
        ("<a> & ", 6, "expected a mask at the end", "expected {video_mask}"),
        ("& <a>", 0, "expected a mask before &", "expected {video_mask}"),
        ("()", 1, "expected a mask before )", "expected {video_mask}"),
        ("<a>!", 3, "expected an operator here", "joined by &"),
        ("{}", 0, "{} is empty", "expected {video_mask}"),
    ],
)
def test_mistakes_are_pointed_at(text: str, column: int, message: str, hint: str | None) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_mask(text)
    assert (caught.value.column, caught.value.message) == (column, message)
    assert caught.value.hint is hint is None or str(hint) in str(caught.value.hint)


def test_a_mistake_is_pointed_at_in_the_whole_schedule() -> None:
    source = '0: ("{video_mask}"), 30: ("!({depth} & {dept})")'
    with pytest.raises(ScheduleError) as caught:
        parse_masks(parse_text(source, name="mask"))
    assert str(caught.value).splitlines() == [
        "mask: unknown mask {dept}",
        f"  {source}",
        "  " + " " * source.index("{dept}") + "^",
        "did you mean {depth}?",
    ]


def test_parentheses_survive_the_schedule() -> None:
    schedule = parse_text("0: (({depth} | <a>) & !<b>), 5: (<a, b>)", name="mask")
    assert list(parse_masks(schedule)) == ["({depth} | <a>) & !<b>", "<a, b>"]


def test_files_are_named_in_full(tmp_path: Path) -> None:
    schedule = parse_text('0: ("[a.png] & ![b (2).png]"), 3: ("<a>")', name="mask")
    named = name_files(schedule, lambda name: f"/far/{name}")
    assert list(parse_masks(named)) == ["[/far/a.png] & ![/far/b (2).png]", "<a>"]
    assert parse_text(named.text, name="mask") == named
    with pytest.raises(ScheduleError, match=r"there is no file 'b \(2\).png'") as caught:
        name_files(schedule, lambda name: None if "b" in name else name)
    assert caught.value.text[caught.value.column :].startswith("[b (2).png]")


def test_operators_on_black_white_and_grey() -> None:
    values = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.3], [0.0, 1.0, 0.0, 1.0, 0.6]])
    masks: dict[str, Mask] = {"a": values[:1], "b": values[1:]}
    expected = {
        "!<a>": (1, 1, 0, 0, 0.7),
        "<a>&<b>": (0, 0, 0, 1, 0.3),
        "<a>|<b>": (0, 1, 1, 1, 0.6),
        "<a>^<b>": (0, 1, 1, 0, 0.3),
        "<a>\\<b>": (0, 0, 1, 0, 0.3),
    }
    for text, result in expected.items():
        made = evaluate(parse_mask(text), lambda operand: masks[operand.text])
        assert made[0].tolist() == pytest.approx(result), text


# --- a run with a stand-in for the model ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A settings folder with an init image (noise, opaque in its upper half), and masks of a disc and of the left."""
    levels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 4), np.uint8)
    levels[..., 3] = 0
    levels[: SIZE // 2, :, 3] = 255
    cv2.imwrite(str(tmp_path / "init.png"), levels)
    disc = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (32, 32), 12, 255, -1)
    cv2.imwrite(str(tmp_path / "disc.png"), disc)
    left = np.zeros((SIZE, SIZE), np.uint8)
    left[:, : SIZE // 2] = 255
    cv2.imwrite(str(tmp_path / "left.png"), left)
    return tmp_path


def settings_of(folder: Path, **given: Any) -> Settings:
    path = folder / "a.json.yaml"
    path.write_text(json.dumps(STEM | given))  # JSON is YAML
    return load(path).settings


class Painter(RecordingPainter):
    """Paints grey where it may, and garbles the rest a little, as an autoencoder does; remembers what it was given."""

    def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
        if init is None:
            return from_bytes(np.full((SIZE, SIZE, 3), 40, np.uint8))
        share = 1 - (torch.full(init.shape[1:], frame.params.strength) if paint is None else paint.strength)
        fresh = torch.full_like(init, 0.2 + frame.index / 40)
        return torch.lerp((init + 0.03).clamp(0, 1), fresh, share)


def run(settings: Settings, painter: Painter) -> list[Image]:
    return [image.clone() for _, image in assembled(settings, painter).frames()]


def read_levels(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray[Any, Any]:
    levels = cv2.imread(str(path), flags)
    assert levels is not None
    return levels[..., ::-1] if levels.ndim == 3 else levels


@pytest.mark.parametrize("full_res", [False, True])
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("inverted", [False, True])
def test_outside_the_mask_every_pixel_is_the_inits(
    folder: Path, inverted: bool, profile: str, cadence: int, full_res: bool
) -> None:
    """20 frames of zoom, colour match, noise and a model that garbles what it is not to paint."""
    settings = settings_of(
        folder, use_mask=True, mask_file="disc.png", init_image="init.png", zoom=1.05, noise=0.1, color_coherence="LAB",
        invert_mask=inverted, profile=profile, cadence=cadence, full_res_mask=full_res, mask_overlay_blur=2,
    )  # fmt: skip
    white = read_levels(folder / "disc.png", cv2.IMREAD_GRAYSCALE) > 0
    white = ~white if inverted else white
    # Three deviations from all white the blurred mask is 0.
    reach = cv2.dilate(white.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    init = read_levels(folder / "init.png")
    shown = run(settings, Painter())
    assert len(shown) == 20
    for index, image in enumerate(shown):
        assert np.array_equal(to_bytes(image)[~reach], init[~reach]), index
        assert (to_bytes(image)[white] != init[white]).any(1).mean() > 0.95, index


def test_without_an_init_image_the_moved_picture_stays_outside(folder: Path) -> None:
    """It moves on by whole pixels, which changes none of them."""
    settings = settings_of(
        folder, use_mask=True, mask_file="disc.png", translation_x=1, zoom=1, mask_overlay_blur=0, noise=0.2,
        border="wrap", color_coherence="None", mask="{init_mask}", full_res_mask=False,
    )  # fmt: skip
    outside = read_levels(folder / "disc.png", cv2.IMREAD_GRAYSCALE) == 0
    outside[:, 30:] = False  # what comes out of the disc moves right
    shown = run(settings, Painter())
    for before, after in pairwise(shown):
        assert torch.equal(after[:, outside], before.roll(1, 2)[:, outside])


def test_video_input_keeps_the_clips_pixels_outside(folder: Path) -> None:
    """Several frames at a time, each with its own mask from a second clip."""
    for name, levels in (("clip", 256), ("masks", 2)):
        (folder / name).mkdir()
        for index in range(6):
            pixels = np.random.default_rng(index).integers(0, levels, (SIZE, SIZE, 3), np.uint8)
            pixels = pixels if levels == 256 else np.repeat(pixels[:8, :8, :1] * 255, 8, 0).repeat(8, 1).repeat(3, 2)
            cv2.imwrite(str(folder / name / f"{index}.png"), pixels)
    settings = settings_of(
        folder, animation_mode="Video Input", video_init_path="clip", use_mask_video=True, video_mask_path="masks",
        max_frames=6, batch_size=3, mask_overlay_blur=0, full_res_mask=False, strength=0, color_coherence="None",
    )  # fmt: skip
    masks: dict[int, Mask] = {}
    animation = assembled(settings, Painter()).telling_own(masks.__setitem__)
    shown = [image.clone() for _, image in animation.frames()]
    assert len(shown) == len(masks) == 6
    for index, image in enumerate(shown):
        white = read_levels(folder / "masks" / f"{index}.png", cv2.IMREAD_GRAYSCALE) > 0
        init = read_levels(folder / "clip" / f"{index}.png")
        assert np.array_equal(to_bytes(image)[~white], init[~white])
        assert np.array_equal(masks[index].numpy(), ~white)
        assert np.ptp(to_bytes(image)[white]) == 0  # what the stand-in paints


def test_noise_and_sharpening_only_under_the_mask(folder: Path) -> None:
    for use_noise_mask, white in ((False, "disc.png"), (True, "left.png")):
        settings = settings_of(
            folder, use_mask=True, mask_file="disc.png", init_image="init.png", zoom=1, noise=0.3, antiblur_amount=0,
            use_noise_mask=use_noise_mask, noise_mask="[left.png]", full_res_mask=False, color_coherence="None",
            max_frames=2,
        )  # fmt: skip
        painter = Painter()
        first = run(settings, painter)[0]
        given = painter.inits[1]
        assert given is not None
        noisy = torch.from_numpy(read_levels(folder / white, cv2.IMREAD_GRAYSCALE) > 0)
        assert torch.equal(given[:, ~noisy], first[:, ~noisy])
        assert (given != first)[:, noisy].float().mean() > 0.95


def test_frame_0_is_painted_by_the_composed_mask(folder: Path) -> None:
    settings = settings_of(
        folder, use_mask=True, mask_file="disc.png", mask="{init_mask} & [left.png]", init_image="init.png",
        init_strength=0.25, strength=0.5, full_res_mask=False, fill="latent noise", max_frames=2,
    )  # fmt: skip
    painter = Painter()
    run(settings, painter)
    disc, left = (read_levels(folder / name, cv2.IMREAD_GRAYSCALE) for name in ("disc.png", "left.png"))
    white = torch.from_numpy(np.minimum(disc, left) > 0)
    for paint, strength in zip(painter.paints, (0.25, 0.5), strict=True):
        assert paint is not None and paint.fill == "latent noise"
        assert torch.equal(paint.strength, torch.where(white, strength, 1.0))


def test_from_noise_alone_everything_is_painted(folder: Path) -> None:
    painter = Painter()
    shown = run(settings_of(folder, use_mask=True, mask_file="disc.png", max_frames=1), painter)
    assert painter.paints == [None] and shown[0].std() == 0


def test_masks_are_saved(folder: Path) -> None:
    settings = settings_of(
        folder, use_mask=True, mask_file="disc.png", init_image="init.png", max_frames=3, cadence=2, invert_mask=True
    )
    animation = assembled(replace(settings, save_masks=True), Painter())
    with ExitStack() as beside:
        list(animation.recorded(recording(animation, folder, beside)).frames())
    assert sorted(path.name for path in (folder / "masks").iterdir()) == ["000000000.png", "000000002.png"]
    saved = read_levels(folder / "masks" / "000000000.png", cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(saved, 255 - read_levels(folder / "disc.png", cv2.IMREAD_GRAYSCALE))


def test_a_disk_that_is_full_of_masks_ends_a_run_with_the_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    settings = settings_of(folder, use_mask=True, mask_file="disc.png", init_image="init.png", max_frames=3)
    animation = assembled(replace(settings, save_masks=True), Painter())
    monkeypatch.setattr(atomic, "write", refuse)
    full = r"masks.000000000\.png: cannot be written: the disk is full"
    with pytest.raises(UserError, match=full), ExitStack() as beside:
        list(animation.recorded(recording(animation, folder, beside)).frames())


def test_without_masks_the_model_is_asked_as_ever(folder: Path) -> None:
    painter = Painter()
    run(settings_of(folder, mask_file="disc.png", invert_mask=True, max_frames=3), painter)
    assert painter.paints == [None] * 3


# --- where masks come from --------------------------------------------------------------------------------------------


def moment(settings: Settings, index: int = 0, **known: Any) -> Moment:
    camera = StillCamera(settings, CPU)
    return Moment(sample(settings)[index], None, known.pop("camera", camera), known.pop("warp", None), **known)


def composed(settings: Settings, index: int = 0, depth: Any = None, words: Any = None, **known: Any) -> Mask:
    found = find_masks(settings)
    assert found is not None
    size = settings.width, settings.height
    clip = None if found.clip is None else open_clip(found.clip, *size, fit=settings.clip_fit, device=CPU)
    masks = Masks(found, settings, PROFILES[settings.profile], CPU, clip, depth, words)
    return masks.paint(moment(settings, index, **known), torch.zeros(3, SIZE, SIZE))


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_contrast_and_brightness(folder: Path, profile: str) -> None:
    """Deforum exchanges the two."""
    ramp = np.tile(np.linspace(0, 255, SIZE, dtype=np.uint8), (SIZE, 1))
    cv2.imwrite(str(folder / "ramp.png"), ramp)
    for name, exchanged in (("brightness", "contrast"), ("contrast", "brightness")):
        acts = name if profile == "corrected" else exchanged
        given = {f"mask_{name}_adjust": 1.5, "use_mask": True, "mask_file": "ramp.png", "profile": profile}
        made = composed(settings_of(folder, **given))
        plain = torch.from_numpy(ramp / np.float32(255))
        mean = plain.mean()
        expected = plain * 1.5 if acts == "brightness" else mean + 1.5 * (plain - mean)
        assert torch.allclose(made, expected.clamp(0, 1), atol=1e-5), name


@pytest.mark.parametrize(("profile", "painted"), [("corrected", 0.0), ("deforum", 1.0)])
def test_a_black_mask(folder: Path, profile: str, painted: float) -> None:
    made = composed(settings_of(folder, use_mask=True, mask_file="disc.png", mask="!{everywhere}", profile=profile))
    assert made.unique().tolist() == [painted]


def test_alpha_is_the_mask(folder: Path) -> None:
    settings = settings_of(folder, use_alpha_as_mask=True, init_image="init.png")
    made = composed(settings)
    assert made[: SIZE // 2].min() == 1 and made[SIZE // 2 :].max() == 0
    assert torch.equal(composed(replace(settings, invert_mask=True)), 1 - made)
    cv2.imwrite(str(folder / "opaque.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(UserError, match="has no alpha channel"):
        check(settings_of(folder, use_alpha_as_mask=True, init_image="opaque.png"))
    with pytest.raises(UserError, match="there is no init_image"):
        check(settings_of(folder, use_alpha_as_mask=True))


def test_a_mask_video_that_is_shorter_than_the_run(folder: Path) -> None:
    clip = folder / "clip"
    clip.mkdir()
    for index in range(3):
        levels = np.zeros((SIZE, SIZE), np.uint8)
        levels[:, index * 8 : index * 8 + 8] = 255
        cv2.imwrite(str(clip / f"{index:03d}.png"), levels)

    def columns(end: str, nth: int = 1) -> list[int]:
        settings = settings_of(
            folder, use_mask_video=True, video_mask_path="clip", clip_end=end, max_frames=6, extract_nth_frame=nth
        )
        return [int(composed(settings, index)[0].argmax()) // 8 for index in range(6)]

    assert columns("hold") == columns("stop") == [0, 1, 2, 2, 2, 2]
    assert columns("loop") == [0, 1, 2, 0, 1, 2]
    assert columns("hold", nth=2) == [0, 2, 2, 2, 2, 2]


def test_masks_change_by_keyframe(folder: Path) -> None:
    settings = settings_of(folder, use_mask=True, mask_file="disc.png", mask='0: ("{init_mask}"), 2: ("[left.png]")')
    assert not torch.equal(composed(settings, 1), composed(settings, 2))
    assert composed(settings, 5)[:, :32].min() == 1


def test_depth_is_white_in_front(folder: Path) -> None:
    settings = settings_of(folder, use_mask=True, mask="{depth}")
    near_below = torch.linspace(1, 9, SIZE)[:, None].expand(SIZE, SIZE)
    for floor in (SameDepth(near_below), SameDepth(10 - near_below, "depth")):
        made = composed(settings, depth=floor)
        assert made[0].max() == 0 and made[-1].min() == 1
        assert torch.allclose(made[32], torch.tensor(0.5), atol=0.05)
    with pytest.raises(UserError, match="depth_algorithm is none"):
        check(settings_of(folder, use_mask=True, mask="{depth}", depth_algorithm="none"))


def test_disocclusion_is_what_came_in(folder: Path) -> None:
    settings = settings_of(folder, use_mask=True, mask="{disocclusion}")
    warp = FlatWarp(translation(10, 0), SIZE, SIZE, "replicate", CPU)
    made = composed(settings, 1, warp=warp)
    assert made[:, :10].min() == 1 and made[:, 10:].max() == 0
    assert composed(settings, 0).max() == 0


def test_masks_that_follow_the_camera(folder: Path) -> None:
    """The disc moves right with the picture; what comes in from the left is painted too."""
    settings = settings_of(
        folder, use_mask=True, mask_file="disc.png", init_image="init.png", zoom=1, translation_x=2, max_frames=6,
        mask_follows_camera=True, full_res_mask=False, mask_overlay_blur=0, noise=0, color_coherence="None",
        antiblur_amount=0,
    )  # fmt: skip
    disc = torch.from_numpy(read_levels(folder / "disc.png", cv2.IMREAD_GRAYSCALE) / np.float32(255))
    init = from_bytes(np.ascontiguousarray(read_levels(folder / "init.png")))
    painter = Painter()
    shown = run(settings, painter)
    for index, (image, paint) in enumerate(zip(shown, painter.paints, strict=True)):
        assert paint is not None
        right = 2 * index
        expected = torch.ones(SIZE, SIZE)
        expected[:, right:] = disc[:, : SIZE - right]
        assert torch.equal((paint.strength < 1).float(), expected), index
        kept = expected == 0
        assert torch.allclose(image[:, kept], init.roll(right, 2)[:, kept], atol=1e-6)


# --- the masked region ------------------------------------------------------------------------------------------------


def test_region_has_the_frames_proportions() -> None:
    masked = torch.zeros(256, 512, dtype=torch.bool)
    masked[100:140, 300:420] = True
    box = region_of(masked, 4)
    assert box is not None
    rows, columns = box
    assert (rows.stop - rows.start, columns.stop - columns.start) == (64, 128)
    assert rows.start <= 96 and rows.stop >= 144 and columns.start <= 296 and columns.stop >= 424
    masked[255, 511] = True  # the corner: what is around it stays within the frame
    corner = region_of(masked, 4)
    assert corner is not None and corner[0].stop == 256 and corner[1].stop == 512


def test_region_of_all_of_nothing_and_of_one_pixel() -> None:
    masked = torch.zeros(256, 256, dtype=torch.bool)
    assert region_of(masked, 4) is None
    assert region_of(~masked, 4) is None
    masked[5, 250] = True
    assert region_of(masked, 0) == (slice(0, SMALLEST), slice(256 - SMALLEST, 256))


def test_only_the_region_is_given_to_the_model_enlarged(folder: Path) -> None:
    cv2.imwrite(str(folder / "dot.png"), cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 28, 255, -1))
    cv2.imwrite(str(folder / "even.png"), np.full((256, 256, 3), 90, np.uint8))
    settings = settings_of(
        folder, use_mask=True, mask_file="dot.png", init_image="even.png", full_res_mask_padding=3, width=256,
        height=256, max_frames=1, mask_overlay_blur=0, init_strength=0, color_coherence="None",
    )  # fmt: skip
    painter = Painter()
    shown = run(settings, painter)[0]
    [paint], [init] = painter.paints, painter.inits
    assert paint is not None and init is not None and init.shape == (3, 256, 256)
    share = (paint.strength < 1).float().mean()
    assert float(share) == pytest.approx(np.pi * (28 / 64) ** 2, abs=0.01)  # 56 px of 64
    white = torch.from_numpy(read_levels(folder / "dot.png", cv2.IMREAD_GRAYSCALE) > 0)
    assert torch.allclose(shown[:, ~white], torch.tensor(90 / 255), atol=1e-6)
    assert float(shown[:, white].mean()) == pytest.approx(
        0.2, abs=0.01
    )  # softer at the edge, where it was made smaller


def test_softened_masks_end_where_they_are_said_to() -> None:
    mask = torch.zeros(100, 100)
    mask[50, 50] = 1
    soft = soften(mask, 4)
    y, x = np.nonzero(soft.numpy())
    assert (y.min(), y.max(), x.min(), x.max()) == (38, 62, 38, 62)
    assert float(soft.sum()) == pytest.approx(1, abs=1e-3)
    assert soften(mask, 0) is mask
    assert soften(torch.ones(5, 7), 64).shape == (5, 7)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIPSeg with tiny random weights, in a folder as the hub has them."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

    from deforum.diffusion.families.vocabulary import clip_tokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clipseg")
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config=small, vision_config=small | {"image_size": 64, "patch_size": 16}, projection_dim=16,
        extract_layers=[0, 1, 2], reduce_dim=16, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    CLIPSegProcessor(
        ViTImageProcessor(size={"height": 64, "width": 64}), clip_tokenizer("<|endoftext|>")
    ).save_pretrained(folder)
    return folder


def test_words_are_found_in_a_picture(clipseg: Path) -> None:
    find = load_words(find_words(str(clipseg)), CPU)
    picture = torch.rand(3, 48, 80, generator=torch.Generator().manual_seed(0))
    made = find(picture, "a red house")
    assert made.shape == (48, 80) and set(made.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(made, find(picture, "a red house"))


def test_words_in_a_run(folder: Path, clipseg: Path) -> None:
    settings = settings_of(
        folder, use_mask=True, mask="<a house> & [left.png]", mask_words_model=str(clipseg), init_image="init.png",
        max_frames=2, full_res_mask=False,
    )  # fmt: skip
    painter = Painter()
    run(settings, painter)
    assert painter.paints[0] is not None and painter.paints[0].strength[:, 32:].min() == 1


def test_missing_words_model_says_which_where_and_how(folder: Path, tmp_path: Path, clipseg: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"CIDAS/clipseg-rd64-refined.*--allow-download.*hf download.*masks such as <words> need CLIPSeg",
    ):
        check(settings_of(folder, use_mask=True, mask="<a house>"))
    (folder / "half").mkdir()
    (folder / "half" / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UserError, match=r"preprocessor_config\.json, tokenizer\.json, model\.safetensors missing"):
        find_words(str(folder / "half"))


def test_otsu_splits_two_heaps() -> None:
    values = torch.cat([torch.full((10, 30), 0.2), torch.full((10, 10), 0.35)], 1)
    assert torch.equal(above_otsu(values), (values > 0.3).float())


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"use_mask": True}, "mask_file: this has to name a file"),
        ({"use_mask": True, "mask_file": "none.png"}, "mask_file: there is no file 'none.png'"),
        ({"use_mask_video": True, "video_mask_path": "none.mp4"}, "video_mask_path: there is no file 'none.mp4'"),
        ({"use_mask": True, "mask": "[none.png]"}, r"mask: there is no file 'none.png'\n  \[none.png\]\n  \^"),
        ({"use_mask": True, "mask": "{video_mask"}, "mask: unmatched {"),
        ({"use_noise_mask": True, "noise_mask": "<a> <b>"}, "noise_mask: expected an operator here"),
    ],
)
def test_what_is_wrong_is_said_on_loading(folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings_of(folder, **given)


def test_masks_that_are_not_in_use_may_be_anything(folder: Path) -> None:
    settings = settings_of(folder, mask="{nonsense", mask_file="none.png", noise_mask="[none.png]")
    check(settings)
    assert find_masks(settings) is None


def test_a_mask_on_a_network_is_left_out_of_a_deforum_file(folder: Path) -> None:
    given = {"prompts": {"0": "a"}, "use_mask": True, "mask_file": "https://example.org/M1.jpg", "max_frames": 2}
    (folder / "a.txt").write_text(json.dumps(given))
    loaded = load(folder / "a.txt")
    assert not loaded.settings.use_mask
    assert any("M1.jpg is not fetched; the animation goes without this mask" in note for note in loaded.report)
