"""The command timeline: settings to a cut list, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.loading import load
from tests.helpers.command import LOOKED_AT, Said, say, write

pytest.importorskip("opentimelineio")
pytest.importorskip("pycmx")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    monkeypatch.chdir(tmp_path)
    write("a.yaml", LOOKED_AT)
    return lambda *words: say(capsys, "timeline", *words)


@pytest.mark.parametrize("name", ["a.otio", "a.edl", "a.txt"])
def test_there_and_back(run, name: str) -> None:  # type: ignore[no-untyped-def]
    assert run("a.yaml", "fps=24", "-o", name) == Said(0, "", "")
    assert run(name, "a.yaml", "fps=24", "-o", "b.yaml", "-q").status == 0
    one, other = (load(file, ["fps=24"], to_render=False).settings for file in ("a.yaml", "b.yaml"))
    assert one == other
    assert run(name, "a.yaml", "fps=24", "-o", "b.yaml").err.endswith(
        "choose another one with -o, or add --overwrite\n"
    )


def test_formats_and_standard_output(run) -> None:  # type: ignore[no-untyped-def]
    assert json.loads(run("a.yaml").out)["OTIO_SCHEMA"] == "Timeline.1"
    assert run("a.yaml", "--format", "labels").out.startswith("0.000000\t0.400000\ta calm sea --neg fog\n")
    assert run("a.yaml", "--format", "edl").out.startswith("TITLE: a\n")
    facts = json.loads(run("a.yaml", "--json").out.splitlines()[-1])
    assert facts["frames"] == 10 and facts["clips"][1] == {"start": 6, "end": 10, "text": "a storm"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.yaml", "-o", "a.mp4"], "a.mp4: expected a name ending in .otio, .edl, .txt, or --format"),
        (["a.yaml", "a.yaml", "-o", "a.otio"], "one cut list is made of one file of settings"),
        (["bad.otio"], "bad.otio: this is not OpenTimelineIO"),
        (["labels.txt", "-o", "b.otio"], "b.otio: settings are made of a cut list; their name has to end in .yaml"),
        (["labels.txt", "a.yaml", "a.yaml"], "expected a cut list, and at most one file of settings for it"),
        (["nothing.edl"], "no such file"),
    ],
)
def test_mistakes(run, words: list[str], says: str) -> None:  # type: ignore[no-untyped-def]
    write("bad.otio", "prompts: a")
    write("labels.txt", "0\t1\ta\n")
    said = run(*words)
    assert said.status == 2 and says in said.err


def test_rates_that_are_not_said(run) -> None:  # type: ignore[no-untyped-def]
    write("labels.txt", "0\t1\ta sea\n1\t2\ta storm\n")
    said = run("labels.txt")
    assert "labels do not say a frame rate: 15 is taken; give another one with fps=25" in said.err
    assert "15: a storm" in said.out
    said = run("labels.txt", "fps=25")
    assert said.err == "" and "25: a storm" in said.out and "max_frames: 50" in said.out


def test_the_film_of_a_run(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "sea").mkdir()
    write("sea/settings.yaml", LOOKED_AT)
    write("sea/sea.mp4", "")
    found = json.loads(run("sea").out)
    assert found["name"] == "sea"
    media = found["tracks"]["children"][0]["children"][0]["media_references"]["DEFAULT_MEDIA"]
    assert media["target_url"] == (tmp_path / "sea" / "sea.mp4").as_uri()


def test_without_the_library(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(__import__("sys").modules, "opentimelineio", None)
    said = run("a.yaml", "-o", "a.otio")
    assert said.status == 2
    assert (
        "needs opentimelineio" in said.err.replace("need open", "needs open") and "deforum-renderer[otio]" in said.err
    )
    assert run("a.yaml", "-o", "a.txt").status == 0  # labels need nothing
