"""The setting `shots`: the shots of a film, each a chain of frames of its own.

    shots:
      - {name: sea, to: 80}
      - {name: storm, to: 160, strength: 0.4}        # from 80, where the last one ended
      - {name: port, file: port.yaml}                # all frames of a file of its own

Besides these keys a shot has any setting, which holds for it alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from deforum.errors import Problem
from deforum.settings.document import Mapping, Node, Scalar, Sequence
from deforum.settings.faults import Wrong, readable, unique
from deforum.settings.yaml_scalars import NOT_TEXT, PLAIN, quote
from schedules import ScheduleError, parse_key
from schedules import quoting as words

MOST = 2_000
NAME = re.compile(r"\w[\w .-]{0,59}")
"""Names of shots: they become names of folders."""
OWN = ("name", "from", "to", "file")
"""The keys of a shot; all others are settings."""

_FORM = "expected a list such as [{name: sea, to: 80}, {name: storm, to: 160, strength: 0.4}]"


@dataclass(frozen=True)
class Shot:
    """A shot of a film, as it is given."""

    name: str
    since: str = ""
    """Position of its first frame, as a keyframe: 80, 4s; "": where the shot before ends, or 0 of its own file."""
    until: str = ""
    """Position of the cut at its end, the frame after its last; "": the end of its settings."""
    file: str = ""
    """Settings file of its own; "": the settings that the shots stand in."""
    changes: tuple[str, ...] = ()
    """Settings of this shot alone, as name=value."""

    @property
    def text(self) -> str:
        """The shot as YAML on one line."""
        own = zip(OWN, (self.name, self.since, self.until, self.file), strict=True)
        parts = [f"{key}: {value if value.isdecimal() else quote(value)}" for key, value in own if value]
        parts += [f"{name}: {value}" for name, _, value in (each.partition("=") for each in self.changes)]
        return "{" + ", ".join(parts) + "}"


Shots = tuple[Shot, ...]


def read_shots(node: Node, name: str) -> Shots:
    """Read the shots of a film. Raises Wrong."""
    if isinstance(node, Scalar) and (node.is_null or not node.text.strip()):
        return ()
    if not isinstance(node, Sequence):
        raise Wrong(Problem(f"{name}: {_FORM}", str(node.place)))
    if len(node.items) > MOST:
        raise Wrong(Problem(f"{name}: {len(node.items)} shots; expected at most {MOST}", str(node.place)))
    found: dict[str, Shot] = {}
    for number, item in enumerate(node.items, 1):
        shot = _read(item, name, number)
        if shot.name.casefold() in found:
            raise Wrong(Problem(f"{name}: there are two shots {words.quote(shot.name)}", str(item.place)))
        found[shot.name.casefold()] = shot
    return tuple(found.values())


def _read(node: Node, name: str, number: int) -> Shot:
    if not isinstance(node, Mapping):
        raise Wrong(Problem(f"{name}: {_FORM}", str(node.place)))
    given = {key.text: (key, value) for key, value in unique(node, name)}
    own = {each: _text(given[each][1], f"{name}, {each}") for each in OWN if each in given}
    title = own.get("name") or f"shot_{number:03}"
    if not NAME.fullmatch(title) or title.endswith((".", " ")):
        what = "is no name of a shot; expected letters, digits, spaces, - and _, at most 60"
        raise Wrong(Problem(f"{name}: {words.quote(title)} {what}", str(node.place)))
    for end in ("from", "to"):
        try:
            parse_key(own.get(end) or "0", name=f"{name}, {title}, {end}")
        except ScheduleError as error:
            raise Wrong(Problem(str(error), str(given[end][1].place))) from None
    changes = []
    for key, value in given.values():
        if key.text not in OWN:
            if not re.fullmatch(r"[A-Za-z]\w*", key.text):
                raise Wrong(Problem(f"{name}, {title}: {words.quote(key.text)} is no setting", str(key.place)))
            changes.append(f"{key.text}={write_node(value)}")
    return Shot(title, own.get("from", ""), own.get("to", ""), own.get("file", ""), tuple(changes))


def _text(node: Node, where: str) -> str:
    if not isinstance(node, Scalar):
        raise Wrong(Problem(f"{where}: expected one value, such as 80", str(node.place)))
    return "" if node.is_null else readable(node, where).strip()


def write_node(node: Node) -> str:
    """Return a value as YAML on one line, in one way however it was written."""
    match node:
        case Scalar():
            if node.is_null:
                return "null"
            is_word = PLAIN.fullmatch(node.text) and node.text.casefold() not in NOT_TEXT - {"true", "false"}
            return node.text if is_word or re.fullmatch(r"-?\d+(\.\d+)?", node.text) else json.dumps(node.text)
        case Mapping():
            return "{" + ", ".join(f"{write_node(key)}: {write_node(value)}" for key, value in node.entries) + "}"
        case Sequence():
            return "[" + ", ".join(map(write_node, node.items)) + "]"
