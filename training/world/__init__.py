"""The drawn world: procedural pictures with the facts for their captions and true inverse depth.

``draw(seed, index)`` is a pure function of its arguments, and the picture the same at every size. A picture is painted
back to front on a ``Canvas`` (sky, far layers, near layers), so the depth of every layer is known; the painted things
are recorded in ``Facts``, from which `training.captions` writes the captions.

The world is small on purpose: each scene has a few `PLACES`, the sky is one of `SKIES`, and pictures differ in the
combination of both, in time of day, weather, palette, style and distance. A small model memorises places and draws them
clearly; from a world in which every mountain is new it learns the mean mountain, which looks like fog.

Convention: images are RGB (H, W, 3), float32 in [0, 1] while painting, uint8 when finished; inverse depth is float32
(H, W), 0 infinitely far, 1 at the camera's feet; x points right, y down, in units of a 256th of the picture,
whatever its size in pixels (`primitives.Grid`).

Each module imports only from those before it: `primitives`; `canvas`; `sky`, `plants` and `terrain`, the elements of
scenes; the scenes in `landscapes`, `woods_and_flowers`, `city`, `space` and `abstract`; `finish`.
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
from training.world.primitives import SIZE, Float, mix, smooth
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
    "draw",
    "draw_sun_scale",
    "mix",
    "paint_sky",
    "smooth",
]


@dataclass(frozen=True)
class Picture:
    """A drawn picture: ``image`` uint8 (H, W, 3) RGB, ``inverse_depth`` float32 (H, W), and its facts."""

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
PLACES = {"space": 36, "abstract": 28}  # number of places of a scene
FEW, SKIES = 12, 10  # number of places of every other scene, number of skies
# Range of the scale of suns and moons, per picture. Ten skies alone have ten sizes, and a model trained on those draws
# a sun that an animation approaches back to one of them.
SUN_SCALES = (0.6, 4.0)

# Combinations (scene, palette or time) held out from training, to test whether a model combines known parts.
UNSEEN: frozenset[tuple[str, str]] = frozenset(
    [(scene, name) for i, scene in enumerate(SCENES) for j, name in enumerate(PALETTES)
     if scene != "abstract" and (2 * i + j) % 5 == 0]
    + [("city", "dawn"), ("desert", "dusk"), ("flowers", "dusk"), ("forest", "golden"), ("hills", "dusk"),
       ("mountains", "dawn"), ("sea", "dusk")]
)  # fmt: skip
FAMILIES = {"beach": "sea", "valley": "hills", "flower field": "flowers"}  # keys of SCENES for names in captions


def draw_sun_scale(seed: int, index: int) -> float:
    """Return the scale of a picture's sun or moon, relative to its size in the sky."""
    return float(np.exp(np.random.default_rng([seed, index, 2]).uniform(*np.log(SUN_SCALES))))


def draw(seed: int, index: int, scene: str = "", unseen: bool = False, anywhere: bool = False,
         size: int = SIZE) -> Picture:  # fmt: skip
    """Draw picture ``index`` of the world ``seed``, ``size`` px wide and high.

    ``scene`` is one of `SCENES`, random where empty; ``unseen`` includes the combinations of `UNSEEN`; with
    ``anywhere`` every picture has a place and sky of its own, for a model that should generalise over places.
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
    if scene == "abstract":  # its colours come from `sky` and should vary from picture to picture
        skies = rng
    c = Canvas(places, time, float(places.uniform(0.38, 0.62) * SIZE), skies, size)
    c.sun_scale = draw_sun_scale(seed, index)
    c.facts.weather = str(rng.choice(list(_WEATHERS), p=list(_WEATHERS.values())))
    dry = scene == "desert" and c.facts.weather in ("snow", "fog")
    if dry or (scene, c.facts.weather) in (("sea", "snow"), ("flowers", "snow")):
        c.facts.weather = ""
    SCENES[scene][1](c)
    if c.at(c.at(c.inverse_depth, c.sun_y), c.sun_x) > 0:  # hidden by something nearer
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
