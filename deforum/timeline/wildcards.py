"""Wildcards in prompts: `__name__` is one of the lines of a text file, chosen by the seed.

`__animals/birds__` is animals/birds.txt in the folder of the wildcards; `*` in a name stands for any characters, and a
line is chosen of all files that fit. Lines that are empty or begin with # are left out. A line may hold wildcards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from deforum.errors import UserError
from deforum.limits import WILDCARD_FILE, WILDCARD_FILES, WILDCARDS
from deforum.paths import is_folder, to_path
from deforum.seeds import derive_seed
from deforum.settings.options import Settings
from deforum.timeline.expressions import Fault, PromptTexts
from schedules import ScheduleError
from schedules.errors import did_you_mean
from schedules.quoting import cut, quote

WILDCARD = re.compile(r"__(?P<name>[\w*][\w*/.\-]*?)__")


@dataclass(frozen=True)
class WildcardFault:
    """A wildcard that cannot be used: its column in the text, the message, and how to correct it."""

    column: int
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Wildcards:
    """The text files of a folder, by their names without .txt, with / between folders."""

    folder: Path
    files: dict[str, Path]
    _lines: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, folder: Path) -> Wildcards:
        """List the files below a folder. Raises UserError for too many, or where it cannot be read."""
        files: dict[str, Path] = {}
        try:
            for path in sorted(folder.rglob("*.txt")):
                files[path.relative_to(folder).with_suffix("").as_posix()] = path
                WILDCARD_FILES.check(len(files), f"wildcards_dir: {folder}")
        except OSError as error:
            raise UserError(f"wildcards_dir: {folder} cannot be read: {error.strerror}") from None
        return cls(folder, files)

    def lines(self, name: str) -> tuple[str, ...]:
        """Return the lines that a name stands for; () where no file fits. Raises UserError for a file that is none."""
        if name not in self._lines:
            wanted = name.casefold()
            fitting = [path for known, path in self.files.items() if fnmatchcase(known.casefold(), _escaped(wanted))]
            self._lines[name] = tuple(line for path in fitting for line in _read(path))
        return self._lines[name]

    def faults(self, text: str) -> Iterator[WildcardFault]:
        """Yield the wildcards of a text that stand for no line."""
        for match in WILDCARD.finditer(text):
            if not self.lines(match["name"]):
                close = did_you_mean(match["name"], self.files)
                yield WildcardFault(match.start("name"), self._missing(match["name"]), close)

    def _missing(self, name: str) -> str:
        return f"there are no lines for the wildcard {quote(name)} in {self.folder}; expected a file {name}.txt"

    def fill(self, text: str, seed: int, purpose: str, *, lenient: bool = False) -> str:
        """Replace the wildcards of a text; `purpose` tells it from other texts.

        The choice depends on the seed, the purpose, and the number of the wildcard in the text. Raises UserError where
        lines lead to each other without end, and for a wildcard without lines; if `lenient`, that is left out.
        """
        used = 0

        def choose(match: re.Match[str]) -> str:
            nonlocal used
            used += 1
            WILDCARDS.check(used, f"{purpose}: a prompt, whose wildcards lead to each other,")
            lines = self.lines(match["name"])
            if not lines and not lenient:
                raise UserError(f"{purpose}: {self._missing(match['name'])}")
            return lines[derive_seed(seed, used, f"wildcard/{purpose}") % len(lines)] if lines else ""

        while WILDCARD.search(text):
            text = WILDCARD.sub(choose, text)
        return text


def with_wildcards(settings: Settings) -> Settings:
    """Return settings, whose seed is drawn, with lines in place of the wildcards of their prompts. Raises UserError."""
    fields = {name: getattr(settings, name) for name in ("positive_prompt", "negative_prompt", "detail_prompt")}
    if not settings.wildcards_dir or not any(
        WILDCARD.search(text)
        for text in (*fields.values(), *(text for _, text in (*settings.prompts, *settings.regions)))
    ):
        return settings
    cards = Wildcards.of(to_path(settings.wildcards_dir))

    def fill(text: str, purpose: str) -> str:
        return cards.fill(text, settings.seed, purpose, lenient=settings.is_lenient)

    return replace(
        settings,
        prompts=tuple((key, fill(text, f"prompts, keyframe {key}")) for key, text in settings.prompts),
        positive_prompt=fill(fields["positive_prompt"], "positive_prompt"),
        negative_prompt=fill(fields["negative_prompt"], "negative_prompt"),
        detail_prompt=fill(fields["detail_prompt"], "detail_prompt"),
        regions=tuple(each._replace(prompt=fill(each.prompt, f"regions, {each.mask}")) for each in settings.regions),
    )


def wildcard_notes(settings: Settings) -> Iterator[str]:
    """Yield a note on the wildcards in prompts of settings that name no folder for them."""
    texts = (settings.positive_prompt, settings.negative_prompt, *(text for _, text in settings.prompts))
    found = dict.fromkeys(match[0] for text in texts for match in WILDCARD.finditer(text))
    if found and not settings.wildcards_dir:
        shown = cut(", ".join(list(found)[:3]), 200)
        yield f"{shown}: read as words; set wildcards_dir to the folder of its file"


def wildcard_faults(settings: Settings) -> Iterator[Fault]:
    """Yield the wildcards in the prompts of settings that stand for no line of the folder."""
    texts = PromptTexts(settings.prompts, settings.positive_prompt, settings.negative_prompt)
    folder = to_path(settings.wildcards_dir) if settings.wildcards_dir else None
    if folder is None or not is_folder(folder) or not any("__" in texts.text(source) for source in texts.sources()):
        return
    cards = Wildcards.of(folder)
    for source in texts.sources():
        text = texts.text(source)
        for fault in cards.faults(text):
            error = ScheduleError(
                fault.message, text=text, column=fault.column, name=texts.name(source), hint=fault.hint
            )
            yield Fault(source, error, "it is left out")


def _escaped(name: str) -> str:
    """Return a pattern of `fnmatch` in which only * has a meaning."""
    return re.sub(r"([\[?])", r"[\1]", name)


def _read(path: Path) -> tuple[str, ...]:
    try:
        WILDCARD_FILE.check(path.stat().st_size, f"wildcards: {path}")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"wildcards: {path} cannot be read: {error.strerror}") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
