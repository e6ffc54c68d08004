"""Random inputs: no traceback, no hang, no control characters, bounded memory."""

from __future__ import annotations

import resource
import sys

import pytest

from tests.security.fuzz import Corpus, Finding, run, weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="computing time is limited by a signal")

LONG_RUN = 20_000
MOST_MEMORY = 500 * 2**20
"""Bytes above those of an idle process."""


def told(found: list[Finding]) -> str:
    return "\n\n".join(f"{each.kind}: {each.fault}\n  {each.text}" for each in found[:10])


@pytest.mark.parametrize("seed", range(3))
def test_inputs_at_random(corpus: Corpus, seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    found = run(corpus, seed, 500, clips=4)
    said = capfd.readouterr()
    assert not found, told(found)
    assert "\x1b" not in said.err + said.out and "Traceback" not in said.err


def test_weights_at_random(corpus: Corpus) -> None:
    pytest.importorskip("deforum.models.weights")
    found = weights(corpus, 7, 100)
    assert not found, told(found)


@pytest.mark.long
def test_many_inputs_at_random(corpus: Corpus, capfd: pytest.CaptureFixture[str]) -> None:
    run(corpus, 99, 200, clips=2)  # everything is imported, and caches are filled
    capfd.readouterr()
    before = peak()
    for part in range(20):
        found = run(corpus, 1000 + part, LONG_RUN // 20, clips=30)
        said = capfd.readouterr()
        assert not found, told(found)
        assert "\x1b" not in said.err + said.out and "Traceback" not in said.err
    assert peak() - before < MOST_MEMORY


@pytest.mark.long
def test_many_weights_at_random(corpus: Corpus) -> None:
    pytest.importorskip("deforum.models.weights")
    found = weights(corpus, 5, 2000)
    assert not found, told(found)


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
