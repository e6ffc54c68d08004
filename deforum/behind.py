"""Finishing of frames behind the loop: in a thread, before they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from deforum.background import Background
from deforum.build import Animation
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.output.frames import AT_THE_END
from deforum.profiling import stage
from deforum.timeline.frame import Frame

if TYPE_CHECKING:
    from deforum.pixels.image import Image

Finish = Callable[[Frame, "Image"], Callable[[], "Image"]]
"""Takes the next frame and its picture; returns the work that makes the picture to write, for any thread."""


def finishing(animation: Animation, models: KeptModels) -> tuple[Animation, Finish | None]:
    """Load what finishes frames; return the animation to render, and the function; None: frames stay as they are.

    Raises UserError.
    """
    settings = animation.settings
    if not settings.finishes:
        return animation, None
    from deforum.finishing.finisher import load_finisher
    from deforum.finishing.own import OwnPixels

    own, finisher = OwnPixels(), models.get(partial(load_finisher, settings.finish_look, animation.device))

    def finish(frame: Frame, image: Image) -> Callable[[], Image]:
        return partial(finisher, image, own.at(frame.index))

    return animation.telling_own(own.tell), finish


@contextlib.contextmanager
def behind(
    finish: Finish | None, write: Callable[[Frame, Image], None], expect: Callable[[Frame], None]
) -> Iterator[Callable[[Frame, Image], None]]:
    """Yield a function that takes the next frame: it is finished and written in a thread, while the loop goes on.

    `expect` is told of each frame at once. At the end, and after an error, the frames so far are written first; an
    interrupt does not wait.
    """
    if finish is None:
        yield write
        return

    import torch

    threads = torch.get_num_threads()

    def work(item: tuple[Frame, Callable[[], Image]]) -> None:
        torch.set_num_threads(threads)  # a new thread has the number that was set last, by any thread
        frame, finished = item
        with stage("finish", frame.index):
            image = finished()
        with stage("write", frame.index):
            write(frame, image)

    line = Background(work, name="finishing", waiting=2)

    def hand_over(frame: Frame, image: Image) -> None:
        expect(frame)
        line.put((frame, finish(frame, image)))

    try:
        yield hand_over
    except Exception as error:
        try:
            line.close()
        except UserError as second:
            if str(second) != str(error):
                error.add_note(str(second))
        raise
    except BaseException:
        line.abandon(AT_THE_END)
        raise
    line.close()
