"""The next command, as messages tell it."""

from __future__ import annotations

import os
import sys

import pytest

from deforum.program import command_line, program_name


@pytest.mark.parametrize(
    ("started", "name", "typed"),
    [
        ("/some/where/render.py", "render.py", "python render.py film out"),
        ("/usr/bin/deforum", "deforum", "deforum film out"),
        ("/site/deforum/__main__.py", "python -m deforum", "python -m deforum film out"),
        ("/usr/bin/pytest", "render.py", "python render.py film out"),
    ],
)
def test_the_program_is_called_as_it_was_started(
    started: str, name: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert program_name() == name and command_line("film", "out") == typed


@pytest.mark.skipif(os.name == "nt", reason="quotes are those of POSIX shells")
def test_words_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["deforum"])
    assert command_line("film", "my films/it's") == "deforum film 'my films/it'\"'\"'s'"
