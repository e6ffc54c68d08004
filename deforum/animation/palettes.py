"""Colour references (color_coherence): one rule for each choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deforum.animation.parts import Moment, Palette
from deforum.pixels.color import SPACES, ColorReference, Space
from deforum.pixels.image import Image, read
from deforum.settings.options import Settings
from deforum.settings.profiles import Profile

COLOR_SPACES: dict[str, Space] = {**{space: space for space in SPACES}, "Image": "LAB", "Video Input": "LAB"}
"""Colour space of the matching, by color_coherence."""


def no_palette(moment: Moment, moved: Image | None, painted: Image | None) -> None:
    """Use no colour reference."""


def reference_of(settings: Settings, profile: Profile) -> Callable[[Image], ColorReference]:
    """Return a function that takes a picture's colour reference in the space of color_coherence."""
    space = COLOR_SPACES[settings.color_coherence]

    def reference(image: Image) -> ColorReference:
        return ColorReference.of(
            image, space, true_channels=profile.true_color_channels, float_color=profile.float_color
        )

    return reference


def renewed(palette: Palette, reference: Callable[[Image], ColorReference]) -> Palette:
    """Renew the reference where the prompt changes: by a painted frame that was not held, or only in part."""

    def renewing(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        if painted is not None and moment.frame.renewal > 0:
            return reference(painted)
        return palette(moment, moved, painted) if moment.palette is None else moment.palette

    return renewing


def palette_of(settings: Settings, profile: Profile, first: Image | None = None) -> Palette:
    """Choose the rule for the colour reference of a run.

    `first` is the picture that frame 0 is painted from where that is not the init image. The Video Input feature
    has its own rule for a clip's colours.
    """
    if settings.color_coherence not in COLOR_SPACES or not settings.mode.holds(settings.color_coherence):
        return no_palette
    reference = reference_of(settings, profile)

    def given(image: Image) -> Palette:
        fixed = reference(image)
        return lambda moment, moved, painted: fixed

    def stored(path: str | None) -> Image:
        assert path is not None
        return read(Path(path), *settings.size)

    def first_painted(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        return reference(painted) if moment.palette is None and painted is not None else moment.palette

    def first_moved(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        return reference(moved) if moment.palette is None and moved is not None else moment.palette

    def last_moved_at_strength_0(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        fresh = painted is None and (moment.palette is None or moment.frame.params.strength == 0)
        return reference(moved) if fresh and moved is not None else moment.palette

    if settings.color_coherence == "Video Input":
        return no_palette
    if settings.color_coherence == "Image":
        return given(stored(settings.color_coherence_image_path))
    if settings.legacy_colormatch:
        return last_moved_at_strength_0
    if settings.init_image is None and first is None:
        palette = first_painted
    elif not profile.init_is_color_sample:
        palette = first_moved
    else:
        palette = given(stored(settings.init_image) if first is None else first)
    return renewed(palette, reference) if settings.renews_colors else palette
