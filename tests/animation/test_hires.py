"""High-resolution fix: two passes, the first one smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from deforum.animation.hires import HiresPainter
from deforum.animation.sizes import first_size
from deforum.diffusion.pixel_strength import Paint
from deforum.timeline.frame import Frame, PromptRegion
from deforum.timeline.prompts import Prompt
from tests.helpers import params_of
from tests.output.runs import frame as any_frame


def frame_of(index: int = 0, **numbers: float) -> Frame:
    usual = {"strength": 0.6, "steps": 20.0, "hires_scale": 2.0, "hires_strength": 0.5}
    return replace(any_frame(index), params=params_of(**(usual | numbers)))


class Passes:
    """A painter that notes what it is asked for, and paints a brightness that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self, inits: Sequence[Any], frames: Sequence[Frame], *, width: int, height: int, paints: Any = None
    ) -> list[torch.Tensor]:
        self.calls.append({"size": (width, height), "inits": inits, "frames": frames, "paints": paints})
        return [torch.full((3, height, width), len(self.calls) / 10) for _ in frames]


@pytest.mark.parametrize(
    ("scale", "size", "first"),
    [
        (0, (512, 512), None),
        (1, (512, 512), None),
        (2, (512, 512), (256, 256)),
        (1.5, (768, 512), (512, 344)),
        (8, (512, 256), (64, 64)),
        (2, (64, 64), None),
        (1.001, (512, 512), None),
    ],
)
def test_the_size_of_the_first_pass(scale: float, size: tuple[int, int], first: tuple[int, int] | None) -> None:
    assert first_size(scale, *size) == first


def test_a_frame_is_painted_small_and_again() -> None:
    passes = Passes()
    init, region = torch.rand(3, 128, 128), PromptRegion(Prompt("a cat"), torch.ones(128, 128))
    frames = [frame_of(0), replace(frame_of(1, hires_steps=8.0), regions=(region,)), frame_of(2, hires_scale=0.0)]
    pictures = HiresPainter(passes, 128, 128)([None, init, init], frames)
    assert [call["size"] for call in passes.calls] == [(64, 64), (128, 128), (128, 128)]
    first, second, once = passes.calls
    assert first["inits"][0] is None and first["inits"][1].shape == (3, 64, 64)
    assert first["frames"][1].regions[0].mask.shape == (64, 64)
    assert [p.params.strength for p in first["frames"]] == [0.6, 0.6]
    assert [(p.params.strength, p.params.steps) for p in second["frames"]] == [(0.5, 20.0), (0.5, 8.0)]
    assert second["frames"][1].regions[0].mask.shape == (128, 128)
    assert second["frames"][0].seed != first["frames"][0].seed
    assert all(torch.allclose(start, torch.full((3, 128, 128), 0.1)) for start in second["inits"])
    assert once["frames"] == (frames[2],)
    assert [float(picture.mean()) for picture in pictures] == pytest.approx([0.2, 0.2, 0.3])


def test_what_a_mask_keeps_stays_as_it_is() -> None:
    passes = Passes()
    init = torch.rand(3, 128, 128)
    mask = (torch.arange(128) < 64).float().expand(128, 128)
    HiresPainter(passes, 128, 128)([init], [frame_of()], paints=[Paint(1 - mask * 0.4)])
    first, second = (call["paints"][0].strength for call in passes.calls)
    assert (
        first.shape == (64, 64) and float(first[:, :32].max()) == pytest.approx(0.6) and float(first[:, 32:].min()) == 1
    )
    assert torch.allclose(second, 1 - mask * 0.5)
    start = passes.calls[1]["inits"][0]
    assert torch.equal(start[:, :, 64:], init[:, :, 64:]) and torch.allclose(start[:, :, :64], torch.tensor(0.1))
