"""Training steps leave no tensor behind on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.__version__ < "2.10", reason="torch before 2.10 wants a driver even for a pretended card")
@pytest.mark.long
def test_training_steps_on_a_pretended_card() -> None:
    """In a process of its own: after the diffusion tests, torch 2.15 mixes up the devices of pretended tensors."""
    run = [sys.executable, "-m", "pytest", "-q", "-n0", str(Path(__file__).with_name("pretended_card.py"))]
    done = subprocess.run(run, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "[100%]" in done.stdout
