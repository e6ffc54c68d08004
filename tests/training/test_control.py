"""The ControlNet for outlines: what is trained, and that the stored Control-LoRA is the network that was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deforum.diffusion.adapters.controlnet import Inputs
from deforum.diffusion.adapters.find import find_control
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.families.find import resolve_model
from deforum.diffusion.families.load import load_model
from training.control import Drawn, LowRank, export, lines, loss_of
from training.text_to_image import Noise


@pytest.fixture(scope="module")
def model() -> LowRank:
    torch.manual_seed(0)
    embedded: Any = load_model(resolve_model("embedded"), "cpu", "fp32")
    return LowRank(embedded.unet.requires_grad_(False))


def given() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    pictures = torch.rand(2, 3, 256, 256).round()
    return torch.randn(2, 16, 16, 16), torch.tensor([40.0, 900.0]), torch.randn(2, 77, 192), pictures


def test_an_untrained_network_adds_nothing(model: LowRank) -> None:
    with torch.no_grad():
        assert not any(each.any() for each in model(*given()))


def test_the_stored_network_is_the_trained_one(model: LowRank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape)
        x, time, states, shown = given()
        trained = model(x, time, states, shown)
    export(model.state_dict(), model.network[0].config, tmp_path / "outlines.safetensors")
    assert (tmp_path / "outlines.safetensors").stat().st_size < 4e6
    monkeypatch.setattr("deforum.diffusion.adapters.find.CONTROL", tmp_path)
    source = find_control("embedded", resolve_model("embedded"))
    [unit] = load_units(((source,), torch.float32), torch.device("cpu"))
    with torch.inference_mode():
        found = unit.evaluate(unit.spread(unit.see(shown), torch.tensor([0, 1])), x, time, Inputs(states))
    for one, other in zip(found, trained, strict=True):
        assert torch.allclose(one, other, atol=0.02 * float(other.abs().max()))  # weights of 16 bits


def test_a_batch_has_lines_where_the_picture_has_edges(tmp_path: Path, model: LowRank) -> None:
    pictures = np.zeros((3, 256, 256, 3), np.uint8)
    pictures[:, :, 128:] = 200
    np.save(tmp_path / "pictures.npy", pictures)
    np.save(tmp_path / "latents.npy", np.zeros((3, 16, 16, 16), np.float16))
    np.save(tmp_path / "states.npy", np.ones((3, 77, 192), np.float16))
    drawn = Drawn(tmp_path, torch.zeros(77, 192))
    latents, states, shown = drawn.batch(np.array([0, 2]), np.random.default_rng(0))
    assert shown.shape == (2, 3, 256, 256) and states.shape == (2, 77, 192)
    columns = shown[0, 0].any(0).nonzero().flatten()
    assert columns.min() >= 125 and columns.max() <= 130
    assert lines(pictures[0]).any() and not lines(np.zeros_like(pictures[0])).any()
    embedded: Any = load_model(resolve_model("embedded"), "cpu", "fp32")
    unet = embedded.unet.requires_grad_(False)
    loss = loss_of(model, unet, Noise(), (latents, states, shown), torch.tensor([500, 700]), torch.randn_like(latents))
    torch.autograd.backward(loss)
    assert all(weight.grad is not None for weight in model.parameters())
