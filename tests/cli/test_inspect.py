"""The commands that look at settings, from the command line to what they print and write."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deforum.cli import main as cli
from deforum.loading import load
from deforum.settings.reference import look_up, reference

ROOT = Path(__file__).parents[2]

SETTINGS = """\
max_frames: 10
seed: 7
cadence: 2
prompts: {0: a calm sea --neg fog, 6: a storm}
zoom: 1
strength: "0: (0.5), 9: (0.95)"
translation_x: t/4
"""


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in a folder with a.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SETTINGS)

    def run(*words: str) -> Said:
        return Said(cli.main(words), *capsys.readouterr())

    return run


def write(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["convert a.yaml -o b.yaml", "values a.yaml", "params strength", "diff a.yaml a.yaml", "params"]
)
def test_nothing_heavy_is_imported_to_look(words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SETTINGS)
    script = f"""if True:
        import sys
        from deforum.cli import main as cli
        status = cli.main({words.split()!r})
        print("loaded:", status, *(name for name in "torch diffusers cv2 transformers".split() if name in sys.modules))
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: 0", done.stderr


@pytest.mark.parametrize("command", ["convert", "values", "params", "diff"])
def test_each_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"render.py {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("values a.yaml zomm", "zomm: there is no such schedule; did you mean zoom?"),
        ("values a.yaml width", "width: this is no schedule; it is 512 in every frame"),
        ("values a.yaml --frames 12", "--frames 12: there are the frames 0 to 9"),
        ("values a.yaml --frames 5:2", "--frames 5:2: no frame is in there"),
        ("values a.yaml --frames 1:9:0", "expected FIRST:LAST or FIRST:LAST:STEP"),
        ("values a.yaml --frames 1:9:1:1", "expected FIRST:LAST or FIRST:LAST:STEP"),
        ("values a.yaml --frames x", "--frames: unknown name 'x'"),
        ("values none.yaml", "none.yaml: no such file"),
        ("values a.yaml -o a.yaml", "a.yaml: is there already; choose another one with -o, or add --overwrite"),
        ("values a.yaml -o none/a.csv", "none/a.csv: cannot be written: No such file"),
        ("values a.yaml strength=0:(sinn(t))", "did you mean 'sin'?"),
        ("convert a.yaml", "a.yaml: this is the file itself; choose another one with -o"),
        ("convert a.yaml -o b.txt", "b.txt: what is written is YAML; the name has to end in .yaml"),
        ("convert a.yaml a.txt -o b.yaml", "b.yaml: is no folder, and there are 2 files to convert"),
        ("convert a.txt deep/a.txt -o deep", "several files would be written here"),
        ("params zomm strengh", "there is no setting 'zomm'; did you mean zoom?\nthere is no setting 'strengh'; did"),
        ("params flow_fac", "there are cadence_flow_factor, redo_flow_factor, hybrid_flow_factor"),
        ("diff a.yaml", "diff compares two settings files; 1 were given"),
        ("diff a.yaml b.yaml", "b.yaml: no such file"),
    ],
)
def test_mistakes(words: str, message: str, say: Callable[..., Said]) -> None:
    Path("deep").mkdir()
    for name in ("a.txt", "deep/a.txt"):
        write(name, '{"prompts": {"0": "x"}}')
    said = say(*words.split())
    assert (said.status, said.out) == (2, "")
    assert message in said.err and "Traceback" not in said.err


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_of_some_schedules_at_some_frames(say: Callable[..., Said]) -> None:
    words = "values a.yaml translation_x strength_schedule seed diffused prompts negative_prompt --frames 0:9:3"
    said = say(*words.split())
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "frame,translation_x,strength,seed,diffused,prompt,negative_prompt",
        "0,0,0.5,7,1,a calm sea,fog",
        "3,0.75,0.65,8,0,a calm sea,fog",
        "6,1.5,0.8,10,1,a storm,",
        "9,2.25,0.95,12,1,a storm,",  # on time: the last frame is diffused too
    ]


def test_values_are_those_that_a_run_has(say: Callable[..., Said]) -> None:
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


def test_values_as_json(say: Callable[..., Said]) -> None:
    table = json.loads(say("values", "a.yaml", "zoom", "diffused", "prompt", "--format", "json", "--frames", "4:7").out)
    assert table == {
        "frame": [4, 5, 6, 7],
        "zoom": [1, 1, 1, 1],
        "diffused": [True, False, True, False],
        "prompt": ["a calm sea", "a calm sea", "a storm", "a storm"],
    }


def test_values_as_a_table_tell_what_never_changes_once(say: Callable[..., Said]) -> None:
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


def test_values_go_into_a_file_and_its_name_says_how(say: Callable[..., Said]) -> None:
    assert say("values", "a.yaml", "zoom", "-o", "v.json") == Said(0, "", "")
    assert json.loads(Path("v.json").read_text())["zoom"] == [1] * 10
    assert say("values", "a.yaml", "zoom", "-o", "v.json", "--format", "csv").status == 2
    assert say("values", "a.yaml", "zoom", "-o", "v.json", "--format", "csv", "--overwrite").status == 0
    assert Path("v.json").read_text().startswith("frame,zoom\n0,1\n")


def test_an_open_seed_is_shown_as_one_and_that_is_said(say: Callable[..., Said]) -> None:
    said = say("values", "a.yaml", "seed", "--frames", "0", "seed=-1")
    assert said.out == "frame,seed\n0,0\n" and "shown as if it were 0" in said.err


def test_a_reader_that_has_seen_enough_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SETTINGS.replace("10", "20000", 1))
    command = f"'{sys.executable}' '{ROOT / 'render.py'}' values a.yaml -q | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("frame,diffused") and done.stderr == ""


# --- convert ----------------------------------------------------------------------------------------------------------


OLD = '{"seed": 5, "strength_schedule": "0: (0.4)", "W": 640, "prompts": {"0": "a: b"}, "sd_model_name": "m.ckpt"}'


def test_convert_writes_beside_the_file_and_over_nothing(say: Callable[..., Said]) -> None:
    Path("deep").mkdir()
    write("deep/old.txt", OLD)
    said = say("convert", "deep/old.txt", "steps=9")
    assert (said.status, said.out) == (0, f"{Path('deep/old.yaml')}\n")
    text = Path("deep/old.yaml").read_text()
    assert text.startswith("# Converted from old.txt by deforum ")
    assert "# made with the checkpoint m.ckpt; give model=PATH to render with it\n" in text
    assert 'profile: deforum\nprompts:\n  0: "a: b"\n' in text
    assert "  width: 640                                 # px, 8..8192\n" in text
    converted = load(Path("deep/old.yaml"), to_render=False)
    assert converted.settings == load(Path("deep/old.txt"), ["steps=9"], to_render=False).settings
    again = say("convert", "deep/old.txt")
    assert again.status == 2 and "is there already" in again.err
    assert Path("deep/old.yaml").read_text() == text
    assert say("convert", "deep/old.txt", "--overwrite", "-q") == Said(0, f"{Path('deep/old.yaml')}\n", "")
    assert "steps" not in Path("deep/old.yaml").read_text()


def test_convert_to_the_screen_and_into_a_folder(say: Callable[..., Said]) -> None:
    write("old.txt", OLD)
    write("other.txt", OLD)
    said = say("convert", "old.txt", "-o", "-", "-q")
    assert (said.status, said.err) == (0, "") and "\n  strength: 0.4 " in said.out
    Path("out").mkdir()
    assert say("convert", "*.txt", "-o", "out", "-q").status == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["old.yaml", "other.yaml"]


def test_files_are_found_from_another_folder_too(say: Callable[..., Said]) -> None:
    Path("deep").mkdir()
    Path("deep/start.png").touch()
    write("deep/old.txt", '{"use_init": true, "init_image": "start.png", "prompts": {"0": "x"}}')
    assert say("convert", "deep/old.txt", "-q").status == 0
    assert "init_image: start.png " in Path("deep/old.yaml").read_text()
    assert say("convert", "deep/old.txt", "-o", "moved.yaml", "-q").status == 0
    assert load(Path("moved.yaml"), to_render=False).settings.init_image == str(Path("deep/start.png").resolve())


# --- params -----------------------------------------------------------------------------------------------------------


def test_the_reference_is_the_page(say: Callable[..., Said]) -> None:
    assert say("params").out == reference() == (ROOT / "docs" / "params.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", ["strength", "near_plane", "W", "cn_1_weight", "camera", "controlnet"])
def test_the_reference_of_one_is_a_part_of_the_page(word: str) -> None:
    assert look_up([word]).strip() in reference()


def test_old_names_and_units_lead_to_the_setting(say: Callable[..., Said]) -> None:
    said = say("params", "near_plane", "cn_4_weight")
    assert said.out.startswith("- **`near`** = `200` (curve") and "- **`cn_1_weight`** = `1`" in said.out


# --- diff -------------------------------------------------------------------------------------------------------------


def difference(say: Callable[..., Said], change: str) -> list[str]:
    """Compare a.yaml with itself after a change (old text -> new text, or a line more); give the lines printed."""
    old, arrow, new = change.partition(" -> ")
    assert not arrow or old in SETTINGS
    write("b.yaml", SETTINGS.replace(old, new) if arrow else f"{SETTINGS}{change}\n")
    said = say("diff", "a.yaml", "b.yaml", "-q")
    lines = said.out.splitlines()
    assert said.err == "" and said.status == (0 if lines == ["a.yaml and b.yaml render the same"] else 1)
    return lines[1:]


@pytest.mark.parametrize(
    "change",
    [
        "t/4 -> 0.25*t",
        "t/4 -> 0.25*t + (t == 0)",  # frame 0 is not moved
        "zoom: 1 -> zoom: {0: 1}",
        '"0: (0.5), 9: (0.95)" -> "0: (0.3), 2: (0.6), 9: (0.95)"',  # frame 0 starts from noise
        '"0: (0.5), 9: (0.95)" -> "0: (0.5), 3: (0.65), 5: (0.75), 9: (0.95)"',
        "strength -> strength_schedule",
        "a calm sea --neg fog -> a  calm sea --neg  fog",
        "{0: a calm sea --neg fog, 6: a storm} -> {0: a calm sea --neg fog, 5: a storm}",  # frame 5 is not diffused
        "fov: 90",
        "perspective_flip_theta: 3",
        "perlin_octaves: 2\nnoise_type: perlin\nnoise: 0",
        "sampler: euler_ancestral",
        "sampler: '0: (Euler a), 5: (DDIM), 6: (Euler a)'",
        "ddim_eta: 0.5",
        "seed_iter_n: 1",
        "prompt_blend: hold",
        "antiblur_amount: 0.1",
    ],
)
def test_equal_in_effect(change: str, say: Callable[..., Said]) -> None:
    if "noise: 0" in change:
        write("a.yaml", SETTINGS + "noise: 0\n")
    assert difference(say, change) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ("zoom: 1 -> zoom: 1.5", ["zoom: 1 | 1.5 factor/frame"]),
        ("t/4 -> max(t/4, 2)", ["translation_x: from frame 1 on, at 7 of 9 frames; most at frame 1: 0.25 | 2 "
                                "px/frame (3D: 1/200 scene unit)"]),
        ("(0.95) -> (0.5)", ["strength: from frame 2 on, at 5 of 5 diffused frames; most at frame 9: 0.95 | 0.5 "
                             "share"]),
        ("init_strength: 0.3", []),
        ("width: 256", ["width: 512 | 256"]),
        ("max_frames: 10 -> max_frames: 8", [
            "max_frames: 10 | 8 (compared up to frame 7)",
            # Where its second keyframe is no longer on the timeline, a curve does not go there.
            "strength: from frame 2 on, at 3 of 3 diffused frames; most at frame 6: 0.8 | 0.5 share",
        ]),
        ("6: a storm -> 4: a storm", ["prompt, frame 4: a calm sea | a storm", "negative prompt, frame 4: fog | "]),
        ("seed: 7 -> seed: 8", ["seed: from frame 0 on, at 6 of 6 diffused frames: 7 | 8"]),
        ("seed: 7 -> seed: -1", ["seed: 7 | drawn by chance"]),
        ("seed_behavior: fixed", ["seed: from frame 2 on, at 5 of 6 diffused frames: 8 | 7"]),
        ("sampler: DDIM", ["sampler, frames 0 to 9: Euler a | DDIM"]),
        ("profile: deforum", ["profile: corrected | deforum"]),
        ("batch_name: x", ['batch_name: "Deforum_{timestring}" | x']),
    ],
)  # fmt: skip
def test_differences(change: str, lines: list[str], say: Callable[..., Said]) -> None:
    assert difference(say, change) == lines


def test_what_differs_without_effect_is_named(say: Callable[..., Said]) -> None:
    write(
        "b.yaml",
        SETTINGS + "perspective_flip_theta: 3\ncrf: 30\nvideo_format: webm\nadd_soundtrack: Init Video\n"
        "soundtrack_path: a.mp3\n",
    )
    said = say("diff", "a.yaml", "b.yaml")
    assert said.out.splitlines() == [
        "a.yaml | b.yaml",
        "video_format: h264 | webm",
        "crf: 17 | 30",
        "add_soundtrack: None | Init Video",
        "different, but without effect in both: soundtrack_path, perspective_flip_theta",
    ]


def test_an_old_file_and_its_yaml_render_the_same(say: Callable[..., Said]) -> None:
    write("old.txt", OLD)
    assert say("convert", "old.txt", "-q").status == 0
    assert say("diff", "old.txt", "old.yaml", "-q") == Said(0, "old.txt and old.yaml render the same\n", "")
