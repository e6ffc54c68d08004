"""Settings out of settings files, pictures, films and folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.errors import UserError
from deforum.loading import Loaded, load
from deforum.metadata import jpeg, png, webp
from deforum.sources import describe_origin, heading, origin_in
from deforum.video.writer import VideoWriter
from schedules import Variables

PLAIN = {
    kind: cv2.imencode(f".{kind}", np.zeros((16, 24, 3), np.uint8))[1].tobytes() for kind in ("png", "jpg", "webp")
}
LABELS = {"png": png.label, "jpg": jpeg.label, "webp": webp.label}
SETTINGS = "# Rendered by deforum 1 from my.yaml\n\nseed: 7\nprompts: a calm sea\n"
A1111 = (
    "a cat, (hat:1.2)\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, "
    "Seed: 1234, Size: 512x768, Model hash: 6ce0161689, Model: v1-5\x1b-pruned, VAE: some.vae, Clip skip: 2, "
    "Version: v1.10"
)
COMFY = json.dumps(
    {
        "3": {"class_type": "KSampler", "inputs": {"seed": 8566, "steps": 20, "cfg": 8, "sampler_name": "euler"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass bottle", "clip": ["4", 1]}},
        "9": {"class_type": "Odd", "inputs": [1]},
        "10": 3,
    }
)


def picture(path: Path, **texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(LABELS[path.suffix[1:]](PLAIN[path.suffix[1:]], texts) if texts else PLAIN[path.suffix[1:]])
    return path


def film(path: Path, comment: str = "") -> Path:
    with VideoWriter(path, 24, 16, 8, comment=comment) as video:
        video.write(np.zeros((16, 24, 3), np.uint8))
    return path


@pytest.mark.parametrize("kind", LABELS)
def test_a_frame_gives_its_settings_back(kind: str, tmp_path: Path) -> None:
    loaded = load(picture(tmp_path / f"a.{kind}", deforum_settings=SETTINGS, parameters=A1111), ["max_frames=3"])
    assert (loaded.settings.seed, loaded.settings.prompts, loaded.settings.max_frames) == (7, (("0", "a calm sea"),), 3)
    assert loaded.report == () and loaded.origin == f"a.{kind} (from my.yaml) with max_frames=3"


def test_a_film_gives_its_settings_back(tmp_path: Path) -> None:
    assert load(film(tmp_path / "a.mp4", SETTINGS)).settings.seed == 7


def test_mistakes_in_a_pictures_settings_have_their_place(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", deforum_settings="seed: 7\nzomm: 1\n")
    with pytest.raises(UserError, match=r"a\.png:2:1: unknown setting 'zomm'; did you mean zoom"):
        load(path)


def test_a_run_folder_and_what_lies_in_it(tmp_path: Path) -> None:
    """A frame or film without texts, as after an editor has saved it, has the settings of the folder it lies in."""
    run = tmp_path / "sea"
    frame = picture(run / "frames" / "000000003.png")
    (run / "settings.yaml").write_text(SETTINGS)
    assert load(run).settings.seed == 7 and load(run).report == ()
    for path in (frame, film(run / "sea.mp4")):
        loaded = load(path)
        assert loaded.settings.seed == 7
        assert loaded.report == (f"{path.name} has no settings in it; taken: settings.yaml",)


def test_a_frame_of_deforum_has_the_settings_beside_it(tmp_path: Path) -> None:
    frame = picture(tmp_path / "20240131180300_000000003.png", parameters=A1111)
    (tmp_path / "20240131180300_settings.txt").write_text('{"seed": 5, "W": 640, "prompts": {"0": "x"}}')
    for path in (frame, tmp_path):
        assert (load(path).settings.seed, load(path).settings.profile) == (5, "deforum")
    (tmp_path / "20250131180300_settings.txt").write_text("{}")
    assert load(frame).settings.seed == 5
    with pytest.raises(UserError, match="several settings files are in it"):
        load(tmp_path)


def test_a_picture_of_a1111_gives_what_it_holds(tmp_path: Path) -> None:
    loaded = load(picture(tmp_path / "a.png", parameters=A1111))
    settings, params = loaded.settings, loaded.settings.params
    assert settings.prompts == (("0", "a cat, (hat:1.2)"),) and settings.negative_prompt == "dog"
    assert (settings.width, settings.height, settings.seed) == (512, 768, 1234)
    assert settings.sampler.sample(1, Variables(seed=0, fps=1)) == ("DPM++ 2M Karras",)
    assert (params.steps.text, params.cfg_scale.text, params.clip_skip.text) == ("0: (20)", "0: (6.5)", "0: (2)")
    assert loaded.report == (
        "a picture of A1111's web UI; taken from it: prompts, negative_prompt, steps, cfg_scale, seed, clip_skip, "
        "width, height, sampler",
        "not taken from it: VAE",
        "made with the checkpoint v1-5-pruned; give model=PATH to render with it",
    )


@pytest.mark.parametrize(
    ("text", "taken", "left"),
    [
        ("a cat", "prompts", ""),
        ("a cat\nSteps: 20, Sampler: Weird, Seed: -5", "prompts, steps", ""),
        ("x\nSteps: 99999, Sampler: Euler, Size: 511x9", "prompts, sampler", ""),
        ("x\nSteps: 5, Size: 515x333, Seed: 1, ControlNet 0: x, Sampler: Weird", "prompts, steps, seed, width, height",
         "ControlNet 0, Sampler"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(text: str, taken: str, left: str, tmp_path: Path) -> None:
    report = load(picture(tmp_path / "a.png", parameters=text)).report
    assert report[0] == f"a picture of A1111's web UI; taken from it: {taken}"
    assert not left or report[1] == f"not taken from it: {left}"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"prompt": COMFY, "workflow": "{}"},
         "a PNG picture of ComfyUI with a workflow (3 nodes, prompt 'a glass bottle', seed 8566, steps 20, cfg 8, "
         "sampler_name 'euler'), not with settings for this"),
        ({"workflow": "{}"}, "a PNG picture of ComfyUI with a workflow (for its editor only)"),
        ({"prompt": '{"a":' * 100_000}, "a PNG picture of ComfyUI with a workflow (for its editor only)"),
        ({"invokeai_metadata": "{}"}, "a PNG picture of InvokeAI, whose texts are not read"),
        ({"parameters": '{"sui_image_params": {}}'}, "a PNG picture of SwarmUI, whose texts are not read"),
        # Not a graph.
        ({"prompt": "a calm sea", "seed": "3"}, "a PNG picture without settings in it (it holds: 'prompt, seed')"),
        ({"Title": "x"}, "a PNG picture without settings in it (it holds: 'Title')"),
        ({}, "a PNG picture without settings in it; expected a settings file, or a frame, film or folder of a run. To "
             "start from this picture: init_image="),
    ],
)  # fmt: skip
def test_other_pictures_are_told_apart(texts: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load(picture(tmp_path / "a.png", **texts))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("", "a film without settings in it; expected a settings file, or a frame, film or folder of a run. To animate "
             "it: video_init_path="),
        (json.dumps({"prompt": json.loads(COMFY), "workflow": {}}), "a film of ComfyUI with a workflow (3 nodes"),
    ],
)  # fmt: skip
def test_other_films_are_told_apart(comment: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load(film(tmp_path / "a.mp4", comment))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(40), "a film without settings in it"),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + bytes(40), "a film without settings in it"),
        ("a.gif", b"GIF89a", "a film without settings in it"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a PNG picture without settings in it"),
        ("a.bmp", b"BM\xff\xfe", "not UTF-8 text"),
    ],
)
def test_broken_files_end_in_a_message(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / name)


def test_a_folder_without_settings(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"this is a folder without settings\.yaml; expected a settings file, or a frame"
    ):
        load(tmp_path)


# --- where settings came from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "overrides", "before", "origin"),
    [
        ("my.yaml", (), "", "my.yaml"),
        ("examples/my.yaml", ("seed=3", "prompts=a calm sea"), "", "examples/my.yaml with seed=3 'prompts=a calm sea'"),
        ("/home/ann/films/my.yaml", (), "", "my.yaml"),
        ("../my.yaml", (), "", "my.yaml"),
        ("a.yaml", ("init_image=/home/ann/a b.png",), "", "a.yaml with 'init_image=a b.png'"),
        ("a.yaml", ("mask=[/home/ann/a.png]",), "", "a.yaml with 'mask=[a.png]'"),
        (
            "a.yaml",
            ("init_image=~/a.png", "zoom=1/2", "x=a/b.png"),
            "",
            "a.yaml with init_image=a.png zoom=1/2 x=a/b.png",
        ),
        ("a.yaml", ("prompts=a\nb\x1b",), "", r"a.yaml with 'prompts=a\nb\x1b'"),
        ("out/settings.yaml", (), "my.yaml with seed=3", "out/settings.yaml (from my.yaml with seed=3)"),
        ("a.png", ("fps=9",), "b.png (from my.yaml) with seed=3", "a.png (from my.yaml) with fps=9"),
    ],
)
def test_origins(path: str, overrides: tuple[str, ...], before: str, origin: str) -> None:
    assert describe_origin(Path(path), overrides, before=before) == origin
    assert origin_in(heading(origin)) == origin


def test_a_long_origin_is_cut() -> None:
    assert len(describe_origin(Path("a.yaml"), ("prompts=" + "x" * 10_000,))) == 500


def test_a_mapping_has_no_origin() -> None:
    given = {"seed": 3, "prompts": "a sea"}
    assert load(given) == Loaded(load(given).settings, (), "") and origin_in(heading()) == ""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + bytes(20), "a zip archive, such as a .ckpt file of weights"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"unet.weight": {}}', "a .safetensors file of weights"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound"),
        (b"RIFF\x24\0\0\0AVI LIST", "a film"),
        (b"ID3\x04" + bytes(20), "a sound"),
        (b"OggS\0\x02" + bytes(20), "a sound"),
        (b"%PDF-1.7\n%", "a PDF"),
        (b"\x1f\x8b\x08" + bytes(20), "a gzip archive"),
        (b"\x80\x02}q\0" + bytes(20), "a file of weights in Python's pickle form"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(UserError, match=f"given: this is {re.escape(what)}; expected a settings file"):
        load(tmp_path / "given")


@pytest.mark.parametrize("text", ["PKs: 1", "FLV: a", "ID3: a", "OggS: x\n"])
def test_a_text_that_begins_like_another_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "given.yaml").write_text(text)
    with pytest.raises(UserError, match="unknown setting"):
        load(tmp_path / "given.yaml")
