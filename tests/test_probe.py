"""The probe: what runs took is kept, and foresees others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from deforum import needs_behind, probe
from deforum.build import Prepared, prepare
from deforum.forecast import duration, forecast
from deforum.loading import load
from deforum.models import kept_graphs
from deforum.needs import CHECKING, start_on_two_cores, work
from deforum.needs_behind import work_behind
from deforum.rendering import render
from deforum.resuming import resume
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
    run_of(run, 3.0, at_once=4)
    expected = probe.expect(run)
    assert expected is not None and (expected.start, expected.ratio) == pytest.approx((2, 3), rel=1e-3)


def test_stopped_runs_tell_nothing(file: Path) -> None:
    watch = probe.Watch(prepared(), range(8))
    watch.shown()
    watch.keep()
    assert not file.exists()


@pytest.mark.parametrize("changes", [{"max_frames": 2}, {"max_frames": 8, "cadence": 10}, {"max_frames": 1}])
def test_a_run_of_few_painted_frames_is_a_share_of_the_table(file: Path, changes: dict[str, object]) -> None:
    """What its frames take cannot be told from its start: all of it is as much slower."""
    run, slowness = prepared(**changes), 3.0
    run_of(run, slowness, start=slowness * (start_on_two_cores(run) - CHECKING))
    longer = prepared(**changes | {"max_frames": 60})
    seconds = CHECKING + slowness * (start_on_two_cores(run) - CHECKING + work(longer).sum())
    assert forecast(longer).seconds == pytest.approx(seconds, rel=1e-3)
    assert forecast(longer).time_from == "this kind of run"
    # A run of more of them tells better, and later ones of few do not change that.
    run_of(longer, 5.0)
    if len(longer.timeline.keys) >= probe.FEWEST:
        run_of(run, slowness)
        expected = probe.expect(longer)
        assert expected is not None and expected.ratio == pytest.approx(5, rel=1e-3)


def test_two_painted_frames_tell_of_a_model_without_a_table(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "is_in_table", lambda settings: False)
    run_of(prepared(max_frames=1), 3.0)
    assert not file.exists()
    run_of(prepared(max_frames=2), 3.0, start=7.0)
    expected = probe.expect(prepared())
    assert expected is not None and (expected.start, expected.ratio) == pytest.approx((7, 3), rel=1e-3)


BEHIND = {"interpolate": 2, "max_frames": 8}


def test_steps_behind_a_render_are_foreseen(file: Path) -> None:
    """By the table, then by runs with the same steps, of any number of frames."""
    plain, run, longer = (prepared(max_frames=8), prepared(**BEHIND), prepared(**BEHIND | {"max_frames": 80}))
    table = work_behind(run.settings, 8)
    assert forecast(run).needs.behind == pytest.approx(table)
    assert forecast(run).seconds == pytest.approx((forecast(plain).seconds or 0) + table)
    assert forecast(plain).needs.behind == 0
    probe.keep_behind(run.settings, 8, 5 * table)
    assert forecast(longer).needs.behind == pytest.approx(5 * work_behind(longer.settings, 80), rel=1e-3)
    words = forecast(longer).lines()[-2]
    assert words.endswith(f"{duration(5 * work_behind(longer.settings, 80))} of it for the steps behind the render")
    # Others by the table.
    other = prepared(upscale=2, upscaler="lanczos", max_frames=8)
    assert forecast(other).needs.behind == pytest.approx(work_behind(other.settings, 8))
    probe.keep_behind(plain.settings, 8, 1.0)  # without steps there is nothing to keep
    assert len(json.loads(file.read_text())) == 1


def test_steps_that_were_never_measured(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(**BEHIND)
    monkeypatch.setattr(needs_behind, "engine_of", lambda settings, step: "mine.pt")
    assert forecast(run).needs.behind is None
    assert forecast(run).seconds == forecast(prepared(max_frames=8)).seconds
    assert forecast(run).lines()[-2].endswith("come on top: the first run with them will tell")
    probe.keep_behind(run.settings, 8, 12.0)
    assert forecast(run).needs.behind == pytest.approx(12, rel=1e-3)


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


def test_steps_behind_a_render_fill_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all of them are made; those that are there already take no time."""
    paint_with(monkeypatch, lambda init, frame: texture(1, 64, 64) if init is None else init)
    run = prepared(max_frames=4, interpolate=2)
    folder = render(run.settings, output=tmp_path).folder
    kinds = [entry["kind"]["features"] for entry in json.loads(file.read_text())]
    assert kinds[-1] == "interpolate flow" and len(kinds) == 2
    before = file.read_text()
    resume(folder)
    assert file.read_text() == before


def test_renders_fill_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run does, one that was stopped does not."""
    paint_with(monkeypatch, lambda init, frame: texture(1, 64, 64) if init is None else init)
    settings = prepared(max_frames=4, finish="none", skip_video_creation=True).settings
    render(settings, output=tmp_path, stop=lambda: True)
    assert not file.exists()
    render(settings, output=tmp_path)
    expected = probe.expect(prepare(settings))
    assert expected is not None and expected.is_exact and expected.ratio > 0
