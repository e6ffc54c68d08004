"""What a run writes, chosen by its settings and checked before it renders."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.output.choice import Film, Outputs
from deforum.output.pictures import PICTURES
from deforum.video.ffmpeg import sound_seconds
from deforum.video.formats import FORMATS
from deforum.video.writer import Soundtrack, VideoWriter
from tests.helpers.films import HEIGHT, WIDTH, chart, click


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


@pytest.mark.parametrize(
    ("start", "film", "note"),
    [
        (0.0, 8.0, "add_soundtrack: the sound of click.wav lasts 3.0 s and the film 8.0 s; the rest is silent"),
        (2.0, 3.0, "lasts 1.0 s and the film 3.0 s"),
        (5.0, 2.0, "lasts 0.0 s and the film 2.0 s"),
        (0.0, 3.0, ""),
        (0.0, 3.1, ""),
        (1.0, 1.5, ""),
    ],
)
def test_a_sound_that_ends_before_the_film_is_said(start: float, film: float, note: str, tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    notes = Outputs(films=(Film(soundtrack=Soundtrack(sound, start)),)).sound_notes(film)
    assert len(notes) == bool(note) and note in "".join(notes)
    assert Outputs().sound_notes(film) == []


@pytest.mark.parametrize("format", ["h264", "webm", "ffv1"])
def test_the_sound_of_films_is_measured_too(format: str, tmp_path: Path) -> None:
    sound = click(tmp_path / "click.wav", at=0.25, seconds=3)
    path = tmp_path / f"film{FORMATS[format].suffix}"
    with VideoWriter(path, WIDTH, HEIGHT, 24, format=format, soundtrack=Soundtrack(sound)) as video:
        for _ in range(24):
            video.write(chart(0))
    assert sound_seconds(path, 0, 9) == pytest.approx(1, abs=0.05)


def test_a_gif_beside_a_gif_is_said() -> None:
    assert outputs_of(make_gif=True, video_format="gif")[1] == ("make_gif does nothing: the video is a GIF already",)
    assert outputs_of(make_gif=True)[1] == ()
