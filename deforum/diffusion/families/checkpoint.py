"""Detection of a single file's kind of model from its header: no weights are read and no pickle is executed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deforum.diffusion.families import FAMILIES, REFINER, Family, any_of
from deforum.diffusion.families.apart import slots_within
from deforum.errors import UserError
from deforum.models.pickled import SIZES
from deforum.models.weights import Header, read_header

_OTHER_MODELS = (
    # (pattern of a weight name's start, what the file is)
    (
        r"conditioner\.embedders\.0\.model\.",
        "the SDXL refiner, which cannot paint a picture alone; give the base model",
    ),
    (r"model\.diffusion_model\.double_stream_modulation_img\.", "a Flux.2 model"),
    (r"model\.diffusion_model\.(double_layers|joint_transformer_blocks)\.", "an AuraFlow model"),
    (r"cond_stage_model\.roberta\.", "an AltDiffusion model"),
    (r"embedder\.model\.|noise_augmentor\.", "an unCLIP model, which paints after a picture"),
)
"""Complete models of unsupported families."""
_PART = "one part of a diffusers model; give the folder that holds model_index.json"
_ALONE = "give a checkpoint with text encoder and autoencoder, or a diffusers folder"
_OTHER_FILES = (
    (r"lora_|.*\.lora_|.*\.lora\.(up|down)\.", "a LoRA: it changes another model and is none itself"),
    (r".*\.(hada_w|lokr_w|oft_blocks|oft_diag|boft_)", "a LyCORIS file: it changes another model and is none itself"),
    (r"(control_model|controlnet_\w+|controlnet)[._]|zero_convs\.|input_hint_block\.", "a ControlNet"),
    (r"adapter\.|body\.\d+\.resnets\.", "a T2I adapter"),
    (r"image_proj\.|ip_adapter\.", "an IP-Adapter"),
    (r".*motion_modules\.", "an AnimateDiff motion module"),
    *_OTHER_MODELS,
    (r"(input|middle|output)_blocks?\.", f"a UNet alone; {_ALONE}"),
    (
        r"model_ema\.",
        "the averaged weights (EMA) of a training alone, whose names lack their dots; give its usual file",
    ),
    (r"down_blocks\.|text_model\.", _PART),
    (r"vision_model\.", "an image encoder alone"),
    (r"first_stage_model\.|encoder\.(conv_in|down)|decoder\.(conv_in|up)", "an autoencoder alone"),
    (r"encoder\.block\.|shared\.weight$|model\.layers\.\d+\.(self_attn|mlp)\.", "a text encoder alone"),
    (r"emb_params|string_to_param|clip_[lg]$", "a textual inversion"),
    (r"params_ema|conv_first\.|body\.\d+\.(rdb|weight|bias)", "an upscaler"),
    (r"encoder\.", "an autoencoder alone"),
)
"""Kinds of file in which no known network was found."""
_KNOWN = f"expected a {any_of()} checkpoint"
_NETWORK = "model.diffusion_model."
_TRANSFORMER_STARTS = ("double_blocks.", "joint_blocks.", "noise_refiner.")
"""Names in the file of a transformer alone."""
_CHECKPOINT_STARTS = (_NETWORK, "vae.", "first_stage_model.", "text_encoders.")
_YAML = 1 << 20  # bytes of a file beside the model that are read

EDM_MARKS = ("edm_mean", "edm_std")
"""Tensors of a model with EDM's network, as Playground 2.5: mean and deviation of its latents' channels."""
EDM_V_MARKS = ("edm_vpred.sigma_min", "edm_vpred.sigma_max")
"""Tensors of a model with v-prediction on EDM's levels, as CosXL: its lowest and highest level."""


@dataclass(frozen=True)
class Checkpoint:
    """What a single file says of its model."""

    family: Family
    prediction: str | None
    """See `NoiseSchedule.prediction`; None where the file does not say it."""
    zero_snr: bool
    """Whether it was trained up to pure noise (zero terminal SNR)."""
    encoders: frozenset[str] = frozenset()
    """Keys of `apart.SLOTS` of the text encoders that it holds, where they may be apart."""
    has_autoencoder: bool = True


def inspect_checkpoint(path: Path, *, refines: bool = False) -> Checkpoint:
    """Return what a `.safetensors` or `.ckpt` file says of its model; raises UserError if it is unsupported.

    Only where it `refines` another model's pictures may it be XL's refiner.
    """
    header = read_header(path)
    names = today_names(header.shapes)
    if refines and any(name.startswith(FAMILIES[REFINER].file.text_encoder) for name in header.shapes):
        _check_kinds(path, header)
        return Checkpoint(FAMILIES[REFINER], *_said(path, header))
    family = _family(path, {names[name]: shape for name, shape in header.shapes.items()})
    _check_kinds(path, header)
    if family.spacing is not None:
        found = names.values()
        has_autoencoder = any(name.startswith(family.file.autoencoder) for name in found)
        return Checkpoint(family, None, False, slots_within(found), has_autoencoder)
    prediction, zero_snr = _said(path, header)
    return Checkpoint(family, prediction, zero_snr)


def today_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of a file's weights by which families are known, by the names in the file.

    They differ for transformers, which may lie in a file of their own, without the prefix of a checkpoint, and whose
    autoencoder has another prefix there.
    """
    given = list(names)
    alone = any(name.startswith(_TRANSFORMER_STARTS) for name in given)
    made: dict[str, str] = {}
    for name in given:
        if name.startswith("diffusion_model.") or (alone and not name.startswith(_CHECKPOINT_STARTS)):
            made[name] = f"{_NETWORK}{name.removeprefix('diffusion_model.')}"
        elif name.startswith("vae."):
            made[name] = f"first_stage_model.{name.removeprefix('vae.')}"
        else:
            made[name] = name
    return made


def _family(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Family:
    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in shapes)

    def missing(family: Family) -> list[str]:
        file = family.file
        parts = {family.network_name: file.network, "text encoder": file.text_encoder, "autoencoder": file.autoencoder}
        return [part for part, prefix in parts.items() if not has(prefix)]

    for flow in FAMILIES.values():
        if flow.spacing is not None and has(flow.file.network) and (not flow.file.mark or flow.file.mark in shapes):
            return _checked_transformer(path, flow, shapes)
    complete = [family for family in FAMILIES.values() if family.spacing is None and family.paints]
    family = min(complete, key=lambda family: len(missing(family)))
    if lacks := missing(family):
        others = _OTHER_FILES if family.network_name in lacks else _OTHER_MODELS
        if other := next((what for start, what in others if any(re.match(start, key) for key in shapes)), None):
            raise UserError(f"{path}: this is {other}; {_KNOWN}")
        raise UserError(f"{path}: the file has no {', no '.join(lacks)}; {_KNOWN}")
    network, usual = family.network_name, family.file.channels
    first = shapes.get(family.file.first_layer, ())
    channels = first[1] if len(first) > 1 else usual
    if channels != usual:
        kind = {9: "inpainting", 8: "instruct-pix2pix", 5: "depth-to-image"}.get(channels, "special")
        raise UserError(
            f"{path}: this is an {kind} model (its {network} takes {channels} channels instead of {usual}); "
            f"use the plain text-to-image model that it was made from"
        )
    if not family.file.has_labels and any(key.startswith(f"{_NETWORK}label_emb.") for key in shapes):
        raise UserError(
            f"{path}: this is an unCLIP model, which paints after a picture; use a plain text-to-image model"
        )
    return family


def _checked_transformer(path: Path, family: Family, shapes: Mapping[str, tuple[int, ...]]) -> Family:
    """Raise UserError for a transformer that is like those of a family and none of them."""
    from deforum.diffusion.families.layouts import LAYOUTS

    inner = {name.removeprefix(_NETWORK): shape for name, shape in shapes.items() if name.startswith(_NETWORK)}
    try:
        LAYOUTS[family.name].describe(inner)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{path}: a transformer like that of {family.title}, and another one ({str(error)[:80]}); {_KNOWN}"
        ) from None
    channels = shapes[family.file.first_layer][1]
    if channels != family.file.channels:
        raise UserError(
            f"{path}: this is a special model (its transformer takes {channels} channels instead of "
            f"{family.file.channels}: inpainting, depth, edges or another picture); use the plain text-to-image model "
            f"that it was made from"
        )
    return family


def _check_kinds(path: Path, header: Header) -> None:
    """Raise UserError for weights in a form that is not numbers, as quantisation leaves it."""
    for name, kind in header.kinds.items():
        is_number = kind in SIZES and (kind[0] in "FB" or kind == "I64")
        if name.endswith(".weight") and len(header.shapes[name]) > 1 and not is_number:
            raise UserError(
                f"{path}: quantised weights ({name[:80]}: {kind[:20]}); expected F32, F16, BF16 or F8, or F8 with "
                f"scale_weight. Use the model's fp16 file"
            )


def _said(path: Path, header: Header) -> tuple[str | None, bool]:
    """Read prediction type and zero terminal SNR from the tensors' names, the metadata, or the `.yaml` beside the file.

    The prediction type is None where nothing says it.
    """
    names, said = header.shapes, header.metadata
    beside = _read_beside(path)
    snr = re.search(r"^\s*(?:use_)?(?:ztsnr|zsnr|zero_\w*snr|rescale_betas_zero_snr)\s*:\s*true\b", beside, re.M | re.I)
    zero_snr = "ztsnr" in names or said.get("ss_zero_terminal_snr", "").lower() == "true" or snr is not None
    if set(EDM_MARKS) <= names.keys():
        return "edm", False
    if "v_pred" in names or set(EDM_V_MARKS) <= names.keys():
        return "v_prediction", zero_snr
    # Stability AI's modelspec and kohya's trainer; then the web UI's file.
    architecture = said.get("modelspec.architecture", "").lower()
    claims = [said.get(f"modelspec.{key}", "") for key in ("prediction_type", "predict_key")]
    claims.append("v" if re.search(r"768-v|v_pred|\bvpred", architecture) else "")
    claims.append("epsilon" if "epsilon" in architecture else "")
    claims.append({"true": "v", "false": "epsilon"}.get(said.get("ss_v_parameterization", "").lower(), ""))
    # `parameterization: "v"` of the older configs, `...denoiser_scaling.VScaling` of the newer.
    found = re.search(r"^\s*parameterization\s*:\s*[\"']?(\w+)", beside, re.M)
    claims += [found[1] if found else "", "v" if re.search(r"\.VScaling\b", beside) else ""]
    claims.append("epsilon" if re.search(r"\.EpsScaling\b", beside) else "")
    kinds = (_kind_of(claim) for claim in claims)
    return next((kind for kind in kinds if kind), None), zero_snr


def _kind_of(claim: str) -> str | None:
    word = claim.strip().lower()
    if word == "v" or word.startswith(("v_", "v-", "vpred")):
        return "v_prediction"
    if word.startswith("eps"):
        return "epsilon"
    return "sample" if word in ("x0", "sample") else None


def _read_beside(path: Path) -> str:
    """Read the web UI's config beside a model, "" where there is none."""
    try:
        with path.with_suffix(".yaml").open("rb") as file:
            return file.read(_YAML).decode(errors="replace")
    except OSError:
        return ""
