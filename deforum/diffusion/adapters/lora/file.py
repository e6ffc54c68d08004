"""LoRA files: which layers they change, and by which kind of weights. Does not import torch.

kind     tensors of a layer                                   change of its weight W
lora     up, down (, mid)                                     up down, scaled by alpha / rank
hada     w1_a, w1_b, w2_a, w2_b (, t1, t2)    LoHa            (w1_a w1_b) * (w2_a w2_b), likewise
lokr     w1 | w1_a, w1_b; w2 | w2_a, w2_b (, t2)    LoKr      w1 (x) w2, Kronecker's product, likewise
diff     diff (, diff_b)                      whole           diff; of the bias diff_b
norm     w_norm, b_norm                       whole           of a norm's weight and bias
ia3      weight, on_input | ia3_l             IA3             rows or columns of W, times a factor
oft      oft_blocks | oft_diag (, rescale)    OFT             rows of W, turned

With a `dora_scale` the rows (or columns) of the changed weight have its lengths (DoRA, arXiv 2402.09353).
Sources: the files of kohya's sd-scripts, LyCORIS, PEFT and diffusers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deforum.errors import UserError
from deforum.models.config import read_config
from deforum.models.weights import SUFFIXES, Header, read_header
from deforum.paths import is_file

PARTS: Mapping[str, str] = {
    ".lora_up.weight": "up", ".lora_down.weight": "down", ".lora_mid.weight": "mid",
    ".lora_B.default.weight": "up", ".lora_A.default.weight": "down",
    ".lora_B.weight": "up", ".lora_A.weight": "down", ".lora_B": "up", ".lora_A": "down",
    ".lora.up.weight": "up", ".lora.down.weight": "down", "_lora.up.weight": "up", "_lora.down.weight": "down",
    ".lora_linear_layer.up.weight": "up", ".lora_linear_layer.down.weight": "down",
    ".lora_up": "up", ".lora_down": "down", ".lora_B.bias": "up_bias", ".lora_up.bias": "up_bias",
    ".alpha": "alpha", ".scalar": "scalar", ".scale": "scale",
    ".dora_scale": "dora", ".lora_magnitude_vector.default.weight": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude", ".lora_magnitude_vector": "magnitude",
    ".hada_w1_a": "hada_w1_a", ".hada_w1_b": "hada_w1_b", ".hada_w2_a": "hada_w2_a", ".hada_w2_b": "hada_w2_b",
    ".hada_t1": "hada_t1", ".hada_t2": "hada_t2",
    ".lokr_w1": "lokr_w1", ".lokr_w1_a": "lokr_w1_a", ".lokr_w1_b": "lokr_w1_b",
    ".lokr_w2": "lokr_w2", ".lokr_w2_a": "lokr_w2_a", ".lokr_w2_b": "lokr_w2_b", ".lokr_t2": "lokr_t2",
    ".diff": "diff", ".diff_b": "diff_b", ".w_norm": "w_norm", ".b_norm": "b_norm",
    ".weight": "ia3", ".on_input": "on_input", ".ia3_l": "ia3_l",
    ".oft_blocks": "oft_blocks", ".oft_diag": "oft_diag", ".rescale": "rescale",
}  # fmt: skip
"""Ends of the names of tensors, and what they are."""

NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "lora": (("up", "down"),),
    "hada": (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
    "lokr": tuple(
        (*one, *two)
        for one in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for two in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    "oft": (("oft_blocks",), ("oft_diag",)),
    "ia3": (("ia3", "on_input"), ("ia3_l",)),
    "norm": (("w_norm",), ("b_norm",)),
    "diff": (("diff",), ("diff_b",)),
}  # fmt: skip
"""The tensors of which a layer of a kind has all of one group; in the order in which they are looked for."""

_ENDS = re.compile(f"(?:{'|'.join(map(re.escape, sorted(PARTS, key=len, reverse=True)))})\\Z")
_IGNORED = ("bundle_emb.", "lora_controlnet", "emb_params")
_PEFT_FOLDER = "adapter_config.json"
_PEFT_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "pytorch_lora_weights.safetensors")
_PEFT_TYPES = ("LORA", "LOHA", "LOKR", "IA3")
FORMS = (
    "a .safetensors file of kohya's, LyCORIS's, diffusers' or PEFT's layout, or a folder with adapter_config.json and "
    "adapter_model.safetensors"
)


@dataclass(frozen=True)
class Layer:
    """One layer of a LoRA file: the names of its tensors by what they are, and their kind."""

    name: str
    """As in the file, without the end that tells what a tensor is."""
    kind: str
    tensors: Mapping[str, str]
    alpha: float | None = None
    """From a configuration, where the file has no tensor for it: the change is scaled by alpha / rank."""
    root: bool = False
    """Scale by alpha / sqrt(rank) instead (rsLoRA, arXiv 2312.03732)."""


@dataclass(frozen=True)
class LoraFile:
    """What a LoRA file says of itself; no numbers have been read."""

    path: Path
    """The file with the tensors."""
    layers: tuple[Layer, ...]
    header: Header
    passed_over: tuple[str, ...] = ()
    """Names of tensors that belong to no layer, such as bundled embeddings."""
    texts: Mapping[str, str] = field(default_factory=dict)

    def shape(self, layer: Layer, part: str) -> tuple[int, ...]:
        return self.header.shapes[layer.tensors[part]]


def read_file(path: Path) -> LoraFile:
    """Read the header of a LoRA: a file, or a folder of PEFT's. Raises UserError for what is not one."""
    config: dict[str, Any] = {}
    if path.is_dir():
        weights = next((path / name for name in _PEFT_WEIGHTS if is_file(path / name)), None)
        if weights is None:
            raise UserError(f"{path}: no LoRA in this folder; expected {FORMS}")
        config = read_config(path / _PEFT_FOLDER) if is_file(path / _PEFT_FOLDER) else {}
        path = weights
    if path.suffix.lower() not in (*SUFFIXES, ".sft"):
        raise UserError(f"{path}: not a file of weights; expected {FORMS}")
    header = read_header(path)
    config = config or _config_inside(header)
    groups: dict[str, dict[str, str]] = {}
    passed_over: list[str] = []
    for name in header.shapes:
        end = _ENDS.search(name)
        if end is None or name.startswith(_IGNORED):
            passed_over.append(name)
        else:
            groups.setdefault(name[: end.start()], {})[PARTS[end[0]]] = name
    layers = []
    for name, tensors in groups.items():
        kind = _kind_of(tensors)
        if kind is None:
            passed_over += tensors.values()
        else:
            layers.append(_with_alpha(Layer(name, kind, tensors), config))
    if not layers:
        raise UserError(
            f"{path}: not a LoRA: none of its {len(header.shapes)} tensors{_first(header)}; expected {FORMS}"
        )
    half = [name for name in passed_over if (end := _ENDS.search(name)) and PARTS[end[0]] in _HALVES]
    if half:
        raise UserError(f"{path}: {half[0]} lacks its other half ({len(half)} such tensors); fetch the file again")
    return LoraFile(path, tuple(layers), header, tuple(passed_over), header.metadata)


_HALVES = frozenset(part for groups in NEEDED.values() for group in groups if len(group) > 1 for part in group) - {
    "ia3"
}


def _first(header: Header) -> str:
    return f", such as {next(iter(header.shapes))[:80]}, has a name that one has" if header.shapes else " has a name"


def _kind_of(tensors: Mapping[str, str]) -> str | None:
    return next(
        (kind for kind, groups in NEEDED.items() if any(set(group) <= tensors.keys() for group in groups)), None
    )


def _config_inside(header: Header) -> dict[str, Any]:
    """Return PEFT's configuration of each network, which diffusers writes into the file's metadata."""
    try:
        config = json.loads(header.metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _with_alpha(layer: Layer, config: Mapping[str, Any]) -> Layer:
    """Add what a configuration says of a layer's scale."""
    if not config or "alpha" in layer.tensors:
        return layer
    kind = config.get("peft_type", "LORA")
    if kind not in _PEFT_TYPES:
        raise UserError(f"adapter_config.json: peft_type {kind!r} is not supported; expected {', '.join(_PEFT_TYPES)}")
    part, _, rest = layer.name.partition(".")
    prefix = f"{part}." if f"{part}.r" in config else ""
    name = rest if prefix else layer.name.removeprefix("base_model.model.")
    key = "lora_alpha" if kind == "LORA" else "alpha"
    alpha = _by_pattern(config.get(f"{prefix}alpha_pattern"), name, config.get(f"{prefix}{key}"))
    if not isinstance(alpha, int | float):
        return layer
    return replace(layer, alpha=float(alpha), root=bool(config.get(f"{prefix}use_rslora", False)))


def _by_pattern(patterns: Any, name: str, usual: Any) -> Any:
    """Return the value of the pattern that fits the end of a layer's name, as PEFT does."""
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if name == pattern or name.endswith(f".{str(pattern).lstrip('^')}"):
            return value
    return usual


# --- which model it was made for --------------------------------------------------------------------------------------

WIDTHS: Mapping[int, str] = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}
"""Width of the prompt's tokens, by which the UNets of published families differ."""
_MARKS = (
    ("Flux", re.compile(r"(?:single_transformer_blocks|double_blocks|single_blocks)[._]\d")),
    ("Stable Diffusion 3", re.compile(r"joint_blocks[._]\d|transformer_blocks[._]\d+[._]attn[._]add_q_proj")),
)
_CONTEXT = re.compile(r"attn2[._](?:processor[._])?to_[kv]$")


def made_for(file: LoraFile) -> tuple[str, int | None]:
    """Return the family that a file seems to be made for ("" where it does not show), and the width of its tokens."""
    for title, mark in _MARKS:
        if any(mark.search(layer.name) for layer in file.layers):
            return title, None
    width = next(filter(None, map(lambda layer: _context_width(file, layer), file.layers)), None)
    return (WIDTHS.get(width, ""), width) if width else ("", None)


def _context_width(file: LoraFile, layer: Layer) -> int | None:
    """Return the input width of a layer that reads the prompt's tokens; None for other layers."""
    if not _CONTEXT.search(layer.name):
        return None
    for part, axis in (("down", 1), ("diff", 1), ("hada_w1_b", 1)):
        if part in layer.tensors:
            return file.shape(layer, part)[axis]
    return None


def trigger_words(file: LoraFile) -> Iterator[str]:
    """Yield the words that a file says to put into the prompt."""
    phrase = file.texts.get("modelspec.trigger_phrase", "").strip()
    if phrase:
        yield phrase
