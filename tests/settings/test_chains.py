"""The setting `post`: what is read, how it is written, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.loading import load, load_text
from deforum.settings.options import Settings
from deforum.settings.read import dump
from deforum.settings.steps import STEPS, Chain, Film, Frames, Interpolate, Upscale, write_step


def read(post: str) -> Settings:
    return load_text(f"prompts: a\npost: {post}", name="a.yaml", to_render=False).settings


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("[{upscale: 2}]", (Upscale(2.0),)),
        ("upscale", (Upscale(),)),
        ("[upscale, film]", (Upscale(), Film())),
        ("[{upscale: }, {film: h265}, frames]", (Upscale(), Film("h265"), Frames())),
        ("[{upscale: {factor: 3, upscaler: lanczos, keep: false}}]", (Upscale(3.0, "lanczos", keep=False),)),
        ("[{upscale: {upscaler: realesrgan-x4plus}}]", (Upscale(upscaler="x4plus"),)),
        ("{upscale: 4, film: {format: gif, quality: null}}", (Upscale(4.0), Film("gif"))),
        ("null", ()),
        ("none", ()),
        ("[]", ()),
        ("\n  - upscale: 2\n  - film: {format: webp, quality: 80}", (Upscale(2.0), Film("webp", 80))),
    ],
)
def test_steps_are_read_and_written(written: str, steps: tuple[object, ...]) -> None:
    settings = read(written)
    assert settings.post.steps == steps
    assert load_text(dump(settings), name="b.yaml").settings == settings
    assert load({"prompts": "a", "post": []}, [f"post={settings.post.text}"]).settings.post == settings.post


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_written_as_it_is_read(name: str) -> None:
    given = {"grade": {"lut": "a.cube"}, "title": {"text": "The sea: a film"}, "end_card": {"text": "end, [1]\\nof 1"}}
    step = STEPS[name].options(**given.get(name, {}))
    assert read(f"[{write_step(step)}]").post == Chain((step,))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[{upscal: 2}]", "a.yaml:2:9: post: unknown step 'upscal'; did you mean upscale?"),
        ("[{xyz: 2}]", f"a.yaml:2:9: post: unknown step 'xyz'; expected one of {', '.join(STEPS)}"),
        ("[{upscale: 9}]", "a.yaml:2:18: post, upscale: factor: 9 is out of range; expected 1.5..8 (times)"),
        ("[{upscale: {factr: 2}}]", "post, upscale has no option 'factr'; did you mean factor?"),
        ("[{upscale: 2, film: gif}]", "post: a step has one name; put each into { } of its own"),
        ("[grade]", "a.yaml:2:8: post, grade: lut: this has to be given"),
        ("[{title: {text: a, color: blu}}]", "post, title: color: 'blu' is no colour"),
        ("[[upscale]]", "a.yaml:2:8: post: expected a list of steps, such as [{upscale: 2}"),
        ("[{film: mp5}]", "post, film: format: 'mp5' is not a choice"),
        ("{upscale: 2, upscale: 3}", "post: 'upscale' is given twice"),
        (f"[{', '.join(['film'] * 51)}]", "post has 51 steps; expected at most 50"),
    ],
)
def test_what_is_wrong_has_a_place(written: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(written)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("upscale: 2\nupscaler: lancsos", "a.yaml:3:11: upscaler: 'lancsos' is neither one of auto, lanczos"),
        ("post: [film, {upscale: {upscaler: my.pth}}]",
         "a.yaml:2:14: post, upscale: upscaler: there is no file 'my.pth'"),
        ("r_upscale_video: true\nr_upscale_model: other", "a.yaml:3:18: r_upscale_model: 'other' is neither"),
    ],
)  # fmt: skip
def test_files_that_are_missing(tmp_path: Path, settings: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(f"prompts: a\n{settings}")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "a.yaml")
    assert message in str(caught.value)


def test_a_model_file_is_found_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "my.pth").touch()
    (tmp_path / "a.yaml").write_text("prompts: a\npost: [{upscale: {upscaler: my.pth}}]\nupscale: 2\nupscaler: my.pth")
    settings = load(tmp_path / "a.yaml").settings
    assert settings.post.steps == (Upscale(upscaler=str(tmp_path / "my.pth")),)
    assert settings.chains == ((Upscale(2.0, str(tmp_path / "my.pth")), *settings.post.steps),)


def test_a_model_is_found_by_its_name_in_models_dir(tmp_path: Path) -> None:
    folder = tmp_path / "webui" / "models" / "ESRGAN"
    folder.mkdir(parents=True)
    (folder / "4x-Sharp.pth").touch()
    (tmp_path / "a.yaml").write_text(
        f"prompts: a\nmodels_dir: {tmp_path / 'webui'}\nupscale: 2\nupscaler: 4x-sharp\n"
        "post: [{upscale: {upscaler: 4x-Sharp.pth}}]"
    )
    settings = load(tmp_path / "a.yaml").settings
    assert settings.upscaler == str(folder / "4x-Sharp.pth")
    assert settings.post.steps == (Upscale(upscaler=str(folder / "4x-Sharp.pth")),)


@pytest.mark.parametrize(
    ("values", "chains"),
    [
        ({}, ()),
        ({"upscale": 2}, ((Upscale(2.0),),)),
        ({"upscale": 3, "upscaler": "lanczos", "post": ["film"]}, ((Upscale(3.0, "lanczos"), Film()),)),
        ({"r_upscale_factor": "x4"}, ()),
        ({"r_upscale_video": True, "r_upscale_factor": "x4", "r_upscale_model": "realesrgan-x4plus-anime"},
         ((Upscale(4.0, "x4plus-anime", keep=True),),)),
        ({"r_upscale_video": True, "r_upscale_keep_imgs": False},
         ((Upscale(2.0, "realesr-animevideov3", keep=False),),)),
        ({"r_upscale_video": True, "upscale": 2}, ((Upscale(2.0),),)),
        ({"interpolate": 4}, ((Interpolate(4, keep=False),),)),
        ({"slow_motion": 2, "interpolate_keep_frames": True}, ((Interpolate(1, 2, keep=True),),)),
        ({"upscale": 2, "interpolate": 4, "interpolator": "flow", "post": ["film"]},
         ((Upscale(2.0), Interpolate(4, interpolator="flow", keep=False), Film()),)),
        ({"r_upscale_video": True, "interpolate": 3},
         ((Upscale(2.0, "realesr-animevideov3", keep=True),), (Interpolate(3, keep=False),))),
        ({"r_upscale_video": True, "interpolate": 3, "frame_interpolation_use_upscaled": True},
         ((Upscale(2.0, "realesr-animevideov3", keep=True), Interpolate(3, keep=False)),)),
    ],
)  # fmt: skip
def test_single_settings_are_short_for_steps(values: dict[str, object], chains: tuple[object, ...]) -> None:
    assert load({"prompts": "a"} | values, to_render=False).settings.chains == chains
