"""What a model was trained on: the size that it is given, and notes on sizes and words that it does not know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from deforum import Settings, UserError, check, dump, frames, load
from deforum.diffusion import resolve_model
from deforum.diffusion.families.find import ModelSource
from deforum.diffusion.training_limits import size_notes, unknown_words, with_size, word_notes
from deforum.models.kept import KeptModels
from tests.diffusion.tiny import Tiny

EMBEDDED = resolve_model("embedded")
MODELS = KeptModels()
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def model_of(size: tuple[int, int], name: str = "~/models/dream.safetensors") -> ModelSource:
    return ModelSource(name, "file", None, "sd1", "epsilon", None, size)


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "metadata", "size"),
    [
        ("sd1", {}, 512),
        ("sd2", {"modelspec.prediction_type": "v"}, 768),
        ("sd2", {"modelspec.prediction_type": "epsilon"}, 512),
        ("sd2", {}, 768),  # as its configuration says
        ("sdxl", {}, 1024),
    ],
)
def test_the_native_size_of_a_file(
    family: str, metadata: dict[str, str], size: int, models: dict[str, Tiny], tmp_path: Path
) -> None:
    save_file(models[family].ldm(), tmp_path / "a.safetensors", metadata=metadata)
    assert resolve_model(str(tmp_path / "a.safetensors")).size == (size, size)


@pytest.mark.parametrize(
    ("sample_size", "size"),
    [
        (16, (32, 32)),
        (96, (192, 192)),
        ([24, 32], (64, 48)),  # height, width
        (None, (128, 128)),  # that of Stable Diffusion 1.x, in latents
    ],
)
def test_the_native_size_of_a_folder(
    sample_size: Any, size: tuple[int, int], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["sd1"], folder)
    config = json.loads((folder / "unet/config.json").read_text())
    (folder / "unet/config.json").write_text(json.dumps(config | {"sample_size": sample_size}))
    assert resolve_model(str(folder)).size == size


def test_the_native_size_of_the_embedded_model() -> None:
    assert EMBEDDED.size == (256, 256)


@pytest.mark.parametrize(
    ("given", "model", "size", "note"),
    [
        ({}, EMBEDDED, (256, 256),
         "size: 256x256; width and height are not given and are native to the embedded model"),
        ({}, model_of((1024, 1024)), (1024, 1024),
         "size: 1024x1024; width and height are not given and are native to dream.safetensors"),
        ({"width": 320}, EMBEDDED, (320, 256),
         "size: 320x256; height is not given and is native to the embedded model"),
        ({"height": 192}, EMBEDDED, (256, 192),
         "size: 256x192; width is not given and is native to the embedded model"),
        ({"width": 320, "height": 176}, EMBEDDED, (320, 176), ""),
        ({"profile": "deforum"}, model_of((1024, 1024)), (512, 512),
         "size: 512x512; width and height are not given and are Deforum's default\n"
         "size: 512x512 is small for dream.safetensors, trained at 1024x1024: pictures lose their subject"),
        ({"profile": "deforum", "height": 704}, model_of((512, 512)), (512, 704),
         "size: 512x704; width is not given and is Deforum's default"),
        ({"width": 128, "height": 128}, EMBEDDED, (128, 128),
         "size: 128x128 is small for the embedded model, trained at 256x256: pictures lose their subject"),
        ({"width": 512, "height": 320}, EMBEDDED, (512, 320),
         "size: 512x320 is large for the embedded model, trained at 256x256: pictures repeat their subject"),
        ({"width": 384, "height": 384}, EMBEDDED, (384, 384), ""),
        ({"width": 192, "height": 192}, EMBEDDED, (192, 192), ""),
        ({"width": 1024, "height": 512}, model_of((512, 512)), (1024, 512), ""),
        ({"width": 1024, "height": 1024}, model_of((512, 512)), (1024, 1024),
         "size: 1024x1024 is large for dream.safetensors, trained at 512x512: pictures repeat their subject"),
    ],
)  # fmt: skip
def test_sizes(given: dict[str, Any], model: ModelSource, size: tuple[int, int], note: str) -> None:
    settings = load({"prompts": "hills", **given}).settings
    assert with_size(settings, model).size == size
    assert "\n".join(size_notes(settings, model)) == note


def test_a_size_is_unknown_before_the_model_is() -> None:
    with pytest.raises(ValueError, match=r"deforum\.build\.prepare"):
        _ = Settings(width=256).size


@pytest.mark.parametrize(("width", "height"), [(72, 40), (104, 136), (64, 64)])
def test_the_embedded_model_takes_multiples_of_8(width: int, height: int) -> None:
    settings = load(
        {"prompts": "hills", "width": width, "height": height, "steps": 2, "max_frames": 1, "finish": "none"}
    ).settings
    [(_, picture)] = frames(settings, models=MODELS)
    assert picture.shape == (height, width, 3)


def test_what_is_written_has_the_size(tmp_path: Path) -> None:
    prepared = check(load({"prompts": "hills", "height": 320}).settings)
    written = dump(prepared.settings)
    assert "width: 256 " in written and "height: 320 " in written
    (tmp_path / "a.yaml").write_text(written)
    assert load(tmp_path / "a.yaml").settings.size == (256, 320)


def test_a_missing_model_is_named_with_the_faults_of_the_outputs() -> None:
    settings = load({"prompts": "hills", "subtitles": "zom", "model": "nowhere.safetensors"}, to_render=False).settings
    with pytest.raises(UserError, match=r"(?s)nowhere\.safetensors.*zom"):
        check(settings)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("purple elephant on a unicycle", "elephant unicycle"),
        ("the sea at sunset, 4k, 8K uhd", "uhd"),
        ("An Elephant, an ELEPHANT and elephants", "Elephant elephants"),
        ("(castle:1.3), [dragon], ((sea)), \\(knight\\)", "castle dragon knight"),
        ("mountains AND sea :0.5 BREAK hills", ""),
        ("the sea's waves, don't, won’t, a giant's castle", "castle"),
        ("<lora:dragon_style:0.8> hills <lyco:knight:1> <hypernet:cat:1>", ""),
        ("blue_sky, snow-capped peaks, close-up, e, x", ""),
        ("[sea:castle:0.5] [hills|dragon]", "castle dragon"),
        ("ein Elefant, море, 海", "ein Elefant море"),  # a single letter is not judged
        ("", ""),
    ],
)
def test_unknown_words(text: str, unknown: str) -> None:
    [*notes] = word_notes([text], EMBEDDED)
    named = notes[0].partition("ignores them: ")[2].partition(" (its words are in")[0] if notes else ""
    assert named.replace(",", "") == unknown


def test_negative_prompts_have_a_note_of_their_own() -> None:
    notes = list(word_notes(["the `1+t` sea (waves:`elephant`) --neg blurry, (ugly:1.2), snow", "a castle"], EMBEDDED))
    assert [note.partition(" (its")[0] for note in notes] == [
        "prompts: the embedded model was not trained on these words and ignores them: castle",
        "negative prompts: the embedded model was not trained on these words and ignores them: blurry, ugly",
    ]


def test_many_words_are_counted() -> None:
    [note] = word_notes([" ".join(f"xy{chr(97 + i)}" for i in range(20))], EMBEDDED)
    assert "xya, xyb, " in note and "xyl and 8 more (" in note and "xym" not in note


def test_a_model_without_a_list_of_words_is_not_judged(folders: dict[str, Path]) -> None:
    assert not list(word_notes(["purple elephant"], resolve_model(str(folders["sd1"]))))
    assert not list(word_notes(["purple elephant"], model_of((512, 512))))


def test_unknown_words_against_a_given_list() -> None:
    assert unknown_words(["A Cat", "cat dog"], ["a", "dog"]) == ["Cat"]


def test_what_is_said_before_a_render() -> None:
    notes = check(
        load({"prompts": {0: "hills", 9: "purple elephant on a unicycle"}, "positive_prompt": "zebra"}).settings
    )
    assert any("ignores them: zebra, elephant, unicycle (" in note for note in notes.notes)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_use_what_the_model_knows(path: Path) -> None:
    notes = check(load(path).settings).notes
    assert not [note for note in notes if "ignores them" in note or note.startswith("size:")]


def test_the_list_of_words_is_that_of_the_captions() -> None:
    from training.captions import vocabulary

    assert EMBEDDED.path is not None
    assert (EMBEDDED.path / "words.txt").read_text(encoding="utf-8").split() == vocabulary()
