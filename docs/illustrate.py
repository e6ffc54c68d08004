"""Paint the pictures of docs/pictures.md: python docs/illustrate.py [NAME ...]

Each strip shows what one setting does, in docs/images/settings/NAME.webp: a row per value, time from left to right, or
a column per value at one moment. Those of motion move a still and need no diffusion. With names, only those strips.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deforum import frames, load
from deforum.animation.painter import each
from deforum.animation.stages import Stages
from deforum.models.kept import KeptModels

Pixels = NDArray[np.uint8]  # (H, W, 3)

FOLDER = Path(__file__).parent / "images" / "settings"
SIDE, CELL, GAP, LINE = 224, 148, 4, 20  # px: rendered, shown, between pictures, of a label
QUALITY = 72

STILL = "snowy mountains with a calm lake and pine trees, on a clear day"
SUNSET_TO_NIGHT = {0: "the sea at sunset with a glowing sun", 1: "the sea at night with northern lights and stars"}
FLIGHT = "the sea at sunset with a glowing sun"


@dataclass(frozen=True)
class Strip:
    """Values of one or more settings, rendered alike otherwise."""

    values: Sequence[tuple[str, Mapping[str, Any]]]
    """Label, and the settings that it stands for."""
    base: Mapping[str, Any] = field(default_factory=dict)
    shown: Sequence[int] = (12,)
    """Frames shown of each value: with several, a row per value; with one, all values stand in one row."""
    paints: bool = False
    """Whether frames are diffused; else a still is only moved."""
    cell: int = CELL
    """Side of the pictures shown, px."""


STRIPS: Mapping[str, Strip] = {
    "motion_2d": Strip(
        [
            ("still", {}),
            ("zoom: 1.04", {"zoom": 1.04}),
            ("angle: 2", {"angle": 2}),
            ("translation_x: 5", {"translation_x": 5}),
            ("translation_y: 5", {"translation_y": 5}),
            ("perspective flip", {"enable_perspective_flip": True, "perspective_flip_phi": 2.5, "zoom": 1.01}),
        ],
    ),
    "border": Strip(
        [(f"border: {name}", {"border": name}) for name in ("replicate", "reflect", "wrap")],
        {"zoom": 0.6, "angle": 12},
        shown=(1,),
    ),
    "motion_3d": Strip(
        [
            ("still", {}),
            ("translation_z: 14", {"translation_z": 14}),
            ("translation_x: 8", {"translation_x": 8}),
            ("rotation_3d_y: 1.2", {"rotation_3d_y": 1.2}),
            ("rotation_3d_x: 1.2", {"rotation_3d_x": 1.2}),
            ("rotation_3d_z: 2", {"rotation_3d_z": 2}),
        ],
        {"animation_mode": "3D", "padding_mode": "reflection"},
    ),
    "fov": Strip(
        [(f"fov: {fov}", {"fov": fov}) for fov in (25, 40, 70, 110)],
        {"animation_mode": "3D", "translation_x": 5, "padding_mode": "reflection"},
    ),
    "symmetry": Strip(
        [
            ("symmetry: none", {}),
            ("mirror x", {"symmetry": "mirror x"}),
            ("mirror y", {"symmetry": "mirror y"}),
            ("quad", {"symmetry": "quad"}),
            ("kaleidoscope", {"symmetry": "kaleidoscope"}),
        ],
        {"angle": 1},
        shown=(3,),
    ),
    "echo": Strip(
        [(f"echo_amount: {value}", {"echo_amount": value}) for value in (0, 0.5, 0.9)],
        {"prompts": "abstract rings, blue and orange", "zoom": 1.03, "angle": 2, "strength": 0.55, "cadence": 1},
        shown=(0, 4, 8, 12, 16, 20),
        paints=True,
    ),
    "strength": Strip(
        [(f"strength: {value}", {"strength": value}) for value in (0.4, 0.6, 0.75)],
        {"prompts": SUNSET_TO_NIGHT, "zoom": 1.01, "cadence": 1},
        shown=(0, 1, 2, 3, 5, 10),
        paints=True,
    ),
    "color_renewal": Strip(
        [(f"color_renewal: {value}", {"color_renewal": value}) for value in (0, 12)],
        {"prompts": SUNSET_TO_NIGHT, "zoom": 1.01, "strength": 0.6, "cadence": 1},
        shown=(0, 1, 2, 4, 8, 16),
        paints=True,
    ),
    "prompt_blend": Strip(
        [(f"prompt_blend: {value}", {"prompt_blend": value}) for value in ("hold", "linear")],
        {
            "prompts": {0: "a green valley with hills and trees, by day", 20: "a desert with sand dunes at sunset"},
            "zoom": 1.01,
            "strength": 0.5,
        },
        shown=(0, 6, 12, 18, 20, 24),
        paints=True,
    ),
    "cfg_scale": Strip(
        [(f"cfg_scale: {value}", {"cfg_scale": value}) for value in (1, 2, 4, 7, 12)], shown=(0,), paints=True
    ),
    "finish_look": Strip(
        [
            ("finish: none", {"finish": "none"}),
            *((f"finish_look: {look}", {"finish_look": look}) for look in ("plain", "gouache", "ink")),
        ],
        {
            "prompts": "snowy mountains with a calm lake at sunset with a glowing sun",
            "zoom": 1.01,
            "seed": 5,
            "steps": 20,
            "strength": 0.5,
            "color_coherence": "None",
            "cadence": 2,
            "width": 256,
            "height": 256,
        },
        shown=(10,),
        paints=True,
        cell=256,
    ),
}


@cache
def models() -> KeptModels:
    return KeptModels()


@cache
def still() -> Path:
    """Paint the picture that motion strips move, once per run of this script."""
    import tempfile

    path = Path(tempfile.mkdtemp()) / "still.png"
    settings = {"prompts": STILL, "max_frames": 1, "seed": 5, "steps": 24, "cfg_scale": 4, "width": 256, "height": 256}
    for _, picture in frames(load(settings).settings, models=models()):
        Image.fromarray(picture).save(path)
    return path


def unpainted(stages: Stages) -> Stages:
    """Return stages that show each frame as it was moved."""

    def keep(init: Any, frame: Any) -> Any:
        return init

    return replace(stages, painting=replace(stages.painting, painter=each(keep)))


def render(strip: Strip, change: Mapping[str, Any]) -> list[Pixels]:
    """Render one value of a strip; return the frames shown."""
    settings: dict[str, Any] = {
        "prompts": FLIGHT, "seed": 3, "width": SIDE, "height": SIDE, "steps": 12, "cfg_scale": 4,
        "max_frames": max(strip.shown) + 1,
    }  # fmt: skip
    if not strip.paints:
        settings |= {"init_image": str(still()), "color_coherence": "None", "cadence": 1, "antiblur_amount": 0}
        settings |= {"zoom": 1, "noise": 0, "noise_keeps_mean": True}
    loaded = load(settings | strip.base | change).settings
    made = frames(loaded, models=models(), **({} if strip.paints else {"change": unpainted}))
    return [picture for frame, picture in made if frame.index in strip.shown]


def label(text: str, width: int) -> Image.Image:
    line = Image.new("RGB", (width, LINE), "white")
    ImageDraw.Draw(line).text((2, 3), text, fill="black", font=ImageFont.load_default(12))
    return line


def compose(strip: Strip) -> Image.Image:
    """Lay out a strip: labels above the pictures."""
    rows = [(name, render(strip, change)) for name, change in strip.values]
    many = len(strip.shown) > 1
    columns = len(strip.shown) if many else len(rows)
    height = (LINE + strip.cell + GAP) * (len(rows) if many else 1)
    sheet = Image.new("RGB", (columns * (strip.cell + GAP) - GAP, height - GAP), "white")
    for i, (name, pictures) in enumerate(rows):
        for j, picture in enumerate(pictures):
            column, row = (j, i) if many else (i, 0)
            x, y = column * (strip.cell + GAP), row * (LINE + strip.cell + GAP)
            text = name if many and j == 0 else f"frame {strip.shown[j]}" if many else name
            sheet.paste(label(text, strip.cell), (x, y))
            sheet.paste(
                Image.fromarray(picture).resize((strip.cell, strip.cell), Image.Resampling.LANCZOS), (x, y + LINE)
            )
    return sheet


def main(names: Sequence[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or STRIPS:
        path = FOLDER / f"{name}.webp"
        compose(STRIPS[name]).save(path, quality=QUALITY, method=6)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
