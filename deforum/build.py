"""Settings to the parts of the loop: the only place where all meet."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deforum.features import video_input
from deforum.features.find import Found, find
from deforum.features.guided_images import with_guides
from deforum.models.kept import Models
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline, sample

if TYPE_CHECKING:
    import torch

    from deforum.animation.painter import Painter
    from deforum.animation.parts import Stages
    from deforum.depth import DepthModel
    from deforum.diffusion.pixel_strength import Paint
    from deforum.features.masks.compose import Masks
    from deforum.features.video_input.attach import Video
    from deforum.pixels.image import Device, Image
    from deforum.settings.options import Settings

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Animation:
    """A run ready to start: everything is checked, the models are loaded."""

    settings: Settings
    """Resolved: the seed is a number, not -1."""
    timeline: Timeline
    stages: Stages
    masks: Masks | None = None

    def frames(self) -> Iterator[tuple[Frame, Image]]:
        """Render every frame, in order, as (3, H, W) RGB float32 pictures in 0..1."""
        from deforum.animation.loop import animate

        return animate(self.stages, self.timeline.spans())

    def keeping_depth(self, keep: Callable[[int, torch.Tensor], None]) -> Animation:
        """Have the depth of every frame told, as it renders: its index, and (H, W) in scene units. In 2D there is none.

        A frame comes again when its depth is found anew.
        """
        from deforum.animation.depth_camera import keeping_depth

        return replace(self, stages=replace(self.stages, camera=keeping_depth(self.stages.camera, keep)))

    def saving_disocclusion(self, folder: Path) -> Animation:
        """Save where each diffused frame shows what the one before did not, as it renders."""
        from deforum.features.disocclusion import saving_uncovered

        return replace(self, stages=replace(self.stages, diffuse=saving_uncovered(self.stages.diffuse, folder)))

    def saving_masks(self, folder: Path) -> Animation:
        """Save the mask of each diffused frame, as it renders; without masks there are none."""
        from deforum.features.masks.attach import saving_masks

        if self.masks is None or not self.masks.source.paint:
            return self
        return replace(self, stages=replace(self.stages, diffuse=saving_masks(self.stages.diffuse, self.masks, folder)))

    def saving_composites(self, folder: Path) -> Animation:
        """Save what the composites with a clip are made from, as it renders; without hybrid video there are none."""
        from deforum.features.hybrid.attach import saving_extras

        return replace(self, stages=saving_extras(self.stages, folder))


def resolve(settings: Settings) -> Settings:
    """Draw the seed where the settings leave it open (-1), and settle the length where a clip decides it.

    Raises UserError where that clip is not there.
    """
    settings = video_input.as_long_as_the_clip(settings)
    return replace(settings, seed=secrets.randbits(32)) if settings.seed < 0 else settings


def check(settings: Settings) -> Timeline:
    """Find every mistake that can be found without loading a model, and give the sampled timeline.

    Raises UserError.
    """
    return _prepare(resolve(settings))[0]


def _prepare(settings: Settings) -> tuple[Timeline, Found]:
    from deforum.diffusion import resolve_sampler

    timeline = sample(settings)
    for name in dict.fromkeys(timeline.samplers):
        resolve_sampler(name)
    return timeline, find(settings)


def build(settings: Settings, models: Models | None = None) -> Animation:
    """Check settings, load the models, and put the stages together. Raises UserError.

    Models that `models` has are not loaded again; those that are loaded stay in it.
    """
    models = Models() if models is None else models
    settings = resolve(settings)
    timeline, found = _prepare(settings)

    from deforum.animation.modes import MODES
    from deforum.depth import load_depth
    from deforum.diffusion import load_diffuser
    from deforum.features.flow_cadence import with_flow
    from deforum.features.hybrid.attach import load_hybrid, with_hybrid
    from deforum.features.masks.attach import with_masks
    from deforum.features.masks.compose import load_masks
    from deforum.features.moving_noise import with_moving_noise
    from deforum.features.redo import with_redo
    from deforum.features.video_input.attach import load_video
    from deforum.flow import load_flow
    from deforum.motion.places import Places

    profile = PROFILES[settings.profile]
    diffuser = models.get(
        partial(
            load_diffuser,
            found.model,
            device=settings.device,
            precision=settings.precision,
            exact_step_count=profile.exact_step_count,
            tiling=settings.tiling,
            prompt_blend=settings.blending,
            vae_refinement=int(profile.true_latents) if settings.vae_refinement < 0 else settings.vae_refinement,
        )
    )
    device = diffuser.device

    def load(loader: Callable[[S, Device], T], source: S | None) -> T | None:
        return None if source is None else models.get(partial(loader, source, device))

    depth, mask_depth = load(load_depth, found.depth), load(load_depth, found.mask_depth)
    masks = video = clip = None
    if found.masks is not None:
        masks = load_masks(found.masks, settings, profile, device, mask_depth, models)
    if found.video is not None:
        video = load_video(found.video, settings, device, models)
    if found.hybrid is not None:
        clip = load_hybrid(found.hybrid, settings, device, mask_depth, models)
    stages = stages_of(
        settings,
        partial(diffuser.diffuse_batch, width=settings.width, height=settings.height),
        device,
        depth,
        depth_is_raw=found.depth is not None and found.depth.raw,
        masks=masks,
        video=video,
    )
    # From the inside out: what is added last acts first before painting, and last behind it.
    stages = with_flow(stages, load(load_flow, found.cadence_flow))
    stages = with_redo(stages, settings, load(load_flow, found.redo_flow))
    stages = stages if found.guides is None else with_guides(stages, found.guides, settings, profile, device)
    stages = stages if clip is None else with_hybrid(stages, settings, clip)
    if settings.noise_follows_camera and MODES[settings.animation_mode].goes_on:
        stages = with_moving_noise(stages, Places.of(settings.width, settings.height, diffuser.factor))
    stages = stages if masks is None else with_masks(stages, settings, masks)
    return Animation(settings, timeline, stages, masks)


def each(paint: Callable[[Image | None, Frame], Image]) -> Painter:
    """Make a painter of what paints a single frame, and paints it everywhere."""

    def painter(
        inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
    ) -> list[Image]:
        return [paint(init, frame) for init, frame in zip(inits, frames, strict=True)]

    return painter


def stages_of(
    settings: Settings,
    painter: Painter,
    device: Device,
    depth: DepthModel | None = None,
    *,
    depth_is_raw: bool = False,
    masks: Masks | None = None,
    video: Video | None = None,
) -> Stages:
    """Choose the stages around a given painter, a given depth model, given masks and a given clip."""
    from deforum.animation.filters import filters_after, filters_before
    from deforum.animation.loop import apart, arrive, fade_in, in_turn
    from deforum.animation.mix import CrossFade
    from deforum.animation.modes import MODES
    from deforum.animation.painter import by_paint
    from deforum.animation.palettes import palette_of
    from deforum.animation.parts import Stages
    from deforum.diffusion.diffuser import batch_size
    from deforum.features.disocclusion import Repaint
    from deforum.features.video_input.attach import ClipCamera, feed_back

    profile, mode = PROFILES[settings.profile], MODES[settings.animation_mode]
    is_repainted = settings.animation_mode == "3D" and settings.disocclusion == "repaint"
    repaints = [Repaint(settings)] if is_repainted else []
    camera, after = mode.camera(settings, profile, device, depth, depth_is_raw), filters_after(settings)
    goes_on = mode.goes_on
    if video is not None and video.flow is not None:
        camera, after, goes_on = ClipCamera(video.clip, video.flow), [feed_back, *after], True
    before = [*filters_before(settings, profile, masks), *(each.noise for each in repaints)]
    room = settings.batch_size or batch_size(device, settings.width, settings.height)
    return Stages(
        camera=camera,
        source=mode.source(settings, video),
        before=before if mode.goes_on else (),
        diffuse=by_paint(painter, masks, settings, [each.strength for each in repaints]),
        after=after,
        show=(),
        palette=palette_of(settings, profile, video=video),
        mix=CrossFade(),
        pace=in_turn(arrive if profile.keys_on_time else fade_in) if goes_on else apart(room),
    )
