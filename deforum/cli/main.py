"""The command line. Nothing heavy is imported before it is needed: `--help` answers at once.

Exit status: 0 all is well; 1 something unexpected broke (a traceback says where); 2 something is for the user to mend
(one message, no traceback); 130 stopped by Ctrl-C (143 by a request to terminate).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.cli import inspect as commands
from deforum.cli.files import split_words
from deforum.cli.render import INTERRUPTED, check, render, render_arguments, report
from deforum.cli.terminal import say
from deforum.version import __version__

EPILOG = """\
Give several files, folders or patterns to render them one after the other; what fails does not stop the others.
An argument with '=' in it that is not the name of a file sets a setting, and wins over the file:

    {program} examples/quickstart.yaml seed=3 max_frames=12 strength="0:(0.5), 30:(0.7)" -o films

Several values make a sweep: a run for each combination, and a picture that compares them, sheet.png. Numbers may be
lists and ranges, choices and samplers lists; lists in brackets do for everything:

    {program} my.yaml seed=1,2,3 cfg_scale=5..9:2 sampler="Euler a,DDIM" prompts='[a calm sea, a storm]'

The last line printed is the path of the video, or of the sheet. Ctrl-C finishes the frame and closes the video; twice
stops at once.
"""


@dataclass(frozen=True)
class Command:
    """A word that may stand first on the command line: a row of COMMANDS."""

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None]
    """Adds what the command takes; `words` are then told apart into `files` and `overrides`."""
    usage: str = "FILE [FILE ...] [name=value ...]"
    needs_file: bool = True


def program_name() -> str:
    """Give the name that the program was started with: render.py, deforum, or python -m deforum."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "__main__.py":
        return "python -m deforum"
    return started.name if started.stem in ("render", "deforum") else "render.py"


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Read the command line. A first word that names a command is one, unless a file has that very name."""
    name, program = "render", program_name()
    typed = f"python {program}" if program.endswith(".py") else program
    if argv and argv[0] in COMMANDS and not Path(argv[0]).is_file():
        name, argv = argv[0], argv[1:]
    command = COMMANDS[name]
    rows = "\n".join(f"  {word:8}{each.help}" for word, each in COMMANDS.items())
    about = f"Render keyframe animations from settings files.\n\ncommands (default: render):\n{rows}"
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} {'[COMMAND]' if name == 'render' else name} {command.usage}",
        description=about if name == "render" else f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog=EPILOG.replace("{program}", typed) if name == "render" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    parser.add_argument("--version", action="version", version=f"deforum {__version__}")
    arguments = parser.parse_intermixed_args(argv)
    arguments.files, arguments.overrides = split_words(arguments.words)
    if command.needs_file and not arguments.files:
        parser.error("which settings file? Only settings were given")
    return command, arguments


COMMANDS: dict[str, Command] = {
    "render": Command(
        "render each file into a folder of its own", render, render_arguments,
        "FILE [FILE ...] [name=value ...] [-o FOLDER] [-q]",
    ),
    "check": Command("find mistakes without rendering", check, render_arguments),
    "convert": Command(
        "write a file of any kind as YAML that renders the same", commands.convert, commands.convert_arguments,
        "FILE [FILE ...] [name=value ...] [-o OUT.yaml]",
    ),
    "values": Command(
        "print what every schedule gives at every frame", commands.values, commands.values_arguments,
        "FILE [NAME ...] [name=value ...] [--frames A:B:STEP] [--format csv|json|table] [-o OUT]",
    ),
    "params": Command(
        "print the reference of all settings, or of some", commands.params, commands.params_arguments,
        "[NAME ...]", needs_file=False,
    ),
    "diff": Command(
        "tell how two files differ in what they render (exit status 1: they do)", commands.diff,
        commands.diff_arguments, "FILE FILE [name=value ...]",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    # Threads that spin while they wait for each other take the cores from the encoder: a warp takes 60 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return command.run(arguments)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    except Exception as error:
        return report(error)
