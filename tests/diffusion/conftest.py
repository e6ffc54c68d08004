"""Tiny models, made once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.diffusion.tiny import Tiny, build


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These models are so small that threads only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models() -> dict[str, Tiny]:
    return {family: build(family) for family in ("sd1", "sd2", "sdxl")}


@pytest.fixture(scope="session")
def folders(models: dict[str, Tiny], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A diffusers folder of each family."""
    root = tmp_path_factory.mktemp("folders")
    return {family: model.save_folder(root / family) for family, model in models.items()}
