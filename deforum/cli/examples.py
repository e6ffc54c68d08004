"""The command examples: lists, prints and copies the examples that ship."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from deforum.cli.console import Console
from deforum.cli.shipped import FOLDER, describe, example_names, find_example
from deforum.errors import Problem, UserError, disk_error
from deforum.paths import exists, to_path


def examples_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="NAME", help="examples to print or copy (default: list all)")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="copy them here, with the clips that they use")
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")


def examples(arguments: argparse.Namespace) -> int:
    """List the examples; print those named, or copy them (without names all) to a folder and print their paths."""
    from schedules.quoting import quote

    console: Console = arguments.console
    names = example_names()
    if not names:
        raise UserError("the examples are missing from this installation; install the package again")
    unknown = [word for word in arguments.words if find_example(word) is None]
    if unknown:
        raise UserError(Problem(f"there is no example {quote(word)}{_hint(word, names)}") for word in unknown)
    chosen = [path for word in arguments.words or names if (path := find_example(word)) is not None]
    if arguments.output is not None:
        copies = list(copy(chosen, to_path(arguments.output), overwrite=arguments.overwrite))
        console.put("".join(f"{path}\n" for path in copies), copied=[str(path) for path in copies])
    elif arguments.words:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in chosen}
        console.put("\n".join(texts.values()), examples=texts)
    else:
        width = max(map(len, names))
        lines = {path.stem: describe(path) for path in chosen}
        console.put("".join(f"{name:{width}}  {text}\n" for name, text in lines.items()), examples=lines)
    return 0


def _hint(word: str, names: list[str]) -> str:
    from schedules import nearest

    meant = nearest(word, names)
    return f"; did you mean {meant}?" if meant else f"; there are {', '.join(names)}"


def copy(paths: list[Path], folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Copy examples, and the clips that they name, to a folder; yield the paths of the copies of the examples.

    Raises UserError, before anything is written, for files that exist already unless `overwrite`.
    """
    pairs = [(path, folder / path.name) for path in paths]
    clips = [
        (clip, folder / clip.relative_to(FOLDER))
        for clip in sorted(FOLDER.glob("clips/*"))
        if any(clip.relative_to(FOLDER).as_posix() in path.read_text(encoding="utf-8") for path in paths)
        and clip.suffix != ".py"
    ]
    existing = [target for _, target in pairs if exists(target)]
    if existing and not overwrite:
        raise UserError(
            Problem(f"{target}: already exists; choose another folder with -o, or add --overwrite")
            for target in existing
        )
    try:
        for source, target in (*clips, *pairs):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        raise disk_error(error, folder) from error
    yield from (target for _, target in pairs)
