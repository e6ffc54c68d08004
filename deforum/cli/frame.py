"""The command frame: frames of a run given again."""

from __future__ import annotations

import argparse
from pathlib import Path

from deforum.cli.console import INTERRUPTED, OK, Console
from deforum.cli.progress import display_of, progress_argument
from deforum.cli.terminal import Stop
from deforum.cli.verify import DIFFERENT
from deforum.errors import UserError
from deforum.paths import to_path


def frame_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="RUN_FOLDER FRAME",
        help="the folder of a run, and a frame of it or several, such as 317 or 317:330",
    )  # fmt: skip
    parser.add_argument("--to", metavar="FRAME", help="also the frames after it, up to this one")
    parser.add_argument(
        "-o", "--output", type=to_path, metavar="FOLDER",
        help="folder to write them into (default: their place in the run, where they are missing or damaged)",
    )  # fmt: skip
    progress_argument(parser)
    parser.add_argument(
        "--allow-download", action="store_true", help="download models that are not here any more (default: never)"
    )


def frame(arguments: argparse.Namespace) -> int:
    """Render frames of a run again; print the path of each, and say which differ from what was recorded of them."""
    from deforum.again import again
    from deforum.events import Event, Note
    from deforum.output.finished import find_run, ranges

    console: Console = arguments.console
    if arguments.overrides:
        raise UserError(f"{arguments.overrides[0]}: frame takes no settings; frames are those of the run")
    folder, text = _named(arguments)
    folder = find_run(folder)
    wanted = chosen(text, folder)
    stop, progress = Stop(), display_of(arguments, run=1, runs=1)
    console.progress = progress

    def tell(event: Event) -> None:
        if isinstance(event, Note):
            console.note(event.text, folder.name)

    different, new, done = list[int](), list[int](), list[dict[str, object]]()
    try:
        with stop.listening():
            stop.rendering.add(folder)
            progress(0, len(wanted))
            for each in again(
                folder, wanted, output=arguments.output, observer=tell, stop=stop,
                allow_download=arguments.allow_download,
            ):  # fmt: skip
                different += [each.index] if each.is_same is False else []
                new += [each.index] if each.is_same is None else []
                done.append({"frame": each.index, "path": str(each.path), "same": each.is_same})
                progress(len(done), len(wanted))
    finally:
        stop.rendering.discard(folder)
        progress.close()
    console.put("".join(f"{each['path']}\n" for each in done), frames=done)
    if new:
        console.note(f"not rendered by the run so far: {ranges(new)}", folder.name)
    if different:
        where = "" if arguments.output else "; none of them was written: -o FOLDER writes them elsewhere"
        console.say(
            f"came out different from what the run recorded: {ranges(different)}{where}. Frames are the same only on "
            "the same device, with the same versions of the packages"
        )
    if stop():
        return stop.status or INTERRUPTED
    return DIFFERENT if different else OK


def _named(arguments: argparse.Namespace) -> tuple[Path, str]:
    words = list(arguments.files)
    if len(words) != 2:
        raise UserError("frame: expected RUN_FOLDER FRAME, such as output/sea 317 or output/sea 317:330")
    if arguments.to is None:
        return to_path(words[0]), words[1]
    return to_path(words[0]), f"{words[1]}:{arguments.to}"


def chosen(text: str, folder: Path) -> range:
    """Read frames of a run from a text such as 317 or 317:330, both ends included. Raises UserError."""
    from deforum.output.record import read_record
    from deforum.resuming import settings_of

    record = read_record(folder)
    settings = settings_of(record)[-1]
    return pick_range(text, record.total, settings.seed, settings.fps)


def pick_range(text: str, num_frames: int, seed: int, fps: float) -> range:
    """Read consecutive frames from a text such as 317, 100:150 or 2s:4s, both ends included. Raises UserError."""
    from deforum.reports.tabulate import pick_frames
    from schedules import Variables
    from schedules.quoting import cut

    frames = pick_frames(text, num_frames, Variables(seed=seed, fps=fps))
    found = range(frames[0], frames[-1] + 1) if frames else range(0)
    if not frames or tuple(found) != frames:
        raise UserError(f"{cut(text)}: expected a frame or frames in a row, such as 317 or 317:330")
    return found
