"""Deforum's files become YAML."""

from __future__ import annotations

from pathlib import Path

from deforum.loading import load
from tests.helpers.command import DEFORUM_FILE, Said, Say, write


def test_convert_writes_beside_the_file_and_over_nothing(say: Say) -> None:
    Path("deep").mkdir()
    write("deep/old.txt", DEFORUM_FILE)
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
    assert again.status == 2 and "already exists" in again.err
    assert Path("deep/old.yaml").read_text() == text
    assert say("convert", "deep/old.txt", "--overwrite", "-q") == Said(0, f"{Path('deep/old.yaml')}\n", "")
    assert "steps" not in Path("deep/old.yaml").read_text()


def test_convert_to_the_screen_and_into_a_folder(say: Say) -> None:
    write("old.txt", DEFORUM_FILE)
    write("other.txt", DEFORUM_FILE)
    said = say("convert", "old.txt", "-o", "-", "-q")
    assert (said.status, said.err) == (0, "") and "\n  strength: 0.4 " in said.out
    Path("out").mkdir()
    assert say("convert", "*.txt", "-o", "out", "-q").status == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["old.yaml", "other.yaml"]


def test_files_are_found_from_another_folder_too(say: Say) -> None:
    Path("deep").mkdir()
    Path("deep/start.png").touch()
    write("deep/old.txt", '{"use_init": true, "init_image": "start.png", "prompts": {"0": "x"}}')
    assert say("convert", "deep/old.txt", "-q").status == 0
    assert "init_image: start.png " in Path("deep/old.yaml").read_text()
    assert say("convert", "deep/old.txt", "-o", "moved.yaml", "-q").status == 0
    assert load(Path("moved.yaml"), to_render=False).settings.init_image == str(Path("deep/start.png").resolve())
