"""Configuration and weights of one part of a diffusers folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class Config(dict[str, Any]):
    """A part's config.json. Its values are also attributes, as those of a library's configuration."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no {name}") from None

    def only(self, accepted: Mapping[str, tuple[Any, ...]], read: frozenset[str]) -> bool:
        """Whether the configuration has nothing but the names in `read` and those of `accepted` with these values.

        Names that begin with "_" are notes of the library.
        """
        rest = {name: value for name, value in self.items() if name not in read and not name.startswith("_")}
        return all(name in accepted and value in accepted[name] for name, value in rest.items())


def read_config(folder: Path) -> Config:
    """Read config.json. Raises OSError or ValueError."""
    return Config(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def read_weights(folder: Path, variant: str | None) -> dict[str, torch.Tensor]:
    """Read all weights of a part, in the precision of the file; of several files where an index lists them.

    Raises OSError where there is no safetensors file of this variant.
    """
    from safetensors.torch import load_file

    middle = f".{variant}" if variant else ""
    for stem in ("diffusion_pytorch_model", "model"):
        if (whole := folder / f"{stem}{middle}.safetensors").is_file():
            return load_file(whole)
        if (index := folder / f"{stem}.safetensors.index{middle}.json").is_file():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return {key: weight for name in names for key, weight in load_file(folder / name).items()}
    raise FileNotFoundError(f"{folder} has no safetensors file")
