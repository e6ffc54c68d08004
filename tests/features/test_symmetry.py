"""Pictures mirrored in the loop: what the mirrors show, and that every frame of a film has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.painter import MaskAt
from deforum.animation.parts import Moment
from deforum.diffusion.pixel_strength import Paint
from deforum.errors import UserError
from deforum.features.disocclusion import uncovered
from deforum.features.symmetry import KINDS, Fold, Symmetry, fold_of
from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.motion.positions import Chart, sample_at
from deforum.pixels.image import CPU, Image, Mask
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import Make, RecordingPainter, assembled, pictures, recording, settings_maker, write_settings

SIZE = 64
MIDDLE = (0.5, 0.5)
STEM = {
    "width": SIZE, "height": SIZE, "max_frames": 9, "seed": 5, "prompts": {0: "a"}, "zoom": 1.05, "angle": 2,
    "color_coherence": "None",
}  # fmt: skip


def texture(seed: int, softness: float = 1.5, size: int = SIZE) -> Image:
    return pictures.texture(seed, size, size, softness)


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    return settings_maker(tmp_path, STEM)


class Painter(RecordingPainter):
    """Paints a picture of its own into what it is given, which is not symmetric."""

    def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
        own = texture(frame.index)
        return own if init is None else torch.lerp(init, own, 0.3)


def fold(
    kind: str, segments: int = 6, angle: float = 0, center: tuple[float, float] = MIDDLE, size: int = SIZE
) -> Fold:
    wedges, begin = KINDS[kind]
    return fold_of(segments if wedges is None else wedges, begin + angle, center, size, size, CPU)


def run(settings: Settings, painter: Painter | None = None) -> list[Image]:
    return [image.clone() for _, image in assembled(settings, painter or Painter()).frames()]


# --- what the mirrors show -------------------------------------------------------------------------------------------

ROW = torch.arange(SIZE).float().expand(SIZE, SIZE)
X, Y = ROW, ROW.T
LEFT, UPPER = torch.minimum(X, SIZE - 1 - X), torch.minimum(Y, SIZE - 1 - Y)

TRUTHS: dict[tuple[str, int, float], tuple[torch.Tensor, torch.Tensor]] = {
    ("mirror x", 6, 0): (LEFT, Y),
    ("mirror x", 6, 180): (SIZE - 1 - LEFT, Y),  # turned by half: the right half is copied
    ("mirror x", 6, 90): (X, SIZE - 1 - UPPER),  # counter-clockwise: what was to the left is below
    ("mirror y", 6, 0): (X, UPPER),
    ("mirror y", 6, 90): (LEFT, Y),
    ("quad", 6, 0): (LEFT, UPPER),
    ("quad", 6, 90): (LEFT, SIZE - 1 - UPPER),
    ("kaleidoscope", 2, 0): (LEFT, Y),
    ("kaleidoscope", 4, 0): (LEFT, UPPER),
    ("kaleidoscope", 8, 0): (torch.maximum(LEFT, UPPER), torch.minimum(LEFT, UPPER)),
}
"""Where each pixel is read, by kind, segments and angle."""


@pytest.mark.parametrize("case", TRUTHS, ids=str)
def test_where_each_pixel_comes_from(case: tuple[str, int, float]) -> None:
    made = fold(*case)
    assert made.is_whole
    assert torch.equal(made.positions, torch.stack(TRUTHS[case]))
    image, (x, y) = texture(1), TRUTHS[case]
    assert torch.equal(made(image), image[:, y.long(), x.long()])


def test_mirrors_meet_at_the_centre() -> None:
    """At 16.25 / 64 the axis goes through the centre of pixel 15.75: what is d px right of it is read d px left."""
    made = fold("mirror x", center=(16.25 / SIZE, 0.5))
    assert made.positions[0, 9, 15:20].tolist() == [15, 15.5, 14.5, 13.5, 12.5]
    on_a_pixel = fold("mirror x", center=(16.5 / SIZE, 0.5))
    assert on_a_pixel.positions[0, 9, 14:19].tolist() == [14, 15, 16, 15, 14]  # the line itself is not doubled


@pytest.mark.parametrize("segments", [3, 5, 6, 7, 12])
def test_a_kaleidoscope_looks_the_same_from_every_side(segments: int) -> None:
    """Turned by one arm, and mirrored at the upright axis, a soft picture stays what it is."""
    size = 128
    image = fold("kaleidoscope", segments, size=size)(texture(2, 6, size))
    arm = 360 / segments if segments % 2 else 720 / segments
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), arm, 1)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    turned = cv2.warpAffine(pixels, turn, (size, size), flags=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    disc = np.hypot(x, y) < size / 2 - 3
    assert np.abs(turned - pixels)[disc].max() < 0.02
    assert np.abs(pixels[:, ::-1] - pixels)[disc].max() < 0.02


def test_what_would_be_read_beyond_the_edge_is_mirrored_there() -> None:
    """Left of an axis at 16 there are 16 columns; they are seen to and fro."""
    x = fold("mirror x", center=(0.25, 0.5)).positions[0, 0]
    there, back = list(range(16)), list(range(15, -1, -1))
    assert x.tolist() == [*there, *back, *there, *back]


def test_where_the_wedge_is_outside_the_picture_stays() -> None:
    image = texture(3)
    assert torch.equal(fold("mirror x", center=(0, 0.5))(image), image)


EVERY = [
    ("mirror x", 6, 0, MIDDLE), ("mirror x", 6, 30, MIDDLE), ("mirror y", 6, 0, MIDDLE), ("quad", 6, 0, MIDDLE),
    ("quad", 6, 17, (0.4, 0.7)), ("kaleidoscope", 6, 0, MIDDLE), ("kaleidoscope", 5, 13, (0.3, 0.3)),
    ("kaleidoscope", 40, 1, MIDDLE), ("mirror x", 6, 33, (0.1, 0.9)),
]  # fmt: skip


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_what_is_symmetric_stays_as_it_is_bit_for_bit(case: tuple[str, int, float, tuple[float, float]]) -> None:
    made, image = fold(*case), texture(4, 0.5)
    once = made(image)
    assert not torch.equal(once, image)
    assert torch.equal(made(once), once)
    assert once.min() >= 0 and once.max() <= 1


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_only_the_wedge_is_read_and_it_is_not_changed(case: tuple[str, int, float, tuple[float, float]]) -> None:
    made, image = fold(*case), texture(5, 0.5)
    own = (made.positions == torch.stack((X, Y))).all(0)
    elsewhere = torch.where(own, image, 1 - image)
    assert torch.equal(made(image)[:, own], image[:, own])
    assert torch.equal(made(elsewhere), made(image))


@pytest.mark.parametrize("case", [case for case in EVERY if case[1] != 40], ids=str)
def test_seams_are_invisible(case: tuple[str, int, float, tuple[float, float]]) -> None:
    """From one side of a mirror line to the other the picture changes by no more than beside it."""
    size, (kind, segments, angle, center) = 256, case
    pictures = torch.cat([fold(*case, size=size)(texture(seed, 2, size)) for seed in range(8)])
    wedges, begin = KINDS[kind]
    wedges = segments if wedges is None else wedges
    wedges = wedges if wedges % 2 == 0 else 2 * wedges
    middle = (np.array(center) * size - 0.5)[:, None]

    def steepness(line: int, beside: float) -> float:
        """Across a line that is `beside` px away from a mirror line."""
        turn = np.radians(begin + angle + line * 360 / wedges)
        along, across = (np.array([[-np.sin(a)], [-np.cos(a)]]) for a in (turn, turn + np.pi / 2))
        points = middle + along * np.arange(30, size)
        points = points[:, ((points > 12) & (points < size - 13)).all(0)]
        if not points.size:
            return 0
        one, other = (
            sample_at(pictures, torch.from_numpy(points + across * at).float()[:, None], "bilinear", "border")
            for at in (beside - 0.5, beside + 0.5)
        )
        return float((one - other).abs().mean())

    for line in range(wedges):
        assert steepness(line, 0) <= min(steepness(line, -6), steepness(line, 6)), line


# --- in a film -------------------------------------------------------------------------------------------------------


def is_symmetric(image: Image, case: tuple[str, int, float]) -> bool:
    return torch.equal(fold(*case)(image), image)


@pytest.mark.parametrize("mode", ["2D", "3D"])
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize("flow", ["None", "DIS Medium"])
@pytest.mark.parametrize("kind", ["mirror x", "kaleidoscope"])
def test_every_shown_frame_is_symmetric(
    settings: Make, mode: str, profile: str, cadence: int, flow: str, kind: str
) -> None:
    painter = Painter()
    chosen = settings(
        animation_mode=mode, profile=profile, cadence=cadence, optical_flow_cadence=flow, symmetry=kind, noise=0.1,
        rotation_3d_z=2,
    )  # fmt: skip
    shown = run(chosen, painter)
    assert len(shown) == 9
    assert all(is_symmetric(image, (kind, 6, 0)) for image in shown)
    assert all(init is None or is_symmetric(init, (kind, 6, 0)) for init in painter.inits)
    assert painter.inits[0] is None and painter.inits[1] is not None


def test_without_it_they_are_not(settings: Make) -> None:
    assert not any(is_symmetric(image, ("mirror x", 6, 0)) for image in run(settings()))


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_at_strength_0_frames_are_those_without_it(settings: Make, profile: str) -> None:
    same = {"profile": profile, "cadence": 2, "motion_gain": "off"}  # auto is off with symmetry
    plain, off = run(settings(**same)), run(settings(**same, symmetry="quad", symmetry_strength=0))
    assert all(torch.equal(a, b) for a, b in zip(plain, off, strict=True))


def test_half_a_strength_shows_both(settings: Make) -> None:
    still = {"zoom": 1, "angle": 0, "max_frames": 1, "symmetry": "mirror x"}
    [plain], [half] = run(settings(**still, symmetry_strength=0)), run(settings(**still, symmetry_strength=0.5))
    mirrored = plain.flip(2)
    right = slice(SIZE // 2, None)
    # It is mirrored when it is painted, and again when it is shown.
    assert torch.allclose(half[..., right], 0.25 * plain[..., right] + 0.75 * mirrored[..., right], atol=1e-6)


def test_schedules_act_in_each_frame(settings: Make) -> None:
    chosen = settings(
        cadence=2, symmetry="kaleidoscope", symmetry_segments='"4 + 2*(t > 4)"', symmetry_angle="10*t",
        symmetry_strength='"where(t == 8, 0, 1)"',
    )  # fmt: skip
    shown = run(chosen)
    for index, image in enumerate(shown[:8]):
        assert is_symmetric(image, ("kaleidoscope", 6 if index > 4 else 4, 10 * index)), index
        assert not is_symmetric(image, ("kaleidoscope", 6 if index > 4 else 4, 10 * index + 5)), index
    assert not is_symmetric(shown[8], ("kaleidoscope", 6, 80))


def test_the_motion_stays_visible(settings: Make) -> None:
    """Rings around the centre grow by the zoom, frame by frame."""

    class Keeping(Painter):
        def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
            radius = torch.hypot(X - (SIZE - 1) / 2, Y - (SIZE - 1) / 2)
            return (radius < 10).float().expand(3, -1, -1).contiguous() if init is None else init

    plain = {"zoom": 1.06, "angle": 1, "noise": 0, "antiblur_amount": 0, "symmetry": "kaleidoscope"}
    for cadence in (1, 3):
        shown = run(settings(**plain, cadence=cadence), Keeping())
        radii = [float((image[0].sum() / np.pi).sqrt()) for image in shown]
        for index, radius in enumerate(radii):
            assert radius == pytest.approx(10 * 1.06**index, abs=0.5), index


def test_colours_are_held_to_those_of_the_mirrored_picture(settings: Make) -> None:
    """Only what is white is copied: nothing black of the first painted picture is in the colours that are held."""

    class Halves(Painter):
        def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
            white = (X < SIZE / 2).float().expand(3, -1, -1).contiguous()
            return white if init is None else init

    shown = run(settings(symmetry="mirror x", color_coherence="RGB", noise=0, angle=0), Halves())
    assert all(image.min() > 0.99 for image in shown)


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["2D", "3D"])
@pytest.mark.parametrize("overlay", [True, False])
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_outside_the_mask_no_pixel_changes(
    settings: Make, tmp_path: Path, profile: str, overlay: bool, mode: str
) -> None:
    """A model that keeps what it is given: inside, the picture is mirrored, outside it is what it would have been."""

    class Keeping(Painter):
        def paint(self, init: Image | None, frame: Frame, paint: Paint | None) -> Image:
            return texture(0) if init is None else init

    disc = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (SIZE // 2, SIZE // 2), 20, 255, -1)
    cv2.imwrite(str(tmp_path / "disc.png"), disc)
    plain = {
        "use_mask": True, "mask_file": "disc.png", "overlay_mask": overlay, "profile": profile, "cadence": 2,
        "animation_mode": mode, "zoom": 1, "angle": 0, "translation_z": 0, "noise": 0, "antiblur_amount": 0,
        "full_res_mask": False,
    }  # fmt: skip
    without, mirrored = run(settings(**plain), Keeping()), run(settings(**plain, symmetry="quad"), Keeping())
    outside, inside = torch.from_numpy(disc == 0), torch.from_numpy(cv2.erode(disc, np.ones((13, 13), np.uint8)) > 0)
    for index, (a, b) in enumerate(zip(without, mirrored, strict=True)):
        assert torch.equal(a[:, outside], b[:, outside]), index
        assert torch.allclose(b.flip(2)[:, inside], b[:, inside], atol=1e-6), index
        assert not torch.allclose(a[:, inside], b[:, inside], atol=1e-2), index


def test_no_line_shows_where_a_mask_ends(settings: Make) -> None:
    mask_at: MaskAt = lambda moment, picture: (X > 10).float()  # noqa: E731
    image, moment = (X / SIZE).expand(3, -1, -1).contiguous(), moment_of(settings(symmetry="mirror y"))
    symmetry = Symmetry("mirror x", mask_at)
    made = symmetry(image, replace(moment, start=None))
    assert torch.equal(made[:, :, :11], image[:, :, :11])
    assert ((made - image)[:, :, 1:] - (made - image)[:, :, :-1]).abs().max() < 0.5


def moment_of(settings: Settings, index: int = 2, warp: Any = None) -> Moment:
    stages = assembled(settings, Painter()).stages
    return Moment(timeline_of(settings)[index], None, stages.camera, warp)


# --- what the camera did not see -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Uncovering:
    """A motion that uncovers some places."""

    holes: Mask
    edge: str = "border"
    sampling: str = "bicubic"

    def coverage(self) -> Mask:
        return 1 - self.holes

    def charts(self) -> Any:
        here = torch.stack((X, Y))
        return Chart(here, 1 - self.holes), Chart(here, torch.ones(SIZE, SIZE))


def test_holes_are_mirrored_with_the_picture(settings: Make) -> None:
    """A hole in the half that is copied is one in both halves; one in the other half is covered."""
    holes = torch.zeros(SIZE, SIZE)
    holes[10:20, 5:9] = 1
    holes[40:50, 50:60] = 1
    told: list[Moment] = []

    def diffuse(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        told.extend(moments)
        return [texture(1) for _ in inits]

    moment = moment_of(settings(symmetry="mirror x", animation_mode="3D"), warp=Uncovering(holes))
    Symmetry("mirror x", repaints=True).around(diffuse)([texture(1)], [moment])
    assert told[0].warp is not None
    want = torch.zeros(SIZE, SIZE)
    want[10:20, 5:9] = want[10:20, SIZE - 9 : SIZE - 5] = 1
    assert torch.equal(uncovered(told[0].warp), want)
    assert told[0].frame is moment.frame


def test_copies_of_a_hole_are_painted_anew_alike(settings: Make, tmp_path: Path) -> None:
    """The strengths that the model is told are symmetric, with the masks that are saved."""
    chosen = settings(
        animation_mode="3D", disocclusion="repaint", symmetry="mirror x", translation_x=25, translation_z=0, cadence=1,
        save_disocclusion_masks=True, max_frames=4,
    )  # fmt: skip
    painter = Painter()
    with ExitStack() as beside:
        animation = assembled(chosen, painter)
        list(animation.recorded(recording(animation, tmp_path, beside)).frames())
    strengths = [paint.strength for paint in painter.paints if paint is not None]
    assert len(strengths) == 3
    assert all(torch.allclose(each, each.flip(1), atol=1e-6) for each in strengths)
    assert any(each.min() < each.max() for each in strengths)
    for path in (tmp_path / "disocclusion").glob("*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert mask is not None and np.array_equal(mask, mask[:, ::-1])


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symmetry", "silent"),
    [
        (
            "none",
            {"symmetry_segments", "symmetry_angle", "symmetry_center_x", "symmetry_center_y", "symmetry_strength"},
        ),
        ("quad", {"symmetry_segments"}),
        ("kaleidoscope", set()),
    ],
)
def test_which_settings_act(tmp_path: Path, symmetry: str, silent: set[str]) -> None:
    given = {
        "symmetry_segments": 8, "symmetry_angle": 3, "symmetry_center_x": 0.4, "symmetry_center_y": 0.4,
        "symmetry_strength": 0.9,
    }  # fmt: skip
    path = write_settings(tmp_path, {**STEM, "symmetry": symmetry, **given})
    notes = [note for note in load(path).report if note.startswith("without effect")]
    assert {name for name in given if any(name in note for note in notes)} == silent
    assert all("symmetry is" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("symmetry", "triple", "expected none or mirror x or mirror y or quad or kaleidoscope"),
        ("symmetry_segments", "1", "is 1 at frame 0"),
        ("symmetry_strength", "1.5", "expected 0..1"),
        ("symmetry_center_x", '"0: (0.5), 8: (2)"', "is 1.0625 at frame 3"),
    ],
)
def test_what_is_out_of_range_is_said_with_its_place(tmp_path: Path, name: str, value: str, complaint: str) -> None:
    given = {**STEM, "symmetry": "kaleidoscope", name: value}
    with pytest.raises(UserError) as caught:
        load(write_settings(tmp_path, given))
    [problem] = caught.value.problems
    assert complaint in str(problem)
    assert f"settings.yaml:{list(given).index(name) + 1}" in str(problem)
