"""Deforum's own files: what they say, in this renderer's names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deforum.errors import UserError
from deforum.features.table import timeline_of as sample
from deforum.loading import Loaded, load
from deforum.settings.options import DECLARATIONS, ControlUnit, Settings
from deforum.settings.params import PARAMS
from deforum.settings.read import dump
from schedules import NumberSchedule, TextSchedule, Variables, parse_number, parse_text

REAL = Path(os.environ.get("DEFORUM_REAL", Path(__file__).parents[3] / "shared" / "real"))
REAL_FILES = sorted((REAL / "settings").glob("*.txt"))
needs_real_files = pytest.mark.skipif(not REAL_FILES, reason=f"no real settings files in {REAL} (set DEFORUM_REAL)")

SLIDERS: dict[str, Any] = {"processor_res": 64, "threshold_a": 64.0, "threshold_b": 64.0}
"""What Deforum's sliders show before a preprocessor is chosen."""


def load_text(tmp_path: Path, text: str, *overrides: str, name: str = "a.txt") -> Loaded:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load(path, overrides, to_render=False)


def load_json(tmp_path: Path, /, **file: Any) -> Loaded:
    return load_text(tmp_path, json.dumps(file))


def value_of(settings: Settings, name: str) -> object:
    return getattr(settings.params if name in PARAMS else settings, name)


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_file_that_says_nothing_has_the_defaults_of_deforum(tmp_path: Path) -> None:
    loaded = load_json(tmp_path)
    assert loaded.settings == Settings(
        profile="deforum", legacy_colormatch=True, depth_algorithm="Midas-3-Hybrid", clip_fit="stretch"
    )
    assert loaded.report == ("no prompts in the file; the frames are painted without a prompt",)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        # switches dissolve
        ({"steps": 12}, "steps", parse_number(12)),
        ({"steps": 12, "enable_steps_scheduling": False, "steps_schedule": "0: (30)"}, "steps", parse_number(12)),
        ({"steps": 12, "enable_steps_scheduling": True, "steps_schedule": "0: (30)"}, "steps", parse_number(30)),
        ({"steps": 12, "enable_steps_scheduling": True}, "steps", parse_number(25)),
        ({"sampler": "DDIM", "sampler_schedule": '0: ("LMS")'}, "sampler", parse_text("DDIM")),
        ({"sampler": "DDIM", "enable_sampler_scheduling": True, "sampler_schedule": '0: ("LMS"), 9: ("Heun")'},
         "sampler", parse_text('0: ("LMS"), 9: ("Heun")')),
        ({"checkpoint_schedule": '0: ("a.ckpt")'}, "checkpoint", parse_text('""')),
        ({"checkpoint_schedule": '0: ("a.ckpt")', "enable_checkpoint_scheduling": True}, "checkpoint",
         parse_text("a.ckpt")),
        ({"clipskip_schedule": "0: (2)"}, "clip_skip", parse_number(1)),
        ({"clipskip_schedule": "0: (2)", "enable_clipskip_scheduling": "true"}, "clip_skip", parse_number(2)),
        ({"noise_multiplier_schedule": "0: (1.1)"}, "noise_multiplier", parse_number(1.1)),
        ({"noise_multiplier_schedule": "0: (1.1)", "enable_noise_multiplier_scheduling": False}, "noise_multiplier",
         parse_number(1)),
        ({"subseed_schedule": "0: (5)"}, "subseed", parse_number(-1)),
        ({"subseed_schedule": "0: (5)", "enable_subseed_scheduling": True}, "subseed", parse_number(5)),
        ({"subseed_strength_schedule": "0: (0.5)"}, "subseed_strength", parse_number(0)),
        ({"subseed_strength_schedule": "0: (0.5)", "enable_subseed_scheduling": 1}, "subseed_strength",
         parse_number(0.5)),
        ({"ddim_eta_schedule": "0: (0.3)"}, "ddim_eta", parse_number(0)),
        ({"ddim_eta": 0.3}, "ddim_eta", parse_number(0.3)),
        ({"ancestral_eta_schedule": "0: (0.3)", "enable_ancestral_eta_scheduling": True}, "ancestral_eta",
         parse_number(0.3)),
        # names that mean something else here
        ({"strength": 0.3}, "strength", parse_number(0.65)),
        ({"strength": 0.3}, "init_strength", 0.3),
        ({"strength_schedule": "0: (0.3)"}, "strength", parse_number(0.3)),
        ({"use_init": False, "init_image": "a.png"}, "init_image", None),
        ({"use_init": True, "init_image": "a.png"}, "init_image", "a.png"),
        ({"use_init": True, "init_image": "None"}, "init_image", None),
        ({"use_init": True, "init_image": None}, "init_image", None),
        # sizes
        ({"W": 640, "H": 384}, "width", 640),
        ({"W": 640, "H": 384}, "height", 384),
        ({"width": 640, "height": 384}, "height", 384),
        ({"W": 640, "width": 64}, "width", 640),
        ({"W": "641"}, "width", 640),
        # numbers as texts, enums as numbers and truth values
        ({"max_frames": "77"}, "max_frames", 77),
        ({"reroll_patience": 10.0}, "reroll_patience", 10),
        ({"diffusion_redo": "2"}, "diffusion_redo", 2),
        ({"seed": None}, "seed", -1),
        ({"fill": 0}, "fill", "fill"),
        ({"fill": 3}, "fill", "latent nothing"),
        ({"fill": "latent noise"}, "fill", "latent noise"),
        ({"sampler": 12}, "sampler", parse_text("DPM2 Karras")),
        ({"sampler": "17"}, "sampler", parse_text("DDIM")),
        ({"hybrid_composite": False}, "hybrid_composite", "None"),
        ({"hybrid_composite": True}, "hybrid_composite", "Normal"),
        ({"optical_flow_cadence": True}, "optical_flow_cadence", "DIS Fine"),
        ({"optical_flow_redo_generation": False}, "optical_flow_redo_generation", "None"),
        ({"add_soundtrack": True}, "add_soundtrack", "File"),
        ({"color_coherence": "Match Frame 0 LAB"}, "color_coherence", "LAB"),
        ({"color_coherence": None}, "color_coherence", "LAB"),
        ({"color_coherence": "None"}, "color_coherence", "None"),
        ({"use_zoe_depth": True}, "depth_algorithm", "Zoe+AdaBins (old)"),
        ({"use_zoe_depth": False}, "depth_algorithm", "Midas+AdaBins (old)"),
        ({"flip_2d_perspective": True}, "enable_perspective_flip", True),
        ({"skip_video_for_run_all": True}, "skip_video_creation", True),
        ({"legacy_colormatch": False}, "legacy_colormatch", False),
        ({"seed_resize_from_w": 512, "W": 512}, "seed_resize_from_w", 0),
        ({"seed_resize_from_w": 512, "seed_resize_from_h": 768, "W": 512, "H": 512}, "seed_resize_from_w", 512),
        ({"seed_resize_from_w": 512, "seed_resize_from_h": 768, "W": 512, "H": 512}, "seed_resize_from_h", 768),
        ({"seed_resize_from_w": -1, "seed_resize_from_h": -1, "W": 512, "H": 512}, "seed_resize_from_h", 0),
        ({"strength_0_no_init": False}, "strength_0_no_init", False),
        ({"strength_0_no_init": False, "reroll_blank_frames": "ignore"}, "strength_0_no_init", True),
        ({"seed_resize_from_w": 768, "W": 512}, "seed_resize_from_w", 768),
        # other hosts
        ({"sampler": "Euler", "scheduler": "Karras"}, "sampler", parse_text("Euler Karras")),
        ({"sampler": "Euler", "scheduler": "Automatic"}, "sampler", parse_text("Euler")),
        ({"sampler": "DPM++ 2M SDE Karras", "scheduler": "karras"}, "sampler", parse_text("DPM++ 2M SDE Karras")),
        ({"sampler_name": "dpmpp_2m", "scheduler": "sgm_uniform"}, "sampler", parse_text("DPM++ 2M SGM Uniform")),
        ({"sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras"}, "sampler", parse_text("DPM++ 2M SDE Karras")),
        ({"sampler": "DPM++ 2M", "scheduler": "DDIM"}, "sampler", parse_text("DPM++ 2M DDIM Uniform")),
        ({"sampler": "DPM++ 2M", "scheduler": "Automatic"}, "sampler", parse_text("DPM++ 2M Karras")),
        ({"sampler": "DPM++ 2M", "scheduler": "KL Optimal"}, "sampler", parse_text("DPM++ 2M KL Optimal")),
        ({"sampler": "DDIM", "scheduler": "Karras"}, "sampler", parse_text("DDIM")),
        ({"enable_sampler_scheduling": True, "sampler_schedule": '0: ("Euler"), 9: ("DPM++ SDE Karras")',
          "scheduler": "Exponential"}, "sampler", parse_text('0: ("Euler Exponential"), 9: ("DPM++ SDE Karras")')),
        ({"sampler": "dpmpp_2m_alt"}, "sampler", parse_text("DPM++ 2M")),
        ({"sampler": "seeds_2"}, "sampler", parse_text("Euler a")),
        ({"sampler": "x", "enable_sampler_scheduling": True, "sampler_schedule": '0: ("LMS"), 9: ("seeds_2")'},
         "sampler", parse_text('0: ("LMS"), 9: ("Euler a")')),

        ({"scale": 8, "near_plane": 100, "fov": 40}, "cfg_scale", parse_number(8)),
        ({"scale": 8, "near_plane": 100, "fov": 40}, "near", parse_number(100)),
        ({"keyframe_distribution": "Off"}, "max_frames", 333),
        # both generations of the Forge fork
        ({"keyframe_distribution": "Redistributed"}, "keyframe_distribution", "Redistributed"),
        ({"keyframe_distribution": "Redistributed"}, "keyframe_numbering", "auto"),
        ({"keyframe_distribution": "sometimes"}, "keyframe_distribution", "Off"),
        ({"wan_seed": 1}, "keyframe_distribution", "Keyframes Only"),
        ({"render_mode": "New 3D"}, "keyframe_distribution", "Redistributed Cadence"),
        ({"render_mode": "New 3D"}, "keyframe_strength", parse_number("0.15")),
        ({"render_mode": "New 3D", "keyframe_distribution": "Redistributed"}, "keyframe_distribution",
         "Redistributed Cadence"),
        ({"render_mode": "New 3D", "fps": 30}, "fps", 30),
        ({"render_mode": "Classic 3D"}, "keyframe_distribution", "Off"),
        ({"render_mode": "Keyframes Only"}, "keyframe_numbering", "from 0"),
        ({"render_mode": "Flux/Wan"}, "keyframe_distribution", "Keyframes Only"),
        ({"animation_mode": "3D", "shake_name": "The Closeup", "shake_intensity": 2.0}, "shake_name", "The Closeup"),
        ({"animation_mode": "3D", "shake_name": "The Closeup", "shake_intensity": 2.0}, "shake_intensity",
         parse_number(2.0)),
        ({"animation_mode": "2D", "shake_name": "INVESTIGATION"}, "shake_name", "None"),
        ({"profile": "corrected"}, "profile", "corrected"),
        # samples that nothing uses
        ({"soundtrack_path": "https://deforum.github.io/a1/A1.mp3"}, "soundtrack_path", ""),
        ({"soundtrack_path": "https://deforum.github.io/a1/A1.mp3", "add_soundtrack": "File"}, "soundtrack_path",
         "https://deforum.github.io/a1/A1.mp3"),
        # the notebook
        ({"precision": "autocast"}, "precision", "auto"),
        ({"precision": "full"}, "precision", "fp32"),
        ({"precision": "half"}, "precision", "fp32"),
        ({"bit_depth_output": 16}, "frame_format", "png16"),
        ({"bit_depth_output": 8}, "frame_format", "png"),
        ({"animation_mode": "None", "max_frames": 500}, "max_frames", 1),
        ({"hybrid_video_motion": "Optical Flow"}, "hybrid_motion", "Optical Flow"),
        ({"hybrid_video_motion": "Affine", "hybrid_motion": "Perspective"}, "hybrid_motion", "Perspective"),
        ({"hybrid_video_flow_method": "Farneback"}, "hybrid_flow_method", "Farneback"),
        ({"hybrid_video_motion": "Optical Flow"}, "hybrid_flow_method", "Farneback"),
        ({"hybrid_video_composite": True}, "hybrid_composite", "Normal"),
        ({"hybrid_video_composite": False}, "hybrid_composite", "None"),
        ({"hybrid_video_composite": True}, "hybrid_comp_alpha", parse_number(1)),
        ({"hybrid_video_comp_alpha_schedule": "0:(0.7)"}, "hybrid_comp_alpha", parse_number(0.7)),
        ({"hybrid_video_comp_mask_type": "Difference"}, "hybrid_comp_mask_type", "Difference"),
        ({"hybrid_video_comp_mask_inverse": True}, "hybrid_comp_mask_inverse", True),
        ({"hybrid_video_comp_mask_equalize": "Both"}, "hybrid_comp_mask_equalize", "Both"),
        ({"hybrid_video_comp_mask_auto_contrast": True}, "hybrid_comp_mask_auto_contrast", True),
        ({"hybrid_video_comp_save_extra_frames": True}, "hybrid_comp_save_extra_frames", True),
        ({"hybrid_video_use_first_frame_as_init_image": False}, "hybrid_use_first_frame_as_init_image", False),
        ({"hybrid_video_generate_inputframes": True}, "hybrid_generate_inputframes", True),
        ({"hybrid_video_comp_mask_blend_alpha_schedule": "0:(0.2)"}, "hybrid_comp_mask_blend_alpha", parse_number(0.2)),
        ({"hybrid_video_comp_mask_contrast_schedule": "0:(3)"}, "hybrid_comp_mask_contrast", parse_number(3)),
        ({"hybrid_video_comp_mask_auto_contrast_cutoff_low_schedule": "0:(4)"},
         "hybrid_comp_mask_auto_contrast_cutoff_low", parse_number(4)),
        ({"hybrid_video_comp_mask_auto_contrast_cutoff_high_schedule": "0:(90)"},
         "hybrid_comp_mask_auto_contrast_cutoff_high", parse_number(90)),
        ({"hybrid_video_flow_factor_schedule": "0:(2)"}, "hybrid_flow_factor", parse_number(2)),
        # choices that Deforum does not know are its default
        ({"border": "warp"}, "border", "replicate"),
        ({"border": 3}, "border", "replicate"),
        ({"color_coherence": "Match Frame 0"}, "color_coherence", "LAB"),
        ({"noise_type": "simplex"}, "noise_type", "uniform"),
        ({"seed_behavior": "wander"}, "seed_behavior", "random"),
        ({"animation_mode": "4D"}, "animation_mode", "2D"),
        ({"padding_mode": "mirror"}, "padding_mode", "border"),
        ({"hybrid_motion": "Optical"}, "hybrid_motion", "None"),
        ({"hybrid_flow_method": "DenseRLOF"}, "hybrid_flow_method", "DIS Medium"),
        ({"hybrid_video_flow_method": "SF"}, "hybrid_flow_method", "DIS Medium"),
        ({"optical_flow_cadence": "DeepFlow"}, "optical_flow_cadence", "DIS Medium"),
        # blanks around choices, truth values and names
        ({"border": " wrap "}, "border", "wrap"),
        ({"animation_mode": "3D "}, "animation_mode", "3D"),
        ({"color_coherence": "Match Frame 0 HSV "}, "color_coherence", "HSV"),
        ({"color_coherence": " Video  Input"}, "color_coherence", "Video Input"),
        ({"seed_behavior": "fixed\n"}, "seed_behavior", "fixed"),
        ({"hybrid_composite": " true"}, "hybrid_composite", "Normal"),
        ({"use_depth_warping": " False "}, "use_depth_warping", False),
        ({"overlay_mask": 0.0}, "overlay_mask", False),
        ({"border ": "wrap"}, "border", "wrap"),
        ({"sampler": " Euler "}, "sampler", parse_text("Euler")),
        ({"sampler": "", "scheduler": "Karras"}, "sampler", parse_text("Euler a Karras")),
        ({"scheduler": "Karras"}, "sampler", parse_text("Euler a Karras")),
        ({"tiling": "1.0"}, "tiling", "both"),
        # guided images
        ({"init_images": '{"0": "a.png", "max_f/2": "b.png"}'}, "init_images", ()),
        ({"init_images": '{"0": "a.png", "max_f/2": "b.png",}', "use_looper": True}, "init_images",
         (("0", "a.png"), ("max_f/2", "b.png"))),
        ({"init_images": '{"0": "a.png"}', "use_looper": True, "seed_behavior": "iter"}, "seed_behavior", "schedule"),
        ({"init_images": '{"0": "a.png"}', "use_looper": False, "seed_behavior": "fixed"}, "seed_behavior", "fixed"),
        # ControlNet: idle units say nothing
        ({"cn_1_model": "x", "cn_1_enabled": False}, "control_units", ()),
        ({"cn_1_enabled": True, "cn_1_hello": 1, "cn_x": 2, "cn_x_y": 3}, "control_units",
         (ControlUnit(enabled=True, **SLIDERS),)),
        ({"cn_2_enabled": True, "cn_2_weight": 0.5, "cn_2_resize_mode": "Envelope (Outer Fit)"}, "control_units",
         (ControlUnit(), ControlUnit(enabled=True, weight=parse_number(0.5), resize_mode="Outer Fit (Shrink to Fit)",
                                     **SLIDERS))),
        ({"cn_1_enabled": True, "cn_1_processor_res": 512, "profile": "corrected"}, "control_units",
         (ControlUnit(enabled=True, processor_res=512),)),
        ({"cn_1_enabled": True, "keyframe_distribution": "Off"}, "control_units",
         (ControlUnit(enabled=True, pixel_perfect=True, loopback_mode=True, **SLIDERS),)),
    ],
)  # fmt: skip
def test_values(tmp_path: Path, file: dict[str, Any], name: str, value: object) -> None:
    assert value_of(load_json(tmp_path, **file).settings, name) == value


@pytest.mark.parametrize(
    ("file", "prompts", "positive", "negative"),
    [
        ({"prompts": {"0": "a", "max_f/2": "b"}}, (("0", "a"), ("max_f/2", "b")), "", ""),
        ({"prompts": {"0": "a"}, "animation_prompts": {"0": "b"}}, (("0", "b"),), "", ""),
        ({"prompts": '{"0": "a", "9": "b",}'}, (("0", "a"), ("9", "b")), "", ""),
        ({"prompts": "0: a | 50: b: [c|d] | e"}, (("0", "a"), ("50", "b: [c|d] | e")), "", ""),
        ({"prompts": "0: a"}, (("0", "a"),), "", ""),
        ({"prompts": "a cat | 3 dogs"}, (("0", "a cat | 3 dogs"),), "", ""),
        ({"prompts": {"0": "a"}, "positive_prompts": "p", "negative_prompts": "n"}, (("0", "a"),), "p", "n"),
        ({"prompts": {"0": "a"}, "animation_prompts_positive": "p", "animation_prompts_negative": "n"}, (("0", "a"),),
         "p", "n"),
        ({"prompts": {"0": "a"}, "positive_prompts": "", "animation_prompts_positive": "p"}, (("0", "a"),), "p", ""),
        # saved by a run: merged already
        ({"prompts": {"0": "p a --neg n", "9": "p b --neg c n"}, "positive_prompts": "p", "negative_prompts": "n"},
         (("0", "p a --neg n"), ("9", "p b --neg c n")), "", ""),
        ({"prompts": {"0": " a --neg n"}, "negative_prompts": "n"}, (("0", " a --neg n"),), "", ""),
        ({"prompts": {"0": " a --neg n", "9": "b"}, "negative_prompts": "n"},
         (("0", " a --neg n"), ("9", "b")), "", "n"),
        # the notebook's negative prompts have keyframes of their own
        ({"prompts": {"0": "a", "8": "b"}, "neg_prompts": {"0": "x", "4": "y"}},
         (("0", "a --neg x"), ("4", "a --neg y"), ("8", "b --neg y")), "", ""),
    ],
)  # fmt: skip
def test_prompts(
    tmp_path: Path, file: dict[str, Any], prompts: tuple[tuple[str, str], ...], positive: str, negative: str
) -> None:
    settings = load_json(tmp_path, **file).settings
    assert (settings.prompts, settings.positive_prompt, settings.negative_prompt) == (prompts, positive, negative)


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "notes"),
    [
        ({}, ()),
        ({"sampler": 3}, ("sampler: 3 became Heun, by the sampler numbers of 2022",)),
        ({"sampler": "Euler", "scheduler": "Beta"},
         ("sampler and scheduler became Euler Beta",)),
        ({"sampler": "Euler", "scheduler": "Karras"}, ("sampler and scheduler became Euler Karras",)),
        ({"sampler": "DDIM", "scheduler": "Karras"}, ("scheduler Karras has no effect on DDIM, as in the web UI",)),
        ({"sampler": "DDIM", "scheduler": "Automatic"}, ()),
        ({"sampler": "dpmpp_2m_alt"}, ("sampler: there is no sampler 'dpmpp_2m_alt'; DPM++ 2M is used",)),
        ({"sampler": "seeds_2"}, ("sampler: there is no sampler 'seeds_2'; Euler a is used",)),
        ({"precision": "autocast"}, ()),
        ({"border": "warp"}, ("border: 'warp' is not a choice; replicate is used, as in Deforum",)),
        ({"border": "wrap "}, ()),
        ({"hybrid_video_flow_method": "DenseRLOF"},
         ("hybrid_video_flow_method: there is no optical flow method 'DenseRLOF' here; DIS Medium stands in",)),
        ({"hybrid_video_use_video_as_mse_image": True},
         ("hybrid_video_use_video_as_mse_image: guidance towards an init image of the notebook is not supported",)),
        ({"strength_schedule": "9:(0.3)\n 0:(0.5)"},
         ("strength_schedule: a comma is missing before the keyframe 0; it is read with one",)),
        ({"blue_scale": 1, "clip_scale": 0, "n_batch": 3, "filename_format": "{timestring}_{index}_{prompt}.png"},
         ("blue_scale: guidance towards blue of the notebook is not supported",
          "n_batch: one run is rendered; render the file again for another one")),
        ({"bit_depth_output": 32}, ("bit_depth_output: frames of 32 bits are not written; 16 bits are used",)),
        ({"animation_mode": "None"},
         ("animation_mode: None makes stills; the first frame of the animation is rendered",)),
        ({"strength_0_no_init": False, "restore_faces": False},
         ("strength_0_no_init: off or on, the web UI paints a first frame without an init image from noise alone",)),
        ({"strength_0_no_init": False}, ()),
        ({"W": 500}, ("W: 500 became 496, as frames are a multiple of 8 wide and high",)),
        ({"sd_model_name": "x.safetensors", "sd_model_hash": "12"},
         ("made with the checkpoint x.safetensors; give model=PATH to render with it",)),
        ({"hello": 1, "show_info_on_ui": True, "bpm": 3, "goodbye": 2},
         ("unknown settings, left out: hello, goodbye",)),
        ({"freeu_enabled": True, "freeu_b1": "0:(1)"}, ()),
        ({"freeu_enabled": False, "freeu_b1": "0:(1)"}, ()),
        ({"prompts": {"0": " a --neg n"}, "negative_prompts": "n"},
         ("the prompts contain the positive and negative prompt already; these are not added again",)),
        ({"r_upscale_video": True, "r_upscale_factor": "x4"}, ()),
        ({"fov_schedule": "0: (40)"}, ()),
        ({"frame_interpolation_x_amount": "Disabled"}, ()),
        ({"strength_schedule": "0: (1.2)"},
         ("strength_schedule is 1.2 at frame 0 (and 119 more); expected 0..1 (share); "
          "the nearest valid value is used",)),
    ],
)  # fmt: skip
def test_report(tmp_path: Path, file: dict[str, Any], notes: tuple[str, ...]) -> None:
    assert load_json(tmp_path, **({"prompts": {"0": "a"}, "legacy_colormatch": False} | file)).report == notes


def test_what_is_wrong_has_a_place(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_text(tmp_path, '{\n  "fps": "fast",\n  "zoom": "0: (sinn(t))",\n  "make_gif": "perhaps"\n}')
    place = str(tmp_path / "a.txt")
    assert str(caught.value).splitlines() == [
        f"{place}:2:10: fps: 'fast' is not a number; expected 0.1..1000 (frames/s)",
        f"{place}:3:16: zoom: unknown function 'sinn'; expected one such as sin, where or clip",
        "  0: (sinn(t))",
        "      ^",
        "did you mean 'sin'?",
        f"{place}:4:15: make_gif: 'perhaps' is neither true nor false",
    ]


@pytest.mark.parametrize(
    ("schedule", "message", "value"),
    [
        # the first frames of a longer run, in which the value is filled from where it begins
        ("0: (sqrt(t-9.0) + 7)", "strength_schedule: the value is not a number at any frame from 0 to 5", 7),
        (
            "9: (0.25)",
            "strength_schedule: no keyframe is on the timeline (the first is 9); expected one from 0 to 5",
            0.25,
        ),
        ("0: (sqrt(t-2-max_f) + max_f)", "strength_schedule: the value is not a number at any frame from 0 to 5", 5),
    ],
)  # fmt: skip
def test_a_few_frames_of_a_file_whose_values_begin_later(
    tmp_path: Path, schedule: str, message: str, value: float
) -> None:
    file = {"strength_schedule": schedule, "prompts": "x", "seed": 1, "max_frames": 6}
    loaded = load_json(tmp_path, **file)
    assert loaded.report[0] == f"{message}; its values are those of a longer run, from {value} at frame 0"
    assert list(sample(loaded.settings).curves.strength) == [min(value, 1)] * 6
    with pytest.raises(UserError) as caught:
        load_json(tmp_path, **file, profile="corrected")
    assert message in str(caught.value) and "longer run" not in str(caught.value)


def test_a_value_that_is_never_a_number_is_a_mistake_in_every_profile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="strength_schedule: the value is not a number at any frame") as caught:
        load_text(tmp_path, '{"strength_schedule": "0: (sqrt(-1-t/2))", "prompts": "x"}')
    assert "nearest valid" not in str(caught.value)


def test_overrides_mean_what_they_mean_in_yaml(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, '{"strength": 0.1, "prompts": "x"}', "strength=0.4", "profile=corrected", "W=64")
    assert loaded.settings.params.strength == parse_number(0.4)
    assert loaded.settings.init_strength == 0.1
    assert loaded.settings.profile == "corrected"
    assert loaded.settings.width == 64


def test_which_files_are_json(tmp_path: Path) -> None:
    assert load_text(tmp_path, "{seed: 3}", name="a.yaml").settings.profile == "corrected"
    assert load_text(tmp_path, '{"seed": 3}', name="a.json").settings.profile == "deforum"
    assert load_text(tmp_path, '\n{"seed": 3}', name="a.txt").settings.profile == "deforum"
    assert load_text(tmp_path, "seed: 3", name="a.txt").settings.profile == "corrected"


@pytest.mark.parametrize(
    ("file", "keys", "frames"),
    [
        ({"interpolate_key_frames": False, "interpolate_x_frames": 4}, ("0", "5", "10"), 11),
        ({"interpolate_key_frames": False, "interpolate_x_frames": 0}, ("0", "1", "2"), 3),
        ({"interpolate_key_frames": False}, ("0", "5", "10"), 11),
        ({"interpolate_key_frames": True, "interpolate_x_frames": 4}, ("0", "40", "90"), 91),
        ({"interpolate_key_frames": False, "prompts": {"7": "a"}}, ("0",), 1),
        ({"interpolate_key_frames": True, "prompts": {"9": "a", "0": "b"}}, ("9", "0"), 1000),
        ({"interpolate_x_frames": 4}, ("10", "50", "100"), 1000),
        (
            {"interpolate_key_frames": False, "interpolate_x_frames": 4, "animation_mode": "2D"},
            ("10", "50", "100"),
            1000,
        ),
    ],
)
def test_interpolation_of_the_notebook(
    tmp_path: Path, file: dict[str, Any], keys: tuple[str, ...], frames: int
) -> None:
    prompts = {"10": "a", "50": "b", "100": "c"}
    loaded = load_json(tmp_path, **({"animation_mode": "Interpolation", "max_frames": 1000, "prompts": prompts} | file))
    assert tuple(key for key, _ in loaded.settings.prompts) == keys
    assert loaded.settings.max_frames == frames
    assert any(note.startswith(f"max_frames is {frames}: ") for note in loaded.report) == (frames != 1000)


def test_what_a_user_says_now_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'warp' is not a choice"):
        load_text(tmp_path, '{"prompts": "x"}', "border=warp")
    with pytest.raises(UserError, match="'warp' is not a choice"):
        load_text(tmp_path, '{"prompts": "x", "profile": "corrected", "border": "warp"}')


def test_choices_in_yaml_with_the_profile(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "profile: deforum\nborder: warp\nprecision: autocast\n", name="a.yaml")
    assert (loaded.settings.border, loaded.settings.precision) == ("replicate", "auto")
    assert "border: 'warp' is not a choice; replicate is used, as in Deforum" in loaded.report
    with pytest.raises(UserError, match="'warp' is not a choice"):
        load_text(tmp_path, "border: warp\n", name="a.yaml")


def test_no_unknown_choice_stops_a_file(tmp_path: Path) -> None:
    """Every setting with choices, at once."""
    others = ("profile", "prompt_weighting")  # the one is not lenient, the other is a flag in old files
    given = {name: "no such choice" for name, each in DECLARATIONS.items() if each.choices and name not in others}
    loaded = load_json(tmp_path, **given)
    for name in given:
        assert any(note.startswith(f"{name}: ") for note in loaded.report), name


@pytest.mark.parametrize("name", ["rendered", "document", "by its maker", "workflow", "api", "diffusers"])
def test_json_of_other_kinds_is_said(tmp_path: Path, name: str) -> None:
    manifest, document = "a Parseq manifest", "a Parseq document"
    text, what = {
        "rendered": ('{"prompts": {"format": "v2"}, "options": {}, "rendered_frames": [{"frame": 0}]}', manifest),
        "document": ('{"options": {}, "managedFields": ["zoom"], "keyframes": [{"frame": 0}]}', document),
        "by its maker": ('{"meta": {"generated_by": "sd_parseq"}, "options": {}}', document),
        "workflow": ('{"last_node_id": 3, "nodes": [], "links": []}', "a ComfyUI workflow"),
        "api": ('{"3": {"class_type": "KSampler", "inputs": {}}}', "a ComfyUI workflow"),
        "diffusers": ('{"_class_name": "DDIMScheduler", "beta_end": 0.012}', "a part of a diffusers model"),
    }[name]
    with pytest.raises(UserError) as caught:
        load_text(tmp_path, text, name="manifest.json")
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'manifest.json'}: this is {what}, not a settings file")


def test_json_without_any_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is not a settings file; none of its names is a setting \\('a', 'b'\\)"):
        load_text(tmp_path, '{"a": 1, "b": 2}')


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    "text", ['{"prompts": {"0": "Nebel über Bäumen, 霧"},\n "W": 64}', "prompts: Nebel über Bäumen, 霧\nwidth: 64\n"]
)
def test_encodings_with_a_byte_order_mark(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    settings = load(tmp_path / "a.txt", to_render=False).settings
    assert settings.prompts == (("0", "Nebel über Bäumen, 霧"),) and settings.width == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe{\x00\x00", "byte 5 is not UTF-16 text"), (b"width: 64 \xe4", "byte 11 is not UTF-8 text")],
)
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "a.txt")


# --- real files -------------------------------------------------------------------------------------------------------


@needs_real_files
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.name)
def test_real_files_load_and_survive_yaml(tmp_path: Path, path: Path) -> None:
    settings = load(path, to_render=False).settings
    assert not [line for line in load(path, to_render=False).report if line.startswith("unknown")]
    for full in (False, True):
        (tmp_path / "a.yaml").write_text(dump(settings, full=full), encoding="utf-8")
        assert load(tmp_path / "a.yaml", to_render=False).settings == settings


@needs_real_files
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.name)
def test_real_files_mean_what_they_say(path: Path) -> None:
    """Read the JSON in the plainest way and compare what has the same name there and here."""
    file = json.loads(path.read_text(encoding="utf-8"))
    settings = load(path, to_render=False).settings
    assert settings.width == file.get("W", file.get("width"))
    assert settings.init_strength == file["strength"]
    assert settings.cadence == file["diffusion_cadence"]
    assert settings.params.steps == parse_number(file["steps"])
    for name in ("max_frames", "fps", "seed", "batch_name", "color_coherence", "border", "animation_mode"):
        assert getattr(settings, name) == file[name]
    for name, each in PARAMS.items():
        for old in {name, *each.old} & file.keys() - {"strength", "steps"}:
            ours = getattr(settings.params, name).sample(20, Variables())
            on = {"subseed": "enable_subseed_scheduling", "subseed_strength": "enable_subseed_scheduling",
                  "noise_multiplier": "enable_noise_multiplier_scheduling", "steps": "enable_steps_scheduling",
                  "clip_skip": "enable_clipskip_scheduling",
                  **dict.fromkeys(("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2"), "freeu_enabled")}  # fmt: skip
            if file.get(on.get(name, ""), True):
                assert list(ours) == list(parse_number(file[old]).sample(20, Variables())), name


@needs_real_files
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.name)
def test_real_files_are_ready_to_render(path: Path) -> None:
    settings = load(path, ["W=64", "H=64", "max_frames=6", "model=embedded", "animation_mode=2D"]).settings
    assert (settings.width, settings.height, settings.max_frames) == (64, 64, 6)
    assert isinstance(settings.params.zoom, NumberSchedule) and isinstance(settings.sampler, TextSchedule)
