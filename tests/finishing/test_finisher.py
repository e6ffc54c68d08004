"""Finished frames: their size, what the weights do to frames of the loop, and a clip's own pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deforum.embedded import FINISHING
from deforum.errors import UserError
from deforum.finishing.finisher import WEIGHTS, Finisher, load_finisher
from deforum.finishing.looks import LOOKS
from deforum.finishing.network import FACTOR, FinishingNet, enlarged
from deforum.models import open_vino
from deforum.pixels.image import Image
from tests.helpers.pictures import texture

MOST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def finisher() -> Finisher:
    return load_finisher("plain")


def woven(image: Image, period: int = 8, levels: float = 6) -> Image:
    """Lay a weave over a picture, such as the embedded model's decoder leaves."""
    y, x = torch.meshgrid(torch.arange(image.shape[1]), torch.arange(image.shape[2]), indexing="ij")
    weave = torch.sin(2 * torch.pi * x / period) + torch.sin(2 * torch.pi * y / period)
    return (image + levels / 255 * weave).clamp(0, 1)


def test_the_weights_are_small() -> None:
    assert (FINISHING / WEIGHTS).stat().st_size <= MOST_BYTES


def test_without_training_the_network_enlarges() -> None:
    pictures = texture(1, width=32, height=24)[None]
    assert torch.equal(FinishingNet()(pictures), enlarged(pictures))


@pytest.mark.parametrize("shape", [(1, 3, 24, 32), (2, 3, 9, 14), (1, 1, 8, 8), (1, 3, 1, 5)])
def test_enlarging_is_bicubic(shape: tuple[int, ...]) -> None:
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    truth = torch.nn.functional.interpolate(pictures, scale_factor=2.0, mode="bicubic", align_corners=False)
    for laid_out in (pictures, pictures.contiguous(memory_format=torch.channels_last)):
        assert enlarged(laid_out).shape == truth.shape and (enlarged(laid_out) - truth).abs().max() < 1e-6
    assert enlarged(pictures.requires_grad_()).requires_grad


@pytest.mark.parametrize(("width", "height"), [(64, 64), (72, 40), (100, 52), (8, 8)])
def test_a_finished_frame_is_twice_as_large(width: int, height: int, finisher: Finisher) -> None:
    made = finisher(texture(1, width=width, height=height))
    assert made.shape == (3, FACTOR * height, FACTOR * width) and made.dtype == torch.float32
    assert float(made.min()) >= 0 and float(made.max()) <= 1


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_can_be_chosen(look: str) -> None:
    made = load_finisher(look)(texture(2, width=64, height=48))
    assert made.shape == (3, 96, 128) and float(made.min()) >= 0 and float(made.max()) <= 1


def test_colours_stay_and_the_weave_goes(finisher: Finisher) -> None:
    sky = torch.linspace(0.3, 0.7, 96)[None, :, None] * torch.tensor([0.6, 0.8, 1.0])[:, None, None]
    sky = sky.expand(3, 96, 96).contiguous()
    smooth, made = enlarged(sky[None])[0], finisher(woven(sky))
    inner = (slice(None), slice(32, -32), slice(32, -32))
    left = (made - smooth)[inner].std() / (enlarged(woven(sky)[None])[0] - smooth)[inner].std()
    assert left < 0.5
    assert (made - smooth)[inner].mean((1, 2)).abs().max() < 4 / 255


def test_a_clips_own_pixels_are_only_enlarged(finisher: Finisher) -> None:
    image = texture(3, width=64, height=64)
    own = torch.zeros(64, 64)
    own[:, 32:] = 1
    made, plain = finisher(image, own), enlarged(image[None])[0].clamp(0, 1)
    assert torch.equal(made[:, :, 68:], plain[:, :, 68:])
    assert torch.equal(made[:, :, :60], finisher(image)[:, :, :60])
    assert not torch.equal(made[:, :, :60], plain[:, :, :60])


@pytest.mark.skipif(not open_vino.is_supported(), reason="OpenVINO is not here, or not for this processor")
def test_a_graph_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Watched(open_vino.Graph):
        def __call__(self, *inputs: torch.Tensor | None) -> torch.Tensor:
            sizes.extend(each.shape[3] for each in inputs if each is not None)
            made: torch.Tensor = super().__call__(*inputs)
            return made

    monkeypatch.setattr(open_vino, "Graph", Watched)
    network = FinishingNet()
    network.load_state_dict({name: weight.float() for name, weight in load_file(FINISHING / WEIGHTS).items()})
    watched = load_finisher("plain")
    for width in (160, 152):  # smaller ones are not worth it
        image = texture(5, width=width, height=160)[None]
        with torch.inference_mode():
            assert (watched.added(image) - network.added(image)).abs().max() < 1e-4
    assert set(sizes) == {160}


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(UserError, match=rf"{WEIGHTS}: damaged .*install the package again"):
        load_finisher("plain", folder=tmp_path)
