"""The command line. Heavy modules are imported on use, so that `--help` answers at once.

Exit status: 0 success; 1 unexpected error (with traceback); 2 error that the user can fix (one message, no traceback);
130 stopped by Ctrl-C (143 by SIGTERM).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from deforum.cli import completion
from deforum.cli import inspect as commands
from deforum.cli.camera import camera, camera_arguments
from deforum.cli.check import check, check_arguments
from deforum.cli.console import INTERRUPTED, Console
from deforum.cli.examples import examples, examples_arguments
from deforum.cli.files import split_words
from deforum.cli.film import film, film_arguments
from deforum.cli.forecast import forecast, forecast_arguments
from deforum.cli.frame import frame, frame_arguments
from deforum.cli.models import models, models_arguments
from deforum.cli.plot import plot, plot_arguments
from deforum.cli.post import step_arguments, step_command
from deforum.cli.preview import preview, preview_arguments
from deforum.cli.render import render, render_arguments
from deforum.cli.serve import serve, serve_arguments
from deforum.cli.song import song, song_arguments
from deforum.cli.submit import plan, plan_arguments, submit, submit_arguments
from deforum.cli.terminal import logging_to, say, warnings_to
from deforum.cli.timeline import timeline, timeline_arguments
from deforum.cli.verify import verify, verify_arguments
from deforum.cli.words import is_file, rewrite
from deforum.errors import UserError
from deforum.program import command_line, program_name
from deforum.version import __version__

EPILOG = """\
Several files, folders or patterns are rendered one after the other, or at once with --together, which is faster; if
one fails, the others still render.
The examples that ship are known by their names alone. name=value changes a setting of the files, unless there is a
file of that name; --name value does too:

    {program} quickstart seed=3 max_frames=12 strength="0:(0.5), 30:(0.7)" -o films

Several values make a sweep: one run for each combination, and a contact sheet, sheet.png. Numbers take lists and
ranges; choices and samplers take lists; every setting takes a list in brackets:

    {program} my.yaml seed=1,2,3 cfg_scale=5..9:2 sampler="Euler a,DDIM" prompts='[a calm sea, a storm]'

The last line printed is the path of the video, or of the contact sheet. Ctrl-C finishes the current frame and closes
the video; a second Ctrl-C stops at once. A run that was stopped in any way goes on, without a trace of the stop, with

    {program} --resume RUN_FOLDER
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


class Parser(argparse.ArgumentParser):
    """Raises UserError for mistakes, in place of printing them and leaving the program."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help lists what can be given")

    @property
    def takes_value(self) -> dict[str, bool]:
        """Whether each option, such as -o and --output, takes a value."""
        return {name: action.nargs != 0 for name, action in self._option_string_actions.items()}


def find_command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the command and the words after it. Raises UserError for a misspelt one.

    The first word is a command if it names one and no file of that name exists.
    """
    if not argv or os.path.isfile(argv[0]):
        return "render", argv
    first = argv[0]
    if first in COMMANDS:
        return first, argv[1:]
    if first == "help":
        named = argv[1] if len(argv) > 1 and argv[1] in COMMANDS else "render"
        return named, ["--help"]
    if first.isalpha() and not is_file(first) and argv[1:2] != ["="]:
        from schedules import nearest

        meant = nearest(first, COMMANDS)
        if meant is not None:
            raise UserError(f"{first}: there is no such command or file; did you mean {meant}?")
    return "render", argv


def parser_of(name: str) -> Parser:
    """Return the parser of a command's arguments."""
    command, program = COMMANDS[name], program_name()
    rows = "\n".join(f"  {word:12}{each.help}" for word, each in COMMANDS.items())
    about = f"Render keyframe animations from settings files.\n\ncommands (default: render):\n{rows}"
    parser = Parser(
        prog=program if name == "render" else f"{program} {name}",
        usage=f"{program} {'[COMMAND]' if name == 'render' else name} {command.usage} [OPTION ...]",
        description=about if name == "render" else f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog=EPILOG.replace("{program}", command_line()) if name == "render" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors and results, without notes")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print details: settings, times, memory")
    parser.add_argument("--log", metavar="FILE", help="append all messages, with details and their times, to a file")
    parser.add_argument("--json", action="store_true", help="print events, errors and the result as lines of JSON")
    parser.add_argument("--version", action="version", version=f"deforum {__version__}")
    return parser


def _options(name: str) -> Iterable[str]:
    return parser_of(name).takes_value


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Parse the command line. Raises UserError for what cannot be understood."""
    name, words = find_command(argv)
    command, parser = COMMANDS[name], parser_of(name)
    options = {other: partial(_options, other) for other in COMMANDS}
    arguments = parser.parse_intermixed_args(rewrite(words, parser.takes_value, options))
    arguments.files, arguments.overrides = split_words(arguments.words)
    if command.needs_file and not arguments.files and not getattr(arguments, "resume", None):
        parser.error("no settings file given; expected FILE before or after name=value")
    late = next((word for word in arguments.files if command.needs_file and word in COMMANDS and not is_file(word)), "")
    if late:
        raise UserError(f"{late}: there is no such file; as a command it comes first: {program_name()} {late} FILE")
    return command, arguments


COMMANDS: dict[str, Command] = {
    "render": Command(
        "render each file into a new folder", render, render_arguments,
        "FILE [FILE ...] [name=value ...] [-o FOLDER] [--together] [--continue] | FILE --into RUN_FOLDER | "
        "FILE --frames A:B [--from RUN_FOLDER] | --resume RUN_FOLDER [--with name=value]",
    ),
    "check": Command("find mistakes without rendering", check, check_arguments),
    "forecast": Command(
        "tell the motion on the screen, jumps, dead keyframes, time and memory of a render beforehand", forecast,
        forecast_arguments,
    ),
    "convert": Command(
        "write a file of any kind as YAML that renders the same", commands.convert, commands.convert_arguments,
        "FILE [FILE ...] [name=value ...] [-o OUT.yaml]",
    ),
    "values": Command(
        "print the values of schedules at each frame", commands.values, commands.values_arguments,
        "FILE [NAME ...] [name=value ...] [--frames A:B:STEP] [--format csv|json|table] [-o OUT]",
    ),
    "plot": Command(
        "draw the schedules of a file over time, as a page to look into or a picture", plot, plot_arguments,
        "FILE [FILE ...] [NAME ...] [name=value ...] [-o OUT.html|OUT.png] [--open]",
    ),
    "preview": Command(
        "show the motion without diffusion, in seconds, or a small draft", preview, preview_arguments,
        "FILE [name=value ...] [--picture card] [--draft 4] [-o OUT.mp4 | -o - | ...]",
    ),
    "camera": Command(
        "write the 3D camera's path for other programs, or a frame as a point cloud", camera, camera_arguments,
        "FILE|RUN_FOLDER|CAMERA_FILE [name=value ...] -o OUT [--format F] [--scale N] [--frame N]",
    ),
    "timeline": Command(
        "write prompts and keyframes as a cut list (OTIO, EDL, labels), or a cut list as settings",
        timeline, timeline_arguments,
        "FILE|RUN_FOLDER [name=value ...] -o OUT.otio|.edl|.txt | CUT_LIST [FILE] [name=value ...] -o OUT.yaml",
    ),
    "film": Command(
        "make a film from the frames of a run, finished or not", film, film_arguments,
        "RUN_FOLDER [video_format=webm] [fps=24] [width=512] [-o OUT]",
    ),
    "upscale": Command(
        "make the frames of a run, or a film, larger", step_command("upscale"), step_arguments("upscale"),
        "RUN_FOLDER|FILM [factor=2] [upscaler=x4plus] [-o OUT]",
    ),
    "interpolate": Command(
        "make frames in between, or slow motion, of a run or a film", step_command("interpolate"),
        step_arguments("interpolate"), "RUN_FOLDER|FILM [times=4] [slow=2] [-o OUT]",
    ),
    "finish": Command(
        "finish the frames of a run, or a film, by the embedded network", step_command("finish"),
        step_arguments("finish"), "RUN_FOLDER|FILM [look=ink] [-o OUT]",
    ),
    "frame": Command(
        "render frames of a run again, from the nearest state (exit status 1 where one comes out different)",
        frame, frame_arguments, "RUN_FOLDER FRAME [--to FRAME] [-o FOLDER]",
    ),
    "verify": Command(
        "check the frames, films and states of runs against what was recorded of them (exit status 1 for faults)",
        verify, verify_arguments, "RUN_FOLDER [RUN_FOLDER ...]",
    ),
    "serve": Command(
        "show runs as they render, in a browser, with a queue and a settings editor", serve, serve_arguments,
        "[RUN_FOLDER|FILE] [name=value ...] [-o FOLDER]", needs_file=False,
    ),
    "song": Command(
        "write a settings file for a song: shots on its sections, moves on its beats", song, song_arguments,
        "SONG [name=value ...] [-o OUT.yaml]",
    ),
    "params": Command(
        "print the reference of all settings, or of some", commands.params, commands.params_arguments,
        "[NAME ...]", needs_file=False,
    ),
    "plan": Command(
        "make the folders of runs, and print the commands that render their shots and chunks, for any queue",
        plan, plan_arguments, "FILE [FILE ...] [name=value ...] [-o FOLDER] [--name NAME] [--chunk FRAMES]",
    ),
    "submit": Command(
        "write runs as a job of a render farm (Open Job Description)", submit, submit_arguments,
        "FILE [FILE ...] [name=value ...] --openjd JOB.yaml [-o FOLDER] [--chunk FRAMES]",
    ),
    "models": Command(
        "list the models in folders: kind, family, size, digest, trigger words", models, models_arguments,
        "[DIR ...] [--kind KIND] [--digest]", needs_file=False,
    ),
    "diff": Command(
        "show how two files differ in what they render (exit status 1 if they do)", commands.diff,
        commands.diff_arguments, "FILE FILE [name=value ...]",
    ),
    "completion": Command(
        "print the code that lets a shell complete commands, settings and files", completion.completion,
        completion.completion_arguments, "[bash|zsh|fish|powershell]", needs_file=False,
    ),
    "examples": Command(
        "list the examples that ship, print them, or copy them to a folder", examples, examples_arguments,
        "[NAME ...] [-o FOLDER]", needs_file=False,
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    completion.complete(parser_of, COMMANDS)
    console = Console(json="--json" in argv)  # for mistakes in the arguments themselves
    try:
        command, arguments = parse(argv)
        console = Console(quiet=arguments.quiet, verbose=arguments.verbose, json=arguments.json)
        arguments.console = console
        with logging_to(arguments.log), warnings_to(console.note):
            return console.finish(run(command, arguments))
    except UserError as error:
        return console.finish(console.fail(error))
    except KeyboardInterrupt:
        return INTERRUPTED


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Run a command and return its exit status; errors are said, and logged."""
    console: Console = arguments.console
    try:
        return command.run(arguments)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    except Exception as error:
        return console.fail(error)
