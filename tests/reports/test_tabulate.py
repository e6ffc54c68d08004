"""The values that schedules have: of which frames, and as CSV, JSON or a table."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from deforum.loading import load
from deforum.reports import tabulate
from tests.helpers import ROOT
from tests.helpers.command import LOOKED_AT, Said, Say


def test_values_of_some_schedules_at_some_frames(say: Say) -> None:
    words = "values a.yaml translation_x strength_schedule seed diffused prompts negative_prompt --frames 0:9:3"
    said = say(*words.split())
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "frame,translation_x,strength,seed,diffused,prompt,negative_prompt",
        "0,0,0.5,7,1,a calm sea,fog",
        "3,0.75,0.65,8,0,a calm sea,fog",
        "6,1.5,0.8,10,1,a storm,",
        "9,2.25,0.95,11,0,a storm,",
    ]


def test_values_are_those_that_a_run_has(say: Say) -> None:
    """All columns, against the frames of the timeline."""
    from deforum.features.table import timeline_of as sample

    said = say("values", "a.yaml", "subseed_strength=0.5", "cn_1_weight=t", "-q")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    timeline = sample(load(Path("a.yaml"), ["subseed_strength=0.5"]).settings)
    assert len(rows) == len(timeline) == 10
    for row, frame in zip(rows, timeline, strict=True):
        assert {name: float(row[name]) for name, _ in frame.params.items() if name != "subseed"} == {
            name: value for name, value in frame.params.items() if name != "subseed"
        }
        assert (int(row["seed"]), int(row["subseed"])) == (frame.seed, frame.subseed)
        assert (row["sampler"], row["mask"], float(row["cn_1_weight"])) == ("Euler a", "{video_mask}", frame.index)


def test_values_as_json(say: Say) -> None:
    table = json.loads(say("values", "a.yaml", "zoom", "diffused", "prompt", "--format", "json", "--frames", "4:7").out)
    assert table == {
        "frame": [4, 5, 6, 7],
        "zoom": [1, 1, 1, 1],
        "diffused": [True, False, True, False],
        "prompt": ["a calm sea", "a calm sea", "a storm", "a storm"],
    }


def test_values_as_a_table_tell_what_never_changes_once(say: Say) -> None:
    said = say("values", "a.yaml", "zoom", "translation_x", "prompt", "--format", "table", "--frames=-5:max_f:2")
    assert said.out.splitlines() == [
        "The same in all these frames:",
        "  zoom: 1",
        "",
        "frame  translation_x  prompt",
        "    5           1.25  a calm sea",
        "    7           1.75  a storm",
        "    9           2.25  a storm",
    ]


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", [7]),
        ("-1,0", [9, 0]),
        (":", list(range(10))),
        (":2", [0, 1, 2]),
        ("8:", [8, 9]),
        ("8:400", [8, 9]),
        ("0:9:4", [0, 4, 8]),
        ("max_f-1", [8]),
        ("0.2s:0.4s", [3, 4, 5, 6]),
        ("1,0:2", [1, 0, 2]),
    ],
)
def test_which_frames(text: str, frames: list[int]) -> None:
    from deforum.reports.tabulate import pick_frames
    from schedules import Variables

    assert list(pick_frames(text, 10, Variables(fps=15))) == frames


def test_values_go_into_a_file_and_its_name_says_how(say: Say) -> None:
    assert say("values", "a.yaml", "zoom", "-o", "v.json") == Said(0, "", "")
    assert json.loads(Path("v.json").read_text())["zoom"] == [1] * 10
    assert say("values", "a.yaml", "zoom", "-o", "v.json", "--format", "csv").status == 2
    assert say("values", "a.yaml", "zoom", "-o", "v.json", "--format", "csv", "--overwrite").status == 0
    assert Path("v.json").read_text().startswith("frame,zoom\n0,1\n")


def test_an_open_seed_is_shown_as_one_and_that_is_said(say: Say) -> None:
    said = say("values", "a.yaml", "seed", "--frames", "0", "seed=-1")
    assert said.out == "frame,seed\n0,0\n" and "the values are those of seed 0" in said.err


def test_a_reader_that_has_seen_enough_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LOOKED_AT.replace("10", "3000", 1))
    command = f"'{sys.executable}' '{ROOT / 'render.py'}' values a.yaml -q | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("frame,diffused") and done.stderr == ""


def test_a_run_whose_settings_change() -> None:
    """The frames are those of the film; a column that not all have is empty elsewhere."""
    unit = {"cn_1_enabled": True, "cn_1_model": "embedded", "cn_1_source": "init", "cn_1_weight": "t/2"}
    one, other = (load({"max_frames": 6, "seed": 3, "noise": "t/10", **more}, to_render=False).settings
                  for more in ({"prompts": "a"}, {"prompts": "b", **unit}))  # fmt: skip
    stretches = [
        tabulate.Stretch(one, tabulate.look(one), range(2), 0),
        tabulate.Stretch(other, tabulate.look(other), range(4, 6), 2),
    ]
    columns = tabulate.tabulate_run(stretches).columns
    assert (columns["frame"], columns["prompt"]) == ([0, 1, 2, 3], ["a", "a", "b", "b"])
    assert columns["noise"] == [0, 0.1, 0.4, 0.5]
    assert columns["cn_1_weight"] == ["", "", 2, 2.5]
