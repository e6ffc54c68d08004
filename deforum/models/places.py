"""Folders of models as they lie: trees of the A1111 and Forge web UIs, of ComfyUI, and plain folders. No torch.

A tree is recognised by the names of its folders, such as models/Lora or models/checkpoints; ComfyUI's
extra_model_paths.yaml is read as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deforum.errors import UserError
from deforum.limits import MODEL_CONFIG, MODEL_FILES
from deforum.models.weights import SUFFIXES
from deforum.paths import exists, is_file, is_folder, to_path

VARIABLE = "DEFORUM_MODELS_DIR"
"""Environment variable with folders of models, after those of the setting."""
EXTRA_PATHS = "extra_model_paths.yaml"

Kind = Literal[
    "checkpoint", "diffusion_model", "lora", "vae", "tiny_vae", "controlnet", "ip_adapter", "embedding", "upscaler",
    "text_encoder", "image_encoder",
]  # fmt: skip


@dataclass(frozen=True)
class KindOfModel:
    """A kind of model: its name in messages, and the folders that web UIs keep it in."""

    title: str
    folders: frozenset[str]
    """Names in lower case; they are also the keys of extra_model_paths.yaml."""


def _row(title: str, folders: str) -> KindOfModel:
    return KindOfModel(title, frozenset(folders.split()))


KINDS: Mapping[Kind, KindOfModel] = {
    "checkpoint": _row("checkpoint", "stable-diffusion stablediffusion checkpoints diffusers"),
    "diffusion_model": _row("diffusion model", "diffusion_models diffusionmodels unet stable-diffusion"),
    "lora": _row("LoRA", "lora loras lycoris"),
    "vae": _row("VAE", "vae"),
    "tiny_vae": _row("tiny VAE", "vae-approx vae_approx approxvae"),
    "controlnet": _row("ControlNet", "controlnet t2i_adapter t2iadapter"),
    "ip_adapter": _row("IP-Adapter", "ipadapter ip_adapter ipadapters ipadaptersxl ipadapters15 controlnet"),
    "embedding": _row("embedding", "embeddings embedding textualinversion"),
    "upscaler": _row("upscaler", "esrgan realesrgan swinir dat bsrgan scunet upscale_models upscalers"),
    "text_encoder": _row("text encoder", "text_encoder text_encoders textencoders clip"),
    "image_encoder": _row("image encoder", "clip_vision clipvision image_encoders"),
}

_VAE_BESIDE = ".vae"
"""End of the stem of a VAE that lies beside its checkpoint, as in name.vae.safetensors."""
_MODEL_FOLDERS = ("model_index.json", "config.json", "adapter_config.json")
"""Files of which a folder with weights of its own has one: a pipeline, one network, a LoRA of PEFT."""
_EXTENSIONS = ("extensions/sd-webui-controlnet/models",)
"""Folders of a web UI's extensions that hold ControlNets."""


@dataclass(frozen=True)
class Place:
    """A folder that is searched for models of some kinds."""

    folder: Path
    kinds: frozenset[Kind]
    is_deep: bool = True
    """Whether folders in it are searched too."""


@dataclass(frozen=True)
class Entry:
    """A model in a place: a file of weights, or a folder in the layout of diffusers or PEFT."""

    path: Path
    place: Place

    @property
    def relative(self) -> str:
        """The path from its place, with slashes."""
        return self.path.relative_to(self.place.folder).as_posix()


def roots_of(models_dir: str | None, environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders of a setting `models_dir`, then those of the variable `VARIABLE` of the environment.

    `environment` None: the process's. Several are separated by ; (or by the system's separator of paths). Raises
    UserError for one that is not there.
    """
    found: dict[Path, None] = {}
    environment = os.environ if environment is None else environment
    for text, where in ((models_dir, "models_dir"), (environment.get(VARIABLE), VARIABLE)):
        for part in _split(text or ""):
            path = to_path(part)
            if not is_folder(path) and not (is_file(path) and path.suffix.lower() in (".yaml", ".yml")):
                raise UserError(
                    f"{where}: {part}: no such folder; expected the folder of a web UI or of ComfyUI, a folder of "
                    f"models, or ComfyUI's {EXTRA_PATHS}"
                )
            found[path] = None
    return tuple(found)


def places_of(roots: Iterable[Path]) -> tuple[Place, ...]:
    """Return the folders with models under some roots: folders, or files in the form of extra_model_paths.yaml."""
    return tuple(dict.fromkeys(place for root in roots for place in _places(root)))


def entries(kinds: Iterable[Kind], roots: Iterable[Path]) -> list[Entry]:
    """List the models of some kinds under roots, in the order of the places, each file once."""
    wanted = frozenset(kinds)
    found: dict[str, Entry] = {}
    for place in places_of(roots):
        if not wanted & place.kinds and not ("vae" in wanted and "checkpoint" in place.kinds):
            continue
        for path in sorted(_models_in(place)):
            if _suits(path, place, wanted):
                found.setdefault(os.path.realpath(path), Entry(path, place))
    return list(found.values())


def is_model_folder(path: Path) -> bool:
    """Whether a folder is a model itself: a diffusers pipeline, one network with its configuration, a LoRA of PEFT."""
    return any(is_file(path / name) for name in _MODEL_FOLDERS)


def _split(text: str) -> list[str]:
    text = text.strip()
    if not text:
        return []
    if exists(Path(text)):
        return [text]
    parts = [part for piece in text.split(";") for part in piece.split(os.pathsep)]
    return [part.strip() for part in parts if part.strip()]


def _places(root: Path) -> Iterator[Place]:
    if root.suffix.lower() in (".yaml", ".yml") and is_file(root):
        yield from _extra_places(root)
        return
    inner = [child for child in _folders(root) if child.name.lower() == "models"]
    found: list[Place] = []
    for folder in (root, *inner):
        for child in _folders(folder):
            kinds = _kinds_of(child.name)
            if kinds:
                found.append(Place(child, kinds))
    found += [Place(root / name, frozenset(("controlnet",))) for name in _EXTENSIONS if is_folder(root / name)]
    if is_file(root / EXTRA_PATHS):
        found += _extra_places(root / EXTRA_PATHS)
    yield from found
    # Files outside any folder of a kind; a folder without such folders is one of models of any kind.
    everything: frozenset[Kind] = frozenset(KINDS)
    yield Place(root, everything, is_deep=not found)
    if found:
        yield from (Place(folder, everything, is_deep=False) for folder in inner)


def _extra_places(path: Path) -> Iterator[Place]:
    """Read ComfyUI's file: for each program a base_path, and one or more folders (lines of a text) by kind."""
    import yaml

    try:
        MODEL_CONFIG.check(path.stat().st_size, str(path))
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as YAML ({reason})") from None
    programs: list[Any] = [each for each in read.values() if each] if isinstance(read, dict) else [read]
    if not all(isinstance(program, dict) for program in programs):
        raise UserError(
            f"{path}: expected programs with folders by kind, such as comfyui: {{base_path: ..., loras: models/loras}}"
        )
    programs.sort(key=lambda program: program.get("is_default") is not True)
    for program in programs:
        base = path.parent
        if isinstance(program.get("base_path"), str):
            base = base / to_path(os.path.expandvars(program["base_path"].strip()))
        for key, folders in program.items():
            kinds = _kinds_of(str(key))
            for line in str(folders).splitlines() if kinds and isinstance(folders, str) else ():
                folder = line.partition(" #")[0].strip()
                if folder and is_folder(base / to_path(folder)):
                    yield Place(base / to_path(folder), kinds)


def _kinds_of(folder: str) -> frozenset[Kind]:
    return frozenset(kind for kind, row in KINDS.items() if folder.lower() in row.folders)


def _folders(folder: Path) -> Sequence[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return ()


def _suits(path: Path, place: Place, wanted: frozenset[Kind]) -> bool:
    """Whether a model may be of one of the kinds: a VAE beside a checkpoint is told by its name."""
    if not is_file(path) or len(place.kinds) == len(KINDS):
        return True
    is_beside = "checkpoint" in place.kinds and path.stem.lower().endswith(_VAE_BESIDE)
    return ("vae" in wanted) if is_beside else bool(wanted & place.kinds)


def _models_in(place: Place) -> Iterator[Path]:
    """Yield the models in a place. Links are followed, but no folder is searched twice."""
    rest, seen, count = [place.folder], {os.path.realpath(place.folder)}, 0
    while rest:
        try:
            children = list(os.scandir(rest.pop()))
        except OSError:
            continue
        count += len(children)
        MODEL_FILES.check(count, str(place.folder))
        for child in children:
            if child.name.startswith("."):
                continue
            path = Path(child.path)
            try:
                if not child.is_dir():
                    if path.suffix.lower() in SUFFIXES and child.is_file():
                        yield path
                    continue
            except OSError:
                continue
            if is_model_folder(path):
                yield path
            elif place.is_deep and (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                rest.append(path)
