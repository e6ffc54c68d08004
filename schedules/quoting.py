"""Text of the user's in messages: never more than a line of it, and never a control character."""

from __future__ import annotations

import re
import unicodedata

LONGEST_QUOTE = 100
"""Longest quote of a text in a message, in characters."""
LONGEST_NAME = 40
"""Longest name or keyframe in a message, in characters."""
LONGEST_LINE = 2000
"""Longest line of a message, in characters: a safety net for texts that were not quoted. A shell command fits in it."""
MOST_LINES = 100
"""Most lines of one message."""

_SUSPECT = re.compile(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    """Return a message as it may be shown: control characters are escaped except line breaks, overlong lines are cut.

    Escape sequences, lone surrogates and marks that change the direction of writing could command or deceive a
    terminal.
    """
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], "…"]
    return "\n".join(_SUSPECT.sub(_escape, _elide(line, LONGEST_LINE)) for line in lines)


def escape(text: str) -> str:
    """Escape the control characters of a text of many lines, which is kept whole: tabs and line breaks stay."""
    return _SUSPECT.sub(lambda found: found[0] if found[0] in "\n\t" else _escape(found), text)


def quote(text: object, longest: int = LONGEST_QUOTE) -> str:
    """Quote a text in a message, in quotes: escaped as Python does, cut in the middle where it is long."""
    return repr(_elide(str(text), longest))


def cut(text: object, longest: int = LONGEST_QUOTE) -> str:
    """Return a text for a message without quotes around it: one line, escaped, cut in the middle where it is long."""
    return _SUSPECT.sub(_escape, _elide(str(text), longest))


def shown(value: object) -> str:
    """Return any value as a text for a message; Python writes no whole number of more than 4300 digits."""
    try:
        return cut(value)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__} that is too large to show"


def _elide(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable() or unicodedata.category(letter) == "Zs":  # a wide blank is no harm
        return letter
    return letter.encode("unicode_escape").decode("ascii")
