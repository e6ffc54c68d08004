"""The steps that change how frames look, and cards before and after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from deforum.errors import UserError
from deforum.models.catalogue import find_function
from deforum.pixels.image import Image, from_bytes
from deforum.post.at import At
from deforum.post.cube import read_cube
from deforum.post.plan import beginning, plan, recipes
from deforum.settings.steps import (
    Denoise,
    EndCard,
    Fade,
    Grade,
    Grain,
    Interpolate,
    Reel,
    Step,
    Title,
    Upscale,
    Vignette,
    kind_of,
)
from deforum.video.ffmpeg import VideoError, run_ffmpeg
from deforum.video.filtering import filtered
from tests.helpers.films import HEIGHT, WIDTH, chart

REEL = Reel(WIDTH, HEIGHT, 8, Fraction(4))
GREY = torch.full((3, HEIGHT, WIDTH), 0.5)


def passed(step: Step, frames: Sequence[Image], first: int = 0, reel: Reel = REEL) -> list[Image]:
    """Pass frames, from number `first` on, through a step."""
    return list(find_function(kind_of(step).open)(step, iter(frames), At(reel, first, seed=5)))


def test_grain_has_its_strength_and_moves() -> None:
    made = passed(Grain(0.05), [GREY] * 3)
    assert all(float((image - GREY).std()) == pytest.approx(0.05, rel=0.05) for image in made)
    assert all(abs(float((image - GREY).mean())) < 0.002 for image in made)
    assert float((made[0] - made[1]).abs().max()) > 0.05
    assert torch.equal(made[2], passed(Grain(0.05), [GREY], first=2)[0])  # wherever it begins
    assert torch.equal(made[0][0], made[0][2])
    coloured = passed(Grain(0.05, color=True), [GREY])[0]
    assert not torch.equal(coloured[0], coloured[2])


def test_larger_grain_is_as_strong() -> None:
    noise = passed(Grain(0.05, size=4), [GREY])[0] - GREY
    assert float(noise.std()) == pytest.approx(0.05, rel=0.1)
    assert float((noise[0, :, 1:] - noise[0, :, :-1]).std()) < 0.04


def test_a_vignette_darkens_the_corners_by_its_amount() -> None:
    made = passed(Vignette(0.4), [GREY])[0]
    assert float(made[0, 0, 0]) == pytest.approx(0.5 * 0.6)
    assert float(made[0, HEIGHT // 2, WIDTH // 2]) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("step", "shares"),
    [
        (Fade(0.5), [0, 0.5, 1, 1, 1, 1, 0.5, 0]),
        (Fade(1.0, "in"), [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]),
        (Fade(0.5, "out"), [1, 1, 1, 1, 1, 1, 0.5, 0]),
    ],
)
def test_fades(step: Fade, shares: list[float]) -> None:
    assert [float(image[0, 0, 0]) for image in passed(step, [GREY] * 8)] == pytest.approx([s / 2 for s in shares])
    last = passed(step, [GREY] * 2, first=6)
    assert [float(image[0, 0, 0]) for image in last] == pytest.approx([s / 2 for s in shares[6:]])


def write_cube(path: Path, size: int, function: object, kind: str = "LUT_3D_SIZE") -> Path:
    steps = np.linspace(0, 1, size)
    colors = [(r, g, b) for b in steps for g in steps for r in steps] if "3D" in kind else [(s, s, s) for s in steps]
    rows = [" ".join(f"{value:.6f}" for value in function(*color)) for color in colors]  # type: ignore[operator]
    path.write_text("\n".join(["# a table", 'TITLE "warm"', f"{kind} {size}", *rows]))
    return path


def warm(r: float, g: float, b: float) -> tuple[float, float, float]:
    return r**0.8, 0.9 * g + 0.05 * r, 0.7 * b


def test_a_table_of_colours_is_as_ffmpeg_has_it(tmp_path: Path) -> None:
    path = write_cube(tmp_path / "warm.cube", 9, warm)
    image = from_bytes(chart(0))
    made = passed(Grade(str(path)), [image])[0]
    source = tmp_path / "a.ppm"
    source.write_bytes(b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + chart(0).tobytes())
    run_ffmpeg(["-f", "image2", "-i", str(source), "-vf", f"format=gbrpf32le,lut3d=file={path}:interp=trilinear",
                "-f", "rawvideo", "-pix_fmt", "rgb24", str(tmp_path / "b.raw")], "grading")  # fmt: skip
    theirs = np.frombuffer((tmp_path / "b.raw").read_bytes(), np.uint8).reshape(HEIGHT, WIDTH, 3)
    ours = made.permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - theirs).max() < 1
    half = passed(Grade(str(path), 0.5), [image])[0]
    assert torch.allclose(half, (image + made) / 2, atol=1e-6)


def test_a_table_of_one_dimension(tmp_path: Path) -> None:
    path = write_cube(tmp_path / "a.cube", 5, lambda r, g, b: (r * r, g, 1 - b), "LUT_1D_SIZE")
    made = passed(Grade(str(path)), [GREY])[0]
    assert made[:, 0, 0].tolist() == pytest.approx([0.25, 0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has neither LUT_3D_SIZE nor LUT_1D_SIZE"),
        ("LUT_3D_SIZE 1", "a.cube:1: LUT_3D_SIZE is 1; expected 2 to 129"),
        ("LUT_3D_SIZE 999", "a.cube:1: LUT_3D_SIZE is 999; expected 2 to 129"),
        ("LUT_3D_SIZE 2\n0 0 0", "has 1 colours; LUT_3D_SIZE 2 needs 8"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 x", "a.cube:3: '1 1 x' is no line of a .cube table"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 nan", "a.cube:3: '1 1 nan' is no line"),
        ("LUT_1D_SIZE 2\nDOMAIN_MAX 0 1 1\n0 0 0\n1 1 1", "DOMAIN_MIN is not below DOMAIN_MAX"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.cube").write_text(text)
    with pytest.raises(UserError) as caught:
        read_cube(tmp_path / "a.cube")
    assert message in str(caught.value)


def test_denoising_keeps_what_is_still_and_removes_noise() -> None:
    noisy = passed(Grain(0.02, color=True), [GREY] * 8)
    made = passed(Denoise(0.8), noisy)
    assert len(made) == 8
    assert float((made[-1] - GREY).std()) < 0.5 * float((noisy[-1] - GREY).std())
    still = from_bytes(chart(0))
    assert float((passed(Denoise(0.3), [still] * 3)[-1] - still).abs().mean()) < 0.01


def test_a_filter_that_is_none_is_told_of_and_an_error_of_the_frames_is_passed_on() -> None:
    with pytest.raises(VideoError, match="No such filter"):
        list(filtered(iter([np.zeros((8, 8, 3), np.uint16)]), 8, 8, "no_filter"))

    def broken() -> object:
        yield np.zeros((8, 8, 3), np.uint16)
        raise RuntimeError("the network broke")

    with pytest.raises(RuntimeError, match="the network broke"):
        list(filtered(broken(), 8, 8, "null"))  # type: ignore[arg-type]


# --- cards ------------------------------------------------------------------------------------------------------------


def test_a_title_comes_before_the_frames_and_delays_the_sound() -> None:
    step = Title("The sea", seconds=1.0, size=0.3, fade=0)
    made = passed(step, [GREY] * 8)
    gives = kind_of(step).gives(step, REEL)
    assert (len(made), gives.count, gives.sound.delay) == (12, 12, 1.0)
    card = made[1]
    assert float(card.max()) > 0.9 and float(card.min()) == 0
    assert 0.01 < float((card[0] > 0.5).float().mean()) < 0.3
    assert torch.equal(made[4], GREY)
    middle = (card[0] > 0.5).nonzero().float().mean(0)
    assert middle.tolist() == pytest.approx([HEIGHT / 2, WIDTH / 2], abs=4)


def test_a_title_over_the_frames_adds_none() -> None:
    step = Title("The sea", seconds=1.0, size=0.3, fade=0.5, over=True)
    made = passed(step, [GREY] * 8)
    assert len(made) == kind_of(step).gives(step, REEL).count == 8
    seen = [float((image - GREY).abs().max()) for image in made]
    assert seen == pytest.approx([0.25, 0.5, 0.5, 0.25, 0, 0, 0, 0], abs=0.02)


def test_long_lines_are_made_smaller() -> None:
    card = passed(EndCard("a line that is too long", size=0.5, fade=0), [GREY])[-1]
    columns = (card[0] > 0.2).any(0).nonzero()
    assert columns.min() >= 0.02 * WIDTH and columns.max() <= 0.98 * WIDTH
    two = passed(EndCard("one\\ntwo", size=0.2, fade=0), [GREY])[2]
    one = passed(EndCard("one", size=0.2, fade=0), [GREY])[2]
    assert (two[0] > 0.5).any(1).sum() > (one[0] > 0.5).any(1).sum() + 4


def test_a_font_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_text("no font")
    with pytest.raises(UserError, match="no font that can be read"):
        passed(Title("a", font=str(tmp_path / "a.ttf")), [GREY])


@pytest.mark.parametrize(
    ("chain", "index", "begins"),
    [
        ([Title("a", seconds=1), Upscale(2)], 2, (0, (0, 0))),
        ([Title("a", seconds=1), Upscale(2)], 4, (0, (0, 0))),
        ([Title("a", seconds=1), Upscale(2)], 7, (3, (7, 7))),
        ([EndCard("a", seconds=1), Upscale(2)], 10, (7, (7, 7))),
        ([Grain(), Interpolate(2)], 5, (2, (2, 4))),
        ([Denoise(), Upscale(2)], 5, (0, (0, 0))),
    ],
)
def test_where_a_stage_begins(chain: list[Step], index: int, begins: object) -> None:
    assert beginning(plan(chain, REEL)[0], index) == begins


@pytest.mark.parametrize("step", [Grain(), Fade(0.5), Title("a", seconds=1), EndCard("a", seconds=1), Denoise()])
def test_a_stage_that_begins_late_makes_the_same(step: Step) -> None:
    """From any output on, the iterator gives what the whole gives."""
    frames = [from_bytes(chart(index)) for index in range(8)]
    stage = plan([step], REEL)[0]
    whole = passed(step, frames)
    assert len(whole) == stage.gives.count
    for index in (1, 5, stage.gives.count - 1):
        begin, (first,) = beginning(stage, index)
        late = passed(step, frames[begin:], begin)[index - first :]
        assert [image.numpy().tobytes() for image in late] == [image.numpy().tobytes() for image in whole[index:]]


def test_recipes_know_what_a_frame_depends_on() -> None:
    source = ["same"] * 8

    def different(step: Step, reel: Reel = REEL) -> int:
        return len(set(recipes(plan([step, Upscale(2)], reel)[0], source)))

    assert (different(Vignette()), different(Grain()), different(Fade())) == (1, 8, 8)
    longer = replace(REEL, count=9)
    one, other = (recipes(plan([Fade(), Upscale(2)], reel)[0], ["same"] * 9) for reel in (REEL, longer))
    assert not set(one) & set(other)
