"""Resolution of the setting `model` to a checked folder, single file or hub name; no weights are loaded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deforum.diffusion.families import FAMILIES, Family, any_of
from deforum.diffusion.families.checkpoint import inspect_checkpoint
from deforum.embedded import DIFFUSION
from deforum.errors import Problem, UserError

CONFIGS = Path(__file__).parents[1] / "configs"
PREDICTIONS = ("epsilon", "v_prediction", "sample")

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_WAYS = 'give "embedded", a diffusers model folder, a .safetensors file, or a hub name such as "owner/name"'


@dataclass(frozen=True)
class ModelSource:
    """A model that was found and checked, not loaded yet."""

    name: str
    """The model as the user gave it."""
    kind: str
    """"folder", "file", or "hub" for a model that must be downloaded first."""
    path: Path | None
    """The folder or file; None for "hub"."""
    family: str
    """A key of `FAMILIES`; empty for "hub"."""
    prediction: str | None
    """The prediction type: the user's, or for a file its own or its family's usual one. None for a folder: as in its
    scheduler config; None for a file: the loader determines it."""
    config: Path | None
    """For a file: the folder of its family's configurations."""
    size: tuple[int, int]
    """Width and height in px of the pictures that it was trained on."""
    variant: str | None = None
    """"fp16" for a folder with fp16 weights only."""


def resolve_model(model: str, where: str = "", *, prediction: str | None = None) -> ModelSource:
    """Find a model: "embedded", a diffusers folder, a `.safetensors` (or `.ckpt`) file, or a hub name "owner/name".

    `prediction` ("epsilon", "v_prediction", "sample") overrides the model's own prediction type. A hub name is looked
    up in the local cache, then on the hub unless HF_HUB_OFFLINE forbids it; `load_diffuser` downloads it. Raises
    UserError with every fault found, each at `where`. Does not import torch.
    """
    try:
        if prediction is not None and prediction not in PREDICTIONS:
            raise UserError(f"prediction is {prediction!r}; expected one of {', '.join(PREDICTIONS)}")
        return _resolve(model.strip(), prediction)
    except UserError as error:
        if not where:
            raise
        raise UserError(Problem(problem.message, where) for problem in error.problems) from None


def check_folder(name: str, folder: Path, prediction: str | None = None) -> ModelSource:
    """Check that a diffusers pipeline folder is complete and supported; raises UserError with every missing file."""
    index = _read_json(folder / "model_index.json")
    families = _families(str(folder), index)
    parts = families[0]  # families of one pipeline have the same parts
    fp16 = bool(list((folder / parts.network).glob("*.fp16.*"))) and not _weights(folder / parts.network, variant="")
    problems = list(_missing(folder, parts, "fp16" if fp16 else ""))
    if problems:
        raise UserError(Problem(problem) for problem in problems)
    network, vae = (_read_json(folder / part / "config.json") for part in (parts.network, "vae"))
    family = next(family for family in families if _fits(family.network_config, network))
    if network.get("in_channels", 4) != vae.get("latent_channels", 4) * family.channels_per_latent:
        raise UserError(
            f"{folder}: the {family.network_name} takes {network.get('in_channels')} channels and the autoencoder "
            f"makes {vae.get('latent_channels')}: an inpainting or other special model; use a plain text-to-image model"
        )
    size = native_size(network, vae, family)
    return ModelSource(name, "folder", folder, family.name, prediction, None, size, "fp16" if fp16 else None)


def native_size(network: Mapping[str, Any], vae: Mapping[str, Any], family: Family) -> tuple[int, int]:
    """Return the width and height in px that the configurations of a network and its autoencoder name.

    `sample_size` counts latents, as a number or as height and width. A network without one has its family's.
    """
    latents = network.get("sample_size")
    if latents is None:
        latents = _read_json(CONFIGS / family.name / family.network / "config.json")["sample_size"]
    height, width = latents if isinstance(latents, list) else (latents, latents)
    cell = 2 ** (len(vae.get("block_out_channels", [0])) - 1)
    return int(width) * cell, int(height) * cell


def _families(where: str, index: Mapping[str, Any]) -> list[Family]:
    """Return the families of a model_index.json's pipeline class, at least one; raises UserError for an unknown one."""
    pipeline = str(index.get("_class_name"))
    families = [family for family in FAMILIES.values() if pipeline in family.pipelines]
    if not families:
        raise UserError(f"{where}: a {pipeline}; expected {any_of()}")
    return families


def _fits(wanted: Mapping[str, object], config: Mapping[str, object]) -> bool:
    return all(config.get(key) == value for key, value in wanted.items())


def _resolve(model: str, prediction: str | None) -> ModelSource:
    if model == "embedded":
        if not (DIFFUSION / "model_index.json").is_file():
            raise UserError(
                "the embedded model is missing from this installation; install the package again, or "
                "set `model` to a model of your own"
            )
        return check_folder(model, DIFFUSION, prediction)
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(
                f"{model}: no model_index.json in this folder; expected a diffusers model folder, which "
                f"has one beside unet/, vae/ and text_encoder/"
            )
        return check_folder(model, path, prediction)
    if path.is_file():
        if path.suffix not in (".safetensors", ".ckpt"):
            raise UserError(f"{model}: a model file must be .safetensors (or .ckpt); {_WAYS}")
        found = inspect_checkpoint(path)
        prediction = prediction or found.prediction or found.family.usual_prediction
        return ModelSource(
            model,
            "file",
            path,
            found.family.name,
            prediction,
            CONFIGS / found.family.name,
            _size_of_file(found.family, prediction),
        )
    if path.suffix in (".safetensors", ".ckpt", ".pt", ".bin") or not _HUB_NAME.fullmatch(model):
        raise UserError(f"{model}: no such model file or folder; {_WAYS}")
    return _resolve_hub(model, prediction)


def _resolve_hub(name: str, prediction: str | None) -> ModelSource:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(name, "model_index.json")
    if isinstance(cached, str):
        return check_folder(name, Path(cached).parent, prediction)
    fetch = f"fetch it once where there is a network (`hf download {name}`), or give a folder or .safetensors file"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UserError(
            f"{name}: neither a folder here nor in the local hub cache, and HF_HUB_OFFLINE forbids fetching it; {fetch}"
        )
    try:
        # Fails at once for a wrong name or without a network; the download would retry for half a minute.
        HfApi().model_info(name, timeout=5)

        def fetch_json(file: str) -> dict[str, Any]:
            return _read_json(Path(hf_hub_download(name, file, etag_timeout=5)))

        family = _families(name, fetch_json("model_index.json"))[0]
        size = native_size(fetch_json(f"{family.network}/config.json"), fetch_json("vae/config.json"), family)
    except UserError:
        raise
    except Exception as error:
        # The hub library raises errors of several packages; all mean the same to the user.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{name}: neither a folder here nor in the local hub cache, and the hub does not give it "
            f"({reason}); {fetch}"
        ) from None
    return ModelSource(name, "hub", None, "", prediction, None, size)


def _size_of_file(family: Family, prediction: str | None) -> tuple[int, int]:
    """Return the native size of a single file, px; one of unknown prediction type has that of the configurations."""
    other = family.other_sizes.get(prediction or "")
    if other:
        return other, other
    network, vae = (_read_json(CONFIGS / family.name / part / "config.json") for part in (family.network, "vae"))
    return native_size(network, vae, family)


def _missing(folder: Path, family: Family, variant: str) -> Iterator[str]:
    """Yield a message for each missing file. Without a tokenizer a model would load and fail at the first prompt."""
    for part in (family.network, "vae", *family.text_encoders):
        if not (folder / part / "config.json").is_file():
            yield f"{folder}: {part}/config.json is missing; is the model's download complete?"
        elif not _weights(folder / part, variant):
            yield f"{folder}: {part}/ has no weights (.safetensors or .bin); is the model's download complete?"
    for part in family.text_encoders:
        tokenizer = part.replace("text_encoder", "tokenizer")
        files = {file.name for file in (folder / tokenizer).glob("*")}
        if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= files:
            yield (
                f"{folder}: {tokenizer}/ has neither tokenizer.json nor vocab.json with merges.txt; without them "
                f"prompts cannot be read. Copy the folder {tokenizer}/ from the model's origin"
            )
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        yield f"{folder}: scheduler/scheduler_config.json is missing; it says which noise levels the model knows"


def _weights(folder: Path, variant: str) -> list[Path]:
    files = [file for file in folder.glob("*") if file.suffix in (".safetensors", ".bin")]
    return [file for file in files if (".fp16" in file.name) == (variant == "fp16")]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(read, dict):
        raise UserError(f"{path}: expected a JSON object")
    return read
