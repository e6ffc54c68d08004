"""The canvas of a picture being painted, the light of its time of day, and the facts for its caption."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.world.primitives import SIZE, Colour, Float, Grid, jitter, mix, rgb


@dataclass
class Facts:
    """The content of a picture, in the keys of `training.captions`; "" where there is none."""

    scene: str = ""
    time: str = ""
    weather: str = ""
    palette: str = ""
    style: str = ""
    things: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Light:
    """The light of a time of day: sky gradient from top to horizon, glow around the sun, light on surfaces."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    glow: Colour
    sun: Colour
    surface: Colour
    sun_height: tuple[float, float]  # above the horizon, in picture heights
    dark: bool = False


LIGHTS: dict[str, Light] = {
    "dawn": Light((0.38, 0.50, 0.74), (0.74, 0.68, 0.78), (1.00, 0.78, 0.66), (1.0, 0.80, 0.62),
                  (1.0, 0.93, 0.78), (0.84, 0.74, 0.76), (0.02, 0.16)),
    "day": Light((0.20, 0.45, 0.84), (0.42, 0.66, 0.93), (0.78, 0.89, 0.97), (1.0, 1.0, 0.92),
                 (1.0, 1.0, 0.90), (1.0, 0.98, 0.94), (0.25, 0.45)),
    "golden": Light((0.36, 0.52, 0.74), (0.82, 0.76, 0.66), (1.00, 0.82, 0.50), (1.0, 0.80, 0.42),
                    (1.0, 0.95, 0.72), (1.0, 0.83, 0.58), (0.08, 0.24)),
    "sunset": Light((0.26, 0.22, 0.46), (0.82, 0.38, 0.40), (1.00, 0.62, 0.26), (1.0, 0.55, 0.22),
                    (1.0, 0.86, 0.50), (0.74, 0.48, 0.42), (0.02, 0.15)),
    "dusk": Light((0.12, 0.14, 0.36), (0.34, 0.28, 0.54), (0.84, 0.52, 0.58), (0.9, 0.5, 0.5),
                  (0.9, 0.6, 0.5), (0.42, 0.38, 0.56), (-0.3, -0.2)),
    "night": Light((0.02, 0.04, 0.14), (0.06, 0.10, 0.26), (0.16, 0.24, 0.42), (0.4, 0.5, 0.7),
                   (0.95, 0.96, 0.88), (0.40, 0.48, 0.72), (0.25, 0.50), dark=True),
}  # fmt: skip


class Canvas(Grid):
    """A picture being painted back to front, with the light and weather common to all layers."""

    def __init__(
        self, rng: np.random.Generator, time: str, horizon: float, sky: np.random.Generator | None = None,
        side: int = SIZE,
    ) -> None:  # fmt: skip
        """``horizon`` is a row in units; ``rng`` draws the place, ``sky`` the sky (default: ``rng`` too)."""
        super().__init__(side)
        self.rng = rng
        self.sky = sky or rng
        self.facts = Facts(time=time)
        self.light = LIGHTS[time]
        self.horizon = horizon
        self.image: Float = self.zeros(channels=(3,))
        self.inverse_depth: Float = self.zeros()
        self.surface = jitter(rng, self.light.surface, 0.03)
        self.haze = rgb(self.light.horizon)
        self.sun_x = float(rng.uniform(0.15, 0.85) * SIZE)
        self.sun_y = 0.0
        self.sun_scale = 1.0
        self.sun_visible = False
        self.fog = 0.0

    def over(self, mask: Float, colour: Colour | Float, inverse_depth: float | Float) -> None:
        """Blend ``colour`` in by ``mask`` (H, W), 0..1; set ``inverse_depth`` where the mask is above 0.5."""
        self.image = mix(self.image, colour, mask)
        self.inverse_depth = np.where(mask > 0.5, np.float32(inverse_depth), self.inverse_depth)

    def lit(self, albedo: Colour | Float, far: float, shade: float | Float = 1.0) -> Float:
        """Return a surface's colour in this light: shaded, then blended into haze (``far`` 0 near, 1 far)."""
        shade = np.asarray(shade, dtype=np.float32)
        colour = rgb(albedo) * self.surface * (shade[..., None] if shade.ndim else shade)
        return mix(colour, self.haze, min(1.0, far * (0.75 + 0.6 * self.fog) + 0.25 * self.fog))

    def ground_depth(self, near: float = 1.0) -> Float:
        """Return the inverse depth (H, W) of the ground plane, 0 at the horizon, ``near`` at the bottom."""
        rows = np.clip((self.y - self.horizon) / (SIZE - self.horizon), 0, 1) * near
        return np.broadcast_to(rows, (self.side, self.side)).astype(np.float32)

    def note(self, *things: str) -> None:
        self.facts.things += things
