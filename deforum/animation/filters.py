"""Filters that change a picture before and after diffusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from deforum.animation.palettes import COLOR_SPACES
from deforum.animation.parts import Filter, Moment
from deforum.background import Ahead
from deforum.pixels.color import match_color
from deforum.pixels.image import Image, adjust_contrast, to_gray
from deforum.pixels.noise import add_noise, perlin_noise, uniform_noise
from deforum.pixels.sharpness import match_detail, unsharp_mask
from deforum.profiling import staged
from deforum.seeds import derive_seed
from deforum.settings.options import Settings
from deforum.settings.profiles import Profile
from deforum.timeline.frame import Frame


@staged("colour")
def hold_colors(image: Image, moment: Moment) -> Image:
    """Match the colours to the colour reference of the run (color_coherence)."""
    return image if moment.palette is None else match_color(image, moment.palette)


def hold_detail(image: Image, moment: Moment) -> Image:
    """Match fine detail to that of the colour reference."""
    if moment.palette is None:
        return image
    return match_detail(image, moment.palette.detail, moment.frame.params.detail_coherence)


def loosely(hold: Filter) -> Filter:
    """Hold a painted picture less where it renews the colour reference."""

    def held(image: Image, moment: Moment) -> Image:
        share = moment.frame.renewal
        if share == 0:
            return hold(image, moment)
        return image if share == 1 else torch.lerp(image, hold(image, moment), 1 - share)

    return held


def force_grayscale(image: Image, moment: Moment) -> Image:
    return to_gray(image)


def scale_contrast(image: Image, moment: Moment) -> Image:
    return adjust_contrast(image, moment.frame.params.contrast)


def sharpen(image: Image, moment: Moment) -> Image:
    """Sharpen by an unsharp mask, against the softening of each warp."""
    p = moment.frame.params
    return unsharp_mask(image, p.antiblur_amount, int(p.antiblur_kernel), p.antiblur_sigma, p.antiblur_threshold)


Following = Callable[[Frame], Frame | None]
"""The frame that is painted after a painted one; None after the last."""


class Noise:
    """A `Filter` that adds noise, which diffusion turns into detail.

    Given what follows a frame, the noise of the next one is drawn in a thread while this one is painted.
    """

    def __init__(self, settings: Settings, profile: Profile, following: Following | None = None) -> None:
        self.settings, self.profile, self.following = settings, profile, following
        self._drawn: Callable[[int, int | None], torch.Tensor]
        self._drawn = Ahead(self._draw, name="noise ahead") if following else lambda seed, _following: self._draw(seed)

    @staged("noise")
    def __call__(self, image: Image, moment: Moment) -> Image:
        frame = moment.frame
        if frame.params.noise == 0:
            return image
        following = None if self.following is None else self.following(frame)
        expected = None if following is None or following.params.noise == 0 else self._seed(following)
        noise = self._drawn(self._seed(frame), expected)
        noise = noise if self.profile.true_color_channels else noise.flip(0)
        return add_noise(image, noise, frame.params.noise, zero_mean=self.settings.noise_keeps_mean)

    def _seed(self, frame: Frame) -> int:
        return derive_seed(frame.seed, frame.index, "noise") if self.profile.noise_per_frame else frame.seed

    @staged("noise")
    def _draw(self, seed: int) -> torch.Tensor:
        settings = self.settings
        grid = settings.perlin_w, settings.perlin_h
        if settings.noise_type == "uniform":
            return uniform_noise(seed, *settings.size)
        return perlin_noise(
            seed,
            *settings.size,
            grid=grid if self.profile.perlin_w_across else grid[::-1],
            octaves=settings.perlin_octaves,
            persistence=settings.perlin_persistence,
        )


def filters_before(settings: Settings, profile: Profile, following: Following | None = None) -> Sequence[Filter]:
    """List the filters between motion and diffusion, in order; given what follows a frame, noise is drawn ahead."""
    if not settings.mode.goes_on:
        return ()
    rows: tuple[tuple[bool, Filter], ...] = (
        (settings.color_coherence in COLOR_SPACES, hold_colors),
        (settings.color_force_grayscale, force_grayscale),
        (True, scale_contrast),
        (True, sharpen),
        (True, Noise(settings, profile, following)),
    )
    return [change for wanted, change in rows if wanted]


def filters_after(settings: Settings) -> Sequence[Filter]:
    """List the filters after diffusion, in order."""
    rows: tuple[tuple[bool, Filter], ...] = (
        (settings.color_coherence in COLOR_SPACES and not settings.legacy_colormatch, loosely(hold_colors)),
        (settings.color_coherence in COLOR_SPACES and settings.mode.goes_on, loosely(hold_detail)),
        (settings.color_force_grayscale, force_grayscale),
    )
    return [change for wanted, change in rows if wanted]
