"""A procedural world: 256x256 pictures with honest captions and true inverse depth.

``draw(seed, index)`` is a pure function of its two numbers.  A picture is painted back to front on a
``Canvas`` (sky, far layers, near layers), so every brush stroke also knows how near it is; what was
painted is noted in ``Facts``, from which `training.captions` writes the captions.

The world is small on purpose: each scene is a few `PLACES`, each sky one of `SKIES`, and pictures differ in which
of them meet, in time of day, weather, palette, style, and in how near one stands.  A small model learns places by heart
and draws them clearly; of a world where every mountain is a new one it learns the average mountain, which is fog.

Convention: images are RGB, float32 in [0, 1] while painting and uint8 when done, shape (H, W, 3);
inverse depth is float32 (H, W), 0 infinitely far and 1 at the camera's feet; x to the right, y down, in
pixels of the 256 px picture.

Each module uses only those named before it: `primitives`; `canvas`; `sky`, `plants` and `terrain`, the things that
scenes are made of; the scenes in `landscapes`, `woods_and_flowers`, `city`, `space` and `abstract`; `finish`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.world.abstract import abstract_scene
from training.world.canvas import LIGHTS, Canvas, Facts
from training.world.city import city_scene
from training.world.finish import COLOURLESS, PALETTES, STYLES, add_precipitation, grade, step_nearer
from training.world.landscapes import desert_scene, hills_scene, mountains_scene, sea_scene
from training.world.primitives import SIZE, Float, disc, mix, noise, polygon, smooth
from training.world.sky import paint_sky
from training.world.space import PLANETS, space_scene
from training.world.woods_and_flowers import flowers_scene, forest_scene

__all__ = [
    "COLOURLESS",
    "FAMILIES",
    "LIGHTS",
    "PALETTES",
    "PLACES",
    "PLANETS",
    "SCENES",
    "SIZE",
    "STYLES",
    "UNSEEN",
    "Canvas",
    "Facts",
    "Float",
    "Picture",
    "disc",
    "draw",
    "draw_sun_scale",
    "mix",
    "noise",
    "paint_sky",
    "polygon",
    "smooth",
]


@dataclass(frozen=True)
class Picture:
    """One drawn picture: ``image`` uint8 (H, W, 3) RGB, ``inverse_depth`` float32 (H, W), and its facts."""

    image: NDArray[np.uint8]
    inverse_depth: Float
    facts: Facts


SCENES: dict[str, tuple[float, Callable[[Canvas], None]]] = {
    "mountains": (0.13, mountains_scene),
    "sea": (0.15, sea_scene),
    "desert": (0.10, desert_scene),
    "forest": (0.12, forest_scene),
    "hills": (0.12, hills_scene),
    "flowers": (0.10, flowers_scene),
    "city": (0.11, city_scene),
    "space": (0.09, space_scene),
    "abstract": (0.08, abstract_scene),
}
_TIMES = {"dawn": 0.12, "day": 0.30, "golden": 0.14, "sunset": 0.19, "dusk": 0.09, "night": 0.16}
_WEATHERS = {"": 0.63, "cloudy": 0.22, "fog": 0.07, "snow": 0.05, "storm": 0.03}
PLACES = {"space": 36, "abstract": 28}  # how many there are of a scene
FEW, SKIES = 12, 10  # how many places of every other scene there are, and skies in all
# Of suns and moons, as drawn for a sky.  Ten skies are ten sizes, and a model that knows only these draws a sun that an
# animation comes nearer to back to one of them.
SUN_SCALES = (0.6, 4.0)

# Combinations that training never shows, so that one can ask whether a model puts known parts together.
UNSEEN: frozenset[tuple[str, str]] = frozenset(
    [(scene, name) for i, scene in enumerate(SCENES) for j, name in enumerate(PALETTES)
     if scene != "abstract" and (2 * i + j) % 5 == 0]
    + [("city", "dawn"), ("desert", "dusk"), ("flowers", "dusk"), ("forest", "golden"), ("hills", "dusk"),
       ("mountains", "dawn"), ("sea", "dusk")]
)  # fmt: skip
FAMILIES = {"beach": "sea", "valley": "hills", "flower field": "flowers"}  # of scenes that captions tell apart


def draw_sun_scale(seed: int, index: int) -> float:
    """How many times larger than its sky has it the sun or moon of a picture is."""
    return float(np.exp(np.random.default_rng([seed, index, 2]).uniform(*np.log(SUN_SCALES))))


def draw(seed: int, index: int, scene: str = "", unseen: bool = False, anywhere: bool = False) -> Picture:
    """Draw picture number ``index`` of the world ``seed``.

    ``scene`` is one of `SCENES`, at random where empty; with ``unseen`` the combinations of `UNSEEN` come too; with
    ``anywhere`` every picture is a place of its own, for a model that is to learn what places have in common.
    """
    rng = np.random.default_rng([seed, index])
    names = list(SCENES)
    drawn = names[int(rng.choice(len(names), p=[SCENES[n][0] for n in names]))]
    scene = scene or drawn
    shares = {name: share for name, share in _TIMES.items() if unseen or (scene, name) not in UNSEEN}
    time = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    places = np.random.default_rng([3, names.index(scene), int(rng.integers(PLACES.get(scene, FEW)))])
    skies = np.random.default_rng([5, int(rng.integers(SKIES))])
    if anywhere:
        places = skies = rng
    if scene == "abstract":  # colours are all the weather that it has
        skies = rng
    c = Canvas(places, time, float(places.uniform(0.38, 0.62) * SIZE), skies)
    c.sun_scale = draw_sun_scale(seed, index)
    c.facts.weather = str(rng.choice(list(_WEATHERS), p=list(_WEATHERS.values())))
    dry = scene == "desert" and c.facts.weather in ("snow", "fog")
    if dry or (scene, c.facts.weather) in (("sea", "snow"), ("flowers", "snow")):
        c.facts.weather = ""
    SCENES[scene][1](c)
    if c.inverse_depth[int(np.clip(c.sun_y, 0, SIZE - 1)), int(c.sun_x)] > 0:  # something stands before it
        c.facts.things = [thing for thing in c.facts.things if thing not in ("sun", "moon", "crescent moon")]
    add_precipitation(c)
    c.rng = rng
    if scene != "abstract" and rng.random() < 0.5:
        step_nearer(c, rng)
    grade(c, [name for name in PALETTES if unseen or (scene, name) not in UNSEEN])
    image = np.round(np.clip(c.image, 0, 1) * 255).astype(np.uint8)
    depth = np.clip(c.inverse_depth, 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        image, depth = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(depth[:, ::-1])
    return Picture(image, depth, c.facts)
