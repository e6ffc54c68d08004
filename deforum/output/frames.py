"""The frames of a run as picture files, written beside the renderer."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum import atomic
from deforum.background import Background
from deforum.features.feature import COPIES_FOLDER
from deforum.models.transfer import Arriving
from deforum.output.choice import Outputs
from deforum.output.finished import read_frame
from deforum.output.labels import Label
from deforum.output.ledger import Ledger
from deforum.output.pictures import PICTURES, encode
from deforum.profiling import staged
from deforum.sources import FRAMES_FOLDER
from deforum.video.writer import Pixels, arrived, to_depth

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame

AT_THE_END = 0.3
"""Seconds that pictures in work are waited for where a run is stopped at once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """A frame that is handed over for writing."""

    frame: Frame
    pixels: Pixels | Arriving
    seconds: float
    """Since the frame before."""


def frame_paths(folder: Path, outputs: Outputs, index: int) -> list[Path]:
    """Return the files of a frame while a run renders: its picture, and where films need one its exact copy."""
    picture = folder / FRAMES_FOLDER / f"{index:09}{PICTURES[outputs.picture].suffix}"
    copy = folder / COPIES_FOLDER / FRAMES_FOLDER / f"{index:09}.png"
    return [picture, copy] if outputs.needs_copies else [picture]


class FrameFiles:
    """Write frames into a run's folder, with the texts of `label`, in two threads.

    With a ledger each file is recorded; a frame that is there already is only compared. Where films need more than the
    pictures hold, exact copies are kept in the folder COPIES_FOLDER. `waiting` is the number of frames in the queue.
    """

    def __init__(
        self, folder: Path, outputs: Outputs, label: Label | None, ledger: Ledger | None = None, waiting: int = 4
    ) -> None:
        self.folder, self.outputs, self._label, self._ledger = folder, outputs, label, ledger
        self.has_copies = ledger is not None and outputs.needs_copies
        self.changed: list[int] = []
        """Frames that came out different from those that were there."""
        self._last = time.monotonic()
        self._line: Background[Shot] = Background(self._write, name="pictures", threads=2, waiting=waiting)

    def path(self, index: int) -> Path:
        return frame_paths(self.folder, self.outputs, index)[0]

    def copy_path(self, index: int) -> Path:
        """Return the path of the file with the exact pixels of a frame."""
        return frame_paths(self.folder, self.outputs, index)[-1] if self.has_copies else self.path(index)

    def expect(self, frame: Frame) -> None:
        """Announce a frame that will be queued: states of the run wait for it."""
        if self._ledger is not None:
            for path in {self.path(frame.index), self.copy_path(frame.index)}:
                self._ledger.expect(path)

    def write(self, frame: Frame, pixels: Pixels | Arriving) -> None:
        """Queue a frame; `pixels` (H, W, 3) must not change any more. Raises OSError of the threads.

        Pixels on their way from a render device are waited for by the threads.
        """
        now = time.monotonic()
        self.expect(frame)
        self._line.put(Shot(frame, pixels, now - self._last))
        self._last = now

    def read(self, indices: Iterable[int]) -> Iterator[Pixels]:
        """Yield the exact pixels of frames. Raises OSError where one cannot be read."""
        for index in indices:
            pixels = read_frame(self.copy_path(index))
            if pixels is None:
                raise OSError(0, "a frame cannot be read", str(self.copy_path(index)))
            yield pixels

    @staged("write")
    def _write(self, shot: Shot) -> None:
        frame, path = shot.frame, self.path(shot.frame.index)
        texts = self._label.texts(frame) if self._label else {}
        pixels = arrived(shot.pixels)
        encoded = encode(pixels, self.outputs.picture, texts)
        if self._ledger is None:
            atomic.write(path, encoded)
            return
        copy = self.copy_path(frame.index)
        self._compare(copy, frame.index, pixels)
        self._ledger.save(path, frame.index, encoded, seed=frame.seed, seconds=round(shot.seconds, 3))
        if copy != path:
            kind = "png16" if self.outputs.bits == 16 else "png"
            self._ledger.save(copy, frame.index, encode(pixels, kind, {}))

    def _compare(self, path: Path, index: int, pixels: Pixels) -> None:
        assert self._ledger is not None
        is_exact = self.has_copies or PICTURES[self.outputs.picture].is_exact
        if is_exact and self._ledger.name_of(path) in self._ledger.entries:
            before = read_frame(path)
            if before is not None and not np.array_equal(before, as_stored(pixels, before)):
                self.changed.append(index)

    def close(self) -> None:
        """Wait until all frames are written. Raises OSError."""
        self._line.close()

    def abandon(self) -> None:
        """Stop at once, with the frames that are written; nothing unfinished is left."""
        self._line.abandon(AT_THE_END)
        for folder in {self.path(0).parent, self.copy_path(0).parent}:
            for path in folder.glob(f"*{atomic.UNFINISHED}"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def remove(self, count: int) -> None:
        """Delete the first `count` frames; of an empty folder nothing is left."""
        for index in range(count):
            self.path(index).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds files of others
            self.path(0).parent.rmdir()


def as_stored(pixels: Pixels, stored: Pixels) -> Pixels:
    """Return levels with the bits of those that were stored."""
    return to_depth(pixels, 16 if stored.dtype == np.uint16 else 8)
