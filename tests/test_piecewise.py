"""Runs in chunks: where frames are independent, they are the same in any number of chunks, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum import build
from deforum.build import independent_every, is_independent, prepare
from deforum.output.record import read_record
from deforum.output.verify import verify
from deforum.piecewise import make_pieces, pieces_of
from deforum.pixels.image import CPU
from deforum.rendering import begin, check, render
from deforum.resuming import resume
from deforum.settings.options import Settings
from tests.animation.scenarios import settings_of
from tests.helpers.edits import painted

REAL = "Video Input, painted by a model"


@pytest.fixture(autouse=True)
def stand_in_for_the_model(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if REAL not in request.node.name:
        monkeypatch.setattr(build, "load_model", lambda prepared, models: build.LoadedModel(painted, CPU, 8))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "frames").iterdir())}


def begun(settings: Settings, output: Path, chunks: int) -> Path:
    """Begin a run in chunks, with the folders of all of them; return its folder."""
    prepared = check(settings, output=output)
    with begin(settings, prepared, output, chunks=chunks, name="run") as run:
        make_pieces(run, prepared)
        run.ledger.close()
        run._is_new = False
        return run.folder


@pytest.mark.parametrize(
    ("name", "changes", "independent"),
    [
        ("Interpolation", {}, True),
        ("Video Input", {}, True),
        ("Video Input under a mask", {}, True),
        ("Video Input with feedback", {}, False),
        ("Video Input", {"echo_amount": 0.4}, False),
        ("Video Input", {"diffusion_redo": 1}, True),
        ("2D corrected/1 plain", {}, False),
        ("2D corrected/1 plain", {"strength": 0, "color_coherence": "None"}, False),  # noise covers the frame before
    ],
)
def test_what_is_independent(tmp_path: Path, name: str, changes: dict[str, object], independent: bool) -> None:
    settings = prepare(settings_of(name, tmp_path, **changes)).settings
    assert is_independent(settings) == independent == (independent_every(settings) > 0)


@pytest.mark.parametrize(
    "name",
    [
        "Interpolation",
        "Video Input",
        pytest.param("Video Input under a mask", marks=pytest.mark.long),
        pytest.param(REAL, marks=pytest.mark.long),
    ],
)
def test_frames_are_the_same_in_chunks(tmp_path: Path, name: str) -> None:
    settings = settings_of(name, tmp_path, max_frames=11, frame_format="jpeg", batch_size=2)
    whole = render(settings, output=tmp_path / "whole")
    folder = begun(settings, tmp_path / "chunks", 4)
    pieces = read_record(folder).pieces
    assert [piece.first % 2 for piece in pieces] == [0] * 4 and pieces[-1].total == 7 + 4 * (name == "Interpolation")
    for piece in reversed(pieces):  # in any order, each by itself
        assert resume(folder / piece.folder).films == ()
    result = resume(folder)
    assert files(folder) == files(whole.folder)
    assert result.video is not None and whole.video is not None
    assert not (folder / "chunks").exists() and not (folder / "copies").exists() and not verify(folder).faults
    assert not read_record(folder).pieces


def test_what_chunks_lack_the_run_renders(tmp_path: Path) -> None:
    settings = settings_of("Interpolation", tmp_path, max_frames=12, skip_video_creation=True)
    whole = render(settings, output=tmp_path / "whole")
    folder = begun(settings, tmp_path / "chunks", 3)
    first, second, _ = read_record(folder).pieces
    answers = iter([False, True])
    resume(folder / first.folder)
    assert resume(folder / second.folder, stop=lambda: next(answers)).stopped
    (folder / first.folder / "frames" / "000000001.png").write_bytes(b"torn")
    assert resume(folder).frames == 12
    assert files(folder) == files(whole.folder) and not verify(folder).faults


@pytest.mark.parametrize(
    ("chunks", "bounds"), [(1, []), (2, [0, 6, 12]), (5, [0, 2, 4, 8, 10, 12]), (99, range(0, 13, 2))]
)
def test_chunks_begin_at_batches(tmp_path: Path, chunks: int, bounds: list[int]) -> None:
    prepared = prepare(settings_of("Interpolation", tmp_path, max_frames=12))
    pieces = pieces_of(prepared, chunks)
    assert [piece.first for piece in pieces] == list(bounds)[:-1]
    assert [piece.total for piece in pieces] == list(bounds)[1:]
    assert not pieces_of(prepare(settings_of("2D corrected/1 plain", tmp_path)), chunks)


def test_independent_frames_need_no_frames_before(tmp_path: Path) -> None:
    settings = settings_of("Interpolation", tmp_path, max_frames=12, skip_video_creation=True)
    whole = files(render(settings, output=tmp_path / "whole").folder)
    notes: list[object] = []
    some = render(settings, output=tmp_path / "some", stretch=range(7, 9), observer=notes.append)
    assert files(some.folder) == {name: whole[name] for name in ("000000007.png", "000000008.png")}
    assert any("on the way, without being written: frame 6" in str(note) for note in notes)
