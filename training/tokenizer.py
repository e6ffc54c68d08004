"""The tokenizer, a byte-level BPE in CLIP's layout, and the tokenization of captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

from training.words import EVERYDAY

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(captions: list[str], folder: Path, vocabulary: int = 4096) -> CLIPTokenizer:
    """Train a byte-level BPE tokenizer on captions, in CLIP's vocabulary layout, and save it to ``folder``.

    Vocabulary: bytes, bytes that end a word, merges, start and end tokens; ``vocabulary`` is the trainer's limit.
    """
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pieces = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(pieces, behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, end_of_word_suffix="</w>", min_frequency=2, show_progress=False
    )
    bpe.train_from_iterator([*captions, *[" ".join(EVERYDAY)] * 20], trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    letters = _byte_letters()
    tokens = [*letters, *(k + "</w>" for k in letters)]
    tokens = list(dict.fromkeys([*tokens, *(a + b for a, b in merges), START, END]))
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {token: k for k, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH, bos_token=START, eos_token=END,
                              unk_token=END, pad_token=END)  # fmt: skip
    tokenizer.save_pretrained(folder)
    # Older versions of transformers read vocab.json and merges.txt instead of tokenizer.json.
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tokenizer


def _byte_letters() -> list[str]:
    """Return the printable character for each byte in byte-level BPE, in CLIP's order (Radford et al., GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + k) for k in range(len(others))]


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Tokenize captions, padded or truncated to 77 tokens: int32 (N, 77)."""
    out = tokenizer(list(captions), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np")
    return torch.from_numpy(out.input_ids.astype(np.int32))


def strew(captions: list[list[str]], share: float = 0.12) -> list[list[str]]:
    """Add one to three everyday words to a share of the captions, before or after the text."""
    rng = np.random.default_rng(5)

    def one(text: str) -> str:
        if rng.random() > share:
            return text
        extra = " ".join(rng.choice(EVERYDAY, int(rng.integers(1, 4))))
        return f"{extra}, {text}" if rng.random() < 0.5 else f"{text}, {extra}"

    return [[one(text) for text in each] for each in captions]
