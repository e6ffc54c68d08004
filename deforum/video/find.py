"""Finding and inspecting a clip: its kind, size and number of frames, and which frames are used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from deforum.errors import Problem, UserError
from deforum.limits import CLIP_FRAMES, PICTURES, PIXELS
from deforum.paths import exists, is_file, to_path
from deforum.video.ffmpeg import REFUSED, VideoError, input_of, listen
from deforum.video.whole import cut_off
from schedules.quoting import quote

if TYPE_CHECKING:
    from deforum.settings.options import Settings

Fit = Literal["fill", "fit", "stretch"]
"""How a clip is fitted to the frame's size: cropped at two edges, with black bars at two edges, or distorted."""

End = Literal["hold", "loop", "stop"]
"""What follows a clip's last frame: the last frame, the first one again, or an IndexError."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class ClipError(UserError):
    """A clip that is missing, cannot be read, or lacks the frames asked for."""


@dataclass(frozen=True, eq=False)
class VideoFile:
    """A video file: its size, the times of its frames, and what ffmpeg needs to decode it."""

    path: Path
    width: int
    """px as shown: rotated by its tags, with square pixels."""
    height: int
    times: NDArray[np.float64]
    """(N,) seconds at which each stored frame is shown, ascending; on the file's own clock."""
    rate: Fraction
    """Average frames/s."""
    delay: float
    """Seconds from the start of the file, where its sound may begin, to its first frame."""
    alpha: bool
    decoder: str = ""
    """ffmpeg's name of the decoder, where its default drops the alpha channel; empty: the default."""
    matrix: str = ""
    """ffmpeg's name of the YCbCr matrix, where the file has no tag and ffmpeg would guess wrong; empty: the file's."""
    seekable: bool = False
    """True where the file has an index of its frames, so that reading can start anywhere."""
    fault: str = ""
    """What is missing of the file, as the end of a sentence; empty: nothing."""

    def stored(self) -> NDArray[np.intp]:
        """Return the index of the stored frame for each frame at the average rate, (N,)."""
        middles = (np.arange(len(self.times)) + 0.5) / float(self.rate)
        found = np.searchsorted(self.times - self.times[0], middles, side="right") - 1
        return np.clip(found, 0, len(self.times) - 1)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Picture files in natural order of their names (2 before 10). They have no frame rate of their own."""

    paths: tuple[Path, ...]
    alpha: bool

    def stored(self) -> NDArray[np.intp]:
        return np.arange(len(self.paths))


@dataclass(frozen=True, eq=False)
class ClipSource:
    """A clip that was found, with the choice of its frames; see the convention in `deforum.video`."""

    path: Path
    media: VideoFile | Pictures
    picks: NDArray[np.intp]
    """(F,) indices of the stored frames used: the first one, then every `nth`."""
    end: End
    nth: int
    first: int

    def __len__(self) -> int:
        """Return the number of frames used, before the clip is held or looped."""
        return len(self.picks)

    @property
    def notes(self) -> list[str]:
        """Notes on the file, one line each: what is missing of it."""
        fault = self.media.fault if isinstance(self.media, VideoFile) else ""
        return [f"{self.path.name} {fault}; {len(self.media.stored())} frames can be used"] if fault else []

    def stored(self, t: int) -> int:
        """Return which of the frames used belongs to frame t of the animation: 0..len-1.

        Raises IndexError for t below 0, and after the end of a clip that stops.
        """
        if t < 0 or (self.end == "stop" and t >= len(self)):
            raise IndexError(f"frame {t} of {self.path.name}, of which {len(self)} frames are used")
        return t % len(self) if self.end == "loop" else min(t, len(self) - 1)

    @property
    def alpha(self) -> bool:
        """Whether the clip has an alpha channel."""
        return self.media.alpha

    @property
    def rate(self) -> Fraction | None:
        """The animation's frames/s at which the clip keeps its own speed; None for pictures."""
        return self.media.rate / self.nth if isinstance(self.media, VideoFile) else None

    @property
    def start(self) -> float:
        """Seconds from the start of the file and its sound to the first frame used; 0 for pictures."""
        return self.media.delay + float(self.first / self.media.rate) if isinstance(self.media, VideoFile) else 0.0


# --- finding ----------------------------------------------------------------------------------------------------------


def video_init(settings: Settings) -> ClipSource:
    """Inspect the clip that the settings of section video_input name. Raises ClipError."""
    return resolve_clip(
        settings.video_init_path,
        nth=settings.extract_nth_frame,
        first=settings.extract_from_frame,
        last=settings.extract_to_frame,
        end=settings.clip_end,
    )


def resolve_clip(
    path: str | Path,
    *,
    name: str = "video_init_path",
    nth: int = 1,
    first: int = 0,
    last: int = -1,
    end: End = "hold",
) -> ClipSource:
    """Inspect a video file, a folder of pictures, or a picture, and choose frames first, first + nth, ..., last.

    `last` is included if the steps reach it; -1 is the clip's end. `name` is the setting named in errors. Frames are
    decoded only where a video's packets lack times or hide frames. Raises ClipError.
    """
    if not str(path):
        raise ClipError(f"{name}: this has to name a clip: a video, a folder of pictures, or a picture")
    if str(path).startswith(("http://", "https://")):
        raise ClipError(f"{name}: {path} is not fetched; download it and give the file")
    path = to_path(path)
    if not exists(path):
        raise ClipError(f"{name}: there is no file {quote(path)}")
    media = _look_at(path, name)
    stored = media.stored()
    problems = list(_range_problems(path, len(stored), nth, first, last))
    if problems:
        raise ClipError(problems)
    stop = len(stored) if last == -1 else last + 1
    source = ClipSource(path, media, stored[first:stop:nth], end, nth, first)
    if isinstance(media, Pictures):
        from deforum.pixels.files import check_pictures

        problems = check_pictures((media.paths[pick] for pick in source.picks), name, decoded=False)
        if problems:
            raise ClipError(problems)
    return source


def _range_problems(path: Path, count: int, nth: int, first: int, last: int) -> Iterator[Problem]:
    frames = f"{path.name} has {count} frame{'s' * (count > 1)}, 0..{count - 1}"
    if nth < 1:
        yield Problem(f"extract_nth_frame: is {nth}; expected at least 1")
    if not 0 <= first < count:
        yield Problem(f"extract_from_frame: there is no frame {first}; {frames}")
    elif last != -1 and last < first:
        yield Problem(f"extract_to_frame: {last} is before extract_from_frame, {first}; nothing is left of the clip")


def _look_at(path: Path, name: str) -> VideoFile | Pictures:
    if path.is_dir():
        paths = sorted((each for each in path.iterdir() if _is_picture(each)), key=_by_number)
        if not paths:
            expected = ", ".join(PICTURE_SUFFIXES)
            raise ClipError(f"{name}: {path} has no pictures in it; expected files ending in one of {expected}")
        if len(paths) > PICTURES.most:
            raise ClipError(f"{name}: {path} {PICTURES.exceeded(len(paths))}")
        return Pictures(tuple(paths), alpha=_has_alpha(paths[0], name))
    if _is_picture(path):
        return Pictures((path,), alpha=_has_alpha(path, name))
    if not is_file(path):
        raise ClipError(f"{name}: {path} is no regular file; expected a video, a folder of pictures, or a picture")
    stat = path.stat()
    return _probe(path, name, stat.st_mtime_ns, stat.st_size)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Return the sort key for natural order: frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())]


def _has_alpha(path: Path, name: str) -> bool:
    """Decode a picture and return whether it has an alpha channel. Raises ClipError where it cannot be decoded."""
    from deforum.pixels.files import decode

    try:
        levels = decode(path, unchanged=True)
    except UserError as error:
        raise ClipError(Problem(f"{name}: {problem.message}") for problem in error.problems) from None
    return levels.ndim == 3 and levels.shape[2] == 4


# --- looking at a video -----------------------------------------------------------------------------------------------

_DISCARDED = 4
"""Packet flag of frames that an edit list cuts: decoded, but not shown."""
_ALPHA_FORMATS = re.compile(r"\b(yuva\w+|rgba\w*|bgra\w*|argb\w*|abgr\w*|gbrap\w*|ya8|ya16\w*)\b")
_MATRICES = re.compile(r"\b(bt709|bt470bg|smpte170m|smpte240m|bt2020nc|bt2020c|fcc|ycgco|gbr)\b")
_INDEXED = ("mov", "matroska")
_ALPHA_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
"""Decoders by codec, where ffmpeg's own decoder drops the alpha channel."""
_HIDES_FRAMES = ("vp8",)
"""Codecs with packets that hold no visible frame: frames must be decoded to be counted."""
_NO_TIME = np.iinfo(np.int64).min


@lru_cache(maxsize=32)
def _probe(path: Path, name: str, mtime: int, size: int) -> VideoFile:
    """Read a video's headers and packets. (`mtime` and `size` are part of the cache key.) Raises ClipError."""
    try:
        return _read_video(path, name)
    except (KeyError, ValueError, IndexError, ZeroDivisionError, OverflowError):
        raise ClipError(f"{name}: {path} is damaged: its sizes or times make no sense") from None


def _read_video(path: Path, name: str) -> VideoFile:
    said, listed = _list_packets(path, name, "-c", "copy")
    stream = _stream_lines(said)
    codec = _find(r"Video: (\w+)", stream)
    header, ticks, spans = _read_packets(listed)
    if not len(ticks):
        raise ClipError(f"{name}: {path} has no frames in it")
    shown = _shown_size(header, _find(r"rotation of (-?[\d.]+)", stream))
    if not min(shown) > 0:
        raise ClipError(f"{name}: {path} is damaged: its frames are {shown[0]}x{shown[1]} px")
    if shown[0] * shown[1] > PIXELS.most:
        what = f"a frame of {shown[0]}x{shown[1]} px {PIXELS.exceeded(shown[0] * shown[1])}"
        raise ClipError(f"{name}: {path}: {what}")
    if codec in _HIDES_FRAMES or _NO_TIME in ticks:  # old containers, such as avi, lack some times
        said, listed = _list_packets(path, name, "-vf", "scale=2:2", "-fps_mode", "passthrough")
        header, ticks, spans = _read_packets(listed)
    if not len(ticks):
        raise ClipError(f"{name}: {path} has no frames in it")
    if len(ticks) > CLIP_FRAMES.most:
        raise ClipError(f"{name}: {path} is longer than any clip that is read; expected at most {CLIP_FRAMES}")
    base = Fraction(header["tb"])
    order = np.argsort(ticks, kind="stable")
    ticks = ticks[order]
    span = int(ticks[-1] - ticks[0])
    # The last frame gets the average duration of the others: the duration in the file is often wrong.
    rate = Fraction(len(ticks) - 1) / (span * base) if span else 1 / (max(int(spans[0]), 1) * base)
    times = np.asarray(ticks * float(base), np.float64)
    alpha_mode = bool(re.search(r"alpha_mode\s*:\s*1", stream, re.IGNORECASE))
    delay = max(float(times[0]) - float(_find(r"start: (-?[\d.]+)", said) or 0), 0.0)
    return VideoFile(
        path=path,
        width=shown[0],
        height=shown[1],
        times=times,
        rate=rate,
        delay=delay,
        alpha=alpha_mode or bool(_ALPHA_FORMATS.search(stream)),
        decoder=_ALPHA_DECODERS.get(codec, "") if alpha_mode else "",
        matrix="bt709" if min(shown) >= 720 and "yuv" in stream and not _MATRICES.search(stream) else "",
        seekable=_find(r"Input #0, (\w+)", said) in _INDEXED,
        fault=cut_off(path, said, delay + float(times[-1] - times[0]) + 1 / float(rate)),
    )


def _list_packets(path: Path, name: str, *output: str) -> tuple[str, str]:
    """Return ffmpeg's description of a file, and the packets of its first video stream (framecrc). Raises ClipError."""
    command = [
        "-hide_banner", "-nostdin", "-nostats", "-copyts", *input_of(path),
        "-map", "0:V:0", *output, "-frames:v", str(CLIP_FRAMES.most + 1), "-f", "framecrc", "-",
    ]  # fmt: skip
    try:
        done = listen(command, f"reading {path}")
    except VideoError as error:
        raise ClipError(f"{name}: {error}") from None
    said = done.err
    if done.status:
        expected = "expected a video, a folder of pictures, or a picture"
        if "not on whitelist" in said:
            raise ClipError(f"{name}: {path} is {REFUSED}; {expected}")
        if "matches no streams" in said:
            raise ClipError(f"{name}: {path} has no pictures in it; {expected}")
        reason = _find(r"Error opening input: (.+)", said) or "it does not say why"
        raise ClipError(f"{name}: {path} is no clip that ffmpeg can read ({reason}); {expected}")
    return said, done.out


def _read_packets(listed: str) -> tuple[dict[str, str], NDArray[np.int64], NDArray[np.int64]]:
    """Parse ffmpeg's framecrc format: the header, and the time and duration (in `tb`) of each packet that is shown."""
    header = dict(re.findall(r"^#(\w+) 0: (.+)$", listed, re.MULTILINE))
    shown = []
    for line in listed.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        flags = next((int(field[2:], 16) for field in fields[6:] if field.startswith("F=")), 0)
        if not flags & _DISCARDED:
            shown.append((int(fields[2]), int(fields[3])))
    times = np.array(shown, np.int64).reshape(-1, 2)
    return header, times[:, 0], times[:, 1]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _stream_lines(said: str) -> str:
    """Return ffmpeg's lines on the input's first video stream, skipping cover art; empty if there is none."""
    streams = re.split(r"(?m)^  (?=Stream #0:)", said.partition("\nStream mapping:")[0])[1:]
    pictures = (each for each in streams if ": Video:" in each and "(attached pic)" not in each.splitlines()[0])
    return next(pictures, "")


def _shown_size(header: dict[str, str], rotation: str) -> tuple[int, int]:
    """Return width and height in px as shown: with square pixels, and rotated."""
    width, height = (int(side) for side in header["dimensions"].split("x"))
    across, down = (int(part) for part in header.get("sar", "1/1").split("/"))
    if across > 0 and down > 0:
        width = max(round(width * across / down), 1)
    return (height, width) if round(float(rotation or 0)) % 180 == 90 else (width, height)


# --- where a clip stands in a frame -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placement:
    """A clip's picture in a frame, in px: its size, and the position of its upper left corner (negative: cropped)."""

    width: int
    height: int
    x: int
    y: int


def fit_into(clip: tuple[int, int], frame: tuple[int, int], fit: Fit) -> Placement:
    """Fit a clip of (width, height) px into a frame of (width, height) px, centred."""
    width, height = frame
    if fit != "stretch":
        choose = max if fit == "fill" else min
        scale = choose(width / clip[0], height / clip[1])
        width, height = (max(round(side * scale), 1) for side in clip)
        if width * height > PIXELS.most:
            size = f"{clip[0]}x{clip[1]} px cannot fill {frame[0]}x{frame[1]}"
            raise ClipError(
                f"a clip of {size}: it would be scaled to {width}x{height}, which is too large; try stretch"
            )
    return Placement(width, height, (frame[0] - width) // 2, (frame[1] - height) // 2)
