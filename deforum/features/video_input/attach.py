"""The parts of Video Input: what frames are painted from, the camera that follows the clip, and the clip's colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from deforum.animation.parts import Moment, Palette, Source
from deforum.features.video_input import VideoSource
from deforum.flow import FlowModel, load_flow
from deforum.motion.flow_warp import FlowWarp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Device, Image
from deforum.timeline.frame import Frame
from deforum.video import Clip, open_clip

if TYPE_CHECKING:
    from deforum.models.kept import Models
    from deforum.settings.options import Settings


@dataclass(frozen=True)
class Video:
    """A clip that is open, and what finds its motion where feedback follows it."""

    clip: Clip
    flow: FlowModel | None

    def within(self, t: int) -> Image:
        """Give the clip's picture of frame t, or its last one."""
        return self.clip(min(t, len(self.clip) - 1) if self.clip.source.end == "stop" else t)


def load_video(source: VideoSource, settings: Settings, device: Device, models: Models) -> Video:
    """Open the clip, and load the model of optical flow. Raises UserError."""
    clip = open_clip(source.clip, settings.width, settings.height, fit=settings.clip_fit, device=device)
    return Video(clip, None if source.flow is None else models.get(partial(load_flow, source.flow, device)))


def frames_of(video: Video) -> Source:
    """Start each frame from the clip's, with `clip_feedback_init` of the frame before.

    What was painted is then painted over again: it is carried on from frame to frame, and the clip shows through less.
    """

    def source(moved: Image | None, moment: Moment) -> Image:
        picture = video.clip(moment.frame.index)
        return mix_in_previous(picture, moment, moment.frame.params.clip_feedback_init)

    return source


def feed_back(image: Image, moment: Moment) -> Image:
    """Hold what was painted to the frame before, by `clip_feedback`: a filter behind painting."""
    return mix_in_previous(image, moment, moment.frame.params.clip_feedback)


def mix_in_previous(image: Image, moment: Moment, share: float) -> Image:
    """Mix in the frame before, moved as the clip moves.

    That is where the clip's flow is the same forwards and backwards; elsewhere something comes into view, or the flow
    is wrong.
    """
    if moment.moved is None or moment.warp is None or share == 0:
        return image
    return torch.lerp(image, moment.moved, share * moment.warp.coverage())


@dataclass(frozen=True)
class ClipCamera:
    """Moves as what the clip shows does: pictures follow its optical flow from frame to frame."""

    clip: Callable[[int], Image]
    flow: FlowModel

    def look(self, scene: Image, frame: Frame) -> ClipCamera:
        return self

    def move(self, frame: Frame) -> tuple[FlowWarp, ClipCamera]:
        before, now = self.clip(frame.index - 1), self.clip(frame.index)
        # Bicubic: a picture that is fed back is sampled in every frame.
        return FlowWarp.of(self.flow(before, now), self.flow(now, before), sampling="bicubic"), self


def colors_of(video: Video, reference: Callable[[Image], ColorReference], every: int) -> Palette:
    """Hold to the clip's colours: those of frame 0, and new ones every so many frames."""
    known: dict[int, ColorReference] = {}

    def palette(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference:
        index = moment.frame.index // every * every
        if index not in known:
            known.clear()
            known[index] = reference(video.within(index))
        return known[index]

    return palette
