"""What a render will be like, before any model is loaded: motion on the screen, jumps, dead keyframes, time, memory.

found = forecast(check(load("sea.yaml").settings))
print(*found.lines(), sep="\\n")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from deforum.forecast.keyframes import DeadKeyframe

if TYPE_CHECKING:
    from deforum.build import Prepared
    from deforum.forecast.motion import Motions

Array = NDArray[np.float64]
T = TypeVar("T")
TimeSource = Literal["this kind of run", "other runs", "elsewhere", ""]
"""Where the time is known from: runs of this kind on this machine; others of them with the same model; measurements of
the embedded model on another machine; nowhere."""

_DOUBT: tuple[TimeSource, ...] = ("this kind of run", "other runs", "elsewhere", "")


@dataclass(frozen=True)
class Needs:
    """What a render takes."""

    start: float
    """Seconds that do not depend on the number of frames: loading models, closing the film; 0 where not known."""
    making: float
    """Seconds of making graphs of networks, once for a size of frames."""
    seconds: float | None
    """All of them; None where nothing is known."""
    time_from: TimeSource
    memory: int | None
    """Bytes; None where nothing is known."""
    memory_is_measured: bool
    behind: float | None = 0.0
    """Seconds of the steps behind the render, which are in `seconds`; None where they are not known, and not in it."""


def needs_of(prepared: Prepared) -> Needs:
    """Tell the time and the memory of a render, which `forecast` tells too; without its motion, at once."""
    from deforum.build import prepare

    if not prepared.shots:
        return _with_steps(prepared, _needs_of_chain(prepared, prepared.frames))
    return _with_steps(
        prepared, _sum([_needs_of_chain(prepare(shot.settings), shot.frames) for shot in prepared.shots])
    )


def _with_steps(prepared: Prepared, needs: Needs) -> Needs:
    """Add the steps behind the render, which begin with the frames of the whole film."""
    from deforum.probe import expect_behind

    behind = expect_behind(prepared.settings, len(prepared.frames))
    seconds = None if needs.seconds is None else needs.seconds + (behind or 0.0)
    return replace(needs, seconds=seconds, behind=behind)


def _needs_of_chain(prepared: Prepared, shown: range) -> Needs:
    from deforum.needs import CHECKING, is_in_table, making_on_two_cores, memory, start_on_two_cores, work
    from deforum.probe import expect

    expected, amount = expect(prepared), float(work(prepared, shown).sum())
    if expected is not None:
        known: TimeSource = "this kind of run" if expected.is_exact else "other runs"
        start = CHECKING + expected.start
        whole = start + expected.making + expected.ratio * amount
        needed = expected.memory or memory(prepared)
        return Needs(start, expected.making, whole, known, needed, expected.memory is not None)
    if not is_in_table(prepared.settings):
        return Needs(0.0, 0.0, None, "", memory(prepared), False)
    start, making = start_on_two_cores(prepared), making_on_two_cores(prepared)
    return Needs(start, making, start + making + amount, "elsewhere", memory(prepared), False)


def _sum(needs: Sequence[Needs]) -> Needs:
    """Add up the chains of a film; the model is loaded once."""
    known = [each.seconds - each.start - each.making for each in needs if each.seconds is not None]
    start, making = (max(getattr(each, name) for each in needs) for name in ("start", "making"))
    return Needs(
        start,
        making,
        start + making + sum(known) if len(known) == len(needs) else None,
        max((each.time_from for each in needs), key=_DOUBT.index),
        max((each.memory for each in needs if each.memory is not None), default=None),
        all(each.memory_is_measured for each in needs),
    )


LEAST_MAKING = 0.5
"""Seconds of making graphs that are told."""
LEAST_BEHIND = 0.05
"""Share of all seconds from which those of the steps behind a render are told."""
SUDDEN = 0.02
"""A jump changes the motion by this share of the frame's shorter side at least..."""
TIMES_USUAL = 4
"""...and by this many times of what is usual in the frames around it."""
AROUND = 8
"""Frames before and after that are around it."""
SETTLING = 4
"""Frames after a jump in which slower ones belong to it."""
MOST_TOLD = 6
"""Jumps and keyframes that are told one by one."""


@dataclass(frozen=True)
class Jump:
    """A frame whose motion differs from that of the frames around it."""

    frame: int
    speed: float
    """px since the frame before."""
    before: float
    """px/frame, of the frame before."""
    change: float
    """px: how far its motion differs from that of the frame before; more than either where the motion turns round."""

    def __str__(self) -> str:
        turned = " the other way" if self.change > 1.2 * max(self.speed, self.before) else ""
        return f"frame {self.frame}: {pixels(self.speed)} px, after {pixels(self.before)} px{turned}"


@dataclass(frozen=True)
class Forecast:
    """What a render will be like."""

    frames: int
    fps: float
    paintings: int
    """Frames that are diffused; each once more for each pass of diffusion_redo."""
    passes: int
    first: int
    """The number of the first frame."""
    begins: tuple[int, ...]
    """The frames, counted from 0, at which a chain begins: those of shots; else the first one alone."""
    speed: tuple[float, ...]
    """(F,) px/frame: the mean length of the motion since the frame before, on the screen; 0 where a chain begins."""
    uncovered: tuple[float, ...]
    """(F,) share of the frame that comes into view."""
    jumps: tuple[Jump, ...]
    dead_keyframes: tuple[DeadKeyframe, ...]
    out_of_range: tuple[str, ...]
    """Schedules with values out of range, a line each."""
    depth: str
    """3D: the depth that is assumed, in words; else empty."""
    seed_range: tuple[float, float]
    """Shares of `speed` between which the motion of most runs lies, as each seed paints another scene; else (1, 1)."""
    clip: str
    """The clip whose motion is in it, in words; or empty."""
    needs: Needs
    """From checking the settings to the film, and to that of the steps behind the render."""

    @property
    def seconds(self) -> float | None:
        """Of the render; None where nothing is known of it."""
        return self.needs.seconds

    @property
    def time_from(self) -> TimeSource:
        return self.needs.time_from

    @property
    def memory(self) -> int | None:
        """Bytes; None where nothing is known of it."""
        return self.needs.memory

    @property
    def memory_is_measured(self) -> bool:
        return self.needs.memory_is_measured

    @property
    def median_speed(self) -> float:
        """px/frame: the median over the frames that follow another one."""
        return float(np.median(self._moved(self.speed)))

    @property
    def top_speed(self) -> float:
        """px/frame: 95 % of the frames are at most this fast."""
        return float(np.percentile(self._moved(self.speed), 95))

    @property
    def median_uncovered(self) -> float:
        """Share of the frame that comes into view in half of the frames at most."""
        return float(np.median(self._moved(self.uncovered)))

    @property
    def top_uncovered(self) -> float:
        return float(np.percentile(self._moved(self.uncovered), 95))

    def _moved(self, values: tuple[float, ...]) -> Array:
        moved = np.delete(np.array(values), self.begins)
        return moved if len(moved) else np.zeros(1)

    def lines(self) -> list[str]:
        """Return the forecast as lines for people."""
        redone = "" if self.passes == self.paintings else f", {self.passes} diffusions"
        says = [f"{self.frames} frames, {self.frames / self.fps:.1f} s; {self.paintings} are painted{redone}"]
        if any(self.speed):
            assumed = "".join(f"; {each}" for each in (self.depth, self.clip) if each)
            low, high = (pixels(share * self.median_speed) for share in self.seed_range)
            seeds = "" if low == high else f"; {low} to {high} by the seed"
            says.append(
                f"motion: {pixels(self.median_speed)} px/frame (median{seeds}), "
                f"{pixels(self.top_speed)} (95 %){assumed}"
            )
            says.append(
                f"newly uncovered: {percent(self.median_uncovered)} of each frame (median), "
                f"{percent(self.top_uncovered)} (95 %)"
            )
        else:
            says.append("motion: none" + "".join(f"; {each}" for each in (self.depth, self.clip) if each))
        says += told("jumps", [str(jump) for jump in self.jumps])
        says += [_dead(name, [each for each in self.dead_keyframes if each.setting == name], self.frames - 1)
                 for name in dict.fromkeys(each.setting for each in self.dead_keyframes)]  # fmt: skip
        says += list(self.out_of_range)
        says.append(f"time: {self._time()}")
        if self.memory is not None:
            how = "measured here" if self.memory_is_measured else "estimated"
            says.append(f"memory: about {self.memory / 1e9:.1f} GB ({how})")
        return says

    def _time(self) -> str:
        if self.seconds is None:
            return "not known yet: the first run with this model on this machine will tell"
        about, making = f"about {duration(self.seconds)}", self.needs.making
        says = {
            "this kind of run": f"{about}, by runs of this kind on this machine",
            "other runs": f"{about}, by other runs with this model on this machine",
            "elsewhere": f"{about} on 2 cores of a server; no run on this machine yet",
            "": about,
        }[self.time_from]
        if making >= LEAST_MAKING:
            says += f"; {duration(making)} of it in the first run of this size alone"
        if self.needs.behind is None:
            return f"{says}; the steps behind the render come on top: the first run with them will tell"
        if self.needs.behind >= LEAST_BEHIND * self.seconds:
            says += f"; {duration(self.needs.behind)} of it for the steps behind the render"
        return says

    def as_json(self) -> dict[str, object]:
        """Return the fields, with the medians and 95 % values, as JSON has them."""
        fields: dict[str, object] = asdict(self)
        del fields["needs"]
        fields |= asdict(self.needs)
        fields |= {
            "speed": [round(each, 3) for each in self.speed],
            "uncovered": [round(each, 5) for each in self.uncovered],
            "seed_range": [round(each, 3) for each in self.seed_range],
            "median_speed": round(self.median_speed, 3),
            "top_speed": round(self.top_speed, 3),
            "median_uncovered": round(self.median_uncovered, 5),
            "top_uncovered": round(self.top_uncovered, 5),
        }
        return fields


def forecast(prepared: Prepared) -> Forecast:
    """Foresee a render that was checked or prepared. Loads no model, and does not import torch.

    Motion is that of the camera and of a clip: in 3D with an assumed depth, see `Forecast.depth`. A clip is read for
    about 0.3 s. Raises UserError where a frame cannot be rendered.
    """
    from deforum.build import prepare

    if not prepared.shots:
        found = _of_chain(prepared, prepared.frames)
    else:
        found = _joined(prepared, [_of_chain(prepare(shot.settings), shot.frames) for shot in prepared.shots])
    return replace(found, needs=_with_steps(prepared, found.needs))


def _of_chain(prepared: Prepared, shown: range) -> Forecast:
    """Foresee a chain of frames: those `shown` of its settings."""
    from deforum.forecast.clips import clip_motion
    from deforum.forecast.keyframes import dead_keyframes, out_of_range
    from deforum.forecast.motion import motions_of, seed_range
    from deforum.forecast.scenes import scene_of

    settings, timeline = prepared.settings, prepared.timeline
    scene = scene_of(timeline.prompts.texts)
    added, clip = clip_motion(prepared, shown)
    found = motions_of(settings, timeline, scene, shown, added)
    depth = ""
    if settings.mode.has_depth:
        depth = f"depth as in {scene.name}" if settings.use_depth_warping else "a flat scene"
    paintings = sum(key in shown for key in timeline.keys)
    return Forecast(
        frames=len(shown), fps=settings.fps, paintings=paintings, passes=paintings * (1 + settings.diffusion_redo),
        first=shown.start, begins=(0,),
        speed=tuple(found.speed.tolist()), uncovered=tuple(found.uncovered.tolist()),
        jumps=find_jumps(found, min(settings.size), shown.start),
        dead_keyframes=dead_keyframes(settings), out_of_range=out_of_range(settings), depth=depth,
        seed_range=seed_range(settings, timeline, scene, shown), clip=clip, needs=_needs_of_chain(prepared, shown),
    )  # fmt: skip


def _joined(prepared: Prepared, chains: Sequence[Forecast]) -> Forecast:
    """Join the forecasts of a film's shots."""
    names, places = [shot.name for shot in prepared.shots], [shot.at for shot in prepared.shots]
    return Forecast(
        frames=sum(chain.frames for chain in chains), fps=prepared.settings.fps,
        paintings=sum(chain.paintings for chain in chains), passes=sum(chain.passes for chain in chains),
        first=0, begins=tuple(places),
        speed=tuple(each for chain in chains for each in chain.speed),
        uncovered=tuple(each for chain in chains for each in chain.uncovered),
        jumps=tuple(
            replace(jump, frame=jump.frame - chain.first + at)
            for chain, at in zip(chains, places, strict=True) for jump in chain.jumps
        ),
        dead_keyframes=_told_once(
            [chain.dead_keyframes for chain in chains], names,
            lambda each, name: replace(each, setting=f"{name}, {each.setting}"),
        ),
        out_of_range=_told_once(
            [chain.out_of_range for chain in chains], names, lambda line, name: f"{name}, {line}"
        ),
        depth="; ".join(dict.fromkeys(filter(None, (chain.depth for chain in chains)))),
        seed_range=_mean_range(chains),
        clip="; ".join(dict.fromkeys(filter(None, (chain.clip for chain in chains)))),
        needs=_sum([chain.needs for chain in chains]),
    )  # fmt: skip


def _mean_range(chains: Sequence[Forecast]) -> tuple[float, float]:
    """Average the ranges of chains, by their frames."""
    low, high = np.average([chain.seed_range for chain in chains], 0, [chain.frames for chain in chains])
    return float(low), float(high)


def _told_once(found: Sequence[tuple[T, ...]], names: Sequence[str], named: Callable[[T, str], T]) -> tuple[T, ...]:
    """Join what was found in shots: what is the same in all of them once, and the rest with the name of its shot."""
    shared = [each for each in found[0] if all(each in others for others in found)]
    own = [named(each, name) for items, name in zip(found, names, strict=True) for each in items if each not in shared]
    return (*shared, *own)


def find_jumps(motions: Motions, side: int, begin: int = 0) -> tuple[Jump, ...]:
    """Find the frames whose motion differs suddenly: in a picture of a shorter side of `side` px.

    `begin` is the number of the first frame.
    """
    change, speed = motions.change, motions.speed
    found: list[Jump] = []
    for frame in np.flatnonzero(change > SUDDEN * side).tolist():
        first = max(frame - AROUND, 2)  # the motion begins in frame 1
        around = np.concatenate((change[first : max(frame - 1, first)], change[frame + 2 : frame + 2 + AROUND]))
        if len(around) and change[frame] < TIMES_USUAL * np.median(around):
            continue
        # The way back from a jump, and the end of one that takes several frames, belong to it.
        if not found or begin + frame > found[-1].frame + SETTLING or speed[frame] > speed[frame - 1]:
            found.append(Jump(begin + frame, float(speed[frame]), float(speed[frame - 1]), float(change[frame])))
    return tuple(found)


def told(what: str, items: Sequence[str]) -> list[str]:
    """Return a line for items: the first ones, and how many more there are; none for none."""
    if not items:
        return []
    more = f"; and {len(items) - MOST_TOLD} more" if len(items) > MOST_TOLD else ""
    return [f"{what}: {'; '.join(items[:MOST_TOLD])}{more}"]


def _dead(name: str, keyframes: Sequence[DeadKeyframe], last: int) -> str:
    frames = ", ".join(str(each.frame) for each in keyframes[:MOST_TOLD])
    more = f" and {len(keyframes) - MOST_TOLD} more" if len(keyframes) > MOST_TOLD else ""
    lie = "s {} lie" if len(keyframes) > 1 else " {} lies"
    which = "the first one" if len(keyframes) > 1 else "it"
    approached = f"; {which} is approached, and not reached" if keyframes[0].is_approached else ""
    return f"{name}: the keyframe{lie.format(frames + more)} behind the last frame, {last}{approached}"


def pixels(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}" if number >= 0.05 else "0"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %" if share >= 0.0005 else "0 %"


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min" if seconds >= 9.95 * 60 else f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
