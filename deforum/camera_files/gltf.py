"""glTF 2: a scene with an animated camera node, .gltf (JSON) or .glb (binary).

Convention: the node's camera looks along -z, y up; quaternions are x, y, z, w; `yfov` is in radians; times in seconds.
An animation of the node's parents moves it too. A changing field of view is in an animation of the extension
KHR_animation_pointer: glTF itself has none.
Source: the glTF 2.0 specification, and that of KHR_animation_pointer.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from deforum.camera_files.path import CameraPath, Lens
from deforum.camera_files.reading import (
    CameraFile,
    Node,
    Wanted,
    check_count,
    half_tangent,
    parse_json,
    read_bytes,
    refuse,
    rotations_in,
)
from deforum.camera_files.rotations import Array, of_quaternion, slerp, to_quaternion
from deforum.limits import CAMERA_POSES
from deforum.paths import to_path
from schedules.quoting import quote

MAGIC, JSON_CHUNK, BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
POINTER = "KHR_animation_pointer"
DEEPEST = 100  # nodes within each other
COMPONENTS: Mapping[int, tuple[str, float]] = {
    # number of the specification: (type, divisor that a normalised value has)
    5120: ("<i1", 127), 5121: ("<u1", 255), 5122: ("<i2", 32767), 5123: ("<u2", 65535), 5126: ("<f4", 1),
}  # fmt: skip
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
NEAR = 0.01
USUAL_RATE = 30.0  # frames/s of a file without keys


def recognises(file: CameraFile) -> bool:
    return file.name.endswith(".gltf") and not is_binary(file)


def is_binary(file: CameraFile) -> bool:
    return file.head.startswith(MAGIC) or file.name.endswith(".glb")


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: CameraFile, wanted: Wanted) -> CameraPath:
    """Sample the camera from the first to the last key of what moves it."""
    document = _open(file.path)
    chain, notes = _choose(document, wanted.camera)
    camera = document.root.need("cameras").at(chain[-1].need("camera").whole())
    kind = camera.get("perspective")
    if kind is None:
        camera.refuse("this camera is orthographic; expected a perspective one")
    tracks = _tracks(document, [document.index(node) for node in chain], document.index(camera))
    keys = np.concatenate([track.times for track in tracks.values()]) if tracks else np.zeros(1)
    first, last = float(keys.min()), float(keys.max())
    fps = wanted.fps or _rate(camera, keys)
    count = math.floor((last - first) * fps + 1e-3) + 1
    if count > CAMERA_POSES.most:
        refuse(file.path, f"{CAMERA_POSES.of} {CAMERA_POSES.exceeded(count)} (animation of {last - first:g} s)")
    times = first + np.arange(count) / fps
    # Times are in single precision: a sample beside a key is that key.
    known = np.unique(keys)
    place = np.searchsorted(known, times).clip(1, max(len(known) - 1, 1))
    for near in (known[place - 1], known[np.minimum(place, len(known) - 1)]):
        times = np.where(np.abs(times - near) * fps < 1e-3, near, times)
    whole = np.broadcast_to(np.eye(4), (count, 4, 4))
    for node in chain:
        whole = whole @ _local(node, document.index(node), tracks, times)
    places: list[int | str] = [chain[-1].where] * count
    rotation = rotations_in(whole[:, :3, :3], file.path, places)
    if np.abs(whole[:, :3, 3]).max() > 1e9:
        chain[-1].refuse("this camera is too far away")
    lens, size = _lens(document, camera, kind, tracks, times)
    at = np.arange(count, dtype=np.float64)
    return CameraPath(at, rotation, whole[:, :3, 3], lens, fps, size, tuple(notes))


def _rate(camera: Node, keys: Array) -> float:
    """Return the frame rate that the renderer wrote, or else that of the keys."""
    extras = camera.get("extras")
    if extras is not None and isinstance(extras.value, dict) and (given := extras.get("fps")) is not None:
        rate = given.number()
        if 0.01 <= rate <= 1000:
            return rate
    steps = np.diff(np.unique(keys))
    return float(np.clip(round(1 / float(np.median(steps)), 3), 1, 240)) if len(steps) else USUAL_RATE


@dataclass(frozen=True, eq=False)
class Document:
    """A glTF file: its JSON, and the binary part of a .glb."""

    path: Path
    root: Node
    binary: bytes | None

    @staticmethod
    def index(node: Node) -> int:
        """Return the number of an item of a list, from its place."""
        return int(node.place.rpartition("[")[2].rstrip("]"))

    @cached_property
    def nodes(self) -> list[Node]:
        found = self.root.get("nodes")
        return [] if found is None else found.items()

    @cached_property
    def buffers(self) -> dict[int, bytes]:
        return {}

    def buffer(self, number: int) -> bytes:
        """Return the bytes of a buffer: of the .glb, of a data URI, or of a file beside this one. Raises UserError."""
        if number not in self.buffers:
            node = self.root.need("buffers").at(number)
            uri = node.get("uri")
            if uri is not None:
                self.buffers[number] = self._fetch(uri)
            elif self.binary is not None and number == 0:
                self.buffers[number] = self.binary
            else:
                node.refuse("this buffer has no content")
        return self.buffers[number]

    def _fetch(self, uri: Node) -> bytes:
        text = uri.text()
        if text.startswith("data:"):
            try:
                return base64.b64decode(text.partition(",")[2], validate=True)
            except (binascii.Error, ValueError):
                uri.refuse("this data URI is no base64")
        name = unquote(text)
        folder = self.path.parent.resolve()
        inside = "://" not in name and (folder / to_path(name)).resolve().is_relative_to(folder)
        if not inside:
            uri.refuse(f"{quote(text)} is not fetched; expected a file in the folder of this one")
        return read_bytes(folder / to_path(name))

    def values(self, number: int) -> Array:
        """Return the values of an accessor: (N,) or (N, 3) or (N, 4). Raises UserError."""
        node = self.root.need("accessors").at(number)
        kind, code, count = node.need("type").text(), node.need("componentType").whole(), node.need("count").whole()
        if kind not in WIDTHS or code not in COMPONENTS:
            node.refuse("expected numbers, or vectors of 3 or 4 of them, of a kind that animations have")
        if node.get("sparse") is not None:
            node.refuse("sparse accessors are not read; export the file without them")
        width, (dtype, divisor) = WIDTHS[kind], COMPONENTS[code]
        item = np.dtype(dtype).itemsize * width
        given = node.get("bufferView")
        if given is None:
            node.refuse("this accessor has no bufferView")
        view = self.root.need("bufferViews").at(given.whole())
        stride = _whole(view, "byteStride") or item
        start = _whole(view, "byteOffset") + _whole(node, "byteOffset")
        content = self.buffer(view.need("buffer").whole())
        end = start + (count - 1) * stride + item
        if not 1 <= count <= CAMERA_POSES.most or stride < item or end > len(content):
            node.refuse(f"this accessor has {count:,} values, which its buffer of {len(content):,} bytes does not hold")
        table: np.ndarray[Any, np.dtype[Any]] = np.ndarray(
            (count, width), dtype, buffer=content, offset=start, strides=(stride, np.dtype(dtype).itemsize)
        )
        found = np.asarray(table, np.float64) / divisor
        if not np.isfinite(found).all() or np.abs(found).max() > 1e9:
            node.refuse("this accessor has values that are no numbers, or out of range")
        return found[:, 0] if width == 1 else found


def _whole(node: Node, name: str) -> int:
    found = node.get(name)
    return 0 if found is None else found.whole()


def _open(path: Path) -> Document:
    content = read_bytes(path)
    if not content.startswith(MAGIC):
        return Document(path, Node(parse_json(content.decode("utf-8-sig", "replace"), path), path), None)
    text, binary, at = b"", None, 12
    if len(content) < 20 or struct.unpack_from("<I", content, 4)[0] != 2:
        refuse(path, "this is no glTF of version 2")
    while at + 8 <= len(content):
        length, kind = struct.unpack_from("<II", content, at)
        chunk = content[at + 8 : at + 8 + length]
        if len(chunk) < length:
            refuse(path, f"this file is cut off: a chunk of {length:,} bytes has {len(chunk):,}")
        if kind == JSON_CHUNK and not text:
            text = chunk
        elif kind == BIN_CHUNK and binary is None:
            binary = chunk
        at += 8 + length
    return Document(path, Node(parse_json(text.decode("utf-8", "replace"), path), path), binary)


def _choose(document: Document, name: str | None) -> tuple[list[Node], list[str]]:
    """Return the nodes from the root of the scene to that of the camera, and notes. Raises UserError."""
    nodes = document.nodes
    with_camera = [node for node in nodes if node.get("camera") is not None]
    if not with_camera:
        refuse(document.path, "there is no camera in it")
    names = [_name(document, node) for node in with_camera]
    moved = set(_targets(document))
    at = next((index for index, node in enumerate(with_camera) if document.index(node) in moved), 0)
    if name is not None:
        if name not in names:
            refuse(document.path, f"there is no camera {quote(name)} in it; it has {', '.join(map(quote, names[:20]))}")
        at = names.index(name)
    notes = []
    if len(names) > 1 and name is None:
        others = ", ".join(quote(each) for index, each in enumerate(names[:20]) if index != at)
        notes.append(f"its camera {quote(names[at])} is taken; camera_name takes another one: {others}")
    parents: dict[int, int] = {}
    for node in nodes:
        for child in () if (children := node.get("children")) is None else children.items():
            parents[child.whole()] = document.index(node)
    chain = [with_camera[at]]
    while (parent := parents.get(document.index(chain[0]))) is not None:
        chain.insert(0, nodes[parent])
        if len(chain) > DEEPEST:
            chain[0].refuse(f"nodes are more than {DEEPEST} levels within each other, or in a circle")
    return chain, notes


def _name(document: Document, node: Node) -> str:
    own = node.get("name")
    if own is None:
        own = document.root.need("cameras").at(node.need("camera").whole()).get("name")
    return f"node {document.index(node)}" if own is None else own.text()


@dataclass(frozen=True, eq=False)
class Track:
    """Keys of one property, and how it goes between them."""

    times: Array
    values: Array
    """(K, ...), or for CUBICSPLINE (K, 3, ...): tangent in, value, tangent out."""
    way: str
    turns: bool
    """Whether the values are quaternions."""

    def at(self, times: Array) -> Array:
        last = len(self.times) - 1
        times = times.clip(self.times[0], self.times[-1])
        before = (np.searchsorted(self.times, times, side="right") - 1).clip(0, max(last - 1, 0))
        after = np.minimum(before + 1, last)
        length = self.times[after] - self.times[before]
        share = np.where(length > 0, (times - self.times[before]) / np.where(length > 0, length, 1), 0)
        part = share.reshape(-1, *[1] * (self.values.ndim - (2 if self.way == "CUBICSPLINE" else 1)))
        if self.way == "STEP":
            return np.asarray(np.where(part >= 1, self.values[after], self.values[before]), np.float64)
        if self.way == "CUBICSPLINE":
            over = length.reshape(part.shape)
            square, cube = part**2, part**3
            return np.asarray(
                (2 * cube - 3 * square + 1) * self.values[before, 1]
                + over * (cube - 2 * square + part) * self.values[before, 2]
                + (-2 * cube + 3 * square) * self.values[after, 1]
                + over * (cube - square) * self.values[after, 0],
                np.float64,
            )
        if self.turns:
            return slerp(_unit(self.values[before]), _unit(self.values[after]), share)
        return np.asarray(self.values[before] * (1 - part) + self.values[after] * part, np.float64)


def _unit(quaternions: Array) -> Array:
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    return np.asarray(np.where(length > 0, quaternions / np.where(length > 0, length, 1), (1.0, 0, 0, 0)), np.float64)


Key = tuple[int | str, str]
"""What is animated: (number of a node, property), or (pointer, "pointer")."""


def _channels(document: Document) -> list[tuple[Key, Node, Node]]:
    """List (what is animated, its sampler, the channel) of all animations."""
    found: list[tuple[Key, Node, Node]] = []
    animations = document.root.get("animations")
    for animation in () if animations is None else animations.items():
        samplers = animation.need("samplers")
        for channel in animation.need("channels").items():
            target = channel.need("target")
            kind, node = target.need("path").text(), target.get("node")
            extensions = target.get("extensions")
            pointer = None if extensions is None else extensions.get(POINTER)
            if pointer is not None:
                key: Key = (pointer.need("pointer").text(), "pointer")
            elif node is not None:
                key = (node.whole(), kind)
            else:
                continue
            found.append((key, samplers.at(channel.need("sampler").whole()), channel))
    return found


def _targets(document: Document) -> list[int]:
    return [target for (target, _), _, _ in _channels(document) if isinstance(target, int)]


def _tracks(document: Document, chain: list[int], camera: int) -> dict[Key, Track]:
    """Return the tracks that move a chain of nodes, or change the camera's lens; of several the first."""
    wanted: set[Key] = {(node, kind) for node in chain for kind in ("translation", "rotation", "scale")}
    pointers = {f"/nodes/{node}/{kind}": (node, kind) for node, kind in wanted}
    lens = f"/cameras/{camera}/perspective/yfov"
    tracks: dict[Key, Track] = {}
    for key, sampler, channel in _channels(document):
        target: Key = pointers.get(str(key[0]), key)
        if (target not in wanted and target[0] != lens) or target in tracks:
            continue
        tracks[target] = _track(document, sampler, channel, turns=target[1] == "rotation")
    return tracks


def _track(document: Document, sampler: Node, channel: Node, *, turns: bool) -> Track:
    times = document.values(sampler.need("input").whole())
    values = document.values(sampler.need("output").whole())
    way_node = sampler.get("interpolation")
    way = "LINEAR" if way_node is None else way_node.text()
    if way not in ("LINEAR", "STEP", "CUBICSPLINE"):
        sampler.refuse(f"{quote(way, 40)} is no interpolation; expected LINEAR, STEP or CUBICSPLINE")
    each = 3 if way == "CUBICSPLINE" else 1
    width = 4 if turns else 3
    fits = times.ndim == 1 and len(values) == each * len(times)
    if not fits or (values.ndim == 2 and values.shape[1] != width) or (turns and values.ndim == 1):
        channel.refuse("its numbers of keys and values do not belong together")
    if (np.diff(times) <= 0).any():
        channel.refuse("the times of its keys do not ascend")
    if turns:
        values = np.roll(values, 1, axis=1)  # x y z w -> w x y z
    if each == 3:
        values = values.reshape(-1, 3, *values.shape[1:])
    return Track(times, values, way, turns)


def _local(node: Node, number: int, tracks: Mapping[Key, Track], times: Array) -> Array:
    """Return a node's own transforms (F, 4, 4) at times."""
    matrix = node.get("matrix")
    if matrix is not None:
        fixed = np.array(matrix.numbers(16)).reshape(4, 4).T  # columns first
        return np.broadcast_to(fixed, (len(times), 4, 4))

    def value(kind: str, rest: tuple[float, ...], order: Callable[[Array], Array] = lambda values: values) -> Array:
        track, own = tracks.get((number, kind)), node.get(kind)
        if track is not None:
            return track.at(times)
        fixed = np.array(rest) if own is None else order(np.array(own.numbers(len(rest))))
        return np.broadcast_to(fixed, (len(times), len(rest)))

    turned = value("rotation", (1.0, 0.0, 0.0, 0.0), lambda values: np.roll(values, 1))
    whole = np.zeros((len(times), 4, 4))
    whole[:, :3, :3] = of_quaternion(_unit(turned)) * value("scale", (1.0, 1.0, 1.0))[:, None, :]
    whole[:, :3, 3] = value("translation", (0.0, 0.0, 0.0))
    whole[:, 3, 3] = 1
    return whole


def _lens(
    document: Document, camera: Node, perspective: Node, tracks: Mapping[Key, Track], times: Array
) -> tuple[Lens, tuple[int, int] | None]:
    number = document.index(camera)
    track = tracks.get((f"/cameras/{number}/perspective/yfov", "pointer"))
    yfov = perspective.need("yfov")
    angles = np.full(len(times), yfov.number()) if track is None else track.at(times)
    tangents = [half_tangent(math.degrees(angle), document.path, yfov.where, "yfov") for angle in angles.tolist()]
    aspect = perspective.get("aspectRatio")
    pixel = 1.0
    size = None
    extras = camera.get("extras")
    if extras is not None and isinstance(extras.value, dict) and (given := extras.get("size")) is not None:
        width, height = (side.whole() for side in (given.at(0), given.at(1)))
        size = (width, height) if width > 0 and height > 0 else None
    ratio = None
    if aspect is not None:
        ratio = aspect.number()
        if ratio <= 0:
            aspect.refuse(f"expected a number above 0, not {ratio:g}")
        if size is not None:
            # With its size known, what is left of the aspect ratio is that of its pixels.
            pixel, ratio = ratio / (size[0] / size[1]), size[0] / size[1]
    return Lens(np.array(tangents), np.full(len(times), pixel), ratio), size


# --- writing ----------------------------------------------------------------------------------------------------------


def write_text(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    """Write a .gltf, with its numbers in a data URI."""
    root, binary = _build(path)
    root["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode("ascii")
    return {"": (json.dumps(root, indent=1) + "\n").encode("utf-8")}


def write_binary(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    """Write a .glb."""
    root, binary = _build(path)
    text = json.dumps(root, separators=(",", ":")).encode("utf-8")
    chunks = ((JSON_CHUNK, text + b" " * (-len(text) % 4)), (BIN_CHUNK, binary + b"\0" * (-len(binary) % 4)))
    body = b"".join(struct.pack("<II", len(chunk), kind) + chunk for kind, chunk in chunks)
    return {"": MAGIC + struct.pack("<II", 2, 12 + len(body)) + body}


def _build(path: CameraPath) -> tuple[dict[str, Any], bytes]:
    assert path.size is not None and path.lens is not None and path.rate is not None
    check_count(len(path), Path("camera"))
    width, height = path.size
    binary = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def put(values: Array, kind: str) -> int:
        content = np.ascontiguousarray(values, "<f4")
        bounds = content.reshape(len(content), -1)
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": content.nbytes})
        accessors.append({
            "bufferView": len(views) - 1, "componentType": 5126, "count": len(content), "type": kind,
            "min": bounds.min(axis=0).tolist(), "max": bounds.max(axis=0).tolist(),
        })  # fmt: skip
        binary.extend(content.tobytes())
        return len(accessors) - 1

    times = put(path.times / path.rate, "SCALAR")
    quaternions = np.roll(to_quaternion(path.rotation), -1, axis=1)  # w x y z -> x y z w
    yfov = 2 * np.arctan(path.lens.vertical)
    outputs: list[tuple[int, dict[str, Any]]] = [
        (put(path.position, "VEC3"), {"node": 0, "path": "translation"}),
        (put(quaternions, "VEC4"), {"node": 0, "path": "rotation"}),
    ]
    root: dict[str, Any] = {"asset": {"version": "2.0", "generator": "deforum"}}
    if np.ptp(yfov) > 1e-9:
        pointer = {"path": "pointer", "extensions": {POINTER: {"pointer": "/cameras/0/perspective/yfov"}}}
        outputs.append((put(yfov, "SCALAR"), pointer))
        root["extensionsUsed"] = [POINTER]
    return root | {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{
            "name": "camera", "camera": 0,
            "translation": path.position[0].tolist(), "rotation": quaternions[0].tolist(),
        }],
        "cameras": [{
            "name": "camera", "type": "perspective",
            "perspective": {
                "yfov": float(yfov[0]), "aspectRatio": float(path.lens.pixel[0]) * width / height, "znear": NEAR,
            },
            "extras": {"size": [width, height], "fps": path.rate},
        }],
        "animations": [{
            "name": "camera",
            "samplers": [{"input": times, "interpolation": "LINEAR", "output": output} for output, _ in outputs],
            "channels": [{"sampler": number, "target": target} for number, (_, target) in enumerate(outputs)],
        }],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }, bytes(binary)  # fmt: skip
