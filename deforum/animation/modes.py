"""What can be chosen for the parts of a frame's journey, as tables: a new mode is a new row and a new function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.animation.cameras import FlatCamera, StillCamera
from deforum.animation.depth_camera import DepthCamera
from deforum.animation.parts import Camera, Moment, Source
from deforum.depth import DepthModel
from deforum.features.video_input.attach import Video, frames_of
from deforum.pixels.image import Device, Image, read
from deforum.settings.profiles import Profile

if TYPE_CHECKING:
    from deforum.settings.options import Settings


def previous_frame(settings: Settings, video: Video | None) -> Source:
    """Start from the moved previous picture; the first frame from the init image, or from noise without one."""
    init = None if settings.init_image is None else read(Path(settings.init_image), settings.width, settings.height)

    def source(moved: Image | None, moment: Moment) -> Image | None:
        return init if moved is None else moved

    return source


def frame_of_clip(settings: Settings, video: Video | None) -> Source:
    """Start from the clip's frame."""
    assert video is not None
    return frames_of(video)


def noise_alone(settings: Settings, video: Video | None) -> Source:
    """Start from nothing."""
    return lambda moved, moment: None


@dataclass(frozen=True)
class Mode:
    """A row of the table of animation modes."""

    camera: Callable[[Settings, Profile, Device, DepthModel | None, bool], Camera]
    """Asked with the depth model, and whether its values are distances as they are."""
    source: Callable[[Settings, Video | None], Source]
    """Asked with the open clip, where there is one."""
    goes_on: bool
    """Each frame is painted from the one before. If not, frames do not depend on each other: they are painted several
    at a time, no filter changes what they are painted from, and colours are not held to those of another frame."""


def still(settings: Settings, profile: Profile, device: Device, *_: object) -> Camera:
    return StillCamera(settings, device)


MODES: dict[str, Mode] = {
    "2D": Mode(lambda settings, profile, device, *_: FlatCamera(settings, profile, device), previous_frame, True),
    "3D": Mode(DepthCamera, previous_frame, True),
    "Video Input": Mode(still, frame_of_clip, False),
    "Interpolation": Mode(still, noise_alone, False),
}
