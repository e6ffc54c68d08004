"""Engines by name: which one is found, and what estimators they follow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deforum.flow import METHODS
from deforum.interpolation import resolve_interpolator
from deforum.interpolation.by_flow import ByFlow
from deforum.pixels.image import Image
from tests.helpers.pictures import levels_apart, waves


@pytest.mark.parametrize(
    ("choice", "on_gpu", "weights", "name", "method"),
    [
        ("auto", False, False, "flow", "DIS Medium"),
        ("auto", True, False, "flow", "DIS Medium"),
        ("auto", False, True, "flow", "DIS Medium"),  # on a processor RAFT takes minutes
        ("auto", True, True, "raft", "RAFT"),
        ("flow", True, True, "flow", "DIS Medium"),
        ("raft", False, True, "raft", "RAFT"),
    ],
)
def test_engines_by_name(
    choice: str, on_gpu: bool, weights: bool, name: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    if weights:
        folder = tmp_path / "models" / "flow"
        folder.mkdir(parents=True)
        torch.save({"weight": torch.ones(1)}, folder / METHODS["RAFT"].files[0])
    found = resolve_interpolator(choice, on_gpu=on_gpu)
    assert found.name == name and found.flow is not None and found.flow.name == method


def test_a_network_is_given_the_pictures_as_they_are() -> None:
    """RAFT looks at colours itself, and is asked once for each direction."""
    first, last = waves(size=64), waves(lambda x, y: (x - 6, y), size=64)
    asked: list[tuple[Image, Image]] = []

    def network(a: Image, b: Image) -> torch.Tensor:
        asked.append((a, b))
        step = 6.0 if torch.equal(a, first) else -6.0
        return torch.tensor((step, 0.0)).expand(64, 64, 2)

    [found] = ByFlow(network)(first, last, [0.5])
    assert [(torch.equal(a, first), torch.equal(b, first)) for a, b in asked] == [(True, False), (False, True)]
    true = waves(lambda x, y: (x - 3, y), size=64)
    assert levels_apart(found, true).mean() < 1
