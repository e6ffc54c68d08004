"""Loops and end pictures, painted by the embedded model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.state import State, pack_state
from deforum.build import Animation, build
from deforum.models.kept import KeptModels
from deforum.pixels.image import Image
from tests.helpers import Make, settings_maker

FILM: dict[str, object] = {
    "width": 64, "height": 64, "steps": 8, "strength": 0.55, "cfg_scale": 4, "seed": 7, "max_frames": 12, "fps": 4,
    "cadence": 2, "translation_z": 3, "angle": 0.5, "prompts": "{0: the sea at sunset, 6: snowy mountains}",
}  # fmt: skip
MODELS = KeptModels()
LOOP = {"loop": "true", "ending_frames": 8}
WAYS = [
    {"zoom": 1.03, "cadence": 1},
    {"zoom": 1.03, "cadence": 3},
    {"zoom": "1+0.02*sin(2*pi*t/12)", "translation_x": 2, "prompt_blend": "linear"},
    {"zoom": 0.98, "seed_behavior": "fixed"},
    {"animation_mode": "3D", "rotation_3d_y": 0.5},
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return settings_maker(tmp_path, FILM)


def states_of(animation: Animation, start: State | None = None) -> list[State]:
    return list(animation.states(start))


def step(before: Image, after: Image) -> float:
    return float((before - after).abs().mean())


@pytest.mark.parametrize(
    "changes", [WAYS[0], *(pytest.param(way, marks=pytest.mark.long) for way in WAYS[1:4]), WAYS[4]], ids=str
)
def test_the_last_frame_leads_to_the_first(make: Make, changes: dict[str, object]) -> None:
    shown = [state.shown for state in states_of(build(make(**LOOP, **changes), MODELS))]
    assert len(shown) == 12
    steps = [step(before, after) for before, after in zip(shown, (*shown[1:], shown[0]), strict=True)]
    assert steps[-1] <= 1.2 * np.median(steps[:-1])
    assert max(step(image, shown[0]) for image in shown) > 2 * np.median(steps)  # it was elsewhere


@pytest.mark.parametrize(("changes", "stops"), [(WAYS[1], (0, 4, 10)), (WAYS[4], (8, 10))], ids=str)
def test_a_loop_is_resumed_bit_for_bit(make: Make, changes: dict[str, object], stops: tuple[int, ...]) -> None:
    settings = make(**LOOP, **changes)
    animation = build(settings, MODELS)
    whole = states_of(animation)
    for at in stops:
        again = build(settings, MODELS)
        rest = states_of(again, again.unpack_state(pack_state(whole[at])))
        assert [state.frame.index for state in rest] == list(range(at + 1, 12))
        assert all(torch.equal(a.shown, b.shown) for a, b in zip(whole[at + 1 :], rest, strict=True))


@pytest.mark.parametrize(("strength", "farthest"), [(1, 0.01), (0.8, 0.06)])
def test_the_last_frame_is_the_end_picture(make: Make, tmp_path: Path, strength: float, farthest: float) -> None:
    y, x = np.mgrid[:64, :64]
    picture = np.stack((x * 3, y * 3, 255 - x), 2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "end.png"), picture)
    settings = make(
        end_image="end.png", end_strength=strength, zoom=1.03, ending_frames=8, cadence=4, max_frames=14,
    )  # fmt: skip
    shown = [state.shown for state in states_of(build(settings, MODELS))]
    end = torch.from_numpy(picture[..., ::-1] / 255).permute(2, 0, 1)
    distances = [step(image, end) for image in shown]
    assert distances[-1] < farthest
    assert distances[-1] < distances[-4] < distances[4]
