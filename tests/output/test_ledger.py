"""The ledger of a run: torn lines, altered files, and its lock."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from deforum.output.ledger import LEDGER_FILE, Ledger, Locked, is_whole, read_entries


def filled(folder: Path, count: int = 3) -> Ledger:
    ledger = Ledger(folder)
    for index in range(count):
        ledger.save(folder / "frames" / f"{index:09}.png", index, b"picture %d" % index, seed=index, seconds=0.5)
    return ledger


def test_a_line_tells_a_file(tmp_path: Path) -> None:
    filled(tmp_path).close()
    entries = read_entries(tmp_path)
    assert [(entry.frame, dict(entry.facts)) for entry in entries.values()] == [
        (index, {"seed": index, "seconds": 0.5}) for index in range(3)
    ]
    assert all(is_whole(tmp_path, entry) for entry in entries.values())
    (tmp_path / "frames" / "000000001.png").write_bytes(b"picture x")
    (tmp_path / "frames" / "000000002.png").unlink()
    assert [is_whole(tmp_path, entry) for entry in entries.values()] == [True, False, False]


def test_a_ledger_that_is_torn_at_any_byte_has_the_lines_before_and_goes_on(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / LEDGER_FILE
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        whole = content[:end].count(b"\n")
        assert len(read_entries(tmp_path)) == whole
    ledger = Ledger(tmp_path)
    ledger.save(tmp_path / "frames" / "000000002.png", 2, b"new")
    ledger.close()
    assert path.read_bytes().count(b"\n") == 3 and len(read_entries(tmp_path)) == 3


@pytest.mark.parametrize(
    "line",
    [
        "[]", "nothing", "{}", '{"file": "../a.png", "frame": 0, "sha256": "", "bytes": 0}', "[" * 5000,
        '{"file": "/etc/passwd", "frame": 0, "sha256": "", "bytes": 0}',
        '{"file": 3, "frame": 0, "sha256": "", "bytes": 0}',
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_passed_over(line: str, tmp_path: Path) -> None:
    filled(tmp_path).close()
    with (tmp_path / LEDGER_FILE).open("a") as file:
        file.write(line + "\n")
    assert len(read_entries(tmp_path)) == 3


def test_one_process_at_a_time(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    with pytest.raises(Locked, match="this run is going"):
        Ledger(tmp_path)
    ledger.close()
    Ledger(tmp_path).close()


def test_a_file_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    ledger, path = filled(tmp_path), tmp_path / "frames" / "000000001.png"
    before, lines = path.stat().st_ino, (tmp_path / LEDGER_FILE).read_bytes()
    ledger.save(path, 1, b"picture 1")
    assert (path.stat().st_ino, (tmp_path / LEDGER_FILE).read_bytes()) == (before, lines)
    path.write_bytes(b"other")
    ledger.save(path, 1, b"picture 1")
    assert path.read_bytes() == b"picture 1"
    ledger.close()


def test_settling_ends_where_a_file_cannot_be_written(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    (tmp_path / "depth").write_text("in the way")
    ledger.expect(tmp_path / "depth" / "000000000.png")
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(ledger.settle(lambda: False)))
    waiting.start()
    with pytest.raises(OSError):
        ledger.save(tmp_path / "depth" / "000000000.png", 0, b"")
    waiting.join()
    assert found == [False]
    ledger.close()
