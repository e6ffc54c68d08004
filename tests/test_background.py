"""Work that goes on in a thread: bounded, and with errors that come back."""

from __future__ import annotations

import threading
import time

import pytest

from deforum.background import Background, queue_room


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
