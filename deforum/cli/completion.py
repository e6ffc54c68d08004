"""Completion of the command line in shells, by argcomplete: commands, files, settings and their choices."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.files import SETTINGS_SUFFIXES
from deforum.errors import UserError

if TYPE_CHECKING:
    from deforum.cli.console import Console
    from deforum.settings.declare import Declaration

SHELLS = ("bash", "zsh", "fish", "powershell")
"""Shells that argcomplete writes code for."""

_WAY = "shell completion needs the package argcomplete: pip install argcomplete, or this package with [completion]"


def completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="SHELL", help=f"{', '.join(SHELLS)} (default: by $SHELL)")


def completion(arguments: argparse.Namespace) -> int:
    """Print the code that a shell evaluates to complete this program. Raises UserError."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise UserError(_WAY) from None
    from schedules.quoting import cut

    console: Console = arguments.console
    shell = (arguments.words or [Path(os.environ.get("SHELL") or "bash").name])[0]
    if shell not in SHELLS:
        raise UserError(f"{cut(shell)}: expected a shell, one of {', '.join(SHELLS)}")
    code = shellcode(["deforum"], shell=shell)
    console.put(code + "\n", shell=shell, code=code)
    return 0


def complete(
    parser_of: Callable[[str], argparse.ArgumentParser],
    commands: Iterable[str],
    *,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """If a shell asks for completions, print them and leave the program; else do nothing."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        raise SystemExit(1) from None
    words = os.environ.get("COMP_LINE", "").split()
    name = next((word for word in words[1:4] if word in commands), "render")
    parser = parser_of(name)
    names = tuple(commands)

    def propose(prefix: str, action: argparse.Action, **asked: object) -> list[str]:
        given = getattr(asked.get("parsed_args"), "words", None)
        return list(proposals(prefix, name, names if not given else ()))

    for action in parser._actions:
        if action.dest == "words":
            action.completer = propose  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False, exit_method=leave)


def proposals(prefix: str, command: str, commands: Iterable[str]) -> Iterator[str]:
    """Yield the words that begin with `prefix`: of `commands`, names of settings, the values of one, files."""
    from deforum.settings.options import DECLARATIONS, SECTIONS

    name, equals, begun = prefix.partition("=")
    if command == "completion":
        yield from (shell for shell in SHELLS if shell.startswith(prefix))
        return
    if equals:
        declaration = _declared(name)
        if declaration is not None:
            yield from (f"{name}={value}" for value in values_of(declaration) if value.startswith(begun))
            if declaration.path:
                yield from (f"{name}={path}" for path in _files(begun))
        return
    yield from (each for each in commands if each.startswith(prefix))
    section, dot, inner = prefix.partition(".")
    within = section if dot and section in SECTIONS else None
    ending = "" if command in ("params", "values", "plot") else "="
    for setting, declaration in DECLARATIONS.items():
        if within is None and setting.startswith(prefix) and (prefix or command == "params"):
            yield f"{setting}{ending}"
        elif within is not None and declaration.section == within and setting.startswith(inner):
            yield f"{within}.{setting}{ending}"
    if command == "params":
        yield from (each for each in SECTIONS if each and each.startswith(prefix))
    else:
        yield from _files(prefix, SETTINGS_SUFFIXES)


def values_of(declaration: Declaration) -> tuple[str, ...]:
    """Return the values that a setting may be completed to; empty where they cannot be listed."""
    known = KNOWN.get(declaration.name)
    if known is not None:
        return tuple(known())
    return ("true", "false") if declaration.type is bool else declaration.choices


def _samplers() -> Iterable[str]:
    from deforum.diffusion.sampling.samplers import SAMPLERS

    return (row.name for row in SAMPLERS)


def _schedulers() -> Iterable[str]:
    from deforum.diffusion.sampling.samplers import GRID_NAMES

    return ("Automatic", *GRID_NAMES)


def _depth_models() -> Iterable[str]:
    from deforum.depth import MODELS

    return (*MODELS, "none")


KNOWN: Mapping[str, Callable[[], Iterable[str]]] = {
    "sampler": _samplers,
    "scheduler": _schedulers,
    "depth_algorithm": _depth_models,
    "model": lambda: ("embedded",),
}
"""Values of settings whose type is a text, by name."""


def _declared(name: str) -> Declaration | None:
    from deforum.settings.read import find_setting

    return find_setting(name)


def _files(prefix: str, suffixes: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield files with one of the suffixes (none: all), and folders, whose paths begin with `prefix`."""
    begun = prefix.rpartition("/")[2]
    shown = prefix[: len(prefix) - len(begun)]
    try:
        inside = sorted(Path(os.path.expanduser(shown) or ".").iterdir())
    except OSError:
        return
    for path in inside:
        if path.name.startswith(begun) and (begun.startswith(".") or not path.name.startswith(".")):
            if path.is_dir():
                yield f"{shown}{path.name}/"
            elif not suffixes or path.suffix.lower() in suffixes:
                yield f"{shown}{path.name}"
