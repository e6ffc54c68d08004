"""The command serve: the live page and its API."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import INTERRUPTED, Console
from deforum.errors import UserError
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.serve.views import OpenedFile

PORT = 7860
"""That of the web UI, where clients of Deforum's API look for it."""
_WAY = "serve needs the packages fastapi, uvicorn and sse-starlette: pip install 'deforum-renderer[serve]'"


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="RUN_FOLDER | FILE | name=value",
        help="a run to watch, or a settings file to edit, with settings to change in it (default: the runs of output)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=to_path, metavar="FOLDER",
        help="the folder of runs (default: that of RUN_FOLDER, else output)",
    )  # fmt: skip
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; any but loopback needs a token (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=PORT, help="0 is any free one (default: %(default)s)")
    parser.add_argument(
        "--token", default="", help="what requests have to show (default: $DEFORUM_TOKEN, or one that is made where "
        "other computers can reach the server)",
    )  # fmt: skip
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME",
        help="a name under which the server is asked, besides its address",
    )  # fmt: skip
    parser.add_argument(
        "--allow", action="append", default=[], type=to_path, metavar="FOLDER",
        help="with a token: settings may name files in this folder too",
    )  # fmt: skip
    parser.add_argument(
        "--at-once", type=int, default=1, metavar="N", help="number of runs that render at the same time (default: 1)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises UserError."""
    try:
        import fastapi  # noqa: F401
        import sse_starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UserError(_WAY) from None
    from deforum.serve.process import TOKEN_VARIABLE
    from deforum.serve.running import Where, ready

    console: Console = arguments.console
    if arguments.at_once < 1:
        raise UserError(f"--at-once {arguments.at_once}: expected at least 1")
    runs, shown, file = _chosen(arguments)
    token = arguments.token or os.environ.get(TOKEN_VARIABLE, "")
    where = Where(arguments.host, arguments.port, token, tuple(arguments.host_name))
    folders = tuple(arguments.allow)

    try:
        with ready(where, runs, file=file, shown=shown, folders=folders, at_once=arguments.at_once) as server:
            console.emit("serving", address=server.address, runs=str(runs))
            console.say(f"runs in {runs}; Ctrl-C stops the server, and its runs after their frames")
            console.put(f"{server.address}\n", address=server.address)
            if arguments.open:
                import webbrowser

                webbrowser.open(server.address)
            server.run()
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _chosen(arguments: argparse.Namespace) -> tuple[Path, str, OpenedFile | None]:
    """Return the folder of runs, the run to show, and the file to edit. Raises UserError."""
    from deforum.cli.files import find_files
    from deforum.output.finished import find_run
    from deforum.output.record import read_record
    from deforum.serve.views import OpenedFile
    from deforum.settings.options import Settings
    from deforum.sources import RUN_FILE

    words, overrides = arguments.files, tuple(arguments.overrides)
    if len(words) > 1:
        raise UserError(f"{words[1]}: serve takes one run or one settings file")
    path = to_path(words[0]) if words else None
    if path is not None and path.is_dir() and ((path / RUN_FILE).exists() or path.name == "frames"):
        folder = find_run(path).resolve()
        read_record(folder)
        if overrides:
            raise UserError(f"{overrides[0]}: changes a settings file, and {path} is a run")
        parent = arguments.output.resolve() if arguments.output is not None else folder.parent
        if not folder.is_relative_to(parent):
            raise UserError(f"{path}: is not below {arguments.output}, the folder of runs")
        return parent, folder.relative_to(parent).as_posix(), None
    runs = arguments.output or to_path(Settings.output)
    if path is not None and path.is_dir():  # a folder of runs
        if arguments.output is not None or overrides:
            raise UserError(f"{path}: is a folder of runs; expected a run or a settings file with -o or name=value")
        return path, "", None
    if path is None:
        if overrides:
            raise UserError(f"{overrides[0]}: changes a settings file; give one")
        return runs, "", None
    (file,) = find_files(words)
    return runs, "", OpenedFile(file, overrides)
