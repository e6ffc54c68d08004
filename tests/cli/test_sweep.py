"""Sweeps: what is a list of values and what is one value with commas in it, and the runs that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deforum.cli import main as cli
from deforum.cli.sweep import list_jobs, read_values
from deforum.errors import UserError
from deforum.loading import load
from deforum.pixels.image import from_bytes
from tests.helpers.command import SEA, Said, Say, paint_with, say

if TYPE_CHECKING:
    from deforum.diffusion import ModelSource
    from deforum.pixels.image import Image
    from deforum.timeline.frame import Frame


# --- what is a list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "labels"),
    [
        # numbers and curves: lists and ranges of plain numbers
        ("seed=1,2,3", ["1", "2", "3"]),
        ("seed=1, -2 ,3", ["1", "-2", "3"]),
        ("cfg_scale=5..9:2", ["5", "7", "9"]),
        ("cfg_scale=5..9:3", ["5", "8"]),
        ("cfg_scale=9..5:2", ["9", "7", "5"]),
        ("seed=3..5", ["3", "4", "5"]),
        ("strength=0.1..0.4:0.1", ["0.1", "0.2", "0.3", "0.4"]),
        ("strength=.5..1:.25", ["0.5", "0.75", "1"]),
        ("angle=-1..1", ["-1", "0", "1"]),
        ("seed=1,4..6,9", ["1", "4", "5", "6", "9"]),
        ("strength_schedule=0.5,0.6", ["0.5", "0.6"]),
        ("diffusion.cfg_scale=5,6", ["5", "6"]),
        ("fps=12,24", ["12", "24"]),
        ("cn_2_weight=0.5,1", ["0.5", "1"]),
        # choices and samplers: lists of words
        ("color_coherence=LAB,RGB,None", ["LAB", "RGB", "None"]),
        ("tiling=true,false", ["true", "false"]),
        ("sampler=Euler a, DPM++ 2M Karras", ["Euler a", "DPM++ 2M Karras"]),
        ("animation_mode=2D,3D", ["2D", "3D"]),
        # brackets: lists of anything
        ("prompts=[a calm sea, 'a storm, at night']", ["a calm sea", "a storm, at night"]),
        ("prompts=[a, {0: b, 5: 'c, d'}]", ["a", '{0: b, 5: "c, d"}']),
        ("model=[embedded, 'a,b.safetensors']", ["embedded", "a,b.safetensors"]),
        ("zoom=[1, '0: (1), 9: (2)', sin(t)]", ["1", "0: (1), 9: (2)", "sin(t)"]),
        ("init_image=[null, a.png]", ["null", "a.png"]),
    ],
)
def test_lists(override: str, labels: list[str]) -> None:
    name, _, text = override.partition("=")
    assert [value.label for value in read_values(name, text)] == labels


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "strength=0:(0.5), 30:(0.7)",
        "strength=0: 0.5, 30: 0.7",
        "zoom=max(1, 2)",
        "zoom=max(1, 2) + min(3, 4)",
        "zoom={0: 1, 5: 2}",
        "zoom=t,2",
        "max_frames=1,000",  # a thousand, and no number
        "fps=1.5.2",
        "seed='1,2'",
        'strength="0.5,0.6"',
        "sampler=0: (Euler a), 30: (DDIM)",
        'sampler="Euler a, DDIM"',
        "prompts=a sea, a storm",
        "positive_prompt=sharp, bright",
        "prompts=[cat|dog]",  # one item is no list
        "prompts=[cat:dog:0.5]",
        "subtitles=seed,strength",
        "model=a,b.safetensors",
        "batch_name=a,b",
        "mask={video_mask}, x",
        "prompts=1..3",
        "zomm=1,2",
        "color_coherence=LAB,",
        "seed=1,,2",
        "seed=..3",
        "seed=",
    ],
)
def test_one_value(override: str) -> None:
    name, _, text = override.partition("=")
    assert read_values(name, text) == ()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1..2000"], "seed=1..2000: this makes 2000 runs; at most 1000"),
        (["seed=1..40", "cfg_scale=1..40"], "this makes 1600 runs; at most 1000"),
        (["cfg_scale=1..2:0"], "cfg_scale=1..2:0: the step of a range cannot be 0"),
        (["seed=[1, 2"], "seed=[1, 2: '[1, 2' cannot be read"),
    ],
)
def test_mistakes(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        list_jobs([Path("a.yaml")], overrides)
    assert message in str(caught.value)


def test_a_run_for_each_combination_the_last_changing_fastest() -> None:
    jobs, axes = list_jobs([Path("a.yaml"), Path("b.yaml")], ["width=64", "seed=1,2", "cfg_scale=5..9:2"])
    assert [axis.name for axis in axes] == ["seed", "cfg_scale"]
    assert [job.label for job in jobs[:4]] == [
        "a.yaml seed=1 cfg_scale=5", "a.yaml seed=1 cfg_scale=7", "a.yaml seed=1 cfg_scale=9",
        "a.yaml seed=2 cfg_scale=5",
    ]  # fmt: skip
    assert len(jobs) == 12 and jobs[6].file == Path("b.yaml")
    assert jobs[0].overrides == ("width=64", "seed=1", "cfg_scale=5")


def test_models_change_slowest_whatever_the_order() -> None:
    jobs, axes = list_jobs([Path("a.yaml")], ["seed=1,2", "model=[x, y]"])
    assert [axis.name for axis in axes] == ["seed", "model"]
    assert [job.label for job in jobs] == [f"a.yaml seed={s} model={m}" for m in "xy" for s in (1, 2)]


def test_without_lists_each_file_is_one_run() -> None:
    jobs, axes = list_jobs([Path("a.yaml"), Path("b.yaml")], ["seed=1", "zoom=max(1, 2)"])
    assert axes == () and [(job.label, job.swept) for job in jobs] == [("a.yaml", ()), ("b.yaml", ())]


def test_a_listed_value_means_what_it_means_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("")
    jobs, _ = list_jobs([path], ["prompts=['a: b', {0: c, 5: 'd, e'}, '[f|g]']"])
    read = [load(path, job.overrides).settings.prompts for job in jobs]
    assert read == [(("0", "a: b"),), (("0", "c"), ("5", "d, e")), (("0", "[f|g]"),)]


@pytest.mark.parametrize(
    ("batch_name", "overrides", "name"),
    [
        ("sea", ["seed=1,2"], "sea_seed=1"),
        ("sea", ["diffusion.cfg_scale=5,6", "tiling=true,false"], "sea_cfg_scale=5_tiling=true"),
        ("sea_{SEED}", ["seed=1,2", "cfg_scale=3,4"], "sea_{SEED}_cfg_scale=3"),
        ("sea", ["prompts=['{seed} of a very long winding tale', b]"], "sea_prompts=seed of a very long wind"),
    ],
)
def test_names_of_runs_have_the_swept_values(batch_name: str, overrides: list[str], name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f'batch_name: "{batch_name}"')
    job = list_jobs([path], overrides)[0][0]
    assert job.rename(load(path, job.overrides).settings).batch_name == name


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line beside sea.yaml with greys for pictures: 20 levels for each unit of cfg_scale."""

    def paint(init: Image | None, frame: Frame) -> Image:
        return from_bytes(np.full((64, 64, 3), int(frame.params.cfg_scale * 20), np.uint8))

    paint_with(monkeypatch, paint, refused=lambda settings: settings.params.cfg_scale.text == "0: (3)")
    monkeypatch.chdir(tmp_path)
    Path("sea.yaml").write_text(SEA)
    return lambda *words: say(capsys, *words)


def blue(path: str | Path) -> NDArray[np.int64]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., 0].astype(np.int64)


def test_a_sweep_makes_runs_a_table_and_a_sheet(render: Say) -> None:
    said = render("sea.yaml", "max_frames=2", "cfg_scale=2..4:2", "seed=7,8,9")
    folder = Path("output/sea_sweep")
    names = [f"sea_cfg_scale={scale}_seed={seed}" for scale in (2, 4) for seed in (7, 8, 9)]
    assert said.status == 0, said.err
    assert said.out.splitlines() == [*(str(folder / name / f"{name}.mp4") for name in names), str(folder / "sheet.png")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "sheet.png", "sweep.json"])
    assert load(folder / names[3] / "settings.yaml").settings.seed == 7
    table = [line.split()[:5] for line in said.err.splitlines()[-6:]]
    assert table[0] == ["done", "sea.yaml", "cfg_scale=2", "seed=7", "2"]
    assert table[5] == ["done", "sea.yaml", "cfg_scale=4", "seed=9", "2"]
    assert said.err.count("2 frames of 64x64") == 1  # told once, not for each run
    # Two rows of three cells: cfg_scale down, seed across.
    levels = blue(folder / "sheet.png")
    rows = [np.flatnonzero((levels == level).sum(1) > 180) for level in (40, 80)]
    assert [len(row) for row in rows] == [64, 64] and rows[0].max() < rows[1].min()
    columns = np.flatnonzero((levels[rows[0]] == 40).all(0))
    assert len(columns) == 3 * 64 and (np.diff(columns) > 1).sum() == 2


def test_one_failure_does_not_stop_the_others(render: Say) -> None:
    said = render("sea.yaml", "max_frames=2", "cfg_scale=2..5", "-q")
    assert said.status == 2 and said.err == "no such model: bad.safetensors\n"
    assert len(said.out.splitlines()) == 4
    assert (blue("output/sea_sweep/sheet.png") == 225).sum() > 3_000  # cells without a picture


def test_where_every_run_fails_nothing_is_left(render: Say) -> None:
    said = render("sea.yaml", "cfg_scale=3", "seed=1,2", "-q")
    assert (said.status, said.out) == (2, "") and not any(Path("output").iterdir())
    assert render("sea.yaml", "cfg_scale=-1,-2", "-q").status == 2


def test_sweeps_of_several_files_have_a_sheet_each_and_overwrite_nothing(render: Say) -> None:
    Path("land.yaml").write_text(SEA.replace("sea", "land"))
    words = ["*.yaml", "max_frames=1", "cfg_scale=2,4", "delete_imgs=true", "-q", "-o", "films"]
    said = render(*words)
    sheets = [str(Path("films/land_sweep/sheet.png")), str(Path("films/sea_sweep/sheet.png"))]
    assert said.status == 0 and said.out.splitlines()[-2:] == sheets
    assert render(*words).out.splitlines()[-1] == str(Path("films/sea_sweep_2/sheet.png"))
    # The frames are gone; the pictures are those of the video.
    levels = blue(sheets[1])
    assert (np.abs(levels - 80) < 4).sum() >= 3 * 60 * 60


def test_a_model_is_loaded_once_for_all_runs_that_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import deforum.diffusion as diffusion

    embedded = diffusion.resolve_model("embedded")
    loaded: list[str] = []

    class Grey:
        device = torch.device("cpu")
        dtype = torch.float32
        factor = 8

        def fit(self, width: int, height: int) -> None:
            pass

        def diffuse_batch(
            self, inits: Sequence[Image | None], frames: Sequence[Frame], *, width: int, height: int, **_: object
        ) -> list[Image]:
            if any(frame.params.cfg_scale == 3 for frame in frames):
                raise RuntimeError("an operation failed")
            return [from_bytes(np.full((height, width, 3), 99, np.uint8)) for _ in frames]

    def load_diffuser(source: ModelSource, **choices: object) -> Grey:
        loaded.append(source.name)
        return Grey()

    monkeypatch.setattr(diffusion, "load_diffuser", load_diffuser)
    monkeypatch.setattr(diffusion, "resolve_model", lambda name, *_, **__: replace(embedded, name=name))
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(SEA)
    assert cli.main(["a.yaml", "b.yaml", "max_frames=1", "seed=1,2", "model=[x, y]", "-q"]) == 0
    assert loaded == ["x", "y", "x", "y"]  # files one after the other, models slowest within each
    loaded.clear()
    assert cli.main(["a.yaml", "b.yaml", "max_frames=1", "-q"]) == 0
    assert loaded == ["embedded"]
    # A run that broke may have left the model in any state.
    loaded.clear()
    assert cli.main(["a.yaml", "max_frames=1", "cfg_scale=2..4", "-q"]) == 1
    assert loaded == ["embedded", "embedded"]


def test_check_checks_every_combination(render: Say) -> None:
    said = render("check", "sea.yaml", "cfg_scale=5,-5,6")
    assert said.status == 2 and "cfg_scale is -5 at frame 0" in said.err
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["sea.yaml cfg_scale=5", "sea.yaml cfg_scale=6"]


def test_a_run_is_named_by_its_template(render: Say) -> None:
    """Through the command line, to a folder that every file system takes."""
    said = render("sea.yaml", "max_frames=1", "batch_name={seed}: {W}x{height} <{sampler}> {profile}/{nothing}", "-q")
    name = "7__64x64__Euler_a__corrected_{nothing}"
    assert said == Said(0, f"{Path('output') / name / name}.mp4\n", "")
    assert render("sea.yaml", "max_frames=1", "batch_name=../{batch_name}", "-q").out.startswith(
        str(Path("output") / ".._.._")
    )
