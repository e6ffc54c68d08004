"""The motion of a clip that moves the picture, measured on small frames of its beginning."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deforum.build import Prepared
from deforum.errors import UserError
from deforum.forecast.motion import PARTS

SHORTER_SIDE = 88
"""px of the frames that are compared, at most; flow is measured to a fraction of one of these."""
PATIENCE = 0.35
"""Seconds for decoding and comparing; the frames after them are taken to move as those before."""


def clip_motion(prepared: Prepared, shown: range) -> tuple[NDArray[np.float64] | None, str]:
    """Return the motion (F, 2, R, C) px that a clip gives to the frames `shown`, and what was measured, in words.

    None and "" where no clip moves the picture. A clip that cannot be read gives no motion, and the words say so.
    """
    settings, hybrid = prepared.settings, prepared.found.get("hybrid video")
    video = prepared.found.get("video input")
    if hybrid is not None and settings.hybrid_motion != "None":
        source = hybrid.clip
        factors = np.ones(len(shown))
        if settings.hybrid_motion == "Optical Flow":
            factors = prepared.timeline.curves.hybrid_flow_factor[shown.start : shown.stop]
    elif settings.mode.reads_clip and video is not None:
        source, factors = video.clip, np.ones(len(shown))
    else:
        return None, ""
    try:
        flows = _flows(source, prepared, shown)
    except UserError as error:
        return None, f"the clip's motion is not known: {error}"
    if not len(flows):
        return None, ""
    count = len(shown)
    motion = np.zeros((count, 2, PARTS, PARTS))
    motion[1 : len(flows) + 1] = flows
    says = f"the motion of {source.path.name}"
    if len(flows) < count - 1:
        # Which frames move how is not known: each moves as the clip does on average.
        motion[len(flows) + 1 :] = flows.mean(0)
        says += f", measured up to frame {shown.start + len(flows)}"
    return motion * factors[:, None, None, None], says


def _flows(source: Any, prepared: Prepared, shown: range) -> NDArray[np.float64]:
    """Measure the flow between frames of a clip, on the grid of the new frame: (N, 2, R, C) px of the animation."""
    import cv2

    from deforum.video.reader import frames_from

    settings = prepared.settings
    width, height = settings.size
    share = min(SHORTER_SIDE / min(width, height), 1)
    small = max(round(width * share), 16), max(round(height * share), 16)
    scale = np.array([width / small[0], height / small[1]])
    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found, before = list[NDArray[np.float64]](), None
    until = time.monotonic() + PATIENCE
    first = shown.start if source.end == "stop" else source.stored(shown.start)
    for number, levels in enumerate(frames_from(source, first, *small, settings.clip_fit)):
        if number >= len(shown) or time.monotonic() > until:
            break
        now = cv2.cvtColor(np.ascontiguousarray(levels[..., :3]), cv2.COLOR_RGB2GRAY)
        if before is not None:
            # From the new picture to the old one: it is read where the new one's parts are.
            flow = np.asarray(estimate.calc(now, before, None))  # type: ignore[call-overload]
            found.append(-np.moveaxis(cv2.resize(flow, (PARTS, PARTS), interpolation=cv2.INTER_AREA) * scale, -1, 0))
        before = now
    return np.array(found)
