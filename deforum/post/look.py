"""Steps that change how frames look: grain, grade, vignette, fade."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

from deforum.pixels.image import Image
from deforum.post.at import At
from deforum.post.cube import Table, read_cube
from deforum.seeds import derive_seed
from deforum.settings.steps import Fade, Grade, Grain, Vignette


def grain(step: Grain, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Add noise of mean 0, another one in each frame: a function of the seed and the frame's number."""
    for index, image in enumerate(frames, at.first):
        height, width = image.shape[1:]
        generator = torch.Generator().manual_seed(derive_seed(at.seed, index, "grain"))
        coarse = max(1, math.ceil(height / step.size)), max(1, math.ceil(width / step.size))
        noise = torch.randn(1, 3 if step.color else 1, *coarse, generator=generator)
        if coarse != (height, width):
            noise = F.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
            noise = noise / noise.std().clamp(min=1e-6)
        yield image + step.amount * noise[0].to(image.device)


def grade(step: Grade, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Pass colours through a .cube table."""
    table = read_cube(Path(step.lut))
    for image in frames:
        graded = graded_by(table, image)
        yield graded if step.amount == 1 else torch.lerp(image, graded, step.amount)


def graded_by(table: Table, image: Image) -> Image:
    """Look the colours of a picture (3, H, W) up in a table, linearly between its entries."""
    low, high = (torch.tensor(each).view(3, 1, 1).to(image.device) for each in table.domain)
    places = ((image - low) / (high - low)).clamp(0, 1)
    values = torch.from_numpy(table.values).to(image.device)
    if table.values.ndim == 2:  # each channel by itself
        steps = places * (len(values) - 1)
        below = steps.floor().long().clamp(max=len(values) - 2)
        return torch.stack([
            torch.lerp(values[below[c], c], values[below[c] + 1, c], steps[c] - below[c]) for c in range(3)
        ])  # fmt: skip
    volume = values.permute(3, 0, 1, 2)[None]  # (1, C, blue, green, red)
    grid = (2 * places - 1).permute(1, 2, 0)[None, None]  # x is red
    made: Image = F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0]
    return made


def vignette(step: Vignette, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Darken frames towards their corners, by the square of the distance from the middle."""
    reel = at.reel
    y = torch.linspace(-1, 1, reel.height, device=at.device)[:, None] ** 2
    x = torch.linspace(-1, 1, reel.width, device=at.device) ** 2
    light = 1 - step.amount * (x + y) / 2
    return (image * light for image in frames)


def fade(step: Fade, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Fade in from a colour, and out to it."""
    from PIL import ImageColor

    color = torch.tensor(ImageColor.getrgb(step.color)[:3], device=at.device).view(3, 1, 1) / 255
    for index, image in enumerate(frames, at.first):
        share = visible(step, index, at.reel.count, float(at.reel.rate))
        yield image if share == 1 else torch.lerp(color.expand_as(image), image, share)


def visible(step: Fade, index: int, count: int, rate: float) -> float:
    """Return how much of a frame is seen: 0 the colour, 1 the frame."""
    length = max(step.seconds * rate, 1e-9)
    shares = [index / length] if step.ends != "out" else []
    shares += [(count - 1 - index) / length] if step.ends != "in" else []
    return min(1.0, *shares)
