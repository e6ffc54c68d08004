"""Runs are written with numbered pictures and read back."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.errors import UserError
from deforum.output.choice import Film, Outputs
from deforum.output.pictures import PICTURES
from deforum.output.run import Run
from deforum.settings.params import PARAMS, Params
from deforum.timeline.frame import Frame
from deforum.timeline.prompts import Prompt
from deforum.video.ffmpeg import VideoError, count_frames
from deforum.video.formats import FORMATS
from deforum.video.writer import Soundtrack, VideoWriter
from tests.video.test_writer import COLORS, chart, click, decode, hear

WIDTH, HEIGHT = 128, 96
DEFAULT = Outputs()
PROMPT = "an old harbour, ärger, 港"


def frame(index: int, *, prompts: tuple[Prompt, ...] = (Prompt(PROMPT, "blurry"),)) -> Frame:
    values = {name: 0.0 for name in PARAMS} | {"strength": 0.65, "zoom": 1 + index / 1000}
    return Frame(
        index=index,
        seed=1000 + index,
        subseed=7,
        prompts=prompts,
        sampler="Euler a",
        checkpoint="",
        params=Params(**values),
    )


def open_run(folder: Path, outputs: Outputs = DEFAULT, fps: float = 24) -> Run:
    folder.mkdir()
    return Run(folder, "seed: 7\n", width=WIDTH, height=HEIGHT, fps=fps, outputs=outputs)


def write_run(folder: Path, outputs: Outputs = DEFAULT, count: int = 10) -> Run:
    with open_run(folder, outputs) as run:
        for index in range(count):
            run.write(frame(index), chart(index))
    return run


def test_a_run_has_its_frames_its_settings_and_its_film(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea")
    names = sorted(str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file())
    assert names == [*(f"frames/{i:09}.png" for i in range(10)), "sea.mp4", "settings.yaml"]
    assert (run.folder / "settings.yaml").read_text() == "seed: 7\n"
    assert run.films == (run.folder / "sea.mp4",) and count_frames(run.films[0]) == 10
    for index in range(10):
        assert (cv2.imread(str(run.picture_path(index)))[..., ::-1] == chart(index)).all()
    assert all(np.abs(got[8:24, 8:24].astype(int) - COLORS[i]).max() < 8 for i, got in enumerate(decode(run.films[0])))


def test_a_frame_says_what_it_was_made_from(tmp_path: Path) -> None:
    from PIL import Image

    run = write_run(tmp_path / "sea", count=4)
    with Image.open(run.picture_path(3)) as picture:
        info = picture.info
    assert (info["frame"], info["seed"], info["prompt"], info["negative_prompt"]) == ("3", "1003", PROMPT, "blurry")
    numbers = json.loads(info["settings"])
    assert (numbers["sampler"], numbers["subseed"]) == ("Euler a", 7)
    assert (numbers["params"]["zoom"], numbers["params"]["strength"]) == (1.003, 0.65)
    assert numbers["prompts"] == [{"positive": PROMPT, "negative": "blurry", "weight": 1.0}]
    assert len(info["run"]) == 16 and info["Software"].startswith("deforum ")


def test_handing_over_a_frame_takes_under_a_millisecond(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    spent: list[float] = []
    with Run(tmp_path / "run", "", width=512, height=512, fps=24, outputs=Outputs(films=())) as run:
        for index in range(12):
            started = time.perf_counter()
            run.write(frame(index), pixels)
            spent.append(time.perf_counter() - started)
            time.sleep(0.03)
    assert sorted(spent)[len(spent) // 2] < 0.001


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
    command = message.splitlines()[-1].strip()
    assert command.startswith(str(script))
    monkeypatch.undo()
    from deforum.video.ffmpeg import ffmpeg_path

    subprocess.run([ffmpeg_path(), *shlex.split(command)[1:]], check=True, capture_output=True)
    assert count_frames(tmp_path / "sea" / "sea.mp4") == 40


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
    assert error.value.__notes__ == [f"frames finished: 5, in {tmp_path / 'sea'}"]
    assert count_frames(tmp_path / "sea" / "sea.mp4") == 5
    assert len(list((tmp_path / "sea" / "frames").iterdir())) == 5


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "sea"):
        print(1 / 0)
    assert not any(tmp_path.iterdir())


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as error, open_run(tmp_path / "sea") as run:
        for index in range(5):
            run.write(frame(index), chart(index))
        raise KeyboardInterrupt
    assert time.monotonic() - started < 3
    assert error.value.__notes__[0].startswith("frames finished: ")


def test_a_full_disk_is_a_sentence_not_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="the disk is full; make room") as error:
        write_run(tmp_path / "sea", Outputs(films=()), count=30)
    # A frame that was already waiting may fail in the same way, and is noted before.
    assert error.value.__notes__[-1] == f"frames finished: 0, in {tmp_path / 'sea'}"


def test_memory_does_not_grow_with_frames(tmp_path: Path) -> None:
    """Forty frames of 3 MB on a disk that takes 5 ms for each: no more than a handful is held."""
    import tracemalloc

    (tmp_path / "run").mkdir()
    gate = threading.Lock()
    tracemalloc.start()
    with gate, pytest.MonkeyPatch.context() as patch:
        patch.setattr("deforum.output.run.encode", lambda pixels, kind, texts: time.sleep(0.005) or b"")
        with Run(tmp_path / "run", "", width=1024, height=1024, fps=24, outputs=Outputs(films=())) as run:
            for index in range(40):
                run.write(frame(index), np.full((1024, 1024, 3), index, np.uint8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 3 * 2**20


# --- sound and choices ------------------------------------------------------------------------------------------------


def test_a_run_with_sound(tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    run = write_run(tmp_path / "sea", Outputs(films=(Film(soundtrack=Soundtrack(sound)),)), count=24)
    heard = hear(run.films[0])
    assert abs(np.argmax(np.abs(heard) > 0.2) / 48000 - 0.25) < 0.02 and abs(len(heard) / 48000 - 1) < 0.05


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (Outputs(picture="tiff"), "'tiff' is no frame format; expected one of png, png16, jpeg"),
        (Outputs(subtitles=("zoon",)), "a frame has no 'zoon'"),
        (Outputs(films=(Film("h264", 99),)), "quality 99"),
        (Outputs(films=(Film("gif", soundtrack=Soundtrack(Path("a.mp3"))),)), "gif has no sound"),
        (Outputs(films=(Film(soundtrack=Soundtrack(Path("a.mp3"))),)), "a.mp3: no such sound file"),
    ],
)
def test_choices_are_checked_before_rendering(outputs: Outputs, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outputs.check(WIDTH, HEIGHT, 24)


def outputs_of(**changes: object) -> tuple[Outputs, tuple[str, ...]]:
    from dataclasses import replace

    from deforum.settings.options import Settings

    return Outputs.of(replace(Settings(), **changes))


def test_settings_choose_the_outputs(tmp_path: Path) -> None:
    assert outputs_of(crf=23) == (Outputs(films=(Film("h264", 23),)), ())
    assert outputs_of(crf=23, video_format="av1", video_quality=30, video_preset="4", frame_format="jpeg")[0] == (
        Outputs("jpeg", (Film("av1", 30, "4"),))
    )
    assert outputs_of(subtitles="seed, prompt strength")[0].subtitles == ("seed", "prompt", "strength")
    assert outputs_of(make_gif=True)[0].films == (Film("h264", 17), Film("gif"))
    assert outputs_of(delete_imgs=True)[0].keep_frames is False
    nothing, notes = outputs_of(delete_imgs=True, skip_video_creation=True, make_gif=True)
    assert nothing.films == () and nothing.keep_frames and "so they are kept" in notes[0]


def test_settings_choose_the_sound(tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, WIDTH, HEIGHT, 23.976, soundtrack=Soundtrack(sound)) as video:
        for index in range(30):
            video.write(chart(index))
    file, _ = outputs_of(add_soundtrack="File", soundtrack_path=str(sound))
    assert file.films[0].soundtrack == Soundtrack(sound)
    shared, _ = outputs_of(add_soundtrack="Init Video", video_init_path=str(clip), extract_from_frame=24)
    assert shared.films[0].soundtrack == Soundtrack(clip, 1.001)


def test_settings_offer_what_the_tables_have() -> None:
    from deforum.settings.options import OPTIONS

    assert OPTIONS["video_format"].choices == tuple(FORMATS)
    assert OPTIONS["frame_format"].choices == tuple(PICTURES)


def test_all_wrong_choices_are_told_together() -> None:
    with pytest.raises(UserError) as error:
        Outputs(picture="tiff", subtitles=("zoon",), films=(Film("h266"), Film("gif"))).check(WIDTH, HEIGHT, 60)
    assert len(error.value.problems) == 4  # gif cannot show 60 frames a second
