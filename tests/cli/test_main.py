"""The command line's first words: help, version, mistakes, and how little is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deforum.cli import main as cli
from tests.helpers import ROOT
from tests.helpers.command import ENVIRONMENT, SEA, imported, run_python, say


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run render.py as a user does."""
    command = [sys.executable, str(ROOT / "render.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def test_help_is_whole_and_light(tmp_path: Path) -> None:
    """Nothing is imported for it but Python's own modules and this program's."""
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0 and "name=value" in done.stdout and "check" in done.stdout
    script = """
        import sys
        before = set(sys.modules)
        from deforum.cli import main as cli
        try:
            cli.main(["--help"])
        finally:
            print({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
    """
    assert run_python(script, tmp_path).stdout.splitlines()[-1] == "{'deforum'}"


HEAVY = ("torch", "diffusers", "transformers", "cv2", "numexpr", "numpy", "tqdm")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["check", "--help"], []])
def test_nothing_heavy_is_imported_for_words(words: list[str], tmp_path: Path) -> None:
    script = f"""
        from deforum.cli import main as cli
        try:
            cli.main({words!r})
        except SystemExit:
            pass
    """
    assert not imported(script, *HEAVY, cwd=tmp_path)


def test_mistakes_are_found_without_torch(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SEA + "zomm: 3\nstrength: 0:(sin(t)\n")
    (tmp_path / "good.yaml").write_text(SEA)
    script = """
        import sys
        from deforum.cli import main as cli
        status = cli.main(["check", "bad.yaml"])
        assert cli.main(["forecast", "good.yaml"]) == 0
        print(status, *(name for name in "torch diffusers transformers cv2".split() if name in sys.modules))
    """
    done = run_python(script, tmp_path)
    assert done.stdout.splitlines()[-1] == "2"
    assert "zomm" in done.stderr and "strength" in done.stderr and "Traceback" not in done.stderr


def test_version(tmp_path: Path) -> None:
    from deforum import __version__

    assert run("--version", cwd=tmp_path).stdout == f"deforum {__version__}\n"


def test_a_first_word_is_a_command_unless_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    command, arguments = cli.parse(["a.yaml", "-o", "out", "seed=3", "chek"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["a.yaml", "chek"]
    assert (arguments.output, arguments.overrides, arguments.quiet) == (Path("out"), ["seed=3"], False)
    (tmp_path / "check").mkdir()
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    (tmp_path / "check").rmdir()
    (tmp_path / "check").write_text("")
    command, arguments = cli.parse(["check", "a.yaml"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["check", "a.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chek", "my.yaml"], "chek: there is no such command or file; did you mean check?"),
        (["redner", "my.yaml"], "did you mean render?"),
        (["vaules", "my.yaml", "zoom"], "did you mean values?"),
        (["my.yaml", "check"], "check: there is no such file; as a command it comes first:"),
        (["check", "my.yaml", "--format", "csv"], "--format: this is an option of values, not of this command"),
        (["check", "my.yaml", "--progress=bar"], "--progress=bar: this is an option of render, not of this command"),
        (["values", "my.yaml", "--format", "xml"], "argument --format: invalid choice: 'xml' (choose from"),
        (["my.yaml", "-o"], "argument -o/--output: expected one argument"),
        ([], "no settings file given; expected FILE"),
        (["convert", "-q"], "no settings file given; expected FILE"),
    ],
)
def test_misspelt_words_are_one_message_with_the_right_form(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = say(capsys, *words)
    assert (said.status, said.out) == (2, "") and message in said.err and len(said.err.splitlines()) == 1


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words, usage in ((["help"], "[COMMAND] FILE"), (["help", "diff"], "diff FILE FILE")):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0 and usage in capsys.readouterr().out


def test_only_settings_is_a_question(tmp_path: Path) -> None:
    done = run("seed=3", cwd=tmp_path)
    assert done.returncode == 2 and "no settings file given" in done.stderr
