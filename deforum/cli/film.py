"""The command film: a film from the frames of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deforum.cli.terminal import Progress, say
from deforum.errors import UserError


def film_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="+", metavar="RUN_FOLDER | name=value",
        help="the folder of a run, and settings of the film to change: video_format, fps, width, height, crf, "
        "video_quality, video_preset, make_gif, add_soundtrack, soundtrack_path, save_metadata",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="the film's file, or a folder for it (default: RUN_FOLDER)"
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing film")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors and the path of the film")


def film(arguments: argparse.Namespace) -> int:
    """Make the film of each folder; print its path."""
    from deforum.output.film import make_films

    if arguments.output is not None and arguments.output.suffix and len(arguments.files) > 1:
        raise UserError(f"{arguments.output}: there are {len(arguments.files)} runs; give -o a folder")
    for word in arguments.files:
        progress = Progress(sys.stderr, quiet=arguments.quiet)
        try:
            progress(0, 1)
            made = make_films(
                Path(word).expanduser(), arguments.overrides,
                output=arguments.output, overwrite=arguments.overwrite, progress=progress,
            )  # fmt: skip
        finally:
            progress.close()
        if not arguments.quiet:
            for note in made.notes:
                say(f"{Path(word).name}: {note}")
        for path in made.films[1:]:
            print(path)
        print(made.films[0], flush=True)
    return 0
