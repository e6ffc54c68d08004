"""Which frames are diffused where keyframes decide it, and how strongly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deforum.features.table import timeline_of
from deforum.settings.parseq import Managed
from deforum.settings.parseq.manifest import Manifest
from deforum.timeline.keyframes import distribute, keyframes_of
from tests.helpers import STILL, Make, settings_maker


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return settings_maker(tmp_path, STILL)


@pytest.mark.parametrize(
    ("distribution", "keyframes", "count", "cadence", "diffused"),
    [
        ("Off", (0, 7, 29), 30, 5, (0, 5, 10, 15, 20, 25)),
        ("Keyframes Only", (0, 7, 20, 29), 30, 5, (0, 7, 20, 29)),
        ("Keyframes Only", (0,), 1, 5, (0,)),
        # 1 + 30 // 5 frames, spread evenly from the first to the last: 0, 4, 9, 14, 19, 24, 29
        ("Additive", (0, 7, 20, 29), 30, 5, (0, 4, 7, 9, 14, 19, 20, 24, 29)),
        ("Additive", (0, 9), 10, 3, (0, 3, 6, 9)),
        ("Additive", (0, 4, 9), 10, 100, (0, 4, 9)),
        # 9 is nearer to 7 than 4 is by one
        ("Redistributed", (0, 7, 20, 29), 30, 5, (0, 4, 7, 14, 20, 24, 29)),
        ("Redistributed", (0, 1, 28, 29), 30, 5, (0, 1, 9, 14, 19, 28, 29)),
        ("Redistributed", (0, 9), 10, 3, (0, 3, 6, 9)),
        # gaps 7, 13, 9 with at least 2 between: 3 | 11, 15 | 24; one too many, so that the last is dropped
        ("Redistributed Cadence", (0, 7, 20, 29), 30, 5, (0, 3, 7, 11, 15, 20, 29)),
        # 11 frames wanted: 9 of 10 gaps at first, then the largest gap is halved until there are as many
        ("Redistributed Cadence", (0, 99), 100, 10, (0, 9, 19, 29, 39, 49, 59, 69, 79, 89, 99)),
        ("Redistributed Cadence", (0, 2, 4, 6, 8, 9), 10, 5, (0, 2, 4, 6, 8, 9)),
        ("Redistributed Cadence", (0, 9), 10, 3, (0, 3, 6, 9)),
        ("Redistributed Cadence", (0, 3, 6, 9), 10, 2, (0, 1, 3, 4, 6, 9)),
    ],
)
def test_diffused_frames(
    distribution: str, keyframes: tuple[int, ...], count: int, cadence: int, diffused: tuple[int, ...]
) -> None:
    assert distribute(distribution, keyframes, count, cadence) == diffused


@pytest.mark.parametrize("distribution", ["Keyframes Only", "Additive", "Redistributed Cadence"])
def test_all_keyframes_are_diffused_at_any_length(distribution: str) -> None:
    for count in (1, 2, 3, 7, 30, 101):
        for cadence in (1, 2, 5, 40):
            keyframes = tuple(sorted({0, count // 3, count // 2, count - 1}))
            diffused = distribute(distribution, keyframes, count, cadence)
            assert set(keyframes) <= set(diffused) <= set(range(count))
            assert list(diffused) == sorted(set(diffused))


@pytest.mark.parametrize(
    ("changes", "prompts", "parseq", "keyframes"),
    [
        ({}, (0, 12, 40), None, (0, 12, 40, 49)),
        ({}, (5, 12), None, (0, 12, 49)),
        ({}, (0, 60), None, (0, 49)),
        ({}, (0, 12), (3, 20, 30), (0, 20, 30, 49)),
        ({"profile": "deforum"}, (0, 12, 40), None, (0, 11, 39, 49)),
        ({"profile": "deforum"}, (0, 12, 50), None, (0, 11, 49)),
        ({"profile": "deforum"}, (0, 12), (0, 20), (0, 20, 49)),
        ({"profile": "deforum", "keyframe_distribution": "Redistributed Cadence"}, (0, 12), None, (0, 12, 49)),
        ({"profile": "deforum", "keyframe_numbering": "from 0"}, (0, 12), None, (0, 12, 49)),
        ({"keyframe_numbering": "from 1"}, (0, 12), None, (0, 11, 49)),
    ],
)
def test_keyframes_of_prompts_and_parseq(
    make: Make, changes: dict[str, str], prompts: tuple[int, ...], parseq: tuple[int, ...] | None,
    keyframes: tuple[int, ...],
) -> None:  # fmt: skip
    settings = make(max_frames=50, **{"keyframe_distribution": "Additive", **changes})
    if parseq is not None:
        settings = replace(settings, parseq=Managed(MANIFEST, frozenset(), parseq))
    assert keyframes_of(settings, prompts) == keyframes


MANIFEST = Manifest(10, {}, {})

KEYED: dict[str, object] = {
    "max_frames": 10, "cadence": 3, "strength": 0.7, "keyframe_strength": 0.2, "prompts": {0: "a", 5: "b"},
    "keyframe_distribution": "Additive",
}  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "strengths"),
    [
        # diffused: 0, 3, 5, 6, 9
        ("corrected", {3: 0.7, 5: 0.2, 6: 0.7, 9: 0.2}),
        # The fork takes the one for the other, and the prompt at 5 for one at 4.
        ("deforum", {3: 0.2, 4: 0.7, 6: 0.2, 9: 0.7}),
    ],
)
def test_strength_of_keyframes(make: Make, profile: str, strengths: dict[int, float]) -> None:
    timeline = timeline_of(make(**KEYED, profile=profile))
    assert {key: timeline[key].params.strength for key in timeline.keys if key} == strengths


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_in_betweens_lead_to_each_diffused_frame(make: Make, profile: str) -> None:
    timeline = timeline_of(make(**KEYED, profile=profile, keyframe_numbering="from 0"))
    spans = [(span.key.index, [frame.index for frame in span.frames], span.fades) for span in timeline.spans()]
    assert spans == [
        (0, [0], (1,)),
        (3, [1, 2, 3], (1 / 3, 2 / 3, 1)),
        (5, [4, 5], (1 / 2, 1)),
        (6, [6], (1,)),
        (9, [7, 8, 9], (1 / 3, 2 / 3, 1)),
    ]
    # One step of the seed for each diffused frame.
    assert [timeline[key].seed for key in timeline.keys] == [5, 6, 7, 8, 9]
    assert [frame.turn for frame in timeline] == [0, 0, 0, 1, 1, 2, 3, 3, 3, 4]


@pytest.mark.parametrize(
    ("profile", "managed", "strength"),
    [("corrected", "strength", 0.7), ("corrected", "zoom", 0.2), ("deforum", "zoom", 0.7)],
)
def test_strength_of_a_parseq_manifest(make: Make, profile: str, managed: str, strength: float) -> None:
    settings = replace(make(**KEYED, profile=profile), parseq=Managed(MANIFEST, frozenset([managed]), (0, 4)))
    timeline = timeline_of(settings)
    assert timeline.keys == (0, 3, 4, 6, 9)
    assert timeline[4].params.strength == strength
