"""The gain of the motion: that as much is seen as is set, under painters that follow a share of what they are given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.depth_camera import keeping_depth
from deforum.animation.gain import LEAST, MOST, USUAL, Gain, GainCamera, enlarged, with_gain
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Diffuse, Memory, Moment
from deforum.animation.stages import Stages
from deforum.animation.state import State
from deforum.features.moving_noise import NoiseCamera, with_moving_noise
from deforum.features.table import timeline_of as sample
from deforum.motion.flat import FlatWarp
from deforum.motion.noise_map import NoiseMap
from deforum.pixels.image import CPU, Image, from_array
from deforum.settings.options import Settings
from deforum.timeline.ending import SETTLES
from tests.helpers import STILL, Make, SameDepth, params_of, settings_maker
from tests.helpers.pictures import texture

SIZE = 96


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    usual = {"width": SIZE, "height": SIZE, "cadence": 1, "strength": 0.6, "max_frames": 40}
    return settings_maker(tmp_path, STILL | usual)


@dataclass
class Holding:
    """Paints a world of which it moves a share of the shift by which its pictures are moved."""

    share: float
    at: list[float] = field(default_factory=lambda: [0.0])
    """Where the world was in each painted frame, px to the right."""

    def __call__(self, inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        [moment] = moments
        if moment.warp is not None:
            assert isinstance(moment.warp, FlatWarp)
            self.at.append(self.at[-1] + self.share * moment.warp.matrix[0, 2])
        return [self.drawn(self.at[-1])]

    def drawn(self, at: float) -> Image:
        matrix = np.array([[1, 0, at - 2 * SIZE], [0, 1, 0]], np.float32)
        pixels = cv2.warpAffine(WORLD, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
        return from_array(np.asarray(pixels, np.float32))


WORLD = texture(3, 4 * SIZE, SIZE, softness=3).permute(1, 2, 0).numpy()


def painted_by(paint: Diffuse, settings: Settings) -> Stages:
    stages = with_gain(stages_of(settings, each(lambda init, frame: torch.zeros(3, SIZE, SIZE)), CPU), CPU)
    return replace(stages, around=[lambda diffuse: paint])


def gain_of(state: State) -> Gain:
    camera = state.camera.within(GainCamera)
    assert camera is not None
    return camera.gain


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize(
    ("share", "gain"), [(1.25, 0.8), (1, 1), (0.8, 1.25), (0.6, 1 / 0.6), (0.35, 1 / 0.35), (0.2, MOST), (2, LEAST)]
)
def test_as_much_is_seen_as_is_set(share: float, gain: float, step: float, settings: Make) -> None:
    chosen, painter = settings(translation_x=step), Holding(share)
    *_, last = painted_by(painter, chosen).pace(painted_by(painter, chosen), sample(chosen).spans(), None)
    assert gain_of(last).factor == pytest.approx(gain, rel=0.02)
    assert (painter.at[-1] - painter.at[-11]) / 10 == pytest.approx(gain * share * step, rel=0.02)


def test_frames_between_go_as_set(settings: Make) -> None:
    """Painted frames are further than the last one moved as set, by what is painted back; those between follow."""
    chosen, painter = settings(translation_x=1, cadence=3, max_frames=61), Holding(0.6)
    shown: list[tuple[float, Image]] = []

    def note(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
        if moment.warp is not None and moment.step is not None:
            assert isinstance(moment.step, FlatWarp) and moment.step.matrix[0, 2] == pytest.approx(1)
            assert isinstance(moment.warp, FlatWarp)
            shown.append((moment.warp.matrix[0, 2], image))
        return image, trails

    stages = replace(painted_by(painter, chosen), show=[note])
    list(stages.pace(stages, sample(chosen).spans(), None))
    assert [way for way, _ in shown] == pytest.approx([1, 2, 3] * 20)
    for j, (_, image) in enumerate(shown[-6:], 1):
        expected = painter.drawn(painter.at[-3] + j)
        assert (image - expected)[:, 8:-8, 16:-16].abs().mean() < 0.01, j


@dataclass
class Flickering:
    """Paints pictures that have nothing in common, or nothing to see."""

    softness: float
    contrast: float
    painted: int = 0

    def __call__(self, inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        self.painted += 1
        return [0.5 + self.contrast * (texture(self.painted, SIZE, SIZE, self.softness) - 0.5)]


@pytest.mark.parametrize("contrast", [1, 0.002, 0])
def test_it_rests_where_there_is_nothing_to_follow(contrast: float, settings: Make) -> None:
    chosen = settings(translation_x=1, max_frames=24)
    stages = painted_by(Flickering(3, contrast), chosen)
    factors = [gain_of(state).factor for state in stages.pace(stages, sample(chosen).spans(), None)]
    assert factors == pytest.approx([1 / USUAL[0]] * 24, rel=0.05)


def test_a_still_camera_stays(settings: Make) -> None:
    stages = painted_by(Holding(1), settings())
    timeline = sample(settings(strength={0: 0.6, 3: 1}, translation_x={0: 0, 1: 0, 2: 1}, translation_z=0))
    camera = stages.camera.look(texture(1, SIZE, SIZE), timeline[0])
    for index, further in {1: False, 2: True, 3: False}.items():  # no motion; motion; nothing is painted
        way, there = camera.move(timeline[index])
        lead, _ = there.lead(way)
        assert (lead is not way) == further, index


def test_it_ends_where_a_loop_closes(settings: Make) -> None:
    chosen = settings(loop=True, max_frames=30, ending_frames=15, translation_x="sin(2*pi*t/30)")
    gain, timeline = Gain(factor=1.6), sample(chosen)
    factors = [gain.at(timeline[index]) for index in range(30)]
    assert factors[:15] == [1.6] * 15
    assert all(a > b for a, b in itertools.pairwise(factors[15:]))
    assert all(
        gain.at(frame) < 1.1 for frame in timeline if frame.ending is not None and frame.ending.share > SETTLES + 0.05
    )


def test_parameters_further_than_set() -> None:
    params = params_of(zoom=1.02, angle=-1, translation_x=3, translation_z=-4, rotation_3d_y=0.5, fov=70)
    assert enlarged(params, 1) is params
    more = enlarged(params, 1.5)
    assert more.zoom == pytest.approx(1.02**1.5)
    found = more.angle, more.translation_x, more.translation_z, more.rotation_3d_y, more.fov
    assert found == (-1.5, 4.5, -6, 0.75, 70)
    large = enlarged(params_of(zoom=0.5, angle=90, translation_x=-300, rotation_3d_x=-75), 2)
    assert large.zoom == pytest.approx(0.5 / 1.03)
    assert (large.angle, large.translation_x, large.rotation_3d_x) == (92, -310, -76)
    assert enlarged(params_of(zoom=-1), 2).zoom == -1  # mirrored; it has no power


@pytest.mark.parametrize("cadence", [1, 3])
def test_noise_stays_on_what_it_is_painted_over(cadence: int, settings: Make) -> None:
    """A noise map that went as set would be behind the picture, and hold it back."""
    chosen = settings(translation_x=2, cadence=cadence, max_frames=13)
    at: list[float] = [0]
    maps: list[NoiseMap] = []
    found: list[tuple[int, NoiseMap, NoiseMap]] = []

    def paint(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        [moment] = moments
        camera = moment.camera.within(NoiseCamera)
        assert camera is not None
        if moment.warp is not None:
            assert isinstance(moment.warp, FlatWarp)
            at.append(moment.warp.matrix[0, 2])
            expected = maps[-1].moved(moment.warp.charts()[0], moment.frame.index)
            found.append((moment.frame.index, camera.noise_map, expected))
        maps.append(camera.noise_map)
        return [texture(moment.frame.index, SIZE, SIZE)]

    stages = with_moving_noise(painted_by(paint, chosen), NoiseMap.of(SIZE, SIZE, 8))
    list(stages.pace(replace(stages, around=stages.around[:1]), sample(chosen).spans(), None))
    assert [index for index, _, _ in found] == list(range(cadence, 13, cadence))
    assert all(way == pytest.approx(2 * cadence / USUAL[0]) for way in at[1:])
    assert all(np.array_equal(noise_map.numbers, expected.numbers) for _, noise_map, expected in found)


def test_in_3d_what_is_kept_has_the_set_motion(settings: Make) -> None:
    """Depth is carried as set, so that it does not come nearer than the pictures do."""
    chosen = settings(animation_mode="3D", translation_z=10, max_frames=3)
    plain = stages_of(
        chosen, each(lambda init, frame: texture(frame.index, SIZE, SIZE)), CPU, SameDepth(texture(4, SIZE, SIZE)[0])
    )

    def kept(stages: Stages) -> list[tuple[int, float]]:
        depths: list[tuple[int, float]] = []
        camera = keeping_depth(stages.camera, lambda index, depth: depths.append((index, float(depth.mean()))))
        stages = replace(stages, camera=camera)
        list(stages.pace(stages, sample(chosen).spans(), None))
        return depths

    depths = kept(plain)
    assert len(depths) >= 3 and kept(with_gain(plain, CPU)) == depths
