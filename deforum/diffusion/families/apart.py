"""Text encoders and autoencoders in files of their own, as ComfyUI and Forge keep them. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deforum.diffusion.families import Family
from deforum.errors import UserError
from deforum.models import library
from deforum.models.config import read_config
from deforum.models.places import Kind, entries
from deforum.models.weights import Header, read_header


@dataclass(frozen=True)
class Slot:
    """A text encoder as ComfyUI names it."""

    title: str
    mark: str
    """End of the name of a weight that it has, and those after it in `SLOTS` may have too."""


SLOTS: Mapping[str, Slot] = {
    "clip_g": Slot("CLIP-G (clip_g.safetensors)", "text_model.encoder.layers.31.layer_norm1.weight"),
    "clip_l": Slot("CLIP-L (clip_l.safetensors)", "text_model.embeddings.token_embedding.weight"),
    "t5xxl": Slot("T5 XXL (t5xxl_fp16.safetensors)", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    "gemma2_2b": Slot("Gemma 2 2B (gemma_2_2b_fp16.safetensors)", "layers.0.pre_feedforward_layernorm.weight"),
    "qwen3_4b": Slot("Qwen 3 4B (qwen_3_4b.safetensors)", "layers.0.self_attn.q_norm.weight"),
}
"""By the name that they have within a checkpoint: text_encoders.NAME.transformer. ..."""


def slot_of(shapes: Iterable[str]) -> str:
    """Return the key of `SLOTS` of a file with one text encoder, by the names in it; "" for anything else."""
    names = list(shapes)
    if any(name.startswith("vision_model.") for name in names):
        return ""
    return next((key for key, slot in SLOTS.items() if any(name.endswith(slot.mark) for name in names)), "")


def slots_within(shapes: Iterable[str]) -> frozenset[str]:
    """Return the slots of text encoders that are within a checkpoint."""
    return frozenset(name for name in SLOTS if any(key.startswith(f"text_encoders.{name}.") for key in shapes))


def find_encoders(
    names: str, family: Family, inside: frozenset[str], title: str, roots: Sequence[Path], *, required: bool = True
) -> dict[str, Path]:
    """Return the files of text encoders by slot: those that `names` gives, several separated by ;, and those missing.

    A slot that is neither `inside` the model nor given is looked for in the folders of models, where one file alone
    fits it. Without `required` it may stay empty. Raises UserError for files that fit no slot, and for slots without a
    file.
    """
    wanted = list(family.slots.values())
    found: dict[str, Path] = {}
    for name in filter(None, map(str.strip, names.split(";"))):
        path = library.find("text_encoder", name, roots)
        slot = slot_of(_header_of(path).shapes)
        if slot not in wanted:
            expected = ", ".join(SLOTS[each].title for each in wanted)
            what = f"a {SLOTS[slot].title.partition(' (')[0]} text encoder" if slot else "not a text encoder"
            raise UserError(f"text_encoder: {path}: {what}; {title} takes {expected or 'none apart from its own'}")
        if slot in found:
            raise UserError(f"text_encoder: {found[slot]} and {path} are both {SLOTS[slot].title}; give one of them")
        found[slot] = path
    lacking = [slot for slot in wanted if slot not in inside and slot not in found]
    there = [entry.path for entry in entries(["text_encoder"], roots)] if lacking and required else []
    fitting: dict[str, list[Path]] = {slot: [] for slot in lacking}
    for path in there:
        if (slot := _slot_quietly(path)) in fitting:
            fitting[slot].append(path)
    for slot in lacking if required else ():
        if len(fitting[slot]) == 1:
            found[slot] = fitting[slot][0]
        elif len(fitting[slot]) > 1:
            paths = ", ".join(map(str, fitting[slot]))
            raise UserError(f"text_encoder: several files are {SLOTS[slot].title}: {paths}; give one as text_encoder")
    missing = [
        slot for slot in lacking if slot not in found and slot not in {family.slots[part] for part in family.optional}
    ]
    if missing and required:
        titles = " and ".join(SLOTS[slot].title for slot in missing)
        raise UserError(
            f"{title}: its file has no {titles}; set text_encoder to the file (several are separated by ;), or "
            f"models_dir to a folder with one"
        )
    return found


def find_vae(name: str, channels: int, title: str, roots: Sequence[Path]) -> Path:
    """Return the file or folder of an autoencoder with latents of `channels`. Raises UserError."""
    path = library.find("vae", name, roots)
    found = latent_channels(path)
    if not found:
        raise UserError(f"vae: {path}: not an autoencoder; expected the weights of an AutoencoderKL")
    if found != channels:
        raise UserError(
            f"vae: {path}: its latents have {found} channels, and those of {title} {channels}; use one for this model"
        )
    return path


def latent_channels(path: Path) -> int:
    """Return the channels of an autoencoder's latents; 0 where a file or folder is none."""
    if path.is_dir():
        config = read_config(path / "config.json") if (path / "config.json").is_file() else {}
        kind = config.get("_class_name")
        return int(config.get("latent_channels", 4)) if kind == "AutoencoderKL" else 0
    shapes = _header_of(path).shapes
    first = next((shape for key, shape in shapes.items() if key.endswith("decoder.conv_in.weight")), ())
    return first[1] if len(first) == 4 else 0


def only_vae(channels: int, title: str, roots: Sequence[Path]) -> Path:
    """Return the one autoencoder in the folders of models that fits; raises UserError where none or several do."""
    kinds: tuple[Kind, ...] = ("vae",)
    fitting = [entry.path for entry in entries(kinds, roots) if _channels_quietly(entry.path) == channels]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        paths = ", ".join(map(str, fitting))
        raise UserError(f"vae: several autoencoders fit {title}: {paths}; give one as vae")
    raise UserError(
        f"{title}: its file has no autoencoder; set vae to the file (such as ae.safetensors), or models_dir to a "
        f"folder with one"
    )


def _header_of(path: Path) -> Header:
    """Read the header of a file, or of all weights in a folder."""
    if path.is_file():
        return read_header(path)
    files = sorted(path.glob("*.safetensors"))
    shapes = {name: shape for file in files for name, shape in read_header(file).shapes.items()}
    return Header(shapes, {})


def _slot_quietly(path: Path) -> str:
    try:
        return slot_of(_header_of(path).shapes)
    except UserError:
        return ""


def _channels_quietly(path: Path) -> int:
    try:
        return latent_channels(path)
    except UserError:
        return 0
