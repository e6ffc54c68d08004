"""The command models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.cli.main import main
from deforum.models.places import VARIABLE
from tests.helpers.command import imported

LORA = b'{"lora_unet_x.alpha": {"dtype": "F16", "shape": [], "data_offsets": [0, 2]}}'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder, name in (("Lora", "ink"), ("ControlNet", "edges")):
        path = tmp_path / "models" / folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(len(LORA).to_bytes(8, "little") + LORA + b"12")
    return tmp_path


def test_models_are_listed(tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["models", str(tree)]) == 0
    first = capsys.readouterr().out
    assert "LoRA\n  ink.safetensors" in first and "ControlNet\n  edges.safetensors" in first
    assert main(["models", f"models_dir={tree}"]) == 0
    assert capsys.readouterr().out == first
    monkeypatch.setenv(VARIABLE, str(tree))
    assert main(["models", "--kind", "LoRA"]) == 0
    assert "edges" not in capsys.readouterr().out


def test_as_json(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", str(tree), "--kind", "lora", "--digest", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    [found] = result["models"]
    assert (found["kind"], found["name"], found["bytes"]) == ("lora", "ink.safetensors", len(LORA) + 10)


@pytest.mark.parametrize(
    "words, says",
    [
        ([], f"no folder given; give one, such as ~/stable-diffusion-webui, or set {VARIABLE}"),
        (["nowhere"], "nowhere: no such folder"),
        (["TREE", "--kind", "loras"], "no kind of model 'loras'; did you mean lora?"),
        (["TREE", "seed=3"], "models takes no setting but models_dir; expected folders, not seed=3"),
    ],
)
def test_mistakes(
    words: list[str], says: str, tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["models", *(word.replace("TREE", str(tree)) for word in words)]) == 2
    assert says in capsys.readouterr().err


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", str(tmp_path)]) == 0
    assert "no models in" in capsys.readouterr().err


def test_it_needs_neither_torch_nor_diffusers(tree: Path) -> None:
    code = f"from deforum.cli.main import main; assert main(['models', {str(tree)!r}]) == 0"
    assert not imported(code, "torch", "diffusers", "transformers")
