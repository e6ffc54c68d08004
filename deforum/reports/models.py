"""A list of the models in some folders: kind, family, size, digest and trigger words, by headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deforum.diffusion.families.contents import ModelFacts, facts_of
from deforum.models.digest import digest_of_file
from deforum.models.places import KINDS, Entry, Kind, entries

_KINDS: tuple[Kind, ...] = tuple(KINDS)


def list_models(roots: Sequence[Path], kinds: Iterable[Kind] = _KINDS) -> list[ModelFacts]:
    """Describe the models of some kinds in folders, sorted by kind and name; each once. Raises UserError."""
    wanted = tuple(kinds)
    places: Mapping[Path, Entry] = {entry.path: entry for entry in entries(wanted, roots)}
    found = [facts_of(entry, _KINDS) for entry in places.values()]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(
        (each for each in found if each.kind in wanted), key=lambda each: (order[each.kind], each.name.lower())
    )


def with_digests(found: Iterable[ModelFacts]) -> None:
    """Compute the digests of all files and keep them; large files take seconds each."""
    for each in found:
        if each.path.is_file():
            digest_of_file(each.path)


def table_of(found: Sequence[ModelFacts]) -> str:
    """Format models as lines of text under a head for each kind."""
    lines: list[str] = []
    for kind in dict.fromkeys(each.kind for each in found):
        members = [each for each in found if each.kind == kind]
        title = KINDS[kind].title
        lines += ["", f"{title[:1].upper()}{title[1:]}"]
        rows = [
            (each.name, each.family or "?", _size(each.bytes), each.digest or "-", ", ".join(each.triggers))
            for each in members
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row, each in zip(rows, members, strict=True):
            name, family, size, digest, triggers = row
            line = f"  {name:{widths[0]}}  {family:{widths[1]}}  {size:>{widths[2]}}  {digest:{widths[3]}}  {triggers}"
            lines.append(line.rstrip())
            if each.problem:
                lines.append(f"    {each.problem}")
    return "\n".join(lines[1:]) + "\n" if lines else ""


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
