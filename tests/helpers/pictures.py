"""Synthetic pictures: random textures, sums of sine waves, and a ray-traced scene with known depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.motion.flow_warp import Flow
from deforum.motion.pose import Lens, Pose
from deforum.pixels.image import Image, from_array, to_array
from tests.helpers import motion_of

# --- at random --------------------------------------------------------------------------------------------------------


def texture(seed: int, width: int = 64, height: int = 64, softness: float = 2) -> Image:
    """Return blurred random noise, stretched to 0..1."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    stretched = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), softness), None, 0, 1, cv2.NORM_MINMAX)
    return from_array(stretched.clip(0, 1))  # rounding leaves 0..1


def spots(seed: int, warmth: float = 0, light: float = 0.5, width: int = 96, height: int = 80) -> Image:
    """Draw soft spots of many colours over a slope from dark to light."""
    rng = np.random.default_rng(seed)
    drawn = cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 4)
    drawn = (drawn - drawn.mean((0, 1))) / drawn.std((0, 1)) * 0.12
    slope = np.linspace(-0.25, 0.25, height, dtype=np.float32)[:, None, None]
    pixels = drawn + slope + light + np.array([warmth, 0, -warmth], np.float32)
    return from_array(np.ascontiguousarray(pixels.clip(0, 1), np.float32))


def flat(red: float, green: float, blue: float, size: int = 8) -> Image:
    return from_array(np.full((size, size, 3), (red, green, blue), np.float32))


def off(a: Image, b: Image) -> float:
    """The largest difference, in levels."""
    return 255 * float((a - b).abs().max())


# --- sine waves, defined at sub-pixel positions -----------------------------------------------------------------------

WAVES = 96
"""Side of `waves` in px."""
INNER = (slice(16, -16), slice(16, -16))
"""Slices without a margin of 16 px."""


def waves(moved: Callable[[Any, Any], tuple[Any, Any]] = lambda x, y: (x, y), size: int = WAVES) -> Image:
    """Return a picture with detail at many scales; pixel (x, y) samples it at `moved(x, y)`."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    x, y = moved(x, y)
    random = np.random.default_rng(3)
    length = 0.1 * 8 ** random.random(48)  # radians per px, coarse to fine
    turn, phases = random.uniform(0, 6.28, 48), random.uniform(0, 6.28, (48, 3, 1, 1))
    rows = (
        ((0.1 / k) ** 0.5, k * np.cos(a), k * np.sin(a), phase)
        for k, a, phase in zip(length, turn, phases, strict=True)
    )
    picture = sum(height * np.sin(x * u + y * v + phase) for height, u, v, phase in rows)
    return from_array(np.moveaxis(0.5 + 0.07 * np.asarray(picture), 0, -1).clip(0, 1).astype(np.float32))


def swirl(strength: float = 1.0) -> Flow:
    """Return a smooth, uneven flow of up to about 5 px."""
    y, x = torch.meshgrid(torch.arange(WAVES) / WAVES * 6.28, torch.arange(WAVES) / WAVES * 6.28, indexing="ij")
    return strength * torch.stack((3 * y.sin() + 1, 4 * x.cos() - 1), dim=-1)


def levels_apart(a: Image, b: Image) -> NDArray[np.float32]:
    """Return the absolute differences in levels, without the margin."""
    return np.asarray(np.abs(to_array(a) - to_array(b))[INNER] * 255)


# --- a scene in space -------------------------------------------------------------------------------------------------

TRACED = 192
"""Side of a traced picture in px."""
WALL, BOX = 6.0, 2.0
"""Depths in scene units."""


def grid(width: int = TRACED, height: int = TRACED) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack((x, y))


def trace(numbers: dict[str, float], *, fov: float = 70) -> tuple[Image, torch.Tensor]:
    """Look at a patterned wall with a box before it, from the place to which the motion takes the camera: image, z."""
    pose, lens = Pose.of(motion_of(**numbers)), Lens.of(fov, 1, TRACED, TRACED)
    turn = torch.from_numpy(pose.rotation).float()
    x, y = grid() - (TRACED - 1) / 2
    ray = torch.stack((x / lens.x, y / lens.y, torch.ones_like(x)), -1) @ turn.T
    eye = torch.from_numpy(-pose.translation).float() @ turn.T
    t = (BOX - eye[2]) / ray[..., 2]
    at = eye + t[..., None] * ray
    box = (at[..., 0].abs() < 0.5) & (at[..., 1].abs() < 0.4)
    t = torch.where(box, t, (WALL - eye[2]) / ray[..., 2])
    at = (eye + t[..., None] * ray)[..., :2] * torch.where(box, 9.0, 3.0)[..., None]
    pattern = 0.5 + 0.2 * torch.sin(at[..., 0] + at[..., 1].sin()) * torch.cos(1.3 * at[..., 1] + 0.5 * at[..., 0])
    tint = torch.where(box, torch.tensor([1.3, 0.5, 0.5]).view(3, 1, 1), torch.tensor([0.5, 0.8, 1.2]).view(3, 1, 1))
    return pattern * tint, t  # the ray's z is 1 in the camera's own axes, so t is z
