"""Prompts into embeddings, against the text encoders themselves and against diffusers' pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from deforum.diffusion.families.clip import ClipReader, Encoder, _chunks, emphasize
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.faults import RenderError
from deforum.diffusion.prompts.encode import Embedding, PromptEncoder, as_in_the_web_ui
from deforum.diffusion.prompts.syntax import parse_attention
from tests.diffusion.tiny import Tiny, tokenizers_of

Tensor = torch.Tensor
LONG = ", ".join(f"a house with {word} windows" for word in ["red", "green", "blue", "white", "black", "brown"] * 5)


def encoder_of(model: Tiny, *, spherical: bool = False, zero_empty: bool = False) -> PromptEncoder:
    pads = {"sd1": ("<|endoftext|>",), "sd2": ("!",), "sdxl": ("<|endoftext|>", "!")}[model.family]
    encoders = tuple(Encoder(net, clip_tokenizer(pad)) for net, pad in zip(model.encoders, pads, strict=True))
    xl, layers = model.family == "sdxl", {"sd1": (1, 0), "sd2": (2, 1), "sdxl": (2, 0)}[model.family]
    reader = ClipReader(encoders, *layers, final_norm=not xl, pooled=xl, zero_empty=zero_empty)
    return PromptEncoder(reader, spherical=spherical)


@pytest.fixture(scope="session")
def encoders(models: dict[str, Tiny]) -> dict[str, PromptEncoder]:
    return {family: encoder_of(model) for family, model in models.items()}


def encode(encoder: PromptEncoder, text: str, clip_skip: int = 1) -> Embedding:
    with torch.inference_mode():
        return encoder.encode(text, clip_skip, frame=0)


def pipeline(folder: Path, family: str) -> Any:
    return diffusers.DiffusionPipeline.from_pretrained(
        folder, **tokenizers_of(family), safety_checker=None, feature_extractor=None
    )


def test_the_tokenizer_is_clips_own() -> None:
    tokenizer = clip_tokenizer("<|endoftext|>")
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("Don't, 42 Größen!").input_ids[1] == tokenizer("don't").input_ids[1]
    assert clip_tokenizer("!").pad_token_id == 0
    assert tokenizer.pad_token_id == 49407


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_plain_prompts_as_in_diffusers(
    family: str, encoders: dict[str, PromptEncoder], folders: dict[str, Path]
) -> None:
    theirs, _ = pipeline(folders[family], family).encode_prompt("a red house", "cpu", 1, False)
    assert torch.allclose(encode(encoders[family], "a red house").tokens, theirs[0], atol=1e-5)


@pytest.mark.parametrize(("clip_skip", "skipped"), [(1, 0), (2, 0), (3, 1)])
def test_xl_prompts_as_in_diffusers(
    clip_skip: int, skipped: int, encoders: dict[str, PromptEncoder], folders: dict[str, Path]
) -> None:
    """XL reads the last layer but one for clip_skip 1 and 2; diffusers counts the layers before that."""
    pipe = pipeline(folders["sdxl"], "sdxl")
    tokens, _, pooled, _ = pipe.encode_prompt(
        "a red house", device="cpu", do_classifier_free_guidance=False, clip_skip=skipped
    )
    ours = encode(encoders["sdxl"], "a red house", clip_skip)
    assert ours.pooled is not None
    assert torch.allclose(ours.tokens, tokens[0], atol=1e-5)
    assert torch.allclose(ours.pooled, pooled[0], atol=1e-5)


@pytest.mark.parametrize(
    ("family", "clip_skip", "state"),
    [("sd1", 1, -1), ("sd1", 2, -2), ("sd1", 3, -3), ("sd2", 1, -1), ("sd2", 2, -1), ("sd2", 3, -2)],
)
def test_clip_skip_reads_an_earlier_layer_through_the_last_norm(
    family: str, clip_skip: int, state: int, encoders: dict[str, PromptEncoder], models: dict[str, Tiny]
) -> None:
    """The files of version 2 end with the last layer but one, which clip_skip 1 and 2 mean there."""
    net = models[family].encoders[0]
    tokenizer = clip_tokenizer("!" if family == "sd2" else "<|endoftext|>")
    ids = tokenizer("a red house", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.inference_mode():
        states = net(ids, output_hidden_states=True).hidden_states
        expected = net.final_layer_norm(states[state])[0]
    assert torch.allclose(encode(encoders[family], "a red house", clip_skip).tokens, expected, atol=1e-5)
    # Deeper than the encoder is its first layer, not an error in the middle of a run.
    assert torch.isfinite(encode(encoders[family], "a red house", 12).tokens).all()


def test_weights_scale_their_tokens_and_keep_the_mean() -> None:
    hidden = torch.rand(1, 6, 4) + 0.5
    weights = torch.tensor([[1.0, 1.5, 1.5, 0.5, 1.0, 1.0]])
    scaled = emphasize(hidden, weights)
    assert float(scaled.mean()) == pytest.approx(float(hidden.mean()))
    ratio = scaled / hidden
    assert torch.allclose(ratio[0, 1] / ratio[0, 0], torch.tensor(1.5))
    assert torch.allclose(ratio[0, 3] / ratio[0, 0], torch.tensor(0.5))


def test_each_chunk_keeps_its_own_mean() -> None:
    hidden = torch.rand(3, 6, 4) + 0.5
    weights = torch.ones(3, 6)
    weights[0, 1], weights[1, 2:4] = 1.5, 0.2
    scaled = emphasize(hidden, weights)
    for chunk in range(3):
        product = hidden[chunk] * weights[chunk, :, None]
        assert torch.allclose(scaled[chunk], product * (hidden[chunk].mean() / product.mean()))
    assert torch.equal(scaled[2], hidden[2])


def test_lengths_of_the_web_ui() -> None:
    """A repeated embedding is attended to as one; the shorter part of an AND repeats its last token."""
    long, short, negative = (torch.randn(n, 8, dtype=torch.float64) for n in (6, 4, 9))
    given = [(Embedding(long, None), False), (Embedding(short, None), False), (Embedding(negative, None), True)]
    first, second, third = (each.tokens for each in as_in_the_web_ui(given))
    assert len(first) == len(second) == len(third) == 18
    assert torch.equal(second[:6], torch.cat([short, short[-1:], short[-1:]]))
    query = torch.randn(5, 8, dtype=torch.float64)

    def attend(tokens: Tensor) -> Tensor:
        return (query @ tokens.T).softmax(dim=-1) @ tokens

    assert torch.allclose(attend(first), attend(long)) and torch.allclose(attend(third), attend(negative))


def test_weights_stay_sane_where_the_mean_says_nothing() -> None:
    hidden = torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(0))
    hidden -= hidden.mean()
    weights = torch.ones(1, 77)
    weights[0, 1:4] = 1.4
    assert float((emphasize(hidden, weights) / hidden).abs().max()) < 1.5


def test_attention_changes_the_embedding_only_where_asked(encoders: dict[str, PromptEncoder]) -> None:
    encoder = encoders["sd1"]
    plain, weighted = encode(encoder, "a red house"), encode(encoder, "a (red:1.3) house")
    assert not torch.allclose(plain.tokens, weighted.tokens)
    assert torch.allclose(plain.tokens, encode(encoder, "a (red:1.0) house").tokens)
    assert torch.allclose(weighted.tokens, encode(encoder, "a (red:1.3) house <lora:x:1>").tokens)


def test_long_prompts_take_several_chunks_and_lose_nothing(encoders: dict[str, PromptEncoder]) -> None:
    embedding = encode(encoders["sd1"], LONG)
    tokens = len(clip_tokenizer("<|endoftext|>")(LONG, verbose=False).input_ids) - 2
    assert tokens > 150
    assert len(embedding.tokens) == 77 * -(-tokens // 75)
    shorter = encode(encoders["sd1"], LONG + " and a tree")
    assert torch.allclose(embedding.tokens[:77], shorter.tokens[:77])
    assert not torch.allclose(embedding.tokens[-77:], shorter.tokens[-77:])


def test_chunks_end_at_a_comma_if_one_is_near() -> None:
    tokenizer = clip_tokenizer("<|endoftext|>")
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    chunks = _chunks(tokenizer, parse_attention(LONG), 75)
    for chunk in chunks[:-1]:
        assert chunk[-1][0] == comma
        assert len(chunk) <= 75
    assert [len(chunk) for chunk in _chunks(tokenizer, parse_attention("cat " * 160), 75)] == [75, 75, 10]
    assert [len(chunk) for chunk in _chunks(tokenizer, parse_attention("a cat BREAK a dog"), 75)] == [2, 2]
    assert _chunks(tokenizer, parse_attention(""), 75) == [[]]


@pytest.mark.parametrize(
    ("text", "lengths"),
    [("a cat BREAK", [2]), ("a cat BREAK ", [2]), ("BREAK", [0]), ("BREAK a cat", [0, 2]), ("cat BREAK BREAK", [1, 0]),
     ("cat BREAK BREAK cat", [1, 0, 1]), ("cat " * 75 + "BREAK", [75]), ("cat " * 76 + "BREAK", [75, 1])],
)  # fmt: skip
def test_a_break_at_the_end_begins_no_chunk(text: str, lengths: list[int]) -> None:
    chunks = _chunks(clip_tokenizer("<|endoftext|>"), parse_attention(text), 75)
    assert [len(chunk) for chunk in chunks] == lengths


def test_xl_long_prompts_agree_in_length(encoders: dict[str, PromptEncoder]) -> None:
    embedding = encode(encoders["sdxl"], LONG)
    assert embedding.tokens.shape == (3 * 77, 80)
    assert embedding.pooled is not None and embedding.pooled.shape == (48,)


def test_each_prompt_is_computed_once_and_the_cache_is_bounded(models: dict[str, Tiny]) -> None:
    encoder = encoder_of(models["sd1"])
    calls: list[int] = []
    hook = models["sd1"].encoders[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        for _ in range(3):
            encode(encoder, "a red house")
        assert len(calls) == 1
        encode(encoder, "a red house", 2)
        assert len(calls) == 2
        for i in range(100):
            encode(encoder, f"house {i}")
        assert len(encoder._cache) <= 64
    finally:
        hook.remove()


def test_blends_meet_their_ends_and_go_between(models: dict[str, Tiny]) -> None:
    for spherical in (False, True):
        encoder = encoder_of(models["sdxl"], spherical=spherical)
        a, b = encode(encoder, "a red house"), encode(encoder, "the blue sea, " * 40)
        with torch.inference_mode():
            at = [encoder.blend([(a, 1 - w), (b, w)], 1, frame=0) for w in (0.0, 0.5, 1.0)]
            filled = encoder.fill(a, len(b.tokens), 1, frame=0)
        assert torch.allclose(at[0].tokens, filled.tokens, atol=1e-5)
        assert torch.allclose(at[2].tokens, b.tokens, atol=1e-5)
        assert a.pooled is not None and b.pooled is not None and at[1].pooled is not None
        middle = (a.pooled + b.pooled) / 2
        if spherical:
            # Half way along the sphere is the same direction, but not nearer to the centre.
            assert torch.nn.functional.cosine_similarity(at[1].pooled, middle, dim=0) > 0.999
            assert at[1].pooled.norm() >= middle.norm()
        else:
            assert torch.allclose(at[1].pooled, middle, atol=1e-6)


def test_an_empty_negative_prompt_of_xl_is_zero(models: dict[str, Tiny]) -> None:
    encoder = encoder_of(models["sdxl"], zero_empty=True)
    with torch.inference_mode():
        empty = encoder.encode(" ", 1, frame=0, negative=True)
        assert not empty.tokens.any() and empty.pooled is not None and not empty.pooled.any()
        assert encoder.encode("", 1, frame=0).tokens.any()
        assert encoder.encode("fog", 1, frame=0, negative=True).tokens.any()


def test_broken_text_encoder_is_named(models: dict[str, Tiny]) -> None:
    net = models["sd1"].encoders[0]
    hook = net.register_forward_hook(
        lambda _m, _i, out: setattr(out, "hidden_states", [s * torch.nan for s in out.hidden_states])
    )
    try:
        with pytest.raises(RenderError, match="frame 7: the text encoder gave NaN or Inf"), torch.inference_mode():
            encoder_of(models["sd1"]).encode("a red house", 1, frame=7)
    finally:
        hook.remove()
