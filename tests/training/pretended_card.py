"""A training step on a graphics card that is not there: torch follows shapes and devices, and computes nothing.

torch refuses to mix devices here as it does on a card, so a tensor that was left on the CPU is found.  `test_device`
runs this file in a process of its own.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPTokenizer

import deforum.embedded
from deforum.depth.embedded import SmallDepth
from training import adherence, autoencoder, depth, device, few_steps, way_back
from training.linear_pair import LinearPair, crops
from training.muon import Muon
from training.samples import Samples
from training.text_to_image import Model, Noise, build_text_encoder, build_unet, losses
from training.written_pair import build

TOKENIZER = Path(deforum.embedded.__file__).parent / "diffusion" / "tokenizer"
# Without a card, torch says that it leaves autocast out.
pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA is not available.*")


@pytest.fixture
def card() -> Iterator[None]:
    with FakeTensorMode():
        torch.set_default_device("cuda")
        try:
            yield
        finally:
            torch.set_default_device(None)


def _pictures(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_a_tensor_left_on_the_cpu_is_found(card: None) -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(3) + torch.ones(3, device="cpu")
    assert (torch.zeros(3) + device.put(np.ones(3))).device.type == "cuda"


def _samples(folder: Path, tokenizer: CLIPTokenizer) -> Samples:
    latents = np.random.default_rng(0).normal(size=(2, 6, 8, 16, 16)).astype(np.float16)
    np.save(folder / "latents.npy", latents)
    (folder / "captions.json").write_text(json.dumps([["the sea", "a wide sea"]] * 6))
    np.savez(folder / "views.npz", index=np.arange(3), latents=latents[0, :3])
    np.savez(folder / "loop.npz", index=np.arange(2), clean=latents[0, :2], degraded=latents[1, :2])
    return Samples(folder, tokenizer)


def test_text_to_image(card: None, tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    model = Model(build_text_encoder(tokenizer, 48, 1), build_unet(8, (32, 64), 48))
    found = losses(model, Noise(), _samples(tmp_path, tokenizer), np.random.default_rng(0), 4, (0.4, 0.3))
    assert {found.error.device.type, found.coarse.device.type, found.layout.device.type} == {"cuda"}


def test_few_steps(card: None, tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    teacher = few_steps.Teacher(build_text_encoder(tokenizer, 48, 1), build_unet(8, (32, 64), 48))
    lesson = teacher.lesson(_samples(tmp_path, tokenizer), np.random.default_rng(0), 4, (0.4, 0.3))
    assert lesson.loss(teacher.unet).device.type == "cuda"


def test_decoder(card: None) -> None:
    vae = build(8, (8, 16, 24, 32, 48))
    shown = crops(_pictures(3, 64), np.random.default_rng(0), 2, 64)
    growing = autoencoder.find_growing(torch.empty(0, 8, 0, 0), (4, 4), 2)
    found = autoencoder.losses(vae, shown, shown.flip(0), torch.ones(1, 8, 1, 1), growing, exact=False)
    assert {found.picture.device.type, found.trip.device.type, found.growth.device.type} == {"cuda"}


def test_way_back(card: None) -> None:
    vae = build(8, (8, 16, 24, 32, 48))
    images = crops(_pictures(3, 64), np.random.default_rng(0), 2, 64)
    drawn, latents = way_back.set_out(vae, vae, images)  # it is still the linear one
    decoded, arrived = way_back.travel(vae, latents)
    both = drawn.followed_by(decoded, most=3)
    assert {each.device.type for each in (*vars(both).values(), arrived)} == {"cuda"}


def test_linear_pair(card: None) -> None:
    pair = LinearPair(8, (8, 16, 24, 32, 48))
    assert pair.decode(pair.encode(crops(_pictures(3, 64), np.random.default_rng(0), 2, 64))).device.type == "cuda"


def test_depth(card: None) -> None:
    maps = np.random.default_rng(1).random((4, 64, 64)).astype(np.float16)
    pairs = depth.DepthSet(_pictures(4, 64), maps)
    model = SmallDepth()
    depth.keep_depthwise_exact(model)
    assert depth.loss_of(model, pairs, np.random.default_rng(0), 4, 64).device.type == "cuda"


def test_judge(card: None) -> None:
    side = adherence.SIDE
    scores = adherence.Judge()(device.put(_pictures(4, side)).permute(0, 3, 1, 2).float() / 255)
    assert {part.device.type for part in scores} == {"cuda"}


def test_muon(card: None) -> None:
    for shape in ((8, 8, 3, 3), (8, 8)):
        weight = torch.nn.Parameter(torch.randn(shape))
        weight.grad = torch.randn(shape)
        Muon([weight], lr=0.1).step()
        assert weight.device.type == "cuda"
