"""The parts of Video Input: the source of frames, the camera that follows the clip, and the clip's colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from deforum.animation.modes import pace_of
from deforum.animation.palettes import reference_of
from deforum.animation.parts import Camera, Moment, Palette, Source
from deforum.animation.stages import Stages
from deforum.features.feature import Kit
from deforum.features.video_input import HOLD_TO, VideoSource
from deforum.flow import FlowModel, load_flow
from deforum.motion.flow_warp import FlowWarp
from deforum.pixels.color import ColorReference
from deforum.pixels.image import Image
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES
from deforum.timeline.frame import Frame
from deforum.video import Clip


@dataclass(frozen=True)
class Video:
    """An open clip, and the optical flow model for feedback."""

    clip: Clip
    flow: FlowModel | None

    def frame_or_last(self, t: int) -> Image:
        """Return the clip's picture of frame t, or its last one after its end."""
        return self.clip(min(t, len(self.clip) - 1) if self.clip.source.end == "stop" else t)


def attach(stages: Stages, found: VideoSource, kit: Kit) -> Stages:
    """Open the clip, load the optical flow model, and use the clip's frames or colours. Raises UserError."""
    flow = None if found.flow is None else kit.load(load_flow, found.flow)
    return with_video(stages, kit.settings, Video(kit.open(found.clip), flow))


def with_video(stages: Stages, settings: Settings, video: Video) -> Stages:
    """Paint over the frames of a clip, independently or with feedback, or only match its colours."""
    profile = PROFILES[settings.profile]
    if settings.color_coherence == HOLD_TO and settings.mode.holds(HOLD_TO):
        every = settings.color_coherence_video_every_n_frames
        stages = replace(stages, palette=colors_of(video, reference_of(settings, profile), every))
    if settings.mode.reads_clip:
        stages = replace(stages, source=frames_of(video))
    if video.flow is None:
        return stages
    camera, after = ClipCamera(video.clip, video.flow), [feed_back, *stages.after]
    return replace(stages, camera=camera, after=after, pace=pace_of(settings))


def frames_of(video: Video) -> Source:
    """Start each frame from the clip's, with a share `clip_feedback_init` of the previous frame mixed in.

    Painted content is then carried on from frame to frame, and the clip shows through less.
    """

    def source(moved: Image | None, moment: Moment) -> Image:
        picture = video.clip(moment.frame.index)
        return mix_in_previous(picture, moment, moment.frame.params.clip_feedback_init)

    return source


def feed_back(image: Image, moment: Moment) -> Image:
    """Mix a share `clip_feedback` of the previous frame into the painted one: a filter after diffusion."""
    return mix_in_previous(image, moment, moment.frame.params.clip_feedback)


def mix_in_previous(image: Image, moment: Moment, share: float) -> Image:
    """Mix in the previous frame, moved with the clip.

    This acts only where the clip's forward and backward flow agree; elsewhere something comes into view, or the flow
    is wrong.
    """
    if moment.moved is None or moment.warp is None or share == 0:
        return image
    return torch.lerp(image, moment.moved, share * moment.warp.coverage())


@dataclass(frozen=True)
class ClipCamera(Camera):
    """A camera that moves pictures by the clip's optical flow from frame to frame."""

    clip: Callable[[int], Image]
    flow: FlowModel

    def look(self, scene: Image, frame: Frame) -> ClipCamera:
        return self

    def move(self, frame: Frame) -> tuple[FlowWarp, ClipCamera]:
        before, now = self.clip(max(frame.index - 1, 0)), self.clip(frame.index)
        # Bicubic, because feedback resamples the picture in every frame.
        return FlowWarp.of(self.flow(before, now), self.flow(now, before), sampling="bicubic"), self


def colors_of(video: Video, reference: Callable[[Image], ColorReference], every: int) -> Palette:
    """Use the clip's colours as the reference, renewed every `every` frames from frame 0 on."""
    known: dict[int, ColorReference] = {}

    def palette(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference:
        index = moment.frame.index // every * every
        if index not in known:
            known.clear()
            known[index] = reference(video.frame_or_last(index))
        return known[index]

    return palette
