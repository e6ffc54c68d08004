"""What a plot shows: the schedules of a run, frame by frame, as plain data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.reports.plot.texts import Recorder, Texts
from schedules import NumberSchedule, TextSchedule, Variables, nearest, parse_expression
from schedules.quoting import cut
from schedules.sampling import place
from schedules.variables import HEARD, VARIABLES

if TYPE_CHECKING:
    from deforum.settings.declare import Declaration
    from deforum.settings.options import Settings
    from deforum.timeline.timeline import Timeline


@dataclass(frozen=True)
class Mark:
    """A keyframe."""

    frame: int
    is_expression: bool


@dataclass(frozen=True, eq=False)
class Curve:
    """A schedule of numbers over the frames of a run."""

    name: str
    section: str
    unit: str
    help: str
    source: str
    """The schedule in canonical spelling, or what drives the curve in its place."""
    idle: str
    """Why it has no effect in these settings; "" where it acts."""
    values: NDArray[np.float64]
    """(F,)"""
    marks: tuple[Mark, ...]

    @property
    def varies(self) -> bool:
        return bool((self.values != self.values[0]).any())


@dataclass(frozen=True)
class Track:
    """A text that is held from frame to frame: sampler, checkpoint, mask, pictures."""

    name: str
    section: str
    help: str
    texts: Texts

    @property
    def varies(self) -> bool:
        return len(self.texts.starts) > 1


@dataclass(frozen=True)
class Band:
    """A prompt on the timeline, as it is written."""

    first: int
    """Its keyframe; 0 for the first prompt, which also acts before its keyframe."""
    positive: str
    negative: str


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run."""

    bands: tuple[Band, ...]
    """By keyframe; where prompts are blended, one may lie behind the last frame."""
    blend: bool
    """Whether each prompt goes over into the next one, all the way between their keyframes."""
    positive: Texts
    negative: Texts
    """The prompts of every frame as they are rendered, with weights where several are blended."""


@dataclass(frozen=True, eq=False)
class Soundtrack:
    """The sound beneath a plot. Places are frames with fractions: 12.5 is the middle between the frames 12 and 13."""

    name: str
    bpm: float
    """Beats per minute; 0 where none are heard."""
    beats: tuple[float, ...]
    bars: tuple[float, ...]
    """Beats that begin a bar."""
    sections: tuple[tuple[float, str], ...]
    """Where each part of the sound begins, and its name."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """(N,) the smallest and the greatest sample of each part of the waveform, -1..1."""
    first: float
    last: float
    """Where the waveform begins and ends."""


@dataclass(frozen=True)
class Steady:
    """A schedule that has one value in all frames."""

    name: str
    value: float | str
    unit: str


@dataclass(frozen=True)
class Plot:
    """One run over time."""

    title: str
    num_frames: int
    fps: float
    size: tuple[int, int] | None
    """Width and height in px, where they are known."""
    mode: str
    seed: int
    is_seed_drawn: bool
    """Whether each run draws another seed, and `seed` stands in for it."""
    cadence: int
    """Frames from one painted frame to the next; 0 where that differs."""
    first: int
    """The first frame that is rendered."""
    painted: tuple[int, ...]
    """Frames that are diffused, ascending from `first` on."""
    seeds: tuple[int, ...]
    """Of each painted frame; empty where they are not shown."""
    prompts: Prompts
    rows: tuple[Curve | Track, ...]
    """What is drawn, in the order of sections."""
    steady: tuple[Steady, ...]
    """Schedules that act and do not vary."""
    idle: tuple[tuple[str, str], ...]
    """Schedules that vary without effect, each with where it would act."""
    sound: Soundtrack | None = None

    @property
    def curves(self) -> tuple[Curve, ...]:
        return tuple(row for row in self.rows if isinstance(row, Curve))


def plot_of(
    settings: Settings,
    timeline: Timeline,
    names: Sequence[str] = (),
    *,
    title: str = "",
    is_seed_drawn: bool = False,
    sound: Soundtrack | None = None,
) -> Plot:
    """Make the plot of a timeline: of the schedules in `names`, or of all that vary and act.

    Names are those of settings, also old ones, of a row such as "lora NAME weight", or of a variable that follows a
    sound, a tempo or a table. Raises UserError for a name that is none of these.
    """
    found = (*_rows(settings, timeline), *_signals(settings, timeline, names))
    chosen = resolve_names(names, settings, found) if names else None
    acting = [row for row in found if not (isinstance(row, Curve) and row.idle)]
    rows = [row for row in acting if row.varies] if chosen is None else [row for row in found if row.name in chosen]
    shows_seeds = chosen is None or bool(chosen & {"seed", "subseed", "seed_schedule"})
    width, height = settings.width, settings.height
    skipped = bisect_left(timeline.keys, timeline.first)
    painted = timeline.keys[skipped:]
    return Plot(
        title=title,
        num_frames=len(timeline),
        fps=timeline.fps,
        size=(width, height) if width and height else None,
        mode=settings.animation_mode,
        seed=timeline.seed,
        is_seed_drawn=is_seed_drawn,
        cadence=_distance(painted),
        first=timeline.first,
        painted=painted,
        seeds=timeline.seeds[skipped:] if shows_seeds else (),
        prompts=_prompts(timeline),
        rows=tuple(_in_order(rows)),
        steady=tuple(_steady(row) for row in acting if not row.varies and row not in rows) if chosen is None else (),
        idle=tuple(
            (row.name, row.idle) for row in found if isinstance(row, Curve) and row.idle and row.varies
        ) if chosen is None else (),
        sound=sound,
    )  # fmt: skip


def _distance(keys: Sequence[int]) -> int:
    """Return the distance of all neighbours; 1 for a single key, 0 where it differs."""
    distances = {after - before for before, after in pairwise(keys)}
    return 0 if len(distances) > 1 else min(distances, default=1)


def _steady(row: Curve | Track) -> Steady:
    if isinstance(row, Curve):
        return Steady(row.name, float(row.values[0]), row.unit)
    return Steady(row.name, next(text for _, text in row.texts.runs()), "")


def _in_order(rows: Iterable[Curve | Track]) -> list[Curve | Track]:
    """Sort rows by section: motion first, which is what most people tune."""
    from deforum.settings.options import SECTIONS

    order = list(dict.fromkeys(("motion", "camera", *SECTIONS)))
    return sorted(rows, key=lambda row: order.index(row.section))


# --- names ------------------------------------------------------------------------------------------------------------

ALWAYS = ("prompt", "negative_prompt", "diffused", "seed", "subseed")
"""Names of `values` that no row has: what they name is drawn apart."""


def resolve_names(words: Sequence[str], settings: Settings, rows: Sequence[Curve | Track]) -> frozenset[str]:
    """Return the names of rows that `words` name: settings, old names, or the beginning of several rows.

    Raises UserError.
    """
    from deforum.reports.tabulate import ALIASES
    from deforum.settings.options import OPTIONS
    from deforum.settings.read import CANONICAL
    from deforum.settings.yaml_writer import write_value

    known = [row.name for row in rows]
    names: set[str] = set()
    for word in words:
        name = ALIASES.get(word, CANONICAL.get(word, word))
        several = [row for row in known if row.startswith(f"{word} ") or row.startswith(f"{UNITS.get(word, word)} ")]
        if word in known or name in known or name in ALWAYS:
            names.add(word if word in known else name)
        elif several:
            names.update(several)
        elif name in OPTIONS and hasattr(settings, name):
            value = cut(write_value(getattr(settings, name)))
            raise UserError(f"{cut(word)}: this is not a schedule; it is {value} in every frame")
        else:
            meant = nearest(word, [*known, *ALWAYS, *ALIASES, *CANONICAL])
            hint = f"; did you mean {meant}?" if meant else "; without names, all that vary are shown"
            raise UserError(f"{cut(word)}: there is no such schedule{hint}")
    return frozenset(names)


def is_name(word: str) -> bool:
    """Whether a word names a schedule, or a setting."""
    from deforum.reports.tabulate import ALIASES
    from deforum.settings.read import find_setting

    rows = {*ALWAYS, *ALIASES, *HEARD}
    return word in rows or word.split(" ")[0] in UNITS.values() or find_setting(word) is not None


UNITS: Mapping[str, str] = {"loras": "lora"}
"""Settings that are lists of units, and how the names of their rows begin where that differs."""


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(settings: Settings, timeline: Timeline) -> Iterator[Curve | Track]:
    return chain(
        _params(settings, timeline),
        _texts(settings, timeline),
        _control_units(settings, timeline),
        _loras(settings, timeline),
        _pictures(settings, timeline),
    )


def _params(settings: Settings, timeline: Timeline) -> Iterator[Curve]:
    from deforum.features.acting import in_mode, in_words, is_switched_on
    from deforum.settings.params import PARAMS
    from deforum.timeline.camera import driven
    from deforum.timeline.curves import Sampling

    replaced = frozenset(driven(settings))
    sampling = Sampling(settings)

    def idle(name: str, declaration: Declaration) -> str:
        if declaration.pending:
            return f"acts with {declaration.pending}, which is not supported yet"
        if not in_mode(declaration, settings):
            return f"acts in {' or '.join(declaration.modes)} mode"
        if not is_switched_on(name, settings, sampling):
            return f"acts where {in_words(name)}" if in_words(name) else "never acts"
        return ""

    for name, schedule in settings.params.items():
        if name == "subseed" and not timeline.is_used("subseed_strength"):
            continue
        declaration, values = PARAMS[name], getattr(timeline.curves, name)
        curve = _curve(name, declaration, schedule, values, timeline.variables, idle(name, declaration))
        if name in replaced:
            curve = replace(curve, source=f"camera_file: {Path(settings.camera_file).name}", marks=())
        yield curve


def _curve(
    name: str,
    declaration: Declaration,
    schedule: NumberSchedule,
    values: NDArray[np.float64],
    variables: Variables,
    idle: str = "",
) -> Curve:
    placed = place(schedule.keyframes, len(values), variables)
    marks = tuple(Mark(frame, not isinstance(each.value, float)) for frame, each in placed.items())
    unit, section = declaration.unit, declaration.section
    return Curve(name, section, unit, declaration.help, schedule.text, idle, np.asarray(values, np.float64), marks)


def _texts(settings: Settings, timeline: Timeline) -> Iterator[Track]:
    from deforum.output.labels import without_home
    from deforum.settings.options import OPTIONS

    sampled: Mapping[str, Sequence[str]] = {
        "sampler": timeline.samplers,
        "checkpoint": timeline.checkpoints,
        "vae": timeline.vaes or ("",) * len(timeline),
        **{
            name: schedule.sample(len(timeline), timeline.variables)
            for name, schedule in (("mask", settings.mask), ("noise_mask", settings.noise_mask))
            if isinstance(schedule, TextSchedule)
        },
    }
    for name, texts in sampled.items():
        shown = {text: without_home(text) for text in set(texts)}
        yield Track(
            name, OPTIONS[name].section, OPTIONS[name].help, Texts.of((i, shown[text]) for i, text in enumerate(texts))
        )


def _control_units(settings: Settings, timeline: Timeline) -> Iterator[Curve]:
    from deforum.settings.read import find_declaration

    for number, unit in enumerate(settings.control_units, 1):
        for field, schedule in vars(unit).items():
            if isinstance(schedule, NumberSchedule):
                name = f"cn_{number}_{field}"
                values = schedule.sample(len(timeline), timeline.variables)
                idle = "" if unit.enabled else f"acts where cn_{number}_enabled is on"
                yield _curve(name, find_declaration(name), schedule, values, timeline.variables, idle)


def _loras(settings: Settings, timeline: Timeline) -> Iterator[Curve]:
    from deforum.settings.options import LoraUnit
    from deforum.settings.units import declared

    for unit, track in zip(settings.loras, timeline.loras, strict=True):
        for field, values in (("weight", track.network), ("text_encoder", track.text), ("start", track.start),
                              ("end", track.end)):  # fmt: skip
            schedule = getattr(unit, field)
            if schedule is not None:
                declaration = declared(LoraUnit)[field]
                yield _curve(f"lora {track.name} {field}", declaration, schedule, values, timeline.variables)


def _pictures(settings: Settings, timeline: Timeline) -> Iterator[Curve | Track]:
    from deforum.output.labels import without_home
    from deforum.settings.options import PictureUnit, ReferenceUnit
    from deforum.settings.units import declared

    frames = range(len(timeline))
    for number, (unit, images) in enumerate(zip(settings.ip_adapter, timeline.images, strict=True), 1):
        scale, pictures = declared(PictureUnit)["scale"], declared(PictureUnit)["images"]
        yield _curve(f"ip_adapter {number} scale", scale, unit.scale, images.scale, timeline.variables)
        shown = (images.pictures.at(frame, blend=timeline.blend_prompts) for frame in frames)
        texts = (" + ".join(without_home(path) for path, weight in each if weight) for each in shown)
        yield Track(f"ip_adapter {number} images", pictures.section, pictures.help, Texts.of(enumerate(texts)))
    if timeline.reference is not None:
        reference, rows = settings.reference[0], declared(ReferenceUnit)
        for field in ("strength", "fidelity"):
            values = getattr(timeline.reference, field)
            yield _curve(f"reference {field}", rows[field], getattr(reference, field), values, timeline.variables)
        texts = (without_home(timeline.reference.at(frame).picture) for frame in frames)
        yield Track("reference picture", rows["picture"].section, rows["picture"].help, Texts.of(enumerate(texts)))


def _signals(settings: Settings, timeline: Timeline, names: Sequence[str]) -> Iterator[Curve]:
    """Yield the variables in `names` that follow a sound, a tempo or a table."""
    from deforum.reports.tabulate import signal_names

    variables, frames = timeline.variables, np.arange(len(timeline))
    for name in signal_names(settings):
        if name in names:
            values = parse_expression(name, own=variables.own).evaluate(frames, variables, len(timeline))
            help = VARIABLES[name][1] if name in VARIABLES else "Values of a table."
            yield Curve(name, "sound", "", help[:1].upper() + help[1:], name, "", np.asarray(values, np.float64), ())


# --- prompts ----------------------------------------------------------------------------------------------------------


def _prompts(timeline: Timeline) -> Prompts:
    from deforum.output.labels import prompts_of
    from deforum.timeline.prompts import split_negative

    track = timeline.prompts
    firsts = (0, *track.keys[1:])
    bands = [Band(first, *split_negative(text)) for first, text in zip(firsts, track.texts, strict=True)]

    positive, negative = Recorder(), Recorder()
    for frame in _changes(timeline):
        texts = prompts_of(timeline[frame])
        positive.add(frame, texts[0])
        negative.add(frame, texts[1])
    return Prompts(
        bands=tuple(band for band in bands if timeline.blend_prompts or band.first < len(timeline)),
        blend=timeline.blend_prompts,
        positive=positive.texts(),
        negative=negative.texts(),
    )


def _changes(timeline: Timeline) -> Sequence[int]:
    """Return the frames at which the text of the prompts can differ from that of the frame before."""
    track, last = timeline.prompts, len(timeline) - 1
    if timeline.blend_prompts or timeline.loras or any("`" in text for text in track.texts):
        return range(len(timeline))
    return sorted({0, *(key for key in track.keys if key <= last)})
