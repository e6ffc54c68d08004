"""Frames in spans from one diffused picture to the next."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from deforum.features.table import timeline_of as sample
from deforum.loading import load
from deforum.timeline import timeline as sampling
from tests.helpers import STILL, Make, settings_maker


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    return settings_maker(tmp_path, STILL)


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_every_frame_comes_out_once_and_in_order(settings: Make, profile: str) -> None:
    for count in (1, 2, 3, 5, 11, 12, 13, 24, 25, 50):
        for cadence in (1, 2, 3, 4, 7, 12):
            timeline = sample(settings(max_frames=count, cadence=cadence, profile=profile))
            spans = list(timeline.spans())
            assert [frame.index for span in spans for frame in span.frames] == list(range(count))
            painted = [span for span in spans if span.paints]
            assert [span.key.index for span in painted] == list(range(0, count, cadence))
            assert all(len(span.fades) == len(span.frames) for span in spans)
            # What is left after the last whole span is moved on; Deforum blends a picture of its own in.
            rest = [frame.index for span in spans if not span.paints for frame in span.frames]
            assert rest == (list(range(painted[-1].key.index + 1, count)) if timeline.on_time else [])
            if timeline.on_time:
                assert all(span.fades[-1] == 1 for span in painted)


@pytest.mark.parametrize(
    ("changes", "empty", "strength"),
    [
        ({}, False, 0.3),
        ({"strength_0_no_init": "false"}, True, 0.8),
        ({"strength_0_no_init": "false", "init_strength": "0.4"}, True, 0.4),
        ({"strength_0_no_init": "false", "animation_mode": "Interpolation"}, False, 0.3),
    ],
)
def test_a_first_frame_without_an_init_image(
    settings: Make, changes: dict[str, str], empty: bool, strength: float
) -> None:
    chosen = settings(max_frames=3, strength=0.3, **changes)
    frames = list(sampling.sample(chosen, starts_from_picture=False))
    assert [frame.starts_empty for frame in frames] == [empty, False, False]
    assert [frame.params.strength for frame in frames] == [strength, 0.3, 0.3]
    assert not sampling.sample(chosen, starts_from_picture=True)[0].starts_empty


@pytest.mark.parametrize("ending", [{}, {"loop": True}])
def test_frames_that_were_asked_for_are_not_kept(ending: dict[str, object]) -> None:
    timeline = sample(load({"prompts": {"0": "a"}, "animation_mode": "3D", "max_frames": 200, **ending}).settings)
    tracemalloc.start()
    try:
        for frame in timeline:
            if frame.index == 40:  # what is made once is made
                early = tracemalloc.get_traced_memory()[0]
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late - early < 120 * 1024  # 160 frames have 550 KB
