"""Models of flow matching: our loop paints what diffusers' pipelines paint, of the same latents and noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families import FAMILIES
from deforum.timeline.prompts import Prompt
from tests.diffusion.tiny import frame
from tests.diffusion.tiny_transformers import TinyFlow, build_flow

FLOW = [family.name for family in FAMILIES.values() if family.spacing]
SIZE = 64
STEPS = 4
PROMPT, NEGATIVE = "a red house, with blue hills", "ugly sea"


@pytest.fixture(scope="module")
def tinies() -> dict[str, TinyFlow]:
    return {family: build_flow(family) for family in FLOW}


@pytest.fixture(scope="module")
def flow_folders(tinies: dict[str, TinyFlow], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flow")
    return {family: model.save_folder(root / family) for family, model in tinies.items()}


def loaded(folder: Path) -> Diffuser:
    return load_diffuser(resolve_model(str(folder)), device="cpu", precision="fp32", exact_step_count=True)


@pytest.fixture
def noises(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The starting noise that was drawn."""
    from deforum.diffusion import diffuser

    drawn: list[torch.Tensor] = []
    draw = diffuser.starting_noise

    def noise(*args: Any, **kwargs: Any) -> torch.Tensor:
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(diffuser, "starting_noise", noise)
    yield drawn


def pipeline(tiny: TinyFlow, name: str) -> Any:
    import diffusers

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(tiny.scheduler)
    made = getattr(diffusers, name)(scheduler=scheduler, **tiny.parts)
    made.set_progress_bar_config(disable=True)
    return made


def packed(noise: torch.Tensor) -> torch.Tensor:
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(noise, *noise.shape)


def right(tiny: TinyFlow, noise: torch.Tensor, cfg: float) -> torch.Tensor:
    """The picture of diffusers' text-to-image pipeline."""
    common: dict[str, Any] = {
        "prompt": PROMPT, "num_inference_steps": STEPS, "width": SIZE, "height": SIZE, "output_type": "pt",
    }  # fmt: skip
    match tiny.family:
        case "stable_diffusion_3":
            found = pipeline(tiny, "StableDiffusion3Pipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg
            )
        case "flux":
            found = pipeline(tiny, "FluxPipeline")(**common, latents=packed(noise), guidance_scale=cfg)
        case "z_image":
            found = pipeline(tiny, "ZImagePipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg - 1
            )
        case _:
            found = pipeline(tiny, "Lumina2Pipeline")(
                **common, negative_prompt=NEGATIVE, latents=noise, guidance_scale=cfg
            )
    image: torch.Tensor = found.images[0]
    return image


@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("family", FLOW)
def test_our_loop_paints_what_the_pipeline_paints(
    family: str, cfg: float, tinies: dict[str, TinyFlow], flow_folders: dict[str, Path], noises: list[torch.Tensor]
) -> None:
    prompt = Prompt(PROMPT, NEGATIVE)
    made = loaded(flow_folders[family])(None, frame(prompt, steps=STEPS, cfg_scale=cfg), width=SIZE, height=SIZE)
    assert torch.allclose(made, right(tinies[family], noises[0][None], cfg), atol=1e-4)
    assert made.std() > 0.01
