"""`ScheduleError`, the one error type of the schedule language, with text, column and hint; spelling suggestions."""

from __future__ import annotations

from collections.abc import Iterable

from schedules.quoting import cut, printable

QUOTED_WIDTH = 100  # characters of the user's line shown in a message
LONGEST_WORD = 60  # difflib's cost grows with the square of a word's length


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice whose spelling is nearest to `word`, ignoring case, or None where none is close."""
    if len(word) > LONGEST_WORD:
        return None
    from difflib import get_close_matches  # imported here: rarely needed and slow to import

    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """Return a message's hint that suggests the nearest choice, or None."""
    choice = nearest(word, choices)
    return None if choice is None else f"did you mean {choice!r}?"


class ScheduleError(Exception):
    """A schedule cannot be parsed, or has no value at some frame.

    `name` is the setting, `text` the user's text, `column` the 0-based position of the error in it, `message` the error
    and what was expected, `hint` how to correct it. Where the schedule is a mapping, `key` is the keyframe and `text`
    its value only. `said_elsewhere`: it follows from a file that is missing or damaged, which is told of on its own.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str,
        column: int = 0,
        name: str = "schedule",
        hint: str | None = None,
        key: object = None,
        said_elsewhere: bool = False,
    ) -> None:
        self.said_elsewhere = said_elsewhere
        self.message = message
        self.text = text
        self.column = min(max(column, 0), len(text))
        self.name = name
        self.hint = hint
        self.key = key
        super().__init__(message)

    def within(self, text: str, offset: int, name: str, key: object = None) -> ScheduleError:
        """Return the same error for a longer text, in which this one's text begins at column `offset`."""
        column = offset + self.column
        return ScheduleError(
            self.message, text=text, column=column, name=name, hint=self.hint, key=key,
            said_elsewhere=self.said_elsewhere,
        )  # fmt: skip

    def __str__(self) -> str:
        place = self.name if self.key is None else f"{self.name}, keyframe {cut(self.key, LONGEST_WORD)}"
        told = [f"{place}: {self.message}"]
        if self.text.strip():
            told += [f"  {line}" for line in _quote(self.text, self.column)]
        if self.hint is not None:
            told.append(self.hint)
        return printable("\n".join(told))


def _quote(text: str, column: int) -> tuple[str, str]:
    """Return the line of `text` at `column`, cropped to `QUOTED_WIDTH`, and a line with a caret under the column."""
    start = text.rfind("\n", 0, column) + 1
    end = text.find("\n", column)
    end = len(text) if end < 0 else end
    left = max(start, min(column - QUOTED_WIDTH // 2, end - QUOTED_WIDTH))
    right = min(end, left + QUOTED_WIDTH)
    before, after = "…" if left > start else "", "…" if right < end else ""
    # A tab or another unprintable character would misplace the caret.
    line = "".join(letter if letter.isprintable() else " " for letter in text[left:right])
    return f"{before}{line}{after}", " " * (len(before) + column - left) + "^"
