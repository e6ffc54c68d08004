"""The commands of single steps behind a render: upscale, finish and so on, on a run or a film."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import INTERRUPTED, OK, Console
from deforum.cli.progress import display_of, progress_argument
from deforum.cli.terminal import Stop, say
from deforum.errors import UserError
from deforum.paths import to_path
from deforum.program import command_line

if TYPE_CHECKING:
    from deforum.cli.progress import Progress
    from deforum.events import Event
    from deforum.settings.steps import Step

_PREFIX = "step_"


def step_arguments(name: str) -> Callable[[argparse.ArgumentParser], None]:
    """Return the function that adds the arguments of a step's command."""
    return partial(_arguments, name)


def _arguments(name: str, parser: argparse.ArgumentParser) -> None:
    from deforum.settings.steps import STEPS

    kind = STEPS[name]
    parser.add_argument(
        "words", nargs="*", metavar="RUN_FOLDER | FILM | name=value",
        help=f"folders of runs, or films; options, such as {kind.main}=...; and settings of the film: video_format, "
        "crf, video_quality, video_preset, fps, add_soundtrack, soundtrack_path",
    )  # fmt: skip
    for option, declaration in kind.declared.items():
        default = "null" if declaration.default is None else declaration.default
        parser.add_argument(
            f"--{option}", dest=f"{_PREFIX}{option}", metavar="VALUE",
            help=f"{declaration.help} ({declaration.expected}; default: {default})".replace("%", "%%"),
        )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=to_path, metavar="OUT", help="the film's file, or a folder for it (default: beside)"
    )
    progress_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing film")


def step_command(name: str) -> Callable[[argparse.Namespace], int]:
    """Return the function that runs a step's command."""
    return partial(_run, name)


def _run(name: str, arguments: argparse.Namespace) -> int:
    """Make a step of each run or film; print the paths of the films."""
    console: Console = arguments.console
    if arguments.output is not None and arguments.output.suffix and len(arguments.files) > 1:
        raise UserError(f"{arguments.output}: there are {len(arguments.files)} films to make; give -o a folder")
    step, overrides = _read(name, arguments)
    stop, films = Stop(), list[str]()
    for number, word in enumerate(arguments.files, 1):
        console.progress = display_of(arguments, run=number, runs=len(arguments.files))
        made = _make(to_path(word), step, overrides, arguments, stop, console.progress)
        films += map(str, made)
        console.put("".join(f"{path}\n" for path in made), films=films)
        if stop():
            say(f"stopped; to go on: {command_line(name, *arguments.words)}")
            return stop.status or INTERRUPTED
    return OK


def _read(name: str, arguments: argparse.Namespace) -> tuple[Step, list[str]]:
    """Return the step that the options describe, and the words that are settings of films."""
    from deforum.settings.chains import build_step
    from deforum.settings.document import Node, Place, parse_yaml_value
    from deforum.settings.faults import Wrong
    from deforum.settings.steps import STEPS

    kind = STEPS[name]
    given: dict[str, Node] = {}
    rest: list[str] = []
    for option in kind.declared:
        text = getattr(arguments, f"{_PREFIX}{option}")
        if text is not None:
            given[option] = parse_yaml_value(text, Place(f"command line: --{option}"))
    for word in arguments.overrides:
        option, _, text = word.partition("=")
        option = option.strip()
        option = kind.main if option == name else option
        if option in kind.declared:
            given[option] = parse_yaml_value(text, Place(f"command line: {word}"))
        else:
            rest.append(word)
    try:
        return build_step(kind, given, Place("command line")), rest
    except Wrong as wrong:
        raise UserError(wrong.problem) from None


def _make(
    path: Path, step: Step, overrides: list[str], arguments: argparse.Namespace, stop: Stop, progress: Progress
) -> list[Path]:
    from deforum.events import Note, StepBegun, StepFrame
    from deforum.post.chain import make_chain

    console: Console = arguments.console

    def tell(event: Event) -> None:
        match event:
            case Note(text):
                console.note(text, path.name)
            case StepBegun(text, place, total) as begun:
                console.emit("step", file=path.name, text=text, path=str(place), total=total)
                progress.step(0, total)
                console.say(f"{path.name}: {begun.words}")
            case StepFrame(done, total):
                console.emit("step_frame", file=path.name, done=done, total=total)
                progress.step(done, total)

    try:
        with stop.listening():
            stop.rendering.add(path)
            made = make_chain(
                path, [step], overrides, output=arguments.output, overwrite=arguments.overwrite, observer=tell,
                stop=stop,
            )  # fmt: skip
    finally:
        stop.rendering.discard(path)
        progress.close()
    return list(made.films)
