"""`python -m deforum FILE [name=value ...]`, and the program `deforum`: the command line."""

# PYTHON_ARGCOMPLETE_OK: as in render.py, for the program deforum.
import os
import signal
from typing import NoReturn

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While the program is imported, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))

from deforum.leaving import leave  # first

from deforum.cli.main import main  # isort: skip


def program() -> NoReturn:
    """Run the command line, and end the process with its exit status."""
    leave(main())


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    program()
