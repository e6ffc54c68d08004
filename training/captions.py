"""Captions of `training.world`'s pictures, which name only what was painted, in several phrasings and synonyms."""

from __future__ import annotations

import re

import numpy as np

from training.world import COLOURLESS, Facts
from training.world.abstract import ABSTRACT_COLOURS
from training.world.finish import COLOURS

SCENES: dict[str, list[str]] = {
    "mountains": [
        "mountains",
        "a mountain landscape",
        "a mountain range",
        "high mountains",
        "mountain peaks",
        "the alps",
    ],
    "sea": ["the sea", "the ocean", "a seascape", "an ocean view", "open water", "waves on the sea"],
    "beach": [
        "a beach",
        "a sandy beach by the sea",
        "the sea and a beach",
        "the shore of the ocean",
        "a coast with sand",
    ],
    "desert": ["a desert", "a desert landscape", "the sandy desert", "a dry desert of sand"],
    "forest": ["a forest", "the woods", "a deep forest", "woodland", "a forest of trees"],
    "hills": ["hills", "green hills", "rolling hills", "a hilly landscape", "grassland hills", "the countryside"],
    "valley": ["a valley", "a green valley", "a valley between hills", "a wide valley in the countryside"],
    "flower field": [
        "a flower field",
        "a field of flowers",
        "a meadow full of flowers",
        "a blooming field",
        "a garden of flowers",
    ],
    "city": [
        "a city skyline",
        "a city",
        "a cityscape",
        "skyscrapers",
        "buildings of a big city",
        "a town with tall buildings",
    ],
    "space": ["outer space", "deep space", "space", "the universe", "a cosmic scene", "the cosmos"],
    "abstract": ["an abstract pattern", "abstract art", "an abstract picture", "a pattern", "an abstract design"],
}
TIMES: dict[str, list[str]] = {
    "dawn": ["at dawn", "at sunrise", "in the early morning", "dawn", "sunrise", "in pale morning light"],
    "day": ["by day", "in daylight", "at noon", "in bright daylight", "daytime", "on a clear day"],
    "golden": ["at golden hour", "in the late afternoon", "in warm evening light", "golden hour", "in golden light"],
    "sunset": ["at sunset", "sunset", "with a red sunset sky", "under an orange sunset", "in the evening"],
    "dusk": ["at dusk", "at twilight", "dusk", "at blue hour", "twilight", "after sunset"],
    "night": ["at night", "night", "in the night", "under a night sky", "in the dark of night"],
}
WEATHERS: dict[str, list[str]] = {
    "cloudy": ["with clouds", "cloudy sky", "under drifting clouds", "clouds in the sky", "cloudy"],
    "fog": ["in fog", "in mist", "misty", "foggy", "with morning mist", "hazy"],
    "snow": ["in the snow", "snowy", "snow falling", "winter", "in winter"],
    "storm": ["in a storm", "stormy", "thunderstorm", "under storm clouds", "dramatic stormy sky"],
}
PALETTES: dict[str, list[str]] = {
    "purple": ["in shades of purple", "purple palette", "violet colors", "purple and violet", "violet"],
    "teal": ["in shades of teal", "teal palette", "turquoise colors", "teal", "cyan tones"],
    "blue": ["in shades of blue", "blue palette", "blue tones", "blue", "cold blue colors"],
    "crimson": ["in shades of red", "crimson palette", "red tones", "crimson", "deep red colors"],
    "orange": ["in shades of orange", "orange palette", "warm orange tones", "orange colors"],
    "green": ["in shades of green", "green palette", "emerald colors", "green tones"],
    "pink": ["in shades of pink", "pink palette", "rose colors", "pink"],
    "sepia": ["sepia", "in sepia tones", "like an old photograph", "vintage brown tones"],
    "black and white": ["black and white", "monochrome", "in black and white", "grayscale", "black and white photo"],
    "pink and blue": [
        "pink and blue",
        "in pink and blue",
        "vaporwave colors",
        "synthwave palette",
        "neon pink and blue",
    ],
}
STYLES: dict[str, list[str]] = {
    "neon": ["neon style", "glowing neon outlines", "neon lights", "neon art"],
    "pastel": ["in pastel colors", "soft pastel", "pastel drawing", "pale pastel colors"],
    "watercolour": ["watercolor painting", "watercolour", "a watercolor", "painted in watercolor"],
    "ink": ["ink drawing", "ink on paper", "an ink sketch", "black ink lines"],
    "low-poly": ["low-poly", "low poly style", "made of triangles", "faceted low-poly art"],
    "pixel": ["pixel art", "pixelated", "8-bit pixel art", "retro video game style"],
    "oil": ["oil painting", "painted in oil", "an oil painting with thick brush strokes", "impasto"],
}
THINGS: dict[str, list[str]] = {
    "close-up": ["a close-up", "close up", "big flowers up close", "macro"],
    "planet": ["a planet", "a giant planet", "an alien world"],
    "ringed planet": ["a planet with rings", "a ringed planet", "saturn"],
    "nebula": ["a nebula", "glowing gas", "clouds of gas"],
    "flowers": ["flowers", "blossoms", "many flowers"],
    "rings": ["rings", "concentric circles", "concentric rings"],
    "rays": ["rays", "a sunburst"],
    "circles": ["circles", "polka dots", "dots"],
    "checkerboard": ["checkerboard", "a checker pattern", "checkers"],
    "spiral": ["spiral", "a spiral", "a swirl"],
    "stripes": ["stripes", "lines"],
    "waves": ["waves", "wavy lines"],
    "sun": ["the sun", "a bright sun", "a glowing sun"],
    "moon": ["a full moon", "the moon", "a bright moon"],
    "crescent moon": ["a crescent moon", "a half moon"],
    "stars": ["stars", "a starry sky", "many stars"],
    "milky way": ["the milky way", "a galaxy in the sky"],
    "aurora": ["aurora", "northern lights"],
    "lightning": ["lightning", "a lightning bolt"],
    "snow peaks": ["snow capped peaks", "snow on the peaks", "snowy peaks"],
    "ridges": ["layered ridges", "ridge behind ridge"],
    "lake": ["a lake", "a calm lake with reflection", "a mirror lake"],
    "pine trees": ["pine trees", "fir trees", "conifers", "pines"],
    "meadow": ["a meadow", "a grassy meadow", "grass"],
    "wildflowers": ["wildflowers", "flowers in the grass"],
    "island": ["an island", "rocky cliffs", "a rocky coast"],
    "sailboat": ["a sailboat", "a boat", "a sailing ship"],
    "palm trees": ["palm trees", "a palm tree", "tropical palms"],
    "rocky mesas": ["rocky mesas", "red rocks", "table mountains", "a canyon"],
    "pyramids": ["pyramids", "ancient pyramids"],
    "sand dunes": ["sand dunes", "dunes", "waves of sand"],
    "cactus": ["cactus", "cacti", "tall cactus plants"],
    "path": ["a path", "a winding path", "a trail"],
    "sunbeams": ["sunbeams", "rays of light", "god rays"],
    "autumn leaves": ["autumn leaves", "autumn colors", "fall foliage", "orange leaves"],
    "tall trees": ["tall trees", "tree trunks", "old trees"],
    "trees": ["trees", "scattered trees", "some trees"],
    "distant mountains": ["distant mountains", "mountains in the distance", "mountains behind"],
    "house": ["a house", "a small cottage", "a lonely house"],
    "river": ["a river", "a winding river", "a stream"],
    "lone tree": ["a lone tree", "a single tree", "a big tree"],
    "autumn tree": ["an autumn tree", "an orange tree"],
    "cherry tree": ["a cherry tree in blossom", "a pink cherry blossom tree", "a blossoming tree"],
    "lit windows": ["lit windows", "city lights", "glowing windows"],
    "water": ["water", "a river in front", "reflections in water"],
    "road": ["a road", "a street", "a highway"],
    "small moon": ["a small moon", "its moon"],
    "galaxy": ["a galaxy", "a spiral galaxy"],
}
FILLERS = [
    "beautiful",
    "highly detailed",
    "scenic",
    "peaceful",
    "calm",
    "dramatic",
    "atmospheric",
    "serene",
    "epic",
    "stunning",
    "cinematic lighting",
    "soft light",
    "wide angle",
    "4k",
    "8k",
    "digital art",
    "painting",
    "illustration",
    "fantasy",
    "dreamy",
    "surreal",
    "trending on artstation",
    "masterpiece",
    "photo",
    "concept art",
    "matte painting",
    "vivid",
    "a beautiful view",
    "intricate",
    "sharp focus",
    "landscape",
    "best quality",
    "ultra hd",
    "nature",
    "vibrant colors",
]


def vocabulary() -> list[str]:
    """List the words of all captions, in lower case and in order; the model was trained on no others."""
    phrases = [phrase for table in (SCENES, TIMES, WEATHERS, PALETTES, STYLES, THINGS) for each in table.values()
               for phrase in each]  # fmt: skip
    names = [*SCENES, *PALETTES, *STYLES, *THINGS, *COLOURS, *ABSTRACT_COLOURS, "big", "giant", "abstract", "made"]
    return sorted(set(re.findall(r"[a-z]{2,}", " ".join([*phrases, *names, *FILLERS]).lower())))


def _one(rng: np.random.Generator, phrases: list[str]) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _name(rng: np.random.Generator, phrases: list[str]) -> str:
    """Return the first, plainest phrase with probability 0.4, else a random one."""
    return phrases[0] if rng.random() < 0.4 else _one(rng, phrases)


def _thing(rng: np.random.Generator, name: str) -> str:
    if name in THINGS:
        return _one(rng, THINGS[name])
    if name.endswith(" nebula"):
        return _one(rng, [f"a {name}", f"{name}", f"clouds of {name.split()[0]} gas"])
    if name.endswith("ringed planet"):
        colour = name.split()[0]
        return _one(rng, [f"a {name}", f"a {colour} planet with rings", f"a big {colour} planet with rings"])
    if name.endswith("planet"):
        return _one(rng, [f"a {name}", f"a giant {name}", f"a big {name}"])
    return name  # such as "red flowers": the name is its own phrase


def describe(facts: Facts, rng: np.random.Generator) -> str:
    """Write a random caption of a picture: a sentence or a list of tags, which names most of its facts."""
    phrases = SCENES[facts.scene]
    if facts.weather == "snow" or facts.palette or facts.style in COLOURLESS:
        phrases = [phrase for phrase in phrases if "green" not in phrase]
    scene = _name(rng, phrases)
    things = [t for t in dict.fromkeys(facts.things) if rng.random() < 0.85]
    if facts.scene in ("abstract", "space", "flower field"):
        things = list(dict.fromkeys(facts.things))  # these scenes consist mainly of their things: name all
    rng.shuffle(things)
    named = [_thing(rng, t) for t in things]
    time = _name(rng, TIMES[facts.time]) if facts.time and rng.random() < 0.96 else ""
    weather = _one(rng, WEATHERS[facts.weather]) if facts.weather in WEATHERS and rng.random() < 0.9 else ""
    palette = ""
    if facts.scene == "abstract":
        palette = _one(rng, ["in {}", "{}", "{} colors", "made of {}"]).format(facts.palette)
    elif facts.palette and rng.random() < 0.98:
        palette = _name(rng, PALETTES[facts.palette])
    if facts.style:
        palette = _name(rng, STYLES[facts.style])
    style = rng.random()
    if facts.scene == "abstract" and style < 0.6:
        text = f"{_one(rng, ['abstract ', 'abstract art, ', 'an abstract pattern of '])}{named[0]} {palette}"
    elif style < 0.55:
        text = " ".join(p for p in (scene, time) if p)
        if named and rng.random() < 0.8:
            text += f" with {' and '.join(named[:2])}"
            text += "".join(f", {n}" for n in named[2:])
        else:
            text += "".join(f", {n}" for n in named)
        text += "".join(f", {p}" for p in (weather, palette) if p)
    elif style < 0.75 and named:
        text = ", ".join([named[0], *(p for p in (scene, *named[1:], time, weather, palette) if p)])
    else:
        tags = [p for p in (time, weather, palette, *named) if p]
        rng.shuffle(tags)
        text = ", ".join([scene, *tags])
    if rng.random() < 0.2:
        extra = [_one(rng, FILLERS) for _ in range(int(rng.integers(1, 4)))]
        text = f"{extra[0]}, {text}" if rng.random() < 0.4 else text
        text += "".join(f", {e}" for e in extra[1:])
    return text
