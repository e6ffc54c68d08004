"""Diffusing a frame more than once: seeds, chains, colours, and where the real diffusion starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deforum.animation.loop import animate
from deforum.animation.modes import stages_of
from deforum.animation.painter import each
from deforum.animation.parts import Diffuse, Moment
from deforum.features.redo import redo_by_flow, redo_diffusion, with_redo
from deforum.features.table import timeline_of as sample
from deforum.motion.flow_warp import Flow, FlowWarp
from deforum.pixels.color import ColorReference, match_color
from deforum.pixels.image import CPU, Image
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import STILL, Make, settings_maker

SIZE = 32


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    small = {"width": SIZE, "height": SIZE, "cadence": 1, "max_frames": 3}
    return settings_maker(tmp_path, STILL | small)


class Log:
    """A diffusion that adds a little to each picture, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.inits: list[Image | None] = []

    def __call__(self, inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        self.seeds += [moment.frame.seed for moment in moments]
        self.inits += inits
        return [torch.full((3, SIZE, SIZE), 0.1) if init is None else (init + 0.01).clamp(0, 1) for init in inits]


def moments(settings: Settings, count: int = 2, palette: ColorReference | None = None) -> list[Moment]:
    camera = stages_of(settings, each(lambda init, frame: torch.zeros(3, SIZE, SIZE)), CPU).camera
    return [Moment(frame, palette, camera, None) for frame in list(sample(settings))[:count]]


def picture(seed: int) -> Image:
    return torch.rand((3, SIZE, SIZE), generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def test_each_pass_goes_on_from_the_last_with_a_seed_of_its_own(settings: Make) -> None:
    log, [_, moment] = Log(), moments(settings())
    [result] = redo_diffusion(log, 3)([picture(0)], [moment])
    assert torch.allclose(result, picture(0) + 0.04)
    for turn, init in enumerate(log.inits):
        assert init is not None and torch.allclose(init, picture(0) + 0.01 * turn)
    assert len(set(log.seeds)) == 4 and log.seeds[-1] == moment.frame.seed
    again = Log()
    redo_diffusion(again, 3)([picture(0)], [moment])
    assert again.seeds == log.seeds  # nothing is drawn by chance


def test_the_last_pass_is_held_to_the_colours(settings: Make) -> None:
    palette = ColorReference.of(picture(7) * 0.5, "RGB", true_channels=True, float_color=True)
    log, [_, moment] = Log(), moments(settings(), palette=palette)
    redo_diffusion(log, 2)([picture(0)], [moment])
    first, second, real = log.inits
    assert first is not None and second is not None and real is not None
    assert torch.allclose(second, first + 0.01)
    assert torch.allclose(real, match_color(second + 0.01, palette), atol=1e-6)


def even(dx: float, dy: float) -> Flow:
    return torch.tensor((dx, dy)).expand(SIZE, SIZE, 2).contiguous()


def test_the_real_diffusion_starts_from_the_picture_moved_to_where_the_trial_went(
    settings: Make,
) -> None:
    log, trial, seen = Log(), Log(), []
    [_, moment] = moments(settings(redo_flow_factor=0.5))

    def model(a: Image, b: Image) -> Flow:
        seen.append((a, b))
        return even(6.0, -4.0)

    [result] = redo_by_flow(log, trial, model)([picture(0)], [moment])
    moved = FlowWarp.of(even(3.0, -2.0))(picture(0))
    assert torch.equal(moved[:, 5:-5, 5:-5], picture(0).roll((-2, 3), (1, 2))[:, 5:-5, 5:-5])
    [(before, after)], [init] = seen, log.inits
    assert torch.equal(before, picture(0)) and torch.allclose(after, picture(0) + 0.01)  # from the picture to the trial
    assert init is not None and torch.equal(init, moved)  # neither the trial itself nor the picture as it was
    assert torch.allclose(result, moved + 0.01)
    assert trial.seeds != log.seeds == [moment.frame.seed]


def both(diffuse: Diffuse) -> Diffuse:
    return redo_by_flow(redo_diffusion(diffuse, 2), diffuse, lambda a, b: even(1.0, 0.0))


def test_what_starts_from_noise_is_done_once(settings: Make) -> None:
    log, [first, second] = Log(), moments(settings(strength='"0: (0.5), 1: (0)"'))
    both(log)([None], [first])  # no picture
    both(log)([picture(0)], [second])  # a cut: strength 0
    assert log.seeds == [first.frame.seed, second.frame.seed]


def test_frame_0_is_done_again_where_there_is_an_init_image(settings: Make) -> None:
    log, [first, _] = Log(), moments(settings())
    first = replace(first, frame=replace(first.frame, params=replace(first.frame.params, strength=0.5)))
    both(log)([picture(0)], [first])
    assert len(log.seeds) == 4


def test_frames_of_one_batch_are_done_again_each_by_itself(settings: Make) -> None:
    inits, each_moment = [None, picture(1), picture(2)], moments(settings(), 3)
    together = both(Log())(inits, each_moment)
    alone = [both(Log())([init], [moment])[0] for init, moment in zip(inits, each_moment, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize(("times", "calls"), [(0, 3), (2, 7)])
def test_the_setting_acts_on_every_frame_but_the_first(settings: Make, times: int, calls: int) -> None:
    painted: list[tuple[int, int]] = []

    def diffuse(init: Image | None, frame: Frame) -> Image:
        painted.append((frame.index, frame.seed))
        return picture(frame.seed)

    made = settings(diffusion_redo=times)
    stages = with_redo(stages_of(made, each(diffuse), CPU), made, None)
    shown = [image for _, image in animate(stages, sample(made).spans())]
    assert len(painted) == calls and len(set(painted)) == calls
    assert all(torch.equal(image, picture(5 + index)) for index, image in enumerate(shown))


def test_without_a_factor_no_trial_is_made(settings: Make) -> None:
    log, [_, moment] = Log(), moments(settings(redo_flow_factor=0))
    redo_by_flow(log, log, lambda a, b: even(1.0, 0.0))([picture(0)], [moment])
    assert log.seeds == [moment.frame.seed]
