"""States in a run's folder: what is torn is noticed, and which of them are kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from deforum.animation.cameras import StillCamera
from deforum.animation.state import State, pack_state
from deforum.errors import UserError
from deforum.output.checkpoints import (
    Checkpoint,
    Checkpoints,
    check_checkpoint,
    kept,
    list_checkpoints,
    path_of,
    read_checkpoint,
    thin_out,
    to_bytes,
)
from deforum.output.ledger import Ledger
from deforum.pixels.image import CPU
from deforum.settings.options import Settings
from tests.output.runs import frame


def state(index: int, *, is_boundary: bool = True, begun: State | None = None) -> State:
    picture = torch.full((3, 1, 1), index / 100)
    return State(frame(index), picture, picture, picture, None, StillCamera(Settings(), CPU), {}, is_boundary, begun)


def test_a_state_that_is_torn_at_any_byte_or_altered_is_noticed(tmp_path: Path) -> None:
    content, path = to_bytes(pack_state(state(12))), tmp_path / "a.state"
    path.write_bytes(content)
    assert read_checkpoint(path).frame == 12 and check_checkpoint(path) == ""
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert "damaged" in check_checkpoint(path), end
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert "damaged" in check_checkpoint(path), at
    path.write_bytes(content + b"x")
    with pytest.raises(UserError, match=r"a\.state: damaged: it was not written to its end, or it was altered"):
        read_checkpoint(path)
    path.unlink()
    assert "cannot be read" in check_checkpoint(path)


def test_what_is_the_same_picture_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    path.write_bytes(to_bytes(pack_state(state(1))))
    assert set(read_checkpoint(path).tensors) == {"shown"}


def named(*frames: int) -> list[Checkpoint]:
    return [Checkpoint(frame, Path(str(frame)), 100) for frame in frames]


@pytest.mark.parametrize(
    ("frames", "room", "newest", "left"),
    [
        ((4,), 0, 2, (4,)),
        ((4, 8, 12), 0, 2, (8, 12)),
        ((4, 8, 12), 0, 0, ()),
        ((4, 8, 12), 300, 2, (4, 8, 12)),
        ((4, 8, 12), 299, 2, (8, 12)),
        ((10, 11, 20, 30, 31), 400, 2, (10, 20, 30, 31)),  # 11 lies closest to its neighbours
        ((5, 10, 15, 20, 25, 30), 300, 0, (5, 15, 25)),
        ((), 100, 2, ()),
    ],
)
def test_states_are_kept_evenly_within_their_room(
    frames: tuple[int, ...], room: float, newest: int, left: tuple[int, ...]
) -> None:
    found = tuple(each.frame for each in kept(named(*frames), room, newest))
    assert found == left


def test_finished_runs_keep_states_within_a_share_of_their_frames(tmp_path: Path) -> None:
    for index in range(8):
        path_of(tmp_path, index).parent.mkdir(exist_ok=True)
        path_of(tmp_path, index).write_bytes(bytes(1000))
    thin_out(tmp_path, frames_bytes=60_000, newest=0)
    assert len(list_checkpoints(tmp_path)) == 3
    thin_out(tmp_path, frames_bytes=10_000, newest=0)
    assert list_checkpoints(tmp_path) == [] and not (tmp_path / "states").exists()


def written(folder: Path, every: int, states: list[State]) -> list[int]:
    ledger = Ledger(folder)
    ledger.frames_bytes = lambda: 10**9  # type: ignore[method-assign]
    with Checkpoints(ledger, every) as checkpoints:
        for each in states:
            checkpoints.offer(each)
    ledger.close()
    return [each.frame for each in list_checkpoints(folder)]


def test_states_are_written_every_so_many_painted_frames(tmp_path: Path) -> None:
    states = [state(0), *(state(index, is_boundary=index % 2 == 0, begun=state(0)) for index in range(1, 13))]
    for every, expected in ((1, [0, 2, 4, 6, 8, 10, 12]), (3, [4, 10]), (0, [0]), (-1, [])):
        (tmp_path / str(every)).mkdir()
        assert written(tmp_path / str(every), every, states) == expected


def test_a_stop_writes_the_state_that_was_reached(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with Checkpoints(ledger, 100) as checkpoints:
        for index in range(4):
            checkpoints.offer(state(index))
        checkpoints.flush(state(5, is_boundary=False, begun=state(4)))
        checkpoints.flush(state(5, is_boundary=False, begun=state(4)))
    ledger.close()
    assert [each.frame for each in list_checkpoints(tmp_path)] == [4]


def test_a_state_waits_for_the_files_of_its_frames(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.expect(tmp_path / "frames" / "000000000.png")
    with pytest.raises(ZeroDivisionError), Checkpoints(ledger, 1) as checkpoints:
        checkpoints.offer(state(0))
        print(1 / 0)
    assert list_checkpoints(tmp_path) == []
    with Checkpoints(ledger, 1) as checkpoints:
        checkpoints.offer(state(0))
        ledger.save(tmp_path / "frames" / "000000000.png", 0, b"a picture")
    assert len(list_checkpoints(tmp_path)) == 1
    ledger.close()


def test_a_state_that_cannot_be_written_is_warned_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "states").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert written(tmp_path, 1, [state(index) for index in range(4)]) == []
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the state of the run cannot be written"
    ]
