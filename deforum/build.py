"""Settings to the parts of the loop: the only place where all meet."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.models import Models
from deforum.profile import PROFILES
from deforum.timeline import Frame, Timeline, sample
from schedules import ScheduleError, Variables

if TYPE_CHECKING:
    from deforum.animate import Stages
    from deforum.depth import DepthModel, DepthSource
    from deforum.image import Device, Image
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

        return animate(self.stages, self.timeline.spans())

    def saving_depth(self, folder: Path) -> Animation:
        """Save the depth map of every picture that the camera looks at, as it renders; in 2D there is none."""
        from deforum.cameras import DepthCamera
        from deforum.depth.maps import SavedMaps

        camera = self.stages.camera
        if not isinstance(camera, DepthCamera) or camera.model is None:
            return self
        saving = replace(camera, model=SavedMaps(camera.model, folder))
        return replace(self, stages=replace(self.stages, camera=saving))


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
    find_depth(settings)
    return timeline


def find_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model that the settings need; None where the scene is flat. Raises UserError if it is missing.

    A file of Deforum's whose model is missing is rendered with the embedded one.
    """
    from deforum.depth import resolve_depth

    if settings.animation_mode != "3D" or not settings.use_depth_warping:
        return None
    try:
        return resolve_depth(settings.depth_algorithm)
    except UserError:
        embedded = resolve_depth("embedded")
        if settings.profile != "deforum" or embedded is None:
            raise
        return replace(embedded, says=f"{settings.depth_algorithm} is not here: the embedded depth model stands in")


def notes(settings: Settings) -> tuple[str, ...]:
    """Say what is not as it was asked for, in a line each; mistakes are left for `check` to find."""
    from deforum.diffusion import prompt_notes, sampler_note

    texts = [settings.positive_prompt, *(text for _, text in settings.prompts), settings.negative_prompt]
    says = [note for text in texts for note in prompt_notes(text)]
    with suppress(UserError, ScheduleError):
        names = settings.sampler.sample(settings.max_frames, Variables(seed=settings.seed, fps=settings.fps))
        says += [sampler_note(name) for name in dict.fromkeys(names)]
    with suppress(UserError):
        depth = find_depth(settings)
        says += [f"depth_algorithm: {depth.says}"] if depth is not None and depth.says else []
    return tuple(dict.fromkeys(filter(None, says)))


def build(settings: Settings, models: Models | None = None) -> Animation:
    """Check settings, load the models, and put the stages together. Raises UserError.

    Models that `models` has are not loaded again; those that are loaded stay in it.
    """
    models = Models() if models is None else models
    settings = resolve(settings)
    timeline = check(settings)

    from deforum.depth import load_depth
    from deforum.diffusion import load_diffuser, resolve_model

    diffuser = models.get(
        partial(
            load_diffuser,
            resolve_model(settings.model),
            device=settings.device,
            precision=settings.precision,
            exact_step_count=PROFILES[settings.profile].exact_step_count,
            tiling=settings.tiling,
            prompt_blend=settings.prompt_blend,
        )
    )
    found = find_depth(settings)
    depth = None if found is None else models.get(partial(load_depth, found, diffuser.device))

    paint = partial(diffuser.diffuse_batch, width=settings.width, height=settings.height)
    stages = stages_of(settings, paint, diffuser.device, depth, depth_is_raw=found is not None and found.raw)
    return Animation(settings, timeline, stages)


Painter = Callable[[Sequence["Image | None"], Sequence[Frame]], list["Image"]]
"""The model, which knows frames only: paints those that do not depend on each other."""


def each(paint: Callable[[Image | None, Frame], Image]) -> Painter:
    """Make a painter of what paints a single frame."""
    return lambda inits, frames: [paint(init, frame) for init, frame in zip(inits, frames, strict=True)]


def stages_of(
    settings: Settings, painter: Painter, device: Device, depth: DepthModel | None = None, *, depth_is_raw: bool = False
) -> Stages:
    """Choose the stages around a given painter and a given depth model."""
    from deforum.animate import Moment, Stages, arrive, fade_in, in_turn
    from deforum.modes import MODES, filters_after, filters_before, palette_of

    def diffuse(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        return painter(inits, [moment.frame for moment in moments])

    profile, mode = PROFILES[settings.profile], MODES[settings.animation_mode]
    return Stages(
        camera=mode.camera(settings, profile, device, depth, depth_is_raw),
        source=mode.source(settings),
        before=filters_before(settings, profile),
        diffuse=diffuse,
        after=filters_after(settings),
        show=(),
        palette=palette_of(settings, profile),
        pace=in_turn(arrive if profile.keys_on_time else fade_in),
    )
