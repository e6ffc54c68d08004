"""Diffusion of a frame with a model of any family in `families`.

`resolve_model` and `resolve_sampler` check a settings file's model and sampler without importing torch;
`load_diffuser` loads the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.diffusion.families.find import ModelSource, resolve_model
from deforum.diffusion.prompts.syntax import prompt_notes
from deforum.diffusion.sampling.samplers import find_sampler, resolve_sampler, sampler_note

if TYPE_CHECKING:
    from deforum.diffusion.diffuser import Diffuser
    from deforum.diffusion.prompts.inversions import Inversion
    from deforum.models.edges import Tiling

__all__ = [
    "ModelSource",
    "find_sampler",
    "load_diffuser",
    "prompt_notes",
    "resolve_model",
    "resolve_sampler",
    "sampler_note",
]


def load_diffuser(
    source: ModelSource,
    *,
    device: str,
    precision: str,
    exact_step_count: bool,
    fills_prompts: bool = True,
    tiling: Tiling = "none",
    prompt_blend: str = "linear",
    vae_refinement: int = 0,
    refine_from: float = 0.0,
    compensates: bool = False,
    memory: str = "auto",
    compile: str = "off",
    step_cache: int = 1,
    loras: tuple[tuple[str, Path], ...] = (),
    ip_adapters: tuple[tuple[Path, Path], ...] = (),
    sees_references: bool = False,
    inversions: Sequence[Inversion] = (),
    window: int = 0,
) -> Diffuser:
    """Load a model onto a device ("auto", "cpu", "cuda", "mps") in a precision ("auto", "fp32", "bf16", "fp16").

    `exact_step_count`: see `steps.count_steps`. `fills_prompts` pads the shorter of prompt and negative prompt with
    chunks of the empty prompt; False: see `encode.as_in_the_web_ui`. `tiling` makes pictures that tile: see
    `models.edges`. `prompt_blend` is the interpolation between prompt embeddings, "linear" or "spherical".
    `vae_refinement`: see `autoencoder.Autoencoder`; frames that keep a smaller share of their init than `refine_from`
    do without.
    `compensates` corrects decoded pictures in place of that, for the models that `compensation` covers. `memory` is
    "auto", or the mode of `models.room` to begin with: "full", "low", "lowest". `compile` is "off", or a mode of
    torch.compile: "default", "max-autotune". `step_cache` is the interval of full evaluations of the network, see
    `deep_cache`. `loras` are LoRA files by their names in frames. `ip_adapters` are IP-Adapter
    files, each with the folder of its image encoder. `sees_references`: frames may have a reference. `inversions` are
    the embeddings that prompts may name. `window` is the side in px of the windows of tiled diffusion, 0 for none.
    Raises UserError for a model that cannot be fetched or loaded.
    """
    from deforum.diffusion.adapters import reference
    from deforum.diffusion.adapters.ip_adapter.load import Pictured
    from deforum.diffusion.adapters.ip_adapter.load import join as join_ip_adapters
    from deforum.diffusion.adapters.lora.load import Joined, join
    from deforum.diffusion.diffuser import Diffuser
    from deforum.diffusion.families.clip import model_with
    from deforum.diffusion.families.load import load_model
    from deforum.diffusion.families.model import Model
    from deforum.models.device import choose_device
    from deforum.models.room import room_of

    room = room_of(choose_device(device))
    paths = tuple(dict.fromkeys(path for _, path in loras))
    joined: dict[Path, Joined] = {}
    pictured: list[Pictured] = []

    def adapt(model: Model) -> None:
        joined.update(join(paths, model.networks[0], model.text.modules))
        if sees_references:
            reference.prepare(model.networks[0])
        if ip_adapters:
            pictured.extend(join_ip_adapters(ip_adapters, model.networks[0]))

    model = load_model(
        source, device, precision, tiling=tiling, memory=memory, room=room, compile=compile, step_cache=step_cache,
        adapt=adapt,
    )  # fmt: skip
    for each in pictured:
        room.adopt(each.encoder)
        each.project.to(room.device)
    if inversions:
        model = model_with(model, inversions)
    return Diffuser(
        model,
        exact_step_count=exact_step_count,
        fills_prompts=fills_prompts,
        prompt_blend=prompt_blend,
        vae_refinement=vae_refinement,
        refine_from=refine_from,
        compensates=compensates,
        room=room,
        loras={name: joined[path] for name, path in loras},
        pictured=pictured,
        window=window,
    )
