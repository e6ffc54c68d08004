"""The stages of a chain: which frames and films are made of which, how large they become, and by which recipe."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.errors import Problem, UserError
from deforum.settings.steps import Chain, EndCard, Film, Frames, Reel, Step, Title, as_made, in_words, kind_of

LARGEST = 16384
"""px along either side."""
BYTES_PER_PIXEL = {8: 1.2, 16: 3.5}
"""Of frames written as PNG, by their bits: the lower end of what rendered frames take."""


@dataclass(frozen=True)
class Stage:
    """Steps that are made in one go, from kept frames to other kept frames, or to a film."""

    steps: tuple[Step, ...]
    """From the kept frames on; the frames pass through them one by one."""
    end: Step
    """The last of them where it is kept, or the film or frames that are written after them."""
    made_by: tuple[Step, ...]
    """All steps from the beginning of the chain on, with `end`, without other films."""
    source: int
    """Index of the stage whose frames it is made of; -1: the beginning of the chain."""
    takes: Reel
    gives: Reel

    @property
    def is_film(self) -> bool:
        return isinstance(self.end, Film)

    @property
    def name(self) -> str:
        """The name of its folder: `upscale2_grain`."""
        words = [tag(step) for step in self.made_by if not isinstance(step, Film | Frames)]
        words += ["film"] if self.is_film else ["frames"] if isinstance(self.end, Frames) else []
        return "_".join(words)[:80]

    @property
    def words(self) -> str:
        """What is done, for people: `upscale 2, lanczos`."""
        steps = self.steps if self.end in self.steps else (*self.steps, self.end)
        return "; ".join(map(in_words, steps))

    @property
    def reels(self) -> list[Reel]:
        """What each of `steps` takes."""
        return takes_of(self.steps, self.takes)


def tag(step: Step) -> str:
    """Return a step as part of a name: `upscale2`."""
    main = getattr(step, kind_of(step).main, None)
    is_number = isinstance(main, int | float) and not isinstance(main, bool)
    return kind_of(step).name + (f"{main:g}" if is_number else "")


def takes_of(steps: Sequence[Step], reel: Reel) -> list[Reel]:
    """Return what each step of a sequence takes, from `reel` on."""
    found = []
    for step in steps:
        found.append(reel)
        reel = kind_of(step).gives(step, reel)
    return found


def gives_of(steps: Sequence[Step], reel: Reel) -> Reel:
    """Return what steps make of a reel."""
    for step in steps:
        reel = kind_of(step).gives(step, reel)
    return reel


def frame_behind(steps: Sequence[Step], reel: Reel, frame: int) -> int:
    """Return the frame that shows frame `frame` of a reel once the steps are made."""
    for step in steps:
        gives = kind_of(step).gives(step, reel)
        if isinstance(step, Title):
            frame += gives.count - reel.count
        elif not isinstance(step, EndCard):
            frame = round(frame * gives.count / reel.count)
        reel = gives
    return frame


def plan(chain: Sequence[Step], reel: Reel, *, film: bool = True) -> tuple[Stage, ...]:
    """Divide a chain that begins with `reel` into stages. With `film` a chain that makes none ends in one."""
    steps = list(chain)
    if film and not isinstance(steps[-1], Film):
        steps.append(Film())
    elif not film and not kind_of(steps[-1]).is_kept and not isinstance(steps[-1], Film):
        steps.append(Frames())
    stages: list[Stage] = []
    source, takes = -1, reel
    passing: list[Step] = []
    made_by: list[Step] = []
    for step in steps:
        kind = kind_of(step)
        if kind.open:
            passing.append(step)
            made_by.append(step)
        if isinstance(step, Film) or kind.is_kept:
            by = tuple(made_by) if kind.open else (*made_by, step)
            gives = gives_of(passing, takes)
            stages.append(Stage(tuple(passing), step, by, source, takes, gives))
            if kind.is_kept:
                source, takes, passing = len(stages) - 1, gives, []
    return tuple(stages)


# --- what is refused beforehand ---------------------------------------------------------------------------------------


def check_sizes(stages: Sequence[Stage]) -> list[Problem]:
    """List stages whose frames are too large to be made."""
    found = []
    for stage in stages:
        width, height = stage.gives.width, stage.gives.height
        if max(width, height) > LARGEST and not stage.is_film:
            what = f"{stage.words}: makes frames of {width}x{height} px"
            found.append(Problem(f"{what}; expected at most {LARGEST} px along either side"))
    return found


def bytes_of(stages: Sequence[Stage], bits: int) -> int:
    """Return about how many bytes the frames of stages take on the disk, at least."""
    kept = [stage.gives for stage in stages if not stage.is_film]
    return int(sum(each.count * each.width * each.height for each in kept) * BYTES_PER_PIXEL[bits])


def check_disk(stages: Sequence[Stage], bits: int, folder: Path, there: int = 0) -> list[Problem]:
    """List a problem where the frames of stages need more than the disk of a folder has free.

    `there` are the bytes of those that are written already.
    """
    needed = bytes_of(stages, bits) - there
    place = next((each for each in (folder, *folder.absolute().parents) if each.is_dir()), Path())
    free = shutil.disk_usage(place).free
    if needed <= free:
        return []
    words = " and ".join(f"{stage.gives.count} frames of {stage.gives.width}x{stage.gives.height}"
                         for stage in stages if not stage.is_film)  # fmt: skip
    what = f"{words} take at least {needed / 1e9:.1f} GB on the disk of {place}, which has {free / 1e9:.1f} GB free"
    return [Problem(f"{what}; make room, choose a smaller factor, or another folder with -o")]


# --- recipes ----------------------------------------------------------------------------------------------------------


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def text_of(stage: Stage) -> str:
    """Return the options of a stage that its frames depend on, as text."""
    return Chain(tuple(as_made(step) for step in (*stage.steps, stage.end))).text


def used(stage: Stage, index: int) -> tuple[range, tuple[str, ...]]:
    """Return which frames of its source an output of a stage is made of, and what else it depends on."""
    frames, varies = range(index, index + 1), list[str]()
    for step, reel in zip(reversed(stage.steps), reversed(stage.reels), strict=True):
        kind = kind_of(step)
        varies += [kind.varies(step, reel, each) for each in frames]
        ends = [kind.uses(step, reel, each) for each in (frames[0], frames[-1])]
        frames = range(ends[0].start, ends[-1].stop)
        if not frames:
            break
    return frames, tuple(varies)


def recipes(stage: Stage, source: Sequence[str], files: str = "") -> list[str]:
    """Return a digest of what each output of a stage is made of: its options, and the frames that it uses.

    `source` are the recipes of its source; `files` is a digest of the files that its options name.
    """
    text, found = text_of(stage), []
    for index in range(stage.gives.count):
        frames, varies = used(stage, index)
        found.append(digest(text, files, *varies, *source[frames.start : frames.stop]))
    return found


def beginning(stage: Stage, index: int) -> tuple[int, tuple[int, ...]]:
    """Return the frame of its source that a stage begins at to make output `index`, and the first outputs of its steps.

    The last of those is at most `index`.
    """
    frames, _ = used(stage, index)
    begin = frames.start if frames else 0
    firsts: list[int] = []
    at = begin
    for step, reel in zip(stage.steps, stage.reels, strict=True):
        at = kind_of(step).first(step, reel, at)
        firsts.append(at)
    return begin, tuple(firsts)


def stretches(wanted: Sequence[int]) -> Iterator[range]:
    """Yield ascending numbers as ranges without gaps."""
    begin = 0
    for place, number in enumerate(wanted):
        if place + 1 == len(wanted) or wanted[place + 1] != number + 1:
            yield range(wanted[begin], number + 1)
            begin = place + 1


def refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise UserError(problems)
