"""The camera and the source of each animation mode, as a table. A new mode is a new row here, and its facts.

The facts of a mode, which need no torch, are in `deforum.settings.modes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deforum.animation.cameras import FlatCamera, StillCamera
from deforum.animation.depth_camera import DepthCamera
from deforum.animation.filters import Following, filters_after, filters_before
from deforum.animation.loop import apart, arrive, fade_in, in_turn
from deforum.animation.mix import CrossFade
from deforum.animation.painter import Painter, Painting
from deforum.animation.palettes import palette_of
from deforum.animation.parts import Camera, Moment, Source
from deforum.animation.stages import Pace, Stages
from deforum.depth import DepthModel
from deforum.pixels.image import Device, Image, read
from deforum.settings.modes import Mode
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES, Profile


@dataclass(frozen=True)
class ModeParts:
    """The camera and the source of a mode."""

    camera: Callable[[Settings, Profile, Device, DepthModel | None, bool], Camera]
    """Called with settings, profile, device, the depth model, and whether its values are unscaled distances."""
    source: Callable[[Settings, Device], Source]


def previous_frame(settings: Settings, device: Device) -> Source:
    """Start from the moved previous picture; the first frame from the init image, or from noise without one."""
    init = None if settings.init_image is None else read(Path(settings.init_image), *settings.size, device)

    def source(moved: Image | None, moment: Moment) -> Image | None:
        return init if moved is None else moved

    return source


def noise_alone(settings: Settings, device: Device) -> Source:
    """Start every frame from noise alone."""
    return lambda moved, moment: None


def flat(settings: Settings, profile: Profile, device: Device, *_: object) -> Camera:
    return FlatCamera(settings, profile, device)


def still(settings: Settings, profile: Profile, device: Device, *_: object) -> Camera:
    return StillCamera(settings, device)


MODES: Mapping[Mode, ModeParts] = {
    "2D": ModeParts(flat, previous_frame),
    "3D": ModeParts(DepthCamera, previous_frame),
    "Video Input": ModeParts(still, noise_alone),  # its feature puts the clip's frames in
    "Interpolation": ModeParts(still, noise_alone),
}


def pace_of(settings: Settings) -> Pace:
    """Choose the pace for frames that are painted from the previous ones."""
    return in_turn(arrive if settings.keys_on_time else fade_in)


def stages_of(
    settings: Settings,
    painter: Painter,
    device: Device,
    depth: DepthModel | None = None,
    *,
    depth_is_raw: bool = False,
    room: int = 1,
    following: Following | None = None,
) -> Stages:
    """Build the stages around a painter and a depth model, without any feature.

    `room` is the batch size for independent frames. With `following` the noise between frames is drawn ahead.
    """
    profile, row = PROFILES[settings.profile], MODES[settings.animation_mode]
    return Stages(
        camera=row.camera(settings, profile, device, depth, depth_is_raw),
        source=row.source(settings, device),
        before=filters_before(settings, profile, following),
        painting=Painting(painter),
        after=filters_after(settings),
        between=(),
        show=(),
        palette=palette_of(settings, profile),
        pace=pace_of(settings) if settings.mode.goes_on else apart(room),
        mix=CrossFade(),
    )
