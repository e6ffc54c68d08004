"""Runs get names that are safe, and folders that are new."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.output.naming import fill, new_folder, run_name, runs_folder, safe_name
from deforum.settings.options import Settings


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Deforum_2026", "Deforum_2026"),
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("two words, one\tname\n", "two_words__one_name_"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "run"),
        (".", "run"),
        ("", "run"),
        ("ends in dots...", "ends_in_dots"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("console", "console"),
        ("-rf", "_-rf"),
        ("~", "_~"),
        ("\0\x1f", "__"),
        ("cafe\u0301", "caf\u00e9"),
        ("港" * 100, "港" * 40),
    ],
)
def test_names_are_safe_everywhere(text: str, name: str) -> None:
    assert safe_name(text) == name
    assert len(safe_name(text).encode()) <= 121


def test_names_are_filled_in() -> None:
    values = {"seed": 7, "timestring": "20260131", "w": 512, "prompt": "x" * 80}
    assert fill("{timestring}_{seed}_{W}", values) == "20260131_7_512"
    assert fill("{unknown}_{Seed}", values) == "{unknown}_7"
    assert fill("{prompt}", values) == "x" * 50


def test_a_run_never_overwrites_another(tmp_path: Path) -> None:
    names = [new_folder(tmp_path / "out", "sea").name for _ in range(3)]
    assert names == ["sea", "sea_2", "sea_3"]


def test_an_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"is no folder|cannot be written"):
        new_folder(tmp_path / "file", "sea")
    with pytest.raises(UserError, match=r"is no folder|cannot be written"):
        new_folder(tmp_path / "file" / "deeper", "sea")


def test_settings_name_a_run() -> None:
    from dataclasses import replace

    from deforum.settings.options import Settings

    now = datetime(2026, 1, 31, 12, 30, 5)
    template = "{date}/{time}_{seed}_{W}x{height}_{cfg_scale}_{sampler}_{nothing}"
    settings = replace(Settings(), seed=7, batch_name=template, width=320, height=200)
    assert run_name(settings, now) == "2026-01-31_12-30-05_7_320x200_7_Euler_a_{nothing}"
    assert run_name(replace(settings, batch_name="{fps} {strength_schedule} {zoom}"), now) == (
        "15_0.65_1.0025_+_0.002___sin(1.25___3.14___t___30)"
    )
    assert run_name(replace(settings, batch_name="Deforum_{timestring}"), now) == "Deforum_20260131123005"
    assert run_name(replace(settings, batch_name="{batch_name}"), now) == "run"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("taken", "taken: is a file; output takes the folder for the runs"),
        ("taken/films", "taken/films: taken is a file; output takes the folder for the runs"),
        ("new/" + "x" * 300, "a name in it has 300 bytes; expected at most 255 bytes"),
        ("a\0b", "is no path; character 0 (NUL) is not allowed in it"),
        ("/proc/films", "/proc/films: cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_written_is_found_before_rendering(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if output.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("there is no /proc")
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(UserError) as error:
        runs_folder(Settings(), Path(output))
    assert message in str(error.value) or "writing here is not allowed" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    assert runs_folder(Settings(output=str(tmp_path / "deep" / "films")), None) == tmp_path / "deep" / "films"
    assert list(tmp_path.iterdir()) == []
