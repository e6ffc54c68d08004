"""Depth maps as files: reading the user's own, and saving the renderer's.

Convention: in pictures and videos levels are inverse depth, bright is near; in EXR the channel Z is the distance in
scene units, as compositing programs expect.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from deforum.depth import VIDEOS, DepthSource, Gives, map_files
from deforum.errors import UserError
from deforum.pixels.files import decode, read_bytes
from deforum.pixels.image import Device, Image
from deforum.pixels.png import encode_png
from deforum.video.reader import grey_frames

Map = NDArray[np.float32]
Levels = NDArray[np.uint16]


EXR_COMMENT = (
    b"Z is the distance along the camera's axis in scene units; a translation of 200 in the settings is one of them"
)


class _Reading(threading.local):
    """How far a video of maps is read: for each thread, as animations that render at once share the maps."""

    def __init__(self) -> None:
        self.frames: Iterator[Map] = iter(())
        self.index = -1
        self.map: Map | None = None


class GivenMaps:
    """The user's own depth maps, one per frame, 8 or 16 bit or float; the last one is held for later frames."""

    gives: Gives = "inverse depth"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = [] if path.suffix.lower() in VIDEOS else map_files(path)
        self._reading = _Reading()

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        levels = self._read_file(index) if self._files else self._read_video(index)
        depth = torch.from_numpy(levels).to(image.device)[None, None]
        if depth.shape[2:] != image.shape[1:]:
            depth = interpolate(depth, size=image.shape[1:], mode="bilinear", antialias=True)
        return depth[0, 0]

    def _read_file(self, index: int) -> Map:
        path = self._files[min(index, len(self._files) - 1)]
        levels = decode(path, unchanged=True)
        depth = np.asarray(levels if levels.ndim == 2 else levels[..., :3].mean(axis=2), np.float32)
        if not np.isfinite(depth).all():
            raise UserError(f"{path}: this depth map has values that are not numbers (NaN or infinite)")
        return depth

    def _read_video(self, index: int) -> Map:
        at = self._reading
        if index < at.index or at.map is None:
            at.frames, at.index = video_maps(self._path), -1
        while at.index < index:
            at.map = next(at.frames, at.map)
            at.index += 1
        if at.map is None:
            raise UserError(f"{self._path}: no frame of this video can be read")
        return at.map


def load(source: DepthSource, device: Device) -> GivenMaps:
    """Open depth maps. The first one is read at once, so that an unreadable one raises UserError before rendering."""
    assert source.path is not None
    maps = GivenMaps(source.path)
    maps(torch.empty(3, 1, 1), 0)
    return maps


def video_maps(path: Path) -> Iterator[Map]:
    """Decode a video frame by frame as 16-bit grey, (H, W) float32 levels. Raises UserError where ffmpeg fails."""
    for grey in grey_frames(path, "depth_algorithm"):
        yield grey.astype(np.float32)


def to_levels(depth: torch.Tensor, nearest: float, farthest: float) -> Levels:
    """Convert depth (H, W) to 16-bit levels: white at `nearest`, black at `farthest`, linear in inverse depth.

    The same two distances for a whole run make levels comparable between its frames.
    """
    share = (1 / depth - 1 / farthest) / (1 / nearest - 1 / farthest)
    levels: Levels = share.clamp(0, 1).mul(65535).round().cpu().numpy().astype(np.uint16)
    return levels


def from_levels(levels: Levels, nearest: float, farthest: float) -> Map:
    """Convert 16-bit levels back to depth (H, W), see `to_levels`."""
    share = levels.astype(np.float64) / 65535
    return np.asarray(1 / (share * (1 / nearest - 1 / farthest) + 1 / farthest), np.float32)


def to_png(levels: Levels) -> bytes:
    """Encode levels (H, W) as a 16-bit grey PNG."""
    return encode_png(levels)


def read_levels(path: Path) -> Levels:
    """Read levels (H, W) from a 16-bit grey PNG. Raises UserError where it cannot be read."""
    levels = decode(path, unchanged=True)
    if levels.dtype != np.uint16 or levels.ndim != 2:
        raise UserError(f"{path}: no map of 16 bits that can be read")
    return np.asarray(levels, np.uint16)


def read_exr(path: Path) -> Map:
    """Read the depth (H, W) of a picture that `to_exr` wrote. Raises UserError for any other."""
    content = read_bytes(path)
    try:
        magic, version = struct.unpack_from("<2i", content)
        at, head, found = 8, content[:65536], dict[bytes, bytes]()
        while head[at] != 0:
            name, kind = head.index(b"\0", at), head.index(b"\0", head.index(b"\0", at) + 1)
            (size,) = struct.unpack_from("<I", head, kind + 1)
            found[head[at:name]] = head[kind + 5 : kind + 5 + size]
            at = kind + 5 + size
        left, top, right, bottom = struct.unpack("<4i", found[b"dataWindow"])
        width, height = right - left + 1, bottom - top + 1
        lines = content[at + 1 + 8 * height :]
        plain = found[b"compression"] == b"\0" and found[b"channels"].startswith(b"Z\0" + struct.pack("<i", 2))
        if (magic, version) != (20000630, 2) or not plain or len(lines) != height * (8 + 4 * width):
            raise ValueError
        rows = np.frombuffer(lines, np.uint8).reshape(height, 8 + 4 * width)[:, 8:]
        return np.asarray(np.ascontiguousarray(rows).view("<f4"), np.float32)
    except (struct.error, IndexError, KeyError, ValueError):
        raise UserError(f"{path}: no depth of a run in EXR that can be read") from None


def to_exr(depth: torch.Tensor) -> bytes:
    """Encode depth (H, W) as an OpenEXR picture: one uncompressed 32-bit float channel Z, and its unit in a comment.

    Source: the file layout in the technical introduction to OpenEXR.
    """
    height, width = depth.shape
    lines = depth.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4")
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channel = b"Z\0" + struct.pack("<i4x2i", 2, 1, 1) + b"\0"  # 2: float; sampled at each pixel
    attributes = (
        ("channels", "chlist", channel),
        ("comments", "string", EXR_COMMENT),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", box),
        ("displayWindow", "box2i", box),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    )
    header = struct.pack("<2i", 20000630, 2)  # magic number and version
    for name, kind, value in attributes:
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    line_size = 8 + 4 * width
    first = len(header) + 8 * height
    places = np.arange(first, first + height * line_size, line_size, dtype="<u8")
    rows = (struct.pack("<2i", y, 4 * width) + line.tobytes() for y, line in enumerate(lines))
    return b"".join((header, places.tobytes(), *rows))
