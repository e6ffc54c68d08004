"""Work that goes on in a thread: bounded, and with errors that come back."""

from __future__ import annotations

import threading
import time

import pytest

from deforum.background import Ahead, Background, queue_room


def test_memory_is_bounded_when_the_encoder_is_slower() -> None:
    held: list[int] = []
    gate = threading.Semaphore(0)

    def slow(item: int) -> None:
        gate.acquire()
        held.append(item)

    line = Background(slow, name="slow", waiting=3)
    feeder = threading.Thread(target=lambda: [line.put(n) for n in range(10)])
    feeder.start()
    feeder.join(0.3)
    assert feeder.is_alive()  # one is being done, three wait, the fifth is not taken
    for _ in range(10):
        gate.release()
    feeder.join()
    line.close()
    assert held == list(range(10))


def test_an_error_in_a_thread_comes_up_at_the_next_hand_over() -> None:
    def fail(item: int) -> None:
        raise OSError(f"cannot do {item}")

    line = Background(fail, name="failing")
    with pytest.raises(OSError, match="cannot do 0"):
        for n in range(100):
            line.put(n)
            time.sleep(0.01)
    with pytest.raises(OSError, match="cannot do 0"):
        line.close()


@pytest.mark.parametrize(
    ("size", "room"),
    [(0, 16), (64 * 64 * 3, 16), (512 * 512 * 3, 16), (1024 * 1024 * 3, 6), (3840 * 2160 * 3, 4), (10**9, 4)],
)
def test_a_queue_holds_as_much_as_its_memory_allows(size: int, room: int) -> None:
    assert queue_room(size) == room


def test_values_are_computed_ahead_where_the_caller_knows_what_comes() -> None:
    done: list[tuple[int, bool]] = []
    begun = threading.Semaphore(0)

    def square(n: int) -> int:
        done.append((n, threading.current_thread() is threading.main_thread()))
        begun.release()
        return n * n

    ahead = Ahead(square, name="squares")
    assert ahead(1, 2) == 1
    for _ in range(2):
        assert begun.acquire(timeout=10)
    assert done == [(1, True), (2, False)]  # before anyone asked for it
    assert ahead(2, 3) == 4
    assert ahead(5, None) == 25 and ahead(6, None) == 36  # what was not foreseen
    for _ in range(3):
        assert begun.acquire(timeout=10)
    assert sorted(done) == [(1, True), (2, False), (3, False), (5, True), (6, True)]


def test_an_error_ahead_is_raised_where_its_value_is_needed() -> None:
    ahead = Ahead(lambda n: 1 // n, name="failing")
    assert ahead(1, 0) == 1
    with pytest.raises(ZeroDivisionError):
        ahead(0, None)
    assert ahead(2, None) == 0
