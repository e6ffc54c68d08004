"""Weight files: what torch and safetensors write is read, and what a stranger wrote is refused with a message."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deforum.errors import UserError
from deforum.limits import ARCHIVE_DIRECTORY, PICKLE, PICKLE_OPERATIONS, WEIGHTS_HEADER
from deforum.models.weights import read_header, read_weights

TENSORS = {
    "plain": torch.arange(12.0).view(3, 4),
    "view of a part": torch.arange(24).view(6, 4)[1:, ::2],
    "turned": torch.arange(15.0).view(3, 5).T,
    "half": torch.arange(4).half(),
    "bfloat16": torch.arange(4).bfloat16(),
    "empty": torch.zeros(0),
    "one number": torch.tensor(2.5),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("wrap", [lambda them: them, lambda them: {"state_dict": them, "epoch": 3, "seen": {1, 2}}])
def test_what_torch_saves_is_read(is_zip: bool, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=is_zip)
    header, read = read_header(path), read_weights(path)
    assert read.keys() == header.shapes.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert header.shapes[name] == tuple(tensor.shape)
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor.detach())


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])
def test_tables_side_by_side_are_named_by_both(is_zip: bool, tmp_path: Path) -> None:
    path, ones = tmp_path / "ip.bin", torch.ones(2, 3)
    saved = {
        "image_proj": {"proj.weight": ones},
        "ip_adapter": {"1.to_k_ip.weight": 2 * ones},
        "optimizer": {"x": ones},
    }
    torch.save(saved, path, _use_new_zipfile_serialization=is_zip)
    read = read_weights(path)
    assert read.keys() == read_header(path).shapes.keys() == {"image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"}
    assert torch.equal(read["ip_adapter.1.to_k_ip.weight"], 2 * ones)


def test_fp8_is_read(tmp_path: Path) -> None:
    path, numbers = tmp_path / "x.pt", torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)
    torch.save({"a": numbers}, path)
    assert read_header(path).kinds == {"a": "F8_E4M3"}
    assert read_weights(path)["a"].float().tolist() == [1, -2]


def test_a_change_of_what_was_read_does_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": torch.ones(1000)}, path)
    read_weights(path)["a"].zero_()
    assert read_weights(path)["a"].sum() == 1000


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    for read in (read_header, read_weights):
        with pytest.raises(UserError) as error:
            read(path)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def safetensors(header: Any, numbers: int = 4) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(numbers)


GOOD = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS: dict[str, tuple[Any, str]] = {
    "list": ([1, 2], "not a table of tensors"),
    "number": (5, "not a table of tensors"),
    "null": (None, "not a table of tensors"),
    "text": ("x", "not a table of tensors"),
    "not JSON": (b"notjson!", "not JSON"),
    "not text": (b"\xff\xfe" * 8, "not JSON"),
    "deep lists": (b"[" * 100_000, "not JSON"),
    "deep tables": (b'{"a":' * 100_000, "not JSON"),
    "huge number": (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    "entry is a list": ({"a": [1]}, "no type, shape and place of 'a'"),
    "entry is a number": ({"a": 1}, "no type, shape and place of 'a'"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [1]}}, "no type, shape and place"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, "no type, shape and place"),
    "no type": ({"a": {"shape": [1], "data_offsets": [0, 4]}}, "no type, shape and place"),
    "negative shape": ({"a": GOOD | {"shape": [-1]}}, "no type, shape and place"),
    "shape of texts": ({"a": GOOD | {"shape": ["1"]}}, "no type, shape and place"),
    "shape of infinity": (b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,4]}}', "no type, shape and place"),
    "three offsets": ({"a": GOOD | {"data_offsets": [0, 2, 4]}}, "no type, shape and place"),
    "wrong size": ({"a": GOOD | {"shape": [10**9]}}, "wrong size"),
    "overlap": ({"a": GOOD, "b": GOOD}, "overlap or leave gaps"),
    "gap": ({"a": GOOD | {"data_offsets": [4, 8]}}, "overlap or leave gaps"),
    "longer than the file": ({"a": GOOD | {"shape": [2], "data_offsets": [0, 8]}}, "bytes, where its header says"),
    "metadata list": ({"__metadata__": [1], "a": GOOD}, "not a table of texts"),
}


@pytest.mark.parametrize(("header", "what"), HEADERS.values(), ids=HEADERS)
def test_a_broken_safetensors_header_is_said(header: Any, what: str, tmp_path: Path) -> None:
    assert what in refused(tmp_path / "x.safetensors", safetensors(header))


@pytest.mark.parametrize("start", [b"", b"\0" * 7, b"\0" * 8, b"\xff" * 64, struct.pack("<Q", WEIGHTS_HEADER.most + 1)])
def test_a_broken_start_of_a_safetensors_file_is_said(start: bytes, tmp_path: Path) -> None:
    assert "not a whole .safetensors file" in refused(tmp_path / "x.safetensors", start)


def test_a_header_has_a_longest_length() -> None:
    assert WEIGHTS_HEADER.most == 16 << 20


def test_odd_but_whole_headers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "X.SAFETENSORS"
    save_file({"a": torch.zeros(2, 3), "mark": torch.zeros(0)}, path, {"k": "v"})
    header = read_header(path)
    assert dict(header.shapes) == {"a": (2, 3), "mark": (0,)} and header.metadata == {"k": "v"}


def archive(pickled: bytes = b"\x80\x02}.", *, kind: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as made:
        made.writestr("archive/data.pkl", pickled)
        for name, content in more.items():
            made.writestr(f"archive/{name}", content)
    return file.getvalue()


def encrypted() -> bytes:
    made = bytearray(archive())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        made[made.index(mark) + place] |= 1
    return bytes(made)


def method(number: int) -> bytes:
    """An archive whose entry claims another compression."""
    made = bytearray(archive())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        made[made.index(mark) + place] = number
    return bytes(made)


def claims(size: int) -> bytes:
    """An archive whose entry claims to be longer than the file."""
    made = bytearray(archive())
    place = made.index(b"PK\x01\x02")
    made[place + 20 : place + 28] = struct.pack("<II", size, size)
    return bytes(made)


def tensor(shape: str, stride: str, offset: str = "K\0", count: str = "K\x04") -> bytes:
    """The pickle of {"a": tensor} over a storage of `count` numbers; shape, stride, offset and count as opcodes."""
    persistent = f"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu{count}tQ"
    text = (
        f"\x80\x02}}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n({persistent}{offset}{shape}{stride}\x89Nt" + "Rs."
    )
    return text.encode("latin-1")


TUPLES = {"one": "K\x04\x85", "huge": "J\xff\xff\xff\x7f\x85", "zero": "K\0\x85", "text": "X\x01\0\0\0a\x85"}
ATTACKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a .ckpt"),
    "page": (b"<html>not found</html>", "not a .ckpt"),
    "zip without contents": (archive()[:40], "not a .ckpt"),
    "no pickle": (b"PK\x05\x06" + bytes(18), "no data.pkl"),
    "compressed": (archive(b"\x80\x02}." + bytes(10**6), kind=zipfile.ZIP_DEFLATED), "compressed"),
    "bzip2": (archive(kind=zipfile.ZIP_BZIP2), "compressed"),
    "unknown compression": (method(77), "compressed"),
    "encrypted": (encrypted(), "encrypted"),
    "larger than the file": (claims(1 << 30), "unpacks to 1,073,741,824 bytes, more than"),
    "many entries": (
        b"PK\x03\x04"
        + bytes(ARCHIVE_DIRECTORY.most)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, ARCHIVE_DIRECTORY.most + 2, 2, 0),
        "a table of contents longer than 4,194,304 bytes",
    ),
    "empty pickle": (archive(b""), "not a .ckpt"),
    "pickle without end": (archive(b"\x80\x02}"), "not a .ckpt"),
    "pickle of a stack that is empty": (archive(b"\x80\x02."), "broken"),
    "unknown operation": (archive(b"\x80\x02\x82\x01."), "EXT1"),
    "memo that is not there": (archive(b"\x80\x02h\x07."), "broken"),
    "mark that is not there": (archive(b"\x80\x02t."), "broken"),
    "number of many digits": (archive(b"\x80\x02I" + b"9" * 100_000 + b"\n."), "not a .ckpt"),
    "long pickle": (archive(b"\x80\x02" + b"0" * (PICKLE.most + 1)), "not a .ckpt"),
    "many operations": (archive(b"\x80\x02" + b"N0" * (PICKLE_OPERATIONS.most // 2) + b"}."), "400,000 operations"),
    "tensor without its numbers": (
        archive(tensor(TUPLES["one"], TUPLES["one"].replace("\x04", "\x01"))),
        "not a .ckpt",
    ),
    "tensor larger than its storage": (
        archive(tensor(TUPLES["huge"], TUPLES["zero"]), **{"data/0": bytes(16)}),
        "larger than its numbers",
    ),
    "tensor behind its storage": (
        archive(tensor("K\x01\x85", "K\x01\x85", offset="K\x09"), **{"data/0": bytes(16)}),
        "larger than its numbers",
    ),
    "shape of texts": (archive(tensor(TUPLES["text"], TUPLES["one"])), "no possible shape"),
    "storage of many": (
        archive(tensor("K\x01\x85", "K\x01\x85", count="J\xff\xff\xff\x7f"), **{"data/0": b"xx"}),
        "lacks",
    ),
    "big-endian": (archive(byteorder=b"big"), "big-endian"),
}


@pytest.mark.parametrize(("content", "what"), ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_pickled_file_is_said(content: bytes, what: str, tmp_path: Path) -> None:
    assert what in refused(tmp_path / "x.ckpt", content)


class Trap:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("caught"),))


def test_nothing_in_a_pickle_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 4):
        made = archive(pickle.dumps({"a": Trap(), "os": io.open}, protocol))
        (tmp_path / "x.ckpt").write_bytes(made)
        assert not read_weights(tmp_path / "x.ckpt")
    assert not Path("caught").exists()


def test_a_key_that_takes_for_ever_to_hash_is_left_out(tmp_path: Path) -> None:
    """A tuple of two of itself, forty times, has 2**40 leaves; hashing it as a key would visit each."""
    (tmp_path / "x.ckpt").write_bytes(archive(b"\x80\x02}N" + b"2\x86" * 40 + b"Ns."))
    assert not read_header(tmp_path / "x.ckpt").shapes
