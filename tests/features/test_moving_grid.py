"""The moving grid of latents: when it moves, where to, what the model is told, and that motion comes through."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from deforum.animation.painter import each
from deforum.build import build
from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser, _placed
from deforum.diffusion.noise import noise_at
from deforum.diffusion.pixel_strength import Paint
from deforum.features.moving_grid import grid_of
from deforum.features.table import switched_on
from deforum.features.table import timeline_of as sample
from deforum.motion.noise_map import NoiseMap
from deforum.pixels.image import Image, to_bytes
from deforum.settings.options import Settings
from deforum.timeline.control import Control
from deforum.timeline.frame import Frame
from deforum.timeline.image_tracks import INIT, ReferenceWord
from tests.diffusion.tiny import build as build_tiny
from tests.diffusion.tiny import picture
from tests.helpers import STILL, Make, assembled, settings_maker
from training.stability import growth

SIZE = 64


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    small = {"width": SIZE, "height": SIZE, "cadence": 1, "max_frames": 4, "translation_z": 0}
    return settings_maker(tmp_path, STILL | small)


@dataclass
class Log:
    """Paints what it is given, and remembers the frames that it was told."""

    frames: list[Frame] = field(default_factory=list)

    def __call__(self, init: Image | None, frame: Frame) -> Image:
        self.frames.append(frame)
        return torch.full((3, SIZE, SIZE), 0.5) if init is None else init


def grids(settings: Settings) -> list[tuple[int, int]]:
    log = Log()
    for _ in assembled(settings, each(log)).frames():
        pass
    return [frame.grid for frame in log.frames]


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"zoom": 1.02}, True),
        ({"translation_x": 1}, True),
        ({"angle": "'0: (0), 3: (1)'"}, True),
        ({"animation_mode": "3D", "depth_algorithm": "none", "translation_z": 2}, True),
        ({"animation_mode": "3D", "depth_algorithm": "none", "rotation_3d_y": 1}, True),
        ({"animation_mode": "3D", "depth_algorithm": "none", "zoom": 1.02}, False),  # which does not act in 3D
        ({}, False),
        ({"translation_z": 2}, False),  # nor this in 2D
        ({"zoom": 1.02, "latent_grid": "fixed"}, False),
        ({"zoom": 1.02, "profile": "deforum"}, False),
        ({"zoom": 1.02, "profile": "deforum", "latent_grid": "moving"}, True),
        ({"zoom": 1.02, "animation_mode": "Interpolation", "latent_grid": "moving"}, False),
    ],
)
def test_when_it_moves(settings: Make, changes: dict[str, object], moves: bool) -> None:
    first, *others = grids(settings(**changes))
    assert first == (0, 0)
    assert any(grid != (0, 0) for grid in others) == moves


@pytest.mark.parametrize(("model", "grid", "on"), [
    ("embedded", "auto", True), ("runwayml/model", "auto", False), ("runwayml/model", "moving", True),
])  # fmt: skip
def test_by_itself_only_with_the_embedded_model(model: str, grid: str, on: bool) -> None:
    chosen = replace(Settings(), model=model, latent_grid=grid, animation_mode="2D")  # type: ignore[arg-type]
    assert any(feature.name == "moving grid" for feature in switched_on(chosen)) == on


@pytest.mark.parametrize("cell", [8, 16])
def test_all_places_in_a_cell_are_visited_once(cell: int) -> None:
    visited = [grid_of(k, cell) for k in range(1, 17)]
    assert sorted(visited) == sorted(itertools.product(range(0, cell, cell // 4), repeat=2))
    assert [grid_of(k + 16, cell) for k in range(16)] == [grid_of(k, cell) for k in range(16)]


@pytest.mark.parametrize("pull", [0.2, 0.4, 0.6])
def test_what_the_grid_attracts_is_led_nowhere(pull: float) -> None:
    """Edges anywhere in a cell, drawn to the grid by a share of the way in each frame, stay where they are for long."""
    places = np.stack(np.meshgrid(np.arange(16.0), np.arange(16.0))).reshape(2, -1)
    first = places.copy()
    for k in range(1, 401):
        way = np.array(grid_of(k, 16))[:, None] - places
        places += pull * 16 / (2 * np.pi) * np.sin(2 * np.pi * way / 16)
    assert np.abs(places - first).max() < 4  # px, in 400 frames
    assert np.abs((places - first).mean(1)).max() < 0.2


def test_noise_that_moves_stays_where_it_is_in_the_picture() -> None:
    noise_map = NoiseMap.of(SIZE, SIZE, 16)
    here = noise_at(noise_map, 3, 0, (4, 4, 4), 16)
    larger = noise_map.within(0, 0, SIZE + 16, SIZE + 16)
    assert len(np.unique(larger.numbers)) == larger.numbers.size
    assert np.array_equal(noise_at(larger, 3, 0, (4, 5, 5), 16)[:, :4, :4], here)
    # By a whole cell the noise is the same one cell on; by a quarter the cells share three quarters of their places.
    assert np.array_equal(noise_at(noise_map.within(16, 16, 80, 80), 3, 0, (4, 5, 5), 16)[:, 1:, 1:], here)
    quarter = noise_at(noise_map.within(4, 0, 80, 80), 3, 0, (64, 5, 5), 16)[:, :4, 1:4]
    alike = float((quarter * noise_at(noise_map, 3, 0, (64, 4, 4), 16)[:, :, 1:]).mean())
    assert alike == pytest.approx(0.75, abs=0.1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Diffuser:
    folder = build_tiny("sd1").save_folder(tmp_path_factory.mktemp("models") / "sd1")
    return load_diffuser(
        resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True, sees_references=True
    )


def test_a_frame_on_another_grid_is_part_of_a_larger_one(tiny: Diffuser, settings: Make) -> None:
    cell = tiny.factor
    frame = replace(sample(settings(steps=4))[1], grid=(1, 0), noise_map=NoiseMap.of(32, 48, cell))
    init = picture(32, 48)
    shown = tiny(init, frame, width=32, height=48)
    assert shown.shape == init.shape
    assert torch.equal(shown, tiny(init, frame, width=32, height=48))
    around = torch.nn.functional.pad(init[None], (1, cell - 1, 0, cell), mode="reflect")[0]
    assert frame.noise_map is not None
    larger = replace(frame, grid=(0, 0), noise_map=frame.noise_map.within(1, 0, 32 + cell, 48 + cell))
    whole = tiny(around, larger, width=32 + cell, height=48 + cell)
    assert torch.equal(shown, whole[:, :48, 1:33])
    # Frames of one grid form one batch, beside others.
    plain = replace(frame, grid=(0, 0))
    three = tiny.diffuse_batch([init] * 3, [frame, frame, plain], width=32, height=48)
    alone = shown, shown, tiny(init, plain, width=32, height=48)
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(three, alone, strict=True))
    three[0].add_(1)  # an ordinary tensor
    # What is kept whole stays what it was, wherever the grid is.
    kept = tiny(init, frame, width=32, height=48, paint=Paint(torch.ones(48, 32)))
    assert torch.equal(kept, init)


def test_control_pictures_lie_as_the_picture_does(settings: Make) -> None:
    init = picture(32, 48)
    control = Control(unit=None, picture=init, weight=1, start=0, end=1, mask=init[0])
    frame = replace(sample(settings())[1], grid=(1, 0), controls=(control,))
    larger, placed, _ = _placed(init, frame, None, (1, 1, 0, 2), (34, 50))
    assert larger is not None and placed.grid == (0, 0) and larger.shape == (3, 50, 34)
    [moved] = placed.controls
    assert torch.equal(moved.picture, larger)
    assert moved.mask is not None and torch.equal(moved.mask, larger[0])


@pytest.mark.parametrize("shows_init", [True, False])
def test_a_reference_lies_as_the_picture_does(tiny: Diffuser, settings: Make, shows_init: bool, tmp_path: Path) -> None:
    cell, init, path = tiny.factor, picture(32, 48), tmp_path / "a.png"
    around = (1, cell - 1, 0, cell)
    shown = to_bytes(1 - init)
    Pillow.fromarray(shown).save(path)
    word = ReferenceWord(INIT if shows_init else str(path), 1.0, 0.5)
    noise = NoiseMap.of(32, 48, cell)
    frame = replace(sample(settings(steps=4))[1], grid=(1, 0), noise_map=noise, reference=word)
    made = tiny(init, frame, width=32, height=48)
    mirrored = np.pad(shown, ((0, cell), (1, cell - 1), (0, 0)), mode="reflect")
    Pillow.fromarray(mirrored).save(path)
    whole = tiny(
        torch.nn.functional.pad(init[None], around, mode="reflect")[0],
        replace(frame, grid=(0, 0), noise_map=noise.within(1, 0, 32 + cell, 48 + cell)),
        width=32 + cell, height=48 + cell,
    )  # fmt: skip
    assert (made - whole[:, :48, 1:33]).abs().max() < 1e-5
    assert (made - tiny(init, replace(frame, reference=None), width=32, height=48)).abs().max() > 1e-5


@pytest.mark.long
@pytest.mark.parametrize(
    "seeds", [{"seed_behavior": "iter"}, {"seed_behavior": "fixed", "noise_follows_camera": "true"}]
)
def test_motion_comes_through(settings: Make, seeds: dict[str, object]) -> None:
    """The embedded model, on a grid that is nailed to the screen and on one that is not."""

    def grows(grid: str) -> float:
        chosen = settings(
            width=192, height=192, max_frames=24, zoom=1.02, strength=0.6, steps=6, cfg_scale=4, latent_grid=grid,
            prompts={0: "snowy mountains with a calm lake, on a clear day"}, **seeds,
        )  # fmt: skip
        shown = [to_bytes(image) for _, image in build(chosen).frames()]
        return float(np.mean([growth(*pair) for pair in itertools.pairwise(shown)]))

    assert grows("moving") > 1.5 * grows("fixed")
