"""Reading a Parseq manifest, record by record: a long one is never held as objects.

A manifest is a JSON object. `rendered_frames` has a record for each frame with its number, the value of each field that
Parseq manages, and `<field>_delta` and `<field>_pc`; `options` has the frame rate and the cadence. Source: the files
that sd-parseq 0.1.112 writes.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from deforum.errors import Problem, UserError
from deforum.limits import FRAMES
from deforum.settings.document import Place, check_text
from deforum.settings.parseq.document import render
from schedules.quoting import LONGEST_NAME, quote, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PROBLEMS = 5
"""Faults that are told of one manifest."""
_SHARE = "_pc"
"""Ending of the fields that repeat a value as a percentage; nothing reads them."""
_BLANK = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, eq=False)
class Manifest:
    """The rendered frames of a Parseq document, in order."""

    num_frames: int
    """Frames 0 to num_frames - 1."""
    numbers: Mapping[str, NDArray[np.float64]]
    """(F,) finite numbers of each numeric field, also those called `<field>_delta`."""
    texts: Mapping[str, tuple[str, ...]]
    """The texts of each field of texts, such as `deforum_prompt`."""
    fps: float | None = None
    cadence: int | None = None
    keyframes: tuple[int, ...] = ()
    """Frames of the document's keyframes, ascending."""
    is_reversed: bool = False
    file: str = ""
    """The file that it was taken from, as a run records it; "" if it does not say."""
    notes: tuple[str, ...] = ()
    """Oddities that were put up with, one line each."""


def read_manifest(text: str, source: str, *, lenient: bool = False) -> Manifest:
    """Read a manifest; `source` names it in messages. `lenient`: of several records of a frame the last one counts.

    Raises UserError, which names line, frame and field: for JSON that cannot be read, documents without rendered
    frames, frames that do not follow each other from 0, fields that are missing in a frame, and values that are not
    finite numbers.
    """
    return _Reader(text, source, lenient).manifest()


@dataclass
class _Reader:
    """A cursor in the text of a manifest, moving forward."""

    text: str
    source: str
    lenient: bool
    at: int = 0
    numbers: dict[str, array[float]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Whole numbers become floats too: Python reads none of more than 4300 digits.
        self._decoder = json.JSONDecoder(parse_int=float)

    def manifest(self) -> Manifest:
        if self.peek() == "[":
            self.fail("this is a list; expected the JSON object that Parseq renders, with rendered_frames")
        rest: dict[str, Any] = {}
        has_frames = False
        for name in self.names():
            if name == "rendered_frames" and self.peek() == "[":
                has_frames = True
                self.numbers, self.texts, self.frames = {}, {}, []
                self.read_frames()
            else:
                rest[name] = self.value()
        self.skip()
        if self.at < len(self.text):
            self.fail("the manifest should end here")
        if not has_frames and isinstance(rest.get("keyframes"), list):
            return self.rendered(rest)
        if not has_frames or not self.frames:
            self.at = 0
            self.fail(_without_frames(rest, has_frames))
        self.check_managed(rest.get("managedFields"))
        if self.problems:
            raise UserError(self.problems)
        order, notes = self.order()
        if self.problems:
            raise UserError(self.problems)
        return self.build(rest, order, notes)

    def rendered(self, rest: Mapping[str, Any]) -> Manifest:
        """Render a document that Parseq has not rendered."""
        self.at = 0
        try:
            found = render(rest)
        except UserError as error:
            self.fail(f"this is a Parseq document without rendered_frames, and cannot be rendered here: {error}")
        self.numbers = {name: array("d", curve) for name, curve in found.numbers.items()}
        self.texts = {name: list(texts) for name, texts in found.texts.items()}
        for name, texts in self.texts.items():
            for index, text in enumerate(texts):
                if not index or text != texts[index - 1]:
                    self.checked(text, index, name, 0)
        if self.problems:
            raise UserError(self.problems)
        note = f"it is a document without rendered_frames; its {found.num_frames} frames were rendered here"
        return self.build(rest, list(range(found.num_frames)), [note])

    def build(self, rest: Mapping[str, Any], order: list[int], notes: list[str]) -> Manifest:
        import numpy as np

        options = _mapping(rest.get("options"))
        if not options:
            notes.append("it has no options: fps and cadence are those of the settings")
        is_reversed = rest.get("reverseRender") is True
        last = len(order) - 1
        keyframes = {_whole(_mapping(each).get("frame")) for each in _sequence(rest.get("keyframes"))}
        cadence = _positive(options.get("cadence"))
        return Manifest(
            num_frames=len(order),
            numbers={name: np.asarray(values, np.float64)[order] for name, values in self.numbers.items()},
            texts={name: tuple(values[position] for position in order) for name, values in self.texts.items()},
            fps=_positive(options.get("output_fps")),
            cadence=None if cadence is None else max(1, round(cadence)),
            keyframes=tuple(sorted(last - each if is_reversed else each for each in keyframes if each is not None)),
            is_reversed=is_reversed,
            file=_text(_mapping(rest.get("meta")).get("file")),
            notes=tuple(notes),
        )

    # --- records ------------------------------------------------------------------------------------------------------

    def read_frames(self) -> None:
        for position in self.items():
            at = self.at
            record = self.value()
            if position >= FRAMES.most:
                self.fail(f"rendered_frames has too many frames; expected at most {FRAMES}")
            if not isinstance(record, dict):
                self.at = at
                self.fail(f"rendered_frames, record {position}: {_kind(record)}; expected an object")
            self.take(record, position, at)

    def take(self, record: Mapping[str, Any], position: int, at: int) -> None:
        """Take the fields that the first record has, from a record that begins at `at`."""
        if not position:
            self.begin(record)
        index = _whole(record.get("frame"))
        if index is None:
            given = f"{shown(record['frame'])} is not" if record.get("frame") is not None else "there is no"
            self.refuse(f"rendered_frames, record {position}: {given} frame number; expected frame: {position}", at)
            return
        self.frames.append(index)
        for name, numbers in self.numbers.items():
            value = record.get(name)
            if isinstance(value, float) and math.isfinite(value):
                numbers.append(value)
            else:
                numbers.append(0.0)
                self.refuse(f"frame {index}: {_wrong(name, value, 'a number')}", at)
        for name, texts in self.texts.items():
            value = record.get(name)
            if isinstance(value, str):
                texts.append(texts[-1] if texts and texts[-1] == value else self.checked(value, index, name, at))
            else:
                texts.append("")
                self.refuse(f"frame {index}: {_wrong(name, value, 'a text')}", at)

    def begin(self, record: Mapping[str, Any]) -> None:
        """Choose the fields to read: those of the first record."""
        for name, value in record.items():
            if name == "frame" or name.endswith(_SHARE) or value is None:
                continue
            if isinstance(value, str):
                self.texts[name] = []
            elif not isinstance(value, list | dict):
                self.numbers[name] = array("d")

    def checked(self, text: str, index: int, name: str, at: int) -> str:
        try:
            check_text(text, Place(self.source))  # its place is counted only where it is told
        except UserError as error:
            self.refuse(f"frame {index}: {quote(name, LONGEST_NAME)}: {error.problems[0].message}", at)
        return text

    def check_managed(self, managed: object) -> None:
        """Refuse a manifest whose frames lack a field that it manages."""
        for name in _sequence(managed):
            if isinstance(name, str) and name not in self.numbers and name not in self.texts:
                what = f"managedFields has {quote(name, LONGEST_NAME)}, and its first frame has no value for it"
                self.refuse(f"{what}; render it in Parseq again", 0)

    def order(self) -> tuple[list[int], list[str]]:
        """Return the positions of the records in the order of their frames, and notes."""
        notes: list[str] = []
        places = {index: position for position, index in enumerate(self.frames)}
        twice = sorted({index for position, index in enumerate(self.frames) if places[index] != position})
        again = "render it in Parseq again"
        if twice and self.lenient:
            notes.append(f"{_counted(twice)} given more than once: the last one counts, as in Deforum")
        elif twice:
            self.refuse(f"rendered_frames: {_counted(twice)} given more than once; {again}", 0)
        ordered = sorted(places)
        if ordered[0] != 0:
            what = f"rendered_frames begin at frame {ordered[0]}; expected 0"
            self.refuse(f"{what}: the first keyframe of the document has to be at frame 0", 0)
        holes = [index + 1 for index, after in pairwise(ordered) if after != index + 1]
        if holes:
            self.refuse(f"rendered_frames: there is no frame {holes[0]}; frames have to follow each other; {again}", 0)
        return [places[index] for index in ordered], notes

    # --- JSON ---------------------------------------------------------------------------------------------------------

    def skip(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        self.skip()
        try:
            value, self.at = self._decoder.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            self.at = error.pos
            self.fail(f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}")
        except RecursionError:
            self.fail("this is nested too deeply for a manifest")
        return value

    def names(self) -> Iterator[str]:
        """Yield the names of an object; the cursor is then at the value, which has to be read."""
        if self.peek() != "{":
            self.fail("expected a JSON object, { and then names with values")
        self.at += 1
        while self.peek() != "}":
            name = self.value() if self.peek() == '"' else None
            if not isinstance(name, str):
                self.fail("expected a name in quotes")
            if self.peek() != ":":
                self.fail(f"expected a colon behind {quote(name, LONGEST_NAME)}")
            self.at += 1
            yield name
            self.comma("}")
        self.at += 1

    def items(self) -> Iterator[int]:
        """Yield the number of each item of a list; the cursor is then at the item, which has to be read."""
        self.at += 1
        count = 0
        while self.peek() != "]":
            yield count
            count += 1
            self.comma("]")
        self.at += 1

    def comma(self, closing: str) -> None:
        if self.peek() == ",":
            self.at += 1
            if self.peek() == closing:
                self.fail(f"a value is missing between the comma and {closing}")
        elif self.peek() != closing:
            self.fail(f"expected a comma or {closing}" + ("" if self.peek() else "; the manifest is cut off here"))

    # --- messages -----------------------------------------------------------------------------------------------------

    def place(self, at: int) -> Place:
        return Place(self.source, self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at))

    def refuse(self, message: str, at: int) -> None:
        self.problems.append(Problem(f"parseq_manifest: {message}", str(self.place(at))))
        if len(self.problems) >= MOST_PROBLEMS:
            raise UserError(self.problems)

    def fail(self, message: str) -> NoReturn:
        self.refuse(message, self.at)
        raise UserError(self.problems)


def _without_frames(rest: Mapping[str, Any], has_frames: bool) -> str:
    if has_frames:
        return "rendered_frames is empty; render the document in Parseq"
    if "managedFields" in rest or _mapping(rest.get("meta")).get("generated_by") == "sd_parseq":
        return "this is a Parseq document without rendered_frames; press Render in Parseq, and give what it writes"
    return "there are no rendered_frames in it; expected a manifest, as Parseq renders it"


def _wrong(name: str, value: object, expected: str) -> str:
    named = quote(name, LONGEST_NAME)
    if value is None:
        return f"there is no {named}; expected a value in every frame that is rendered; render it in Parseq again"
    if isinstance(value, float):
        return f"{named} is {value}; expected a finite number"
    return f"{named} is {quote(value) if isinstance(value, str) else _kind(value)}; expected {expected}"


def _kind(value: object) -> str:
    kinds: tuple[tuple[type, str], ...] = ((bool, "true or false"), (list, "a list"), (dict, "an object"),
                                           (float, "a number"), (str, "a text"))  # fmt: skip
    return next((words for kind, words in kinds if isinstance(value, kind)), "null")


def _counted(frames: list[int]) -> str:
    others = f" and {len(frames) - 1} more" if len(frames) > 1 else ""
    return f"frame {frames[0]}{others} {'are' if others else 'is'}"


def _whole(value: object) -> int | None:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= FRAMES.most
    return int(value) if is_whole and isinstance(value, float) else None


def _positive(value: object) -> float | None:
    return value if isinstance(value, float) and 0 < value < math.inf else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
