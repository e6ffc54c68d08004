"""The colours of plots can be read."""

from __future__ import annotations

import pytest

from deforum.reports.plot.theme import HUES, SECTION_HUES, THEMES, TINT, Theme, mix
from deforum.settings.options import SECTIONS


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [byte / 255 for byte in bytes.fromhex(color[1:])]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", list(THEMES))
def test_texts_and_curves_stand_out(theme: Theme) -> None:
    colors = THEMES[theme]
    for ground in ("bg", "panel"):
        assert all(contrast(colors[name], colors[ground]) >= 4.5 for name in ("ink", "muted", "paint", *HUES)), ground
    tints = [mix(colors[hue], colors["bg"], TINT[theme]) for hue in HUES]
    assert all(contrast(colors["ink"], tint) >= 7 for tint in tints)
    assert len(set(tints)) == len(HUES)


def test_every_section_of_schedules_has_a_known_colour() -> None:
    assert SECTION_HUES.keys() <= SECTIONS.keys()
    assert set(SECTION_HUES.values()) <= set(HUES)
