"""Chapters: where prompts begin, at exact frames, in every container that has them."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deforum.loading import load
from deforum.output.chapters import film_chapters, shots_of
from deforum.video.ffmpeg import count_frames, ffmpeg_path
from deforum.video.formats import FORMATS, exact_fps
from deforum.video.tags import Chapter, read_comment
from deforum.video.writer import Soundtrack, VideoWriter
from tests.helpers.manifests import text_of


def chapters_in(film: Path) -> list[tuple[Fraction, str]]:
    """Return the chapters of a film, as ffmpeg reads them: begin in seconds, and title."""
    listed = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(film), "-f", "ffmetadata", "-"], capture_output=True, check=True
    ).stdout.decode()
    found = re.findall(r"\[CHAPTER\]\nTIMEBASE=(\d+)/(\d+)\nSTART=(\d+)\nEND=\d+\n(?:title=((?:\\.|[^\n])*))?", listed)
    return [
        (Fraction(int(start) * int(one), int(other)), re.sub(r"\\(.)", r"\1", title))
        for one, other, start, title in found
    ]


def settings(**values: object):  # type: ignore[no-untyped-def]
    return load({"max_frames": 20, "seed": 1, **values}, to_render=False).settings


CHAPTERS = [
    # settings, first frame of the film, chapters
    ({"prompts": {0: "a sea --neg fog", 8: "a   storm"}}, 0, [(0, "a sea"), (8, "a storm")]),
    ({"prompts": {0: "a sea", 8: "a storm", 30: "late"}}, 5, [(0, "a sea"), (3, "a storm")]),
    ({"prompts": {0: "a sea", 8: "a storm"}}, 8, [(0, "a storm")]),
    ({"prompts": {3: "a sea", "max_f-2": "b"}}, 0, [(0, "a sea"), (17, "b")]),
    ({"prompts": {0: "a", 5: "a --neg b", 9: "--neg c"}}, 0, [(0, "a"), (9, "(no prompt)")]),
    ({"prompts": {0: "a :0.5 AND b :0.5", 5: "a :1e-3 AND b", 9: "16:9 a"}}, 0, [(0, "a AND b"), (9, "16:9 a")]),
    ({"prompts": {0: "x" * 300}}, 0, [(0, "x" * 99 + "…")]),
    ({"prompts": {0: "a", 5: "b"}, "chapters": False}, 0, []),
    ({"prompts": {n: f"a {n}" for n in range(1001)}, "max_frames": 2000}, 0, []),
    ({"prompts": {0: "a", 5: "b"}, "save_metadata": False}, 0, []),
    ({"prompts": {0: "a", 5: "b"}, "shots": [{"name": "one", "to": 7}, {"name": "two"}]}, 0,
     [(0, "one: a"), (5, "one: b"), (7, "two: b")]),
    ({"prompts": "a", "parseq_manifest": text_of({}, ["p", "p", "q :0.1 AND r :0.9", "q :0.2 AND r :0.8"])}, 0,
     [(0, "p"), (2, "q AND r")]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "first", "expected"), CHAPTERS, ids=[f"{n}" for n in range(len(CHAPTERS))])
def test_where_prompts_begin(given: dict[str, object], first: int, expected: list[tuple[int, str]]) -> None:
    found = settings(**given)
    chapters = film_chapters(found, shots_of(found), first=first)
    assert [(chapter.frame, chapter.title) for chapter in chapters] == expected


@pytest.mark.parametrize("name", ["h264", "webm", "prores", "ffv1", "gif"])
def test_films_have_chapters(name: str, tmp_path: Path) -> None:
    """At exact frames, beside comment and sound; those after the last frame are left out."""
    fps = exact_fps(23.976)
    path = tmp_path / f"film{FORMATS[name].suffix}"
    marks = [Chapter(0, "a sea; #1 = 'x'"), Chapter(7, "Nebel \\ 霧"), Chapter(10, "late")]
    sound = None
    if FORMATS[name].audio:
        tone = tmp_path / "tone.wav"
        subprocess.run([ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "sine=d=1", str(tone)], check=True)
        sound = Soundtrack(tone)
    with VideoWriter(path, 32, 32, fps, format=name, chapters=marks, comment="words", soundtrack=sound) as film:
        for level in range(10):
            film.write(np.full((32, 32, 3), level * 20, np.uint8))
    found = chapters_in(path)
    if not FORMATS[name].chapters:
        assert found == []
        return
    assert [title for _, title in found] == ["a sea; #1 = 'x'", "Nebel \\ 霧"]
    assert all(
        abs(begin - mark.frame / fps) < Fraction(1, 1000) for (begin, _), mark in zip(found, marks, strict=False)
    )
    assert count_frames(path) == 10 and read_comment(path) == "words"
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, "tone.wav"])


def test_one_chapter_is_none(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with VideoWriter(path, 32, 32, 12, chapters=[Chapter(0, "a"), Chapter(3, "b")]) as film:
        film.write(np.zeros((32, 32, 3), np.uint8))
    assert chapters_in(path) == []
