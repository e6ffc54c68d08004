"""Every setting that is constant over a run, and every schedule of texts, declared once."""

# ruff: noqa: RUF009 (the calls in the dataclass make its fields, like dataclasses.field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from deforum.settings.declare import (
    NEVER,
    Declaration,
    KeyedTexts,
    chosen,
    declarations,
    option,
    unless,
    used,
    when,
)
from deforum.settings.modes import APART, FROM_CLIP, GOING_ON, MODES, WITH_COLORS, WITH_DEPTH, Mode, ModeFacts
from deforum.settings.params import PARAMS, Params, default_params
from schedules import NumberSchedule, TextSchedule, parse_number, parse_text

FlowMethod = Literal["None", "RAFT", "DIS Medium", "DIS Fine", "Farneback"]

SECTIONS: Mapping[str, str] = {
    "": "What the pictures show, and whose rules apply. These stand in no section.",
    "animation": "What is made: the kind of animation and its length.",
    "size": "The size of the frames.",
    "diffusion": "How pictures are painted.",
    "seeds": "Where randomness starts.",
    "init": "The picture the animation starts from.",
    "motion": "How the flat picture moves from frame to frame.",
    "camera": "How the camera moves through the scene, and how depth is found.",
    "feedback": "What is done to the previous frame before it is painted again.",
    "masks": "Which parts of the picture are painted.",
    "video_input": "The clip that Video Input and hybrid video read.",
    "hybrid": "A clip's motion and pictures mixed into the animation.",
    "guided": "Keyframe pictures towards which the animation is drawn.",
    "controlnet": "ControlNet units, cn_1_enabled and so on; there may be any number of them.",
    "parseq": "Schedules from a Parseq manifest.",
    "files": "What is written, and where.",
}
"""The groups of settings in a YAML file, in the order of the reference.

They are for the eye: a setting may stand in any of them, or in none. No setting has the name of one."""

SWITCHES: Mapping[str, tuple[str, ...]] = {
    "cutting people out": ("hybrid_generate_human_masks",),
    "keyframe distribution": ("keyframe_distribution",),
    "rerolling": ("reroll_blank_frames",),
    "Parseq": ("parseq_manifest",),
    "resuming a run": ("resume_from_timestring",),
    "upscaling": ("r_upscale_video",),
    "frame interpolation": ("frame_interpolation_engine",),
}
"""Pending feature -> the settings that turn it on; while all of them are off, nobody misses its other settings."""

PENDING_CHOICES: Mapping[tuple[str, str], str] = {}
"""(setting, choice) -> the feature that the choice waits for."""

_general = partial(option, section="")
_animation = partial(option, section="animation")
_size = partial(option, section="size", multiple=8)
_diffusion = partial(option, section="diffusion")
_seeds = partial(option, section="seeds")
_init = partial(option, section="init", modes=GOING_ON)
_motion = partial(option, section="motion", modes=GOING_ON)
_camera = partial(option, section="camera", modes=WITH_DEPTH)
_feedback = partial(option, section="feedback", modes=GOING_ON)
_masks = partial(option, section="masks")
_video = partial(option, section="video_input")
_colors = partial(option, section="feedback", modes=WITH_COLORS)
_hybrid = partial(option, section="hybrid", modes=GOING_ON)
_guided = partial(option, section="guided", modes=GOING_ON)
_control = partial(option, section="controlnet", pending="ControlNet")
_parseq = partial(option, section="parseq", pending="Parseq")
_files = partial(option, section="files")

_PERLIN = chosen("noise_type", "perlin") & used("noise")
_FILM = when("skip_video_creation is off", lambda settings, sampled: not settings.skip_video_creation)
_CLIP_SOUND = chosen("add_soundtrack", "Init Video")


def _texts(name: str, text: str) -> TextSchedule:
    return parse_text(text, name=name)


@dataclass(frozen=True)
class ControlUnit:
    """One ControlNet unit; in files its settings are called cn_1_enabled and so on."""

    # fmt: off
    enabled: bool = _control(False, "", "Uses the unit.")
    overwrite_frames: bool = _control(True, "", "Reads the clip anew in each run.")
    vid_path: str = _control("", "path", "Clip, picture or folder that steers.")
    mask_vid_path: str = _control("", "path", "Clip, picture or folder that says where.")
    low_vram: bool = _control(False, "", "Keeps less on the graphics card.")
    pixel_perfect: bool = _control(False, "", "Chooses the preprocessor's resolution by itself.")
    module: str = _control("none", "", "Preprocessor.")
    model: str = _control("None", "", "ControlNet model.")
    weight: NumberSchedule = _control(parse_number("1", name="weight"), "factor", "Strength of the steering.")
    guidance_start: NumberSchedule = _control(parse_number("0", name="guidance_start"), "share",
        "Steps before this share of them are not steered.", 0, 1)
    guidance_end: NumberSchedule = _control(parse_number("1", name="guidance_end"), "share",
        "Steps behind this share of them are not steered.", 0, 1)
    processor_res: int = _control(64, "px", "Resolution of the preprocessor.")
    threshold_a: float = _control(64.0, "", "First number of the preprocessor.")
    threshold_b: float = _control(64.0, "", "Second number of the preprocessor.")
    resize_mode: Literal["Inner Fit (Scale to Fit)", "Outer Fit (Shrink to Fit)", "Just Resize"] = _control(
        "Inner Fit (Scale to Fit)", "", "How the clip is fitted to the frame.")
    control_mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = _control(
        "Balanced", "", "Which of prompt and steering prevails.")
    loopback_mode: bool = _control(False, "", "Steers by the previous frame in place of a clip.")
    # fmt: on


CONTROLS: Mapping[str, Declaration] = declarations(ControlUnit)


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything a render is made from. Paths are as in the file."""

    # fmt: off
    params: Params[NumberSchedule] = field(default_factory=default_params)

    profile: Literal["corrected", "deforum"] = _general("corrected", "",
        "Whether the known faults of Deforum that files may rely on are mended or kept.")
    animation_mode: Mode = _animation("2D", "", "The kind of animation.", old="mode")
    width: int = _size(512, "px", "Width of the frames.", 8, 8192, old="W")
    height: int = _size(512, "px", "Height of the frames.", 8, 8192, old="H")
    max_frames: int = _animation(120, "frames", "Number of frames.", 1, 1_000_000)
    fps: float = _animation(15.0, "frames/s", "Speed of the video.", 0.1, 1000)
    cadence: int = _animation(2, "frames",
        "Every so many frames one is diffused; those between are moved and blended.",
        1, 1000, old="diffusion_cadence", modes=GOING_ON)
    keyframe_distribution: Literal["Off", "Keyframes Only", "Additive", "Redistributed"] = _animation("Off", "",
        "Diffuses at the prompts' keyframes.", pending="keyframe distribution")

    prompts: KeyedTexts = _general((("0", ""),), "", "What the pictures show, by keyframe; behind --neg, what not.",
        old="animation_prompts")
    positive_prompt: str = _general("", "",
        "Put before every prompt.", old="positive_prompts animation_prompts_positive")
    negative_prompt: str = _general("", "", "What no picture shall show; put behind every prompt's --neg.",
        old="negative_prompts animation_prompts_negative")
    prompt_blend: Literal["hold", "linear", "spherical"] | None = _general(None, "",
        "Between two keyframes: the first one's prompt is held, or their meanings are blended. null is linear in "
        "Interpolation mode and hold in the others.",
        acts=when("there are several prompts", lambda settings, sampled: len(settings.prompts) > 1))

    model: str = _diffusion("embedded", "",
        "Model that paints: embedded, a folder, a .safetensors file, or a name on the model hub.", path=True)
    checkpoint: TextSchedule = _diffusion(_texts("checkpoint", '""'), "",
        "Model by keyframe, in place of `model`.", old="checkpoint_schedule", pending="changing the model during a run")
    sampler: TextSchedule = _diffusion(_texts("sampler", "Euler a"), "",
        "Noise solver, such as Euler a or DPM++ 2M Karras.",
        old="sampler_schedule sampler_name")
    device: Literal["auto", "cpu", "cuda", "mps"] = _diffusion("auto", "", "What computes.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _diffusion("auto", "", "Numbers that the model computes with.")
    batch_size: int = _diffusion(0, "frames",
        "So many frames are diffused at once where they do not depend on each other; 0 chooses by the device and the "
        "size.", 0, 1024, modes=APART)
    vae_refinement: int = _diffusion(-1, "times",
        "Corrects the latents of each picture that is painted over so many times by what they decode to, so that "
        "passes through the autoencoder take less detail away; each costs a decoding and an encoding. -1 is once with "
        "the corrected profile, never with Deforum's.", -1, 4)
    tiling: bool = _diffusion(False, "", "Makes pictures whose opposite edges fit together.")
    restore_faces: bool = _diffusion(False, "", "Repairs faces.", pending="face restoration")
    reroll_blank_frames: Literal["ignore", "reroll", "interrupt"] = _diffusion("ignore", "",
        "A blank frame is kept, made again with another seed, or ends the run.", pending="rerolling")
    reroll_patience: int = _diffusion(10, "tries", "How often a blank frame is made again.", 0, pending="rerolling")
    diffusion_redo: int = _diffusion(0, "times",
        "Diffuses a frame so many times more with other seeds before the real one, each from the last result.", 0, 50)

    seed: int = _seeds(-1, "", "Where all randomness starts; -1 chooses one at random.", -1, 2**53)
    seed_behavior: Literal["iter", "fixed", "random", "ladder", "alternate", "schedule"] = _seeds("iter", "",
        "How the seed goes on from one diffused frame to the next.")
    seed_iter_n: int = _seeds(1, "frames",
        "seed_behavior iter: so many frames have the same seed.", 1, old="seed_iter_N")
    noise_follows_camera: bool = _seeds(False, "",
        "Moves the noise that a seed stands for with the picture, in place of nailing it to the screen, where it holds "
        "the picture back under a fixed seed.", modes=GOING_ON)
    seed_resize_from_w: int = _seeds(0, "px", "Keeps the composition of this width; 0 is off.", 0,
        pending="seed resizing")
    seed_resize_from_h: int = _seeds(0, "px", "Keeps the composition of this height; 0 is off.", 0,
        pending="seed resizing")

    init_image: str | None = _init(None, "path", "Picture that frame 0 is painted from; null starts from noise.",
        path=True)
    init_strength: float = _init(0.8, "share", "How much of the init image survives in frame 0.", 0, 1)
    strength_0_no_init: bool = _init(True, "",
        "Without an init image, strength is 0 in frame 0, which is then painted from noise alone; it always is.",
        pending="a first frame that starts neither from noise alone nor from an init image")

    border: Literal["replicate", "wrap", "reflect"] = _motion("replicate", "",
        "What comes in at the edges: the edge stretched, the opposite side, or a mirror.")
    enable_perspective_flip: bool = _motion(False, "", "Lets the perspective_flip parameters act.",
        old="flip_2d_perspective")

    use_depth_warping: bool = _camera(True, "", "Off: the scene is flat.")
    depth_algorithm: str = _camera("embedded", "",
        "Model that finds the depth: embedded, none, a name such as midas-dpt-large or depth-anything-v2-small, "
        "or a folder or video of depth maps.")
    midas_weight: float = _camera(0.2, "share", "Share of MiDaS in depth_algorithm Midas+AdaBins (old).", 0, 1)
    padding_mode: Literal["border", "reflection", "zeros"] = _camera("border", "", "What comes in at the edges.")
    sampling_mode: Literal["bicubic", "bilinear", "nearest"] = _camera("bicubic", "", "How pixels are interpolated.")
    aspect_ratio_use_old_formula: bool = _camera(False, "", "The camera's aspect ratio is width over height.")
    disocclusion: Literal["far", "stretch", "repaint"] = _camera("far", "",
        "What fills places that the camera did not see before: what lies behind, or the stretched surface in front; "
        "repaint is far with noise and a lower strength there, so that they are painted anew. With profile: deforum "
        "the surface is always stretched, and repainted where that is chosen.")
    save_disocclusion_masks: bool = _camera(False, "",
        "Writes where each diffused frame shows what the camera did not see before: 8-bit PNG, white there.")
    save_depth_maps: bool = _camera(False, "",
        "Writes the depth of every frame, on one scale for the whole run.")
    depth_format: Literal["png", "exr"] = _camera("png", "",
        "save_depth_maps: PNG of 16 bit, where near is bright, from near (white, a little nearer still) to far "
        "(black) in equal steps of inverse depth; or OpenEXR, whose channel Z is the distance in scene units.")
    save_depth_video: bool = _camera(False, "", "Writes the depth as a video too; near is bright.")
    shake_name: str = _camera("None", "", "Recorded camera shake that is added to the motion.",
        pending="camera shake")
    shake_intensity: float = _camera(1.0, "factor", "How much it shakes.",
        pending="camera shake")
    shake_speed: float = _camera(1.0, "factor", "How fast it shakes.",
        pending="camera shake")

    color_coherence: Literal["None", "HSV", "LAB", "RGB", "Video Input", "Image"] = _colors("LAB", "",
        "Colour space in which frames are held to the first one's colours, or what they are held to: a picture, or the "
        "frames of the clip. In Video Input mode only those two act.")
    color_coherence_image_path: str | None = _colors(None, "path", "color_coherence Image: the picture.",
        acts=chosen("color_coherence", "Image"), path=True)
    color_coherence_video_every_n_frames: int = _colors(1, "frames",
        "color_coherence Video Input: takes new colours every so many frames.", 1,
        old="color_coherence_video_every_N_frames")
    color_force_grayscale: bool = option(False, "", "Takes all colour out.", section="feedback")
    legacy_colormatch: bool = _feedback(False, "",
        "Matches colours before diffusion only, as Deforum did up to 2023.", acts=unless("color_coherence", "None"))
    noise_type: Literal["perlin", "uniform"] = _feedback("perlin", "",
        "Kind of noise put over the previous frame.", acts=used("noise"))
    noise_keeps_mean: bool = _feedback(False, "",
        "Adds the noise, up and down alike; off, it is mixed in as Deforum does, which draws colours towards grey.")
    perlin_w: float = _feedback(8.0, "cells", "Perlin noise: cells across in the coarsest layer.", 0.1, 256,
        acts=_PERLIN)
    perlin_h: float = _feedback(8.0, "cells", "Perlin noise: cells down in the coarsest layer.", 0.1, 256, acts=_PERLIN)
    perlin_octaves: int = _feedback(4, "layers",
        "Perlin noise: layers, each twice as fine as the one before.", 1, 16, acts=_PERLIN)
    perlin_persistence: float = _feedback(0.5, "share",
        "Perlin noise: strength of a layer against the one before.", 0, 1, acts=_PERLIN)
    optical_flow_cadence: FlowMethod = _feedback("None", "",
        "Finds what moves from one diffused frame to the next, beside the camera; the frames between them follow it, "
        "where they would only fade.")
    optical_flow_redo_generation: FlowMethod = _feedback("None", "",
        "Diffuses a frame once to see where things go, moves the previous frame by the optical flow to there, and "
        "diffuses that.")

    symmetry: Literal["none", "mirror x", "mirror y", "quad", "kaleidoscope"] = _feedback("none", "",
        "Mirrors the moved picture before it is painted, and every frame that is shown: the left half onto the right "
        "(mirror x), the upper half onto the lower (mirror y), the upper left quarter onto the others (quad), or one "
        "of symmetry_segments pieces all around the centre (kaleidoscope).")

    echo_blend: Literal["normal", "lighten", "darken", "add"] = option("normal", "",
        "How the trail is laid over a frame: normal mixes it in, lighten shows trails of bright things only, darken "
        "those of dark things, add lights the picture up; try add with an echo_amount of 0.2.", section="feedback")
    echo_in_loop: bool = _feedback(False, "",
        "Lays the trail over the picture that the next frame is painted from too, so that trails are painted into new "
        "shapes; off, they are only laid over finished frames. Try it with an echo_amount of 0.2.")

    use_mask: bool = _masks(False, "", "Paints only where the mask is white.")
    mask_file: str = _masks("", "path or URL", "The mask: white is painted, black is kept.", path=True)
    use_alpha_as_mask: bool = _masks(False, "",
        "Takes the init image's alpha channel for the mask: what is opaque is painted.")
    invert_mask: bool = _masks(False, "", "Paints where the mask is black.")
    mask_contrast_adjust: float = _masks(1.0, "factor",
        "Contrast of mask_file or the mask video; 1 is neutral. Deforum exchanges it with the brightness.", 0)
    mask_brightness_adjust: float = _masks(1.0, "factor", "Brightness of mask_file or the mask video; 1 is neutral.", 0)
    mask_follows_camera: bool = _masks(False, "",
        "Moves mask files, and the init image where it is laid over, with the camera.")
    overlay_mask: bool = _masks(True, "",
        "Puts back over the finished frame what was not to be painted: the init image, or the picture as it was before "
        "painting where there is none.")
    mask_overlay_blur: float = _masks(4.0, "px",
        "Softness of the mask's edge there; more than three times as far from all white no pixel is changed.", 0, 64)
    fill: Literal["fill", "original", "latent noise", "latent nothing"] = _masks("original", "",
        "What painting starts from under the mask: the colours around it, the picture there, noise, or grey; the last "
        "two want a strength near 0.")
    full_res_mask: bool = _masks(True, "", "Paints the masked region at full resolution.")
    full_res_mask_padding: int = _masks(4, "px", "How much around that region is seen.", 0, 512)
    use_mask_video: bool = _masks(False, "", "Takes the mask from a clip.")
    video_mask_path: str = _masks("", "path or URL", "The clip of masks.", path=True)
    mask: TextSchedule = _masks(_texts("mask", "{video_mask}"), "",
        "Mask expression by keyframe, in quotes: {video_mask}, {init_mask}, {everywhere}, {depth} (near is white), "
        "{disocclusion} (what the camera did not see before), [file.png] and <words>, joined by ! (not), & (and), "
        "| (or), ^ (one of the two) and \\ (without), with parentheses.", old="mask_schedule")
    mask_words_model: str = _masks("CIDAS/clipseg-rd64-refined", "",
        "CLIPSeg model that <words> in masks are looked up with: a folder, or a name in the local hub cache.")
    use_noise_mask: bool = _masks(False, "", "Puts noise only where noise_mask is white, in place of mask.")
    noise_mask: TextSchedule = _masks(_texts("noise_mask", "{video_mask}"), "",
        "Mask expression for the noise, by keyframe.", old="noise_mask_schedule")
    save_masks: bool = _masks(False, "", "Writes the masks of diffused frames, 8-bit PNG.")

    video_init_path: str = _video("", "path",
        "The clip: a video, a folder of pictures in the order of their names, or a picture.", acts=_CLIP_SOUND,
        path=True)
    extract_nth_frame: int = _video(1, "frames",
        "Uses every so many frames of the clip: frame t of the animation has the clip's frame "
        "extract_from_frame + t * extract_nth_frame.", 1)
    extract_from_frame: int = _video(0, "",
        "First frame of the clip that is used, counted from 0 at the clip's average frame rate.", 0, acts=_CLIP_SOUND)
    extract_to_frame: int = _video(-1, "", "Last frame of the clip that is used; -1 is its end.", -1)
    clip_fit: Literal["fill", "fit", "stretch"] = _video("fill", "",
        "How a clip of another shape comes to the frame's: cut at two edges, black bars at two edges, or out of "
        "proportion. Deforum's own files are stretched.")
    clip_end: Literal["stop", "hold", "loop"] = _video("stop", "",
        "What follows the clip's last frame: nothing, so that max_frames is at most the clip's length, that frame, or "
        "the clip again.")
    clip_feedback_flow: Literal["DIS Medium", "DIS Fine", "Farneback", "RAFT"] = _video("DIS Medium", "",
        "clip_feedback and clip_feedback_init: how it is found what moves in the clip.", modes=FROM_CLIP)
    overwrite_extracted_frames: bool = _video(False, "", "Has no effect: the clip is read while it is needed.",
        acts=NEVER)

    hybrid_composite: Literal["None", "Normal", "Before Motion", "After Generation"] = _hybrid("None", "",
        "When the clip is mixed into the picture: before painting, and then after (Normal) or before it takes over the "
        "clip's motion, or after painting.")
    hybrid_motion: Literal["None", "Optical Flow", "Perspective", "Affine"] = _hybrid("None", "",
        "Which motion of the clip the picture takes over, besides the camera's: that of each place, or that of the "
        "whole picture, with or without perspective.")
    hybrid_flow_method: Literal["RAFT", "DIS Medium", "DIS Fine", "Farneback"] = _hybrid("RAFT", "",
        "How optical flow is found. RAFT needs weights.")
    hybrid_motion_use_prev_img: bool = _hybrid(False, "",
        "Takes the motion from the previous frame to the clip, not from one of the clip's frames to the next.")
    hybrid_flow_consistency: bool = _hybrid(False, "",
        "Uses the flow only where it agrees forwards and backwards; elsewhere nothing moves.")
    hybrid_consistency_blur: int = _hybrid(2, "px", "Softness of the edge between the two.", 0, 16)
    hybrid_use_first_frame_as_init_image: bool = _hybrid(True, "",
        "Paints frame 0 from the clip's first frame, with init_strength; init_image is not used.")
    hybrid_use_init_image: bool = _hybrid(False, "", "Takes init_image for the clip, in the place of video_init_path.")
    hybrid_generate_inputframes: bool = _hybrid(False, "", "Has no effect: the clip is read while it is needed.",
        acts=NEVER)
    hybrid_generate_human_masks: Literal["None", "PNGs", "Video", "Both"] = _hybrid("None", "",
        "Writes masks of the people in the clip.", pending="cutting people out")
    hybrid_comp_mask_type: Literal["None", "Depth", "Video Depth", "Blend", "Difference"] = _hybrid("None", "",
        "What says where the clip is mixed in; white keeps the animation, black shows the clip. How near things are in "
        "the animation's picture or in the clip's, the brightness of both, or how far it differs.")
    hybrid_comp_mask_inverse: bool = _hybrid(False, "", "Inverts that mask.")
    hybrid_comp_mask_equalize: Literal["None", "Before", "After", "Both"] = _hybrid("None", "",
        "Gives all levels of that mask the same share: before contrast and automatic contrast, or after them.")
    hybrid_comp_mask_auto_contrast: bool = _hybrid(False, "",
        "Stretches that mask's contrast to its hybrid_comp_mask_auto_contrast_cutoff_low and _high.")
    hybrid_comp_save_extra_frames: bool = _hybrid(False, "",
        "Writes the clip's pictures, the masks and the composites, in the folder hybrid of the run.")

    use_looper: bool = _guided(False, "",
        "Draws the animation towards guided images. Without an init image frame 0 is painted from the first of them.")
    init_images: KeyedTexts = _guided((), "path",
        "The guided images, by keyframe; each is the guide until the next.")

    control_units: tuple[ControlUnit, ...] = ()

    parseq_manifest: str = _parseq("", "JSON or URL", "The manifest.")
    parseq_use_deltas: bool = _parseq(True, "", "Uses the differences from frame to frame.")
    parseq_non_schedule_overrides: bool = _parseq(True, "", "The manifest sets fps, max_frames and cadence.")

    output: str = _files("output", "folder", "Where the folder of the run is made.", old="outdir")
    batch_name: str = _files("Deforum_{timestring}", "", "Name of the run's folder; {seed} and so on are filled in.")
    video_format: Literal["h264", "h265", "av1", "webm", "prores", "prores4444", "ffv1", "gif", "webp"] = _files(
        "h264", "", "How the video is encoded.", acts=_FILM)
    crf: int = _files(17, "", "Compression of h264: 0 loses nothing, 51 is worst.", 0, 51,
        acts=_FILM & chosen("video_format", "h264"))
    video_quality: int | None = _files(None, "",
        "Quality of the other formats on their own scales; null is their default.",
        acts=_FILM & unless("video_format", "h264"))
    video_preset: str | None = _files(None, "",
        "The encoder's preset, slower for smaller files; null is its default.", acts=_FILM)
    frame_format: Literal["png", "png16", "jpeg"] = _files("png", "", "How single frames are written.")
    skip_video_creation: bool = _files(False, "", "Writes frames only.", old="skip_video_for_run_all")
    delete_imgs: bool = _files(False, "", "Removes the frames when the video is written.", acts=_FILM)
    delete_input_frames: bool = _files(False, "", "Has no effect: no frames of clips are kept.", acts=NEVER)
    make_gif: bool = _files(False, "", "Writes a gif too.", acts=_FILM)
    add_soundtrack: Literal["None", "File", "Init Video"] = _files("None", "",
        "Where the video's sound comes from.", acts=_FILM)
    soundtrack_path: str = _files("", "path", "add_soundtrack File: the sound.", acts=chosen("add_soundtrack",
        "File"), path=True)
    subtitles: str = _files("", "", "Fields shown in a subtitle file, such as: seed strength prompt.")
    resume_from_timestring: bool = _files(False, "", "Goes on with an earlier run.", pending="resuming a run")
    resume_timestring: str = _files("", "YYYYMMDDHHMMSS", "The run to go on with.", pending="resuming a run")
    r_upscale_video: bool = _files(False, "", "Enlarges the frames.", pending="upscaling")
    r_upscale_factor: Literal["x2", "x3", "x4"] = _files("x2", "", "How much.", pending="upscaling")
    r_upscale_model: str = _files("realesr-animevideov3", "", "Model that enlarges.", pending="upscaling")
    r_upscale_keep_imgs: bool = _files(True, "", "Keeps the enlarged frames.", pending="upscaling")
    frame_interpolation_engine: Literal["None", "RIFE v4.6",
        "FILM"] = _files("None", "", "Makes frames between frames.",
        pending="frame interpolation")
    frame_interpolation_x_amount: int = _files(2, "times", "How many times the frames.", 2, 10,
        pending="frame interpolation")
    frame_interpolation_slow_mo_enabled: bool = _files(False, "", "Slow motion.", pending="frame interpolation")
    frame_interpolation_slow_mo_amount: int = _files(2, "times", "How slow.", 2, 10, pending="frame interpolation")
    frame_interpolation_keep_imgs: bool = _files(False, "", "Keeps those frames.", pending="frame interpolation")
    frame_interpolation_use_upscaled: bool = _files(False, "", "Starts from the enlarged frames.",
        pending="frame interpolation")
    # fmt: on

    @property
    def blending(self) -> Literal["hold", "linear", "spherical"]:
        """How prompts go over into each other, with what the mode has where `prompt_blend` says nothing."""
        return self.prompt_blend or self.mode.prompt_blend

    def __repr__(self) -> str:
        """Show what differs from the defaults."""
        plain, defaults = Settings(), default_params()
        params = {name: value for name, value in self.params.items() if value != getattr(defaults, name)}
        options = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) != getattr(plain, name)}
        shown = [f"{name}={getattr(value, 'text', value)!r}" for name, value in (options | params).items()]
        units = [f"control_units={self.control_units!r}"] if self.control_units else []
        return f"Settings({', '.join([*shown, *units])})"

    @property
    def is_lenient(self) -> bool:
        """Whether a render goes on where Deforum's does: without what is missing, and with values out of range."""
        return self.profile == "deforum"

    @property
    def mode(self) -> ModeFacts:
        """What is known of the animation mode."""
        return MODES[self.animation_mode]


OPTIONS: Mapping[str, Declaration] = declarations(Settings)
DECLARATIONS: Mapping[str, Declaration] = {**OPTIONS, **PARAMS}
"""Every setting by name, without those of ControlNet units."""
