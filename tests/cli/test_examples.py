"""The examples that ship: known by name, listed, printed, and copied with the clips that they use."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.cli.shipped import FOLDER, describe, example_names, find_example
from deforum.loading import load
from tests.helpers.command import Say

QUICKSTART = FOLDER / "quickstart.yaml"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("quickstart", QUICKSTART),
        ("quickstart.yaml", QUICKSTART),
        ("examples/quickstart.yaml", QUICKSTART),
        ("examples\\quickstart.yaml", QUICKSTART),
        ("Quickstart", None),
        ("../examples/quickstart", None),
        ("clips/valley.mp4", None),
        ("", None),
    ],
)
def test_names(word: str, found: Path | None) -> None:
    assert find_example(word) == found


def test_all_are_found_and_described() -> None:
    assert example_names()[0] == "quickstart"
    assert sorted(example_names()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert all(20 < len(describe(find_example(name) or Path())) < 200 for name in example_names())


def test_a_name_stands_for_the_file_unless_there_is_one(say: Say) -> None:
    assert say("check", "quickstart").out.startswith(f"{QUICKSTART}: good: ")
    Path("quickstart").write_text("prompts: hills\nmax_frames: 3\n")
    assert say("check", "quickstart").out.startswith("quickstart: good: 3 frames")


def test_listed_and_printed(say: Say) -> None:
    listed = say("examples")
    assert [line.split()[0] for line in listed.out.splitlines()] == example_names()
    assert say("examples", "quickstart").out == QUICKSTART.read_text(encoding="utf-8")
    assert [path.name for path in Path().iterdir()] == ["a.yaml"]  # the fixture's


def test_copied_with_their_clips(say: Say) -> None:
    said = say("examples", "quickstart", "hybrid", "-o", "mine")
    assert said.out.splitlines() == [str(Path("mine/quickstart.yaml")), str(Path("mine/hybrid.yaml"))]
    assert sorted(path.name for path in Path("mine").rglob("*.*")) == ["hybrid.yaml", "quickstart.yaml", "valley.mp4"]
    assert load("mine/hybrid.yaml").settings.video_init_path == str(Path("mine/clips/valley.mp4").resolve())


def test_nothing_is_overwritten_unasked(say: Say) -> None:
    Path("quickstart.yaml").write_text("mine")
    said = say("examples", "-o", ".")
    assert said.status == 2 and "quickstart.yaml: already exists" in said.err
    assert sorted(path.name for path in Path().iterdir()) == ["a.yaml", "quickstart.yaml"]
    assert say("examples", "quickstart", "-o", ".", "--overwrite").status == 0
    assert Path("quickstart.yaml").read_bytes() == QUICKSTART.read_bytes()


def test_an_unknown_name(say: Say) -> None:
    said = say("examples", "quikstart", "xyz")
    assert said.status == 2
    assert said.err.splitlines()[0] == "there is no example 'quikstart'; did you mean quickstart?"
    assert "there is no example 'xyz'; there are quickstart, " in said.err
