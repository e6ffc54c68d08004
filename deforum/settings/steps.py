"""The steps behind a render: what is made of its frames, one step after the other, without importing torch.

`STEPS` has a row for each kind of step. Its options are a class, declared like settings; their values are the step.
"""

# ruff: noqa: RUF009 (the calls in the dataclasses make their fields, like dataclasses.field)

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, Literal

from deforum.errors import UserError
from deforum.settings.declare import Declaration, declarations, option
from deforum.settings.files import Lookup
from deforum.settings.yaml_scalars import write_scalar
from schedules.quoting import cut, quote

VideoFormat = Literal["h264", "h265", "av1", "webm", "prores", "prores4444", "ffv1", "gif", "webp"]
FrameFormat = Literal["png", "png16", "jpeg", "webp"]

UPSCALERS = ("auto", "lanczos", "realesr-animevideov3", "x4plus", "x4plus-anime")
"""Upscalers by name; any other text is the path of a model's file."""
OLD_UPSCALERS: Mapping[str, str] = {"realesrgan-x4plus": "x4plus", "realesrgan-x4plus-anime": "x4plus-anime"}
"""Names in Deforum's files."""


@dataclass(frozen=True)
class Sound:
    """What steps do to the sound of a film; times in seconds of the sound as it is played."""

    tempo: float = 1.0
    """Factor of its speed; its pitch stays."""
    delay: float = 0.0
    """Silence before it."""
    fade_in: float = 0.0
    fade_out: tuple[float, float] | None = None
    """When it begins to fade, and how long that takes."""
    is_left_out: bool = False

    def slower(self, times: float) -> Sound:
        """Return what is done where all of it lasts this many times as long."""
        fade_out = None if self.fade_out is None else (self.fade_out[0] * times, self.fade_out[1] * times)
        return replace(
            self, tempo=self.tempo / times, delay=self.delay * times, fade_in=self.fade_in * times, fade_out=fade_out
        )


@dataclass(frozen=True)
class Reel:
    """Frames in a row, and their sound: what a step takes and gives."""

    width: int
    height: int
    count: int
    rate: Fraction
    """Frames per second."""
    sound: Sound = Sound()

    @property
    def seconds(self) -> float:
        return float(self.count / self.rate)


_step = partial(option, section="")
_KEEP = "Whether its frames are kept once the films are made; null is true for a run, and false for a film."


@dataclass(frozen=True)
class Finish:
    """Options of finish."""

    look: Literal["plain", "gouache", "ink"] = _step("plain", "", "Look, as finish_look.")
    keep: bool | None = _step(None, "", _KEEP)


@dataclass(frozen=True)
class Upscale:
    """Options of upscale."""

    factor: float = _step(2.0, "times", "Factor of width and height.", 1.5, 8)
    upscaler: str = _step("auto", "",
        f"One of {', '.join(UPSCALERS)}, or a model's file (.pth, .safetensors, ncnn's .param). auto is "
        "realesr-animevideov3 where its package is installed, else lanczos.",
        path=True, words=" ".join(UPSCALERS), models="upscaler")  # fmt: skip
    keep: bool | None = _step(None, "", _KEEP)


@dataclass(frozen=True)
class Interpolate:
    """Options of interpolate."""

    times: int = _step(2, "times", "Frames for each one; the frame rate is as many times as high.", 1, 10)
    slow: float = _step(1.0, "times", "Slow motion: the film lasts as many times as long.", 1, 10)
    sound: Literal["stretch", "keep", "cut"] = _step("stretch", "",
        "What slow motion does to sound: stretch slows it too, at its pitch; keep lets it run at its own speed; cut "
        "leaves it out.")  # fmt: skip
    interpolator: str = _step("auto", "", "As interpolator: auto, flow, raft, or a TorchScript file.", path=True,
        words="auto flow raft")  # fmt: skip
    inputs: Literal["auto", "film", "rife", "plane", "number", "middle"] = _step("auto", "", "As interpolator_inputs.")
    loop: bool = _step(False, "", "Whether the first frame follows the last one.")
    keep: bool | None = _step(None, "", _KEEP)


@dataclass(frozen=True)
class Denoise:
    """Options of denoise."""

    amount: float = _step(0.3, "share", "How much noise and flicker is removed; 0.2 is ffmpeg's own amount.", 0.01, 1)


@dataclass(frozen=True)
class Grain:
    """Options of grain."""

    amount: float = _step(0.02, "share", "Standard deviation of the noise. Try 0.01 to 0.05.", 0, 0.5)
    size: float = _step(1.0, "px", "Size of the grain; larger is softer. Try 2 for frames above 1000 px.", 1, 32)
    color: bool = _step(False, "", "Whether each colour has a grain of its own.")


@dataclass(frozen=True)
class Grade:
    """Options of grade."""

    lut: str = _step("", "path", "A table of colours, .cube, of one or three dimensions.", path=True)
    amount: float = _step(1.0, "share", "How much of it.", 0, 1)


@dataclass(frozen=True)
class Vignette:
    """Options of vignette."""

    amount: float = _step(0.3, "share", "How much darker the corners become.", 0, 1)


@dataclass(frozen=True)
class Fade:
    """Options of fade."""

    seconds: float = _step(1.0, "s", "How long it takes.", 0.01, 600)
    ends: Literal["both", "in", "out"] = _step("both", "", "Fade in at the beginning, out at the end, or both.")
    color: str = _step("black", "", "The colour, such as white or #203040.")
    sound: bool = _step(True, "", "Whether sound fades too.")


@dataclass(frozen=True)
class Title:
    """Options of title."""

    text: str = _step("", "", "The text; \\n begins a new line.")
    seconds: float = _step(3.0, "s", "How long it is shown.", 0.1, 600)
    size: float = _step(0.08, "share", "Height of the letters, of the frame's; made smaller where text is too wide.",
        0.01, 1)  # fmt: skip
    color: str = _step("white", "", "Colour of the letters.")
    background: str = _step("black", "", "Colour behind them.")
    font: str = _step("", "path", "A TrueType or OpenType file; without one, a plain font.", path=True)
    fade: float = _step(0.5, "s", "How long the text takes to appear, and to go.", 0, 60)
    over: bool = _step(False, "", "Shows the text over the first frames, instead of before them.")


@dataclass(frozen=True)
class EndCard:
    """Options of end_card."""

    text: str = _step("", "", "The text; \\n begins a new line.")
    seconds: float = _step(3.0, "s", "How long it is shown.", 0.1, 600)
    size: float = _step(0.06, "share", "Height of the letters, of the frame's; made smaller where text is too wide.",
        0.01, 1)  # fmt: skip
    color: str = _step("white", "", "Colour of the letters.")
    background: str = _step("black", "", "Colour behind them.")
    font: str = _step("", "path", "A TrueType or OpenType file; without one, a plain font.", path=True)
    fade: float = _step(0.5, "s", "How long the text takes to appear, and to go.", 0, 60)


@dataclass(frozen=True)
class Frames:
    """Options of frames."""

    format: FrameFormat = _step("png", "", "File format, as frame_format.")


@dataclass(frozen=True)
class Film:
    """Options of film."""

    format: VideoFormat | None = _step(None, "", "As video_format; null is that of the run.")
    quality: int | None = _step(None, "", "As video_quality, on the codec's own scale; null is that of the run.")
    preset: str | None = _step(None, "", "As video_preset; null is that of the run.")


Step = (
    Finish | Upscale | Interpolate | Denoise | Grain | Grade | Vignette | Fade | Title | EndCard | Frames | Film
)  # fmt: skip


# --- the table --------------------------------------------------------------------------------------------------------


def _same(step: Any, reel: Reel) -> Reel:
    return reel


def _no_complaint(step: Any) -> str:
    return ""


@dataclass(frozen=True)
class StepKind:
    """A kind of step: a row of STEPS.

    Output k of a step is made of the frames `uses(step, reel, k)` of its input, and its iterator, begun at frame j of
    its input, begins with output `first(step, reel, j)`.
    """

    name: str
    options: type[Any]
    main: str
    """The option that a plain value sets: `upscale: 2`; "" if none."""
    help: str
    open: str = ""
    """Import path of its code, (step, frames, at) -> frames, see `deforum.post.at`; "" for what is written as it is."""
    is_kept: bool = False
    """Whether its frames are written into a folder of their own, from which the steps after it go on."""
    gives: Callable[[Any, Reel], Reel] = _same
    uses: Callable[[Any, Reel, int], range] = lambda step, reel, index: range(index, index + 1)
    first: Callable[[Any, Reel, int], int] = lambda step, reel, index: index
    varies: Callable[[Any, Reel, int], str] = lambda step, reel, index: ""
    """What output k depends on besides its options and input, such as its number."""
    check: Callable[[Any], str] = _no_complaint
    """Returns what is wrong with the options together, as "option: message"; "" if nothing is."""

    @cached_property
    def declared(self) -> Mapping[str, Declaration]:
        return declarations(self.options)


def _larger(step: Upscale, reel: Reel) -> Reel:
    width, height = (max(2, round(side * step.factor / 2) * 2) for side in (reel.width, reel.height))
    return replace(reel, width=width, height=height)


def _finished(step: Finish, reel: Reel) -> Reel:
    from deforum.embedded import FINISHING_FACTOR

    return replace(reel, width=FINISHING_FACTOR * reel.width, height=FINISHING_FACTOR * reel.height)


def _stretched(step: Interpolate, reel: Reel) -> Reel:
    rate = reel.rate * step.times / Fraction(step.slow).limit_denominator(1000)
    sound = reel.sound
    if step.slow != 1 and step.sound == "stretch":
        sound = sound.slower(step.slow)
    elif step.slow != 1 and step.sound == "cut":
        sound = replace(sound, is_left_out=True)
    return replace(reel, count=reel.count * step.times, rate=rate, sound=sound)


def frames_of(seconds: float, reel: Reel) -> int:
    """Return the number of frames of a time, at least one."""
    return max(1, round(Fraction(seconds).limit_denominator(1000) * reel.rate))


def _is_missing(option: str) -> Callable[[Any], str]:
    return lambda step: "" if getattr(step, option) else f"{option}: this has to be given"


def _complain_of_card(step: Title | EndCard) -> str:
    return _is_missing("text")(step) or _complain_of_colors(step, "color", "background")


def _complain_of_colors(step: Any, *options: str) -> str:
    from PIL import ImageColor

    for name in options:
        try:
            ImageColor.getrgb(getattr(step, name))
        except ValueError:
            what = quote(getattr(step, name))
            return f"{name}: {what} is no colour; expected a name, such as white, or #rrggbb"
    return ""


def _faded(step: Fade, reel: Reel) -> Reel:
    sound = reel.sound
    if not step.sound:
        return reel
    if step.ends != "out":
        sound = replace(sound, fade_in=max(step.seconds - sound.delay, 0.0))
    if step.ends != "in":
        sound = replace(sound, fade_out=(reel.seconds - step.seconds - sound.delay, step.seconds))
    return replace(reel, sound=sound)


def _titled(step: Title, reel: Reel) -> Reel:
    if step.over:
        return reel
    count = frames_of(step.seconds, reel)
    sound = replace(reel.sound, delay=reel.sound.delay + float(count / reel.rate))
    return replace(reel, count=reel.count + count, sound=sound)


def _before(step: Title, reel: Reel) -> int:
    """Return how many frames a title adds."""
    return 0 if step.over else frames_of(step.seconds, reel)


def _uses_of_title(step: Title, reel: Reel, index: int) -> range:
    before = _before(step, reel)
    return range(0) if index < before else range(index - before, index - before + 1)


def _number(step: Any, reel: Reel, index: int) -> str:
    return str(index)


def _number_of(step: Any, reel: Reel, index: int) -> str:
    return f"{index} of {reel.count} at {reel.rate}"


_ROWS: tuple[StepKind, ...] = (
    StepKind(
        "finish", Finish, "look", "makes frames twice as wide and high by the embedded network",
        open="deforum.post.enlarge:finish", is_kept=True, gives=_finished,
    ),
    StepKind(
        "upscale", Upscale, "factor", "makes frames larger",
        open="deforum.post.enlarge:upscale", is_kept=True, gives=_larger,
    ),
    StepKind(
        "interpolate", Interpolate, "times", "makes frames in between, or slow motion",
        open="deforum.post.between:interpolate", is_kept=True, gives=_stretched,
        # A loop begins with its first frame, which the last one leads to.
        uses=lambda step, reel, index: range(
            0 if step.loop else index // step.times, min(index // step.times + 2, reel.count)
        ),
        first=lambda step, reel, index: index * step.times,
    ),
    StepKind(
        "denoise", Denoise, "amount", "removes noise and flicker", open="deforum.post.denoise:denoise",
        uses=lambda step, reel, index: range(index + 1),
    ),
    StepKind("grain", Grain, "amount", "adds grain", open="deforum.post.look:grain", varies=_number),
    StepKind(
        "grade", Grade, "lut", "grades colours by a .cube table", open="deforum.post.look:grade",
        check=_is_missing("lut"),
    ),
    StepKind("vignette", Vignette, "amount", "darkens the corners", open="deforum.post.look:vignette"),
    StepKind(
        "fade", Fade, "seconds", "fades in and out", open="deforum.post.look:fade", gives=_faded, varies=_number_of,
        check=lambda step: _complain_of_colors(step, "color"),
    ),
    StepKind(
        "title", Title, "text", "shows a title before the first frame, or over the first ones",
        open="deforum.post.cards:title", gives=_titled, uses=_uses_of_title,
        first=lambda step, reel, index: index + _before(step, reel) if index else 0,
        varies=_number_of, check=_complain_of_card,
    ),
    StepKind(
        "end_card", EndCard, "text", "shows a text after the last frame", open="deforum.post.cards:end_card",
        gives=lambda step, reel: replace(reel, count=reel.count + frames_of(step.seconds, reel)),
        uses=lambda step, reel, index: range(min(index, reel.count - 1), min(index, reel.count - 1) + 1),
        varies=_number_of, check=_complain_of_card,
    ),
    StepKind("frames", Frames, "format", "writes the frames so far as picture files", is_kept=True),
    StepKind("film", Film, "format", "makes a film of the frames so far"),
)  # fmt: skip

STEPS: Mapping[str, StepKind] = {row.name: row for row in _ROWS}
_OF_OPTIONS: Mapping[type[Any], StepKind] = {row.options: row for row in _ROWS}


def kind_of(step: Step) -> StepKind:
    return _OF_OPTIONS[type(step)]


# --- as text ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """Steps in the order in which they are made: the value of `post`."""

    steps: tuple[Step, ...] = ()

    @property
    def text(self) -> str:
        """The steps as YAML on one line, which loads to the same."""
        return f"[{', '.join(map(write_step, self.steps))}]"


def given_options(step: Step) -> dict[str, object]:
    """Return the options that differ from their defaults."""
    plain = type(step)()
    names = [field.name for field in dataclasses.fields(step)]
    return {name: getattr(step, name) for name in names if getattr(step, name) != getattr(plain, name)}


def write_step(step: Step) -> str:
    """Return a step as YAML on one line: `film`, `{upscale: 2}`, `{upscale: {factor: 2, upscaler: lanczos}}`."""
    kind, given = kind_of(step), given_options(step)
    if not given:
        return kind.name
    if set(given) <= {kind.main}:
        return f"{{{kind.name}: {write_scalar(getattr(step, kind.main))}}}"
    options = ", ".join(f"{name}: {write_scalar(value)}" for name, value in given.items())
    return f"{{{kind.name}: {{{options}}}}}"


def as_made(step: Step) -> Step:
    """Return a step without the option that changes no frame."""
    changes: dict[str, Any] = {"keep": None} if hasattr(step, "keep") else {}
    return replace(step, **changes)


def in_words(step: Step) -> str:
    """Return a step for people: `upscale 2, lanczos`."""
    given = given_options(step)
    main = kind_of(step).main
    values = [getattr(step, main)] if main and getattr(step, main) is not None else []
    values += [value if isinstance(value, str) else f"{name} {write_scalar(value)}"
               for name, value in given.items() if name not in (main, "keep")]  # fmt: skip
    words = ", ".join(value if isinstance(value, str) else write_scalar(value) for value in values)
    return cut(f"{kind_of(step).name} {words}".rstrip(), 80)


# --- files that steps name --------------------------------------------------------------------------------------------


def located(step: Step, files: Lookup, models_dir: str | None = None) -> tuple[Step, list[tuple[str, str]]]:
    """Make the paths in a step absolute, also of models by name; also return (option, message) for missing files."""
    found: dict[str, str] = {}
    missing: list[tuple[str, str]] = []
    for name, declaration in kind_of(step).declared.items():
        text = getattr(step, name)
        if not declaration.path or not text or text in declaration.words:
            continue
        try:
            path = files.find_file(text) or files.find_model(declaration.models, text, models_dir)
        except UserError as error:
            missing.append((name, str(error)))
            continue
        if path is not None:
            found[name] = str(path.resolve())
        else:
            missing.append((name, files.missing(text, declaration.words)))
    return replace(step, **found), missing  # type: ignore[arg-type]
