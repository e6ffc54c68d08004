"""Steps that reuse deep features: the same weights, fewer blocks, and a picture near that of full steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.deep_cache import DeepCache
from deforum.diffusion.diffuser import Diffuser
from deforum.errors import UserError
from tests.diffusion.tiny import build, frame, picture


def load(folder: Path | str, **options: Any) -> Diffuser:
    options = {"device": "cpu", "precision": "fp32", "exact_step_count": True} | options
    return load_diffuser(resolve_model(str(folder)), **options)


def show(diffuser: Diffuser, init: Any, on: Any, side: int = 32) -> torch.Tensor:
    return diffuser(init, on, width=side, height=side)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])  # XL's UNet is diffusers' class
def test_evaluations_that_are_given_deep_features(family: str, folders: dict[str, Path]) -> None:
    plain, cached = load(folders[family]), load(folders[family], step_cache=2)
    unet, deep_unet = plain._model.unet, cached._model.unet
    assert isinstance(deep_unet, DeepCache)
    generator = torch.Generator().manual_seed(0)
    config = unet.config
    x = torch.randn(2, 4, 17, 15, generator=generator)  # sides that halve unevenly
    context = torch.randn(2, 77, config.cross_attention_dim, generator=generator)
    added: dict[str, Any] = {}
    if family == "sdxl":
        added["added_cond_kwargs"] = {"text_embeds": torch.randn(2, 48), "time_ids": torch.full((2, 6), 32.0)}
    runs: list[str] = []
    for name in ("mid_block", "conv_out"):
        getattr(deep_unet, name).register_forward_hook(lambda *_, name=name: runs.append(name))
    deep_unet.mid_block.block.register_forward_hook(lambda *_: runs.append("middle"))
    with torch.inference_mode():
        wanted = unet(x, torch.tensor(500), encoder_hidden_states=context, **added).sample
        full, deep = deep_unet(x, torch.tensor(500), encoder_hidden_states=context, **added)
        assert torch.equal(full, wanted) and runs == ["middle", "mid_block", "conv_out"]
        # The features of the same evaluation: nothing is lost.
        again, kept = deep_unet(x, torch.tensor(500), encoder_hidden_states=context, deep=deep, **added)
        assert torch.equal(again, wanted) and kept is deep and runs[3:] == ["mid_block", "conv_out"]
        later = unet(x, torch.tensor(480), encoder_hidden_states=context, **added).sample
        near, _ = deep_unet(x, torch.tensor(480), encoder_hidden_states=context, deep=deep, **added)
        assert 0 < float((near - later).square().mean().sqrt()) < 0.2 * float(later.std())


@pytest.mark.parametrize(("interval", "full"), [(1, 8), (2, 4), (3, 3), (10, 1)])
def test_how_many_evaluations_are_full(interval: int, full: int, folders: dict[str, Path]) -> None:
    diffuser, runs = load(folders["sd1"], step_cache=interval), []
    unet = diffuser._model.unet
    middle = unet.mid_block if interval == 1 else unet.mid_block.block
    middle.register_forward_hook(lambda *_: runs.append(1))
    for index in range(2):  # each frame begins with a full one
        show(diffuser, None, frame(steps=8, index=index))
    assert len(runs) == 2 * full


def test_the_retry_in_float32_begins_anew(folders: dict[str, Path]) -> None:
    diffuser = load(folders["sd1"], precision="fp16", step_cache=3)
    wanted = show(diffuser, picture(), frame(steps=4))

    def nan_below_fp32(_module: Any, _given: Any, out: Any) -> Any:
        return out * torch.nan if out.dtype != torch.float32 else None

    handle = diffuser._model.unet.conv_out.register_forward_hook(nan_below_fp32)
    exact = show(diffuser, picture(), frame(steps=4))
    handle.remove()
    assert torch.isfinite(exact).all() and float((exact - wanted).abs().mean()) < 0.05
    assert torch.equal(show(diffuser, picture(), frame(steps=4)), wanted)


def test_a_network_without_deep_features_is_told(tmp_path: Path) -> None:
    flat = {"block_out_channels": [32], "down_block_types": ["CrossAttnDownBlock2D"]}
    model = build("sd1", up_block_types=["CrossAttnUpBlock2D"], attention_head_dim=4, **flat)
    with pytest.raises(UserError, match="step_cache: a UNet of one resolution"):
        load(model.save_folder(tmp_path), step_cache=2)


def test_the_embedded_model_keeps_its_picture() -> None:
    """What docs/speed.md says of the loss, on one frame: nearer to the picture of full steps than another seed's."""
    plain, cached = load("embedded"), load("embedded", step_cache=2)
    init = torch.nn.functional.interpolate(picture()[None], (128, 128), mode="bicubic")[0].clamp(0, 1)
    on = frame("the sea at sunset", steps=20, strength=0.55, cfg_scale=4, sampler="Euler a")
    other = frame("the sea at sunset", steps=20, strength=0.55, cfg_scale=4, sampler="Euler a", seed=9)
    wanted = show(plain, init, on, 128)
    lost = float((show(cached, init, on, 128) - wanted).square().mean().sqrt())
    assert 0 < lost < 0.5 * float((show(plain, init, other, 128) - wanted).square().mean().sqrt())
