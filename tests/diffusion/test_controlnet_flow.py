"""ControlNets of transformers: our loop paints what diffusers' pipelines paint, of the same latents and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.find import find_control
from deforum.diffusion.adapters.load import load_units
from deforum.diffusion.noise import starting_noise
from deforum.errors import UserError
from deforum.timeline.control import Control
from deforum.timeline.prompts import Prompt
from tests.diffusion.tiny import frame
from tests.diffusion.tiny_transformers import TRANSFORMERS, TinyFlow, build_flow

SIZE, STEPS, CPU = 64, 4, torch.device("cpu")
PROMPT, NEGATIVE = "a red house, with blue hills", "ugly sea"
NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # the class, the model's family, what is different of the model's transformer
    "sd3": ("SD3ControlNetModel", "stable_diffusion_3", {"num_layers": 1, "dual_attention_layers": ()}),
    "sd3, pooled": (
        "SD3ControlNetModel", "stable_diffusion_3", {"num_layers": 2, "force_zeros_for_pooled_projection": False},
    ),
    "flux": ("FluxControlNetModel", "flux", {"num_layers": 1, "num_single_layers": 1}),
    "flux, union": ("FluxControlNetModel", "flux", {"num_layers": 1, "num_single_layers": 0, "num_mode": 5}),
}  # fmt: skip


@pytest.fixture(scope="module")
def tinies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TinyFlow, Path]]:
    root = tmp_path_factory.mktemp("flow")
    made = {family: build_flow(family) for family in ("stable_diffusion_3", "flux")}
    return {family: (tiny, tiny.save_folder(root / family)) for family, tiny in made.items()}


def hint() -> torch.Tensor:
    made = torch.zeros(3, SIZE, SIZE)
    made[:, 20:24], made[:, :, 40:44] = 1, 1
    return made


def network_of(kind: str) -> Any:
    name, family, more = NETWORKS[kind]
    torch.manual_seed(3)
    keys = ("sample_size", "patch_size", "in_channels", "attention_head_dim", "num_attention_heads",
            "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim", "out_channels",
            "pos_embed_max_size", "guidance_embeds", "axes_dims_rope", "qk_norm")  # fmt: skip
    config = {key: value for key, value in TRANSFORMERS[family].items() if key in keys}
    cls: Any = getattr(diffusers, name)
    network = cls(**config | more)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return network.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NETWORKS)
def test_our_loop_paints_what_the_pipeline_paints(
    kind: str, tinies: dict[str, tuple[TinyFlow, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, folder = tinies[NETWORKS[kind][1]]
    network = network_of(kind)
    network.save_pretrained(tmp_path)
    # The pipelines draw the latents of the control picture; ours are the middle of what the encoder deems likely.
    gaussian = "diffusers.models.autoencoders.vae.DiagonalGaussianDistribution"
    monkeypatch.setattr(f"{gaussian}.sample", lambda self, generator=None: self.mode())
    cls = diffusers.StableDiffusion3ControlNetPipeline if kind.startswith("sd3") else diffusers.FluxControlNetPipeline
    scheduler: Any = diffusers.FlowMatchEulerDiscreteScheduler
    pipe = cls(scheduler=scheduler.from_config(tiny.scheduler), controlnet=network, **tiny.parts)
    pipe.set_progress_bar_config(disable=True)
    on = frame(Prompt(PROMPT, NEGATIVE), steps=STEPS, cfg_scale=3.5)
    model = resolve_model(str(folder))
    diffuser = load_diffuser(model, device="cpu", precision="fp32", exact_step_count=True)
    noise = starting_noise((16, SIZE // diffuser.factor, SIZE // diffuser.factor), on, diffuser.factor)[None]
    # (Of tensors they expect -1..1, and of pictures 0..1.)
    ask: dict[str, Any] = {
        "prompt": PROMPT, "num_inference_steps": STEPS, "width": SIZE, "height": SIZE, "output_type": "pt",
        "control_image": hint()[None] * 2 - 1, "controlnet_conditioning_scale": 0.8, "guidance_scale": 3.5,
    }  # fmt: skip
    if kind.startswith("sd3"):
        ask |= {"latents": noise, "negative_prompt": NEGATIVE}
    else:
        ask["latents"] = diffusers.FluxPipeline._pack_latents(noise, *noise.shape)
        ask |= {"control_mode": 2} if "union" in kind else {}
    with torch.inference_mode():
        theirs = pipe(**ask).images[0]
    source = find_control(str(tmp_path), model)
    [unit] = load_units(((source.for_task(2) if "union" in kind else source,), torch.float32), CPU)
    control = Control(unit, hint(), 0.8, 0.0, 1.0)
    controlled = frame(Prompt(PROMPT, NEGATIVE), steps=STEPS, cfg_scale=3.5, controls=(control,))
    ours = diffuser(None, controlled, width=SIZE, height=SIZE)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, diffuser(None, on, width=SIZE, height=SIZE), atol=1e-3)


def test_a_unit_of_another_family_is_refused(tinies: dict[str, tuple[TinyFlow, Path]], tmp_path: Path) -> None:
    network_of("flux").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"made for Flux.1; the model is Stable Diffusion 3"):
        find_control(str(tmp_path), resolve_model(str(tinies["stable_diffusion_3"][1])))
