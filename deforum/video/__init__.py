"""One door to clips: a video file, a folder of pictures, or a single picture, read frame by frame at a wanted size.

`resolve_clip` looks at what is there, without a model or torch; `open_clip` reads it. What every user of a clip asks
is "the frame of the clip that belongs to frame t of the animation": `clip(t)`.

Convention: frame t of the animation has the clip's frame `first + t * nth`, where the clip's frames are counted from
0 at the clip's own average rate. In a clip of constant frame rate those are its frames as they are stored; in one of
variable frame rate each is what is on the screen in the middle of its share of the time, so motion keeps its speed
and stays with the sound, and there are as many as are stored.
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
