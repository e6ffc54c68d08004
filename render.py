"""The command line: `python render.py FILE [name=value ...]`; see `python render.py --help`."""

# PYTHON_ARGCOMPLETE_OK: shells that have argcomplete activated for all Python programs complete this one too.
import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While the program is imported, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))

from deforum.leaving import leave  # first

from deforum.cli.main import main  # isort: skip

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    leave(main())
