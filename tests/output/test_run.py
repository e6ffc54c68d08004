"""Runs are written with numbered pictures and read back."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.errors import UserError
from deforum.loading import load
from deforum.metadata import read_texts
from deforum.output.choice import Film, Outputs
from deforum.output.film import make_films
from deforum.output.run import Run
from deforum.video.ffmpeg import VideoError, count_frames
from deforum.video.tags import read_comment
from deforum.video.writer import Soundtrack
from tests.helpers import wait_until
from tests.helpers.films import COLORS, HEIGHT, WIDTH, chart, click, decode, hear
from tests.output.runs import PROMPT, frame, open_run, write_run


def test_a_run_has_its_frames_its_settings_and_its_film(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea")
    names = sorted(str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file())
    assert names == [*(f"frames/{i:09}.png" for i in range(10)), "sea.mp4", "settings.yaml"]
    assert (run.folder / "settings.yaml").read_text().startswith("# Rendered by deforum ")
    assert run.films == (run.folder / "sea.mp4",) and count_frames(run.films[0]) == 10
    for index in range(10):
        assert (cv2.imread(str(run.picture_path(index)))[..., ::-1] == chart(index)).all()
    assert all(np.abs(got[8:24, 8:24].astype(int) - COLORS[i]).max() < 8 for i, got in enumerate(decode(run.films[0])))


def test_pictures_and_films_carry_what_they_were_made_from(tmp_path: Path) -> None:
    outputs = Outputs(films=(Film("h264"), Film("gif")))
    run = write_run(tmp_path / "sea", outputs, count=4)
    for path in (run.picture_path(3), *run.films):
        assert load(path).settings == load(run.folder).settings and load(path).settings.seed == 7
    texts = read_texts(run.picture_path(3))
    assert texts is not None and texts["Software"].startswith("deforum ")
    numbers = json.loads(texts["deforum_frame"])
    assert (numbers["frame"], numbers["seed"], numbers["sampler"], numbers["subseed"]) == (3, 1003, "Euler a", 7)
    assert (numbers["params"]["zoom"], numbers["params"]["strength"]) == (1.003, 0.65)
    assert numbers["prompts"] == [{"positive": PROMPT, "negative": "blurry", "weight": 1.0}]


def test_without_a_label_they_carry_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Run(tmp_path / "run", "", width=WIDTH, height=HEIGHT, fps=24) as run:
        run.write(frame(0), chart(0))
    assert read_texts(run.picture_path(0)) == {} and read_comment(run.films[0]) == ""


def test_handing_over_a_frame_waits_for_no_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it copied: an array that nobody can change is encoded as it is."""
    (tmp_path / "run").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    pixels.flags.writeable = False
    all_handed_over, encoded = threading.Event(), []

    def encode(given: np.ndarray, kind: str, texts: dict[str, str]) -> bytes:
        encoded.append((all_handed_over.wait(60), given is pixels))
        return b""

    monkeypatch.setattr("deforum.output.frames.encode", encode)
    with Run(tmp_path / "run", "", width=512, height=512, fps=24, outputs=Outputs(films=())) as run:
        for index in range(4):
            run.write(frame(index), pixels)
        all_handed_over.set()
    assert encoded == [(True, True)] * 4


FAILING = """#!/bin/sh
head -c 120000 >/dev/null
echo "Error: No space left on device" >&2
exit 228
"""


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_frames_are_never_lost_to_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(FAILING)
    script.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    with pytest.raises(VideoError) as error:
        write_run(tmp_path / "sea", Outputs(keep_frames=False), count=40)
    message = str(error.value)
    assert "No space left on device" in message and "status 228" in message
    assert len(list((tmp_path / "sea" / "frames").glob("*.png"))) == 40  # all, though they were not to be kept
    monkeypatch.undo()
    (note,) = error.value.__notes__
    assert note.splitlines()[-1] == f"a film from them: python render.py film {tmp_path / 'sea'}"
    made = make_films(tmp_path / "sea")
    assert made.films == (tmp_path / "sea" / "sea.mp4",) and count_frames(made.films[0]) == 40


def test_frames_go_only_when_the_film_is_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea", Outputs(keep_frames=False))
    assert sorted(p.name for p in run.folder.iterdir()) == ["sea.mp4", "settings.yaml"]
    assert count_frames(run.films[0]) == 10


def test_without_a_film_only_frames_are_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea", Outputs(films=()))
    assert run.films == () and sorted(p.name for p in run.folder.iterdir()) == ["frames", "settings.yaml"]


def test_several_films_at_once_and_deep_frames(tmp_path: Path) -> None:
    outputs = Outputs(picture="png16", films=(Film("ffv1"), Film("gif"), Film("h264", 12, "veryfast"), Film("h265")))
    assert outputs.bits == 16
    with open_run(tmp_path / "sea", outputs) as run:
        for index in range(6):
            run.write(frame(index), chart(index).astype(np.uint16) * 257)
    assert [path.name for path in run.films] == ["sea.mkv", "sea.gif", "sea.mp4", "sea_h265.mp4"]
    assert all(len(decode(path)) == 6 for path in run.films)
    assert cv2.imread(str(run.picture_path(5)), cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_an_error_while_rendering_keeps_what_is_finished_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as error, open_run(tmp_path / "sea") as run:
        for index in range(5):
            run.write(frame(index), chart(index))
        print(1 / 0)
    assert error.value.__notes__ == [
        f"frames finished: 5, in {tmp_path / 'sea'}\na film from them: python render.py film {tmp_path / 'sea'}"
    ]
    assert count_frames(tmp_path / "sea" / "sea.mp4") == 5
    assert len(list((tmp_path / "sea" / "frames").iterdir())) == 5


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "sea"):
        print(1 / 0)
    assert not any(tmp_path.iterdir())


def test_a_second_interrupt_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, waited_for = threading.Event(), []
    monkeypatch.setattr("deforum.output.frames.encode", lambda *_: waited_for.append(not left.wait(60)) or b"")
    with pytest.raises(KeyboardInterrupt) as error, open_run(tmp_path / "sea") as run:
        for index in range(5):
            run.write(frame(index), chart(index))
        raise KeyboardInterrupt
    assert not waited_for, "no picture is done yet"
    left.set()
    assert error.value.__notes__ == [f"no frame was finished in {tmp_path / 'sea'}"]
    assert wait_until(lambda: not any(thread.name.startswith("pictures") for thread in threading.enumerate()))
    assert waited_for and not any(waited_for), "what was begun, or next in line, is done afterwards"


def test_a_span_of_frames_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()
    monkeypatch.setattr("deforum.output.frames.encode", lambda *_: b"" if left.wait(60) else b"late")
    with open_run(tmp_path / "sea") as run:
        for index in range(16):
            run.write(frame(index), chart(index))
        left.set()
    assert all(run.picture_path(index).read_bytes() == b"" for index in range(16))


def test_a_full_disk_is_a_sentence_not_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("deforum.atomic.write", full)
    with pytest.raises(UserError, match="the disk is full; make room") as error:
        write_run(tmp_path / "sea", Outputs(films=()), count=30)
    # A frame that was already waiting may fail in the same way, and is noted before.
    assert error.value.__notes__[-1] == f"no frame was finished in {tmp_path / 'sea'}"


def test_memory_does_not_grow_with_frames(tmp_path: Path) -> None:
    """Forty frames of 3 MB on a disk that takes 5 ms for each: no more than a handful is held."""
    import tracemalloc

    (tmp_path / "run").mkdir()
    gate = threading.Lock()
    tracemalloc.start()
    with gate, pytest.MonkeyPatch.context() as patch:
        patch.setattr("deforum.output.frames.encode", lambda pixels, kind, texts: time.sleep(0.005) or b"")
        with Run(tmp_path / "run", "", width=1024, height=1024, fps=24, outputs=Outputs(films=())) as run:
            for index in range(40):
                run.write(frame(index), np.full((1024, 1024, 3), index, np.uint8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 3 * 2**20


def test_a_run_with_sound(tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    run = write_run(tmp_path / "sea", Outputs(films=(Film(soundtrack=Soundtrack(sound)),)), count=24)
    heard = hear(run.films[0])
    assert abs(np.argmax(np.abs(heard) > 0.2) / 48000 - 0.25) < 0.02 and abs(len(heard) / 48000 - 1) < 0.05
