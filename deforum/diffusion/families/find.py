"""Resolution of the setting `model` to a checked folder, single file or hub name; no weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from deforum.diffusion.families import FAMILIES, REFINER, Family, any_of, apart
from deforum.diffusion.families.checkpoint import inspect_checkpoint
from deforum.embedded import DIFFUSION
from deforum.errors import Problem, UserError
from deforum.models import hub, library
from deforum.models.catalogue import existing
from deforum.models.config import Document, check_network, read_config, read_document, whole
from deforum.models.places import Kind
from deforum.models.weights import SAFETENSORS, SUFFIXES, Header, read_header
from schedules.quoting import cut

CONFIGS = Path(__file__).parents[1] / "configs"
MODELS: tuple[Kind, ...] = ("checkpoint", "diffusion_model")
"""Kinds of file that `model` may name."""
PREDICTIONS = ("epsilon", "v_prediction", "sample")

_TOKENIZERS = {"tokenizer.json", "spiece.model", "tokenizer.model"}
"""Files that hold a whole tokenizer."""
_MOST_CHANNELS = 100_000  # of a layer, or words of a vocabulary: no network has more
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
    fp16_parts: tuple[str, ...] = ()
    """For a folder: the subfolders that have their weights as `.fp16.` files only."""
    zero_snr: bool = False
    """For a file: whether it was trained up to pure noise (zero terminal SNR)."""
    vae: Path | None = None
    """A file or folder of another autoencoder, which stands in for its own, or for the one that a file lacks."""
    text_encoders: tuple[tuple[str, Path], ...] = ()
    """Files or folders of text encoders, which stand in for its own or for those that a file lacks: the name of the
    part in a diffusers folder, and the path."""
    refiner: ModelSource | None = None
    """A model that ends the painting of each frame."""
    refiner_switch_at: float = 1.0
    """Share of the noise levels, from the highest, after which the refiner paints."""
    notes: tuple[str, ...] = ()
    """What was chosen for the user, a line each."""
    tiny_vae: tuple[Path, ...] = ()
    """Files of a tiny autoencoder that stands in for its own, see `families.tiny`: one, or encoder and decoder."""


def resolve_model(
    model: str,
    where: str = "",
    *,
    prediction: str | None = None,
    roots: Sequence[Path] = (),
    vae: str = "",
    text_encoder: str = "",
    refines: bool = False,
) -> ModelSource:
    """Find a model: "embedded", a diffusers folder, a `.safetensors` (or `.ckpt`) file, or a hub name "owner/name".

    `roots` are folders in which it is looked for by name, see `deforum.models.library`. `prediction` ("epsilon",
    "v_prediction", "sample") overrides the model's own prediction type. `vae` and `text_encoder` name files of parts
    that lie apart, see `deforum.diffusion.families.apart`. `refines`: it may be XL's refiner. A hub name is looked up
    in the local cache; where `hub.downloads` allows it, `load_diffuser` downloads it. Raises UserError with every fault
    found, each at `where`. Does not import torch.
    """
    try:
        if prediction is not None and prediction not in PREDICTIONS:
            raise UserError(f"prediction is {prediction!r}; expected one of {', '.join(PREDICTIONS)}")
        return _with_parts(
            _resolve(model.strip(), prediction, roots, refines), vae.strip(), text_encoder.strip(), roots
        )
    except UserError as error:
        if not where:
            raise
        raise UserError(Problem(problem.message, where) for problem in error.problems) from None


def with_refiner(model: ModelSource, refiner: str, switch_at: float, roots: Sequence[Path] = ()) -> ModelSource:
    """Return a model whose frames a refiner ends, a name as for `resolve_model`; "" for none. Raises UserError."""
    if not refiner.strip():
        return model
    try:
        found = resolve_model(refiner, roots=roots, refines=True)
    except UserError as error:
        raise UserError(Problem(f"refiner: {problem.message}", problem.where) for problem in error.problems) from None
    both = FAMILIES.get(model.family), FAMILIES.get(found.family)
    channels = [
        read_config((each.config or each.path or Path()) / "vae" / "config.json").get("latent_channels", 4)
        for each in (model, found)
        if each.path is not None
    ]
    if (
        None in both
        or any(family is not None and family.spacing is not None for family in both)
        or len({*channels}) > 1
    ):
        raise UserError(
            f"refiner: {refiner} cannot refine what {model.name} paints; expected a model with the same latents, such "
            f"as the SDXL refiner for Stable Diffusion XL"
        )
    return replace(model, refiner=found, refiner_switch_at=switch_at)


def check_folder(name: str, folder: Path, prediction: str | None = None, *, refines: bool = False) -> ModelSource:
    """Check that a diffusers pipeline folder is complete and supported; raises UserError with every missing file."""
    index = read_config(folder / "model_index.json")
    families = _families(str(folder), index)
    if refines and index.get("text_encoder") in (None, [None, None]) and "text_encoder_2" in families[0].text_encoders:
        families = [FAMILIES[REFINER]]
    parts = families[0]  # families of one pipeline have the same parts
    lost = [part for part in parts.text_encoders if part in index and index.get(part) in (None, [None, None])]
    encoders = tuple(part for part in parts.text_encoders if not (part in lost and part in parts.optional))
    if lost := [part for part in lost if part not in parts.optional]:
        raise UserError(
            f"{folder}: it has no {', no '.join(lost)}: the SDXL refiner or another model that cannot paint a picture "
            f"alone; give the base model"
        )
    needed = (parts.network, "vae", *encoders)
    fp16 = tuple(part for part in needed if _weights(folder / part, "fp16") and not _weights(folder / part, ""))
    problems = list(_missing(folder, needed, fp16))
    if problems:
        raise UserError(Problem(problem) for problem in problems)
    for part in needed:
        for file in _weights(folder / part, "fp16" if part in fp16 else ""):
            _check_header(file, read_header(file))
    configs = {part: read_config(folder / part / "config.json") for part in needed}
    for part, config in configs.items():
        check_network(folder / part / "config.json", config)
    for part in encoders:
        if "CLIP" not in str(configs[part].get("architectures", "CLIP")):
            continue
        words = whole(folder / part / "config.json", configs[part], "vocab_size", 49408, _MOST_CHANNELS * 10)
        _check_vocabulary(folder / part.replace("text_encoder", "tokenizer"), words)
    network, vae = configs[parts.network], configs["vae"]
    family = next(family for family in families if _fits(family.network_config, network))
    _check_vae(folder / "vae" / "config.json", vae)
    taken = whole(folder / parts.network / "config.json", network, "in_channels", 4, _MOST_CHANNELS)
    made = whole(folder / "vae" / "config.json", vae, "latent_channels", 4, _MOST_CHANNELS)
    if taken != made * family.channels_per_latent:
        raise UserError(
            f"{folder}: the {family.network_name} takes {taken} channels and the autoencoder makes {made}: an "
            f"inpainting or other special model; use a plain text-to-image model"
        )
    _check_schedule(folder / "scheduler" / "scheduler_config.json", prediction, family)
    size = native_size(network, vae, family)
    return ModelSource(name, "folder", folder, family.name, prediction, None, size, fp16)


def token_width(model: ModelSource) -> tuple[int | None, str]:
    """Return the width of the prompt's tokens in a model with a UNet (else None), and the title of its family.

    Of a model that has to be downloaded first, (None, "").
    """
    folder = model.path if model.config is None else model.config
    if folder is None:
        return None, ""
    family = FAMILIES[model.family]
    width = read_config(folder / family.network / "config.json").get("cross_attention_dim")
    return (max(width) if isinstance(width, list) else width), family.title


def native_size(network: Mapping[str, Any], vae: Mapping[str, Any], family: Family) -> tuple[int, int]:
    """Return the width and height in px that the configurations of a network and its autoencoder name.

    `sample_size` counts latents, as a number or as height and width. A network without one has its family's.
    """
    latents = network.get("sample_size")
    if latents is None and family.size:
        return family.size, family.size
    if latents is None:
        latents = read_config(CONFIGS / family.name / family.network / "config.json")["sample_size"]
    height, width = latents if isinstance(latents, list) else (latents, latents)
    cell = 2 ** (len(vae.get("block_out_channels", [0])) - 1)
    return int(width) * cell, int(height) * cell


def _check_header(path: Path, header: Header) -> None:
    """Raise UserError for weights with separate scales, which the libraries would leave out."""
    scale = next((key for key in header.shapes if key.endswith((".scale_weight", ".weight_scale"))), None)
    if scale is not None:
        raise UserError(
            f"{path}: scaled weights ({scale[:80]}), which are read from single files only; give the model's single "
            f"file, or its fp16 folder"
        )


def _check_vae(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        raise UserError(f"{path}: a {str(kind)[:60]}; expected an AutoencoderKL")
    channels = config.get("latent_channels", 4)
    for key in ("latents_mean", "latents_std"):
        given = config.get(key)
        is_row = isinstance(given, list) and len(given) == channels and all(isinstance(n, int | float) for n in given)
        if given is not None and not is_row:
            raise UserError(f"{path}: {key} is {str(given)[:60]}; expected {channels} numbers, one for each channel")
    for key in ("scaling_factor", "shift_factor"):
        given = config.get(key)
        if given is not None and (not isinstance(given, int | float) or (key == "scaling_factor" and not given > 0)):
            raise UserError(f"{path}: {key} is {str(given)[:60]}; expected a number")


def _check_vocabulary(folder: Path, words: int) -> None:
    """Check that a tokenizer's words have numbers that the text encoder knows."""
    for path in (folder / "tokenizer.json", folder / "vocab.json"):
        if not path.is_file():
            continue
        if not _are_words(read_document(path), words, is_whole=path.name == "tokenizer.json"):
            raise UserError(
                f"{path}: not the vocabulary of a CLIP text encoder, whose {words:,} words are numbered from 0; copy "
                f"the folder {folder.name}/ from the model's origin"
            )


@lru_cache(maxsize=4)  # nearly all models have the same one or two
def _are_words(document: Document, words: int, *, is_whole: bool) -> bool:
    """Whether a vocabulary, or that of a whole tokenizer, has words with numbers below `words`, and nothing else."""
    vocabulary: Any = read_config(document)
    if is_whole:
        model = vocabulary.get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
    numbers = vocabulary.values() if isinstance(vocabulary, dict) else [None]
    return bool(vocabulary) and all(type(number) is int and 0 <= number < words for number in numbers)


def _check_schedule(path: Path, prediction: str | None, family: Family) -> None:
    from deforum.diffusion.sampling.flow import read_schedule

    try:
        read_schedule(read_config(path), prediction, family.spacing)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: {error}") from None


def _families(where: str, index: Mapping[str, Any]) -> list[Family]:
    """Return the families of a model_index.json's pipeline class, at least one; raises UserError for an unknown one."""
    pipeline = str(index.get("_class_name"))
    families = [family for family in FAMILIES.values() if pipeline in family.pipelines]
    if not families:
        raise UserError(f"{where}: a {pipeline}; expected {any_of()}")
    return families


def _fits(wanted: Mapping[str, object], config: Mapping[str, object]) -> bool:
    return all(config.get(key) == value for key, value in wanted.items())


def _resolve(model: str, prediction: str | None, roots: Sequence[Path], refines: bool = False) -> ModelSource:
    if model == "embedded":
        if not (DIFFUSION / "model_index.json").is_file():
            raise UserError(
                "the embedded model is missing from this installation; install the package again, or "
                "set `model` to a model of your own"
            )
        return check_folder(model, DIFFUSION, prediction)
    path = existing(model)
    if path is None or (path.is_dir() and not (path / "model_index.json").is_file()):
        path = library.look_up(MODELS, model, roots) or path
    if path is not None and path.is_dir():
        if not (path / "model_index.json").is_file():
            raise UserError(
                f"{model}: no model_index.json in this folder; expected a diffusers model folder, which "
                f"has one beside unet/, vae/ and text_encoder/"
            )
        return check_folder(model, path, prediction, refines=refines)
    if path is not None and path.is_file():
        if path.suffix.lower() not in (*SAFETENSORS, ".ckpt"):
            raise UserError(f"{model}: a model file must be .safetensors (or .ckpt); {_WAYS}")
        found = inspect_checkpoint(path, refines=refines)
        prediction = prediction or found.prediction or found.family.usual_prediction
        config = CONFIGS / found.family.name
        size = _size_of_file(found.family, prediction)
        source = ModelSource(model, "file", path, found.family.name, prediction, config, size, zero_snr=found.zero_snr)
        if found.family.spacing is not None and prediction is not None:
            raise UserError(f"prediction_type is {prediction}, and {model} is a flow-matching model; set it to auto")
        return source
    if model.lower().endswith(SUFFIXES) or not hub.is_name(model):
        if roots:
            raise library.missing(MODELS, model, roots)
        raise UserError(f"{cut(model)}: no such model file or folder; {_WAYS}")
    cached = hub.find_cached(model, "model_index.json")
    if cached is not None:
        return check_folder(model, cached, prediction, refines=refines)
    hub.expect_on_hub(model, "a folder or .safetensors file")
    family = _families(model, read_config(hub.fetch_file(model, "model_index.json")))[0]
    network, vae = (read_config(hub.fetch_file(model, f"{part}/config.json")) for part in (family.network, "vae"))
    return ModelSource(model, "hub", None, "", prediction, None, native_size(network, vae, family))


def _with_parts(source: ModelSource, vae: str, text_encoder: str, roots: Sequence[Path]) -> ModelSource:
    """Return the model with the parts that the user names, and those that its file lacks. Raises UserError."""
    if source.path is None or (source.kind == "folder" and not vae and not text_encoder):
        if vae or text_encoder:
            raise UserError(
                f"{source.name}: it has to be here before its {'vae' if vae else 'text_encoder'} is replaced"
            )
        return source
    family, title = FAMILIES[source.family], FAMILIES[source.family].title
    inside, has_vae, is_file = frozenset(family.slots.values()), True, source.kind == "file"
    if is_file:
        found = inspect_checkpoint(source.path, refines=source.family == REFINER)
        inside, has_vae = found.encoders if family.slots else frozenset(), found.has_autoencoder
    channels = read_config((source.config or source.path) / "vae" / "config.json").get("latent_channels", 4)
    problems, notes, path, encoders = list[Problem](), list[str](), None, dict[str, Path]()
    try:
        encoders = apart.find_encoders(text_encoder, family, inside, title, roots, required=is_file)
    except UserError as error:
        problems += error.problems
    try:
        if vae:
            path = apart.find_vae(vae, channels, title, roots)
        elif not has_vae:
            path = apart.only_vae(channels, title, roots)
            notes.append(f"vae: {path} is used, the only one that fits {title}")
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    parts = {slot: part for part, slot in family.slots.items()}
    given = tuple((parts[slot], file) for slot, file in encoders.items())
    if not text_encoder:
        notes += [f"text_encoder: {file} is used" for _, file in given]
    return replace(source, vae=path, text_encoders=given, notes=(*source.notes, *notes))


def _size_of_file(family: Family, prediction: str | None) -> tuple[int, int]:
    """Return the native size of a single file, px; one of unknown prediction type has that of the configurations."""
    other = family.other_sizes.get(prediction or "")
    if other:
        return other, other
    network, vae = (read_config(CONFIGS / family.name / part / "config.json") for part in (family.network, "vae"))
    return native_size(network, vae, family)


def _missing(folder: Path, parts: Sequence[str], fp16: tuple[str, ...]) -> Iterator[str]:
    """Yield a message for each missing file. Without a tokenizer a model would load and fail at the first prompt."""
    for part in parts:
        if not (folder / part / "config.json").is_file():
            yield f"{folder}: {part}/config.json is missing; is the model's download complete?"
        elif not _weights(folder / part, "fp16" if part in fp16 else ""):
            yield f"{folder}: {part}/ has no weights (.safetensors or .bin); is the model's download complete?"
    for part in (part for part in parts if part.startswith("text_encoder")):
        tokenizer = part.replace("text_encoder", "tokenizer")
        files = {file.name for file in (folder / tokenizer).glob("*")}
        if not files & _TOKENIZERS and not {"vocab.json", "merges.txt"} <= files:
            yield (
                f"{folder}: {tokenizer}/ has neither tokenizer.json nor vocab.json with merges.txt; without them "
                f"prompts cannot be read. Copy the folder {tokenizer}/ from the model's origin"
            )
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        yield f"{folder}: scheduler/scheduler_config.json is missing; it says which noise levels the model knows"


def _weights(folder: Path, variant: str) -> list[Path]:
    files = [file for file in folder.glob("*") if file.suffix in (".safetensors", ".bin")]
    return [file for file in files if (".fp16" in file.name) == (variant == "fp16")]
