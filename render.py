"""The command line: `python render.py FILE [name=value ...]`; see `python render.py --help`."""

import sys

from deforum.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
