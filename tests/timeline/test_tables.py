"""Columns of CSV and JSON files as variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deforum.settings.options import VariableUnit
from deforum.timeline.tables import TableError, read_table

FRAMES = np.array([0, 1, 5, 10, 15, 40])


@pytest.mark.parametrize(
    ("name", "text", "unit", "expected"),
    [
        ("a.csv", "rms\n0\n10\n20\n", {}, [0, 10, 20, 20, 20, 20]),  # a row is a frame
        ("a.csv", "frame,rms\n10,1\n0,0\n", {}, [0, 0.1, 0.5, 1, 1, 1]),  # in any order
        ("a.csv", "time;rms\n0;0\n1;1\n\n3;2\n", {}, [0, 0.1, 0.5, 1, 1.25, 2]),  # 10 fps
        ("a.csv", "sec\trms\tx\n0\t0\t1\n2\t4\t1\n", {"column": "rms"}, [0, 0.2, 1, 2, 3, 4]),
        ("a.csv", "\ufefff,e\n0,0\n10,5\n", {"index": "f", "column": "e"}, [0, 0.5, 2.5, 5, 5, 5]),
        ("a.csv", "when,e\n0,0\n1,5\n", {"index": "when", "by": "time"}, [0, 0.5, 2.5, 5, 5, 5]),
        ("a.csv", "frame,e\n0,1\n10,2\n", {"interpolation": "hold"}, [1, 1, 1, 2, 2, 2]),
        ("a.csv", "frame,e\n5,1\n10,\n15,3\n", {}, [1, 1, 1, 2, 3, 3]),  # an empty cell
        ("a.csv", "0,7\n10,8\n", {"column": "2", "index": "1"}, [7, 7.1, 7.5, 8, 8, 8]),  # no names
        ("a.csv", "energy,rms\n3,4\n", {}, [3] * 6),  # that of the variable's name
        ("a.json", "[1, 2, 3]", {}, [1, 2, 3, 3, 3, 3]),
        ("a.json", '[{"frame": 0, "v": 1}, {"frame": 10, "v": 2}]', {}, [1, 1.1, 1.5, 2, 2, 2]),
        ("a.json", '{"frame": [0, 10], "bass": {"left": [0, 1]}}', {"column": "bass.left"}, [0, 0.1, 0.5, 1, 1, 1]),
        ("a.txt", ' {"v": [null, 5]}', {}, [5] * 6),
    ],
)
def test_values(name: str, text: str, unit: dict[str, str], expected: list[float], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    table = read_table(VariableUnit(name="energy", file=str(path), **unit))  # type: ignore[arg-type]
    np.testing.assert_allclose(table.at(FRAMES, 10), expected)


@pytest.mark.parametrize(
    ("content", "unit", "says"),
    [
        (b"a,b\n1,2\n", {}, "it has the columns a, b; say which"),
        (b"rms,b\n1,2\n", {"column": "rns"}, "no column 'rns'; it has rms, b; did you mean rms?"),
        (b"a\n1\nx\n", {}, "line 3: 'x' in column 'a' is no finite number"),
        (b"a\n1\ninf\n", {}, "line 3: 'inf'"),
        (b"a\n\n", {}, "has no number in it"),
        (b"", {}, "is empty"),
        (b"\xff\xfe\x00", {}, "is not UTF-8"),
        (b"{", {}, "is no JSON"),
        (b"[" * 100_000, {}, "is no JSON"),
        (b"{}", {}, "expected a list of numbers"),
        (b'[1, "x"]', {}, "entry 1: 'x'"),
        (b'{"a": [[1], 2]}', {}, "entry 0"),
    ],
)
def test_faults(content: bytes, unit: dict[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_table(VariableUnit(name="energy", file=str(path), **unit))  # type: ignore[arg-type]
    assert says in str(caught.value) and str(path) in str(caught.value)
