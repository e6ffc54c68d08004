"""Pictures drawn for previews: a flat test card, and a room whose depth is known.

The card shows scale, rotation and place: numbered cells of their own colours, rings, spokes, and a frame around the
edge, so that repeated or mirrored borders are told from the picture. The room shows perspective: a tiled floor, walls
and a ceiling, and balls and posts at several distances.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB levels."""
Floats = NDArray[np.float32]

FINE = 4
"""Fractional bits of the coordinates that OpenCV draws at."""
WHITE, BLACK, EDGE = (245, 245, 245), (20, 20, 24), (255, 196, 0)


def draw_card(width: int, height: int) -> Pixels:
    """Draw the test card: (H, W, 3) RGB."""
    side = min(width, height)
    columns, rows = (max(round(8 * length / side), 4) for length in (width, height))
    x, y = (np.arange(width) + 0.5) * columns / width, (np.arange(height) + 0.5) * rows / height
    column, row = np.meshgrid(x.astype(int), y.astype(int))
    is_light = (column + row) % 2 == 0
    hsv = np.stack((180 * column / columns, 60 + 90 * row / rows, np.where(is_light, 205, 120)), -1)
    card: Pixels = np.array(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)
    middle = (width - 1) / 2, (height - 1) / 2
    thin = max(round(side / 256), 1)
    for ring in range(1, 2 * max(columns, rows), 2):
        _circle(card, middle, ring * side / 16, WHITE, thin)
    for spoke in range(0, 360, 30):
        reach = math.hypot(width, height)
        along = math.cos(math.radians(spoke)), math.sin(math.radians(spoke))
        ends = [tuple(m + share * reach * a for m, a in zip(middle, along, strict=True)) for share in (0.03, 1.0)]
        _line(card, ends[0], ends[1], BLACK, thin * (2 if spoke % 90 == 0 else 1))
    for down in range(rows):
        for across in range(columns):
            name = f"{chr(ord('A') + down % 26)}{across + 1}"
            _write(card, name, (across + 0.5) * width / columns, (down + 0.5) * height / rows, 0.3 * side / 8)
    up = [(middle[0], middle[1] - side * 0.21), (middle[0] - side * 0.035, middle[1] - side * 0.14),
          (middle[0] + side * 0.035, middle[1] - side * 0.14)]  # fmt: skip
    cv2.fillConvexPoly(card, _fixed(up), (220, 40, 40), cv2.LINE_AA, FINE)
    edge = max(round(side / 64), 2)
    cv2.rectangle(card, (edge // 2, edge // 2), (width - 1 - edge // 2, height - 1 - edge // 2), EDGE, edge)
    return card


HALF_WIDTH, FLOOR, CEILING, BACK = 3.0, 1.3, -2.2, 24.0
"""The room, in its own units: half of its width, and where floor, ceiling and the far wall are; the eye is at 0."""
TILES = np.array(
    [
        [(70, 90, 120), (92, 116, 150)],  # the far wall
        [(60, 110, 70), (205, 215, 170)],  # the floor
        [(150, 170, 200), (190, 205, 225)],  # the ceiling
        [(150, 80, 60), (210, 150, 110)],  # to the left
        [(90, 70, 140), (150, 130, 195)],  # to the right
    ],
    np.float32,
)
"""RGB of dark and light tiles."""
BALLS = (
    ((-1.2, 0.7, 5.0, 0.6), (225, 60, 50)),
    ((1.5, 0.9, 7.5, 0.4), (250, 190, 40)),
    ((0.2, -0.9, 10.0, 0.7), (60, 160, 225)),
    ((-2.1, 0.5, 13.0, 0.8), (90, 200, 110)),
    ((2.0, -0.6, 17.0, 0.9), (220, 110, 200)),
)
"""x, y, z and radius; RGB."""
POSTS = (
    ((-2.4, 8.0), (40, 70, 160)),
    ((2.4, 10.0), (200, 50, 60)),
    ((-0.9, 15.0), (40, 70, 160)),
    ((1.1, 19.0), (200, 50, 60)),
    ((-1.9, 20.0), (40, 70, 160)),
)
"""x and z, from floor to ceiling; RGB of their bands."""
POST = 0.2
"""Radius of a post."""
HAZE = 0.35
"""How far the far wall takes the colour of the air."""
FINE_UP_TO = 1024 * 1024
"""px of a frame up to which each pixel is the mean of four."""


def draw_room(width: int, height: int, fov: float) -> tuple[Pixels, NDArray[np.float32]]:
    """Draw the room as a camera of a field of view of `fov` degrees across the width sees it.

    Returns (H, W, 3) RGB, and the inverse depth (H, W), up to a scale: 1 is the nearest.
    """
    reach = math.tan(math.radians(min(max(abs(fov), 20.0), 120.0)) / 2)
    fine = 2 if width * height <= FINE_UP_TO else 1  # for smooth outlines
    x = (((np.arange(fine * width) + 0.5) * 2 / (fine * width) - 1) * reach).astype(np.float32)[None]
    y = (((np.arange(fine * height) + 0.5) * 2 / (fine * height) - 1) * reach * height / width).astype(np.float32)
    levels, depth = _look(x, y[:, None])
    levels = np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_AREA))
    # Of the points of a pixel one is taken: a mean of near and far is neither.
    inverse = 1 / depth[::fine, ::fine]
    return levels, inverse / inverse.max()


def _look(x: Floats, y: Floats) -> tuple[Pixels, Floats]:
    """Cast rays (x, y, 1) for columns x (1, W) and rows y (H, 1): return colours (H, W, 3), and the depth (H, W)."""
    with np.errstate(divide="ignore"):
        floor, ceiling = np.where(y > 0, FLOOR / y, np.inf), np.where(y < 0, CEILING / y, np.inf)
        wall = HALF_WIDTH / np.abs(x)
    level = np.minimum(floor, ceiling)
    depth = np.minimum(np.minimum(level, wall), np.float32(BACK)).astype(np.float32)
    is_back, is_wall = depth == np.float32(BACK), wall < level
    # Tiles count along the depth, and across; those of the far wall up and down.
    across = np.where(is_wall & ~is_back, y, x) * depth
    along = np.where(is_back, y * depth, depth)
    is_light = ((np.floor(across) + np.floor(along)) % 2 == 0).astype(np.uint8)
    surface = np.where(is_back, 0, np.where(is_wall, np.where(x < 0, 3, 4), np.where(y > 0, 1, 2)))
    colors = TILES[surface, is_light]
    for (bx, by, bz, radius), color in BALLS:
        _ball(colors, depth, x, y, (bx, by, bz), radius, np.array(color, np.float32))
    for (px, pz), color in POSTS:
        _ball(colors, depth, x, y, (px, None, pz), POST, np.array(color, np.float32))
    haze = (depth * np.float32(HAZE / BACK))[..., None]
    return np.asarray(colors * (1 - haze) + np.array((200, 215, 235), np.float32) * haze, np.uint8), depth


def _ball(
    colors: Floats, depth: Floats, x: Floats, y: Floats, center: tuple[float, float | None, float], radius: float,
    color: Floats,
) -> None:  # fmt: skip
    """Draw a ball over what lies behind it; without a height of its centre an upright post with bands."""
    bx, by, bz = center
    # Only around it: it is seen within twice the angle of its radius.
    columns = slice(*np.searchsorted(x[0], [bx / bz - 2 * radius / bz, bx / bz + 2 * radius / bz]))
    rows = slice(None)
    if by is not None:
        rows = slice(*np.searchsorted(y[:, 0], [by / bz - 2 * radius / bz, by / bz + 2 * radius / bz]))
    x, y = x[:, columns], y[rows]
    ray_y, height = (np.zeros_like(y), 0.0) if by is None else (y, by)
    square = x * x + ray_y * ray_y + 1
    half = x * bx + ray_y * height + bz
    rest = half * half - square * (bx * bx + height * height + bz * bz - radius * radius)
    z = np.where(rest > 0, (half - np.sqrt(np.maximum(rest, 0))) / square, np.inf)
    at = np.where(rest > 0, z, 0)
    facing = ((bx - x * at) * x + (height - ray_y * at) * ray_y + (bz - at)) / (radius * np.sqrt(square))
    shade = (0.45 + 0.55 * np.clip(facing, 0, 1))[..., None]
    nearer = np.broadcast_to(z < depth[rows, columns], depth[rows, columns].shape)
    drawn = color * shade
    if by is None:
        is_band = np.broadcast_to(np.floor(2 * y * at) % 2 == 0, nearer.shape)
        drawn = np.where(is_band[..., None], np.array((240, 240, 235), np.float32), color) * shade
    colors[rows, columns] = np.where(nearer[..., None], drawn, colors[rows, columns])
    depth[rows, columns] = np.where(nearer, z, depth[rows, columns])


def _fixed(points: list[tuple[float, float]]) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.rint(np.array(points) * (1 << FINE)).astype(np.int32)
    return fixed


def _line(
    card: Pixels, start: tuple[float, ...], end: tuple[float, ...], color: tuple[int, int, int], thickness: int
) -> None:
    first, last = _fixed([(start[0], start[1]), (end[0], end[1])]).tolist()
    cv2.line(card, first, last, color, thickness, cv2.LINE_AA, FINE)


def _circle(
    card: Pixels, center: tuple[float, float], radius: float, color: tuple[int, int, int], thickness: int
) -> None:
    [at] = _fixed([center]).tolist()
    cv2.circle(card, at, round(radius * (1 << FINE)), color, thickness, cv2.LINE_AA, FINE)


def _write(card: Pixels, text: str, x: float, y: float, size: float) -> None:
    """Write a text around a point, capitals `size` px high."""
    scale, thin = size / 21, max(round(size / 10), 1)  # the font's capitals are 21 px at scale 1
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thin)
    at = round(x - wide / 2), round(y + high / 2)
    cv2.putText(card, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, BLACK, 3 * thin, cv2.LINE_AA)
    cv2.putText(card, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, thin, cv2.LINE_AA)
