"""The drawn world: the same again, honest captions, and combinations that are kept back."""

import cv2
import numpy as np
import pytest

from training import captions, layouts, world
from training.draw import labels
from training.world.primitives import Grid


def test_a_picture_is_a_function_of_its_numbers() -> None:
    one, again, other = world.draw(4, 7), world.draw(4, 7), world.draw(4, 8)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.inverse_depth, again.inverse_depth)
    assert one.facts == again.facts
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("scene", world.SCENES)
def test_every_scene_is_drawn_with_its_name_and_depth(scene: str) -> None:
    picture = world.draw(5, 0, scene)
    assert picture.image.shape == (256, 256, 3)
    assert picture.image.dtype == np.uint8
    assert 0 <= picture.inverse_depth.min() <= picture.inverse_depth.max() <= 1
    assert labels(picture.facts)["scene"] == scene
    text = captions.describe(picture.facts, np.random.default_rng(0))
    assert any(phrase.split()[-1] in text for phrase in captions.SCENES[picture.facts.scene])


@pytest.mark.parametrize("index", range(0, 20))
def test_a_picture_is_the_same_at_every_size(index: int) -> None:
    scene = [*world.SCENES, ""][index % (len(world.SCENES) + 1)]
    small, large = world.draw(9, index, scene), world.draw(9, index, scene, size=512)
    assert large.image.shape == (512, 512, 3) and large.inverse_depth.shape == (512, 512)
    assert large.facts == small.facts
    reduced = cv2.resize(large.image, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
    coarse = [cv2.blur(image.astype(float), (9, 9)) for image in (reduced, small.image)]
    # Neon lines are as bright at either size, but not the finest ones; strokes of oil lie a little elsewhere.
    assert np.abs(coarse[0] - coarse[1]).mean() < 3.5
    assert ((reduced - small.image) ** 2).mean() < 255**2 / 10**2.5
    depths = cv2.resize(large.inverse_depth, (256, 256), interpolation=cv2.INTER_AREA), small.inverse_depth
    assert np.abs(depths[0] - depths[1]).mean() < 0.02  # one edge of a tree is a step


def test_a_larger_picture_has_sharper_edges() -> None:
    """A disc's edge is a pixel wide at either size."""
    for side in (256, 512):
        mask = Grid(side).disc(100, 120, 40)
        assert ((mask > 0.01) & (mask < 0.99)).sum() < 2.2 * np.pi * 40 * side / 256
        assert mask.mean() == pytest.approx(np.pi * 40**2 / 256**2, rel=0.01)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_layouts_have_depth_that_differs(layout: str) -> None:
    canvas = world.Canvas(np.random.default_rng(1), "day", 120.0)
    layouts.LAYOUTS[layout][1](canvas)
    assert np.isfinite(canvas.image).all()
    assert np.ptp(canvas.inverse_depth) > 0.1


def test_held_back_combinations_are_never_drawn_unless_asked_for() -> None:
    drawn = [labels(world.draw(6, index, "desert").facts) for index in range(40)]
    seen = {(one["scene"], one[what]) for one in drawn for what in ("palette", "time")}
    assert not seen & world.UNSEEN
    asked = [labels(world.draw(6, index, "desert", unseen=True).facts) for index in range(40)]
    assert {(one["scene"], one[what]) for one in asked for what in ("palette", "time")} & world.UNSEEN


def test_colours_that_a_palette_took_are_not_named() -> None:
    for index in range(30):
        facts = world.draw(8, index, "space").facts
        if facts.palette:
            text = captions.describe(facts, np.random.default_rng(index))
            named = text.replace(facts.palette, "")
            for phrase in captions.PALETTES[facts.palette]:
                named = named.replace(phrase, "")
            assert not any(f"{colour} planet" in named for colour in world.PLANETS)


@pytest.mark.parametrize("style", world.STYLES)
def test_styles_change_the_picture_and_keep_what_it_shows(style: str) -> None:
    picture = world.draw(4, 1).image.astype(np.float32) / 255
    made = np.clip(world.STYLES[style](picture, np.random.default_rng(0)), 0, 1)
    again = np.clip(world.STYLES[style](picture, np.random.default_rng(0)), 0, 1)
    assert made.shape == picture.shape
    assert np.array_equal(made, again)
    assert np.abs(made - picture).mean() > 0.01
    # Where it was lighter it is lighter still: in blocks of 32 px the order of greys stays.
    before, after = (one.mean(2).reshape(8, 32, 8, 32).mean((1, 3)).ravel() for one in (picture, made))
    assert abs(np.corrcoef(before, after)[0, 1]) > 0.6


@pytest.mark.long
def test_captions_name_the_style_and_nothing_that_it_hides() -> None:
    found = [world.draw(4, index).facts for index in range(150)]
    styled = [facts for facts in found if facts.style]
    assert {facts.style for facts in styled} == set(world.STYLES)
    for facts in styled:
        text = captions.describe(facts, np.random.default_rng(0))
        assert any(phrase in text for phrase in captions.STYLES[facts.style])
        assert facts.style not in ("pixel", "low-poly", "oil") or "star" not in text


def test_suns_of_one_sky_have_many_sizes() -> None:
    def sun(index: int) -> float:
        canvas = world.Canvas(np.random.default_rng(3), "sunset", 120.0, np.random.default_rng(7))
        canvas.sun_scale = world.draw_sun_scale(1, index)
        world.paint_sky(canvas)
        return float((canvas.image[..., 1] > 0.8).mean())

    sizes = [sun(index) for index in range(12)]
    assert max(sizes) > 4 * min(sizes) > 0


def test_a_place_stays_where_it_is_under_another_sky() -> None:
    drawn = []
    for sky in (1, 2):
        canvas = world.Canvas(np.random.default_rng(3), "day", 120.0, np.random.default_rng(sky))
        world.SCENES["mountains"][1](canvas)
        drawn.append(canvas)
    assert np.array_equal(drawn[0].inverse_depth, drawn[1].inverse_depth)
    assert not np.array_equal(drawn[0].image[:60], drawn[1].image[:60])


def test_places_are_few_unless_every_picture_is_one_of_its_own() -> None:
    def kinds(anywhere: bool) -> int:
        drawn = [world.draw(9, index, "city", anywhere=anywhere) for index in range(40)]
        # Half of the pictures look at a part of their place, so only whole ones and their mirror images come again.
        shapes = {min(p.inverse_depth.tobytes(), p.inverse_depth[:, ::-1].tobytes()) for p in drawn}
        return len(shapes)

    assert kinds(anywhere=True) == 40
    assert kinds(anywhere=False) < 36
