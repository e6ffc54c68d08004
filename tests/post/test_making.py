"""Chains that are made: their frames and films, what is made again, and what is left alone."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deforum.errors import UserError
from deforum.output.choice import Outputs
from deforum.post.material import of_film, of_run
from deforum.post.record import chain_of, read_step, verify_steps
from deforum.settings.options import Settings
from deforum.settings.steps import Film, Finish, Frames, Interpolate, Upscale
from deforum.video.ffmpeg import count_frames, ffmpeg_path
from deforum.video.tags import Chapter
from tests.helpers.films import HEIGHT, WIDTH, chart, decode
from tests.output.runs import write_run
from tests.post.runs import Chained, enlarged, read_frames

TWICE = Upscale(2.0, "lanczos")
COUNT = 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "sea", count=COUNT)
    return tmp_path / "sea"


def test_frames_and_film_of_a_step(run: Path) -> None:
    chained = Chained()
    made = chained.make(run, TWICE)
    assert made.films == (run / "sea_upscale2.mp4",)
    assert made.folders == (run / "post" / "upscale2",)
    assert chained.begun == ["upscale 2, lanczos: 4", "film h264: 4"]
    for index, pixels in enumerate(read_frames(made.folders[0])):
        assert np.abs(pixels.astype(int) - enlarged(chart(index), 2)).max() <= 1
    assert decode(made.films[0], 2 * WIDTH, 2 * HEIGHT).shape[0] == COUNT
    assert (run / "sea.mp4").is_file()
    assert len(list((run / "frames").iterdir())) == COUNT


def test_films_of_steps_have_the_chapters_of_the_run(run: Path) -> None:
    """At the times at which their frames are shown."""
    material = replace(of_run(run), chapters=(Chapter(0, "a sea"), Chapter(2, "a storm")))
    chained = Chained()
    [film] = chained.make(material, TWICE, Interpolate(3)).films
    told = subprocess.run([ffmpeg_path(), "-i", str(film)], capture_output=True, text=True).stderr
    assert told.count("Chapter #0") == 2 and "start 0.083333" in told  # frame 2 of 24 fps
    chained.make(material, TWICE, Interpolate(3))
    assert chained.begun == []


def test_what_is_made_is_not_made_again(run: Path) -> None:
    chained = Chained()
    made = chained.make(run, TWICE)
    before = made.films[0].read_bytes()
    assert chained.make(run, TWICE) == made
    assert chained.begun == []
    assert made.films[0].read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "frames"),
    [
        (lambda path: path.unlink(), 1),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), 1),
        (lambda path: (path.parent.parent / "frames.jsonl").unlink(), COUNT),
        (lambda path: (path.parent.parent / "step.json").write_text("{"), None),
        (lambda path: shutil.rmtree(path.parent), COUNT),
    ],
    ids=["a frame deleted", "a frame cut short", "the ledger deleted", "the record damaged", "all frames deleted"],
)  # fmt: skip
def test_what_is_missing_is_made_again(run: Path, spoil: object, frames: int | None) -> None:
    chained = Chained()
    folder = chained.make(run, TWICE).folders[0]
    whole = [pixels.tobytes() for pixels in read_frames(folder)]
    spoil(folder / "frames" / "000000002.png")  # type: ignore[operator]
    made = chained.make(run, TWICE)
    assert [pixels.tobytes() for pixels in read_frames(made.folders[0])] == whole
    if frames is None:  # what has no record is left alone
        assert made.folders[0] == run / "post" / "upscale2_2"
    else:
        assert chained.begun == [f"upscale 2, lanczos: {frames}"]  # the film was whole


def test_frames_of_changed_frames_are_made_again_and_their_film(run: Path) -> None:
    chained = Chained()
    chained.make(run, TWICE)
    shutil.copy(run / "frames" / "000000000.png", run / "frames" / "000000003.png")
    made = chained.make(run, TWICE)
    assert chained.begun == ["upscale 2, lanczos: 1", "film h264: 4"]
    frames = read_frames(made.folders[0])
    assert np.array_equal(frames[3], frames[0])
    assert made.films == (run / "sea_upscale2.mp4",)


def test_other_options_have_a_folder_and_a_film_of_their_own(run: Path) -> None:
    chained = Chained()
    first = chained.make(run, TWICE, Film("gif"))
    second = chained.make(run, TWICE, Film("webp", 50))
    third = chained.make(run, TWICE, Film("webp", 60))
    chained.make(replace(of_run(run), settings=Settings(video_format="webm")), TWICE)
    chained.make(run, TWICE, Film("gif"))
    assert chained.begun == []
    chained.make(run, TWICE, Film("webp", 70))
    assert chained.begun == ["film webp, quality 70: 4"]
    assert [made.films[0].name for made in (first, second, third)] == [
        "sea_upscale2.gif", "sea_upscale2_2.webp", "sea_upscale2_3.webp",
    ]  # fmt: skip
    assert second.films[0].is_file()


def test_a_stop_and_what_goes_on_from_it(run: Path) -> None:
    whole = [frame.tobytes() for frame in read_frames(Chained().make(run, TWICE).folders[0])]
    shutil.rmtree(run / "post")
    (run / "sea_upscale2.mp4").unlink()
    stopped = Chained(stop_after=2).make(run, TWICE)
    assert stopped.stopped
    assert not stopped.films
    record = read_step(run / "post" / "upscale2")
    assert record is not None
    assert not record.finished
    chained = Chained()
    made = chained.make(run, TWICE)
    assert chained.begun == ["upscale 2, lanczos: 2", "film h264: 4"]
    assert [frame.tobytes() for frame in read_frames(made.folders[0])] == whole


def test_frames_that_are_not_kept_go_once_the_film_is_there(run: Path) -> None:
    chained, step = Chained(), replace(TWICE, keep=False)
    made = chained.make(run, step)
    assert not (run / "post" / "upscale2" / "frames").exists()
    assert made.folders == ()
    assert count_frames(made.films[0]) == COUNT
    chained.make(run, step)
    assert chained.begun == []
    assert not [fault for each in verify_steps(run) for fault in each.faults]
    assert chained.make(run, TWICE).folders  # kept now, so they are made
    assert chained.begun == ["upscale 2, lanczos: 4"]


def test_steps_go_on_from_kept_frames(run: Path) -> None:
    chained = Chained()
    folder = chained.make(run, TWICE).folders[0]
    home, chain = chain_of(folder)
    assert (home, chain) == (run, (TWICE,))
    made = chained.make(run, *chain, Upscale(1.5, "lanczos"))
    assert chained.begun == ["upscale 1.5, lanczos: 4", "film h264: 4"]
    assert read_frames(made.folders[1])[0].shape == (3 * HEIGHT, 3 * WIDTH, 3)


def test_a_missing_frame_shows_the_one_before(run: Path) -> None:
    (run / "frames" / "000000001.png").unlink()
    material = of_run(run)
    assert material.notes == ("missing: frame 1; the frame before is shown instead",)
    frames = read_frames(Chained().make(material, TWICE).folders[0])
    assert np.array_equal(frames[1], frames[0])


def test_16_bits_stay_16_bits(tmp_path: Path) -> None:
    write_run(tmp_path / "sea", Outputs(picture="png16"), count=2)
    frames = read_frames(Chained().make(tmp_path / "sea", TWICE).folders[0])
    assert frames[0].dtype == np.uint16


def test_frames_in_another_format(run: Path) -> None:
    made = Chained().make(replace(of_run(run), settings=Settings(skip_video_creation=True)), TWICE, Frames("jpeg"))
    assert made.films == ()
    assert [path.name for path in sorted((made.folders[1] / "frames").iterdir())][:1] == ["000000000.jpg"]


def test_finished_frames_are_twice_as_large(run: Path) -> None:
    frames = read_frames(Chained().make(run, Finish("plain")).folders[0])
    assert frames[0].shape == (2 * HEIGHT, 2 * WIDTH, 3)


def test_frames_in_between_are_made_again_by_pairs(run: Path) -> None:
    chained, step = Chained(), Interpolate(3, interpolator="flow")
    folder = chained.make(run, step).folders[0]
    frames = read_frames(folder)
    assert len(frames) == 3 * COUNT
    assert [np.array_equal(frames[3 * index], chart(index)) for index in range(COUNT)] == [True] * COUNT
    (folder / "frames" / "000000007.png").unlink()
    chained.make(run, step)
    assert chained.begun == ["interpolate 3, flow: 1"]
    assert [again.tobytes() for again in read_frames(folder)] == [frame.tobytes() for frame in frames]


def test_a_film_is_made_larger(run: Path) -> None:
    film = (run / "sea.mp4").rename(run.parent / "other.mp4")
    chained = Chained()
    made = chained.make(of_film(film, Settings()), TWICE)
    assert made.films == (run.parent / "other_upscale2.mp4",)
    assert not (run.parent / "other_post" / "upscale2" / "frames").exists()
    assert decode(made.films[0], 2 * WIDTH, 2 * HEIGHT).shape[0] == COUNT
    chained.make(of_film(film, Settings()), TWICE)
    assert chained.begun == []


def test_a_film_of_ones_own_choice(run: Path) -> None:
    out = run.parent / "shown.mp4"
    material = of_run(run, None, (), out)
    assert Chained().make(material, TWICE).films == (out,)
    with pytest.raises(UserError, match="already exists; choose another one with -o, or add --overwrite"):
        Chained().make(material, TWICE)
    assert Chained().make(material, TWICE, overwrite=True).films == (out,)


def test_a_file_of_someone_else_is_left_alone(run: Path) -> None:
    (run / "sea_upscale2.mp4").write_text("mine")
    made = Chained().make(run, TWICE)
    assert made.films == (run / "sea_upscale2_2.mp4",)
    assert (run / "sea_upscale2.mp4").read_text() == "mine"


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda run: (run / "post" / "upscale2" / "frames" / "000000001.png").unlink(), "000000001.png: is missing"),
        (lambda run: (run / "post" / "upscale2" / "frames" / "000000001.png").write_text("x"), "is not as it was"),
        (lambda run: (run / "sea_upscale2.mp4").unlink(), "sea_upscale2.mp4: is missing"),
        (lambda run: (run / "sea_upscale2.mp4").write_text("x"), "sea_upscale2.mp4: is not as it was written"),
        (lambda run: (run / "post" / "upscale2" / "frames.jsonl").write_text(""), "not in the record: frames 0 to 3"),
    ],
)
def test_faults_are_found(run: Path, spoil: object, fault: str) -> None:
    Chained().make(run, TWICE)
    assert [each.faults for each in verify_steps(run)] == [(), ()]
    spoil(run)  # type: ignore[operator]
    assert fault in "\n".join(fault for each in verify_steps(run) for fault in each.faults)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 1}', '{"format": 1, "steps": 3}', "\0" * 9, "[" * 100_000]
)
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "step.json").write_text(text)
    assert read_step(tmp_path) is None


def test_a_record_names_no_file_elsewhere(run: Path) -> None:
    Chained().make(run, TWICE)
    path = run / "post" / "upscale2_film" / "step.json"
    path.write_text(path.read_text().replace("sea_upscale2.mp4", "../secret.mp4"))
    assert read_step(path.parent) is None
