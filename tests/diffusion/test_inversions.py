"""Textual inversion: files in every format, found by name, and what they do in a prompt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deforum.build import prepare
from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.families.clip import Slot, Vectors, _chunks, load_inversion
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.prompts.inversions import Inversion, find_inversions, unfound
from deforum.diffusion.prompts.syntax import parse_attention
from deforum.errors import UserError
from tests.diffusion.tiny import Tiny
from tests.helpers import STILL, settings_maker

ONE = torch.linspace(-1, 1, 64).view(2, 32)
TWO = torch.linspace(-2, 2, 96).view(2, 48)


def a1111(tensor: torch.Tensor) -> dict[str, Any]:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "ink", "step": 9,
            "sd_checkpoint": None, "sd_checkpoint_name": None}  # fmt: skip


def write(path: Path, made: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(made, path)
    else:
        torch.save(made, path)
    return path


FORMATS = [
    ("sd1", "ink.pt", a1111(ONE)),
    ("sd1", "ink.pt", a1111(torch.nn.Parameter(ONE))),
    ("sd1", "ink.bin", {"<ink>": ONE[0]}),
    ("sd1", "ink.safetensors", {"emb_params": ONE.half()}),
    ("sd2", "ink.safetensors", {"<ink>": ONE}),
    ("sdxl", "ink.safetensors", {"clip_l": ONE, "clip_g": TWO}),
    ("sdxl", "ink.safetensors", {"text_encoders_0": ONE, "text_encoders_1": TWO}),
]


def find(texts: list[str], folder: Path, model: Path) -> tuple[Inversion, ...]:
    return find_inversions(texts, str(folder), (), resolve_model(str(model)))


@pytest.mark.parametrize(("family", "name", "made"), FORMATS)
def test_files_of_all_kinds(
    family: str, name: str, made: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    write(tmp_path / name, made)
    (inversion,) = find(["a sea, (Ink:1.2)"], tmp_path, folders[family])
    vectors = load_inversion(inversion)
    assert len(vectors.of) == (2 if family == "sdxl" else 1)
    for tensor, whole in zip(vectors.of, (ONE, TWO), strict=False):
        assert torch.allclose(tensor, whole[: len(tensor)], atol=1e-3) and tensor.dtype == torch.float32


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_an_embedding_of_a_words_own_vectors_is_that_word(
    family: str, models: dict[str, Tiny], folders: dict[str, Path], tmp_path: Path
) -> None:
    """Two vectors that are those of two words, within a prompt with weights: as the words themselves."""
    ids = clip_tokenizer("<|endoftext|>")("red house", add_special_tokens=False).input_ids
    own = [
        getattr(encoder, "text_model", encoder).embeddings.token_embedding.weight[ids].detach().clone()
        for encoder in models[family].encoders
    ]
    write(
        tmp_path / "ink.safetensors",
        dict(zip(("clip_l", "clip_g") if len(own) > 1 else ("emb_params",), own, strict=True)),
    )
    inversions = find(["ink"], tmp_path, folders[family])
    plain, knowing = (
        load_diffuser(
            resolve_model(str(folders[family])), device="cpu", precision="fp32", exact_step_count=True, inversions=each
        )._prompts
        for each in ((), inversions)
    )
    with torch.inference_mode():
        for text in ("a {}, fog", "({}:1.3) AND x", "a " * 74 + "{}", "fog BREAK {}"):
            words, embedded = (
                prompts.encode(text.format(name), 1, frame=0)
                for prompts, name in ((plain, "red house"), (knowing, "embedding:INK"))
            )
            if "a a" in text:  # the vectors of one embedding stay together, in the next chunk
                assert len(embedded.tokens) == 154
                assert torch.equal(embedded.tokens[77:], knowing.encode("ink", 1, frame=0).tokens)
            else:
                assert torch.allclose(words.tokens, embedded.tokens, atol=1e-5)
        assert torch.equal(plain.encode("inkwell", 1, frame=0).tokens, knowing.encode("inkwell", 1, frame=0).tokens)


def test_names_in_prompts() -> None:
    known = {"ink": Vectors((ONE,)), "bad-ink v2": Vectors((TWO,))}
    tokenizer = clip_tokenizer("<|endoftext|>")

    def places(text: str) -> list[int]:
        (chunk,) = _chunks(tokenizer, parse_attention(text), 75, known)
        return [token.index if isinstance(token, Slot) else -1 for token, _ in chunk]

    assert places("INK") == places("embedding:ink") == places("(ink)") == [0, 1]
    assert places("bad-ink v2")[:2] == [0, 1]
    assert -1 in places("ink-well") and 0 not in places("pink inks")
    assert places("ink ink") == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("family", "name", "made", "says"),
    [
        ("sdxl", "ink.pt", a1111(ONE), "another kind of model: it has vectors of 32 numbers; .* has 32 and 48"),
        ("sd1", "ink.safetensors", {"emb_params": TWO}, "vectors of 48 numbers; .* has 32"),
        ("sd1", "ink.safetensors", {"emb_params": torch.zeros(76, 32)}, "has 76 vectors; expected at most 75"),
        ("sd1", "ink.pt", {"a": {"b": 1}}, "no embedding was found in it"),
    ],
)
def test_files_that_do_not_fit(
    family: str, name: str, made: dict[str, Any], says: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    write(tmp_path / name, made)
    with pytest.raises(UserError, match=says) as error:
        find(["ink"], tmp_path, folders[family])
    assert str(tmp_path / name) in str(error.value)


def test_a_pickle_is_not_executed(folders: dict[str, Path], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    write(tmp_path / "ink.pt", a1111(ONE) | {"more": Trap()})
    load_inversion(find(["ink"], tmp_path, folders["sd1"])[0])
    assert not (tmp_path / "sprung").exists()


def test_what_is_missing_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    write(tmp_path / "embeds" / "inky.pt", a1111(ONE))
    with pytest.raises(UserError, match=re.escape("there is no embedding 'ink'") + ".*did you mean 'inky'"):
        find(["a (embedding:ink:1.2)"], tmp_path / "embeds", folders["sd1"])
    assert unfound(["embedding:ink"], None, ()) == [
        "embedding:ink: read as words; set embeddings_dir to the folder of its file"
    ]
    assert find(["a sea"], tmp_path / "embeds", folders["sd1"]) == ()
    make = settings_maker(tmp_path, STILL | {"max_frames": 1, "model": folders["sd1"]})
    prepared = prepare(make(prompts="an inky sea", embeddings_dir="embeds"))
    assert [each.name for each in prepared.inversions["", ""]] == ["inky"]
    assert prepare(make(prompts="embedding:ink")).notes[-1].startswith("embedding:ink: read as words")
    below = tmp_path / "models"
    below.mkdir()
    write(below / "embeddings" / "ink.pt", a1111(ONE))
    assert [each.name for each in prepare(make(prompts="ink", models_dir=str(below))).inversions["", ""]] == ["ink"]
