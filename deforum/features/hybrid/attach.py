"""Attaching hybrid video to the stages of an animation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.animation.palettes import palette_of
from deforum.animation.parts import Filter, Moment
from deforum.animation.stages import Stages
from deforum.depth import DepthModel, load_depth
from deforum.features.feature import Kit, Recording, Tell
from deforum.features.hybrid import HybridSource, starts_from_clip
from deforum.features.hybrid.camera import HybridCamera, dense_motion, from_clip, from_picture, whole_motion
from deforum.features.hybrid.composite import Composite
from deforum.features.saver import SavePicture
from deforum.flow import FlowModel, load_flow
from deforum.pixels.image import Image, Mask
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES


@dataclass(frozen=True)
class Hybrid:
    """The opened clip and loaded models of hybrid video."""

    clip: Callable[[int], Image]
    """Returns the clip's picture for each frame of the animation."""
    flow: FlowModel | None
    """Set when hybrid_motion is Optical Flow."""
    depth: DepthModel | None
    """Set when the composite mask needs depth."""


def attach(stages: Stages, found: HybridSource, kit: Kit) -> Stages:
    """Open the clip, load the flow and depth models, and add hybrid video to the stages. Raises UserError."""
    flow = None if found.flow is None else kit.load(load_flow, found.flow)
    depth = None if found.depth is None else kit.load(load_depth, found.depth)
    return with_hybrid(stages, kit.settings, Hybrid(kit.open(found.clip), flow, depth))


def with_hybrid(stages: Stages, settings: Settings, hybrid: Hybrid) -> Stages:
    """Add the clip's motion to the camera, and the composite with the clip to the filters."""
    clip, profile = hybrid.clip, PROFILES[settings.profile]
    camera, before, after = stages.camera, list(stages.before), list(stages.after)
    if settings.hybrid_motion != "None":
        motion = whole_motion(settings) if hybrid.flow is None else dense_motion(settings, profile, hybrid.flow)
        take_over = from_picture if settings.hybrid_motion_use_prev_img else from_clip
        # In 3D sampling_mode decides; a whole motion stays a matrix and is sampled like the camera's.
        finely = hybrid.flow is not None and not settings.mode.has_depth and profile.flow_is_bicubic
        camera = HybridCamera(camera, take_over(clip, motion), "bicubic" if finely else None)

    def shown(moment: Moment) -> Image:
        return clip(moment.frame.index)

    def moved(moment: Moment) -> Image:
        """Return the picture mixed in before the motion: the clip's previous frame, moved by the clip's motion.

        Mixing is linear, so moving both and then mixing equals mixing and then moving.
        """
        camera = moment.camera.within(HybridCamera)
        step = None if camera is None else camera.step
        return shown(moment) if step is None else step(clip(moment.frame.index - 1))

    match settings.hybrid_composite:
        case "Normal":
            before.insert(0, Composite(settings, shown, hybrid.depth))
        case "Before Motion":
            before.insert(0, Composite(settings, moved, hybrid.depth))
        case "After Generation":
            after.insert(0, Composite(settings, shown, hybrid.depth, profile.first_frame_is_composed))

    stages = replace(stages, camera=camera, before=before, after=after)
    if not starts_from_clip(settings):
        return stages
    holds_to_start = settings.color_coherence != "Video Input"
    palette = palette_of(settings, profile, clip(0)) if holds_to_start else stages.palette
    return replace(stages, source=lambda image, moment: clip(0) if image is None else image, palette=palette)


def record(stages: Stages, found: HybridSource, recording: Recording) -> Stages:
    """Save the parts of composites where hybrid_comp_save_extra_frames is on."""
    is_wanted = recording.settings.hybrid_comp_save_extra_frames
    return saving_extras(stages, recording.folder / "hybrid", recording.saver()) if is_wanted else stages


def saving_extras(stages: Stages, folder: Path, save: SavePicture) -> Stages:
    """Save the parts of composites as they are made: clip, mask, composite and result."""

    def save_extra(name: str, index: int, extra: Image | Mask) -> None:
        save(folder / name, index, extra)

    def saving(filters: Sequence[Filter]) -> list[Filter]:
        return [each.saving(save_extra) if isinstance(each, Composite) else each for each in filters]

    return replace(stages, before=saving(stages.before), after=saving(stages.after))


def own(stages: Stages, found: HybridSource, tell: Tell) -> Stages:
    """Tell where frames show the clip: after a composite that nothing paints over."""
    after = [each.telling(tell) if isinstance(each, Composite) else each for each in stages.after]
    return replace(stages, after=after)
