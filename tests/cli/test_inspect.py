"""The commands that look at settings, from the command line to what they print and write."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.cli import main as cli
from deforum.reports.reference import look_up, reference
from tests.helpers import ROOT
from tests.helpers.command import LOOKED_AT, Say, imported, write


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
        ("params flow_fac", "there are cadence_flow_factor, redo_flow_factor, hybrid_flow_factor"),
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
    assert look_up([word]).strip() in reference()


def test_old_names_and_units_lead_to_the_setting(say: Say) -> None:
    said = say("params", "near_plane", "cn_4_weight")
    assert said.out.startswith("- **`near`** = `200` (curve") and "- **`cn_1_weight`** = `1`" in said.out
