"""Words on the command line: settings files, and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deforum.cli.files import find_files, split_words
from deforum.errors import UserError

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("words", "files", "overrides"),
    [
        (["a.yaml"], ["a.yaml"], []),
        (["a.yaml", "seed=3", "b.yaml"], ["a.yaml", "b.yaml"], ["seed=3"]),
        (["strength=0:(0.5), 3:(a=b)"], [], ["strength=0:(0.5), 3:(a=b)"]),
        (["a=b.yaml"], ["a=b.yaml"], []),  # there is such a file
        (["c=d.yaml"], [], ["c=d.yaml"]),  # there is not
        (["./c=d.yaml", "3=4"], ["./c=d.yaml", "3=4"], []),  # not the name of a setting
        (["cn_1_weight=1", "prompt="], [], ["cn_1_weight=1", "prompt="]),
    ],
)
def test_files_and_settings_are_told_apart(
    words: list[str], files: list[str], overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a=b.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert split_words(words) == (files, overrides)


def test_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.yaml", "a.txt", "c.json", "notes.md", "deep/d.yml", "[x].yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def found(*words: str) -> list[str]:
        return [path.as_posix() for path in find_files(words)]

    assert found("b.yaml", "a.txt", "b.yaml") == ["b.yaml", "a.txt"]
    assert found("deep") == ["deep/d.yml"]
    assert found("*.yaml") == ["[x].yaml", "b.yaml"]
    assert found("[x].yaml") == ["[x].yaml"]  # a file of that very name comes before the pattern
    assert found("**/*.y*ml") == ["[x].yaml", "b.yaml", "deep/d.yml"]
    assert found(".") == ["[x].yaml", "a.txt", "b.yaml", "c.json"]
    with pytest.raises(UserError) as error:
        found("none.yaml", "b.yaml", "*.xml")
    assert [problem.where for problem in error.value.problems] == ["none.yaml", "*.xml"]
