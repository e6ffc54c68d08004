"""CLIP's tokenizer, shared by all families with a CLIP text encoder."""

from __future__ import annotations

import gzip
from typing import Any

from deforum.diffusion.families.find import CONFIGS

_MERGES = 49152 - 256 - 2
"""Merges of CLIP's BPE. Vocabulary of 49408: 256 bytes, 256 bytes ending a word, merges, start and end tokens."""


def clip_tokenizer(pad_token: str) -> Any:
    """Build CLIP's tokenizer. `pad_token` is "<|endoftext|>" for OpenAI's encoders and "!" for OpenCLIP's."""
    from transformers import CLIPTokenizer

    with gzip.open(CONFIGS / "clip" / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)


def _byte_letters() -> list[str]:
    """Return the characters that represent the 256 bytes, in CLIP's order: printable bytes first, as themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
