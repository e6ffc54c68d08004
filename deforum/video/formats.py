"""The table of video formats, and exact frame rates."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True)
class Quality:
    """A codec's quality option and its range: lower is better for a crf, higher for a percentage."""

    option: str
    default: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class Format:
    """One way to store a film: a row of FORMATS."""

    title: str
    suffix: str
    pixels: str  # ffmpeg's name of the stored pixel format
    encoder: tuple[str, ...]  # while rendering, into the working file
    working: tuple[str, ...]  # the working file's container
    muxer: str  # the final file's container
    finish: tuple[str, ...] = ("-c:v", "copy")  # from the working file to the final one
    quality: Quality | None = None
    quality_at_end: bool = False  # the quality belongs to `finish`: the working file is lossless
    presets: tuple[str, ...] = ()  # the first is the default
    beside: tuple[str, ...] = ()  # options that the default preset gets too
    grid: tuple[int, int] = (1, 1)  # width and height are padded up to multiples of these
    largest: int = 16384  # px along either side
    max_fps: int = 1000
    bits: Literal[8, 16] = 8  # per channel of the frames handed over; 16: the format keeps more than 8
    audio: tuple[str, ...] = ()  # empty: this format has no sound
    chapters: bool = True  # whether the container has chapters
    countable: bool = True  # False: the container joins equal frames, so frames cannot be counted without decoding


# One fragment a second: a crash of the machine loses little of the film, and players need no index at the end.
FRAGMENTS = ("-movflags", "+empty_moov+default_base_moof", "-frag_duration", "1000000")
_AV1_PRESETS = ("8", *(str(n) for n in range(14) if n != 8))
_X265_PRESETS = ("medium", "ultrafast", "superfast", "veryfast", "faster", "fast", "slow", "slower", "veryslow")
# Beside the renderer: "superfast" takes half the time of "faster"...
_X264_PRESETS = ("superfast", *(name for name in _X265_PRESETS if name != "superfast"))
# ...and with the tree of macroblocks, which it leaves out, files are as large: -10 to +8 %, for 0.2 to 0.7 dB less at
# 39 to 51 dB (five films; docs/speed.md). It looks 10 frames ahead, as "veryfast" does.
_WITH_TREE = ("-x264-params", "mbtree=1:rc-lookahead=10")
_MP4 = ("-f", "mp4", *FRAGMENTS)
# mov's own comments end at 64 KB; tags under names of their own do not.
_MOV = ("-f", "mov", "-movflags", "+use_metadata_tags+empty_moov+default_base_moof", *FRAGMENTS[2:])
MKV = ("-f", "matroska", "-cluster_time_limit", "1000")
_LOSSLESS = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slices", "4")
_FAST_START = ("-c:v", "copy", "-movflags", "+faststart")
_TAGGED = ("-c:v", "copy", "-movflags", "+use_metadata_tags")
_AAC = ("-c:a", "aac", "-b:a", "192k")


# One palette per frame: 256 colours for a whole film that keeps changing would band. It is computed from a smaller
# picture, with equal quality in twenty times less time: the time grows with every distinct colour.
_GIF = (
    "split[a][b];[a]scale=w=max(min(iw\\,64)\\,iw/4):h=-1:flags=area,"
    "palettegen=stats_mode=single:reserve_transparent=0[palette];[b][palette]paletteuse=new=1:dither=sierra2_4a"
)

_CRF = "-crf"

FORMATS: dict[str, Format] = {
    "h264": Format(
        "H.264 in mp4, plays everywhere", ".mp4", "yuv420p",
        ("-c:v", "libx264", "-profile:v", "high"), _MP4, "mp4", _FAST_START,
        Quality(_CRF, 17, 0, 51), presets=_X264_PRESETS, beside=_WITH_TREE, grid=(2, 2), audio=_AAC,
    ),
    "h265": Format(
        "H.265, 10 bits, in mp4: about half the size", ".mp4", "yuv420p10le",
        ("-c:v", "libx265", "-x265-params", "log-level=error", "-tag:v", "hvc1"), _MP4, "mp4", _FAST_START,
        Quality(_CRF, 20, 0, 51), presets=_X265_PRESETS, grid=(2, 2), largest=8192, bits=16, audio=_AAC,
    ),
    "av1": Format(
        "AV1, 10 bits, in mp4: the smallest", ".mp4", "yuv420p10le",
        ("-c:v", "libsvtav1"), _MP4, "mp4", _FAST_START,
        Quality(_CRF, 24, 0, 63), presets=_AV1_PRESETS, grid=(2, 2), bits=16, audio=_AAC,
    ),
    "webm": Format(
        "VP9 in webm, for web pages", ".webm", "yuv420p",
        ("-c:v", "libvpx-vp9", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3"),
        ("-f", "webm", "-cluster_time_limit", "1000"), "webm", ("-c:v", "copy"),
        Quality(_CRF, 22, 0, 63), grid=(2, 2), audio=("-c:a", "libopus", "-b:a", "160k"),
    ),
    "prores": Format(
        "ProRes 422 HQ, 10 bits, in mov: for editing", ".mov", "yuv422p10le",
        ("-c:v", "prores_ks", "-profile:v", "hq", "-vendor", "apl0"), _MOV, "mov", _TAGGED,
        grid=(2, 1), bits=16, audio=("-c:a", "pcm_s16le"),
    ),
    "prores4444": Format(
        "ProRes 4444, 10 bits, no chroma subsampling, in mov: for grading", ".mov", "yuv444p10le",
        ("-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0"), _MOV, "mov", _TAGGED,
        bits=16, audio=("-c:a", "pcm_s16le"),
    ),
    "ffv1": Format(
        "FFV1, 16 bits RGB, lossless, in mkv: for archives", ".mkv", "gbrp16le",
        _LOSSLESS, MKV, "matroska", bits=16, audio=("-c:a", "flac"),
    ),
    "gif": Format(
        "animated GIF, a palette for every frame", ".gif", "bgr0",
        _LOSSLESS, MKV, "gif", ("-filter_complex", _GIF, "-loop", "0"), max_fps=50, chapters=False,
        countable=False,
    ),
    "webp": Format(
        "animated WebP", ".webp", "bgr0",
        _LOSSLESS, MKV, "webp", ("-c:v", "libwebp_anim", "-loop", "0", "-compression_level", "4"),
        Quality("-quality", 90, 0, 100), quality_at_end=True, largest=16383, chapters=False, countable=False,
    ),
}  # fmt: skip

_NTSC = (24, 30, 48, 60, 120)


def exact_fps(fps: float | Fraction) -> Fraction:
    """Convert a frame rate as commonly written to the exact fraction: 23.976 is 24000/1001, 12.5 is 25/2."""
    if isinstance(fps, Fraction):
        return fps
    for whole in _NTSC:
        if abs(fps - whole / 1.001) < 0.006:
            return Fraction(whole * 1000, 1001)
    return Fraction(repr(float(fps))).limit_denominator(1001)
