"""Settings to the parts of the loop: the only place where all meet."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deforum.profile import PROFILES
from deforum.timeline import Frame, Timeline, sample

if TYPE_CHECKING:
    from deforum.animate import Diffuse, Stages
    from deforum.image import Image
    from deforum.settings import Settings


@dataclass(frozen=True)
class Animation:
    """A run ready to start: everything is checked, the models are loaded."""

    settings: Settings
    """Resolved: the seed is a number, not -1."""
    timeline: Timeline
    stages: Stages

    def frames(self) -> Iterator[tuple[Frame, Image]]:
        """Render every frame, in order, as (3, H, W) RGB float32 pictures in 0..1."""
        from deforum.animate import animate

        return animate(self.stages, self.timeline.spans(), on_time=self.timeline.on_time)


def resolve(settings: Settings) -> Settings:
    """Draw the seed where the settings leave it open (-1)."""
    return replace(settings, seed=secrets.randbits(32)) if settings.seed < 0 else settings


def check(settings: Settings) -> Timeline:
    """Find every mistake that can be found without loading a model, and give the sampled timeline.

    Raises UserError.
    """
    from deforum.diffusion import resolve_model, resolve_sampler

    timeline = sample(resolve(settings))
    resolve_model(settings.model)
    for name in dict.fromkeys(timeline.samplers):
        resolve_sampler(name)
    return timeline


def build(settings: Settings) -> Animation:
    """Check settings, load the models, and put the stages together. Raises UserError."""
    settings = resolve(settings)
    timeline = check(settings)

    from deforum.diffusion import load_diffuser, resolve_model

    diffuser = load_diffuser(
        resolve_model(settings.model),
        device=settings.device,
        precision=settings.precision,
        exact_step_count=PROFILES[settings.profile].exact_step_count,
        tiling=settings.tiling,
        prompt_blend=settings.prompt_blend,
    )

    def diffuse(init: Image | None, frame: Frame) -> Image:
        return diffuser(init, frame, width=settings.width, height=settings.height)

    return Animation(settings, timeline, stages_of(settings, diffuse))


def stages_of(settings: Settings, diffuse: Diffuse) -> Stages:
    """Choose the stages around a given diffusion."""
    from deforum.animate import Stages
    from deforum.modes import MODES, filters_after, filters_before, palette_of

    profile, mode = PROFILES[settings.profile], MODES[settings.animation_mode]
    return Stages(
        camera=mode.camera(settings, profile),
        source=mode.source(settings),
        before=filters_before(settings, profile),
        diffuse=diffuse,
        after=filters_after(settings),
        palette=palette_of(settings, profile),
    )
