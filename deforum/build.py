"""Settings to the parts of the loop: the only place where all meet."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deforum import hybrid, video_input
from deforum.errors import UserError
from deforum.guided import find_guides, guided
from deforum.masks import find_masks, masks_by_depth
from deforum.models import Models
from deforum.options import OPTIONS
from deforum.profile import PROFILES
from deforum.timeline import Frame, Timeline, sample
from schedules import ScheduleError, Variables

if TYPE_CHECKING:
    import torch

    from deforum.animate import Stages
    from deforum.depth import DepthModel, DepthSource
    from deforum.diffusion.paint import Paint
    from deforum.flow import FlowSource
    from deforum.image import Device, Image
    from deforum.masks.compose import Masks
    from deforum.masks.painting import Painter
    from deforum.settings import Settings
    from deforum.video_input.stages import Video


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
        from deforum.animate import animate

        return animate(self.stages, self.timeline.spans())

    def keeping_depth(self, keep: Callable[[int, torch.Tensor], None]) -> Animation:
        """Have the depth of every frame told, as it renders: its index, and (H, W) in scene units. In 2D there is none.

        A frame comes again when its depth is found anew.
        """
        from deforum.cameras import keeping_depth

        return replace(self, stages=replace(self.stages, camera=keeping_depth(self.stages.camera, keep)))

    def saving_disocclusion(self, folder: Path) -> Animation:
        """Save where each diffused frame shows what the one before did not, as it renders."""
        from deforum.disocclusion import saving_uncovered

        return replace(self, stages=replace(self.stages, diffuse=saving_uncovered(self.stages.diffuse, folder)))

    def saving_masks(self, folder: Path) -> Animation:
        """Save the mask of each diffused frame, as it renders; without masks there are none."""
        from deforum.masks.painting import saving_masks

        if self.masks is None or not self.masks.source.paint:
            return self
        return replace(self, stages=replace(self.stages, diffuse=saving_masks(self.stages.diffuse, self.masks, folder)))

    def saving_composites(self, folder: Path) -> Animation:
        """Save what the composites with a clip are made from, as it renders; without hybrid video there are none."""
        from deforum.hybrid.stages import saving_extras

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
    from deforum.diffusion import resolve_model, resolve_sampler

    timeline = sample(resolve(settings))
    resolve_model(settings.model)
    for name in dict.fromkeys(timeline.samplers):
        resolve_sampler(name)
    find_depth(settings)
    find_mask_depth(settings)
    find_masks(settings)
    find_guides(settings)
    hybrid.find_hybrid(settings)
    for name in FLOWS:
        find_flow(settings, name)
    video_input.find_video(settings)
    return timeline


FLOWS = ("optical_flow_cadence", "optical_flow_redo_generation")
"""Settings that name an estimator of optical flow, besides hybrid video's."""


def find_flow(settings: Settings, name: str) -> FlowSource | None:
    """Find the optical flow that a setting of `FLOWS` names; None where it is off. Raises UserError if it is missing.

    A file of Deforum's that asks for RAFT without its weights is rendered with DIS Fine.
    """
    from deforum.flow import FlowSource, resolve_flow

    method = getattr(settings, name) if settings.animation_mode in OPTIONS[name].modes else "None"
    try:
        return resolve_flow(method, name)
    except UserError:
        if settings.profile != "deforum":
            raise
        return FlowSource("DIS Fine", says=f"{method} is not here: DIS Fine stands in")


def find_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model that the settings need; None where the scene is flat. Raises UserError if it is missing.

    A file of Deforum's whose model is missing is rendered with the embedded one.
    """
    return _depth_named(settings) if settings.animation_mode == "3D" and settings.use_depth_warping else None


def find_mask_depth(settings: Settings) -> DepthSource | None:
    """Find the depth model that masks ask; None where they ask none. Raises UserError as `find_depth` does."""
    needed = masks_by_depth(settings) or hybrid.masks_by_depth(settings)
    found = _depth_named(settings) if needed else None
    if found is None and hybrid.masks_by_depth(settings):
        kind = settings.hybrid_comp_mask_type
        raise UserError(f"hybrid_comp_mask_type: {kind} needs a depth model, but depth_algorithm is none")
    return found


def _depth_named(settings: Settings) -> DepthSource | None:
    from deforum.depth import resolve_depth

    try:
        found = resolve_depth(settings.depth_algorithm)
        return found if found is None or found.midas is None else replace(found, midas_share=settings.midas_weight)
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
    for name in FLOWS:
        with suppress(UserError):
            flow = find_flow(settings, name)
            says += [f"{name}: {flow.says}"] if flow is not None and flow.says else []
    with suppress(UserError):
        clip = hybrid.find_hybrid(settings)
        says += [f"hybrid_flow_method: {clip.flow.says}"] if clip is not None and clip.flow and clip.flow.says else []
    says += video_input.sound_notes(settings)
    if hybrid.starts_from_clip(settings) and settings.init_image is not None and not settings.hybrid_use_init_image:
        says.append("init_image: not used, as hybrid_use_first_frame_as_init_image starts from the clip")
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
    from deforum.flow import load_flow
    from deforum.flow.cadence import with_flow
    from deforum.hybrid.stages import load_hybrid, with_hybrid
    from deforum.masks.compose import load_masks
    from deforum.masks.painting import with_masks
    from deforum.redo import with_redo
    from deforum.video_input.stages import load_video

    diffuser = models.get(
        partial(
            load_diffuser,
            resolve_model(settings.model),
            device=settings.device,
            precision=settings.precision,
            exact_step_count=PROFILES[settings.profile].exact_step_count,
            tiling=settings.tiling,
            prompt_blend=settings.blending,
        )
    )
    found = find_depth(settings)
    depth = None if found is None else models.get(partial(load_depth, found, diffuser.device))

    paint = partial(diffuser.diffuse_batch, width=settings.width, height=settings.height)
    near = find_mask_depth(settings)
    depth_of_masks = None if near is None else models.get(partial(load_depth, near, diffuser.device))
    masks = None
    if (found_masks := find_masks(settings)) is not None:
        masks = load_masks(found_masks, settings, PROFILES[settings.profile], diffuser.device, depth_of_masks, models)
    source = video_input.find_video(settings)
    stages = stages_of(
        settings,
        paint,
        diffuser.device,
        depth,
        depth_is_raw=found is not None and found.raw,
        masks=masks,
        video=None if source is None else load_video(source, settings, diffuser.device, models),
    )
    cadence, redo = (
        None if flow is None else models.get(partial(load_flow, flow, diffuser.device))
        for flow in (find_flow(settings, name) for name in FLOWS)
    )
    stages = with_redo(with_flow(stages, cadence), settings, redo)
    if (guides := find_guides(settings)) is not None:
        profile = PROFILES[settings.profile]
        stages = replace(stages, diffuse=guided(stages.diffuse, guides, settings, profile, diffuser.device))
    if (clip := hybrid.find_hybrid(settings)) is not None:
        stages = with_hybrid(stages, settings, load_hybrid(clip, settings, diffuser.device, depth_of_masks, models))
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
    from deforum.animate import Stages, apart, arrive, fade_in, in_turn
    from deforum.diffusion.batch import batch_size
    from deforum.disocclusion import Repaint
    from deforum.masks.painting import by_paint
    from deforum.modes import MODES, filters_after, filters_before, palette_of
    from deforum.video_input.stages import ClipCamera, feed_back

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
        pace=in_turn(arrive if profile.keys_on_time else fade_in) if goes_on else apart(room),
    )
