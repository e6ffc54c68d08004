"""Title and end card: text on a colour before or after the frames, or over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from deforum.errors import UserError
from deforum.pixels.image import Device, Image, Mask
from deforum.post.at import At
from deforum.settings.steps import EndCard, Title, frames_of

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

WIDEST = 0.9
"""Share of the frame's width that text takes at most."""


def title(step: Title, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Show a text before the first frame, or over the first ones."""
    count = frames_of(step.seconds, at.reel)
    if not step.over:
        if at.first == 0:
            yield from _card(step, at, count)
        yield from frames
        return
    letters = _letters(step, at.reel.width, at.reel.height, at.device)
    color = _color(step.color, at.device)
    for index, image in enumerate(frames, at.first):
        share = _share(step.fade, index, count, float(at.reel.rate))
        yield torch.lerp(image, color.expand_as(image), letters * share) if share else image


def end_card(step: EndCard, frames: Iterator[Image], at: At) -> Iterator[Image]:
    """Show a text after the last frame."""
    return itertools.chain(frames, _card(step, at, frames_of(step.seconds, at.reel)))


def _card(step: Title | EndCard, at: At, count: int) -> Iterator[Image]:
    width, height = at.reel.width, at.reel.height
    letters, color = _letters(step, width, height, at.device), _color(step.color, at.device)
    ground = _color(step.background, at.device).expand(3, height, width)
    for index in range(count):
        share = _share(step.fade, index, count, float(at.reel.rate))
        yield torch.lerp(ground, color.expand_as(ground), letters * share)


def _share(fade: float, index: int, count: int, rate: float) -> float:
    """Return how much of a text is seen in frame `index` of `count`: it fades in and out."""
    if index >= count:
        return 0.0
    length = max(fade * rate, 1e-9)
    return min(1.0, (index + 1) / length, (count - index) / length)


def _color(name: str, device: Device) -> torch.Tensor:
    from PIL import ImageColor

    return torch.tensor(ImageColor.getrgb(name)[:3], dtype=torch.float32, device=device).view(3, 1, 1) / 255


def _letters(step: Title | EndCard, width: int, height: int, device: Device) -> Mask:
    """Draw a text in the middle of a frame: (H, W), 1 where it covers. It is made smaller where it is too wide."""
    from PIL import Image as Drawing
    from PIL import ImageDraw

    size = max(step.size * height, 4.0)
    picture = Drawing.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    text = step.text.replace("\\n", "\n")
    font = _font(step.font, size)
    left, _, right, _ = draw.multiline_textbbox((0, 0), text, font=font, align="center")
    if right - left > WIDEST * width:
        font = _font(step.font, max(size * WIDEST * width / (right - left), 4.0))
    draw.multiline_text((width / 2, height / 2), text, fill=255, font=font, anchor="mm", align="center",
                        spacing=0.3 * size)  # fmt: skip
    return torch.from_numpy(np.asarray(picture, np.float32) / 255).to(device)


def _font(path: str, size: float) -> FreeTypeFont:
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    except OSError:
        raise UserError(f"{path}: no font that can be read; expected a TrueType or OpenType file") from None
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
