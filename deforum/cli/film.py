"""The command film: a film from the frames of a run."""

from __future__ import annotations

import argparse

from deforum.cli.console import Console
from deforum.cli.progress import display_of, progress_argument
from deforum.errors import UserError
from deforum.paths import to_path


def film_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="RUN_FOLDER | name=value",
        help="the folder of a run, and settings of the film to change: video_format, fps, width, height, crf, "
        "video_quality, video_preset, make_gif, add_soundtrack, soundtrack_path, save_metadata",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=to_path, metavar="OUT", help="the film's file, or a folder for it (default: RUN_FOLDER)"
    )
    progress_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing film")


def film(arguments: argparse.Namespace) -> int:
    """Make the film of each folder; print its path."""
    from deforum.output.film import make_films

    if arguments.output is not None and arguments.output.suffix and len(arguments.files) > 1:
        raise UserError(f"{arguments.output}: there are {len(arguments.files)} runs; give -o a folder")
    console: Console = arguments.console
    films: list[str] = []
    for number, word in enumerate(arguments.files, 1):
        progress = display_of(arguments, run=number, runs=len(arguments.files))
        console.progress = progress
        folder = to_path(word)
        try:
            progress(0, 1)
            made = make_films(
                folder, arguments.overrides,
                output=arguments.output, overwrite=arguments.overwrite, progress=progress,
            )  # fmt: skip
        finally:
            progress.close()
        for note in made.notes:
            console.note(note, folder.name)
        paths = [*made.films[1:], made.films[0]]
        films += [str(path) for path in paths]
        console.put("".join(f"{path}\n" for path in paths), films=films)
    return 0
