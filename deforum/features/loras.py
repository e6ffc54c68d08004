"""LoRAs: the files of those that prompts and the setting `loras` name.

Their weights travel in the frames, and their files with the model, so that the loop is the same with and without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.diffusion.adapters.lora.file import LoraFile, made_for, read_file, trigger_words
from deforum.embedded import LORAS
from deforum.errors import Problem, UserError
from deforum.models import library
from deforum.models.places import roots_of
from deforum.settings.files import Lookup
from deforum.settings.options import LoraUnit, Settings
from deforum.settings.units import declared
from deforum.timeline.lora_words import KINDS, TAG, take_loras
from deforum.timeline.prompts import split_negative
from deforum.timeline.variables import variables_of
from schedules import ScheduleError
from schedules.quoting import cut, quote

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


@dataclass(frozen=True)
class Loras:
    """The files of the LoRAs of a run."""

    paths: tuple[tuple[str, Path], ...]
    """By the names in frames."""
    files: tuple[LoraFile, ...]
    """In the same order."""


def names_in(settings: Settings) -> tuple[str, ...]:
    """List the LoRAs that settings name, each once."""
    texts = [settings.positive_prompt, *(split_negative(text)[0] for _, text in settings.prompts)]
    words = [word.name for text in texts for word in take_loras(text)[1]]
    return tuple(dict.fromkeys((*(unit.lora.strip() for unit in settings.loras), *words)))


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths of LoRAs absolute; names of the library stay names."""
    found = [(unit, files.find(unit.lora)) for unit in settings.loras]
    return replace(
        settings,
        loras=tuple(unit if path is None else replace(unit, lora=str(path.resolve())) for unit, path in found),
    ), []


def without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Leave out LoRAs that are not there, as the web UI does."""
    try:
        roots = roots_of(settings.models_dir)
        missing = [name for name in names_in(settings) if not _is_there(name, roots, files)]
    except UserError:  # `find` tells of it
        return settings, []

    def stripped(text: str) -> str:
        def tag(match: re.Match[str]) -> str:
            name = match["rest"].partition(":")[0].strip()
            return "" if match["kind"] in KINDS and name in missing else match[0]

        return TAG.sub(tag, text)

    notes = [f"LoRA {quote(name)} is not there; the animation goes without it" for name in missing]
    return replace(
        settings,
        loras=tuple(unit for unit in settings.loras if unit.lora.strip() not in missing),
        prompts=tuple((key, stripped(text)) for key, text in settings.prompts),
        positive_prompt=stripped(settings.positive_prompt),
    ), notes


def _is_there(name: str, roots: Sequence[Path], files: Lookup) -> bool:
    return files.find(name) is not None or any(library.look_up("lora", name, each) for each in (roots, [LORAS.parent]))


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with schedules of LoRAs."""
    for number, unit in enumerate(settings.loras, 1):
        for name, declaration in declared(LoraUnit).items():
            schedule = getattr(unit, name)
            if not hasattr(schedule, "sample"):
                continue
            where = f"loras {number} ({cut(unit.lora, 60)}), {name}"
            try:
                curve = schedule.sample(settings.max_frames, variables_of(settings))
            except ScheduleError as error:
                if error.said_elsewhere:
                    continue
                yield "loras", f"{where}: {error.message}"
                continue
            low, high = declaration.bounds
            wrong = ~((curve >= low) & (curve <= high) & np.isfinite(curve))
            if wrong.any():
                first = int(np.argmax(wrong))
                yield "loras", f"{where} is {curve[first]:.6g} at frame {first}; expected {declaration.range}"


def find(settings: Settings) -> Loras:
    """Find the files of all LoRAs and read their headers. Raises UserError."""
    problems: list[Problem] = []
    paths: list[tuple[str, Path]] = []
    files: list[LoraFile] = []
    roots = roots_of(settings.models_dir)
    for name in names_in(settings):
        try:
            path = library.look_up("lora", name, roots) or library.look_up("lora", name, [LORAS.parent])
            if path is None:
                raise library.missing("lora", name, [*roots, LORAS.parent] if roots else [])
            files.append(read_file(path))
            paths.append((name, path))
        except UserError as error:
            problems += [Problem(f"{_where(settings, name)}: {each.message}", each.where) for each in error.problems]
    if problems:
        raise UserError(problems)
    return Loras(tuple(paths), tuple(files))


def _where(settings: Settings, name: str) -> str:
    return "loras" if any(unit.lora.strip() == name for unit in settings.loras) else f"prompts, <lora:{name}>"


def notes(settings: Settings, found: Loras) -> Iterable[str]:
    """Yield the words that LoRAs want in the prompt, where no prompt has them."""
    texts = " ".join([settings.positive_prompt, *(text for _, text in settings.prompts)]).casefold()
    for (name, _), file in zip(found.paths, found.files, strict=True):
        for word in trigger_words(file):
            if word.casefold() not in texts:
                yield f"LoRA {name}: its file says to use it with the words {quote(word)}, which no prompt has"


def refusals(found: Loras, width: int | None, title: str) -> Iterator[str]:
    """Yield a message for each LoRA that was made for another family of models.

    `width` is that of the prompt's tokens in a model with a UNet, None for one with a transformer; `title` the name of
    the model's family.
    """
    for (name, path), file in zip(found.paths, found.files, strict=True):
        family, tokens = made_for(file)
        is_unet = tokens is not None
        fits = not title or not (family or is_unet) or (is_unet and tokens == width) or (not is_unet and width is None)
        if not fits:
            what = family or f"a model whose prompts have {tokens} numbers a token"
            own = f" ({width} numbers a token)" if width and not family else ""
            yield f"LoRA {name}: {path} is made for {what}; the model is of the family {title}{own}"


def attach(stages: Stages, found: Loras, kit: Kit) -> Stages:
    """Return the stages as they are: `build` gives the files to the model."""
    return stages
