"""The commands that look at settings, from the command line to what they print and write."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from deforum.cli import main as cli
from deforum.reports.reference import look_up, reference
from tests.helpers import ROOT
from tests.helpers.command import DEFORUM_FILE, LOOKED_AT, Say, imported, write


@pytest.mark.parametrize(
    "words", ["convert a.yaml -o b.yaml", "values a.yaml", "params strength", "diff a.yaml a.yaml", "params"]
)
def test_nothing_heavy_is_imported_to_look(words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LOOKED_AT)
    script = f"from deforum.cli import main as cli\nassert cli.main({words.split()!r}) == 0"
    assert not imported(script, "torch", "diffusers", "cv2", "transformers", cwd=tmp_path)


@pytest.mark.parametrize("command", ["convert", "values", "params", "diff"])
def test_each_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"{cli.program_name()} {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("values a.yaml zomm", "zomm: there is no such schedule; did you mean zoom?"),
        ("values a.yaml width", "width: this is not a schedule; it is null in every frame"),
        ("values a.yaml --frames 12", "--frames 12: out of range; the frames are 0 to 9"),
        ("values a.yaml --frames 5:2", "--frames 5:2: selects no frame; the frames are 0 to 9"),
        ("values a.yaml --frames 1:9:0", "expected FIRST:LAST or FIRST:LAST:STEP"),
        ("values a.yaml --frames 1:9:1:1", "expected FIRST:LAST or FIRST:LAST:STEP"),
        ("values a.yaml --frames x", "--frames: unknown name 'x'"),
        ("values none.yaml", "none.yaml: no such file"),
        ("values a.yaml -o a.yaml", "a.yaml: already exists; choose another one with -o, or add --overwrite"),
        ("values a.yaml -o none/a.csv", "none/a.csv: cannot be written: No such file"),
        ("values a.yaml strength=0:(sinn(t))", "did you mean 'sin'?"),
        ("convert a.yaml", "a.yaml: this is the file itself; choose another one with -o"),
        ("convert a.yaml -o b.txt", "b.txt: the output is YAML; its name has to end in .yaml"),
        ("convert a.yaml a.txt -o b.yaml", "b.yaml: is not a folder, and there are 2 files to convert"),
        ("convert a.txt deep/a.txt -o deep", "several files would be written here"),
        ("params zomm strengh", "there is no setting 'zomm'; did you mean zoom?\nthere is no setting 'strengh'; did"),
        ("params qqqqq", "there is no setting 'qqqqq', and no text has this word; without a name, all are listed"),
        ("diff a.yaml", "diff compares two settings files; 1 were given"),
        ("diff a.yaml b.yaml", "b.yaml: no such file"),
    ],
)
def test_mistakes(words: str, message: str, say: Say) -> None:
    Path("deep").mkdir()
    for name in ("a.txt", "deep/a.txt"):
        write(name, '{"prompts": {"0": "x"}}')
    said = say(*words.split())
    assert (said.status, said.out) == (2, "")
    assert message in said.err and "Traceback" not in said.err


def test_the_reference_is_the_page(say: Say) -> None:
    assert say("params").out == reference() == (ROOT / "docs" / "params.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", ["strength", "near_plane", "W", "cn_1_weight", "camera", "controlnet"])
def test_the_reference_of_one_is_a_part_of_the_page(word: str) -> None:
    assert look_up([word]).text.strip() in reference()


def test_old_names_and_units_lead_to_the_setting(say: Say) -> None:
    said = say("params", "near_plane", "cn_4_weight")
    assert said.out.startswith("- **`near`** = `200` (curve") and "- **`cn_1_weight`** = `1`" in said.out


@pytest.mark.parametrize(
    ("words", "names", "others"),
    [
        (["flow_fac"], ["cadence_flow_factor", "redo_flow_factor", "hybrid_flow_factor"], ["zoom"]),
        (["KALEIDOSCOPE"], ["symmetry", "symmetry_segments"], ["zoom"]),  # a choice, and a condition
        (["drifting"], ["color_coherence"], ["zoom"]),  # a text
        (["init image"], ["init_image", "init_strength", "use_looper"], ["zoom"]),
        (["flip_2d"], ["enable_perspective_flip"], ["zoom"]),  # an old name
        (["drifting", "zoom"], ["color_coherence", "zoom"], ["strength"]),
        (["motion.zoom"], ["zoom"], ["strength"]),
    ],
)
def test_other_words_are_looked_for_in_all_texts(words: list[str], names: list[str], others: list[str]) -> None:
    found = look_up(words)
    assert set(names) <= set(found.names) and not set(others) & set(found.names)
    assert all(f"- **`{name}`** = " in found.text for name in names)
    assert [note.partition(":")[0] for note in found.notes] == [word for word in words if "zoom" not in word]


@pytest.mark.parametrize(
    ("words", "field", "expected"),
    [
        ("values a.yaml zoom --frames 3:4", "columns", {"frame": [3, 4], "zoom": [1, 1]}),
        ("diff a.yaml a.yaml seed=3", "differences", []),
        ("convert a.yaml -o b.yaml", "output", "b.yaml"),
    ],
)
def test_results_are_json(words: str, field: str, expected: object, say: Say) -> None:
    said = say(*words.split(), "--json")
    last = json.loads(said.out.splitlines()[-1])
    assert (last["event"], last["status"]) == ("result", 0) and last[field] == expected
    assert all(json.loads(line)["event"] == "note" for line in said.out.splitlines()[:-1])


def test_declarations_are_json(say: Say) -> None:
    (setting,) = json.loads(say("params", "near_plane", "--json").out.splitlines()[-1])["settings"]
    assert setting["name"] == "near" and "near_plane" in setting["old_names"] and setting["section"] == "camera"
    everything = json.loads(say("params", "--json").out)["settings"]
    assert {"zoom", "crf", "cn_1_weight"} <= {each["name"] for each in everything}


@pytest.mark.parametrize("text", [LOOKED_AT, DEFORUM_FILE, "\ufeff" + LOOKED_AT])
@pytest.mark.parametrize("words", ["check -", "values - zoom", "convert -", "diff - -"])
def test_settings_are_read_from_the_standard_input(
    words: str, text: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("b.txt", text)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    piped, read = (
        say(*words.split(), "model=embedded", "-q"),
        say(*words.replace("-", "b.txt").split(), "model=embedded", "-q", *["-o", "-"] * words.startswith("convert")),
    )
    assert piped.status == read.status == 0
    assert (
        piped.out.replace("standard input", "b.txt").replace("- and -", "b.txt and b.txt").replace("-: ", "b.txt: ")
        == read.out
    )


def test_what_is_wrong_in_the_standard_input_has_its_place(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for raw, message in ((b"zomm: 3\n", "standard input:1:1: unknown setting 'zomm'; did you mean zoom?"),
                         (b"zoom: \xff", "standard input: byte 7 is not UTF-8 text; save it as UTF-8")):  # fmt: skip
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
        said = say("check", "-")
        assert (said.status, said.out, said.err) == (2, "", f"{message}\n")
