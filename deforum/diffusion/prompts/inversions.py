"""Textual inversion: the embeddings that prompts name, and their files. Does not import torch.

A word of a prompt that is the stem of a file in `embeddings_dir`, or in a folder of embeddings below `models_dir`,
stands for the vectors in it, as in the A1111 web UI; so does embedding:stem, as in ComfyUI. Upper and lower case do not
matter. Files: .safetensors, and .pt or .bin, read without executing anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.diffusion.families.find import ModelSource
from deforum.errors import Problem, UserError
from deforum.models.config import read_config
from deforum.models.places import entries
from deforum.models.weights import SUFFIXES, read_header
from deforum.paths import to_path
from schedules.errors import did_you_mean
from schedules.quoting import quote

EXPLICIT = re.compile(r"\bembedding:(?P<name>[^\s,:()\[\]<>|]+)", re.IGNORECASE)
FAMILIES = ("sd1", "sd2", "sdxl")
LONGEST = 75
"""The most vectors of an embedding: those that fit in one context of CLIP."""
_OF_ENCODER = {"clip_l": 0, "clip_g": 1, "text_encoders_0": 0, "text_encoders_1": 1}
"""The text encoder that a tensor is for, by its name in files for XL."""


@dataclass(frozen=True)
class Inversion:
    """An embedding that prompts name."""

    name: str
    """The stem of its file, as prompts write it."""
    path: Path
    tensors: tuple[str, ...]
    """The name of the tensor for each text encoder of the model."""


def find_inversions(
    texts: Iterable[str], folder: str | None, roots: Sequence[Path], model: ModelSource
) -> tuple[Inversion, ...]:
    """Return the embeddings that prompts name, checked against the model.

    Raises UserError for one that is not there, and for a file that is broken or made for another kind of model.
    """
    texts = tuple(texts)
    if model.family not in FAMILIES:
        if any(EXPLICIT.search(text) for text in texts):
            raise UserError("prompts: embeddings need a model of Stable Diffusion 1, 2 or XL; remove embedding:...")
        return ()
    files = list_files(folder, roots) if folder or roots else {}
    problems: list[Problem] = []
    found: list[Inversion] = []
    explicit = {match["name"].casefold(): match["name"] for text in texts for match in EXPLICIT.finditer(text)}
    if files or folder:
        for name in explicit.keys() - files.keys():
            close = did_you_mean(name, files)
            where = folder or "a folder of embeddings below models_dir"
            what = f"prompts: there is no embedding {quote(explicit[name])} in {where}"
            problems.append(Problem(f"{what}; {close}" if close else what))
    for name, path in files.items():
        if any(pattern_of([name]).search(text) for text in texts if name in text.casefold()):
            try:
                found.append(Inversion(name, path, _tensors(path, model)))
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(problems)
    return tuple(sorted(found, key=lambda each: each.name))


def unfound(texts: Iterable[str], folder: str | None, roots: Sequence[Path]) -> list[str]:
    """Return a note on the embeddings that prompts name where no folder of them is known, in a list; [] if none."""
    named = dict.fromkeys(match[0] for text in texts for match in EXPLICIT.finditer(text))
    if not named or folder or (roots and list_files(folder, roots)):
        return []
    return [f"{', '.join(list(named)[:3])}: read as words; set embeddings_dir to the folder of its file"]


def list_files(folder: str | None, roots: Sequence[Path]) -> dict[str, Path]:
    """List the files of embeddings by their stems in lower case; those of `folder` come first."""
    own = sorted(to_path(folder).rglob("*")) if folder else []
    paths = [path for path in own if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths += [entry.path for entry in entries(("embedding",), roots) if entry.place.kinds == {"embedding"}]
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(path.stem.casefold(), path)
    return found


def pattern_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of the names of embeddings in a prompt, longest first."""
    words = "|".join(re.escape(name) for name in sorted(names, key=lambda name: -len(name)))
    return re.compile(rf"(?<![\w-])(?:embedding:)?(?P<name>{words})(?![\w-])", re.IGNORECASE)


def _tensors(path: Path, model: ModelSource) -> tuple[str, ...]:
    """Return the names of a file's tensors for each text encoder of a model. Raises UserError for another kind."""
    shapes = {name: shape for name, shape in read_header(path).shapes.items() if 0 < len(shape) <= 2}
    widths = _widths(model)
    chosen: dict[int, str] = {}
    for name in shapes:
        place = _OF_ENCODER.get(name, 0 if len(shapes) == 1 else -1)
        if place >= 0:
            chosen[place] = name
    held = tuple(shapes[chosen[place]][-1] for place in sorted(chosen))
    if not chosen:
        raise UserError(f"{path}: no embedding was found in it; expected a textual inversion")
    if widths and held != widths:
        raise UserError(
            f"{path}: this embedding is for another kind of model: it has vectors of {_numbers(held)} numbers; "
            f"{model.name} has {_numbers(widths)}; remove it from the prompts, or use one that was made for the model"
        )
    longest = max(shapes[name][0] if len(shapes[name]) == 2 else 1 for name in chosen.values())
    if longest > LONGEST:
        raise UserError(f"{path}: the embedding has {longest} vectors; expected at most {LONGEST}")
    return tuple(chosen[place] for place in sorted(chosen))


def _numbers(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths))


def _widths(model: ModelSource) -> tuple[int, ...]:
    """Return the widths of a model's text encoders, () where they are not known yet."""
    folder = model.config if model.kind == "file" else model.path
    if folder is None or model.kind == "hub":
        return ()
    configs: list[Mapping[str, object]] = []
    for name in ("text_encoder", "text_encoder_2"):
        path = folder / name / "config.json"
        if path.is_file():
            configs.append(read_config(path))
    return tuple(width for config in configs if isinstance(width := config.get("hidden_size"), int))
