"""The stages of chains: what is made of what, how large, and by which recipe."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from deforum.post.plan import beginning, check_disk, check_sizes, frame_behind, plan, recipes, stretches
from deforum.settings.steps import EndCard, Film, Finish, Frames, Interpolate, Reel, Step, Title, Upscale

REEL = Reel(128, 96, 10, Fraction(24))
TWICE = Upscale(2.0, "lanczos")


@pytest.mark.parametrize(
    ("chain", "film", "stages"),
    [
        ([TWICE], True, [("upscale2", -1, 256), ("upscale2_film", 0, 256)]),
        ([TWICE], False, [("upscale2", -1, 256)]),
        ([Film()], True, [("film", -1, 128)]),
        ([TWICE, Film("gif"), Upscale(1.5)], True,
         [("upscale2", -1, 256), ("upscale2_film", 0, 256), ("upscale2_upscale1.5", 0, 384),
          ("upscale2_upscale1.5_film", 2, 384)]),
        ([Finish(), Frames("jpeg")], False, [("finish", -1, 256), ("finish_frames", 0, 256)]),
        ([TWICE, Interpolate(4, 2)], True,
         [("upscale2", -1, 256), ("upscale2_interpolate4", 0, 256), ("upscale2_interpolate4_film", 1, 256)]),
    ],
)  # fmt: skip
def test_stages(chain: list[Step], film: bool, stages: list[tuple[str, int, int]]) -> None:
    assert [(stage.name, stage.source, stage.gives.width) for stage in plan(chain, REEL, film=film)] == stages


@pytest.mark.parametrize(
    ("steps", "frame", "shown"),
    [
        ([TWICE], 4, 4),
        ([Interpolate(4, 2)], 4, 16),
        ([Title("x", seconds=2)], 4, 52),
        ([Title("x", seconds=2), Interpolate(2)], 4, 104),
        ([Title("x", seconds=2, over=True), EndCard("y", seconds=2), TWICE], 4, 4),
    ],
)
def test_where_a_frame_is_shown(steps: list[Step], frame: int, shown: int) -> None:
    assert frame_behind(steps, REEL, frame) == shown


def test_sizes_are_even() -> None:
    gives = plan([Upscale(1.5)], replace(REEL, width=130, height=95))[0].gives
    assert (gives.width, gives.height) == (196, 142)


def test_frames_that_are_too_large_are_refused() -> None:
    reel = Reel(4096, 2048, 10, Fraction(24))
    assert not check_sizes(plan([Upscale(4.0)], reel))
    problems = check_sizes(plan([Upscale(4.0), Upscale(2.0)], reel))
    assert [problem.message for problem in problems] == [
        "upscale 2: makes frames of 32768x16384 px; expected at most 16384 px along either side"
    ]


def test_more_frames_than_the_disk_has_room_for_are_refused(tmp_path: Path) -> None:
    assert not check_disk(plan([TWICE], REEL), 8, tmp_path / "new")
    problems = check_disk(plan([Upscale(8.0)], Reel(2048, 2048, 1_000_000, Fraction(24))), 16, tmp_path / "new")
    assert len(problems) == 1
    assert problems[0].message.startswith("1000000 frames of 16384x16384 take at least 939524.1 GB on the disk of")


def test_a_recipe_is_that_of_options_and_frames() -> None:
    source = [f"frame {index}" for index in range(REEL.count)]
    stage = plan([TWICE], REEL)[0]
    first = recipes(stage, source)
    assert len(set(first)) == REEL.count
    source[3] = "another"
    assert [index for index, recipe in enumerate(recipes(stage, source)) if recipe != first[index]] == [3]
    other = recipes(plan([replace(TWICE, factor=3.0)], REEL)[0], source)
    assert not set(other) & set(recipes(stage, source))
    assert recipes(plan([replace(TWICE, keep=False)], REEL)[0], source) == recipes(stage, source)
    assert not set(recipes(stage, source, files="of a model")) & set(recipes(stage, source))


def test_a_stage_begins_at_the_frame_that_it_needs() -> None:
    assert beginning(plan([TWICE], REEL)[0], 7) == (7, (7,))


def test_frames_in_between_are_made_of_pairs() -> None:
    stage = plan([Interpolate(4, 2)], REEL)[0]
    assert (stage.gives.count, stage.gives.rate, stage.gives.sound.tempo) == (40, Fraction(48), 0.5)
    assert beginning(stage, 7) == (1, (4,))
    source = [f"frame {index}" for index in range(REEL.count)]
    first = recipes(stage, source)
    source[3] = "another"
    changed = [index for index, recipe in enumerate(recipes(stage, source)) if recipe != first[index]]
    assert changed == list(range(8, 16))
    # A loop ends with its first frame.
    assert beginning(plan([Interpolate(4, 2, loop=True)], REEL)[0], 39) == (0, (0,))


@pytest.mark.parametrize(
    ("numbers", "found"), [([], []), ([3], [range(3, 4)]), ([0, 1, 4, 5, 6, 9], [range(2), range(4, 7), range(9, 10)])]
)
def test_stretches(numbers: list[int], found: list[range]) -> None:
    assert list(stretches(numbers)) == found
