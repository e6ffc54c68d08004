"""What a model is, by its header alone: kind, family, trigger words, digest. Imports no torch and reads no weights."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.apart import SLOTS, latent_channels, slot_of
from deforum.diffusion.families.checkpoint import inspect_checkpoint
from deforum.errors import UserError
from deforum.models.config import read_config
from deforum.models.digest import known_digests, known_key
from deforum.models.places import KINDS, Entry, Kind
from deforum.models.weights import Header, read_header

MOST_TRIGGERS = 6
_SIDECAR = 1 << 22  # bytes of a file beside a model that are read

_BY_NAMES: tuple[tuple[Kind, str], ...] = (
    (
        "lora",
        r"lora_|.*\.lora_|.*\.lora\.(up|down)\.|.*\.(hada_w|lokr_w|oft_blocks|oft_diag|boft_|on_input)|.*\.alpha$",
    ),
    ("controlnet", r"(control_model|controlnet_\w+|controlnet)[._]|zero_convs\.|input_hint_block\.|adapter\."),
    ("controlnet", r"body\.\d+\.resnets\.|.*controlnet_cond_embedding\."),
    ("ip_adapter", r"image_proj\.|ip_adapter\."),
    ("checkpoint", r"cond_stage_model\.|conditioner\.embedders\.|text_encoders\."),
    (
        "diffusion_model",
        r"(model\.)?diffusion_model\.|(double|joint|input|output)_blocks?\.|noise_refiner\.|down_blocks\.",
    ),
    ("image_encoder", r"vision_model\.|visual\."),
    ("text_encoder", r"text_model\.|encoder\.block\.|shared\.weight$|model\.layers\."),
    ("embedding", r"emb_params|string_to_param|clip_[lg]$|<.*>$"),
    (
        "upscaler",
        r"params_ema|conv_first\.|body\.\d+\.(rdb|weight|bias)|model\.\d+\.(sub\.|weight)|layers\.\d+\.residual",
    ),
    ("tiny_vae", r"\d+\.(weight|bias|conv\.)|(decoder|encoder)\.layers\.|taesd_"),
    ("vae", r"(first_stage_model\.)?(en|de)coder\.(conv_in|down|up|mid)"),
)
"""Kinds by the start of a weight's name, in the order in which they are asked."""
_WIDTHS: Mapping[int, str] = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl"}
"""Families by the width of what their attention reads from the prompt, or of an embedding."""
_SAID = (
    # (pattern in the metadata's names of a base model, family)
    (r"sdxl|stable-diffusion-xl|\bxl\b|pony|illustrious", "sdxl"),
    (r"flux", "flux"),
    (r"sd3|stable-diffusion-3|sd_?v3", "stable_diffusion_3"),
    (r"z-?_?image", "z_image"),
    (r"lumina", "lumina_2"),
    (r"sd_v2|stable-diffusion-v2|\bsd 2", "sd2"),
    (r"sd_v1|stable-diffusion-v1|\bsd 1", "sd1"),
)
_NETWORK_NAMES = (
    (r".*(single_transformer_blocks|double_blocks|single_blocks)", "flux"),
    (r".*joint_blocks|.*(add_k_proj|attn2.*norm_added)", "stable_diffusion_3"),
    (r".*lora_te2_|.*conditioner\.embedders\.1|clip_g$", "sdxl"),
)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model."""

    path: Path
    name: str
    """The path from the folder of its kind."""
    kind: Kind
    family: str
    """Title of its family, or of the text encoder that it is; "" where it is not known."""
    bytes: int
    digest: str
    """The first digits of its SHA-256, or of that of its numbers alone, as far as known without reading it."""
    title: str
    triggers: tuple[str, ...]
    """Words that a LoRA or an embedding was trained with."""
    problem: str = ""
    """Why it cannot be used, or not be read."""


def facts_of(entry: Entry, kinds: Iterable[Kind]) -> ModelFacts:
    """Describe a model in a place of `kinds`, from headers and the small files beside it."""
    path, header, problem = entry.path, Header({}, {}), ""
    try:
        header = read_header(path) if path.is_file() else _header_of_folder(path)
    except UserError as error:
        problem = error.problems[0].message
    kind = _kind(entry, header, tuple(kinds))
    family = "" if problem else _family(path, kind, header)
    if not problem and kind == "checkpoint" and path.is_file():
        try:
            family = inspect_checkpoint(path).family.title
        except UserError as error:
            problem = error.problems[0].message
    beside = dict(_beside(path))
    said = header.metadata
    title = next((said[key] for key in ("modelspec.title", "ss_output_name") if said.get(key, "").strip()), "")
    return ModelFacts(
        path,
        entry.relative,
        kind,
        family,
        _size(path),
        _digest(path, said, beside),
        title or str(beside.get("title", "")),
        _triggers(said, beside),
        problem.removeprefix(f"{path}: "),
    )


def _kind(entry: Entry, header: Header, kinds: tuple[Kind, ...]) -> Kind:
    """Return the kind of a model: by its folder, and where that holds several, by the names of its weights."""
    placed = [kind for kind in kinds if kind in entry.place.kinds]
    named = next(
        (kind for kind, start in _BY_NAMES if any(re.match(start, name) for name in header.shapes)),
        None,
    )
    if (entry.path / "model_index.json").is_file():
        named = "checkpoint"
    elif (entry.path / "adapter_config.json").is_file():
        named = "lora"
    if entry.path.stem.lower().endswith(".vae"):
        return "vae"
    if named in placed or len(entry.place.kinds) == len(KINDS):
        return named or "checkpoint"
    return placed[0]


def _family(path: Path, kind: Kind, header: Header) -> str:
    if kind == "text_encoder":
        slot = slot_of(header.shapes)
        return SLOTS[slot].title.partition(" (")[0] if slot else ""
    if kind == "vae":
        return f"{channels} channels" if (channels := latent_channels(path)) else ""
    if kind == "checkpoint" and path.is_dir():
        pipeline = read_config(path / "model_index.json").get("_class_name")
        return next((family.title for family in FAMILIES.values() if pipeline in family.pipelines), str(pipeline)[:60])
    said = " ".join(
        header.metadata.get(key, "") for key in ("ss_base_model_version", "modelspec.architecture", "ss_sd_model_name")
    ).lower()
    found = next((family for pattern, family in _SAID if re.search(pattern, said)), "")
    for pattern, family in () if found else _NETWORK_NAMES:
        if any(re.match(pattern, name) for name in header.shapes):
            found = family
            break
    for name, shape in () if found else header.shapes.items():
        reads_prompt = re.search(r"attn2[._]to_k[._](lora_(down|A)\.)?(lora\.down\.)?weight$", name)
        if (reads_prompt or kind == "embedding") and len(shape) >= 2 and shape[1] in _WIDTHS:
            found = _WIDTHS[shape[1]]
            break
    return FAMILIES[found].title if found else ""


def _header_of_folder(path: Path) -> Header:
    """Read the headers of a folder's own weights; a pipeline has none of its own."""
    headers = [read_header(file) for file in sorted(path.glob("*.safetensors"))[:64]]
    shapes = {name: shape for header in headers for name, shape in header.shapes.items()}
    return Header(shapes, {}, headers[0].metadata if headers else {})


def _size(path: Path) -> int:
    try:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def _digest(path: Path, said: Mapping[str, str], beside: Mapping[str, Any]) -> str:
    try:
        known = known_digests().get(known_key(path), "") if path.is_file() else ""
    except OSError:
        known = ""
    known = known or str(beside.get("sha256", "")).lower()
    if re.fullmatch(r"[0-9a-f]{64}", known):
        return known[:10]
    numbers = said.get("sshs_model_hash", "").lower()
    return numbers[:12] if re.fullmatch(r"[0-9a-f]{12,64}", numbers) else ""


def _triggers(said: Mapping[str, str], beside: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a model's trigger words: those that its files name, else the tags that all its pictures had."""
    named = [*_words(said.get("modelspec.trigger_phrase")), *_words(beside.get("triggers"))]
    if named:
        return tuple(dict.fromkeys(named))[:MOST_TRIGGERS]
    try:
        folders = json.loads(said.get("ss_tag_frequency", "{}"))
        counts: Counter[str] = Counter()
        for tags in folders.values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ()
    most = counts.most_common(MOST_TRIGGERS)
    return tuple(tag for tag, count in most if tag and count >= 0.9 * most[0][1])


def _words(value: object) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [word for part in parts if (word := " ".join(str(part).split()).strip(" ,"))]


def _beside(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield digest, title and trigger words from the files that web UIs and their extensions keep beside a model."""
    civitai = _read(path.with_suffix(".civitai.info"))
    files: Any = civitai.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and file.get("name") == path.name and isinstance(file.get("hashes"), dict):
            yield "sha256", file["hashes"].get("SHA256") or ""
    model = civitai.get("model")
    yield "title", model.get("name") or "" if isinstance(model, dict) else ""
    matrix = _read(path.with_suffix(".cm-info.json"))
    hashes = matrix.get("Hashes")
    if isinstance(hashes, dict) and hashes.get("SHA256"):
        yield "sha256", hashes["SHA256"]
    own = _read(path.with_suffix(".json"))
    triggers = civitai.get("trainedWords") or matrix.get("TrainedWords") or own.get("activation text")
    yield "triggers", triggers


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_SIDECAR))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
