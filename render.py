"""The command line: `python render.py FILE [name=value ...]`; see `python render.py --help`."""

# PYTHON_ARGCOMPLETE_OK: shells that have argcomplete activated for all Python programs complete this one too.
import sys

from deforum.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
