"""Films of frames that are on the disk: after a stop, and in another format, size or rate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.errors import UserError
from deforum.loading import load
from deforum.output.choice import Film, Outputs
from deforum.output.film import make_films
from deforum.output.finished import ranges
from deforum.video.find import VideoFile, resolve_clip
from deforum.video.tags import read_comment
from tests.helpers import wait_until
from tests.helpers.films import HEIGHT, WIDTH, chart, click, decode, hear
from tests.output.runs import frame, open_run, write_run


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    """A run of 10 frames without a film, as after a kill."""
    return write_run(tmp_path / "sea", Outputs(films=())).folder


def looks_like(got: np.ndarray, index: int) -> bool:
    """Whether a decoded frame is the chart of an index."""
    return bool(np.abs(got[8:24, 8:24].astype(int) - chart(index)[8:24, 8:24]).max() < 10)


def shown(path: Path) -> list[int]:
    """Return the indices of the frames that a film shows; -1 for any other."""
    frames = decode(path)
    return [next((index for index in range(10) if looks_like(got, index)), -1) for got in frames]


def video(path: Path) -> VideoFile:
    media = resolve_clip(path).media
    assert isinstance(media, VideoFile)
    return media


def test_a_run_without_a_film(sea: Path) -> None:
    told: list[tuple[int, int]] = []
    made = make_films(sea, progress=lambda done, total: told.append((done, total)))
    assert made.films == (sea / "sea.mp4",) and (made.frames, made.notes) == (10, ())
    assert shown(made.films[0]) == list(range(10)) and video(made.films[0]).rate == 24
    assert told == [(done, 10) for done in range(1, 11)]
    assert load(made.films[0]).settings == load(sea).settings
    assert "from a.yaml\n" in str(read_comment(made.films[0]))


@pytest.mark.parametrize(
    ("overrides", "suffix", "size", "rate"),
    [
        (["video_format=webm", "fps=12"], ".webm", (WIDTH, HEIGHT), 12),
        (["width=64"], ".mp4", (64, 48), 24),
        (["height=192", "video_format=ffv1"], ".mkv", (256, 192), 24),
        (["W=100", "height=50", "fps=30"], ".mp4", (100, 50), 30),
        (["video_format=gif"], ".gif", (WIDTH, HEIGHT), 24),
    ],
)
def test_another_format_size_and_rate(
    overrides: list[str], suffix: str, size: tuple[int, int], rate: int, sea: Path, tmp_path: Path
) -> None:
    made = make_films(sea, overrides, output=tmp_path / "films")
    assert made.films == (tmp_path / "films" / f"sea{suffix}",) and made.frames == 10
    media = video(made.films[0])
    assert (media.width, media.height) == size and (suffix == ".gif" or round(float(media.rate), 2) == rate)


@pytest.mark.parametrize(("fit", "left", "middle"), [("fill", 60, 60), ("fit", 0, 60), ("stretch", 60, 60)])
def test_another_shape_is_cropped_barred_or_stretched(fit: str, left: int, middle: int, sea: Path) -> None:
    for path in (sea / "frames").iterdir():
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 60, np.uint8))
    made = make_films(sea, ["width=200", "height=96", f"clip_fit={fit}", "video_format=ffv1"])
    frame = decode(made.films[0], 200, 96)[0]
    assert (frame[48, 0] == left).all() and (frame[48, 100] == middle).all()


def test_the_file_can_be_named(sea: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "film.webm"
    assert make_films(sea, output=path).films == (path,)
    with pytest.raises(UserError, match=r"film\.webm: already exists; choose another one with -o, or add --overwrite"):
        make_films(sea, output=path)
    assert make_films(sea, ["fps=12"], output=path, overwrite=True).films == (path,) and video(path).rate == 12


def test_a_film_of_the_run_is_never_replaced(sea: Path) -> None:
    assert [make_films(sea).films[0].name for _ in range(3)] == ["sea.mp4", "sea_2.mp4", "sea_3.mp4"]


def test_the_settings_of_a_format_stay_with_it(sea: Path) -> None:
    settings = sea / "settings.yaml"
    settings.write_text(
        settings.read_text() + "video_format: av1\nvideo_quality: 60\nvideo_preset: 13\nmake_gif: true\n"
    )
    assert [path.suffix for path in make_films(sea).films] == [".mp4", ".gif"]
    assert [path.suffix for path in make_films(sea, ["video_format=h265"]).films] == [".mp4"]


def test_a_run_that_is_still_rendering_is_not_disturbed(tmp_path: Path) -> None:
    with open_run(tmp_path / "sea") as run:
        for index in range(10):
            run.write(frame(index), chart(index))
        assert wait_until(lambda: run.picture_path(9).exists() and run.picture_path(8).exists())
        assert shown(make_films(run.folder).films[0]) == list(range(10))
    assert shown(run.films[0]) == list(range(10))
    assert sorted(path.name for path in run.folder.iterdir()) == ["frames", "sea.mp4", "settings.yaml"]


# --- what a kill leaves -----------------------------------------------------------------------------------------------


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("missing", "torn", "frames", "notes"),
    [
        ([], [9], [*range(9)], ["skipped, as they are damaged or their writing was cut short: 000000009.png"]),
        ([8], [9], [*range(8)], ["skipped, as they are damaged or their writing was cut short: 000000009.png",
                                 "missing: frame 8; the frame before is shown instead"]),
        ([3, 4, 7], [], [0, 1, 2, 2, 2, 5, 6, 6, 8, 9],
         ["missing: frames 3 to 4, 7; the frame before is shown instead"]),
        ([], [5], [0, 1, 2, 3, 4, 4, 6, 7, 8, 9],
         ["skipped, as they are damaged or their writing was cut short: 000000005.png"]),
        ([0, 1], [2], [*range(3, 10)], ["the first frame is frame 3",
                                        "skipped, as they are damaged or their writing was cut short: 000000002.png"]),
        ([8, 9], [], [*range(8)], []),
    ],
)  # fmt: skip
def test_missing_and_torn_frames(
    missing: list[int], torn: list[int], frames: list[int], notes: list[str], sea: Path
) -> None:
    for index in missing:
        (sea / "frames" / f"{index:09}.png").unlink()
    for index in torn:
        tear(sea / "frames" / f"{index:09}.png")
    (sea / "frames" / "000000010.part").write_bytes(b"unfinished")
    made = make_films(sea)
    assert shown(made.films[0]) == frames and made.frames == len(frames) and list(made.notes) == notes


@pytest.mark.parametrize("kind", ["png16", "jpeg", "webp"])
def test_frames_of_every_kind(kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea", Outputs(picture=kind, films=()), count=4)
    made = make_films(run.folder, ["video_format=ffv1"])
    assert len(decode(made.films[0])) == 4 and looks_like(decode(made.films[0])[3], 3)
    if kind == "png16":
        assert (decode(made.films[0], bits=16)[3] == chart(3).astype(np.uint16) * 257).all()


def test_frames_alone_carry_the_settings(sea: Path) -> None:
    (sea / "settings.yaml").unlink()
    made = make_films(sea)
    assert made.notes == () and video(made.films[0]).rate == 24


def test_pictures_that_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "sea" / f"{index:09}.png"), np.ascontiguousarray(chart(index)[..., ::-1]))
    made = make_films(tmp_path / "sea")
    assert made.notes == (f"no settings.yaml in {tmp_path / 'sea'}; fps is 15 (to change: fps=N)",)
    assert shown(made.films[0]) == [0, 1, 2] and video(made.films[0]).rate == 15


def test_a_folder_of_deforum(tmp_path: Path) -> None:
    (tmp_path / "20240131180300_settings.txt").write_text('{"fps": 8, "W": 128, "H": 96, "prompts": {"0": "x"}}')
    for index in range(3):
        frame = np.ascontiguousarray(chart(index)[..., ::-1])
        cv2.imwrite(str(tmp_path / f"20240131180300_{index:09}.png"), frame)
        cv2.imwrite(str(tmp_path / f"20240131180300_depth_{index:09}.png"), frame)
    made = make_films(tmp_path)
    assert shown(made.films[0]) == [0, 1, 2] and video(made.films[0]).rate == 8


def test_a_run_whose_frames_were_deleted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sea", Outputs(films=(Film("ffv1"),), keep_frames=False))
    made = make_films(run.folder, ["video_format=webm"])
    assert shown(made.films[0]) == list(range(10))
    assert made.notes == ("the frames were deleted: encoded again from sea.mkv, with some loss",)


# --- sound ------------------------------------------------------------------------------------------------------------


def heard_at(path: Path) -> float:
    """Return when the click is heard, in seconds."""
    return float(np.argmax(np.abs(hear(path)) > 0.2) / 48000)


def test_sound(sea: Path, tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    made = make_films(sea, [f"soundtrack_path={sound}"])
    assert abs(heard_at(made.films[0]) - 0.25) < 0.02 and made.notes == ()
    (sea / "settings.yaml").write_text(
        (sea / "settings.yaml").read_text() + f"add_soundtrack: File\nsoundtrack_path: {sound}\n"
    )
    assert abs(heard_at(make_films(sea).films[0]) - 0.25) < 0.02
    slower = make_films(sea, ["fps=12", "video_format=webm"])
    assert slower.notes == ("the run was made for 24 fps; at 12 the sound keeps its own speed",)
    assert abs(heard_at(slower.films[0]) - 0.25) < 0.02
    for index in range(3):
        (sea / "frames" / f"{index:09}.png").unlink()
    assert abs(heard_at(make_films(sea).films[0]) - (0.25 - 3 / 24)) < 0.02
    silent = make_films(sea, ["video_format=gif"])
    assert "gif has no sound; the soundtrack is left out" in silent.notes
    sound.unlink()
    with pytest.raises(UserError, match=r"there is no file .*click\.wav.*; add_soundtrack=None makes the film without"):
        make_films(sea)
    assert make_films(sea, ["add_soundtrack=None"]).frames == 7


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=3"], "command line: seed=3: seed: has no effect on finished frames; a film is made with width, height"),
        (["zomm=3"], "unknown setting 'zomm'; did you mean zoom"),
        (["width=5"], "width: expected 16..16384 (px), a whole number"),
        (["width=x", "height=8"], "width: expected 16..16384 (px), a whole number"),
        (["fps=0"], "fps: 0 is out of range"),
        (["video_format=gif", "fps=60"], "fps is 60.0; gif can show more than 0 and up to 50 frames a second"),
        (["video_format=mp5"], "video_format: 'mp5' is not a choice"),
        (["video_format=gif", "soundtrack_path=settings.yaml"], "gif has no sound"),
        (["soundtrack_path=settings.yaml"], "no sound that can be read"),
    ],
)
def test_mistakes(overrides: list[str], message: str, sea: Path) -> None:
    before = sorted(sea.iterdir())
    with pytest.raises(UserError) as error:
        make_films(sea, overrides)
    assert message in str(error.value) and sorted(sea.iterdir()) == before


def test_folders_that_are_no_run(sea: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "none", "no such folder; expected the folder of a run"),
        (sea / "settings.yaml", "is a file; expected the folder of a run, with its frames"),
        (tmp_path / "empty", "no frames in it, such as frames/000000000.png, and no film of its name"),
    ):
        with pytest.raises(UserError) as error:
            make_films(path)
        assert message in str(error.value)
    assert make_films(sea / "frames").frames == 10
    for index in range(10):
        tear(sea / "frames" / f"{index:09}.png")
    with pytest.raises(UserError, match="none of its 10 frames can be read"):
        make_films(sea)


def test_frames_of_several_runs_or_sizes(sea: Path) -> None:
    cv2.imwrite(str(sea / "frames" / "000000007.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="its frames have different sizes, 128x96 and 8x8"):
        make_films(sea)
    assert sorted(path.name for path in sea.iterdir()) == ["frames", "settings.yaml"]
    cv2.imwrite(str(sea / "frames" / "20240131180300_000000007.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="frames of several runs"):
        make_films(sea)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([3], "frame 3"),
        ([3, 4, 5, 9], "frames 3 to 5, 9"),
        ([*range(0, 60, 2)], "frames 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, and 20 more gaps"),
    ],
)
def test_ranges(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words
