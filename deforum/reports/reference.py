"""The reference page of all settings, docs/params.md: python -m deforum.reports.reference docs/params.md"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.errors import Problem, UserError
from deforum.features.acting import in_words
from deforum.settings.declare import Declaration, KeyedTexts, Regions
from deforum.settings.options import CONTROLS, DECLARATIONS, SECTIONS
from deforum.settings.shots import Shots
from deforum.settings.steps import Chain
from deforum.settings.units import kind_of
from deforum.settings.yaml_writer import write_value
from schedules import NumberSchedule, TextSchedule, nearest
from schedules.quoting import quote

HEAD = """# Settings

<!-- Written by deforum/reports/reference.py from the declarations in the code; changes here are lost. -->

Every setting of a YAML file, with its default. `name=value` on the command line takes the same names and values. A
setting may stand in the section it is listed under, in another, or in none.

The kinds of values:

- **curve**: a number in each frame: a plain number, a formula such as `sin(t/10)`, keyframes such as
  `"0: (1), 30: (1.5)"`, or the same as a mapping, `{0: 1, 30: 1.5}`.
- **texts**: a text in each frame: one text, or keyframes such as `"0: (Euler a), 30: (DDIM)"`, or a mapping. Each is
  held until the next.
- **keyed texts**: a mapping of keyframes (`0`, `30`, `max_f/2`) to texts, or one text.
- All others are the same in every frame.

Old names are those of Deforum's files and are understood too. In Deforum's own `.txt` files every name has the meaning
that it has in Deforum.
"""


def reference() -> str:
    """Return the whole page as Markdown."""
    return "\n".join([HEAD, *map(_section, SECTIONS)])


@dataclass(frozen=True)
class LookedUp:
    """Entries of the reference that were asked for."""

    text: str
    names: tuple[str, ...]
    """The settings described."""
    notes: tuple[str, ...]
    """How words that name no setting were understood, one line each."""


def look_up(words: Sequence[str]) -> LookedUp:
    """Find the entries of settings by name or old name, and of whole sections; other words are searched in all texts.

    Raises UserError with all words that are found nowhere.
    """
    parts: dict[str, None] = {}  # each entry once
    names: dict[str, None] = {}
    problems, notes = [], []
    for word in words:
        name = _named(word)
        if word in SECTIONS and word:
            parts[_section(word)] = None
            names |= dict.fromkeys(_in_section(word))
        elif name:
            parts[_entry(name)] = None
            names[name] = None
        elif found := search(word):
            notes.append(f"{word}: no setting has this name; in {len(found)} it is found")
            parts |= dict.fromkeys(map(_entry, found))
            names |= dict.fromkeys(found)
        else:
            problems.append(Problem(f"there is no setting {quote(word)}{_hint(word)}"))
    if problems:
        raise UserError(problems)
    return LookedUp("\n".join(parts), tuple(names), tuple(notes))


def search(text: str) -> tuple[str, ...]:
    """Return the settings whose entries have a text, ignoring case: first those with the text in a name."""
    sought = " ".join(text.casefold().split())
    if len(sought) < 2:
        return ()
    in_name = [name for name in ALL if sought in name or any(sought in old.casefold() for old in ALL[name].old)]
    in_text = [name for name in ALL if name not in in_name and sought in " ".join(_entry(name).casefold().split())]
    return (*in_name, *in_text)


ALL: Mapping[str, Declaration] = {**DECLARATIONS, **{f"cn_1_{name}": each for name, each in CONTROLS.items()}}
"""Every setting by name; those of ControlNet units with the number 1."""


def as_json(names: Iterable[str] = ALL) -> list[dict[str, object]]:
    """Return the declarations of settings as JSON objects."""
    return [
        {
            "name": name,
            "section": each.section,
            "default": each.default,
            "type": _kind(each),
            "choices": list(each.choices),
            "unit": each.unit,
            "low": each.low,
            "high": each.high,
            "help": each.help,
            "modes": list(each.modes),
            "acts_where": "" if each.pending or name not in DECLARATIONS else in_words(name),
            "pending": each.pending,
            "old_names": list(each.old),
        }
        for name, each in ((name, ALL[name]) for name in names)
    ]


def _named(word: str) -> str:
    """Return the setting of a name or old name, also with its section; "" if there is none."""
    section, dot, inner = word.rpartition(".")
    word = inner if dot and section in SECTIONS else word
    control = re.fullmatch(r"(?:cn_\d+_)?(\w+)", word)
    name = next((name for name, each in DECLARATIONS.items() if word == name or word in each.old), "")
    return name or (f"cn_1_{control[1]}" if control and control[1] in CONTROLS else "")


def _hint(word: str) -> str:
    """Return a hint for an unknown word: the setting with the nearest name."""
    old_names = [old for each in DECLARATIONS.values() for old in each.old]
    meant = nearest(word, [*ALL, *old_names, *filter(None, SECTIONS)])
    return f"; did you mean {meant}?" if meant else ", and no text has this word; without a name, all are listed"


def _in_section(section: str) -> Iterator[str]:
    return (name for name, each in ALL.items() if each.section == section)


def _entry(name: str) -> str:
    return "\n".join(_describe(name, ALL[name]))


def _section(section: str) -> str:
    """Return one section: a heading, its description, and its settings."""
    head = f"## {section or 'In no section'}\n\n{SECTIONS[section]}\n"
    return "\n".join([head, *map(_entry, _in_section(section))])


def _describe(name: str, declaration: Declaration) -> Iterator[str]:
    kind = " | ".join(f"`{choice}`" for choice in declaration.choices) or _kind(declaration)
    multiple = f"a multiple of {declaration.multiple}" if declaration.multiple > 1 else ""
    special = "odd" * declaration.odd or "not 0" * bool(declaration.least)
    facts = [kind, declaration.unit, declaration.range, multiple, special]
    yield f"- **`{name}`** = `{_default(declaration)}` ({', '.join(filter(None, facts))})  "
    yield f"  {declaration.help}"
    if declaration.modes:
        yield f"  Acts in {' and '.join(declaration.modes)} mode."
    condition = in_words(declaration.name) if declaration.name in DECLARATIONS and not declaration.pending else ""
    if condition:
        yield f"  Acts where {condition}."
    if declaration.pending:
        yield f"  *Without effect so far ({declaration.pending}).*"
    if declaration.old:
        yield f"  Old names: {', '.join(f'`{old}`' for old in declaration.old)}."
    yield ""


def _kind(declaration: Declaration) -> str:
    """Return the kind of value in words."""
    kinds = {
        Chain: "list of steps",
        NumberSchedule: "curve",
        TextSchedule: "texts",
        KeyedTexts: "keyed texts",
        Regions: "prompts by mask",
        Shots: "list",
        bool: "true or false",
    }
    numbers = {int: "whole number", float: "number", str: "text"}
    if kind_of(declaration.type):
        return "list"
    return "choice" if declaration.choices else kinds.get(declaration.type) or numbers[declaration.type]


def _default(declaration: Declaration) -> str:
    if declaration.type is NumberSchedule and isinstance(declaration.default, str):
        return declaration.default
    if declaration.type == KeyedTexts:
        return "{" + ", ".join(f'{key}: "{text}"' for key, text in declaration.default) + "}"
    if declaration.choices and declaration.default is not None:
        return str(declaration.default)
    return write_value(declaration.default)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
