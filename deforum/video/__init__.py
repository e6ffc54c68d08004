"""Reading clips (a video file, a folder of pictures, or a single picture) frame by frame at a given size.

`resolve_clip` inspects a clip, without a model or torch; `open_clip` reads it. `clip(t)` is the frame of the clip that
belongs to frame t of the animation.

Convention: frame t of the animation has the clip's frame `first + t * nth`, where the clip's frames are counted from
0 at the clip's own average rate. At a constant frame rate those are the stored frames. At a variable frame rate each
is the stored frame on the screen in the middle of its share of the time, so that motion keeps its speed and stays in
sync with the sound; their number is that of the stored frames.
"""

from deforum.video.find import (
    ClipError,
    ClipSource,
    End,
    Fit,
    Pictures,
    Placement,
    VideoFile,
    fit_into,
    resolve_clip,
    video_init,
)
from deforum.video.reader import Clip, open_clip

__all__ = [
    "Clip",
    "ClipError",
    "ClipSource",
    "End",
    "Fit",
    "Pictures",
    "Placement",
    "VideoFile",
    "fit_into",
    "open_clip",
    "resolve_clip",
    "video_init",
]
