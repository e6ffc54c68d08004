"""An encoder gives way to the renderer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deforum.video.watchdog import NICENESS, give_way, kill, start


@pytest.mark.skipif(os.name == "nt", reason="Windows has no niceness")
def test_a_program_that_gives_way_computes_at_a_lower_priority() -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    process = start([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        give_way(process)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(ours + NICENESS, 19)
        assert os.getpriority(os.PRIO_PROCESS, 0) == ours
    finally:
        kill(process)
        process.communicate()
