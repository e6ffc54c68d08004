"""Of several that ask at once, the last one is answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from deforum.serve.jobs import NotNow
from deforum.serve.turns import Turns
from tests.helpers import wait_until


def test_the_last_one_has_its_turn() -> None:
    turns, goes_on, entered = Turns(), Event(), list[int]()

    def work(number: int) -> int:
        with turns.turn():
            entered.append(number)
            goes_on.wait(10)
            return number

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(work, 1)
        assert wait_until(lambda: entered == [1])
        second = pool.submit(work, 2)
        assert wait_until(lambda: turns._last == 2)
        third = pool.submit(work, 3)
        assert wait_until(lambda: turns._last == 3)
        goes_on.set()
        assert first.result() == 1 and third.result() == 3
        with pytest.raises(NotNow):
            second.result()
    assert entered == [1, 3]
