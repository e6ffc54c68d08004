"""Tiled diffusion: windows cover a frame, fade into each other, and each sees its own part of what conditions it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from deforum.build import build, prepare
from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.controlnet import Acting
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.model import Conditioning, Denoise
from deforum.diffusion.training_limits import window_of
from deforum.diffusion.windows import boxes_of, in_windows, side_of
from deforum.errors import UserError
from deforum.loading import load
from deforum.timeline.control import Control
from tests.diffusion.tiny import frame, picture

SMALL = {"max_frames": 1, "seed": 1, "width": 256, "height": 128, "steps": 2, "device": "cpu", "finish": "none"}


@pytest.mark.parametrize(
    ("rows", "columns", "side", "count"),
    [(16, 16, 16, 1), (17, 16, 16, 1), (18, 16, 16, 2), (16, 28, 16, 2), (32, 32, 16, 9), (8, 64, 16, 5), (5, 7, 8, 1)],
)
def test_windows_cover_the_latents(rows: int, columns: int, side: int, count: int) -> None:
    boxes = boxes_of(rows, columns, side)
    covered = torch.zeros(rows, columns)
    for box in boxes:
        covered[box.place] += 1
        assert 0 <= box.top < box.bottom <= rows and 0 <= box.left < box.right <= columns
    assert len(boxes) == count and covered.min() == 1


@pytest.mark.parametrize(("window", "factor", "side"), [(512, 8, 64), (500, 8, 56), (10, 8, 8), (256, 16, 16)])
def test_sides_are_multiples_of_8_cells(window: int, factor: int, side: int) -> None:
    assert side_of(window, factor) == side


def plain(frames: int = 1, **given: Any) -> list[Conditioning]:
    return [replace(Conditioning((), 1.0), **given) for _ in range(frames)]


def test_what_each_cell_decides_alone_is_as_without_windows() -> None:
    x = torch.randn(2, 4, 20, 44, generator=torch.Generator().manual_seed(0))

    def make(frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        return lambda x, sigma: torch.stack([x * sigma, x + 1])

    made = in_windows(make, plain(2), 44 * 8, 20 * 8, window=128, factor=8)(x, 3.0)
    assert torch.allclose(made, torch.stack([x * 3, x + 1]), atol=1e-5)


def test_windows_fade_into_each_other() -> None:
    """Windows that say 0 and 1 join without a step."""
    says = iter((0.0, 1.0))

    def make(frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        value = next(says)
        return lambda x, sigma: torch.full_like(x, value)

    made = in_windows(make, plain(), 24 * 8, 16 * 8, window=128, factor=8)(torch.zeros(1, 1, 16, 24), 1.0)[0, 0, 0]
    assert made[0] == 0 and made[-1] == 1
    assert (made.diff() >= 0).all() and made.diff().max() <= 0.3


def test_a_window_sees_its_part_of_masks_and_control_pictures() -> None:
    columns = torch.arange(24.0).expand(16, 24)
    shown = columns.repeat_interleave(8, 0).repeat_interleave(8, 1)[:, :-3]  # a width that is no multiple of a cell
    control = Acting(Control(None, shown.expand(3, -1, -1), 1.0, 0.0, 1.0, mask=shown), 0.0, 1.0)
    seen: list[tuple[Conditioning, int, int]] = []

    def make(frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
        seen.append((frames[0], width, height))
        return lambda x, sigma: x

    in_windows(make, plain(regions=((columns, ()),), controls=(control,)), 24 * 8, 16 * 8, window=128, factor=8)
    assert [(width, height) for _, width, height in seen] == [(128, 128), (128, 128)]
    for (own, _, _), left in zip(seen, (0, 8), strict=True):
        [(mask, _)], [control] = own.regions, own.controls
        expected = torch.arange(left, left + 16.0).expand(16, 16)
        assert torch.equal(mask, expected)
        whole = expected.repeat_interleave(8, 0).repeat_interleave(8, 1)
        assert control.control.mask is not None
        assert torch.equal(control.control.picture[0], whole) and torch.equal(control.control.mask, whole)


def embedded(window: int) -> Diffuser:
    return load_diffuser(
        resolve_model("embedded"), device="cpu", precision="fp32", exact_step_count=True, window=window
    )


@pytest.mark.parametrize("sampler", ["Euler", "Euler CFG++"])
def test_the_network_is_called_for_each_window(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window as large as the picture changes nothing, bit for bit; smaller ones are evaluated one by one."""
    calls: list[tuple[int, int]] = []
    cells: list[tuple[int, ...]] = []

    def paint(window: int) -> torch.Tensor:
        diffuser = embedded(window)
        kind = type(diffuser._model)
        own = kind.denoiser

        def denoiser(self: Any, frames: Any, width: int, height: int) -> Denoise:
            calls.append((width, height))
            predict = own(self, frames, width, height)

            def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
                cells.append(tuple(x.shape[2:]))
                return predict(x, sigma)

            return denoise

        calls.clear()
        cells.clear()
        with monkeypatch.context() as patch:
            patch.setattr(kind, "denoiser", denoiser)
            return diffuser(picture(256, 128), frame(sampler=sampler, steps=4.0, strength=0.5), width=256, height=128)

    whole = paint(0)
    evaluations = len(cells)
    assert calls == [(256, 128)] and evaluations == 2
    assert torch.equal(paint(256), whole) and calls == [(256, 128)]
    tiled = paint(128)
    assert len(calls) > 1 and set(calls) == {(128, 128)}
    assert len(cells) == evaluations * len(calls) and len(set(cells)) == 1
    assert tiled.shape == whole.shape and 1e-4 < (tiled - whole).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("word", "window"), [("none", 0), ("", 0), ("False", 0), ("auto", 768), ("512", 512), (" 96 ", 96)]
)
def test_words(word: str, window: int) -> None:
    assert window_of(word, (768, 512)) == window


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a word": ({"tiled_diffusion": "big"}, "tiled_diffusion: 'big' is no window"),
    "too small": ({"tiled_diffusion": 8}, "expected none, auto, or the side"),
    "a reference": ({"tiled_diffusion": 128, "reference": [{"picture": "init"}]}, "does not go with reference"),
    "seamless": ({"tiled_diffusion": 128, "tiling": "x"}, "does not go with tiling x"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_found_before_a_frame(case: str) -> None:
    given, says = FAULTS[case]
    with pytest.raises(UserError, match=says):
        prepare(load(SMALL | given).settings)
    whole = {"tiled_diffusion": 256} if isinstance(given["tiled_diffusion"], int) else {"tiled_diffusion": "none"}
    prepare(load(SMALL | given | whole).settings)  # nothing is split


def test_the_setting_reaches_the_model() -> None:
    def frame_of(**given: Any) -> torch.Tensor:
        [(_, shown)] = build(prepare(load(SMALL | given).settings)).frames()
        return shown

    assert not torch.equal(frame_of(tiled_diffusion=128), frame_of())
