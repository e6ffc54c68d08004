"""Transformers' single files of real sizes: recognised, described and converted, by names and shapes alone.

`layouts/` lists the tensors of the published files. Without a network they were derived from diffusers' classes, at
their published configurations, by the inverse names of `originals.py`; the counts of tensors and numbers are those
known of the files.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion.families.checkpoint import inspect_checkpoint
from deforum.diffusion.families.find import CONFIGS
from deforum.diffusion.families.layouts import LAYOUTS
from deforum.errors import UserError
from tests.helpers.headers import write_header as write

HERE = Path(__file__).parent / "layouts"


@dataclass(frozen=True)
class Published:
    """A published file."""

    family: str
    cls: str
    tensors: int
    billions: float
    extra: str = ""
    """A weight that it has and that nothing reads."""


FILES = {
    "sd3_medium": Published("stable_diffusion_3", "SD3Transformer2DModel", 491, 2.08),
    "sd3.5_medium": Published("stable_diffusion_3", "SD3Transformer2DModel", 665, 2.47),
    "sd3.5_large": Published("stable_diffusion_3", "SD3Transformer2DModel", 923, 8.15),
    "flux1_dev": Published("flux", "FluxTransformer2DModel", 780, 11.90),
    "flux1_schnell": Published("flux", "FluxTransformer2DModel", 776, 11.89),
    "z_image": Published("z_image", "ZImageTransformer2DModel", 453, 6.15, "norm_final.weight"),
    "lumina_2": Published("lumina_2", "Lumina2Transformer2DModel", 399, 2.61, "norm_final.weight"),
}


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    rows = (line.split() for line in gzip.decompress((HERE / f"{name}.txt.gz").read_bytes()).decode().splitlines())
    return {key: tuple(map(int, shape.split("x"))) for key, shape in rows}


@pytest.mark.parametrize("name, file", FILES.items(), ids=FILES)
def test_a_real_file_fills_a_real_network(name: str, file: Published, tmp_path: Path) -> None:
    import diffusers

    shapes = shapes_of(name)
    count = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert (len(shapes), round(count / 1e9, 2)) == (file.tensors, file.billions)
    shapes |= {file.extra: (8,)} if file.extra else {}
    for prefix in ("", "model.diffusion_model."):
        path = write(tmp_path / f"{prefix}x.safetensors", {prefix + key: shape for key, shape in shapes.items()})
        found = inspect_checkpoint(path)
        assert (found.family.name, found.encoders, found.has_autoencoder) == (file.family, frozenset(), False)
    layout = LAYOUTS[file.family]
    config: dict[str, Any] = json.loads((CONFIGS / file.family / "transformer" / "config.json").read_text())
    config |= layout.describe(shapes)
    with torch.device("meta"):
        made = getattr(diffusers, file.cls).from_config(config)
        given = layout.convert({key: torch.empty(shape) for key, shape in shapes.items()})
    wanted = {key: each.shape for key, each in made.state_dict().items()}
    assert {key: each.shape for key, each in given.items()} == wanted


def test_flux_is_converted_as_diffusers_converts_it() -> None:
    """By the values of narrow weights: rows are all that is split."""
    from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers as theirs

    shapes = {
        key: shape
        for key, shape in shapes_of("flux1_dev").items()
        if not key.startswith(("double_blocks", "single_blocks")) or key.split(".")[1] in ("0", "1")
    }
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: torch.randn((shape[0], 1) if len(shape) == 2 else shape, generator=generator)
        for key, shape in shapes.items()
    }
    convert: Any = theirs
    right = convert(dict(weights))
    made = LAYOUTS["flux"].convert(weights)
    assert made.keys() == right.keys()
    assert all(torch.equal(made[key], right[key]) for key in right)


OTHERS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "Chroma": ({"double_blocks.0.img_attn.qkv.weight": (9, 3), "img_in.weight": (3, 64)}, "another one .*txt_in"),
    "Flux Fill": ({**shapes_of("flux1_dev"), "img_in.weight": (3072, 384)}, "takes 384 channels instead of 64"),
    "Flux.2": ({"model.diffusion_model.double_stream_modulation_img.lin.weight": (4, 4)}, "a Flux.2 model"),
    "AuraFlow": ({"model.diffusion_model.double_layers.0.x": (4, 4)}, "an AuraFlow model"),
}


@pytest.mark.parametrize("shapes, says", OTHERS.values(), ids=OTHERS)
def test_other_transformers_are_refused(shapes: dict[str, tuple[int, ...]], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        inspect_checkpoint(write(tmp_path / "x.safetensors", shapes))
