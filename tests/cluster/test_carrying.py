"""Which task goes next, and what happens where one fails: by a crew that is a script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deforum.cluster import carrying
from deforum.cluster.carrying import carry_out_plan, failures
from deforum.cluster.tasks import Task, check_plan
from deforum.cluster.work import Done, Failed, Frames, News, Said, from_json, to_json

DIED, WRONG, LOCKED = Failed("died"), Failed("no such file", is_final=True), Failed("it is going", is_locked=True)


def task(name: str, *after: str) -> Task:
    return Task(name, Path("run"), Path("run") / name, "render", after=after)


class Script:
    """Two workers; `ends` says how each try of a task ends, Done where it says nothing."""

    size = 2

    def __init__(self, ends: dict[str, list[News]]) -> None:
        self.ends = ends
        self.begun: list[tuple[str, str]] = []
        self.going: list[str] = []
        self.stopped = False

    def takes(self, task: Task) -> bool:
        return len(self.going) < self.size

    def start(self, task: Task, *, avoid: str = "") -> str:
        worker = next(name for name in ("one", "two") if name != avoid)
        self.begun.append((task.name, worker))
        self.going.append(task.name)
        return worker

    def news(self, seconds: float) -> Iterator[tuple[str, News]]:
        for name in list(self.going):
            yield name, Frames(1)
            self.going.remove(name)
            yield name, Done(self.stopped) if self.stopped or not self.ends.get(name) else self.ends[name].pop(0)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None: ...


PLAN = (task("a"), task("b"), task("c"), task("film", "a", "b"), task("steps", "film"))


@pytest.mark.parametrize(
    ("ends", "states", "tries"),
    [
        ({}, "done done done done done", 1),
        ({"a": [DIED]}, "done done done done done", 2),
        ({"a": [DIED] * 3}, "done done done done done", 4),
        ({"a": [DIED] * 4}, "failed done done not_done not_done", 4),
        ({"a": [WRONG]}, "failed done done not_done not_done", 1),  # it would fail again
        ({"c": [WRONG]}, "done done failed done done", 1),  # and stops nothing else
        ({"film": [DIED]}, "done done done done done", 1),
        ({"a": [LOCKED] * 9}, "done done done done done", 10),  # a dead worker's lock
        ({"a": [LOCKED, DIED, LOCKED, DIED, DIED]}, "done done done done done", 6),
    ],
)
def test_a_plan(ends: dict[str, list[News]], states: str, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "LOCKED_SECONDS", 0.0)
    crew = Script({name: list(each) for name, each in ends.items()})
    endings = carry_out_plan(PLAN, crew, lambda task, news: None)
    assert " ".join(ending.state.replace(" ", "_") for ending in endings.values()) == states
    assert endings["a"].tries == tries
    order = [name for name, _ in crew.begun]
    if "film" in order:
        assert order.index("film") > max(len(order) - 1 - order[::-1].index(name) for name in ("a", "b"))
    assert len(failures(PLAN, endings)) == states.split().count("failed")


def test_a_task_goes_on_with_another_worker_and_that_is_said() -> None:
    crew, said = Script({"a": [DIED, DIED]}), list[str]()
    carry_out_plan(PLAN, crew, lambda task, news: said.append(news) if isinstance(news, str) else None)
    workers = [worker for name, worker in crew.begun if name == "a"]
    assert workers == ["one", "two", "one"]
    assert said == ["died; it goes on from its last state on another worker"] * 2


def test_a_stop_begins_nothing_more() -> None:
    crew = Script({})
    answers = iter([False, True])
    endings = carry_out_plan(PLAN, crew, lambda task, news: None, stop=lambda: next(answers, True))
    assert crew.stopped and [ending.state for ending in endings.values()][3:] == ["not begun"] * 2


@pytest.mark.parametrize("plan", [(task("a"), task("a")), (task("a", "b"), task("b")), (task("a", "x"),)])
def test_plans_that_cannot_be_carried_out(plan: Sequence[Task]) -> None:
    with pytest.raises(ValueError):
        check_plan(plan)


@pytest.mark.parametrize("news", [Frames(3), Said("a note"), Done(stopped=True), Failed("why", is_locked=True)])
def test_news_travel(news: News) -> None:
    assert from_json(to_json(news)) == news
