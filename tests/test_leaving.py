"""The program ends at once, and leaves nothing undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import ROOT
from tests.helpers.command import ENVIRONMENT, run_python

BEFORE = """
import atexit, sys, threading, time
from deforum.leaving import leave
atexit.register(print, "registered")

class Told:
    def __del__(self):
        sys.stderr.write("taken apart\\n")

kept = Told()
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
sys.stdout.write("unflushed, ")
"""


def test_what_is_to_be_done_at_the_end_is_done_and_the_interpreter_is_not_taken_apart() -> None:
    done = run_python(f"{BEFORE}\nleave(3)")
    assert done.returncode == 3
    assert done.stdout == "unflushed, thread\nregistered\n" and not done.stderr
    usual = run_python(f"{BEFORE}\nsys.exit(3)")
    assert usual.returncode == 3 and "taken apart" in usual.stderr  # as the test would not see otherwise


def test_an_error_that_is_not_caught_ends_as_usual() -> None:
    done = run_python(f"{BEFORE}\nraise ValueError('odd')")
    assert done.returncode == 1 and "ValueError: odd" in done.stderr and "taken apart" in done.stderr


@pytest.mark.parametrize(
    "words", [["render.py"], ["-m", "deforum"], ["-c", "from deforum.__main__ import program; program()"]]
)
def test_each_door_ends_with_the_exit_status(words: list[str]) -> None:
    for more, status in ((["--version"], 0), (["check", "no_such_file.yaml"], 2)):
        done = subprocess.run(
            [sys.executable, *words, *more], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        assert done.stdout if status == 0 else "no_such_file.yaml" in done.stderr


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} render.py params | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout and "Traceback" not in done.stderr
