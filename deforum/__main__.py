"""`python -m deforum FILE [name=value ...]`: the command line."""

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While the program is imported, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))

from deforum.cli.main import main

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
