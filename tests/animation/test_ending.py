"""The end of a film, painted by the embedded model: what is left after the last whole span is moved on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deforum.animation.state import State
from deforum.build import build
from deforum.features.table import timeline_of
from deforum.models.kept import KeptModels
from deforum.settings.options import Settings
from tests.helpers import settings_maker

FILM: dict[str, object] = {
    "width": 128, "height": 128, "steps": 8, "strength": 0.55, "cfg_scale": 4, "zoom": 1.015, "angle": 0.4, "seed": 7,
    "prompts": {0: "the sea at sunset with a glowing sun"},
}  # fmt: skip
PAINTED = 6
MODELS = KeptModels()


def states_of(settings: Settings, start: State | None = None) -> list[State]:
    animation = build(settings, MODELS)
    return list(animation.stages.pace(animation.stages, timeline_of(settings).spans(), start))


@pytest.mark.parametrize("cadence", [2, 3, 5])
def test_a_film_does_not_jump_at_its_end(tmp_path: Path, cadence: int) -> None:
    make = settings_maker(tmp_path, {**FILM, "cadence": cadence})
    last = (PAINTED - 1) * cadence
    whole = states_of(make(max_frames=last + 1))
    for left in range(1, cadence):
        # Resumed from the last painted frame: the frames before are those of the whole film.
        rest = states_of(make(max_frames=last + 1 + left), whole[-1])
        assert [state.frame.index for state in rest] == list(range(last + 1, last + 1 + left))
        shown = [state.shown for state in (*whole, *rest)]
        steps = [float((b - a).abs().mean()) for a, b in pairwise(shown)]
        assert max(steps[-left:]) <= 1.3 * np.median(steps)
        assert min(steps[-left:]) > 0.001  # and it does not stand still
