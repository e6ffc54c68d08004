"""What a shell proposes while a command line is typed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from deforum.cli import main as cli
from deforum.cli.completion import complete, proposals
from tests.helpers.command import imported, say

COMMANDS = tuple(cli.COMMANDS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sea.yaml", "old.txt", "song.mp3", ".hidden.yaml", "films/a.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize(
    ("command", "prefix", "proposed"),
    [
        ("render", "", [*COMMANDS, "films/", "old.txt", "sea.yaml"]),
        ("render", "conv", ["convert"]),
        ("render", "films/", ["films/a.yaml"]),
        ("render", ".h", [".hidden.yaml"]),
        ("render", "seed_b", ["seed_behavior="]),
        ("render", "video_format=pro", ["video_format=prores", "video_format=prores4444"]),
        ("render", "tiling=", ["tiling=none", "tiling=both", "tiling=x", "tiling=y"]),
        ("render", "sampler=DPM++ 3", ["sampler=DPM++ 3M SDE"]),
        ("render", "camera.rotation_3d_", [f"camera.rotation_3d_{axis}=" for axis in "xyz"]),
        ("render", "soundtrack_path=so", ["soundtrack_path=song.mp3"]),
        ("render", "zoom=", []),
        ("render", "zomm=", []),
        ("values", "seed_b", ["seed_behavior"]),
        ("params", "guided", ["guided"]),
        ("completion", "z", ["zsh"]),
    ],
)
def test_words_are_proposed(command: str, prefix: str, proposed: list[str]) -> None:
    assert list(proposals(prefix, command, COMMANDS)) == proposed


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("deforum chec", ["check", "checkpoint=", "checkpoint_every="]),
        ("deforum check sea", ["sea.yaml "]),
        ("deforum check sea.yaml video_format=av", ["av1 "]),  # a shell takes the part after = for the word
        ("python render.py check sea.yaml --jso", ["--json "]),
        ("deforum sea.yaml --progress o", ["openjd "]),
        ("deforum check sea.yaml chec", ["checkpoint=", "checkpoint_every="]),
    ],
)
def test_a_shell_is_answered(line: str, proposed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    start = "2" if line.startswith("python") else "1"
    for name, value in {
        "_ARGCOMPLETE": start, "_ARGCOMPLETE_IFS": "\v", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_COMP_WORDBREAKS": " =:",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("argcomplete.finders.CompletionFinder._init_debug_stream", lambda self: None)
    monkeypatch.setattr("argcomplete.io.debug_stream", io.StringIO())

    def leave(status: int) -> None:
        raise SystemExit(status)

    with pytest.raises(SystemExit) as left:
        complete(cli.parser_of, cli.COMMANDS, leave=leave)
    assert left.value.code == 0
    assert [word for word in answer.read_text().split("\v") if word] == proposed


def test_nothing_is_completed_unless_a_shell_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "_ARGCOMPLETE" not in os.environ
    assert not imported("from deforum.cli import main as cli\ncli.main(['params', 'zoom'])", "argcomplete")


def test_the_code_for_a_shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("argcomplete")
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "complete --command deforum" in say(capsys, "completion").out
    assert "-F _python_argcomplete deforum\n" in say(capsys, "completion", "bash").out
    said = say(capsys, "completion", "tcsh")
    assert (said.status, said.out) == (2, "") and "expected a shell, one of bash, zsh, fish" in said.err


def test_without_argcomplete_the_way_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "argcomplete.shell_integration", None)
    said = say(capsys, "completion", "bash")
    assert said.status == 2 and "pip install argcomplete" in said.err
