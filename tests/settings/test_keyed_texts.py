"""Prompts in every form in which people write them: read as meant, or an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.loading import load

SEA = (("0", "a sea"), ("20", "a hill"))
NO_PROMPTS = "no prompts in the file; the frames are painted without a prompt"

TEXTS = {
    "0: a sea, 20: a hill": SEA,
    "0: (a sea), 20: (a hill)": SEA,
    '0: ("a sea"), 20: ("a hill")': SEA,
    "0: 'a sea'; 20: 'a hill';": SEA,
    '0: "a sea" | 20: "a hill"': SEA,
    '0:"a sea"\n20:"a hill"\n': SEA,
    '"0": "a sea",\n"20": "a hill"': SEA,
    "“0”: “a sea”, “20”: “a hill”": SEA,
    '{"0": "a sea", "20": "a hill",}': SEA,
    "{'0': 'a sea', '20': 'a hill'}": SEA,
    "{0: a sea, 20: a hill}": SEA,
    '{0: "a sea", 20: a hill}': SEA,
    '[{"0": "a sea"}, {"20": "a hill"}]': SEA,
    "0: (a sea:1.2), 20: (b) and (c)": (("0", "(a sea:1.2)"), ("20", "(b) and (c)")),
    "0: (a (big) sea), 20: b": (("0", "a (big) sea"), ("20", "b")),
    '0: "a, 5: b", 20: (c, 7: d)': (("0", "a, 5: b"), ("20", "c, 7: d")),
    '0: "a \\"big\\" sea", 5: the "b"': (("0", 'a "big" sea'), ("5", 'the "b"')),
    "0: 'tis the season, 20: 'twas it": (("0", "'tis the season"), ("20", "'twas it")),
    "0: a, with 3: boats, 20: b": (("0", "a, with 3: boats"), ("20", "b")),
    "0:1girl, 20:2girls": (("0", "1girl"), ("20", "2girls")),
    "0: 16:9, 20: 4:3": (("0", "16:9"), ("20", "4:3")),
    "max_f/2: b, 0: a, 1.5s: c": (("max_f/2", "b"), ("0", "a"), ("1.5s", "c")),
    '"max_f - 1": "b"': (("max_f - 1", "b"),),
    "0: a --neg x | 20: b --neg y": (("0", "a --neg x"), ("20", "b --neg y")),
    # ordinary prompts
    "16:9 photo of a sea": (("0", "16:9 photo of a sea"),),
    "12:30, noon, 4:3": (("0", "12:30, noon, 4:3"),),
    '"Moby Dick": a whale': (("0", '"Moby Dick": a whale'),),
    "a sea, 20: a hill": (("0", "a sea, 20: a hill"),),
    "[a sea] (b:1.2) 5: c": (("0", "[a sea] (b:1.2) 5: c"),),
    "{red|blue} car": (("0", "{red|blue} car"),),
    "a sea,\nat noon": (("0", "a sea,\nat noon"),),
}


def save(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "prompts"), TEXTS.items())
def test_keyframes_in_a_text(tmp_path: Path, text: str, prompts: tuple[tuple[str, str], ...]) -> None:
    old = save(tmp_path, "a.txt", json.dumps({"animation_prompts": text}))
    new = save(tmp_path, "a.yaml", f"prompts: {json.dumps(text, ensure_ascii=False)}")
    for path in (old, new):
        assert load(path, to_render=False).settings.prompts == prompts
    assert load({"prompts": text}).settings.prompts == prompts


@pytest.mark.parametrize(
    "text",
    ["prompts: |\n  0: a sea\n  20: a hill\n", "prompts: |\n  {0: a sea, 20: a hill}",
     "prompts: [0: a sea, 20: a hill]",
     "prompts:\n- 0: a sea\n- 20: a hill", "prompts: [[0, a sea], [20, a hill]]", 'prompts: ["0: a sea", "20: a hill"]',
     'prompts: |\n  {"0": "a sea", "20": "a hill"}',
     "prompts: [{frame: 0, prompt: a sea}, {text: a hill, keyframe: 20}]"],
)  # fmt: skip
def test_keyframes_in_yaml(tmp_path: Path, text: str) -> None:
    assert load(save(tmp_path, "a.yaml", text), to_render=False).settings.prompts == SEA


COMMA = "outside of quotes, a comma ends a text in { }; put each text with a comma in quotes"
STILLS = "a list of texts is for still images in the notebook, which are not made here"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{0: green hills, at noon}", f"a.yaml:1:27: prompts: 'at noon' has no text; {COMMA}"),
        ("{0: green hills, 5}", f"a.yaml:1:27: prompts: '5' has no text; {COMMA}"),
        ("{0: green hills, sky: blue}", f"a.yaml:1:27: prompts: 'sky' is not a frame; {COMMA}"),
        ("[a forest, a lake]", STILLS),
        ("'[\"a\", \"b\"]'", STILLS),
        ("[[0, a], [1, b, c]]", "a.yaml:1:19: prompts: expected a pair of frame and text, such as [0, a sea]"),
        ("""'{"0": "a sea" "20": "b"}'""",
         'a.yaml:1:10: prompts: expected a comma, or the } that ends what begins at 1:1\n    {"0": "a sea" "20": "b"}'),
        ("""'{"0": "a sea", "20": "b"'""", "prompts: expected a comma, or the } that ends what begins at 1:1"),
        ("""'{"0": "a", oops}'""", "prompts: expected a value"),
        ("""'{"0": "a"} more'""", "prompts: the file should end here"),
        ("""'0: "a sea" 20: "b"'""", "prompts: expected a comma before this keyframe\n    0: \"a sea\" 20"),
        ("""'0: "a sea, 20: b'""", "prompts: this quote is never closed"),
        ("""'"sea": "a"'""", "unknown name 'sea'"),
        ("{" + "9" * 400 + ": a}", "the whole number is too large"),
        ("'0: a, " + "9" * 400 + ": b'", "the whole number is too large"),
        ('"a \\ud83d sea"', "a.yaml:1:15: YAML does not know this character by its number"),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "a.yaml", f"prompts: {text}\n")
    with pytest.raises(UserError) as caught:
        load("a.yaml")
    assert says in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 250


@pytest.mark.parametrize("name", ["prompts", "positive_prompt", "negative_prompt", "batch_name"])
def test_half_of_a_character_is_an_error(tmp_path: Path, name: str) -> None:
    old = save(tmp_path, "a.txt", json.dumps({name: "a \ud83d sea"}))
    for source, overrides in ((old, []), ({name: "a \ud83d sea"}, []), ({}, [f"{name}=a \udcff"])):
        with pytest.raises(UserError, match="is half of a"):
            load(source, overrides)


def test_a_pair_of_escapes_is_one_character(tmp_path: Path) -> None:
    assert load(save(tmp_path, "a.txt", json.dumps({"prompts": "a 🐈"}))).settings.prompts == (("0", "a 🐈"),)


@pytest.mark.parametrize(
    ("name", "text"),
    [(f"{i}.yaml", text) for i, text in enumerate(
        ["", "max_frames: 3", "# only this", "prompts:", "prompts: {}", "prompts: []", 'prompts: ""',
         'prompts: {0: " "}', "prompts: '{}'", "prompts: '[]'", "prompts: {0: --neg fog}", "prompts: {0: }"])]
    + [(f"{i}.txt", json.dumps(file)) for i, file in enumerate(
        [{}, {"prompts": []}, {"animation_prompts": {}}, {"animation_prompts": ""}, {"prompts": {"0": ""}},
         {"animation_prompts": "{}"}, {"prompts": None}, {"prompts": {}, "negative_prompts": "fog"}])]
    + [("empty.txt", ""), ("blank.json", " \n")],
)  # fmt: skip
def test_one_answer_for_no_prompts(tmp_path: Path, name: str, text: str) -> None:
    loaded = load(save(tmp_path, name, text), ["seed=1"])
    assert loaded.report.count(NO_PROMPTS) == 1
    said = "the file is empty: every setting has its default" in loaded.report
    assert said is not bool(text.strip())
    from deforum.build import prepare

    assert [frame.prompts[0].positive for frame in list(prepare(loaded.settings).timeline)[:2]] == ["", ""]


@pytest.mark.parametrize("given", [{}, {"prompts": []}, {"prompts": {}}, {"prompts": None}, {"prompts": ""}])
def test_no_prompts_in_a_mapping(given: dict[str, object]) -> None:
    note = "no prompts in the settings; the frames are painted without a prompt"
    assert load(given).report == (note,)
    assert load(given, ["positive_prompt=a sea"]).report == ()
    assert load(given, ["prompts=a sea"]).report == ()


def test_the_notebooks_list_gives_way_to_the_animations(tmp_path: Path) -> None:
    file = {"prompts": ["a forest", "a lake"], "animation_prompts": {"0": "a sea"}}
    loaded = load(save(tmp_path, "a.txt", json.dumps(file)))
    assert loaded.settings.prompts == (("0", "a sea"),)
    assert "prompts: this list is for still images, which are not made here" in loaded.report
    with pytest.raises(UserError, match=STILLS):
        load(save(tmp_path, "b.txt", json.dumps({"prompts": ["a forest", "a lake"]})))


@pytest.mark.parametrize("piece", [" ", "0:", "0:(", '0:"', ",0: a", "max_f ", '"', "'", "{", "0:'a,", "\n", "1 "])
def test_cost_grows_with_the_length(piece: str) -> None:
    for text in (piece * (10_000 // len(piece)), "0: a" + piece * (10_000 // len(piece)) + "x"):
        try:
            assert load({"prompts": text}, to_render=False).settings.prompts
        except UserError as error:
            assert len(str(error)) < 1000
