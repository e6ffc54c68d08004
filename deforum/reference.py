"""The reference of every setting, as a page (docs/params.md): python -m deforum.reference docs/params.md"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from deforum.declare import Declaration, KeyedTexts
from deforum.options import CONTROLS, DECLARATIONS, SECTIONS
from deforum.write import write_value
from schedules import NumberSchedule, TextSchedule

HEAD = """# Settings

<!-- Written by deforum/reference.py from the declarations in the code; changes here are lost. -->

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
    """Write the page."""
    parts = [HEAD]
    for section, meaning in SECTIONS.items():
        parts.append(f"## {section or 'In no section'}\n\n{meaning}\n")
        declared = CONTROLS if section == "controlnet" else DECLARATIONS
        prefix = "cn_1_" if section == "controlnet" else ""
        for name, declaration in declared.items():
            if declaration.section == section:
                parts.append("\n".join(_describe(prefix + name, declaration)))
    return "\n".join(parts)


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
    return str(declaration.default) if declaration.choices else write_value(declaration.default)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
