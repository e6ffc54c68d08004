"""The reference page of all settings, docs/params.md: python -m deforum.reports.reference docs/params.md"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from deforum.errors import Problem, UserError
from deforum.features.acting import in_words
from deforum.settings.declare import Declaration, KeyedTexts
from deforum.settings.options import CONTROLS, DECLARATIONS, SECTIONS
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


def look_up(words: Iterable[str]) -> str:
    """Return the entries of settings, given by name or old name, and of whole sections.

    Raises UserError with all unknown words.
    """
    parts, problems = [], []
    for word in words:
        control = re.fullmatch(r"(?:cn_\d+_)?(\w+)", word)
        name = next((name for name, each in DECLARATIONS.items() if word == name or word in each.old), "")
        if word in SECTIONS and word:
            parts.append(_section(word))
        elif name:
            parts.append("\n".join(_describe(name, DECLARATIONS[name])))
        elif control and control[1] in CONTROLS:
            parts.append("\n".join(_describe(f"cn_1_{control[1]}", CONTROLS[control[1]])))
        else:
            problems.append(Problem(f"there is no setting {quote(word)}{_hint(word)}"))
    if problems:
        raise UserError(problems)
    return "\n".join(parts)


def _hint(word: str) -> str:
    """Return a hint for an unknown word: settings with the word in their name, or one with a similar name."""
    names = [*DECLARATIONS, *(f"cn_1_{name}" for name in CONTROLS)]
    old_names = [old for each in DECLARATIONS.values() for old in each.old]
    meant = nearest(word, [*names, *old_names, *filter(None, SECTIONS)])
    holding = [name for name in names if len(word) > 2 and word.casefold() in name]
    if len(holding) > 1 or not meant:
        return f"; there are {', '.join(holding)}" if holding else "; without a name, all settings are listed"
    return f"; did you mean {meant}?"


def _section(section: str) -> str:
    """Return one section: a heading, its description, and its settings."""
    declared = CONTROLS if section == "controlnet" else DECLARATIONS
    prefix = "cn_1_" if section == "controlnet" else ""
    return "\n".join(
        [
            f"## {section or 'In no section'}\n\n{SECTIONS[section]}\n",
            *("\n".join(_describe(prefix + name, each)) for name, each in declared.items() if each.section == section),
        ]
    )


def _describe(name: str, declaration: Declaration) -> Iterator[str]:
    kinds = {NumberSchedule: "curve", TextSchedule: "texts", KeyedTexts: "keyed texts", bool: "true or false"}
    numbers = {int: "whole number", float: "number", str: "text"}
    if declaration.choices:
        kind = " | ".join(f"`{choice}`" for choice in declaration.choices)
    else:
        kind = kinds.get(declaration.type) or numbers[declaration.type]
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
