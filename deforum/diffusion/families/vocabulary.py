"""Tokenizers of text encoders whose files hold none: their vocabularies ship.

They take as long to make as small models to load, so that each is made once. Nothing changes them.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from deforum.diffusion.families.find import CONFIGS

_MERGES = 49152 - 256 - 2
"""Merges of CLIP's BPE. Vocabulary of 49408: 256 bytes, 256 bytes ending a word, merges, start and end tokens."""

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's template of a conversation, without tools."""


@cache
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


@cache
def t5_tokenizer() -> Any:
    """Build the tokenizer of T5 1.1 (Raffel et al., arXiv 1910.10683), with 32,100 words."""
    from tokenizers import Tokenizer

    with gzip.open(CONFIGS / "t5" / "tokenizer.json.gz", "rt", encoding="utf-8") as file:
        made = Tokenizer.from_str(file.read())
    return _fast(made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


@cache
def qwen_tokenizer() -> Any:
    """Build the tokenizer of Qwen 2 and 3, with the template of a conversation."""
    from transformers import Qwen2Tokenizer

    with gzip.open(CONFIGS / "qwen" / "merges.txt.gz", "rt", encoding="utf-8") as file:
        merges: Any = [tuple(line.split(" ")) for line in file.read().splitlines()]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*_byte_letters(), *map("".join, merges), *special]
    vocabulary = {word: index for index, word in enumerate(words)}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=merges, additional_special_tokens=special[1:])
    made.chat_template = _CHAT
    return made


def gemma_tokenizer(path: Path) -> Any:
    """Read the tokenizer of Gemma from a tokenizer.json."""
    from tokenizers import Tokenizer

    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return _fast(Tokenizer.from_file(str(path)), **special)


def _fast(tokenizer: Any, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, **special)


def _byte_letters() -> list[str]:
    """Return the characters that represent the 256 bytes, in CLIP's order: printable bytes first, as themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
