"""MiDaS networks with random weights against transformers' DPT, a second implementation with other names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from deforum.depth import DepthSource, load_depth
from deforum.depth.midas import SHAPES, Dpt, MidasSmall, Shape
from deforum.depth.network import Network
from deforum.errors import UserError
from deforum.pixels.image import CPU

TINY = Shape(
    "vit_base_patch16_384", 64, (0, 1, 2, 3), (16, 32, 48, 64), features=32,
    changes={"img_size": 96, "embed_dim": 64, "depth": 4, "num_heads": 4},
)  # fmt: skip


def as_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give official weights the names that transformers has for them."""
    rules = [
        (r"pretrained\.model\.cls_token", "dpt.embeddings.cls_token"),
        (r"pretrained\.model\.pos_embed", "dpt.embeddings.position_embeddings"),
        (r"pretrained\.model\.patch_embed\.proj", "dpt.embeddings.PATCHES"),
        (r"pretrained\.model\.norm\.", "dpt.layernorm."),
        (r"pretrained\.model\.blocks\.(\d+)\.attn\.proj", r"dpt.encoder.layer.\1.attention.output.dense"),
        (r"pretrained\.model\.blocks\.(\d+)\.norm1", r"dpt.encoder.layer.\1.layernorm_before"),
        (r"pretrained\.model\.blocks\.(\d+)\.norm2", r"dpt.encoder.layer.\1.layernorm_after"),
        (r"pretrained\.model\.blocks\.(\d+)\.mlp\.fc1", r"dpt.encoder.layer.\1.intermediate.dense"),
        (r"pretrained\.model\.blocks\.(\d+)\.mlp\.fc2", r"dpt.encoder.layer.\1.output.dense"),
        (r"scratch\.output_conv", "head.head"),
    ]
    named = {}
    hybrid = any("patch_embed.backbone" in key for key in weights)
    for key, weight in weights.items():
        block = re.fullmatch(r"pretrained\.model\.blocks\.(\d+)\.attn\.qkv\.(\w+)", key)
        if block:
            for part, chunk in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                named[f"dpt.encoder.layer.{block[1]}.attention.attention.{part}.{block[2]}"] = chunk
            continue
        level = re.fullmatch(r"pretrained\.act_postprocess(\d)\.(0\.project\.0|3|4)\.(\w+)", key)
        rest = re.fullmatch(r"scratch\.(layer|refinenet)(\d)(?:_rn)?\.(.*)", key)
        if level:
            k = int(level[1]) - 1
            part = {"3": f"layers.{k}.projection", "4": f"layers.{k}.resize"}.get(level[2], f"readout_projects.{k}.0")
            named[f"neck.reassemble_stage.{part}.{level[3]}"] = weight
        elif rest and rest[1] == "layer":
            named[f"neck.convs.{int(rest[2]) - 1}.{rest[3]}"] = weight
        elif rest:
            part = re.sub(r"resConfUnit(\d)\.conv(\d)", r"residual_layer\1.convolution\2", rest[3])
            part = part.replace("out_conv", "projection")
            named[f"neck.fusion_stage.layers.{4 - int(rest[2])}.{part}"] = weight
        elif key.startswith("pretrained.model.patch_embed.backbone."):
            part = key.removeprefix("pretrained.model.patch_embed.backbone.")
            part = re.sub(r"^stem\.conv", "embedder.convolution", part)
            part = re.sub(r"^stem\.norm", "embedder.norm", part)
            part = re.sub(r"^stages\.(\d)\.blocks", r"encoder.stages.\1.layers", part)
            named[f"dpt.embeddings.backbone.bit.{part}"] = weight
        else:
            for pattern, name in rules:
                if re.match(pattern, key):
                    name = name.replace("PATCHES", "projection" if hybrid else "patch_embeddings.projection")
                    named[re.sub(pattern, name, key)] = weight
    return named


def random_weights(network: nn.Module) -> None:
    """Weights at which every part tells: nothing at 0 or 1, and an output that is not cut off at 0."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in network.named_parameters():
        if weight.dim() < 2:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
        elif "pos_embed" in name or "cls_token" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    network.scratch.output_conv["4"].bias.data.fill_(1.0)  # type: ignore[union-attr, index]


def compare(shape: Shape, config: object, size: int) -> None:
    from transformers import DPTForDepthEstimation

    torch.manual_seed(0)
    ours = Dpt(shape).eval()
    random_weights(ours)
    with torch.device("meta"):  # it is given our weights, and need draw none
        theirs = DPTForDepthEstimation(config).eval()
    expected = set(theirs.state_dict())
    named = as_transformers(ours.state_dict())
    assert not set(named) - expected
    # What official weights do not have: transformers' own pooling, and counters of batches.
    assert all("pooler" in key or "num_batches" in key for key in expected - set(named))
    theirs.load_state_dict(named, strict=False, assign=True)
    picture = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        a, b = ours(picture), theirs(picture).predicted_depth
    assert a.std() > 1e-3
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_dpt_is_that_of_transformers() -> None:
    from transformers import DPTConfig

    config = DPTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, image_size=96,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 32, 48, 64], fusion_hidden_size=32,
        layer_norm_eps=1e-6, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    compare(TINY, config, 96)


@pytest.mark.long
def test_dpt_large_is_that_of_transformers() -> None:
    from transformers import DPTConfig

    config = DPTConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=384,
        backbone_out_indices=[5, 11, 17, 23], neck_hidden_sizes=[256, 512, 1024, 1024], layer_norm_eps=1e-6,
    )  # fmt: skip
    compare(SHAPES["midas-dpt-large"], config, 192)  # a quarter of what it was made for, so positions are between


def test_dpt_hybrid_is_that_of_transformers() -> None:
    from transformers import DPTConfig

    config = DPTConfig(
        is_hybrid=True, image_size=384, backbone_out_indices=[2, 5, 8, 11], neck_hidden_sizes=[256, 512, 768, 768],
        readout_type="project", neck_ignore_stages=[0, 1], reassemble_factors=[1, 1, 1, 0.5], layer_norm_eps=1e-6,
    )  # fmt: skip
    compare(SHAPES["midas-dpt-hybrid"], config, 384)


def test_names_and_sizes_are_those_of_the_official_weights() -> None:
    with torch.device("meta"):
        small, large = MidasSmall(), Dpt(SHAPES["midas-dpt-large"])
    keys = small.state_dict()
    assert keys["pretrained.layer1.0.weight"].shape == (32, 3, 3, 3)
    assert keys["pretrained.layer1.4.2.conv_pwl.weight"].shape == (32, 192, 1, 1)
    assert keys["pretrained.layer4.1.0.bn3.running_var"].shape == (384,)
    assert keys["scratch.refinenet4.out_conv.weight"].shape == (256, 512, 1, 1)
    assert keys["scratch.output_conv.4.bias"].shape == (1,)
    assert sum(weight.numel() for weight in small.parameters()) == pytest.approx(21.3e6, rel=0.02)
    assert len(large.state_dict()) == 366  # and the two of a classifier that is dropped
    assert sum(weight.numel() for weight in large.parameters()) == pytest.approx(343e6, rel=0.01)


def test_pictures_of_any_shape() -> None:
    """Nothing is cut off, the map has the picture's size, and a place keeps its place."""
    torch.manual_seed(0)
    network = Dpt(TINY).eval()
    random_weights(network)
    model = Network(network, 96)
    for height, width in ((96, 96), (70, 200), (201, 67)):
        depth = model(torch.rand(3, height, width), 0)
        assert depth.shape == (height, width)
        assert depth.dtype == torch.float32


def test_weights_that_are_none(tmp_path: Path) -> None:
    broken = tmp_path / "model-small-70d6b9c8.pt"
    broken.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"model-small.*not the weights of midas-small.*download complete"):
        load_depth(DepthSource("midas-small", broken), CPU)


def test_weights_are_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MidasSmall()
    file = tmp_path / "midas_v21_small_256.pt"
    torch.save(network.state_dict(), file)
    model = load_depth(DepthSource("midas-small", file), CPU)
    assert model.gives == "inverse depth"
    picture = torch.rand(3, 60, 100)
    depth = model(picture, 0)
    assert depth.shape == (60, 100)
    assert torch.isfinite(depth).all()
