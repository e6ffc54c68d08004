"""RAFT: where its weights are looked for, and what stands in where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from deforum.build import prepare
from deforum.errors import UserError
from deforum.features.flows import find_flow
from deforum.flow import FlowSource, load_flow, resolve_flow
from deforum.loading import load
from deforum.pixels.image import CPU

SMALL, LARGE = "raft_small_C_T_V2-01064c6d.pth", "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


@pytest.fixture
def models() -> ModuleType:
    module: ModuleType = pytest.importorskip("torchvision.models.optical_flow")
    return module


def test_missing_weights_are_named_with_the_places_and_the_way_to_get_them(home: Path) -> None:
    with pytest.raises(UserError) as error:
        resolve_flow("RAFT", "settings.yaml:3")
    [problem] = error.value.problems
    assert problem.where == "settings.yaml:3"
    for part in (LARGE, SMALL, str(home / "models" / "flow"), str(home / "torch" / "hub"), "curl", "DIS Fine"):
        assert part in problem.message


@pytest.mark.parametrize("folder", ["models/flow", "torch/hub/checkpoints"])
def test_weights_are_found_and_the_network_gives_pixels(
    home: Path, folder: str, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deforum.flow.raft.UPDATES", 2)
    (home / folder).mkdir(parents=True)
    torch.save(models.raft_small(weights=None).state_dict(), home / folder / SMALL)
    source = resolve_flow("RAFT")
    assert source is not None and source.path is not None and source.path.name == SMALL
    first = torch.rand(3, 100, 140)
    flow = load_flow(source, CPU)(first, first)
    assert flow.shape == (100, 140, 2) and flow.dtype == torch.float32 and flow.isfinite().all()


def test_the_large_network_is_chosen_by_its_file(
    home: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deforum.flow.raft.UPDATES", 1)
    (home / "models" / "flow").mkdir(parents=True)
    torch.save(models.raft_large(weights=None).state_dict(), home / "models" / "flow" / LARGE)
    (home / "models" / "flow" / SMALL).write_bytes(b"")
    source = resolve_flow("RAFT")
    assert source is not None and source.path is not None and source.path.name == LARGE
    assert load_flow(source, CPU)(torch.rand(3, 128, 128), torch.rand(3, 128, 128)).shape == (128, 128, 2)


def test_weights_of_something_else_are_refused(home: Path, models: ModuleType) -> None:
    path = home / SMALL
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="not the weights of torchvision's raft_small"):
        load_flow(FlowSource("RAFT", path), CPU)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"not a \.pth that can be read safely"):
        load_flow(FlowSource("RAFT", path), CPU)


def test_a_file_of_deforums_goes_on_without_raft_and_a_new_one_does_not(home: Path) -> None:
    (home / "old.txt").write_text(json.dumps({"prompts": {"0": "a"}, "optical_flow_cadence": "RAFT"}))
    (home / "new.yaml").write_text("prompts: {0: a}\noptical_flow_cadence: RAFT\n")
    old, new = load(home / "old.txt").settings, load(home / "new.yaml").settings
    found = find_flow(old, "optical_flow_cadence")
    assert found is not None and found.name == "DIS Medium"
    assert any(
        "optical_flow_cadence: RAFT" in line and line.endswith("DIS Medium stands in") for line in prepare(old).notes
    )
    with pytest.raises(UserError, match="optical_flow_cadence: RAFT needs weights"):
        find_flow(new, "optical_flow_cadence")
