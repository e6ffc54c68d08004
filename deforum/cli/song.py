"""The command song: a settings file for a song."""

from __future__ import annotations

import argparse

from deforum.cli.console import OK, Console
from deforum.cli.inspect import new_file
from deforum.errors import UserError
from deforum.paths import to_path


def song_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="SONG | name=value", help="a file with sound, and settings such as fps=30 bpm=128"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="the settings file (default: SONG.yaml here; - is the standard output)"
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file")


def song(arguments: argparse.Namespace) -> int:
    """Write a settings file for a song; print its path."""
    from deforum.reports.song import write_song

    console: Console = arguments.console
    if len(arguments.files) != 1:
        raise UserError(f"song takes one file with sound; {len(arguments.files)} were given")
    path = to_path(arguments.files[0])
    output = arguments.output if arguments.output is not None else f"{path.stem}.yaml"
    target = new_file(output, overwrite=arguments.overwrite)
    if target is not None and target.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(f"{output}: the output is YAML; its name has to end in .yaml")
    text = write_song(path, arguments.overrides, target)
    console.put(text, target, yaml=text if console.json else None)
    if target is not None:
        console.put(f"{target}\n", output=str(target))
    return OK
