"""A program in the place of the command line, where a test is about the queue: it "renders" grey frames at once.

It knows `render FILE -o RUNS` and `render --resume FOLDER`, writes the events, the record and the ledger that the queue
and the page read, stops after its frame by SIGTERM, and pauses while there is a file PAUSE. The `batch_name` of the
settings chooses what else happens: a name that begins with `crash` kills it at frame 2, `fail` ends it with an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

PACE = 0.02
"""Seconds for a frame."""


def _png(level: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes([level]) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "file": "", **fields}), flush=True)


def happened(folder: Path, what: str, **changes: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    event = {"what": what, "when": "2026-01-31T18:03:00+00:00", "frames": 0, "why": ""}
    record["history"].append({**event, "by": f"process {os.getpid()} on {platform.node()}"})
    part = folder / "run.json.part"
    part.write_text(json.dumps(record | changes))
    part.replace(folder / "run.json")


def begin(file: Path, runs: Path) -> Path:
    text = file.read_text()
    named = re.search(r"batch_name: (\w+)", text)
    length = re.search(r"max_frames: (\d+)", text)
    name, frames = named[1] if named else "run", int(length[1]) if length else 3
    if name.startswith("fail"):
        say("error", status=2, message="there is no such model", problems=[])
        say("result", status=2)
        sys.exit(2)
    number = 1
    while (folder := runs / (name if number == 1 else f"{name}_{number}")).exists():
        number += 1
    (folder / "frames").mkdir(parents=True)
    (folder / "settings.yaml").write_text(text)
    record = {
        "format": 1, "deforum": "0", "origin": file.name, "source_sha256": "", "asked": "", "total": frames,
        "parts": [{"since": 0, "settings": text}], "inputs": [], "packages": {}, "device": "cpu", "threads": 1,
        "machine": "", "is_changed": False, "notes": ["a note"], "history": [], "films": [],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    happened(folder, "began")
    return folder


def main(words: list[str]) -> int:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    if words[1] == "--resume":
        folder = Path(words[2])
        happened(folder, "resumed")
    else:
        folder = begin(Path(words[1]), Path(words[3]))
    total = json.loads((folder / "run.json").read_text())["total"]
    ledger = (folder / "frames.jsonl").open("a+")
    ledger.seek(0)
    done = len(ledger.readlines())
    say("prepared", frames=total)
    say("loaded", folder=str(folder), total=total)
    for index in range(done, total):
        if index == 2 and folder.name.startswith("crash") and words[1] != "--resume":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PACE)
        picture, name = _png(index * 9 % 256), f"frames/{index:09}.png"
        (folder / name).write_bytes(picture)
        told = {"file": name, "frame": index, "sha256": hashlib.sha256(picture).hexdigest(), "bytes": len(picture)}
        ledger.write(json.dumps({**told, "seed": index, "seconds": PACE}) + "\n")
        ledger.flush()
        say("times", frame=index, seconds={"diffuse": 0.25, "show": 0.125})
        say(
            "frame",
            frame=index,
            seed=index,
            sampler="",
            prompt="a sea",
            negative_prompt="",
            done=index + 1,
            total=total,
        )
        while (folder / "PAUSE").exists() and not stopped:
            happened(folder, "paused")
            while (folder / "PAUSE").exists() and not stopped:
                time.sleep(PACE)
            happened(folder, "resumed")
        if stopped and index + 1 < total:
            happened(folder, "stopped")
            say("finished", video=None, films=[], folder=str(folder), frames=index + 1, stopped=True)
            say("result", status=143)
            return 143
    happened(folder, "finished", finished=True)
    say("finished", video=None, films=[], folder=str(folder), frames=total, stopped=False)
    say("result", status=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
