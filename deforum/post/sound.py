"""What steps do to sound, as ffmpeg's filters."""

from __future__ import annotations

from collections.abc import Iterator

from deforum.settings.steps import Sound

SLOWEST = 0.5
"""Smallest factor of one atempo filter; smaller ones are made by several."""


def filters_of(sound: Sound) -> tuple[str, ...]:
    """Return the filters, in order: speed, fades, then silence before."""
    return tuple(_filters(sound))


def _filters(sound: Sound) -> Iterator[str]:
    tempo = sound.tempo
    while tempo < SLOWEST:
        yield f"atempo={SLOWEST}"
        tempo /= SLOWEST
    if tempo != 1:
        yield f"atempo={tempo:.9g}"
    if sound.fade_in:
        yield f"afade=t=in:st=0:d={sound.fade_in:.6f}"
    if sound.fade_out is not None:
        begin, seconds = sound.fade_out
        yield f"afade=t=out:st={max(begin, 0):.6f}:d={seconds:.6f}"
    if sound.delay:
        yield f"adelay=delays={round(1000 * sound.delay)}:all=1"
