"""Values that cannot be read, and their places."""

from __future__ import annotations

from deforum.errors import Problem
from deforum.settings.document import Mapping, Node, Place, Scalar
from schedules.quoting import LONGEST_NAME, quote


class Wrong(Exception):
    """A value that is not valid for a setting."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def inside(node: Node, column: int) -> Place:
    """Return the place of a character in a node's text; the node's place if unknown. `column` counts from 0."""
    if isinstance(node, Scalar) and node.start:
        return Place(node.place.source, node.place.line, node.start + column)
    return node.place


def unique(node: Mapping, name: str) -> tuple[tuple[Scalar, Node], ...]:
    """Return the entries of a mapping. Raises Wrong for a repeated key."""
    seen: dict[str, Scalar] = {}
    for key, _ in node.entries:
        if key.text in seen:
            message = f"{name}: {quote(key.text, LONGEST_NAME)} is given twice; first at {seen[key.text].place}"
            raise Wrong(Problem(message, str(key.place)))
        seen[key.text] = key
    return node.entries


def readable(node: Scalar, name: str) -> str:
    """Return the text of a node. Raises Wrong for half of a surrogate pair, which no file can hold."""
    for column, letter in enumerate(node.text):
        if "\ud800" <= letter <= "\udfff":
            what = f"\\u{ord(letter):04x} is half of a character, such as of a cut emoji; expected text in UTF-8"
            raise Wrong(Problem(f"{name}: {what}", str(inside(node, column))))
    return node.text
