"""The frames of a preview, or of a draft, as pictures with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deforum.build import Prepared, prepare
from deforum.errors import UserError
from deforum.models.kept import KeptModels
from deforum.preview.plan import Plan
from deforum.preview.scale import scaled, scaled_curves, with_fewer_steps
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB levels."""

MOST_PARTS = 16
"""The smallest draft: a sixteenth of the size and steps."""


def preview_frames(
    plan: Plan, models: KeptModels | None = None, *, plain: bool = False
) -> Iterator[tuple[Frame, Pixels]]:
    """Yield each frame of a preview with its picture, (H, W, 3) RGB levels.

    `plain`: without labels, and without drawn masks. Models that are loaded are added to `models`. Raises UserError.
    """
    _settle_process()
    from deforum.pixels.image import to_bytes
    from deforum.preview.play import play

    models = KeptModels() if models is None else models
    for name, chain in plan.shots or (("", plan),):
        label = labelling(chain.settings, chain.timeline, plan.place, name, plain=plain)
        for frame, image in play(chain, models, draws_masks=not plain):
            index = frame.index - chain.shown.start + chain.at
            yield replace(frame, index=index), label(to_bytes(image), frame, index)


@dataclass(frozen=True)
class Draft:
    """A small render: the chains that it consists of, in order, and where they are in the film."""

    chains: tuple[Prepared, ...]
    names: tuple[str, ...]
    """Of the shots; one empty name for a single chain."""
    shown: tuple[range, ...]
    """The frames of each chain that are shown."""
    starts: tuple[int, ...]
    """The numbers of their first frames in the film."""

    @property
    def settings(self) -> Settings:
        return self.chains[0].settings

    @property
    def place(self) -> range:
        start = self.starts[0]
        return range(start, self.starts[-1] + len(self.shown[-1]))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for chain in self.chains for note in chain.notes))


def plan_draft(settings: Settings, parts: int, *, allow_download: bool = False) -> Draft:
    """Prepare a render of 1 / `parts` of the size and of the steps, with the same frames, prompts and seeds.

    Frames are not finished. Raises UserError.
    """
    if not 1 <= parts <= MOST_PARTS:
        raise UserError(f"--draft {parts}: expected 1..{MOST_PARTS}, such as 2 for half of the size and the steps")
    film = prepare(settings, allow_download=allow_download)
    if not film.shots:
        chain = _drafted(film, parts, allow_download=allow_download)
        return Draft((chain,), ("",), (film.frames,), (film.frames.start,))
    chains = tuple(
        _drafted(prepare(shot.settings, allow_download=allow_download), parts, allow_download=allow_download)
        for shot in film.shots
    )
    names, shown = tuple(shot.name for shot in film.shots), tuple(shot.frames for shot in film.shots)
    return Draft(chains, names, shown, tuple(shot.at for shot in film.shots))


def _drafted(whole: Prepared, parts: int, *, allow_download: bool) -> Prepared:
    """Return a chain at a part of its size and steps; what it needs at that size is found again."""
    small = prepare(replace(scaled(whole.settings, 1 / parts), finish="none"), allow_download=allow_download)
    timeline = with_fewer_steps(scaled_curves(small.timeline, whole.settings, 1 / parts), 1 / parts)
    return replace(small, timeline=timeline)


def draft_frames(
    draft: Draft, models: KeptModels | None = None, *, plain: bool = False
) -> Iterator[tuple[Frame, Pixels]]:
    """Render a draft; yields as `preview_frames` does. Raises UserError."""
    _settle_process()
    from deforum.build import build
    from deforum.pixels.image import to_bytes

    models = KeptModels() if models is None else models
    for chain, name, shown, start in zip(draft.chains, draft.names, draft.shown, draft.starts, strict=True):
        label = labelling(chain.settings, chain.timeline, draft.place, name, plain=plain)
        for frame, image in build(chain, models).frames():
            if frame.index not in shown:
                break
            index = frame.index - shown.start + start
            yield replace(frame, index=index), label(to_bytes(image), frame, index)


def labelling(
    settings: Settings, timeline: Timeline, film: range, shot: str, *, plain: bool
) -> Callable[[Pixels, Frame, int], Pixels]:
    """Return the function that labels a picture, given its frame and its number in the film; not with `plain`."""
    if plain:
        return lambda pixels, frame, index: pixels
    from deforum.preview.labels import Labels

    return Labels(timeline, *settings.size, film, shot).draw


def _settle_process() -> None:
    from deforum.models.process import settle_process

    settle_process()
