"""Models of transformers, small ones with random weights, from a local folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deforum.depth import load_depth, resolve_depth
from deforum.errors import UserError
from deforum.pixels.image import CPU


@pytest.fixture(scope="module")
def depth_anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    folder = tmp_path_factory.mktemp("depth-anything")
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[8, 16, 24, 32], fusion_hidden_size=16,
        head_hidden_size=16,
    )  # fmt: skip
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "DPTImageProcessor", "do_normalize": True, "do_rescale": True, "do_resize": True,
        "ensure_multiple_of": 14, "keep_aspect_ratio": True, "resample": 3, "size": {"height": 70, "width": 70},
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 1 / 255,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_depth_anything_takes_pictures_of_any_shape(depth_anything: Path) -> None:
    source = resolve_depth(str(depth_anything))
    assert source is not None
    model = load_depth(source, CPU)
    assert model.gives == "inverse depth"
    for height, width in ((64, 64), (48, 100)):
        depth = model(torch.rand(3, height, width), 0)
        assert depth.shape == (height, width)
        assert depth.dtype == torch.float32
        assert torch.isfinite(depth).all()


def test_pictures_are_not_scaled_twice(depth_anything: Path) -> None:
    """What the network gets is normalised once: dark and bright pictures stay far apart."""
    from deforum.depth.hub import HubModel

    source = resolve_depth(str(depth_anything))
    assert source is not None
    model = load_depth(source, CPU)
    assert isinstance(model, HubModel)
    seen: list[torch.Tensor] = []
    model.model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
    model(torch.ones(3, 70, 70), 0)
    assert seen[0].shape == (1, 3, 70, 70)
    assert seen[0][0, :, 35, 35].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )


def test_weights_that_are_missing_in_part_are_said(depth_anything: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(depth_anything / "model.safetensors")
    dropped = next(key for key in weights if "head" in key)
    del weights[dropped]
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((depth_anything / name).read_text())
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    source = resolve_depth(str(tmp_path))
    assert source is not None
    with pytest.raises(UserError, match=r"weights are missing \(head"):
        load_depth(source, CPU)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded as depth-anything-v2-small"):
        load_depth(source, CPU)


def test_zoe_gives_distances(tmp_path: Path) -> None:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    torch.manual_seed(0)
    backbone = BeitConfig(
        image_size=64, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
        use_relative_position_bias=True,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 16, 24, 32], fusion_hidden_size=16, bottleneck_features=16,
        num_relative_features=8, bin_embedding_dim=16, num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
    )  # fmt: skip
    ZoeDepthForDepthEstimation(config).save_pretrained(tmp_path)
    processor = {
        "image_processor_type": "ZoeDepthImageProcessor", "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "ensure_multiple_of": 32, "keep_aspect_ratio": True, "resample": 2,
        "size": {"height": 64, "width": 64}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    source = resolve_depth(str(tmp_path))
    assert source is not None
    assert source.name == "zoe"
    model = load_depth(source, CPU)
    assert model.gives == "depth"
    depth = model(torch.rand(3, 50, 80), 0)
    assert depth.shape == (50, 80)
    assert depth.min() > 0


def test_a_name_is_looked_up_after_a_model_of_the_hub_was_loaded(depth_anything: Path) -> None:
    """Loading imports a module called `hub` into the package, which must not hide the one that looks names up."""
    load_depth(resolve_depth(str(depth_anything)), CPU)
    with pytest.raises(UserError, match="nothing is downloaded without --allow-download"):
        resolve_depth("zoe")
