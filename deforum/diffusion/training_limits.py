"""What a model was trained on, its native size and its words, against what the settings ask of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.families.usual import usual_of
from deforum.diffusion.prompts.syntax import strip_networks
from deforum.errors import UserError
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.prompts import EXPRESSION, split_negative
from schedules import NumberSchedule, parse_number, parse_text
from schedules.quoting import quote

DEFORUM_SIZE = (512, 512)
"""Width and height of Deforum where a file does not give them."""
SMALLEST, LARGEST = 0.5, 2.25
"""Areas, relative to the native one, between which a picture comes out as trained: whole, and without repetitions."""
MOST_NAMED = 12
SMALLEST_WINDOW, LARGEST_WINDOW = 64, 8192
"""px"""
WORDS_FILE = "words.txt"
"""File in a model's folder with the words of its training captions, one a line."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NEGATION = re.compile(r"n['’]t$")
_STOP_WORDS = frozenset(
    """a about above across after against all along also am among an and are around as at away be because been before
    behind being below beneath beside between both but by can color colors colour
    colours could did do does down during each every few for from
    had has have he her here his how i if in inside into is it its just like made many more most much my near no nor
    not of off on one only onto or other our out outside over own same she so some such than that the their them then
    there these they this those through to too toward towards two under until up upon us very was we were what when
    where which while who whose will with within without would you your""".split()  # noqa: SIM905
)
"""Words that name nothing to see; a model that does not know them lacks nothing."""
_SYNTAX = frozenset(("AND", "BREAK"))


def window_of(tiled_diffusion: str, native: tuple[int, int]) -> int:
    """Return the side in px of the windows that `tiled_diffusion` names, 0 for none; `auto` is the native size.

    Raises UserError for another word, and a side that no window has.
    """
    word = tiled_diffusion.strip().casefold()
    if word in ("", "none", "off", "no", "false"):
        return 0
    if word == "auto":
        return max(native)
    if not word.isdecimal() or not SMALLEST_WINDOW <= int(word[:9]) <= LARGEST_WINDOW:
        raise UserError(
            f"tiled_diffusion: {quote(tiled_diffusion)} is no window; expected none, auto, or the side of a window, "
            f"{SMALLEST_WINDOW}..{LARGEST_WINDOW} (px)"
        )
    return int(word)


def with_size(settings: Settings, model: ModelSource) -> Settings:
    """Fill in a width or height that is not given: the model's native one, or Deforum's with its profile."""
    width, height = model.size if PROFILES[settings.profile].size_of_model else DEFORUM_SIZE
    return replace(
        settings,
        width=width if settings.width is None else settings.width,
        height=height if settings.height is None else settings.height,
    )


def with_sampling(settings: Settings, model: ModelSource, given: Collection[str]) -> tuple[Settings, str]:
    """Fill in steps, CFG and sampler that are not `given` with those that a model was made for; a note, or "" for none.

    With Deforum's profile they stay as they are.
    """
    usual = usual_of(model) if PROFILES[settings.profile].size_of_model else None
    if usual is None:
        return settings, ""
    changed: dict[str, str] = {}
    numbers = {"steps": f"{usual.steps}", "cfg_scale": f"{usual.cfg_scale:g}"}
    params: dict[str, NumberSchedule] = {}
    for name, text in numbers.items():
        own = parse_number(text, name=name)
        if name not in given and getattr(settings.params, name).text != own.text:
            params[name], changed[name] = own, text
    settings = replace(settings, params=replace(settings.params, **params))
    sampler = parse_text(usual.sampler, name="sampler")
    if "sampler" not in given and settings.sampler.text != sampler.text:
        settings, changed["sampler"] = replace(settings, sampler=sampler), usual.sampler
    told = ", ".join(f"{name} {text}" for name, text in changed.items())
    return settings, f"{told}: not given, and usual for {_title(model)}" if told else ""


def size_notes(given: Settings, model: ModelSource) -> Iterator[str]:
    """Yield a note where the size is not given, and one where the model was not trained for it."""
    missing = [name for name in ("width", "height") if getattr(given, name) is None]
    of_model = PROFILES[given.profile].size_of_model
    width, height = with_size(given, model).size
    if missing:
        origin = f"native to {_title(model)}" if of_model else "Deforum's default"
        verb = "is" if len(missing) == 1 else "are"
        yield f"size: {width}x{height}; {' and '.join(missing)} {verb} not given and {verb} {origin}"
    native = "x".join(map(str, model.size))
    area = width * height / (model.size[0] * model.size[1])
    if area < SMALLEST:
        yield f"size: {width}x{height} is small for {_title(model)}, trained at {native}: pictures lose their subject"
    elif area > LARGEST:
        yield f"size: {width}x{height} is large for {_title(model)}, trained at {native}: pictures repeat their subject"


def _title(model: ModelSource) -> str:
    return "the embedded model" if model.name == "embedded" else Path(model.name).name


def word_notes(texts: Iterable[str], model: ModelSource) -> Iterator[str]:
    """Yield a note naming the words of prompts that the model never saw, and one for negative prompts.

    `texts` are prompts as in the settings, with `--neg`, weights and expressions. Only a model whose folder has a list
    of its words is judged.
    """
    words_file = None if model.path is None else model.path / WORDS_FILE
    if model.kind != "folder" or words_file is None or not words_file.is_file():
        return
    known = _STOP_WORDS.union(words_file.read_text(encoding="utf-8").split())
    halves = [split_negative(EXPRESSION.sub(" ", text)) for text in texts]
    for kind, half in (("prompts", 0), ("negative prompts", 1)):
        unknown = unknown_words((each[half] for each in halves), known)
        if unknown:
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            yield (
                f"{kind}: {_title(model)} was not trained on these words and ignores them: "
                f"{', '.join(unknown[:MOST_NAMED])}{more} (its words are in {words_file})"
            )


def unknown_words(texts: Iterable[str], known: Iterable[str]) -> list[str]:
    """List the words of texts that are not in `known` (lower case), as first written, each once.

    Numbers, names with digits such as 4k, single letters, and the prompt syntax count as known.
    """
    known = frozenset(known)
    found: dict[str, str] = {}
    for text in texts:
        for word in _WORD.findall(strip_networks(text)):
            stem = re.split("['’]", word)[0]
            names_something = len(stem) > 1 and stem.isalpha() and not _NEGATION.search(word)
            if names_something and stem.lower() not in known and stem not in _SYNTAX:
                found.setdefault(stem.lower(), stem)
    return list(found.values())
