"""The queue: what may be asked of a run, and that none is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.serve.jobs import ACTIONS, OVER, STATES, Job, NotNow, asked
from deforum.serve.journal import JOURNAL_FILE, STATE_FOLDER, read_queue
from deforum.serve.queue import Order, Queue
from tests.helpers import wait_until
from tests.helpers.serving import STAND_IN

pytest.importorskip("fastapi")


def order(name: str = "run", frames: int = 3) -> Order:
    return Order("my.yaml", f"batch_name: {name}\nmax_frames: {frames}\n", frames)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path, program=STAND_IN) as queue:
        yield queue


def reaches(queue: Queue, id: str, *states: str) -> bool:
    return wait_until(lambda: queue.state.job(id).state in states)


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        ("queued", {"pause": "held", "cancel": "cancelled"}),
        ("held", {"resume": "queued", "cancel": "cancelled"}),
        ("running", {"pause": "pausing", "cancel": "stopping"}),
        ("pausing", {"resume": "running", "cancel": "stopping"}),
        ("paused", {"resume": "queued", "cancel": "stopping"}),
        ("stopping", {}),
        ("finished", {}),
        ("failed", {"resume": "queued"}),
        ("cancelled", {"resume": "queued"}),
    ],
)
def test_what_may_be_asked(state: str, actions: dict[str, str]) -> None:
    job = Job("7", 7, "my.yaml", 0.0, state=state)  # type: ignore[arg-type]
    assert job.actions == tuple(action for action in ACTIONS if action in actions)
    for action in ACTIONS:
        if action in actions:
            assert asked(job, action).state == actions[action]
        else:
            with pytest.raises(NotNow, match=f"run 7 is {state}: it cannot {action}"):
                asked(job, action)


def test_every_state_is_in_the_table_above() -> None:
    assert len(STATES) == 9 and set(STATES) >= OVER


def test_runs_are_rendered_one_after_the_other(queue: Queue, tmp_path: Path) -> None:
    jobs = queue.add([order("a"), order("b")])
    assert wait_until(lambda: queue.state.job(jobs[0].id).pid > 0) and queue.state.job(jobs[1].id).state == "queued"
    assert reaches(queue, jobs[1].id, "finished")
    first, second = (queue.state.job(job.id) for job in jobs)
    assert (first.state, first.folder, second.folder) == ("finished", "a", "b")
    assert first.ended <= second.started
    progress = queue.progress(jobs[1].id)
    assert (progress.done, progress.total, progress.phase) == (3, 3, "done")
    assert progress.times == {"diffuse": 0.75, "show": 0.375} and progress.timed == 3


def test_a_crash_of_one_stops_nothing_and_can_be_resumed(queue: Queue) -> None:
    crashed, failed, good = queue.add([order("crash", 5), order("fail"), order("good")])
    assert reaches(queue, good.id, "finished")
    job = queue.state.job(crashed.id)
    assert job.state == "failed" and "signal 9" in job.message and job.folder == "crash"
    assert queue.state.job(failed.id).message == "there is no such model"
    queue.ask(crashed.id, "resume")
    assert reaches(queue, crashed.id, "finished")
    assert queue.state.job(crashed.id).attempt == 2 and queue.state.job(crashed.id).folder == "crash"


def test_a_run_pauses_and_another_one_takes_its_place(queue: Queue, tmp_path: Path) -> None:
    (slow,) = queue.add([order("slow", 1000)])
    assert wait_until(lambda: queue.state.job(slow.id).folder == "slow")
    queue.ask(slow.id, "pause")
    assert reaches(queue, slow.id, "paused")
    done = queue.progress(slow.id).done
    (other,) = queue.add([order("other")])
    assert reaches(queue, other.id, "finished") and queue.state.job(slow.id).state == "paused"
    assert queue.progress(slow.id).done == done and (tmp_path / "slow" / "PAUSE").exists()
    queue.ask(slow.id, "resume")
    assert reaches(queue, slow.id, "running") and wait_until(lambda: queue.progress(slow.id).done > done)
    queue.ask(slow.id, "pause")  # a second time
    assert reaches(queue, slow.id, "paused")
    queue.ask(slow.id, "cancel")
    assert reaches(queue, slow.id, "cancelled") and not (tmp_path / "slow" / "PAUSE").exists()


def test_a_run_is_cancelled_after_its_frame(queue: Queue) -> None:
    (slow,) = queue.add([order("slow", 1000)])
    assert wait_until(lambda: queue.progress(slow.id).done > 0)
    queue.ask(slow.id, "cancel")
    assert reaches(queue, slow.id, "cancelled") and queue.progress(slow.id).stopped
    queue.forget(slow.id)
    assert slow.id not in queue.state.jobs


def test_the_queue_is_paused_moved_and_held(queue: Queue) -> None:
    queue.pause_all(True)
    first, second, third = queue.add([order("a"), order("b"), order("c")])
    queue.ask(first.id, "pause")
    queue.move(third.id, second.id)
    assert list(queue.state.jobs) == [first.id, third.id, second.id]
    with pytest.raises(NotNow, match="cancel it first"):
        queue.forget(first.id)
    queue.pause_all(False)
    assert reaches(queue, second.id, "finished")
    assert queue.state.job(third.id).ended <= queue.state.job(second.id).started
    assert queue.state.job(first.id).state == "held"
    queue.ask(first.id, "cancel")
    assert queue.state.job(first.id).state == "cancelled"


def test_two_servers_do_not_share_a_folder(queue: Queue, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another server has the queue"):
        Queue(tmp_path)


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_a_server_that_stops_hands_its_runs_to_the_next_one(tmp_path: Path) -> None:
    with Queue(tmp_path, program=STAND_IN) as queue:
        slow, held, waiting = queue.add([order("slow", 60), order("held"), order("waiting")])
        queue.ask(held.id, "pause")
        assert wait_until(lambda: queue.progress(slow.id).done > 0)
    left = read_queue(tmp_path / STATE_FOLDER / JOURNAL_FILE)
    assert [job.state for job in left.jobs.values()] == ["queued", "held", "queued"]
    frames = len((tmp_path / "slow" / "frames.jsonl").read_text().splitlines())
    assert 0 < frames < 60
    with Queue(tmp_path, program=STAND_IN) as queue:
        assert reaches(queue, waiting.id, "finished")
        job = queue.state.job(slow.id)
        assert (job.state, job.folder, job.attempt, queue.state.job(held.id).state) == ("finished", "slow", 2, "held")
    lines = (tmp_path / "slow" / "frames.jsonl").read_text().splitlines()
    assert len(lines) == 60


def test_a_run_goes_on_while_its_server_is_killed(tmp_path: Path) -> None:
    """The server is a process that is killed; its run is found again by the lock that it holds."""
    code = f"""
import sys, time
from pathlib import Path
from deforum.serve.queue import Order, Queue
queue = Queue(Path({str(tmp_path)!r}), program={STAND_IN!r})
queue.__enter__()
queue.add([Order("my.yaml", "batch_name: slow\\nmax_frames: 100\\n", 100)])
queue.add([Order("my.yaml", "batch_name: next\\nmax_frames: 2\\n", 2)])
while not queue.progress("1").done:
    time.sleep(0.02)
print("rendering", flush=True)
time.sleep(60)
"""
    import subprocess
    import sys

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdout.readline() == "rendering\n"
        os.kill(server.pid, signal.SIGKILL)
    with Queue(tmp_path, program=STAND_IN) as queue:
        assert queue.state.job("1").state == "running"
        assert reaches(queue, "2", "finished")
        assert (queue.state.job("1").state, queue.state.job("1").attempt) == ("finished", 1)


def test_a_run_that_died_with_its_server_is_resumed(tmp_path: Path) -> None:
    with Queue(tmp_path, program=STAND_IN) as queue:
        (slow,) = queue.add([order("slow", 60)])
        assert wait_until(lambda: queue.progress(slow.id).done > 0)
        before = (tmp_path / STATE_FOLDER / JOURNAL_FILE).read_bytes()
        os.kill(queue.state.job(slow.id).pid, signal.SIGKILL)
        assert reaches(queue, slow.id, "failed")
    (tmp_path / STATE_FOLDER / JOURNAL_FILE).write_bytes(before)  # as if the server had died at the same moment
    with Queue(tmp_path, program=STAND_IN) as queue:
        assert reaches(queue, slow.id, "finished") and queue.state.job(slow.id).attempt == 2


@pytest.mark.long  # tests/serve/test_api.py has it with 500 requests
def test_runs_that_are_added_at_once_are_all_on_the_disk(tmp_path: Path) -> None:
    with Queue(tmp_path, program=STAND_IN) as queue:
        queue.pause_all(True)
        with ThreadPoolExecutor(16) as pool:
            added = list(pool.map(lambda number: queue.add([order(f"run{number}")])[0].id, range(100)))
    left = read_queue(tmp_path / STATE_FOLDER / JOURNAL_FILE)
    assert sorted(left.jobs) == sorted(added) and len(set(added)) == 100
    with Queue(tmp_path, program=STAND_IN) as queue:
        assert {queue.settings_text(id) for id in added} == {order(f"run{number}").text for number in range(100)}


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    with Queue(tmp_path, program=STAND_IN) as queue:
        queue.pause_all(True)
        queue.add([order(), order()])
    path = tmp_path / STATE_FOLDER / JOURNAL_FILE
    path.write_bytes(path.read_bytes() + b'not json\n[]\n{"job": {"id": "9"}}\n{"job": {"id": "3", "num')
    with Queue(tmp_path, program=STAND_IN) as queue:
        assert list(queue.state.jobs) == ["1", "2"] and queue.state.is_paused
        assert [job.id for job in queue.add([order()])] == ["3"]
