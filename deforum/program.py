"""The name under which the program was started, for messages that tell the next command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def program_name() -> str:
    """Return the name under which the program was started: render.py, deforum, or python -m deforum."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "__main__.py" and started.parent.name == "deforum":
        return "python -m deforum"
    return started.name if started.stem in ("render", "deforum") else "render.py"


def command_line(*words: str | Path) -> str:
    """Return a command of this program as typed in a terminal, with quotes where words need them."""
    name = program_name()
    typed = f"python {name}" if name.endswith(".py") else name
    texts = [str(word) for word in words]
    return f"{typed} {subprocess.list2cmdline(texts) if sys.platform == 'win32' else shlex.join(texts)}".rstrip()
