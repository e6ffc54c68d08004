"""The packed networks give what the plain ones give, whatever the size, the batch and the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.families.load import load_model
from deforum.diffusion.families.stable_diffusion import StableDiffusion
from deforum.diffusion.networks import read_part
from deforum.diffusion.networks.packed import PACKED, Norm, PackedUNet, is_packable
from deforum.models import faster, packing
from deforum.models.edges import Tiling
from deforum.models.packing import pack
from tests.diffusion.tiny import build, frame, picture

pytestmark = pytest.mark.skipif(not packing.is_supported(), reason="torch without oneDNN")

CLOSE = 1e-4


def noise(*shape: int) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    return made.to(memory_format=torch.channels_last) if len(shape) == 4 else made


@pytest.fixture(scope="module", params=["embedded", "sd1", "sd2", "lcm"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder; lcm is an sd1 whose UNet takes the guidance scale."""
    if request.param == "embedded":
        path = resolve_model("embedded").path
        assert path is not None
        return path
    tiny = build("sd1" if request.param == "lcm" else request.param)
    if request.param == "lcm":
        tiny.unet = type(tiny.unet).from_config(tiny.unet.config, time_cond_proj_dim=8)
    return tiny.save_folder(tmp_path_factory.mktemp(request.param))


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def network(folder: Path, part: str, name: str) -> Any:
    made = read_part(folder / part, name, torch.float32, None)
    assert made is not None
    return made.requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def test_unets_are_equal(folder: Path, threads: int) -> None:
    unet = network(folder, "unet", "UNet2DConditionModel")
    packed, config = PackedUNet(unet), unet.config
    for batch, height, width in ((2, 8, 8), (3, 5, 7), (1, 8, 8)):  # 5 x 7: not a multiple of what the levels divide by
        x, time, tokens = noise(batch, config.in_channels, height, width), noise(batch).abs() * 900, noise(batch, 77, 1)
        tokens = tokens * noise(config.cross_attention_dim)
        width_of_guidance = config.get("time_cond_proj_dim")
        guidance = noise(batch, width_of_guidance) if width_of_guidance else None
        extra = {} if guidance is None else {"timestep_cond": guidance}
        right = unet(x, time, encoder_hidden_states=tokens, **extra).sample
        for _ in range(2):  # the second time with what is known of the tokens
            assert torch.allclose(packed(x, time, tokens, guidance), right, atol=CLOSE)
        other = tokens + 1
        assert torch.allclose(
            packed(x, time, other, guidance), unet(x, time, encoder_hidden_states=other, **extra).sample, atol=CLOSE
        )
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("tiling", ["none", "both", "x", "y"])
@torch.inference_mode()
def test_models_as_loaded_are_equal(tiling: Tiling, threads: int) -> None:
    """As loaded: residual branches that do nothing are skipped, and edges wrap for pictures that tile."""
    model = load_model(resolve_model("embedded"), "cpu", "fp32", tiling=tiling)
    assert isinstance(model, StableDiffusion) and is_packable(model.vae)
    packed = pack(model.vae, PACKED)
    for height, width in ((64, 96), (32, 32)):
        pixels = noise(1, 3, height, width).clamp(-1, 1)
        latents = model.vae.encode(pixels).latent_dist.mode()
        assert torch.allclose(packed.encode(pixels).latent_dist.mode(), latents, atol=CLOSE)
        assert torch.allclose(packed.decode(latents).sample, model.vae.decode(latents).sample, atol=CLOSE)
    x, time, tokens = noise(2, 16, 4, 6), torch.full((2,), 500.0), noise(2, 77, 192)
    right = model.unet(x, time, encoder_hidden_states=tokens).sample
    assert torch.allclose(PackedUNet(model.unet)(x, time, tokens), right, atol=CLOSE)


def test_frames_are_those_of_the_plain_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint() -> list[torch.Tensor]:
        diffuser = load_diffuser(resolve_model("embedded"), device="cpu", precision="auto", exact_step_count=True)
        on = frame("a calm lake", steps=8.0, sampler="Euler a")
        first = diffuser(picture(64, 64), on, width=64, height=64)
        assert torch.equal(first, diffuser(picture(64, 64), on, width=64, height=64))
        assert diffuser._model.unet.dtype == torch.float32  # also where the processor has bf16: it is small
        return [first, diffuser(None, on, width=64, height=64)]

    packed = paint()
    monkeypatch.setattr(faster, "SMALL", 0)
    for made, right in zip(packed, paint(), strict=True):
        assert not torch.equal(made, right)  # packed was used
        assert (made - right).abs().max() < 1 / 255


def test_unsuitable_networks() -> None:
    model = load_model(resolve_model("embedded"), "cpu", "bf16")
    assert not is_packable(model.networks[0]) and is_packable(model.vae)
    assert not is_packable(build("sd1").unet)  # the library's class
    assert Autoencoder(build("sd1").vae)._read._look() is None


@pytest.mark.parametrize("side", [5, 31, 32, 48, 130])
def test_a_norm_of_whole_maps_is_exact_and_the_same_on_any_number_of_threads(side: int) -> None:
    """torch's own differs below 1e-4 between 1 and 2 threads, from which in-betweens by flow get other matches."""
    norm = torch.nn.GroupNorm(1, 24, eps=1e-6)
    torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(3))
    torch.nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(4))
    x = 0.3 * noise(2, 24, side, side + 2) + 5  # whose mean square is nearly all mean
    norm.requires_grad_(False)
    right = torch.group_norm(x.double(), 1, norm.weight.double(), norm.bias.double(), 1e-6)
    before, made = torch.get_num_threads(), []
    with torch.inference_mode():
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(Norm(norm, plain=True)(x))
    torch.set_num_threads(before)
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    assert (made[0] - right).abs().max() < 2e-5
    with torch.inference_mode():
        assert torch.equal(Norm(norm, plain=True)(x[1:]), made[0][1:])  # alone as in a batch
    assert made[0].is_contiguous(memory_format=torch.channels_last)
