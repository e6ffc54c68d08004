"""IP-Adapters of a run: found and checked before the first frame, with pictures by keyframe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deforum.build import prepare
from deforum.errors import UserError
from deforum.loading import load
from deforum.settings.read import dump
from deforum.timeline.image_tracks import ImageWord

SMALL = {"max_frames": 5, "seed": 1, "width": 64, "height": 64, "device": "cpu", "finish": "none"}


def adapter(path: Path, width: int = 192) -> Path:
    weights = {"image_proj.proj.weight": torch.ones(4 * width, 8), "image_proj.norm.weight": torch.ones(width)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights | {"ip_adapter.1.to_k_ip.weight": torch.ones(4, width)}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adapter(tmp_path / "models" / "ipadapter" / "mine.safetensors")
    adapter(tmp_path / "models" / "ipadapter" / "wide.safetensors", 768)
    encoder = tmp_path / "models" / "clip_vision" / "vit"
    encoder.mkdir(parents=True)
    (encoder / "config.json").write_text("{}")
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def settings(folder: Path, **unit: Any) -> Any:
    given = {"model": "mine", "image_encoder": "vit", "images": {0: "a.png", 4: "b.png"}, "scale": "0: (0), 4: (1)"}
    unit = {name: value for name, value in (given | unit).items() if value is not None}
    if isinstance(unit.get("images"), dict):
        there = {key: folder / path for key, path in unit["images"].items()}
        unit["images"] = {key: str(path) if path.is_file() else path.name for key, path in there.items()}
    made = {**SMALL, "models_dir": str(folder), "prompt_blend": "linear", "ip_adapter": [unit]}
    return load(made).settings


def test_found_with_its_pictures_over_time(folder: Path) -> None:
    prepared = prepare(settings(folder))
    found = prepared.found["IP-Adapters"]
    assert found.paths == ((folder / "models/ipadapter/mine.safetensors", folder / "models/clip_vision/vit"),)
    assert [(file.kind, file.tokens, file.width) for file in found.files] == [("plain", 4, 192)]
    a, b = str(folder / "a.png"), str(folder / "b.png")
    assert found.pictures == (Path(a), Path(b))
    assert [prepared.timeline[index].images for index in (0, 1, 4)] == [
        (ImageWord(0, ((a, 1.0),), 0.0),),
        (ImageWord(0, ((a, 0.75), (b, 0.25)), 0.25),),
        (ImageWord(0, ((b, 1.0),), 1.0),),
    ]


def test_a_dump_loads_to_the_same(folder: Path) -> None:
    made = settings(folder)
    (folder / "b.yaml").write_text(dump(made))
    assert load(folder / "b.yaml").settings.ip_adapter == made.ip_adapter


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no picture": ({"images": None}, "images has no picture"),
    "a picture that is not there": ({"images": {0: "c.png"}}, "images, keyframe 0: there is no file 'c.png'"),
    "no encoder": ({"image_encoder": None}, "image_encoder is missing"),
    "no such adapter": ({"model": "nothing"}, "ip_adapter 1: there is no IP-Adapter 'nothing'"),
    "another family": ({"model": "wide"}, "made for prompts of 768 numbers a token; the model"),
    "a scale out of range": ({"scale": 11}, "scale is 11 at frame 0; expected -10..10"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_found_before_a_frame(case: str, folder: Path) -> None:
    unit, says = FAULTS[case]
    with pytest.raises(UserError) as caught:
        prepare(settings(folder, **unit))
    assert says in str(caught.value)
