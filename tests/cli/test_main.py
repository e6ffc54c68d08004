"""The command line's first words: help, version, mistakes, and how little is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deforum.cli import main as cli
from tests.helpers import ROOT
from tests.helpers.command import ENVIRONMENT, SEA, imported, run_python


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
    script = """
        import sys
        from deforum.cli import main as cli
        status = cli.main(["check", "bad.yaml"])
        print(status, *(name for name in "torch diffusers transformers cv2".split() if name in sys.modules))
    """
    done = run_python(script, tmp_path)
    assert done.stdout.strip() == "2"
    assert "zomm" in done.stderr and "strength" in done.stderr and "Traceback" not in done.stderr


def test_version(tmp_path: Path) -> None:
    from deforum import __version__

    assert run("--version", cwd=tmp_path).stdout == f"deforum {__version__}\n"


def test_a_first_word_is_a_command_unless_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    command, arguments = cli.parse(["a.yaml", "-o", "out", "seed=3", "check"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["a.yaml", "check"]
    assert (arguments.output, arguments.overrides, arguments.quiet) == (Path("out"), ["seed=3"], False)
    (tmp_path / "check").mkdir()
    assert cli.parse(["check", "a.yaml"])[0] is cli.COMMANDS["check"]
    (tmp_path / "check").rmdir()
    (tmp_path / "check").write_text("")
    command, arguments = cli.parse(["check", "a.yaml"])
    assert command is cli.COMMANDS["render"] and arguments.files == ["check", "a.yaml"]


def test_only_settings_is_a_question(tmp_path: Path) -> None:
    done = run("seed=3", cwd=tmp_path)
    assert done.returncode == 2 and "no settings file given" in done.stderr
