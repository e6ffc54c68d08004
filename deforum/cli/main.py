"""The command line. Heavy modules are imported on use, so that `--help` answers at once.

Exit status: 0 success; 1 unexpected error (with traceback); 2 error that the user can fix (one message, no traceback);
130 stopped by Ctrl-C (143 by SIGTERM).
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
from deforum.paths import is_file
from deforum.version import __version__

EPILOG = """\
Several files, folders or patterns are rendered one after the other; if one fails, the others still render.
name=value changes a setting of the files, unless there is a file of that name:

    {program} examples/quickstart.yaml seed=3 max_frames=12 strength="0:(0.5), 30:(0.7)" -o films

Several values make a sweep: one run for each combination, and a contact sheet, sheet.png. Numbers take lists and
ranges; choices and samplers take lists; every setting takes a list in brackets:

    {program} my.yaml seed=1,2,3 cfg_scale=5..9:2 sampler="Euler a,DDIM" prompts='[a calm sea, a storm]'

The last line printed is the path of the video, or of the contact sheet. Ctrl-C finishes the current frame and closes
the video; a second Ctrl-C stops at once.
"""


@dataclass(frozen=True)
class Command:
    """A command, named by the first argument: a row of COMMANDS."""

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None]
    """Adds the arguments of the command; `words` are then split into `files` and `overrides`."""
    usage: str = "FILE [FILE ...] [name=value ...]"
    needs_file: bool = True


def program_name() -> str:
    """Return the name under which the program was started: render.py, deforum, or python -m deforum."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "__main__.py" and started.parent.name == "deforum":
        return "python -m deforum"
    return started.name if started.stem in ("render", "deforum") else "render.py"


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Parse the command line. The first argument is a command if it names one and no file of that name exists."""
    name, program = "render", program_name()
    typed = f"python {program}" if program.endswith(".py") else program
    if argv and argv[0] in COMMANDS and not is_file(Path(argv[0])):
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
        parser.error("no settings file given; expected FILE before or after name=value")
    return command, arguments


COMMANDS: dict[str, Command] = {
    "render": Command(
        "render each file into a new folder", render, render_arguments,
        "FILE [FILE ...] [name=value ...] [-o FOLDER] [--allow-download] [-q]",
    ),
    "check": Command("find mistakes without rendering", check, render_arguments),
    "convert": Command(
        "write a file of any kind as YAML that renders the same", commands.convert, commands.convert_arguments,
        "FILE [FILE ...] [name=value ...] [-o OUT.yaml]",
    ),
    "values": Command(
        "print the values of schedules at each frame", commands.values, commands.values_arguments,
        "FILE [NAME ...] [name=value ...] [--frames A:B:STEP] [--format csv|json|table] [-o OUT]",
    ),
    "params": Command(
        "print the reference of all settings, or of some", commands.params, commands.params_arguments,
        "[NAME ...]", needs_file=False,
    ),
    "diff": Command(
        "show how two files differ in what they render (exit status 1 if they do)", commands.diff,
        commands.diff_arguments, "FILE FILE [name=value ...]",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    command, arguments = parse(sys.argv[1:] if argv is None else argv)
    # OpenMP threads that busy-wait take the cores from the encoder: a warp then takes 60 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return command.run(arguments)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    except Exception as error:
        return report(error)
