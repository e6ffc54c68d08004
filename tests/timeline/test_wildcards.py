"""Wildcards in prompts: lines of files, chosen by the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.build import prepare
from deforum.errors import UserError
from deforum.loading import load
from deforum.timeline.wildcards import Wildcards
from tests.helpers import STILL, Make, settings_maker

FILES = {
    "colors.txt": "\ufeffred\n\n# a note\nblue\n  green \n",
    "one.txt": "a hill",
    "places/cities.txt": "Rome\nOslo",
    "places/seas.txt": "the Baltic",
    "nested.txt": "a __colors__ __places/seas__",
    "loop.txt": "__loop__ __loop__",
    "dangling.txt": "a __lost__",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "cards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "cards"


@pytest.fixture
def make(folder: Path) -> Make:
    return settings_maker(folder.parent, STILL | {"wildcards_dir": "cards", "max_frames": 9})


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("a __colors__ sea", {"a red sea", "a blue sea", "a green sea"}),
        ("__Places/Cities__", {"Rome", "Oslo"}),
        ("__places/*__", {"Rome", "Oslo", "the Baltic"}),
        ("__nested__", {"a red the Baltic", "a blue the Baltic", "a green the Baltic"}),
        ("(__one__:1.2), snake__case", {"(a hill:1.2), snake__case"}),
    ],
)
def test_lines(folder: Path, text: str, possible: set[str]) -> None:
    cards = Wildcards.of(folder)
    assert {cards.fill(text, seed, "prompts") for seed in range(40)} == possible
    assert cards.fill(text, 3, "prompts") == cards.fill(text, 3, "prompts")


def test_each_wildcard_is_chosen_by_itself(folder: Path) -> None:
    cards = Wildcards.of(folder)
    pairs = {cards.fill("__colors__ __colors__", seed, "prompts") for seed in range(60)}
    assert len(pairs) == 9
    assert len({cards.fill("__colors__", 1, f"prompts, keyframe {key}") for key in range(20)}) == 3


def test_a_prompt_keeps_its_line_and_the_run_says_it(make: Make) -> None:
    settings = make(prompts="{0: 'a __colors__ sea, `t`', 4: '__places/cities__'}", negative_prompt="__one__")
    prepared = prepare(settings)
    frames = list(prepared.timeline)
    texts = [frame.prompts[0].positive for frame in frames]
    color = texts[0].split()[1]
    assert color in ("red", "blue", "green")
    assert texts[:4] == [f"a {color} sea, {t}" for t in range(4)]
    assert len(set(texts[4:])) == 1 and texts[4] in ("Rome", "Oslo")
    assert {frame.prompts[0].negative for frame in frames} == {"a hill"}
    assert "__" not in str(prepared.settings.prompts)


def test_a_missing_wildcard_is_shown_in_its_place(make: Make) -> None:
    with pytest.raises(UserError) as error:
        make(prompts="a __color__ sea")
    lines = str(error.value).splitlines()
    assert "there are no lines for the wildcard 'color'" in lines[0] and ":" in lines[0]
    assert lines[2].index("^") - lines[1].index("a __color__") == 4
    assert "did you mean 'colors'" in lines[3]


@pytest.mark.parametrize(
    ("text", "says"),
    [("__dangling__", "no lines for the wildcard 'lost'"), ("__loop__", "lead to each other")],
)
def test_lines_that_lead_nowhere_or_on_without_end(make: Make, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        prepare(make(prompts=text))


def test_deforums_profile_leaves_missing_ones_out(folder: Path) -> None:
    path = folder.parent / "a.yaml"
    path.write_text("prompts: a __color__ sea\nwildcards_dir: cards\nprofile: deforum\nmax_frames: 2\nseed: 1\n")
    loaded = load(path)
    assert any("no lines for the wildcard 'color'" in note and "left out" in note for note in loaded.report)
    assert prepare(loaded.settings).timeline[0].prompts[0].positive == "a  sea"


def test_without_a_folder_they_are_words(tmp_path: Path) -> None:
    settings = settings_maker(tmp_path, STILL)(prompts="a __colors__ sea")
    prepared = prepare(settings)
    assert prepared.timeline[0].prompts[0].positive == "a __colors__ sea"
    assert "__colors__: read as words; set wildcards_dir to the folder of its file" in "\n".join(prepared.notes)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wildcards_dir"):
        settings_maker(tmp_path, STILL)(prompts="a __colors__ sea", wildcards_dir="cards")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "*", "cities/../../secret"])
def test_names_do_not_leave_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    assert "secret" not in Wildcards.of(folder).lines(name)


@pytest.mark.parametrize("piece", ["__", "_", "__a", "__a__", "__*", "__a/", "__a "])
def test_cost_grows_with_the_length(folder: Path, piece: str) -> None:
    assert isinstance(list(Wildcards.of(folder).faults(piece * (20_000 // len(piece)))), list)
