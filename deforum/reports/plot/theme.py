"""The colours of plots, on pages and in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Theme = Literal["light", "dark"]

HUES = ("blue", "violet", "orange", "green", "pink", "teal", "gold", "red")
"""Names of the colours of curves; prompts, seeds and files take them in turn."""

THEMES: Mapping[Theme, Mapping[str, str]] = {
    "light": {
        "bg": "#ffffff", "panel": "#f6f7f9", "ink": "#171c24", "muted": "#5f6b7a", "line": "#e3e7ec",
        "strong": "#c5ccd6", "cursor": "#171c24", "paint": "#2b68da",
        "blue": "#2563eb", "violet": "#7c3aed", "orange": "#b94f08", "green": "#15803d",
        "pink": "#be1d6b", "teal": "#0b7a75", "gold": "#946200", "red": "#c53030",
    },
    "dark": {
        "bg": "#12151a", "panel": "#1a1f26", "ink": "#e8ebf0", "muted": "#96a1b0", "line": "#262d37",
        "strong": "#3d4755", "cursor": "#f4f6f9", "paint": "#7db2ff",
        "blue": "#6ea8fe", "violet": "#b79cf7", "orange": "#f7a35c", "green": "#66cf8f",
        "pink": "#f489b8", "teal": "#4fd0c4", "gold": "#e6c052", "red": "#f58a8a",
    },
}  # fmt: skip
"""Colours as #rrggbb. Text and curves have a contrast of at least 4.5:1 on bg."""

SECTION_HUES: Mapping[str, str] = {
    "motion": "blue", "camera": "violet", "diffusion": "orange", "seeds": "gold", "feedback": "green", "masks": "red",
    "sound": "pink", "video_input": "pink", "hybrid": "pink", "guided": "teal", "controlnet": "teal",
}  # fmt: skip
"""The colour of the curves of a section; others are blue."""

TINT: Mapping[Theme, float] = {"light": 0.16, "dark": 0.26}
"""Share of its colour in the ground of a band."""


def mix(color: str, ground: str, share: float) -> str:
    """Return a mixture of two colours #rrggbb; `share` is that of the first."""
    pairs = zip(bytes.fromhex(color[1:]), bytes.fromhex(ground[1:]), strict=True)
    return "#" + bytes(round(one * share + other * (1 - share)) for one, other in pairs).hex()


def stylesheet_variables() -> str:
    """Return the colours as CSS: those of the reader's choice of light or dark, or of the attribute data-theme."""

    def rules(theme: Theme) -> str:
        colors = THEMES[theme]
        tints = {f"{hue}-tint": mix(colors[hue], colors["bg"], TINT[theme]) for hue in HUES}
        return f"color-scheme:{theme};" + "".join(f"--{name}:{color};" for name, color in {**colors, **tints}.items())

    return (
        f".dp{{{rules('light')}}}\n"
        f"@media (prefers-color-scheme:dark){{.dp{{{rules('dark')}}}}}\n"
        f".dp[data-theme=light]{{{rules('light')}}}\n.dp[data-theme=dark]{{{rules('dark')}}}\n"
    )
