"""Pictures between two, and a film made slower by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deforum.interpolation import Interpolator, load_interpolator, resolve_interpolator
from deforum.interpolation.cuts import is_cut
from deforum.pixels.image import CPU, Image

MOST = 10
"""Most frames of a slower film for each of the original's."""


def in_between(first: Image, last: Image, at: Sequence[float], interpolator: Interpolator | None = None) -> list[Image]:
    """Return the pictures at times `at`, 0..1, between two that follow each other, (3, H, W) of one size.

    At 0 and 1 they are the two themselves. Across a scene cut `first` is repeated until 1. Without an interpolator
    optical flow is followed, which needs no files. Raises ValueError for times beyond 0..1, or pictures of two sizes.
    """
    if first.shape != last.shape:
        raise ValueError(f"pictures of two sizes: {tuple(first.shape)} and {tuple(last.shape)}")
    if not all(0 <= time <= 1 for time in at):
        raise ValueError(f"times between two pictures are 0 to 1, not {list(at)}")
    inner = [time for time in at if 0 < time < 1]
    if inner and is_cut(first, last):
        between = iter([first] * len(inner))
    else:
        between = iter((interpolator or by_flow())(first, last, inner) if inner else [])
    return [first if time == 0 else last if time == 1 else next(between) for time in at]


def stretched(
    frames: Iterable[Image], times: int, interpolator: Interpolator | None = None, *, loop: bool = False
) -> Iterator[Image]:
    """Yield a film with `times` frames, 1 to MOST, for each of its own: the frame, and those up to the next.

    The last frame is repeated, so that the film lasts as long as before at `times` its rate, and its sound fits; in a
    loop those up to the first frame come after it.
    Across a scene cut the last frame before it is repeated. Raises ValueError as `in_between` does.
    """
    if not 1 <= times <= MOST:
        raise ValueError(f"times is {times}; expected 1 to {MOST}")
    interpolator = interpolator or by_flow()
    at = [step / times for step in range(times)]
    first = before = None
    for frame in frames:
        if before is not None:
            yield from in_between(before, frame, at, interpolator)
        first, before = frame if first is None else first, frame
    if before is not None and first is not None:
        yield from in_between(before, first, at, interpolator) if loop else [before] * times


def by_flow() -> Interpolator:
    """Load the engine that needs no files."""
    return load_interpolator(resolve_interpolator("flow"), CPU)
