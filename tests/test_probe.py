"""The probe: what runs took is kept, and foresees others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from deforum import probe
from deforum.build import Prepared, prepare
from deforum.forecast import forecast
from deforum.loading import load
from deforum.models import kept_graphs
from deforum.needs import CHECKING, work
from deforum.rendering import render
from tests.helpers.command import paint_with
from tests.helpers.pictures import texture


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache" / "probe.json"
    monkeypatch.setenv(probe.ENVIRONMENT, str(path))
    return path


def prepared(**changes: object) -> Prepared:
    usual = {"width": 64, "height": 64, "max_frames": 8, "cadence": 1, "seed": 1, "zoom": 1, "device": "cpu",
             "prompts": {0: "a"}}  # fmt: skip
    return prepare(load(usual | changes).settings)


def run_of(
    run: Prepared,
    slowness: float,
    start: float = 2.0,
    at_once: int = 1,
    late: Mapping[int, float] | None = None,
    making: float = 0.0,
) -> None:
    """Keep a run that takes `slowness` s for each second of `needs.work`, besides a start of so many seconds.

    Of the start, 0.5 s pass after the last frame, and `making` s making graphs. `late` frames take so many s more.
    """
    frames = slowness * work(run)
    for index, seconds in (late or {}).items():
        frames[index] += seconds
    shown = 100 + start - 0.5 + np.cumsum(frames)
    ends = [min(index // at_once * at_once + at_once, len(frames)) - 1 for index in range(len(frames))]
    clock = iter([100.0, *shown[ends], shown[-1] + 0.5])
    watch = probe.Watch(run, run.frames, at_once, lambda: float(next(clock)))
    kept_graphs.making.seconds += making
    for _ in range(len(run.timeline)):
        watch.shown()
    watch.keep()


def test_a_run_of_the_same_kind_is_foreseen(file: Path) -> None:
    run = prepared()
    assert probe.expect(run) is None and forecast(run).time_from == "elsewhere"
    run_of(run, 3.0)
    expected = probe.expect(run)
    assert expected is not None and expected.is_exact
    assert (expected.start, expected.ratio) == pytest.approx((2, 3), rel=1e-3)
    assert forecast(run).seconds == pytest.approx(CHECKING + 2 + 3 * work(run).sum(), rel=1e-3)
    assert forecast(run).time_from == "this kind of run"
    # Other steps, strength and length: by their work.
    longer = prepared(max_frames=80, steps=50, strength=0.2)
    assert forecast(longer).seconds == pytest.approx(CHECKING + 2 + 3 * work(longer).sum(), rel=1e-3)
    assert forecast(longer).time_from == "this kind of run"


@pytest.mark.parametrize(
    ("late", "start"),
    [
        ({1: 1.5}, 3.5),  # what is loaded when it is first needed, belongs to the start
        ({4: 3600.0}, 2.0),  # a computer that slept
        ({}, 2.0),
    ],
)
def test_single_frames_do_not_count(file: Path, late: dict[int, float], start: float) -> None:
    run = prepared(max_frames=12)
    run_of(run, 3.0, late=late)
    expected = probe.expect(run)
    assert expected is not None
    assert expected.start == pytest.approx(start, abs=0.1) and expected.ratio == pytest.approx(3, rel=0.06)


def test_in_betweens_count_with_the_frame_that_they_lead_to(file: Path) -> None:
    """They are shown with it, and the last ones take a moment that belongs to none."""
    run = prepared(max_frames=17, cadence=4)
    run_of(run, 3.0)
    expected = probe.expect(run)
    assert expected is not None and (expected.start, expected.ratio) == pytest.approx((2, 3), rel=1e-3)


def test_making_graphs_is_kept_apart(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is foreseen where there was no run of the size."""
    monkeypatch.setattr(kept_graphs, "making", kept_graphs.Making())
    run = prepared()
    run_of(run, 3.0, start=12.0, making=10.0)
    expected = probe.expect(run)
    assert expected is not None and expected.making == 0
    assert expected.start == pytest.approx(12 - 10 * (1 - probe.LOADING), rel=1e-3)
    other = probe.expect(prepared(width=128))
    assert other is not None and other.making == pytest.approx(10 * (1 - probe.LOADING), rel=1e-3)
    assert "in the first run of this size alone" in forecast(prepared(width=128)).lines()[-2]
    assert "in the first run" not in forecast(prepared(strength=0.1)).lines()[-2]
    # A run with all graphs there says more of the start.
    run_of(run, 3.0, start=2.0)
    expected = probe.expect(run)
    assert expected is not None and expected.start == pytest.approx(2, rel=1e-3)


def test_other_runs_tell_something_too(file: Path) -> None:
    run_of(prepared(width=512, height=512), 9.0)
    run_of(prepared(width=128), 3.0)
    expected = probe.expect(prepared())
    assert expected is not None and not expected.is_exact and expected.memory is None
    assert expected.ratio == pytest.approx(3, rel=1e-3)  # by the nearest size
    assert "by other runs with this model" in forecast(prepared()).lines()[-2]


def test_another_table_tells_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run took is kept as a share of the table's seconds."""
    run_of(prepared(), 3.0)
    monkeypatch.setattr(probe, "EDITION", "another")
    assert probe.expect(prepared()) is None


def test_the_middle_of_the_last_runs_counts(file: Path) -> None:
    run = prepared()
    for slowness in (50.0, 2.0, 4.0, 3.0):
        run_of(run, slowness)
    expected = probe.expect(run)
    assert expected is not None and expected.ratio == pytest.approx(3, rel=1e-3)
    assert len(json.loads(file.read_text())[0]["runs"]) == probe.RUNS


def test_batches_count_as_one_start(file: Path) -> None:
    run = prepared(animation_mode="Interpolation", max_frames=12)
    run_of(run, 3.0, at_once=8)  # too few batches
    assert not file.exists()
    run_of(run, 3.0, at_once=4)
    expected = probe.expect(run)
    assert expected is not None and (expected.start, expected.ratio) == pytest.approx((2, 3), rel=1e-3)


def test_short_and_stopped_runs_tell_nothing(file: Path) -> None:
    run_of(prepared(max_frames=2), 3.0)
    watch = probe.Watch(prepared(), range(8))
    watch.shown()
    watch.keep()
    assert not file.exists()


@pytest.mark.parametrize(
    "text", ["", "[", "{}", '[{"kind": {}, "runs": 3}]', '[{"kind": {"a": 1}, "runs": []}]', "\xff"]
)
def test_a_damaged_file_is_begun_anew(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text, encoding="latin-1")
    assert probe.expect(prepared()) is None
    run_of(prepared(), 3.0)
    assert probe.expect(prepared()) is not None


def test_it_can_be_turned_off(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(prepared(), 3.0)
    monkeypatch.setenv(probe.ENVIRONMENT, "off")
    assert probe.expect(prepared()) is None


def test_the_file_does_not_grow_without_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "KEPT", 2)
    for width in (64, 128, 192):
        run_of(prepared(width=width), 1.0)
    assert [entry["kind"]["width"] for entry in json.loads(file.read_text())] == [128, 192]


def test_renders_fill_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run does, one that was stopped does not."""
    paint_with(monkeypatch, lambda init, frame: texture(1, 64, 64) if init is None else init)
    settings = prepared(max_frames=4, finish="none", skip_video_creation=True).settings
    render(settings, output=tmp_path, stop=lambda: True)
    assert not file.exists()
    render(settings, output=tmp_path)
    expected = probe.expect(prepare(settings))
    assert expected is not None and expected.is_exact and expected.ratio > 0
