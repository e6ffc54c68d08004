"""Reading of weight files: safetensors, and torch's pickled files (.ckpt, .pt, .pth, .bin) by a restricted reader.

Nothing in a file is executed. Tensors are stored uncompressed in both formats, so that a file unpacks to its own size
at most; a pickled file with a compressed part is refused. Only `read_weights` imports torch.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deforum.errors import UserError
from deforum.limits import ARCHIVE_DIRECTORY, WEIGHTS, WEIGHTS_HEADER
from deforum.models.pickled import SIZES, Storage, TensorView, read_pickle

if TYPE_CHECKING:
    import torch

SAFETENSORS = (".safetensors", ".sft")
SUFFIXES = (*SAFETENSORS, ".ckpt", ".pt", ".pth", ".bin")

_BEFORE_ZIP = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9\x20j\xa8P\x19."  # start of the files of PyTorch before 1.6


@dataclass(frozen=True)
class Header:
    """What a weight file says of its tensors."""

    shapes: Mapping[str, tuple[int, ...]]
    """By name of the tensor."""
    kinds: Mapping[str, str]
    """Kind of number by name of the tensor: F32, F16, BF16, F8_E4M3, ..., as in safetensors files."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Texts of a safetensors file."""


def read_header(path: Path) -> Header:
    """Read names, shapes and kinds of a file's tensors; no numbers are read.

    Raises UserError for a file that is broken, or that is not read for its size or its contents.
    """
    if path.suffix.lower() in SAFETENSORS:
        return _read_safetensors(path)
    views = dict(_views(_read_pickled(path)[0]))
    return Header({name: view.shape for name, view in views.items()}, {name: view.kind for name, view in views.items()})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file onto the CPU; large files are mapped, not copied. Raises UserError as `read_header`.

    In a pickled file they are those of its "state_dict" or of another name of _INNER, where it has one.
    """
    if path.suffix.lower() in SAFETENSORS:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        _read_safetensors(path)
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be read ({str(error)[:200]}); fetch it again") from None
    import torch

    root, places = _read_pickled(path)
    memory: dict[str, torch.Tensor] = {}
    made: dict[str, torch.Tensor] = {}
    for name, view in _views(root):
        key = view.storage.key
        if key not in memory:
            memory[key] = _map(path, places[key], view.storage.count * SIZES[view.storage.kind])
        numbers = memory[key].view(_dtype(view.kind))
        made[name] = torch.as_strided(numbers, view.shape, view.stride, view.offset)
    return made


def _dtype(kind: str) -> Any:
    import torch

    names = {
        "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
        "BOOL": "bool",
    }  # fmt: skip
    return getattr(torch, names[kind])


def _map(path: Path, offset: int, count: int) -> torch.Tensor:
    """Map `count` bytes of a file as a tensor of bytes; changes to it do not reach the file."""
    import numpy as np
    import torch

    if count == 0:
        return torch.empty(0, dtype=torch.uint8)
    numbers = np.memmap(path, np.uint8, mode="c", offset=offset, shape=(count,))
    return torch.from_numpy(numbers if numbers.ctypes.data % 16 == 0 else np.array(numbers))


# --- safetensors ------------------------------------------------------------------------------------------------------


def _read_safetensors(path: Path) -> Header:
    """Read the header: its length in 8 bytes, then JSON; the numbers follow without gaps."""

    def broken(why: str) -> UserError:
        return UserError(f"{path}: not a whole .safetensors file ({why}; an interrupted download?); fetch it again")

    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if length > WEIGHTS_HEADER.most:
                raise broken(f"its header would be longer than {WEIGHTS_HEADER}")
            header = json.loads(file.read(length)) if length else None
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise broken("its header is not JSON") from None
    if not isinstance(header, dict):
        raise broken("its header is not a table of tensors")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise broken("its metadata are not a table of texts")
    spans, shapes, kinds = [], {}, {}
    for name, entry in header.items():
        fields: Any = [entry.get(key) for key in _FIELDS] if isinstance(entry, dict) else [None] * 3
        kind, shape, span = fields
        if not (isinstance(kind, str) and _are_counts(shape) and _are_counts(span) and len(span) == 2):
            raise broken(f"its header says no type, shape and place of {name[:80]!r}")
        if kind in SIZES and span[1] - span[0] != SIZES[kind] * prod(shape):
            raise broken(f"its header gives {name[:80]!r} a place of the wrong size")
        spans.append(tuple(span))
        shapes[name], kinds[name] = tuple(shape), kind
    end = 0
    for first, last in sorted(spans):
        if first != end or last < first:
            raise broken("its tensors overlap or leave gaps")
        end = last
    if size != 8 + length + end:
        raise broken(f"{size:,} bytes, where its header says {8 + length + end:,}")
    _check_size(path, end)
    return Header(shapes, kinds, {str(key): value for key, value in metadata.items() if isinstance(value, str)})


_FIELDS = ("dtype", "shape", "data_offsets")


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and len(values) <= 64 and all(type(n) is int and n >= 0 for n in values)


def _check_size(path: Path, size: int) -> None:
    WEIGHTS.check(size, f"{path}: the file, unpacked,")


# --- pickled files ----------------------------------------------------------------------------------------------------


class _Guarded(io.BufferedReader):
    """A file of which only pieces of a limited length are read: zipfile reads a table of contents in one piece."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > ARCHIVE_DIRECTORY.most + 1:
            raise ValueError(f"its archive has a table of contents longer than {ARCHIVE_DIRECTORY}")
        return super().read(size)


def _read_pickled(path: Path) -> tuple[Any, dict[str, int]]:
    """Read a pickled file's contents and the position of each storage in the file. Raises UserError."""
    try:
        with _Guarded(path.open("rb", buffering=0)) as file:
            start = file.read(len(_BEFORE_ZIP))
            file.seek(0)
            root, places = _read_before_zip(file) if start == _BEFORE_ZIP else _read_archive(path, file)
        _check_size(path, sum(prod(view.shape) * SIZES[view.kind] for _, view in _views(root)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        # zipfile raises a RuntimeError for an encrypted file, and NotImplementedError for an odd compression.
        reason = str(error).strip()[:200] or type(error).__name__
        raise UserError(
            f"{path}: not a {path.suffix or 'weight file'} that can be read safely ({reason}); use the model's "
            f".safetensors file"
        ) from None
    return root, places


def _read_archive(path: Path, file: IO[bytes]) -> tuple[Any, dict[str, int]]:
    """Read a zip archive as torch.save writes it: data.pkl beside data/KEY, nothing compressed."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        total, size = sum(entry.file_size for entry in entries), path.stat().st_size
        if any(entry.flag_bits & 1 for entry in entries):
            raise ValueError("its archive is encrypted")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its archive is compressed; torch never compresses weights")
        if total > size:
            raise ValueError(f"its archive unpacks to {total:,} bytes, more than the {size:,} of the file")
        by_name = {entry.filename: entry for entry in entries}
        name = next((name for name in by_name if name.rpartition("/")[2] == "data.pkl"), None)
        if name is None:
            raise ValueError("its archive has no data.pkl")
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in by_name and archive.read(f"{folder}byteorder").strip() != b"little":
            raise ValueError("its numbers are big-endian")
        with archive.open(name) as pickle:
            root = read_pickle(pickle)
    places = {}
    for storage in {view.storage for _, view in _views(root)}:
        entry = by_name[f"{folder}data/{storage.key}"]
        if entry.file_size < storage.count * SIZES[storage.kind]:
            raise ValueError("a tensor lacks its numbers")
        places[storage.key] = _data_of(file, entry)
    return root, places


def _data_of(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Return where the data of an uncompressed entry begin in the file: behind its own header, name and extra field."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise ValueError("its archive is broken")
    name, extra = struct.unpack("<HH", header[26:30])
    return entry.header_offset + 30 + int(name) + int(extra)


def _read_before_zip(file: IO[bytes]) -> tuple[Any, dict[str, int]]:
    """Read PyTorch's format before 1.6: pickles of a mark, a version, the system, the contents and the storages' keys.

    The storages follow, each with its count in 8 bytes.
    """
    read_pickle(file)
    read_pickle(file)
    system, root, keys = (read_pickle(file) for _ in range(3))
    if not isinstance(system, dict) or not system.get("little_endian") or not isinstance(keys, list):
        raise ValueError("its numbers are big-endian, or it is broken")
    storages = {view.storage.key: view.storage for _, view in _views(root)}
    places, position = dict[str, int](), file.tell()
    size = file.seek(0, 2)
    file.seek(position)
    for key in map(str, keys):
        if key not in storages:
            raise ValueError("it has storages without a tensor")
        count = struct.unpack("<q", file.read(8))[0]
        if count != storages[key].count or file.tell() + _bytes(storages[key]) > size:
            raise ValueError("a tensor lacks its numbers")
        places[key] = file.tell()
        file.seek(_bytes(storages[key]), 1)
    return root, places


def _bytes(storage: Storage) -> int:
    return storage.count * SIZES[storage.kind]


_PARTS = ("image_proj", "ip_adapter")
"""Names of tables of weights that lie side by side, as IP-Adapters have them; their weights are named "table.name"."""
_INNER = ("state_dict", "model", "params_ema", "params", "string_to_param")
"""Names under which checkpoints have their weights, upscalers, and at last textual inversions."""


def _views(root: Any) -> Iterator[tuple[str, TensorView]]:
    """Yield the tensors of a checkpoint by name: those under a name of _INNER, where it has one."""
    if isinstance(root, dict):
        inner = next((root[key] for key in _INNER if isinstance(root.get(key), dict)), root)
        parts = [(f"{part}.", inner[part]) for part in _PARTS if isinstance(inner.get(part), dict)]
        for prefix, table in (("", inner), *parts):
            yield from ((f"{prefix}{name}", view) for name, view in table.items() if isinstance(view, TensorView))
