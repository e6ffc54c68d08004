"""`python -m deforum FILE [name=value ...]`: the command line."""

import sys

from deforum.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
