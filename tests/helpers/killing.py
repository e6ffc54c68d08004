"""Runs in processes that are killed: a process that has everything imported forks one for each command.

    with Forks(folder) as forks:
        status = forks.run(["a.yaml"], kill_at=12)  # killed when the run has 12 files of frames

In them a function stands in for the model, except in runs whose name begins with `painted`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.helpers import ROOT

NEVER = -1
PACE = 0.001
"""Seconds between looks at the run that is to be killed."""


class Forks:
    """Run commands of the program in processes of their own, each killed where it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder)}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.killing"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(
        self,
        folder: Path,
        *words: str | Path,
        kill_at: int = NEVER,
        later: float = 0.0,
        by: int = signal.SIGKILL,
        times: int = 1,
        most_bytes: int = 0,
        heard: str = "",
        hook: str = "",
    ) -> tuple[int, str]:
        """Run a command in a folder; return its exit status, negative for a signal, and what it said.

        It is sent a signal `later` seconds after the run in `output` has `kill_at` files of frames, or has said
        what is to be `heard`; this many `times`.
        In place of a signal, Python code can be run, the `hook`, which knows the `pid`. The command can write no file
        of more than `most_bytes`; 0 is no limit.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        told = {
            "folder": str(folder), "words": [str(word) for word in words], "kill_at": kill_at, "later": later, "by": by,
            "times": times, "most_bytes": most_bytes, "heard": heard, "hook": hook,
        }  # fmt: skip
        self._server.stdin.write(json.dumps(told) + "\n")
        self._server.stdin.flush()
        status, said = json.loads(self._server.stdout.readline())
        return int(status), str(said)

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.communicate()


def _lines(folder: str) -> int:
    """Count the files of frames of the run in a folder; -1 while there is none."""
    for path in Path(folder).glob("output/*/frames.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # a run without frames is removed
            return path.read_bytes().count(b"\n")
    return -1


def _child(told: dict[str, Any], said: int) -> None:
    from deforum.cli import main as cli

    os.chdir(told["folder"])
    for stream in (1, 2):
        os.dup2(said, stream)
    if told["most_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (told["most_bytes"],) * 2)
    os._exit(cli.main(told["words"]))


def serve() -> None:
    """Answer commands on the standard input, a line each."""
    import cv2  # noqa: F401
    import pytest
    import torch  # noqa: F401

    import deforum.rendering
    import deforum.resuming  # noqa: F401
    from deforum import build
    from tests.animation.scenarios import stand_in

    real = build.load_model

    def load(prepared: build.Prepared, models: object) -> build.LoadedModel:
        from deforum.pixels.image import CPU

        if prepared.settings.batch_name.startswith("painted"):
            return real(prepared, models)  # type: ignore[arg-type]
        return build.LoadedModel(stand_in, CPU, 8)

    pytest.MonkeyPatch().setattr(build, "load_model", load)
    for line in sys.stdin:
        told = json.loads(line)
        out = Path("said.txt")
        number = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        pid = os.fork()
        if not pid:
            _child(told, number)
        status = _wait(pid, told)
        os.close(number)
        print(json.dumps([status, out.read_text(errors="replace")]), flush=True)


def _is_time(told: dict[str, Any]) -> bool:
    if told["heard"]:
        return told["heard"] in Path("said.txt").read_text(errors="replace")
    return _lines(told["folder"]) >= int(told["kill_at"])


def _wait(pid: int, told: dict[str, Any]) -> int:
    if told["kill_at"] != NEVER or told["heard"]:
        while not _is_time(told):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(PACE)
        for _ in range(told["times"]):
            time.sleep(told["later"])
            if told["hook"]:
                exec(told["hook"], {"pid": pid})
                break
            try:
                os.kill(pid, told["by"])
            except ProcessLookupError:
                break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    serve()
