"""Copies that nothing waits for, on a pretended card, where they arrive late."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deforum.models.transfer import constant, download, upload
from tests.helpers.card import CARD, Card, OnCard

VALUES = torch.arange(12, dtype=torch.float32).view(3, 4)


def test_there_and_back() -> None:
    with Card() as card:
        given = VALUES.clone()
        there = upload(given, CARD)
        given.zero_()  # the caller may reuse it
        back = download(there * 2)
        there.zero_()
        assert isinstance(there, OnCard) and not card.waits
        assert not np.array_equal(back._buffer.numpy(), 2 * VALUES.numpy())  # still on its way
        assert np.array_equal(back.pixels(), 2 * VALUES.numpy()) and not card.waits
    assert not back.pixels().flags.writeable


def test_on_the_cpu_it_is_there_at_once() -> None:
    assert upload(VALUES, torch.device("cpu")) is VALUES
    arriving = download(VALUES)
    assert (arriving.shape, arriving.dtype) == ((3, 4), np.float32) and np.array_equal(arriving.pixels(), VALUES)


def test_pageable_memory_and_reads_are_waited_for() -> None:
    """The pretended card counts what it is there to count."""
    with Card() as card:
        there = VALUES.to(CARD)
        float(there.sum()), there[there > 3], there.nonzero(), there.cpu(), bool(there.any())
        what = [wait.what for wait in card.take()]
        assert what == [
            "copies to the card", "reads a number", "indexes by a mask", "counts what is not zero",
            "copies to the host", "reads a number",
        ]  # fmt: skip
        with pytest.raises(RuntimeError, match="different devices"):
            there + VALUES
        constant((1.0, 2.0), torch.float32, CARD)
        assert not card.waits
