"""Settings files for people: YAML, overrides, errors that say where and what to do, and the way back to YAML."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from deforum.errors import UserError
from deforum.loading import Loaded, load
from deforum.reports.reference import reference
from deforum.settings import document
from deforum.settings.options import CONTROLS, DECLARATIONS, SECTIONS, ControlUnit, Settings
from deforum.settings.read import CANONICAL, dump
from schedules import Variables, parse_number, parse_text
from tests.helpers import ROOT
from tests.helpers.command import imported


class Write(Protocol):
    """Writes a settings file into the current folder."""

    def __call__(self, text: str, name: str = "a.yaml") -> Path: ...


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a.yaml into the current folder, so that errors name it as a.yaml."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "a.yaml") -> Path:
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


def errors(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    return str(caught.value)


NO_PROMPTS = "no prompts in the file; the frames are painted without a prompt"

# --- what can be said -------------------------------------------------------------------------------------------------


def test_nothing_said_is_the_defaults(write: Write) -> None:
    assert load(write("")) == Loaded(Settings(), ("the file is empty: every setting has its default", NO_PROMPTS))
    assert load(write("# only a comment\n")).settings == Settings()


@pytest.mark.parametrize(
    "text",
    ["cfg_scale: 3\nfps: 12", "diffusion:\n  cfg_scale: 3\nanimation:\n  fps: 12", "seeds: {cfg_scale: 3, fps: 12}"],
)
def test_sections_are_for_the_eye(write: Write, text: str) -> None:
    settings = load(write(text)).settings
    assert (settings.params.cfg_scale, settings.fps) == (parse_number("3"), 12)


def test_an_empty_section_says_nothing(write: Write) -> None:
    assert load(write("motion:\n\nseed: 4\n")).settings.seed == 4


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        # what YAML 1.1 makes of these is not what is meant
        ("fps: 1e1", "fps", 10.0),
        ("noise: 1e-3", "noise", parse_number(0.001)),
        ("batch_name: on", "batch_name", "on"),
        ("batch_name: 12:30", "batch_name", "12:30"),
        ("batch_name: 1_000", "batch_name", "1_000"),
        ("batch_name: null", "batch_name", ""),
        ("batch_name: 2024-01-01", "batch_name", "2024-01-01"),
        ("make_gif: on", "make_gif", True),
        ("make_gif: yes", "make_gif", True),
        ("make_gif: 1", "make_gif", True),
        ("make_gif: 'no'", "make_gif", False),
        ("tiling: true", "tiling", "both"),
        ("vae: null", "vae", parse_text('""')),
        ("vae: ''", "vae", parse_text('""')),
        ("vae: a b.pt", "vae", parse_text({"0": "a b.pt"})),
        ("checkpoint: ", "checkpoint", parse_text('""')),
        ("tiling: 1", "tiling", "both"),
        ("tiling: on", "tiling", "both"),
        ("tiling: false", "tiling", "none"),
        ("tiling: 0.0", "tiling", "none"),
        ("tiling: null", "tiling", "none"),
        ("tiling: X", "tiling", "x"),
        ("tiling: y", "tiling", "y"),
        ("max_frames: 10.0", "max_frames", 10),
        ("max_frames: '10'", "max_frames", 10),
        ("seed: 4294967295", "seed", 4294967295),
        ("border: WRAP", "border", "wrap"),
        ("animation_mode: 2d", "animation_mode", "2D"),
        ("color_coherence: None", "color_coherence", "None"),
        ("color_coherence: null", "color_coherence", "None"),
        ("color_coherence: off", "color_coherence", "None"),
        ("init_image: null", "init_image", None),
        ("init_image: ''", "init_image", None),
        ("video_quality: null", "video_quality", None),
        ("video_quality: 12", "video_quality", 12),
        # schedules: number, Deforum's text, mapping
        ("zoom: 1.02", "zoom", parse_number(1.02)),
        ("zoom: 1+t/100", "zoom", parse_number("1+t/100")),
        ('zoom: "0: (1), 30: (2)"', "zoom", parse_number("0:(1), 30:(2)")),
        ("zoom: {0: 1, 30: 2}", "zoom", parse_number("0:(1), 30:(2)")),
        ("zoom:\n  0: 1\n  max_f/2: sqrt(t)\n", "zoom", parse_number('0:(1), "max_f/2":(sqrt(t))')),
        # texts by keyframe
        ("prompts: a cat", "prompts", (("0", "a cat"),)),
        ("prompts: {0: a, max_f/2: b}", "prompts", (("0", "a"), ("max_f/2", "b"))),
        ("prompts:\n  0: 12:30 # no\n  10: on\n  20:\n", "prompts", (("0", "12:30"), ("10", "on"), ("20", ""))),
        ('prompts: {"0": "(a:1.2), {b} --neg: # %&*!|>@`t` \\u2019"}', "prompts",
         (("0", "(a:1.2), {b} --neg: # %&*!|>@`t` \u2019"),)),
        ("prompts:\n  0: |\n    two\n    lines\n", "prompts", (("0", "two\nlines\n"),)),
        ("animation_prompts: x", "prompts", (("0", "x"),)),
    ],
)  # fmt: skip
def test_values(write: Write, line: str, name: str, value: object) -> None:
    settings = load(write(line), to_render=False).settings
    assert getattr(settings if hasattr(settings, name) else settings.params, name) == value


def test_text_schedules(write: Write) -> None:
    sampler = load(write('sampler: {0: Euler a, 2: "DPM++ 2M Karras"}')).settings.sampler
    assert sampler.sample(3, Variables()) == ("Euler a", "Euler a", "DPM++ 2M Karras")


def test_aliases_of_yaml_work(write: Write) -> None:
    settings = load(write("translation_x: &drift sin(t/9)\ntranslation_y: *drift\n")).settings
    assert settings.params.translation_x == settings.params.translation_y == parse_number("sin(t/9)")


def test_old_names_are_told(write: Write) -> None:
    loaded = load(write("prompts: a\nstrength_schedule: 0.5\nW: 64\nseed_iter_N: 3\n"))
    assert loaded.settings.params.strength == parse_number(0.5)
    assert loaded.settings.width == 64
    assert loaded.report == (
        "strength_schedule is called strength here",
        "W is called width here",
        "seed_iter_N is called seed_iter_n here",
    )


def test_what_has_no_effect_is_told_once_for_each_reason(write: Write) -> None:
    text = "parseq_use_deltas: false\nparseq_except: zoom\nfov: 40\ntranslation_z: 3"
    assert load(write(f"prompts: a\n{text}")).report == (
        "without effect: parseq_use_deltas, parseq_except; acts where parseq_manifest is given",
        "without effect in 2D mode, only in 3D: fov, translation_z",
    )
    assert load(write("prompts: a\nuse_mask: false\nmask_file: a.png\nfov: 70\nr_upscale_factor: x4")).report == (
        "without effect: mask_file; acts where a mask asks for {video_mask} or {init_mask}",
        "without effect: r_upscale_factor; acts where r_upscale_video is on",
    )
    assert load(
        write("prompts: a\nperlin_w: 4\nnoise_type: uniform\nantiblur_amount: 0\nantiblur_sigma: 2")
    ).report == (
        "without effect: perlin_w; acts where noise_type is perlin and noise is not 0",
        "without effect: antiblur_sigma; acts where antiblur_amount is not 0",
    )
    assert load(write("prompts: a\nseed_resize_from_w: 64\nstrength_0_no_init: false")).report == (
        "without effect: seed_resize_from_w; acts where both seed_resize_from_w and seed_resize_from_h are above 0",
    )
    assert load(write("prompts: a\nseed_resize_from_w: 64\nseed_resize_from_h: 64")).report == ()


def test_prompts_that_are_never_seen_are_told(write: Write) -> None:
    path = write("max_frames: 10\nprompts: {0: a, 9: b, 10: c, max_f+1: d}")
    assert load(path).report == (
        "prompts: the last frame is 9; these keyframes are after it and never shown: 10, max_f+1",
    )
    assert load(path, ["prompt_blend=linear"]).report == ()  # a blend towards them is seen
    assert load(write("prompts: {-5: a, 0: b}")).report == (
        "prompts: the first frame is 0; these keyframes are before it and never shown: -5",
    )


# --- overrides --------------------------------------------------------------------------------------------------------


def test_overrides_win(write: Write) -> None:
    path = write("width: 512\nstrength: 0.2\nprompts: {0: a, 9: b}\n")
    loaded = load(path, ["W=64", "diffusion.strength = 0: (0.3), 9: (0.4)", "prompts=a: cat", "zoom={0: 1, 9: 1.1}"])
    assert loaded.settings.width == 64
    assert loaded.settings.params.strength == parse_number("0:(0.3), 9:(0.4)")
    assert loaded.settings.params.zoom == parse_number("0:(1), 9:(1.1)")
    assert loaded.settings.prompts == (("0", "a: cat"),)
    assert loaded.report == ()


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("batch_name={seed}_{date}", "batch_name", "{seed}_{date}"),
        ("files.batch_name={seed}", "batch_name", "{seed}"),
        ("positive_prompts=[cat|dog], bright", "positive_prompt", "[cat|dog], bright"),
        ("batch_name='{seed} '", "batch_name", "{seed} "),
    ],
)
def test_a_text_may_begin_with_a_bracket(override: str, name: str, value: str, write: Write) -> None:
    assert getattr(load(write("{}"), [override]).settings, name) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("width", "command line: width: expected name=value"),
        ("=3", "command line: =3: expected name=value"),
        ("widht=3", "command line: widht=3: unknown setting 'widht'; did you mean width?"),
        ("motion.zom=3", "command line: motion.zom=3: unknown setting 'zom'; did you mean zoom?"),
        ("motoin.zoom=3", "command line: motoin.zoom=3: unknown section 'motoin'; did you mean motion.zoom or zoom?"),
        ("xyz.zoom=3", "command line: xyz.zoom=3: unknown section 'xyz'; did you mean zoom?"),
        ("motion=3", "command line: motion=3: motion: this is a section, not a setting; its settings are listed by: "
         "params motion"),
        ("fps=fast", "command line: fps=fast: fps: 'fast' is not a number; expected 0.1..1000 (frames/s)"),
        ("fps=", "command line: fps=: fps: '' is not a number; expected 0.1..1000 (frames/s)"),
        ("strength=2", "command line: strength=2: strength is 2 at frame 0 (and 119 more); expected 0..1 (share)"),
        ("prompts={0: a", "command line: prompts={0: a: '{0: a' cannot be read: this { does not begin a valid mapping; "
         "a text that begins with { has to stand in quotes"),
        ("use_init=1", "command line: use_init=1: use_init: this renderer does not have this switch; "
                       "init_image acts when it is given; null: no init image"),
    ],
)  # fmt: skip
def test_wrong_overrides(write: Write, override: str, message: str) -> None:
    assert errors(write("seed: 1"), override) == message


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fsp: 12", "a.yaml:1:1: unknown setting 'fsp'; did you mean fps?"),
        ("motion:\n  zom: 1", "a.yaml:2:3: unknown setting 'zom'; did you mean zoom?"),
        ("qwertyuiop: 1", "a.yaml:1:1: unknown setting 'qwertyuiop'"),
        ("motoin:\n  zoom: 1", "a.yaml:1:1: unknown section 'motoin'; did you mean motion?"),
        ("Motion: {zoom: 1}", "a.yaml:1:1: unknown section 'Motion'; did you mean motion?"),
        ("qwertyuiop:\n  zoom: 1", "a.yaml:1:1: unknown section 'qwertyuiop'"),
        ("motion:\n  camera:\n    fov: 40", "a.yaml:2:3: camera: this section is inside the section motion; sections "
         "stand side by side, each on a line without indentation"),
        ("seed: 1\n \tfps: 2", "a.yaml:2:2: a tab; YAML lines are indented with spaces\n      fps: 2\n     ^"),
        ("motion:\n  zoom: 1\n  \tangle: 2",
         "a.yaml:3:3: a tab; YAML lines are indented with spaces\n       angle: 2\n      ^"),
        ("motion:\n\tzoom: 1", "a.yaml:2:1: a tab; YAML lines are indented with spaces\n     zoom: 1\n    ^"),
        ("prompts:\n\t0: a\n\t9: b", "a.yaml:2:1: a tab; YAML lines are indented with spaces\n     0: a\n    ^"),
        ("seed: 1\nseed: 2", "a.yaml:2:1: seed is given twice; first at a.yaml:1:1"),
        ("W: 64\nsize: {width: 64}", "a.yaml:2:8: width is given twice (as W and width); first at a.yaml:1:1"),
        ("motion: 3", "a.yaml:1:9: motion: this is a section; expected settings below it, "
                      "each on an indented line of its own"),
        ("max_frames: ten", "a.yaml:1:13: max_frames: 'ten' is not a whole number; expected 1..1000000 (frames)"),
        ("max_frames: 0", "a.yaml:1:13: max_frames: 0 is out of range; expected 1..1000000 (frames)"),
        ("max_frames: 1.5", "a.yaml:1:13: max_frames: '1.5' is not a whole number; expected 1..1000000 (frames)"),
        ("fps: .nan", "a.yaml:1:6: fps: '.nan' is not a number; expected 0.1..1000 (frames/s)"),
        ("fps: nan", "a.yaml:1:6: fps: 'nan' is not a number; expected 0.1..1000 (frames/s)"),
        ("fps: [1]", "a.yaml:1:6: fps: a list cannot be read here; expected 0.1..1000 (frames/s)"),
        ("fps: {a: 1}", "a.yaml:1:6: fps: a mapping cannot be read here; expected 0.1..1000 (frames/s)"),
        ("width: 250", "a.yaml:1:8: width: 250 is not a multiple of 8; the nearest one is 248"),
        ("make_gif: maybe", "a.yaml:1:11: make_gif: 'maybe' is neither true nor false"),
        ("tiling: maybe", "a.yaml:1:9: tiling: 'maybe' is not a choice; expected none or both or x or y"),
        ("border: wrapp", "a.yaml:1:9: border: 'wrapp' is not a choice (did you mean wrap?); "
                          "expected replicate or wrap or reflect"),
        ("cadence: 0", "a.yaml:1:10: cadence: 0 is out of range; expected 1..1000 (frames)"),
        ("strength: {0: 0.5, 4: 1.5}\nmax_frames: 5",
         "a.yaml:1:11: strength is 1.25 at frame 3 (and 1 more); expected 0..1 (share)"),
        ("cfg_scale: 1/(t-3)", "a.yaml:1:12: cfg_scale is -0.333333 at frame 0 (and 3 more); expected at least 0"),
        ("antiblur_kernel: 4",
         "a.yaml:1:18: antiblur_kernel is 4 at frame 0 (and 119 more); expected an odd number (px)"),
        ('zoom: "0: (1), 9: (sinn(t))"',
         "a.yaml:1:20: zoom: unknown function 'sinn'; expected one such as sin, where or clip\n"
         "  0: (1), 9: (sinn(t))\n              ^\ndid you mean 'sin'?"),
        ("angle: {0: 1, 3: q(t)}",
         "a.yaml:1:18: angle, keyframe 3: unknown function 'q'; expected one such as sin, where or clip\n  q(t)\n  ^"),
        ("angle: {0: 1, 0: 2}", "a.yaml:1:15: angle: '0' is given twice; first at a.yaml:1:9"),
        ("angle: {0:1}", "a.yaml:1:12: angle: a keyframe needs one value, a number or an expression in quotes, "
                         "with a space behind the colon"),
        ("angle: [1, 2]", "a.yaml:1:8: angle: a list cannot be read here; expected a number, a schedule such as "
                          "'0: (1), 30: (2)', or a mapping such as {0: 1, 30: 2}"),
        ("zoom: {0: max(1, 2), 30: 1}", "a.yaml:1:20: zoom: a keyframe needs one value, a number or an expression in "
                                        "quotes, with a space behind the colon; outside of quotes, a comma ends a "
                                        "value in { }"),
        ("prompts: [a, b]",
         "a.yaml:1:10: prompts: a list of texts is for still images in the notebook, which are not made here; give "
         "each text its first frame, such as {0: a forest, 30: a lake}"),
        ("prompts:\n  0: {a} cat",
         "a.yaml:2:10: this does not fit here: a text that begins with a quote, [ or { has to stand in "
         "quotes as a whole; or else the indentation is wrong, here or above\n"
         "      0: {a} cat\n             ^"),
        ("prompts:\n  0: {a cat}",
         "a.yaml:2:6: prompts, keyframe 0: a text was expected here; one that begins with { or "
         "[ has to stand in quotes"),
        ("prompts: {0: a, 0: b}", "a.yaml:1:17: prompts: '0' is given twice; first at a.yaml:1:11"),
        ("prompts: {max_g: b}",
         "a.yaml:1:11: prompts, keyframe: unknown name 'max_g'; expected one of t, sec, s, max_f, "
         "fps, pi, e\n  max_g\n  ^\ndid you mean 'max_f'?"),
        ("use_init: true", "a.yaml:1:1: use_init: this renderer does not have this switch; "
                           "init_image acts when it is given; null: no init image"),
        ("init_image: cat.png", "a.yaml:1:13: init_image: there is no file 'cat.png' (looked in {here})"),
        ("init_image: https://x.org/a.png", "a.yaml:1:13: init_image: https://x.org/a.png is not fetched; download it "
                                            "and give the file"),
        ("color_coherence: Image", "color_coherence_image_path: this has to name a file"),
        ("animation_mode: Video Input", "video_init_path: this has to name a file"),
        ("animation_mode: Video Input\nvideo_init_path: https://a.org/a.mp4",
         "a.yaml:2:18: video_init_path: https://a.org/a.mp4 is not fetched; download it and give the file"),
        ("color_coherence: Video Input", "video_init_path: this has to name a file"),
    ],
)  # fmt: skip
def test_errors(write: Write, text: str, message: str) -> None:
    assert errors(write(text)) == message.replace("{here}", str(Path.cwd()))


def test_all_problems_come_together(write: Write) -> None:
    text = "fsp: 12\nwidth: 250\nstrength: 1.5\nzoom: sinn(t)\nmotion:\n  border: wrapp\nseed: 1\nseed: 2\n"
    told = errors(write(text), "foo=1").splitlines()
    places = [line.split(" ")[0] for line in told if line.startswith(("a.yaml", "command"))]
    assert sorted(places) == ["a.yaml:1:1:", "a.yaml:2:8:", "a.yaml:3:11:", "a.yaml:4:7:", "a.yaml:6:11:",
                              "a.yaml:8:1:", "command"]  # fmt: skip


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert errors(tmp_path / "no.yaml") == f"{tmp_path / 'no.yaml'}: no such file"
    assert errors(tmp_path).startswith(f"{tmp_path}: this is a folder without settings.yaml; expected a settings file")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"seed: 1\xff")
    assert errors(path) == f"{path}: byte 8 is not UTF-8 text; save it as UTF-8"


def test_tags_construct_nothing(write: Write) -> None:
    assert "a list cannot be read here" in errors(write("batch_name: !!python/object/apply:os.system ['exit 1']"))


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of PyYAML's parsers: they have other words for the same mistake, and other limits."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML without libyaml")
    monkeypatch.setattr(document, "Loader", getattr(yaml, request.param))


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zoom: 0: (1), 9: (2)", "a.yaml:1:8: there are two colons, each followed by a space; a text with ': ' in it "
                                 'has to stand in quotes, as in zoom: "0: (1), 30: (1.1)"\n    zoom: 0: (1), 9: (2)\n'
                                 "           ^"),
        ("a: 'b\nc: 1\n", "a.yaml:1:4: this quote is never closed\n    a: 'b\n       ^"),
        ("seed: 1\n\tfps: 2", "a.yaml:2:1: a tab; YAML lines are indented with spaces\n     fps: 2\n    ^"),
        ("prompts: `t`", "a.yaml:1:10: a text cannot begin with this character unless it stands in quotes\n"
                         "    prompts: `t`\n             ^"),
        ("prompts: *x",
         "a.yaml:1:10: a text that begins with * has to stand in quotes"),
        ("- 1\n", "a.yaml:1:1: this is not a settings file; expected lines such as 'width: 512'"),
        ("a: 1\n---\nb: 1", "a.yaml:2:1: a second document begins here (---); expected one"),
        ("a: &a [*a]", "a.yaml:1:8: a text that begins with * has to stand in quotes"),
        ("? [a]\n: 1", "a.yaml:1:3: a list or a mapping cannot be a name; is a text with { or [ missing quotes?"),
        ("a: [1, 2", "a.yaml:1:4: this [ does not begin a valid list; a text that begins with [ has to stand in "
                     "quotes\n    a: [1, 2\n       ^"),
        ("seed: 1\na\nb: 1",
         "a.yaml:3:1: a line before this one has no colon; expected 'name: value'\n    b: 1\n    ^"),
        ("a: |x\n", "a.yaml:1:4: a text that begins with | has to stand in quotes\n    a: |x\n       ^"),
        ("a: }", "a.yaml:1:4: a value is missing before this; a text that begins with it has to stand in quotes\n"
                 "    a: }\n       ^"),
        ("a: 'it's'", "a.yaml:1:8: this does not fit here: a text that begins with a quote, [ or { has to stand in "
                      "quotes as a whole; or else the indentation is wrong, here or above\n    a: 'it's'\n"
                      "           ^"),
    ],
)  # fmt: skip
def test_what_is_not_yaml_is_said_in_our_words(write: Write, text: str, message: str) -> None:
    assert errors(write(text)) == message


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" * 100_000, "1:10"),
        ("{a: " * 5_000, "1:34"),
        ("seed: 1\nprompts: " + "[" * 2_000 + "]" * 2_000, "2:18"),
        ("- " * 5_000, "1:19"),
        ("\n".join(" " * depth + "a:" for depth in range(1_500)), "9:9"),
    ],
    ids=["list", "mapping", "closed", "block list", "block mapping"],
)
def test_deep_nesting_ends_in_an_error(write: Write, text: str, place: str) -> None:
    """Ours, at our place: a parser may have a limit too, and look ahead as far as that before we see anything."""
    assert (
        errors(write(text)).splitlines()[0]
        == f"a.yaml:{place}: this is nested too deeply for any setting; expected at most 8 levels"
    )


@pytest.mark.usefixtures("parser")
def test_many_brackets_in_quotes_are_a_text(write: Write) -> None:
    text = "[(" * 2_000
    assert load(write(f"prompts: '{text}'"), to_render=False).settings.prompts == (("0", text),)


def test_deep_nesting_on_the_command_line(write: Write) -> None:
    told = errors(write("seed: 1"), "prompts=" + "[" * 5_000)
    assert told.endswith("this is nested too deeply for any setting; expected at most 8 levels") and len(told) < 250


# --- paths ------------------------------------------------------------------------------------------------------------


def test_paths_start_from_the_folder_of_the_file(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "cat.png").write_bytes(b"")
    (folder / "my-model").mkdir()
    loaded = load(write("init_image: cat.png\nmodel: my-model\n", "deep/a.yaml"))
    assert loaded.settings.init_image == str(folder / "cat.png")
    assert loaded.settings.model == str(folder / "my-model")
    assert load(Path("deep/a.yaml"), to_render=False).settings.init_image == "cat.png"


def test_modes_that_cannot_be_rendered_can_be_looked_at(write: Write) -> None:
    assert load(write("animation_mode: 3D"), to_render=False).settings.animation_mode == "3D"


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_the_deforum_profile_goes_on_where_deforum_does(write: Write) -> None:
    text = "prompts: a\nstrength: 1.5\ninit_image: https://x.org/a.png\nmax_frames: 3\n"
    loaded = load(write(text), ["profile=deforum"])
    assert loaded.report == (
        "init_image: https://x.org/a.png is not fetched; the animation starts from noise",
        "strength is 1.5 at frame 0 (and 2 more); expected 0..1 (share); the nearest valid value is used",
    )
    assert "expected 0..1" in errors(Path("a.yaml"))


# --- the way back -----------------------------------------------------------------------------------------------------


def test_the_defaults_need_no_lines() -> None:
    assert dump(Settings()) == "\n"


def test_dump_is_for_people(write: Write) -> None:
    text = (
        "seed: 5\nwidth: 256\nprompts: {0: 'a: b', 9: c}\nzoom: {0: 1, 30: 'sin(t)+2'}\nsampler: Euler\n"
        "noise: {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.1, 4: 0.2, 5: 0.3, 6: 0.1, 7: 0.2, 8: 0.3, max_f-2: 0.1 step}"
    )
    assert dump(load(write(text)).settings) == (
        """prompts:
  0: "a: b"
  9: c

size:
  width: 256                                 # px, 8..8192

diffusion:
  sampler: Euler

seeds:
  seed: 5                                    # -1..9007199254740992

motion:
  zoom: "0: (1), 30: (sin(t) + 2)"           # factor/frame, -100..100

feedback:
  noise:                                     # share, 0..1
    0: 0.1
    1: 0.2
    2: 0.3
    3: 0.1
    4: 0.2
    5: 0.3
    6: 0.1
    7: 0.2
    8: 0.3
    "max_f - 2": "(0.1) step"
"""
    )


STRANGE = "\t \n \\ \" ' : # - {x} [y] *z &a !b %c @d `e` | > ~ null \x07 \x85 \u2028 \ufeff é 猫 🐈 "


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(prompts=(("0", STRANGE), ("max_f/2", ""), ("3", "null"), ("4", "on"), ("5", "1e3")), batch_name="~"),
        Settings(prompts=(), init_images=(("0", "a.png"), ("max_f", "b.png")), video_preset="slow", fps=29.97),
        Settings(positive_prompt=" ", negative_prompt="true", init_image="C:\\x y\\1.png", video_quality=0),
        Settings(control_units=(ControlUnit(), ControlUnit(enabled=True, weight=parse_number("t/9"), model="a: b"))),
    ],
)
@pytest.mark.parametrize("full", [False, True])
def test_round_trip(write: Write, settings: Settings, full: bool) -> None:
    loaded = load(write(dump(settings, full=full)), to_render=False)
    assert loaded.settings == settings


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_round_trip_of_the_examples(write: Write, path: Path) -> None:
    loaded = load(path)
    assert loaded.report == ()
    assert load(write(dump(loaded.settings))).settings == loaded.settings
    assert load(write(dump(loaded.settings, full=True))).settings == loaded.settings


# --- the declarations -------------------------------------------------------------------------------------------------


def test_every_field_is_declared() -> None:
    assert {field.name for field in fields(Settings)} - set(DECLARATIONS) == {"params", "control_units", "parseq"}


def test_names_mean_one_thing() -> None:
    old = [name for each in DECLARATIONS.values() for name in each.old]
    assert len(old) == len(set(old)) == len(CANONICAL)
    assert not set(old) & set(DECLARATIONS)
    assert not set(SECTIONS) & (set(old) | set(DECLARATIONS))
    assert {each.section for each in (*DECLARATIONS.values(), *CONTROLS.values())} == set(SECTIONS)


@pytest.mark.parametrize("declaration", DECLARATIONS.values(), ids=lambda declaration: declaration.name)
def test_help_is_a_sentence(declaration: object) -> None:
    assert getattr(declaration, "help").endswith(".")  # noqa: B009


def test_the_reference_page_is_fresh() -> None:
    page = (ROOT / "docs" / "params.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m deforum.reports.reference docs/params.md"


def test_no_heavy_import() -> None:
    assert not imported("import deforum.loading", "torch", "cv2", "diffusers", "numexpr", "timm")
