"""Guided images: where they stand, how much of them is blended in, and what becomes of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos
from pathlib import Path

import pytest
import torch

from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Moment
from deforum.build import prepare as check
from deforum.errors import UserError
from deforum.features.guided_images import (
    REST,
    Guides,
    find_guides,
    guided,
    place_guides,
    read_guides,
    take_colors,
    with_luminosity,
)
from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.output.pictures import encode
from deforum.pixels.image import CPU, Image, blend, to_bytes
from deforum.settings.options import Settings
from deforum.settings.params import Params
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from schedules import Variables
from tests.helpers import assembled, params_of, pictures

SIZE = 64
PAIR = Guides((0, 30), (Path("a.png"), Path("b.png")))


def params(**numbers: float) -> Params[float]:
    usual = {"blend_factor_max": 0.35, "blend_factor_slope": 0.25, "tweening_frames": 20.0, "image_strength": 0.75}
    return params_of(**(usual | numbers))


def texture(seed: int) -> Image:
    return pictures.texture(seed, SIZE, SIZE, softness=7)


def write(path: Path, image: Image) -> Path:
    path.write_bytes(encode(to_bytes(image), "png", {}))
    return path


# --- where they stand -------------------------------------------------------------------------------------------------


def test_keys_are_expressions_in_any_order() -> None:
    images = (("max_f-20", "end.png"), ("0", "start.png"), ("max_f/2", "middle.png"), ("-3", "never.png"))
    guides = place_guides(images, 101, Variables(seed=1, fps=12))
    assert guides.keys == (0, 50, 80)
    assert [path.name for path in guides.paths] == ["start.png", "middle.png", "end.png"]
    assert [guides.at(frame) for frame in (0, 49, 50, 79, 80, 100)] == [0, 0, 1, 1, 2, 2]


def test_the_first_is_the_guide_before_its_keyframe() -> None:
    guides = place_guides((("10", "a.png"), ("20", "b.png")), 30, Variables())
    assert guides.at(0) == 0
    assert guides.share(5, params(), phase_from_keyframe=True) == pytest.approx(0.35 - 0.25)


@pytest.mark.parametrize(
    ("images", "says"),
    [((), "use_looper needs at least one picture"), ((("0 +", "a.png"),), "init_images"), ((("-1", "a"),), "at least")],
)
def test_keys_that_are_none(images: tuple[tuple[str, str], ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        place_guides(images, 30, Variables())


# --- how much is blended in -------------------------------------------------------------------------------------------

SHARES = [
    # frame, from the keyframe on, as in Deforum
    (0, 0.10, 0.10),
    (5, 0.35 - 0.25 * cos(0.5), 0.35 - 0.25 * cos(0.5)),
    (19, 0.35 - 0.25 * cos(1.9), 0.35 - 0.25 * cos(1.9)),
    (20, 0.10, 0.10),  # the last frame of a swing is the first of the next
    (21, REST, REST),
    (29, REST, REST),
    (30, 0.10, 0.35 - 0.25 * cos(1.0)),  # 30 is 10 frames into a swing that began at 20
    (45, 0.35 - 0.25 * cos(1.5), 0.35 - 0.25 * cos(0.5)),
    (51, REST, 0.35 - 0.25 * cos(1.1)),
]


@pytest.mark.parametrize(("frame", "from_keyframe", "as_deforum"), SHARES)
def test_share(frame: int, from_keyframe: float, as_deforum: float) -> None:
    assert PAIR.share(frame, params(), phase_from_keyframe=True) == pytest.approx(from_keyframe)
    assert PAIR.share(frame, params(), phase_from_keyframe=False) == pytest.approx(as_deforum)


def test_share_is_a_share() -> None:
    wild = params(blend_factor_max=0.9, blend_factor_slope=2.0)
    shares = [PAIR.share(frame, wild, phase_from_keyframe=True) for frame in range(20)]
    assert min(shares) == 0
    assert max(shares) == 1
    assert PAIR.share(0, params(tweening_frames=0.0), phase_from_keyframe=True) == REST


# --- files ------------------------------------------------------------------------------------------------------------


def settings_for(folder: Path, **more: object) -> Settings:
    names = [str(write(folder / f"{name}.png", texture(seed))) for name, seed in (("a", 1), ("b", 2))]
    plain = Settings(
        width=SIZE, height=SIZE, max_frames=40, cadence=1, seed=3, use_looper=True, color_coherence="None",
        init_images=(("max_f/2", names[1]), ("0", names[0])),
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def test_what_is_missing_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    (tmp_path / "b.png").unlink()
    with pytest.raises(UserError, match=r"init_images: the picture at frame 19, .*b\.png, is not there"):
        check(settings)
    assert find_guides(replace(settings, use_looper=False)) is None
    assert find_guides(replace(settings, animation_mode="Interpolation")) is None
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(UserError, match=r"init_images: .*b\.png: not a picture"):
        check(settings)
    broken = Guides((19,), (tmp_path / "b.png",))  # as if it broke after the check
    with pytest.raises(UserError, match=r"the picture at frame 19: .*b\.png: not a picture"):
        read_guides(broken, settings.width, settings.height, CPU)


def test_files_are_looked_for_beside_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "a.png", texture(1))
    file = tmp_path / "animation.yaml"
    file.write_text("use_looper: true\ninit_images:\n  0: a.png\n")
    assert load(file).settings.init_images == (("0", str((tmp_path / "a.png").resolve())),)
    file.write_text("use_looper: true\ninit_images:\n  0: a.png\n  max_f/2: b.png\n")
    with pytest.raises(UserError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert problem.message.startswith("init_images: max_f/2: there is no file 'b.png' (looked in ")
    assert problem.where.startswith(f"{file}:3")
    file.write_text("init_images:\n  0: a.png\n  max_f/2: b.png\n")  # off: nobody misses it
    assert load(file).settings.init_images[1] == ("max_f/2", "b.png")


def test_an_old_file_with_pictures_on_a_network_goes_without(tmp_path: Path) -> None:
    file = tmp_path / "old.txt"
    file.write_text(
        '{"prompts": {"0": "a"}, "use_looper": true, "init_images": "{\\"0\\": \\"https://x.org/a.png\\"}"}'
    )
    loaded = load(file)
    assert not loaded.settings.use_looper
    assert any("not fetched" in note for note in loaded.report)


# --- what is painted --------------------------------------------------------------------------------------------------


class Painter:
    """Paints nothing: gives back what it was given, and remembers it."""

    def __init__(self) -> None:
        self.given: list[tuple[Image | None, Frame]] = []

    def __call__(self, inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        self.given += [(init, moment.frame) for init, moment in zip(inits, moments, strict=True)]
        return [texture(9) if init is None else init for init in inits]


def moments(settings: Settings, *indices: int) -> list[Moment]:
    timeline = sample(settings)
    camera = stages_of(settings, each(lambda init, frame: texture(0)), CPU).camera
    return [Moment(timeline[index], None, camera, None) for index in indices]


def test_the_previous_frame_is_drawn_towards_the_guide(tmp_path: Path) -> None:
    settings, painter = settings_for(tmp_path), Painter()
    guides = find_guides(settings)
    assert guides is not None
    pictures = read_guides(guides, settings.width, settings.height, CPU)
    stage = guided(painter, guides, pictures, profile=PROFILES["corrected"])
    before = texture(5)
    stage([None, before, before], moments(settings, 0, 10, 25))
    first, early, late = (init for init, _ in painter.given)
    assert first is not None
    assert early is not None
    assert late is not None
    a, b = (torch.from_numpy(to_bytes(texture(seed))).permute(2, 0, 1) / 255 for seed in (1, 2))
    torch.testing.assert_close(first, a)
    torch.testing.assert_close(early, blend(before, a, 0.35 - 0.25 * cos(1.0)))
    torch.testing.assert_close(late, blend(before, b, 0.35 - 0.25 * cos(0.6)))  # 6 frames behind its keyframe
    assert {frame.params.strength for _, frame in painter.given} == {0.75}


@pytest.mark.parametrize("name", PROFILES)
def test_the_animation_arrives_at_its_guides(name: str, tmp_path: Path) -> None:
    """With a painter that keeps what strength says of its init and paints the rest anew, from the frame's seed."""
    settings = settings_for(tmp_path, profile=name, max_frames=80)

    def paint(init: Image | None, frame: Frame) -> Image:
        return texture(7) if init is None else blend(texture(frame.seed), init, 0.8 + 0.2 * frame.params.strength)

    frames = {frame.index: image for frame, image in assembled(settings, each(paint)).frames()}
    a, b = texture(1), texture(2)
    far = (a - b).abs().mean()
    for index, near, other in ((30, a, b), (59, b, a)):
        assert (frames[index] - near).abs().mean() < 0.6 * far
        assert (frames[index] - near).abs().mean() < (frames[index] - other).abs().mean() - 0.2 * far


# --- colours ----------------------------------------------------------------------------------------------------------


def luminosity(image: Image) -> torch.Tensor:
    return (image * torch.tensor([0.3, 0.59, 0.11]).view(3, 1, 1)).sum(0)


def test_colours_change_and_light_stays() -> None:
    image, colors = texture(1), texture(2) * torch.tensor([1.0, 0.5, 0.2]).view(3, 1, 1)
    for float_color in (True, False):
        taken = take_colors(image, colors, float_color=float_color)
        torch.testing.assert_close(luminosity(taken), luminosity(image), atol=1e-5, rtol=0)
        assert taken.min() >= -1e-6
        assert taken.max() <= 1 + 1e-6
        wanted, before, after = (one.mean((1, 2)) - one.mean() for one in (colors, image, taken))
        assert (after - wanted).abs().sum() < 0.6 * (before - wanted).abs().sum()


def test_its_own_colours_leave_a_picture_as_it_is() -> None:
    image = texture(3)
    torch.testing.assert_close(take_colors(image, image, float_color=True), image, atol=2e-3, rtol=0)
    torch.testing.assert_close(with_luminosity(image, image), image, atol=1e-6, rtol=0)


def test_luminosity_of_black_white_and_grey() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    for level in (0.0, 0.5, 1.0):
        mixed = with_luminosity(red, torch.full((3, 1, 1), level))
        assert float(luminosity(mixed)) == pytest.approx(level, abs=1e-6)
    assert with_luminosity(red, torch.full((3, 1, 1), 0.3)).flatten().tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    # A red of luminosity 0.5 is not to be had whole: what is beyond the range comes in towards grey.
    light = with_luminosity(red, torch.full((3, 1, 1), 0.5)).flatten().tolist()
    assert light == pytest.approx([1, 0.2857, 0.2857], abs=1e-4)
