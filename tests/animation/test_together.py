"""Animations at once give the pictures that each gives alone, and do not disturb each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum import frames, load
from deforum.animation.loop import show
from deforum.animation.painter import Painting, each
from deforum.animation.stages import Stages
from deforum.animation.together import Meeting, Request, Together, batches
from deforum.behind import behind
from deforum.diffusion.faults import RenderError
from deforum.models.kept import KeptModels
from deforum.models.kept_graphs import is_supported
from deforum.pixels.image import Image
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.diffusion.tiny import frame

Pictures = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models() -> KeptModels:
    return KeptModels()


def settings_of(**values: object) -> Settings:
    small = {"width": 64, "height": 64, "steps": 3, "prompts": {0: "the sea", 3: "a forest"}, "zoom": 1.02, "seed": 7}
    return load({**small, **values}).settings


def pictures(settings: Settings, models: KeptModels, change: Any = lambda stages: stages) -> Pictures:
    return np.stack([picture for _, picture in frames(settings, models=models, change=change)])


SHORT, LONG = {"max_frames": 2, "cadence": 1}, {"max_frames": 5, "cadence": 3, "seed": 8, "strength": 0.4}
DEEP = {"max_frames": 3, "cadence": 2, "animation_mode": "3D", "translation_z": 4, "seed": 9, "steps": 2}
AT_EDGES = 0.001
"""Share of the values of a 3D run that may differ by more than a level: at the edges of depth a rounding decides which
of two surfaces a pixel of an in-between shows. 0.006 % here."""
APART = {"max_frames": 4, "animation_mode": "Interpolation"}


@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize(
    "several",
    [[SHORT, LONG], [SHORT, LONG, DEEP], [APART, LONG, SHORT]],
    ids=["two", "three, one in 3D", "one without feedback"],
)
def test_each_gives_the_pictures_of_its_own_run(
    several: list[dict[str, object]], in_batches: bool, models: KeptModels
) -> None:
    """In float32, as in 16 bits a batch changes the last digits, and they all of a picture."""
    runs = [settings_of(**values, precision="fp32") for values in several]
    alone = [pictures(run, models) for run in runs]
    together = Together(3, in_batches=in_batches)
    made = together.run([partial(pictures, run, models, together.join) for run in runs])
    for run, one, future in zip(runs, alone, made, strict=True):
        assert future is not None
        both = future.result(0)
        assert both.shape == one.shape
        other = np.abs(both.astype(int) - one) > 1
        assert other.mean() <= (AT_EDGES if run.mode.has_depth else 0)
        assert not other[[0, -1]].any()  # those that are painted


@pytest.mark.skipif(not is_supported(), reason="no OpenVINO")
def test_as_graphs_each_picture_is_bit_for_bit_that_of_its_own_run() -> None:
    """In-betweens too, whose flow is searched in 8 bits: one level more or less can make another match."""
    models = KeptModels()
    runs = [settings_of(**values, width=160, height=160, precision="fp32") for values in (LONG, {**LONG, "seed": 9})]
    alone = [pictures(run, models) for run in runs]
    together = Together(2)
    made = together.run([partial(pictures, run, models, together.join) for run in runs])
    for one, future in zip(alone, made, strict=True):
        assert future is not None and np.array_equal(future.result(0), one)


def test_in_16_bits_each_picture_is_bit_for_bit_that_of_its_own_run() -> None:
    models = KeptModels()
    runs = [settings_of(**values, precision="bf16") for values in (SHORT, LONG)]
    alone = [pictures(run, models) for run in runs]
    together = Together(2)
    made = together.run([partial(pictures, run, models, together.join) for run in runs])
    for one, future in zip(alone, made, strict=True):
        assert future is not None and np.array_equal(future.result(0), one)


def test_each_has_a_share_of_the_cores_for_all_that_it_does() -> None:
    """Its finishing too, which is in a thread of its own."""
    torch.set_num_threads(4)
    together, between, behind_it = Together(2), set[int](), set[int]()

    def finish(frame: Frame, image: Image) -> Callable[[], Image]:
        def work() -> Image:
            behind_it.add(torch.get_num_threads())
            return image

        return work

    def animate() -> None:
        with behind(finish, lambda frame, image: None, lambda frame: None) as show_next:
            for _ in range(3):
                [picture] = together._paint(Request(each(lambda init, frame: grey(1)), [grey(0)], [frame()], None))
                between.add(torch.get_num_threads())
                show_next(frame(), picture)

    for future in together.run([animate, animate]):
        assert future is not None
        future.result()
    assert between == behind_it == {2}
    assert torch.get_num_threads() == 4


# --- how they meet, with painters that are functions ------------------------------------------------------------------


def grey(level: float) -> Image:
    return torch.full((3, 8, 8), level)


def work(together: Together, painter: Any, levels: Sequence[float], reached: list[float]) -> Callable[[], int]:
    """Return an animation of one painting for each level."""

    def animate() -> int:
        for level in levels:
            [picture] = together._paint(Request(painter, [grey(float(level))], [frame()], None))
            reached.append(float(picture[0, 0, 0]))
        return len(levels)

    return animate


def test_a_batch_has_the_frames_of_all_that_are_still_running() -> None:
    sizes: list[int] = []

    def painter(inits: Sequence[Image], frames: Sequence[Frame], *, paints: object = None) -> list[Image]:
        sizes.append(len(inits))
        return [init + 1 for init in inits]

    together = Together(3, in_batches=True)
    reached: list[list[float]] = [[], [], []]
    works = [work(together, painter, range(n), got) for n, got in zip((1, 4, 2), reached, strict=True)]
    begun = threading.Barrier(3)  # otherwise one may have ended before the next begins

    def all_begun(animate: Callable[[], int]) -> int:
        begun.wait(60)
        return animate()

    futures = together.run([partial(all_begun, each) for each in works])
    assert [future.result() for future in futures if future] == [1, 4, 2]
    assert reached == [[1], [1, 2, 3, 4], [1, 2]]
    assert sum(sizes) == 7 and max(sizes) > 1


@pytest.mark.parametrize("in_batches", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("the model broke"), RenderError("frame 2: a picture of one colour")])
def test_an_error_is_that_of_its_own_animation(error: Exception, in_batches: bool) -> None:
    def painter(inits: Sequence[Image], frames: Sequence[Frame], *, paints: object = None) -> list[Image]:
        if any(float(init.mean()) == 2 for init in inits):
            raise error
        return [init + 1 for init in inits]

    together = Together(3, in_batches=in_batches)
    reached: list[list[float]] = [[], []]
    failing = work(together, painter, [1, 2, 3], reached[0])
    one, other = together.run([failing, work(together, painter, [5, 6, 7], reached[1])])
    assert one is not None and other is not None
    assert one.exception() is error and other.result() == 3
    assert reached == [[2], [6, 7, 8]]


def test_a_lack_of_memory_halves_the_batches() -> None:
    sizes: list[int] = []

    def painter(inits: Sequence[Any], frames: Sequence[Frame], *, paints: object = None) -> list[Image]:
        sizes.append(len(inits))
        if len(inits) > 2:
            raise torch.OutOfMemoryError
        return list(inits)

    together = Together(4, in_batches=True)
    begun = threading.Barrier(4)

    def animate() -> None:
        begun.wait(10)
        for _ in range(3):
            together._paint(Request(painter, [grey(0.0)], [frame()], None))

    for future in together.run([animate] * 4):
        assert future is not None
        future.result()
    assert sizes.count(4) == 1 and 2 in sizes


def test_requests_of_other_models_are_other_batches() -> None:
    def paint(*_: object, size: int = 0, paints: object = None) -> list[Image]:
        return []

    a, b = partial(paint, size=1), partial(paint, size=2)
    made = [Request(painter, [None], [frame()], None) for painter in (a, b, partial(paint, size=1), a)]
    assert batches(made, 8) == [[made[0], made[2], made[3]], [made[1]]]
    assert batches(made, 2) == [[made[0], made[2]], [made[1]], [made[3]]]


def test_a_retry_has_the_model_for_itself() -> None:
    painting, most = [0], [0]
    lock = threading.Lock()
    tried: set[int] = set()

    def painter(inits: Sequence[Image], frames: Sequence[Frame], *, paints: object = None) -> list[Image]:
        with lock:
            painting[0] += 1
        try:
            level = int(inits[0].mean())
            time.sleep(0.01)
            if level % 2 and level not in tried:
                tried.add(level)
                raise RenderError("NaN")
            if level in tried:
                most[0] = max(most[0], painting[0])
            return list(inits)
        finally:
            with lock:
                painting[0] -= 1

    together = Together(2)
    got: list[float] = []
    for future in together.run([work(together, painter, range(n, n + 6), got) for n in (0, 10)]):
        assert future is not None and future.result() == 6
    assert most == [1] and len(tried) == 6


def test_no_more_begin_than_have_room_and_none_after_a_stop() -> None:
    together, at_once, most, begun = Together(2), [0], [0], list[int]()
    lock = threading.Lock()

    def animate(number: int) -> int:
        with lock:
            begun.append(number)
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        with lock:
            at_once[0] -= 1
        return number

    futures = together.run([partial(animate, n) for n in range(6)], stop=lambda: len(begun) >= 4)
    results = [future and future.result() for future in futures]
    assert most == [2] and results[:4] == [0, 1, 2, 3] and results[-1] is None


def stages_of(painter: Any) -> Stages:
    """Return stages that have nothing but a painter."""
    nothing: Any = None
    return Stages(nothing, nothing, (), Painting(painter), (), (), (), nothing, nothing, nothing)


@pytest.mark.parametrize("place", ["while it loads", "while it waits", "after its painting", "at its next frame"])
def test_an_interrupt_stops_each(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Together(3, in_batches=place == "while it waits")
    begun, is_aborted = threading.Event(), threading.Event()
    abort = together._meeting.abort

    def aborts() -> None:
        abort()
        is_aborted.set()

    monkeypatch.setattr(together._meeting, "abort", aborts)
    asked, loads = list[object](), place == "while it loads"

    def painter(inits: Sequence[Image], frames: Sequence[Frame], *, paints: object = None) -> list[Image]:
        asked.append(inits)
        begun.set()
        assert is_aborted.wait(10)
        return list(inits)

    def animate() -> None:
        if loads:
            begun.set()
            assert is_aborted.wait(10)
        stages = together.join(stages_of(painter))
        if place != "after its painting":
            begun.set()
        moment: Any = None
        while place == "at its next frame":
            show(stages, grey(1), moment, {})
            time.sleep(0.001)
        stages.painting.painter([grey(1)], [frame()])

    def idles() -> None:
        """A batch lacks this animation."""
        assert is_aborted.wait(10)

    def interrupted() -> bool:
        if together._meeting.running == 2:
            assert begun.wait(10)
            raise KeyboardInterrupt
        return False

    results: list[object] = []

    def works(work: Callable[[], None]) -> None:
        try:
            work()
            results.append("ended")
        except KeyboardInterrupt:
            results.append("interrupted")
            raise

    with pytest.raises(KeyboardInterrupt):
        together.run([partial(works, each) for each in (idles, animate, idles)], stop=interrupted)
    assert sorted(map(str, results)) == ["ended", "interrupted"]
    assert len(asked) == (place == "after its painting")


def test_the_meeting_is_left_by_who_ends() -> None:
    meeting = Meeting()
    meeting.running = 1
    with pytest.raises(ValueError), meeting.attended():
        raise ValueError
    assert meeting.running == 0
