"""How a model is sampled: the steps, guidance and sampler that it was made for. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from deforum.diffusion.families.find import ModelSource
from deforum.errors import UserError
from deforum.models.config import read_config
from deforum.models.weights import read_header


@dataclass(frozen=True)
class Usual:
    """The sampling that a model was made for."""

    title: str
    steps: int
    cfg_scale: float
    sampler: str
    most_steps: int = 0
    """Steps above which a model of few steps gains nothing; 0: a model of any number of steps."""
    most_cfg: float = 0.0
    """Guidance above which a model of few steps is burnt."""

    @property
    def words(self) -> str:
        return f'steps={self.steps} cfg_scale={self.cfg_scale:g} "sampler={self.sampler}"'


_FEW: tuple[tuple[str, Usual], ...] = (
    # (words in a model's name, the sampling that its authors name)
    (r"lightning", Usual("Lightning", 4, 1.0, "Euler SGM Uniform", 10, 2.0)),  # arXiv 2402.13929
    (
        r"hyper[-_ ]?(sd|sdxl|sd15|flux|lora|\d)|(sd|sdxl|sd15|flux)[-_ ]?hyper\b",
        Usual("Hyper", 8, 1.0, "TCD", 16, 3.5),
    ),
    (r"(?<![a-z])lcm(?![a-z])|latent[-_ ]?consistency", Usual("LCM", 6, 1.5, "LCM", 12, 3.0)),  # arXiv 2310.04378
    (r"(?<![a-z])tcd(?![a-z])", Usual("TCD", 6, 1.0, "TCD", 16, 3.0)),  # arXiv 2402.19159
    (r"(?<![a-z])dmd2?(?![a-z])", Usual("DMD", 4, 1.0, "LCM", 10, 2.0)),
    (r"schnell", Usual("schnell", 4, 1.0, "Euler", 8, 2.0)),
    (r"turbo", Usual("Turbo", 4, 1.0, "Euler a SGM Uniform", 12, 2.5)),
)
_TURBO = {
    "stable_diffusion_3": Usual("Turbo", 4, 1.0, "Euler", 12, 2.5),
    "z_image": Usual("Turbo", 9, 1.0, "Euler", 16, 2.5),
}
"""Turbo models of families that have another sampling than Stable Diffusion's."""
_FAMILIES = {
    "stable_diffusion_3": Usual("", 28, 4.5, "Euler"),
    "flux": Usual("", 28, 3.5, "Euler"),
    "z_image": Usual("", 28, 5.0, "Euler"),
    "lumina_2": Usual("", 30, 4.0, "Euler"),
}
"""Families whose models are not sampled with the defaults of the settings."""
_NETWORK = re.compile(r"<(?:lora|lyco):([^:<>]+)")
_STEPS = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?")


def usual_of(model: ModelSource) -> Usual | None:
    """Return the sampling that a model was made for; None where the defaults of the settings are right for it."""
    if model.name == "embedded":
        return None
    few = _few_steps(PurePosixPath(model.name.replace("\\", "/")).name)
    if model.family == "flux" and _lacks_guidance(model):
        few = few or _by_title("schnell")
    if few is None and model.family in ("sd1", "sdxl") and _reads_guidance(model):
        few = replace(_by_title("LCM"), cfg_scale=8.0, most_cfg=16.0)  # here CFG is an input of the network
    if few is not None and few.title == "Turbo":
        few = _TURBO.get(model.family, few)
    return few or _FAMILIES.get(model.family)


def few_step_note(model: ModelSource, networks: Iterable[str], steps: float, cfg_scale: float) -> str:
    """Return a line for a model, or a LoRA by name, of few steps that is asked for more; "" for none.

    `steps` and `cfg_scale` are the largest of the run.
    """
    usual = usual_of(model)
    named, what = usual, "model"
    if usual is None or not usual.most_steps:
        found = next(((few, name) for name in networks if (few := _few_steps(name)) is not None), None)
        named, what = (found[0], f"LoRA ({found[1][:40]})") if found else (usual, what)
    if named is None or not named.most_steps or (steps <= named.most_steps and cfg_scale <= named.most_cfg):
        return ""
    return (
        f"this is a {named.title} {what}, made for about {named.steps} steps and CFG {named.cfg_scale:g}, and gets "
        f"{steps:g} steps and CFG {cfg_scale:g}: set {named.words}"
    )


def networks_in(texts: Iterable[str]) -> list[str]:
    """Return the names of the LoRAs that prompts ask for."""
    return [name.strip() for text in texts for name in _NETWORK.findall(text)]


def _few_steps(name: str) -> Usual | None:
    name = name.lower()
    usual = next((each for words, each in _FEW if re.search(words, name)), None)
    count = _STEPS.search(name)
    return replace(usual, steps=max(int(count[1]), 1)) if usual is not None and count is not None else usual


def _by_title(title: str) -> Usual:
    return next(each for _, each in _FEW if each.title == title)


def _lacks_guidance(model: ModelSource) -> bool:
    """Whether a Flux model has no input for the guidance scale, as schnell."""
    if model.path is None:
        return False
    if model.path.is_dir():
        return not _config(model.path / "transformer" / "config.json").get("guidance_embeds", False)
    return not any("guidance_in." in name for name in _names(model.path))


def _reads_guidance(model: ModelSource) -> bool:
    """Whether a UNet takes the guidance scale as an input, as latent consistency models do."""
    if model.path is None:
        return False
    if model.path.is_dir():
        return bool(_config(model.path / "unet" / "config.json").get("time_cond_proj_dim"))
    return any(name.endswith("time_embed.cond_proj.weight") for name in _names(model.path))


def _config(path: Path) -> dict[str, object]:
    try:
        return read_config(path)
    except UserError:
        return {}


def _names(path: Path) -> Iterable[str]:
    try:
        return read_header(path).shapes
    except UserError:
        return ()
