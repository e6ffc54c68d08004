"""The command preview: the motion of an animation without diffusion, or a small draft with it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import INTERRUPTED, OK, Console
from deforum.cli.files import find_files, name_of
from deforum.cli.progress import display_of, progress_argument
from deforum.cli.terminal import Stop
from deforum.errors import UserError
from deforum.models.process import settle_process
from deforum.paths import to_path
from deforum.preview.choices import DEPTHS, PICTURES, STREAMS, Stream

if TYPE_CHECKING:
    from deforum.cli.sweep import Job
    from deforum.preview.show import Pixels
    from deforum.settings.options import Settings
    from deforum.timeline.frame import Frame
    from deforum.video.writer import Soundtrack

QUALITY, PRESET = 20, "ultrafast"
"""Of a preview in H.264: encoded as fast as it is made, and sharp enough for its letters."""
TO_STDOUT = "-"


def preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="FILE | name=value",
        help="settings files (- is the standard input), and settings to change in them",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUT",
        help="the film's file, whose ending chooses its format, or a folder for it; - writes frames to the standard "
        "output (default: NAME_preview.mp4 in the folder of runs, in place of an earlier one)",
    )  # fmt: skip
    parser.add_argument(
        "--format", metavar="NAME",
        help="format of the film, as video_format names it (default: by the ending of OUT, else h264), or of frames in "
        "a pipe: y4m (the default there) or raw",
    )  # fmt: skip
    parser.add_argument(
        "--picture", choices=PICTURES, default="auto",
        help="the picture that is moved: init; painted, frame 0 as the model paints it; card, flat; room, drawn in "
        "perspective with its depth (default: the init picture if there is one, in 3D a room, else a card)",
    )  # fmt: skip
    parser.add_argument(
        "--depth", choices=DEPTHS, default="auto",
        help="3D: the depth of the picture: set, by depth_algorithm; embedded, the small model that ships; none, flat "
        "(default: the room's own; of other pictures by depth_algorithm, or embedded if that is not here)",
    )  # fmt: skip
    parser.add_argument(
        "--renew", type=int, default=0, metavar="FRAMES",
        help="begin the picture anew after so many frames, for zooms that leave nothing of it (default: never)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE",
        help="share of the frame's size, such as 0.5; the motion is the same (default: 1)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="overwrite an existing file that -o names")
    parser.add_argument("--plain", action="store_true", help="without labels, and without drawn masks")
    parser.add_argument(
        "--draft", type=int, metavar="N",
        help="render with diffusion, at 1/N of the size and of the steps, with the same timing and seeds",
    )  # fmt: skip
    progress_argument(parser)
    parser.add_argument(
        "--allow-download", action="store_true", help="download models that are not here (default: never)"
    )


def preview(arguments: argparse.Namespace) -> int:
    """Make the preview of each file; print the path of its film."""
    from deforum.cli.sweep import list_jobs

    check_preview(arguments)
    console: Console = arguments.console
    jobs = list_jobs(find_files(arguments.files), arguments.overrides)[0]
    output = arguments.output
    if len(jobs) > 1 and output is not None and (output == TO_STDOUT or to_path(output).suffix):
        raise UserError(f"-o {output}: there are {len(jobs)} previews; give -o a folder")
    stop, made = Stop(), list[dict[str, object]]()
    with stop.listening():
        for number, job in enumerate(jobs, 1):
            console.progress = display_of(arguments, run=number, runs=len(jobs))
            made.append(preview_job(job, arguments, stop))
            if stop():
                break
    console.record(previews=made)
    return (stop.status or INTERRUPTED) if stop() else OK


def check_preview(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that mean nothing together, and values out of range."""
    from deforum.video.formats import FORMATS
    from schedules.quoting import cut

    given = {"--picture": arguments.picture != "auto", "--depth": arguments.depth != "auto",
             "--renew": arguments.renew, "--scale": arguments.scale != 1}  # fmt: skip
    idle = [name for name, value in given.items() if value]
    if arguments.draft is not None and idle:
        raise UserError(f"--draft paints every frame: leave out {', '.join(idle)}")
    if not 1 / 16 <= arguments.scale <= 1:
        raise UserError(f"--scale {arguments.scale:g}: expected a share of the frame's size, 0.0625..1, such as 0.5")
    if arguments.renew < 0:
        raise UserError(f"--renew {arguments.renew}: expected a number of frames, such as 60; 0 is never")
    to_stdout = arguments.output == TO_STDOUT
    if arguments.format not in (None, *FORMATS, *STREAMS):
        raise UserError(f"--format {cut(arguments.format)}: expected one of {', '.join((*FORMATS, *STREAMS))}")
    if to_stdout and arguments.format not in (None, *STREAMS):
        raise UserError(f"--format {arguments.format}: a pipe takes {' or '.join(STREAMS)}; give a film a file with -o")
    if not to_stdout and arguments.format in STREAMS:
        raise UserError(f"--format {arguments.format} is for pipes: add -o -, or choose one of {', '.join(FORMATS)}")
    if to_stdout and arguments.json:
        raise UserError("-o - and --json both write to the standard output; choose one")


def preview_job(job: Job, arguments: argparse.Namespace, stop: Stop) -> dict[str, object]:
    """Make one preview; return its facts. Raises UserError."""
    from deforum.cli.files import load_file
    from deforum.video.formats import exact_fps

    console: Console = arguments.console
    loaded = load_file(job.file, job.overrides)
    for line in loaded.report:
        console.note(line, name_of(job.file))
    settings, total, frames = frames_of(job, arguments, loaded.settings)
    began = time.monotonic()
    done = 0

    def pictures() -> Iterator[Pixels]:
        nonlocal done
        console.progress(0, total)
        for _, pixels in frames:
            yield pixels
            done += 1
            console.progress(done, total)
            if stop():
                return

    try:
        if arguments.output == TO_STDOUT:
            path = None
            write_to_stdout(pictures(), settings, arguments)
        else:
            path = write_film(pictures(), job, settings, arguments)
    finally:
        console.progress.close()
    seconds = time.monotonic() - began
    if path is not None:
        console.say(f"{job.label}: {done} frames in {seconds:.1f} s: {done / seconds:.0f} frames/s")
        console.put(f"{path}\n")
    return {
        "file": job.label, "video": None if path is None else str(path), "frames": done, "seconds": round(seconds, 3),
        "width": settings.width, "height": settings.height, "fps": float(exact_fps(settings.fps)),
    }  # fmt: skip


def frames_of(
    job: Job, arguments: argparse.Namespace, settings: Settings
) -> tuple[Settings, int, Iterator[tuple[Frame, Pixels]]]:
    """Return the settings of a preview, of its own size, the number of its frames, and these. Raises UserError."""
    from deforum.preview import plan, show

    console: Console = arguments.console
    if arguments.draft is not None:
        draft = show.plan_draft(settings, arguments.draft, allow_download=arguments.allow_download)
        for note in draft.notes:
            console.note(note, name_of(job.file))
        return draft.settings, len(draft.place), show.draft_frames(draft, plain=arguments.plain)
    planned = plan.plan_preview(
        settings, picture=arguments.picture, depth=arguments.depth, scale=arguments.scale, renew=arguments.renew
    )
    for note in planned.notes:
        console.note(note, name_of(job.file))
    return planned.settings, len(planned.place), beside_an_encoder(show.preview_frames(planned, plain=arguments.plain))


def beside_an_encoder(frames: Iterator[tuple[Frame, Pixels]]) -> Iterator[tuple[Frame, Pixels]]:
    """Make frames on all cores but one, which encodes them: on all of them the two wait for each other."""
    settle_process()
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        yield from frames
    finally:
        torch.set_num_threads(threads)


def write_to_stdout(pictures: Iterator[Pixels], settings: Settings, arguments: argparse.Namespace) -> None:
    """Write frames into the pipe behind the program. Raises UserError where there is none."""
    from deforum.preview.streams import FORMATS as ROWS
    from deforum.preview.streams import write_stream
    from deforum.video.formats import exact_fps

    if sys.stdout.isatty():
        raise UserError("-o - writes frames: pipe them into a player, such as | ffplay - or | mpv -")
    console: Console = arguments.console
    format: Stream = arguments.format or "y4m"
    fps = exact_fps(settings.fps)
    player = ROWS[format].player(*settings.size, fps)
    console.say(f"{format}: {settings.width}x{settings.height}, {fps} frames/s; to see it: | {player}")
    if not write_stream(pictures, format, fps, sys.stdout.buffer):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        console.say("the reader of the pipe has closed it")


def write_film(pictures: Iterator[Pixels], job: Job, settings: Settings, arguments: argparse.Namespace) -> Path:
    """Write the film of a preview, with the sound of the render; return its path. Raises UserError."""
    from deforum.video.writer import VideoWriter

    path, format = place_of(job, settings, arguments)
    quality, preset = (QUALITY, PRESET) if format == "h264" else (None, None)
    with VideoWriter(
        path, *settings.size, settings.fps,
        format=format, quality=quality, preset=preset, soundtrack=sound_of(settings, format),
    ) as film:  # fmt: skip
        for pixels in pictures:
            film.write(pixels)
    return path


def sound_of(settings: Settings, format: str) -> Soundtrack | None:
    """Return the sound of the render, where the format has sound and the file can be heard."""
    from deforum.output.choice import Outputs
    from deforum.video.ffmpeg import VideoError

    films = Outputs.of(settings)[0].films
    sound = films[0].soundtrack if films else None
    if sound is None:
        return None
    try:
        sound.check(format)
    except VideoError:
        return None
    return sound


def place_of(job: Job, settings: Settings, arguments: argparse.Namespace) -> tuple[Path, str]:
    """Return the path and the format of a preview's film. Raises UserError."""
    from deforum.errors import disk_error
    from deforum.output.naming import runs_folder, safe_name
    from deforum.video.formats import FORMATS

    given = None if arguments.output is None else to_path(arguments.output)
    by_ending = next((name for name, row in FORMATS.items() if given is not None and row.suffix == given.suffix), None)
    if given is not None and given.suffix and by_ending is None:
        endings = ", ".join(dict.fromkeys(row.suffix for row in FORMATS.values()))
        raise UserError(f"{given}: no film has this ending; expected {endings}, or a folder")
    format = arguments.format or by_ending or "h264"
    if given is not None and given.suffix:
        if FORMATS[format].suffix != given.suffix:
            raise UserError(
                f"{given}: {format} is written into {FORMATS[format].suffix}; change the ending, or --format"
            )
        if given.exists() and not arguments.overwrite:
            raise UserError(f"{given}: already exists; choose another one with -o, or add --overwrite")
        path = given
    else:
        what = "preview" if arguments.draft is None else "draft"
        names = [name_of(job.file, stem=True), *(f"{name}={value.label}" for name, value in job.swept), what]
        path = runs_folder(settings, given) / f"{safe_name('_'.join(names))}{FORMATS[format].suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    return path, format
