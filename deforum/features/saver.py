"""Masks and pictures that features save beside the renderer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from deforum.background import Background, queue_room
from deforum.errors import UserError, disk_error
from deforum.profiling import staged

if TYPE_CHECKING:
    from deforum.pixels.image import Image, Mask
    from deforum.pixels.png import Levels

Save = Callable[[Path, int, bytes], None]
"""Saves a file that belongs to a frame: path, index of the frame, content. Complete under its name, or not there."""

SavePicture = Callable[[Path, int, "Image | Mask"], None]
"""Saves a picture (3, H, W), or a mask (H, W), of 0..1 of a frame as a PNG file: path, index of the frame, picture."""


class PictureSaver:
    """Save pictures and masks as 8-bit PNG files by `save`, in a thread of its own.

        with PictureSaver(save, expect) as saver:
            saver(folder / "000000000.png", 0, mask)

    `expect` is told the path at once. Memory is bounded: a call waits while the queue is full. The first failure to
    write raises UserError with the path, in the next call or at the end.
    """

    def __init__(self, save: Save, expect: Callable[[Path], None]) -> None:
        self._save, self._expect = save, expect
        self._files: Background[tuple[Path, int, Levels]] | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, path: Path, index: int, image: Image | Mask) -> None:
        from deforum.pixels.image import quantize

        levels = quantize(image)  # now: the renderer may go on to change the picture
        if self._files is None:
            self._files = Background(self._write, name="masks", waiting=queue_room(levels.nbytes))
        self._expect(path)
        self._files.put((path, index, levels))

    @staged("write")
    def _write(self, item: tuple[Path, int, Levels]) -> None:
        from deforum.pixels.png import encode_png

        path, index, levels = item
        try:
            self._save(path, index, encode_png(levels))
        except OSError as error:
            raise disk_error(error, path) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._files is None:
            return
        if kind is not None and not issubclass(kind, Exception):
            self._files.abandon()
            return
        try:
            self._files.close()
        except UserError as late:
            if error is None:
                raise
            if str(late) != str(error):
                error.add_note(str(late))
