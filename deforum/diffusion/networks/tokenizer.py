"""CLIP's tokenizer from a folder's tokenizer.json, by the `tokenizers` package alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ids:
    """The result of tokenizing a text."""

    input_ids: list[int]


class ClipTokenizer:
    """What `families.clip` uses of transformers' CLIPTokenizer."""

    def __init__(self, tokenizer: Any, *, bos: str, eos: str, pad: str) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`; the others are its special tokens."""
        self._tokenizer = tokenizer
        self.bos_token_id, self.eos_token_id, self.pad_token_id = map(self.convert_tokens_to_ids, (bos, eos, pad))

    def __call__(self, text: str, *, add_special_tokens: bool, truncation: bool = False, verbose: bool = False) -> Ids:
        """Return the ids of a text of any length; `truncation` is not supported, and nothing is printed."""
        if truncation:
            raise ValueError("this tokenizer does not truncate")
        return Ids(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """Return the id of a token; None where the vocabulary lacks it."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number


def read_tokenizer(folder: Path) -> ClipTokenizer | None:
    """Read a tokenizer; None where the folder has only the files of the older form. Raises OSError, ValueError."""
    if not (folder / "tokenizer.json").is_file():
        return None
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    names = [_word(config[name]) for name in ("bos_token", "eos_token", "pad_token")]
    if config.get("tokenizer_class") != "CLIPTokenizer" or None in names:
        return None
    made = _vocabulary((folder / "tokenizer.json").read_bytes())
    return ClipTokenizer(made, bos=names[0], eos=names[1], pad=names[2])


@lru_cache(maxsize=4)  # nearly all models have the same one or two, and it takes longer to read than their weights
def _vocabulary(content: bytes) -> Any:
    """Return the `tokenizers.Tokenizer` of a tokenizer.json. It is never changed, so that models can share it."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_buffer(content)
    made.no_truncation()
    made.no_padding()
    return made


def _word(token: Any) -> Any:
    """Return the text of a special token, which may be written as a mapping."""
    return token["content"] if isinstance(token, dict) else token
