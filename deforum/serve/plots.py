"""The timeline of a run, or of settings as they are typed, to be drawn by the page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from deforum.cli.files import name_of
from deforum.errors import UserError
from deforum.loading import load_text
from deforum.paths import only_in
from deforum.reports.plot.encoding import Json, as_json
from deforum.reports.plot.soundtrack import soundtrack_of
from deforum.reports.plot.timeline import plot_of
from deforum.reports.tabulate import look
from deforum.serve.checking import Rules
from deforum.serve.runs import RunView
from deforum.serve.views import settings_of
from deforum.settings.options import Settings


def plot_of_run(view: RunView) -> Json:
    """Return the plot of a run as `reports.plot.encoding` writes it. Raises UserError."""
    settings = settings_of(view)
    if settings is None:
        raise UserError(f"{view.name}: its settings cannot be read by this version")
    return _plot(settings, view.name)


def plot_of_text(text: str, name: str, overrides: Sequence[str], rules: Rules) -> Json:
    """Return the plot of settings. Raises UserError."""
    with only_in(rules.folders):
        settings = load_text(text, overrides, name=name, to_render=rules.folders is not None).settings
    return _plot(settings, name_of(Path(name)))


@lru_cache(maxsize=4)
def _plot(settings: Settings, title: str) -> Json:
    timeline, sound = look(settings), soundtrack_of(settings)
    return as_json(plot_of(settings, timeline, title=title, is_seed_drawn=settings.seed < 0, sound=sound))
