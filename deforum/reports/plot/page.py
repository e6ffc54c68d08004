"""Plots as a page for a browser: one file that needs nothing else, and allows itself no request."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from deforum.reports.plot.encoding import as_json
from deforum.reports.plot.theme import SECTION_HUES, Theme, stylesheet_variables
from deforum.reports.plot.timeline import Plot
from deforum.version import __version__
from schedules.quoting import cut

_ASSETS = Path(__file__).parent / "assets"
MARK = "<!doctype html>\n<!-- deforum plot -->"
"""The beginning of a page, by which a plot is known."""
_WHOLE_PAGE = (
    "html,body{margin:0;padding:0}.dp{min-height:100vh;padding:20px 28px 40px}"
    "@media (max-width:760px){.dp{padding:14px 14px 32px}}"
)


@cache
def stylesheet() -> str:
    """Return the CSS of plots. All its rules are within .dp, the class of the element that a plot is drawn in."""
    return stylesheet_variables() + (_ASSETS / "plot.css").read_text(encoding="utf-8")


SCRIPTS = ("numbers", "elements", "view", "lanes", "curves", "sound", "scale", "around", "gestures", "plot")
"""The files of the script, in order."""


@cache
def script() -> str:
    """Return the JavaScript that defines `drawPlot`, see assets/plot.js. It adds no other name to a page."""
    parts = "\n".join((_ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'.replace('"SECTION_HUES"', json.dumps(SECTION_HUES))


def embed(value: object) -> str:
    """Write a value as JSON that may stand within <script>, whatever texts are in it: ASCII without <, > and &."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write_page(plots: Sequence[Plot], theme: Theme | None = None) -> str:
    """Return the page of one plot, or of several laid over each other, in HTML.

    `theme`: light or dark, None as the reader's browser prefers. The page's own policy forbids every request and every
    script but its own.
    """
    begin = 'drawPlot(document.getElementById("plot"),JSON.parse(document.getElementById("data").textContent),'
    begin += '{keyboard:"page"});'
    code = script() + begin
    style = stylesheet() + _WHOLE_PAGE
    policy = "; ".join((
        "default-src 'none'", f"script-src '{_digest(code)}'", f"style-src '{_digest(style)}'", "img-src data:",
        "base-uri 'none'", "form-action 'none'",
    ))  # fmt: skip
    title = html.escape(cut(" | ".join(plot.title for plot in plots) or "plot"))
    chosen = f' data-theme="{theme}"' if theme else ""
    return f"""{MARK}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="deforum {__version__}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main id="plot" class="dp"{chosen}></main>
<noscript>This plot is drawn by a script within this file; the command values prints the same as a table.</noscript>
<script type="application/json" id="data">{embed([as_json(plot) for plot in plots])}</script>
<script>{code}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
