"""Camera files as a stranger might send them: each is an attack, with why it is there."""

from __future__ import annotations

import base64
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from deforum.camera_files.reading import Wanted
from deforum.camera_files.table import FORMATS, read_camera
from deforum.errors import UserError
from deforum.limits import CAMERA_FILE
from deforum.loading import load
from deforum.reports.tabulate import look
from tests.helpers.cameras import NAMES, random_path, write_camera
from tests.security.fuzz import MOST_CPU, assert_fit_for_a_terminal, limited

POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
LENS = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}]


def scene(numbers: bytes = b"", uri: str | None = None, **changes: Any) -> str:
    """A glTF whose camera moves by two keys."""
    if uri is None:
        uri = "data:;base64," + base64.b64encode(numbers).decode()
    root = {
        "nodes": [{"camera": 0}], "cameras": LENS, "buffers": [{"uri": uri}],
        "bufferViews": [{"buffer": 0}, {"buffer": 0, "byteOffset": 8}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 2, "type": "SCALAR"},
                      {"bufferView": 1, "componentType": 5126, "count": 2, "type": "VEC3"}],
        "animations": [{"samplers": [{"input": 0, "output": 1}],
                        "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}]}],
    }  # fmt: skip
    return json.dumps(root | changes)


def accessors(**change: Any) -> list[dict[str, Any]]:
    usual = {"bufferView": 0, "componentType": 5126, "count": 2, "type": "SCALAR"}
    return [usual | change, usual | {"bufferView": 1, "type": "VEC3"}]


FLOATS = struct.pack("<8f", 0, 1, 0, 0, 0, 1, 2, 3)
AE = "Adobe After Effects 8.0 Keyframe Data\n\nTransform\tPosition\n\tFrame\tX pixels\tY pixels\tZ pixels\n"

ATTACKS: list[tuple[str, str | bytes, str, str]] = [
    # (name, content, what the message says, why)
    ("a.chan", "1 0 0 " + "9" * 9000 + " 0 0 0\n", "out of range", "numbers without end"),
    ("a.chan", "1 0 0 1_000 0 0 0\n", "out of range", "Python reads underscores, other programs do not"),
    ("a.chan", "1 0 0 \x1b]0;OWNED\x07 0 0 0\n", r"\x1b]0;OWNED\x07", "escape sequences command a terminal"),
    ("a.chan", "1 " * 3_000_000, "a.chan:1", "a line of megabytes"),
    ("a.chan", b"\0\1\2\3" * 99, "this is no text", "binary data"),
    ("a.chan", "0 0 0 0 0 0 0\n" * 9, "given twice", "many poses at one time"),
    ("transforms.json", "[" * 100_000, "nested too deeply", "nested lists overflow the stack of parsers"),
    ("transforms.json", '{"frames": ' + "[" * 100_000, "nested too deeply", "the same, within"),
    ("transforms.json", '{"frames": [' + "0," * 2_000_000 + "0]}", "at most 200,000", "millions of objects"),
    ("transforms.json", json.dumps({"frames": [{"transform_matrix": [0] * 2_000_000}]}), "2,000,000", "a matrix"),
    ("transforms.json", '{"frames": [{"transform_matrix": [' + "9" * 5000 + "]}]}", "digits", "a whole number"),
    ("transforms.json", '{"frames": [{"transform_matrix": [[NaN,0,0,0],[0,1,0,0],[0,0,1,0]]}]}', "out of range", "NaN"),
    ("transforms.json", '{"frames": [{"transform_matrix": [[1e999,0,0,0],[0,1,0,0]]}]}', "range", "infinite"),
    ("transforms.json", json.dumps({"frames": {"a": 1}}), "expected a list", "an object for a list"),
    ("transforms.json", json.dumps({"frames": [[]]}), "expected an object", "a list for an object"),
    ("transforms.json", json.dumps({"fl_x": [1], "w": 1, "h": 1, "frames": [{"transform_matrix": POSE}]}),
     "expected a number", "a list for a number"),
    ("transforms.json", json.dumps({"fps": 1e-300, "frames": [{"transform_matrix": POSE}]}), "per second", "a rate"),
    ("camera_path.json", json.dumps({"camera_path": [{"camera_to_world": "x" * 9999}]}), "expected a list", "a text"),
    ("a.gltf", scene(FLOATS, accessors=accessors(count=2**40)), "out of range", "gigabytes of values"),
    ("a.gltf", scene(FLOATS, accessors=accessors(count=9999)), "does not hold", "values that are not there"),
    ("a.gltf", scene(FLOATS, accessors=accessors(count=-1)), "whole number", "a negative length"),
    ("a.gltf", scene(FLOATS, accessors=accessors(byteOffset=2**29)), "does not hold", "beyond the buffer"),
    ("a.gltf", scene(FLOATS, bufferViews=[{"buffer": 0, "byteStride": 1}] * 2), "does not hold", "steps too short"),
    ("a.gltf", scene(FLOATS, accessors=accessors(type="MAT4")), "expected numbers", "of another kind"),
    ("a.gltf", scene(struct.pack("<2f", 0, 1e9) + FLOATS[8:]), "at most 200,000 poses", "an hour of 30 years"),
    ("a.gltf", scene(struct.pack("<2f", 0, float("nan")) + FLOATS[8:]), "no numbers", "a time that is none"),
    ("a.gltf", scene(uri="../../../../../../etc/passwd"), "is not fetched", "a file elsewhere"),
    ("a.gltf", scene(uri="/etc/passwd"), "is not fetched", "the same"),
    ("a.gltf", scene(uri="%2e%2e/%2e%2e/secret"), "is not fetched", "the same, encoded"),
    ("a.gltf", scene(uri="link/passwd"), "is not fetched", "the same, through a link"),
    ("a.gltf", scene(uri="http://localhost:1/x.bin"), "is not fetched", "a request to a network tells who renders"),
    ("a.gltf", scene(uri="//host/share/x"), "on a network", "opening it sends a password hash on Windows"),
    ("a.gltf", scene(uri="a\0b"), "NUL", "paths end at NUL"),
    ("a.gltf", scene(uri="a.gltf"), "no numbers, or out of range", "the file itself"),
    ("a.gltf", scene(uri="data:;base64,%%%"), "no base64", "broken text"),
    ("a.gltf", scene(FLOATS, nodes=[{"camera": 0, "children": [1]}, {"children": [0]}]), "in a circle", "a circle"),
    ("a.gltf", scene(FLOATS, nodes=[{"camera": 0}] + [{"children": [n]} for n in range(999)]), "levels", "a deep tree"),
    ("a.gltf", scene(FLOATS, nodes=[{"camera": 0, "name": "\x1b[31m"}, {"camera": 0, "name": "b"}], cameras=[]),
     "no number 0", "a camera that is not there"),
    ("a.gltf", scene(FLOATS, nodes=[{"camera": 0}, {"children": [0], "scale": [0, 0, 0]}]), "turns nothing", "flat"),
    ("a.gltf", scene(FLOATS, nodes=[{"camera": 0}, {"children": [0], "scale": [1, 5, 1], "rotation": [0, 0, 1, 2]}]),
     "no rotation", "a sheared camera"),
    ("a.glb", b"glTF" + struct.pack("<IIII", 2, 99, 2**32 - 1, 0x4E4F534A), "cut off", "a chunk of gigabytes"),
    ("a.glb", b"glTF\2", "no glTF of version 2", "a header alone"),
    ("k.txt", AE + "\t0\t1\t2\t3\n\t1000000000\t1\t2\t3\n", "at most 200,000 poses", "frames between keys"),
    ("k.txt", AE + "\t0\t1\t2\tnan\n", "out of range", "NaN"),
    ("k.txt", AE + "\t0\t1\t2\n", "this row has 2 values", "a missing axis"),
    ("s.txt", 'translation_x = "1000000000: (1)"', "poses; expected at most 200,000", "a keyframe beyond all frames"),
    ("s.txt", "translation_x = \"0: (__import__('os').system('touch owned'))\"", "s.txt:1", "code"),
    ("s.txt", 'translation_x = "0: (9**9**9)"', "s.txt", "a number without end"),
    ("s.txt", 'translation_x = "' + "0: (1), " * 90_000, "at most 200,000 characters", "a text of megabytes"),
    ("s.txt", "translation_x = \"" + " " * 150_000 + "x" + "' \"" * 9, "s.txt:1", "a pattern that backtracks"),
    ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n", "cameras.txt: there is no such file", "half a model"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "says", "why"), ATTACKS, ids=[f"{n}" for n in range(len(ATTACKS))])
def test_a_camera_file_of_a_stranger_is_refused(
    tmp_path: Path, name: str, content: str | bytes, says: str, why: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to("/etc")
    (home / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with limited(MOST_CPU), pytest.raises(UserError) as caught:
        read_camera(home / name, Wanted(30))
    assert says in str(caught.value), why
    assert_fit_for_a_terminal(str(caught.value).replace(str(tmp_path), ""))
    assert sorted(path.name for path in home.iterdir()) == sorted([name, "link"])


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    for name in ("a.chan", "a.glb", "transforms.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(CAMERA_FILE.most + 1)
        with limited(MOST_CPU), pytest.raises(UserError, match="at most 67,108,864 bytes"):
            read_camera(tmp_path / name, Wanted())


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/passwd", "http://localhost:1/a.chan", "//host/a.chan", "a\0.chan"])
def test_what_a_settings_file_may_name(path: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load({"animation_mode": "3D", "camera_file": path, "prompts": {"0": "a"}})
    assert_fit_for_a_terminal(str(caught.value))
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_end_in_a_path_or_a_message(name: str, tmp_path: Path) -> None:
    """Bytes changed, cut out and put in at random; what can be read can be sampled too."""
    chance = random.Random(name)
    target = write_camera(tmp_path, name, random_path(0, 3))
    files = sorted(target.iterdir()) if target.is_dir() else [target]
    good = [file.read_bytes() for file in files]
    for _ in range(60):
        at = chance.randrange(len(files))
        content = bytearray(good[at])
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(content))
            if chance.random() < 0.5:
                content[place] = chance.randrange(256)
            else:
                content[place : place + chance.randint(1, 30)] = chance.choice((b"", b"-", b"9" * 40, b"1e308", b"\n"))
        files[at].write_bytes(content)
        try:
            with limited(MOST_CPU):
                values = {"animation_mode": "3D", "camera_file": str(tmp_path / NAMES[name]), "max_frames": 4}
                look(load(values).settings)
        except UserError as error:
            assert_fit_for_a_terminal(str(error).replace(str(tmp_path), ""))
        files[at].write_bytes(good[at])
