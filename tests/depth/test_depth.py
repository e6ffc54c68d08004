"""Names of depth models: what serves for them, what is said when weights are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

import deforum.depth
from deforum.depth import MODELS, STANDS, DepthModel, DepthSource, resolve_depth
from deforum.depth.network import Mixed
from deforum.errors import UserError
from deforum.video.writer import VideoWriter
from tests.helpers.command import imported

# There are only the weights that a test writes, and no network.
pytestmark = pytest.mark.usefixtures("home")


def put(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pt":
        torch.save({}, path)
    else:
        path.write_text(content)
    return path


def test_none_is_no_model() -> None:
    assert resolve_depth("none") is None
    assert resolve_depth("None") is None


def test_weights_are_found_where_they_are_looked_for(home: Path) -> None:
    at_torch = put(home / "torch/hub/checkpoints/dpt_hybrid-midas-501f0c75.pt")
    assert resolve_depth("midas-dpt-hybrid") == DepthSource("midas-dpt-hybrid", at_torch)
    put(home / "models/depth/dpt_large_384.pt")
    found = resolve_depth("Midas-3-Hybrid")
    assert found is not None
    assert (found.name, found.path, found.raw) == ("midas-dpt-large", Path("models/depth/dpt_large_384.pt"), False)
    assert found.says.startswith("Midas-3-Hybrid is served by midas-dpt-large: ")
    assert "\n" not in found.says
    own = put(home / "elsewhere/midas_v21_small_256.pt")
    assert resolve_depth(str(own)) == DepthSource("midas-small", own)


def test_missing_weights_are_said_in_full() -> None:
    with pytest.raises(UserError) as caught:
        resolve_depth("midas-3-hybrid", "settings.yaml:7")
    (problem,) = caught.value.problems
    assert problem.where == "settings.yaml:7"
    for part in ("Midas-3-Hybrid is served by", "dpt_large-midas-2f21e586.pt", "models/depth", "torch/hub/checkpoints",
                 "curl -L -o models/depth/dpt_large-midas-2f21e586.pt https://", "MIT"):  # fmt: skip
        assert part in problem.message


def test_missing_hub_models_are_said_in_full() -> None:
    with pytest.raises(UserError, match=r"AdaBins is served by zoe.*--allow-download.*hf download Intel/zoedepth"):
        resolve_depth("AdaBins")


@pytest.mark.parametrize("name", STANDS)
def test_every_old_name_is_served(name: str) -> None:
    assert STANDS[name].model in MODELS
    with pytest.raises(UserError, match="is served by"):
        resolve_depth(name)


def test_old_algorithms_take_distances_as_they_are() -> None:
    assert {name for name, stand in STANDS.items() if stand.raw} == {name for name in STANDS if "(old)" in name}


def test_the_oldest_algorithm_mixes_midas_with_distances(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = put(home / "hub/config.json", json.dumps({"model_type": "zoedepth"}))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(hub))
    alone = resolve_depth("Midas+AdaBins (old)")
    assert alone is not None
    assert alone.midas is None
    assert alone.says.endswith("midas-dpt-large is not here, so that it is alone")
    weights = put(home / "models/depth/dpt_large_384.pt")
    both = resolve_depth("Midas+AdaBins (old)")
    assert both is not None
    assert (both.name, both.raw) == ("zoe", True)
    assert both.midas == DepthSource("midas-dpt-large", weights.relative_to(home))
    assert both.says.endswith("midas_weight of midas-dpt-large is mixed in")


def test_the_mixture_is_that_of_deforum() -> None:
    """(50 - midas) / 19 * w + distance * (1 - w)."""
    midas, metric = (lambda image, index: torch.full((2, 2), 31.0)), (lambda image, index: torch.full((2, 2), 4.0))
    mixed = Mixed(cast(DepthModel, midas), cast(DepthModel, metric), 0.3)
    assert mixed.gives == "depth"
    torch.testing.assert_close(mixed(torch.zeros(3, 2, 2), 0), torch.full((2, 2), 1.0 * 0.3 + 4.0 * 0.7))


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"midass: no depth model, file or folder.*midas-small.*depth maps"):
        resolve_depth("midass")


def put_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tofile(path)


def test_folders_are_looked_into(home: Path) -> None:
    put_picture(home / "maps/1.png")
    assert resolve_depth("maps") == DepthSource("maps", Path("maps"))
    with VideoWriter(home / "film.mp4", 64, 64, 25) as film:
        film.write(np.zeros((64, 64, 3), np.uint8))
    assert resolve_depth("film.mp4") == DepthSource("maps", Path("film.mp4"))
    put(home / "model/config.json", json.dumps({"model_type": "zoedepth"}))
    assert resolve_depth("model") == DepthSource("zoe", Path("model"))
    put(home / "other/config.json", json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="other: a model of type 'bert'"):
        resolve_depth("other")
    put(home / "broken/config.json", "{")
    with pytest.raises(UserError, match=r"config\.json: cannot be read as JSON"):
        resolve_depth("broken")
    (home / "empty").mkdir()
    with pytest.raises(UserError, match="empty: neither a model"):
        resolve_depth("empty")
    put(home / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt: not a video.*dpt_large_384\.pt"):
        resolve_depth("weights.pt")


def test_embedded_is_missing_or_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deforum.depth, "DEPTH", tmp_path)
    with pytest.raises(UserError, match="install the package again"):
        resolve_depth("embedded")
    put(tmp_path / "depth.safetensors")
    assert resolve_depth("embedded") == DepthSource("embedded", tmp_path / "depth.safetensors")


def test_resolving_needs_no_torch(tmp_path: Path) -> None:
    put_picture(tmp_path / "maps/1.png")
    program = f"""
        from deforum.depth import resolve_depth
        assert resolve_depth({str(tmp_path / "maps")!r})
        try:
            resolve_depth("Midas-3-Hybrid")
        except Exception as error:
            assert "looked for" in str(error)
    """
    assert not imported(program, "torch", "cv2")
