"""Every setting that is constant over a run, and every text schedule, declared once."""

# ruff: noqa: RUF009 (the calls in the dataclass make its fields, like dataclasses.field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from deforum.embedded import FINISHING_FACTOR
from deforum.models.machine import renders_on_gpu
from deforum.settings.declare import (
    NEVER,
    Declaration,
    KeyedTexts,
    Regions,
    chosen,
    declarations,
    on,
    option,
    unless,
    used,
    when,
)
from deforum.settings.modes import APART, FROM_CLIP, GOING_ON, LOOPING, MODES, WITH_COLORS, WITH_DEPTH, Mode, ModeFacts
from deforum.settings.params import PARAMS, SHAKEN, Params, default_params
from deforum.settings.parseq import Managed
from deforum.settings.profiles import PROFILES
from deforum.settings.shots import Shots
from deforum.settings.steps import (
    OLD_UPSCALERS,
    UPSCALERS,
    Chain,
    FrameFormat,
    Interpolate,
    Step,
    Upscale,
    VideoFormat,
)
from deforum.settings.units import Unit
from schedules import NumberSchedule, TextSchedule, parse_number, parse_text

FlowMethod = Literal["None", "RAFT", "DIS Medium", "DIS Fine", "Farneback"]

SECTIONS: Mapping[str, str] = {
    "": "Prompts and profile. These settings stand at the top level, outside any section.",
    "animation": "Animation mode, length and cadence.",
    "size": "The size of the frames.",
    "diffusion": "Model, sampler and diffusion settings.",
    "seeds": "Seeds and how they change from frame to frame.",
    "init": "The picture the animation starts from.",
    "motion": "Motion of the picture from frame to frame.",
    "camera": "3D camera motion and depth.",
    "feedback": "Processing of the previous frame before it is painted again.",
    "masks": "Which parts of the picture are painted.",
    "video_input": "The clip that Video Input and hybrid video read.",
    "hybrid": "Motion and pictures of a clip mixed into the animation.",
    "guided": "Keyframe pictures that guide the animation.",
    "controlnet": "Control units (ControlNet, T2I-Adapter), cn_1_enabled and so on; or in short, the list control.",
    "sound": "The sound, the tempo and the tables that schedules follow.",
    "parseq": "Schedules from a Parseq manifest.",
    "files": "Output files: folder, video, frames and sound.",
}
"""The groups of settings in a YAML file, in the order of the reference.

They only help reading: a setting may stand in any section, or outside all. Section and setting names never clash."""

SWITCHES: Mapping[str, tuple[str, ...]] = {
    "cutting people out": ("hybrid_generate_human_masks",),
    "rerolling": ("reroll_blank_frames",),
}
"""Pending feature -> the settings that turn it on; while all of them are off, its other settings are not reported."""

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
_control = partial(option, section="controlnet")
_audio = partial(option, section="sound")
_parseq = partial(option, section="parseq")
_files = partial(option, section="files")

_RESIZED = when(
    "both seed_resize_from_w and seed_resize_from_h are above 0",
    lambda settings, sampled: settings.seed_resize_from_w > 0 and settings.seed_resize_from_h > 0,
)
ENDS = when(
    "loop is on or end_image is given", lambda settings, sampled: settings.loop or settings.end_image is not None
)
_PERLIN = chosen("noise_type", "perlin") & used("noise")
_FILM = when("skip_video_creation is off", lambda settings, sampled: not settings.skip_video_creation)
_FINISHED = when("frames are finished", lambda settings, sampled: settings.finishes)
_IN_BETWEEN = when("interpolate is above 1", lambda settings, sampled: settings.interpolate > 1)
_UPSCALED = when("upscale is given", lambda settings, sampled: settings.upscale is not None)
_MANIFEST = when("parseq_manifest is given", lambda settings, sampled: bool(settings.parseq_manifest))
_CAMERA_FILE = when("camera_file is given", lambda settings, sampled: bool(settings.camera_file))
_CLIP_SOUND = _FILM & chosen("add_soundtrack", "Init Video")
_SOUNDS = when("audio is given", lambda settings, sampled: bool(settings.audio))
_BEATS = when("audio or bpm is given", lambda settings, sampled: bool(settings.audio) or settings.bpm is not None)


def _texts(name: str, text: str) -> TextSchedule:
    return parse_text(text, name=name)


@dataclass(frozen=True)
class ControlUnit:
    """One control unit; in files its settings are called cn_1_enabled and so on, or stand in the list `control`."""

    # fmt: off
    enabled: bool = _control(False, "", "Uses the unit.")
    model: str = _control("None", "",
        "Control model: embedded (outlines, for the embedded diffusion model), a diffusers folder or a .safetensors or "
        ".pth file of a ControlNet, Control-LoRA, union of ControlNets or T2I-Adapter, or its name in "
        "models/ControlNet.")
    vid_path: str = _control("", "path", "Clip, picture or folder of pictures that guides the unit.")
    source: Literal["clip", "init", "previous"] = _control("clip", "",
        "What guides the unit: clip is vid_path, init is the picture that is about to be painted over, previous the "
        "frame before it, moved by the camera.")
    loopback_mode: bool = _control(False, "", "Deforum's name for source: init.")
    mask_vid_path: str = _control("", "path",
        "Clip, picture or folder of masks: the unit acts where they are white.")
    module: str = _control("none", "",
        "Preprocessor, which makes the control picture: none takes the picture as it is; invert, canny, blur, "
        "threshold, tile, shuffle, recolor_luminance, color, scribble_xdog, lineart_standard, mlsd, depth, normal_map, "
        "optical_flow, inpaint; others, such as openpose, need the package controlnet-aux.")
    weight: NumberSchedule = _control(parse_number("1", name="weight"), "factor",
        "How strongly the unit acts. 0 is off, 1 is usual, more follows the control picture more closely.")
    guidance_start: NumberSchedule = _control(parse_number("0", name="guidance_start"), "share",
        "Share of the steps after which the unit starts.", 0, 1)
    guidance_end: NumberSchedule = _control(parse_number("1", name="guidance_end"), "share",
        "Share of the steps after which the unit stops; 0.6 leaves the details to the prompt.", 0, 1)
    control_mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = _control(
        "Balanced", "",
        "What prevails. My prompt is more important: the unit acts less in the finer layers. ControlNet is more "
        "important: so too, and it acts on the prompt's part of the guidance alone, which cfg_scale amplifies.")
    processor_res: int | None = _control(None, "px",
        "Shorter side of the picture that the preprocessor sees, which decides how fine its lines are; null is the "
        "size at which it is used.", 16, 8192)
    pixel_perfect: bool = _control(False, "", "Like processor_res: null.")
    threshold_a: float | None = _control(None, "",
        "First value of the preprocessor: canny's lower threshold, blur's sigma in px, threshold's level, tile's "
        "factor; null is its usual one.")
    threshold_b: float | None = _control(None, "",
        "Second value of the preprocessor: canny's upper threshold; null is its usual one.")
    resize_mode: Literal["Inner Fit (Scale to Fit)", "Outer Fit (Shrink to Fit)", "Just Resize"] = _control(
        "Inner Fit (Scale to Fit)", "",
        "How a clip of another aspect ratio is fitted to the frame: inner crops it, outer adds borders, just resize "
        "distorts it.")
    control_type: Literal["auto", "openpose", "depth", "softedge", "canny", "normal", "segment", "tile",
        "inpaint"] = _control("auto", "",
        "Union of ControlNets: the kind of control picture; auto is that of the preprocessor.")
    overwrite_frames: bool = _control(True, "", "Has no effect: the clip is read while it is needed.")
    low_vram: bool = _control(False, "", "Has no effect: see memory.")
    # fmt: on


CONTROLS: Mapping[str, Declaration] = declarations(ControlUnit)


@dataclass(frozen=True)
class LoraUnit(Unit):
    """One LoRA, and how strongly it acts over time."""

    # fmt: off
    lora: str = _diffusion("", "", "Its name in models_dir, or a file.")
    weight: NumberSchedule = _diffusion(parse_number("1", name="weight"), "factor",
        "Weight in the denoising network.", -100, 100)
    text_encoder: NumberSchedule | None = _diffusion(None, "factor",
        "Weight in the text encoders; null as in the network.", -100, 100)
    start: NumberSchedule = _diffusion(parse_number("0", name="start"), "share",
        "Share of the steps after which it begins to act.", 0, 1)
    end: NumberSchedule = _diffusion(parse_number("1", name="end"), "share",
        "Share of the steps after which it acts no more.", 0, 1)
    # fmt: on


@dataclass(frozen=True)
class PictureUnit(Unit):
    """One IP-Adapter: pictures that act as prompts do."""

    # fmt: off
    model: str = _diffusion("", "", "Its name in models_dir, or a file.")
    images: KeyedTexts = _diffusion((), "path", "Picture by keyframe.")
    scale: NumberSchedule = _diffusion(parse_number("1", name="scale"), "factor",
        "How strongly the picture acts; 0 is off.", -10, 10)
    image_encoder: str = _diffusion("", "path", "Folder of the image encoder that the adapter was trained with.")
    # fmt: on


@dataclass(frozen=True)
class ReferenceUnit(Unit):
    """A picture that guides through the network's own attention, without weights."""

    # fmt: off
    picture: KeyedTexts = _diffusion((), "path", "Picture by keyframe; init is what the frame is painted from.")
    strength: NumberSchedule = _diffusion(parse_number("1", name="strength"), "share",
        "How much the attentions see of it; 0 is off.", 0, 1)
    fidelity: NumberSchedule = _diffusion(parse_number("0.5", name="fidelity"), "share",
        "How far the negative prompt does without it; with 1 its style is followed most.", 0, 1)
    # fmt: on


@dataclass(frozen=True)
class VariableUnit(Unit):
    """A column of a table as a variable of schedules."""

    # fmt: off
    name: str = _audio("", "", "Its name in schedules.")
    file: str = _audio("", "path", "CSV or JSON file.")
    column: str = _audio("", "", "Column of the file; empty: the one of the variable's name, or the only one.")
    index: str = _audio("", "",
        "Column with the frame or the time of each row; empty: one called frame, time, sec or seconds; without one, "
        "each row is a frame.")
    by: Literal["auto", "frame", "time"] = _audio("auto", "",
        "What index counts: frames, or seconds. auto: seconds where its name begins with sec or time.")
    interpolation: Literal["linear", "hold"] = _audio("linear", "",
        "Between rows: linear goes from one to the next, hold keeps the last one. Before the first row and after the "
        "last one their values are kept.")
    # fmt: on


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything a render is made from. Paths are as in the file."""

    # fmt: off
    params: Params[NumberSchedule] = field(default_factory=default_params)

    profile: Literal["corrected", "deforum"] = _general("corrected", "",
        "corrected fixes the known faults of Deforum; deforum keeps them for files that rely on them.")
    animation_mode: Mode = _animation("2D", "", "The kind of animation.", old="mode")
    width: int | None = _size(None, "px",
        "Width of the frames; null is the size that the model was trained at (256 for the embedded model). "
        "With profile: deforum null is 512.", 8, 8192, old="W")
    height: int | None = _size(None, "px", "Height of the frames; null as for width.", 8, 8192, old="H")
    max_frames: int = _animation(120, "frames", "Number of frames.", 1, 1_000_000)
    first_frame: int = _animation(0, "frames",
        "The first frame that is rendered. It begins as frame 0 does, from noise or init_image, with the values of its "
        "place.", 0, 1_000_000)
    shots: Shots = _animation((), "",
        "The shots of a film, each a chain of frames of its own: [{name: sea, to: 80}, {name: storm, to: 160, "
        "strength: 0.4}, {name: port, file: port.yaml}]. A shot has name, from, to (the frame or the second of the "
        "cut), a file of its own, and any setting that holds for it alone. A shot begins at noise, or at an init_image "
        "of its own.")
    shot_cuts: Literal["none", "strength", "prompts", "both"] = _animation("none", "",
        "Without shots: begins a new one from noise where strength falls to 0 at a diffused frame, where the prompt "
        "changes without a blend, or at both. Shots do not depend on each other, and can be rendered at once.",
        acts=when("shots is empty", lambda settings, sampled: not settings.shots))
    fps: float = _animation(15.0, "frames/s", "Frame rate of the video.", 0.1, 1000)
    cadence: int = _animation(2, "frames",
        "Diffuses every n-th frame; in-betweens are moved and blended. Try 2 to 6.",
        1, 1000, old="diffusion_cadence", modes=GOING_ON)
    loop: bool = _animation(False, "",
        "Closes the animation into a loop, which plays round and round: over its last frames it is painted over into "
        "its first one, along the motion. Prompts return to the first one, and a path that nearly comes back closes.",
        modes=LOOPING)
    loop_drift: Literal["auto", "remove", "keep"] = _animation("auto", "",
        "loop: what happens to motion that does not come back to its start. remove takes it away, a little in each "
        "frame; keep lets it go on, as in an endless zoom. auto removes a small rest of a motion to and fro.",
        modes=GOING_ON, acts=on("loop"))
    ending_frames: int = _animation(0, "frames",
        "loop and end_image: number of last frames over which the animation goes over to the picture that it ends "
        "with; 0 is 2.5 seconds, and at most half of the animation.", 0, 100_000, modes=GOING_ON, acts=ENDS)
    keyframe_distribution: Literal[
        "Off", "Keyframes Only", "Additive", "Redistributed", "Redistributed Cadence"
    ] = _animation("Off", "",
        "Diffuses at the frames where prompts begin, and at the last one. Keyframes Only: at no others. Additive: also "
        "at about every cadence-th frame. Redistributed: at as many frames as cadence gives, the nearest moved to the "
        "keyframes. Redistributed Cadence: likewise, spread evenly between keyframes. Off: cadence alone.",
        modes=GOING_ON)
    keyframe_numbering: Literal["auto", "from 0", "from 1"] = _animation("auto", "",
        "keyframe_distribution: from 0 diffuses the frame where a prompt begins, from 1 the one before, as early "
        "versions of Deforum's Forge fork did. auto is from 0; with profile: deforum it is from 1, except for "
        "Redistributed Cadence.", modes=GOING_ON, acts=unless("keyframe_distribution", "Off"))

    prompts: KeyedTexts = _general((("0", ""),), "", "Prompt by keyframe; text after --neg is the negative prompt.",
        old="animation_prompts")
    positive_prompt: str = _general("", "",
        "Text added before every prompt.", old="positive_prompts animation_prompts_positive")
    negative_prompt: str = _general("", "", "Text added to the negative prompt (--neg) of every prompt.",
        old="negative_prompts animation_prompts_negative")
    wildcards_dir: str | None = _general(None, "folder",
        "Folder of wildcards: __name__ in a prompt becomes a line of its file name.txt, chosen by the seed once for "
        "each prompt. A file may be in a subfolder, __places/cities__; * stands for any characters, __places/*__.",
        acts=when("a prompt has a wildcard such as __name__", lambda settings, sampled: (
            settings.wildcards_dir is not None and any("__" in text for text in (
                settings.positive_prompt, settings.negative_prompt, settings.detail_prompt,
                *(text for _, text in (*settings.prompts, *settings.regions)),
            ))
        )),
        path=True)
    regions: Regions = _general((), "",
        "Parts of the frame with prompts of their own: a list of {mask, prompt}, or a mapping of masks to prompts. "
        "Masks are expressions as in mask. Elsewhere, and in part where they are grey, prompts acts. Each region costs "
        "one more evaluation in every step.")
    prompt_blend: Literal["hold", "linear", "spherical"] | None = _general(None, "",
        "Between two keyframes: hold keeps the first prompt, linear and spherical blend the prompt embeddings. null is "
        "linear in Interpolation mode and hold in the others.",
        acts=when("there are several prompts", lambda settings, sampled: len(settings.prompts) > 1))
    prompt_weighting: Literal["off", "shares", "weights"] = _general("off", "",
        'Reads a prompt as parts with weights, such as "a sea:2 a hill:1 fog:-1", and blends their embeddings, as the '
        "Deforum notebook did: shares divides the weights by their sum, weights takes them as they are. Parts of "
        "negative weight join the negative prompt.")

    model: str = _diffusion("embedded", "",
        "Diffusion model: embedded, a folder, a .safetensors file, the name of one in models_dir, or a name on the "
        "model hub, which is downloaded with --allow-download only.", path=True)
    models_dir: str = _diffusion("", "path",
        "Folder in which models of all kinds are looked for by name: that of the A1111 or Forge web UI or of ComfyUI, "
        "an extra_model_paths.yaml, or any folder of models. Several are separated by ;. The folders of the "
        "environment variable DEFORUM_MODELS_DIR come after it. The command models lists what is there.", path=True)
    vae: TextSchedule = _diffusion(_texts("vae", '""'), "",
        "Autoencoder by keyframe, in place of the model's own, or for a model file that has none: a file, a folder, or "
        "the name of one in models_dir. Empty: the model's own. Each change takes as long as loading the model.")
    text_encoder: str = _diffusion("", "",
        "Text encoders for a model file that has none, as ComfyUI keeps them (clip_l, t5xxl, qwen_3_4b): files, or "
        "names in models_dir, several separated by ;. Empty: the model's own, or those in models_dir that fit.",
        path=True)
    refiner: str = _diffusion("", "",
        "A second model that paints the last, finest noise levels of each frame, such as Stable Diffusion's refiner: a "
        "file, a folder, or a name, as for model. Empty: none.", path=True)
    refiner_switch_at: float = _diffusion(0.8, "share",
        "Share of the noise levels, from the highest, after which the refiner paints. 0.8 leaves it the last fifth. "
        "With a strength of 0.65 a frame begins at 0.68.", 0, 1,
        acts=when("refiner is given", lambda settings, sampled: bool(settings.refiner)))
    embeddings_dir: str | None = _diffusion(None, "folder",
        "Folder of embeddings (textual inversions), .safetensors or .pt: a word of a prompt that is the name of a file "
        "without its ending stands for its vectors, as does embedding:name. Those below models_dir are found too.",
        path=True)
    prediction_type: Literal["auto", "epsilon", "v_prediction"] = _diffusion("auto", "",
        "What the model's network predicts. auto takes what the model says, or finds it by what the network makes of "
        "noise. Set it where pictures are burnt or stay noise: v_prediction for models trained with v-prediction.")
    checkpoint: TextSchedule = _diffusion(_texts("checkpoint", '""'), "",
        "Model by keyframe, in place of `model`: names as there; empty is `model`. Frames are sized by the first one. "
        "One model is in memory at a time, so that each change takes as long as loading it.",
        old="checkpoint_schedule")
    loras: tuple[LoraUnit, ...] = _diffusion((), "",
        "LoRAs, with weights over time: [{lora: ink, weight: \"0: (0), 40: (1)\"}], or {ink: 0.8}. `lora` is a file or "
        "the name of one in models_dir; `weight` a schedule; `text_encoder` another one for the text encoders; `start` "
        "and `end` the share of the steps between which it acts. <lora:name:weight> in prompts adds to it.")
    ip_adapter: tuple[PictureUnit, ...] = _diffusion((), "",
        "IP-Adapters, with a picture by keyframe: [{model: ip-adapter_sd15, images: {0: a.png, 40: b.png}, scale: 0.6, "
        "image_encoder: folder}]. `model` is a file or the name of one in models_dir, `scale` a schedule. Between "
        "keyframes pictures blend where prompts do (prompt_blend).")
    reference: tuple[ReferenceUnit, ...] = _diffusion((), "",
        "A picture whose look is followed, through the network's own attention (reference-only): {picture: a.png, "
        "strength: 0.8, fidelity: 0.5}. `picture` may change by keyframe, and be init, what a frame is painted from: "
        "mostly the moved previous frame. It needs no weights, and a second evaluation of the network in each step.")
    sampler: TextSchedule = _diffusion(_texts("sampler", "Euler a"), "",
        "Sampler by keyframe, such as Euler a or DPM++ 2M Karras.",
        old="sampler_schedule sampler_name")
    scheduler: TextSchedule = _diffusion(_texts("scheduler", "none"), "",
        "Noise schedule by keyframe, such as Karras, Beta or Align Your Steps: the noise levels that the sampler "
        "visits. It acts on samplers that name none themselves, as Euler Karras does. none is the sampler's own.",
        old="scheduler_schedule")
    device: Literal["auto", "cpu", "cuda", "mps"] = _diffusion("auto", "", "Device that renders.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _diffusion("auto", "",
        "Floating-point precision of the model.")
    memory: Literal["auto", "low", "lowest"] = _diffusion("auto", "",
        "How much memory of the graphics card may be used. auto keeps the whole model there if it fits, and otherwise, "
        "or when memory runs out, goes on with low, then lowest. low moves parts of the model to the card when they "
        "are used. lowest moves single layers, and encodes and decodes frames above 512 px in tiles, on the processor "
        "too: their brightness may differ by a level between tiles. Each is slower than the one before.",
        acts=when("a graphics card renders, or memory is lowest",
            lambda settings, sampled: renders_on_gpu(settings.device) or settings.memory != "low"))
    tiny_vae: str | None = _diffusion(None, "path",
        "A tiny autoencoder in place of the model's own, as a folder or file of your own: the TAESD that was made for "
        "models of its kind. It takes a few ms per frame where the model's takes a hundred, and loses fine detail.",
        path=True)
    compile: Literal["off", "default", "max-autotune"] = _diffusion("off", "",
        "Compiles the model's networks with torch.compile. Frames are then made faster, but the first of each size "
        "takes minutes on a graphics card, most with max-autotune. It pays for runs of "
        "thousands of frames. On a processor small models gain little.")
    step_cache: int = _diffusion(1, "steps",
        "Runs the whole network in every n-th step only; the steps between reuse its coarse features (DeepCache). "
        "1 is off. 2 saves a quarter of a frame's time, 3 a third. The picture differs from that of full steps, by a "
        "third of what another seed changes with 2, by half with 3; use it with 15 steps or more.", 1, 10)
    batch_size: int = _diffusion(0, "frames",
        "Number of independent frames that are diffused at once; 0 chooses by the device and the frame size.",
        0, 1024, modes=APART)
    vae_refinement: int = _diffusion(-1, "times",
        "Corrects the encoded latents this many times by comparing what they decode to with the picture, so that the "
        "VAE loses less detail in img2img. Each costs one decoding and one encoding. -1 chooses: with the embedded "
        "model, decoded pictures are corrected for what the next encoding will lose, which costs one encoding; with "
        "other models it is 1 in frames that keep at least 0.4 of the previous one (with a lower strength it makes no "
        "difference that can be seen). -1 is 0 with profile: deforum, and where frames are not painted from the one "
        "before.", -1, 4)
    latent_grid: Literal["auto", "fixed", "moving"] = _diffusion("auto", "",
        "moving shifts the grid of the model's latents by other px in each painted frame while the camera moves: on a "
        "fixed grid edges settle on its cells, and slow motion is lost. A frame takes longer by one row and one column "
        "of cells. auto is moving with the embedded model and the corrected profile, and fixed otherwise.",
        modes=GOING_ON)
    tiling: Literal["none", "both", "x", "y"] = _diffusion("none", "",
        "Makes seamless tiles: opposite edges fit together. x joins left and right alone, as a panorama needs it, y "
        "top and bottom. true is both.")
    tiled_diffusion: str = _diffusion("none", "px",
        "Diffuses frames that are larger than this in overlapping windows, whose results are averaged in each step: "
        "none, auto (the size that the model was trained on), or the side of a window. It takes the memory of a "
        "window, and longer. A window does not see the others: prompts and noise fill each, so that large subjects "
        "need an init image, a high strength, or hires_scale. The autoencoder has tiles of its own, with "
        "memory: lowest.")
    detail_mask: str = _diffusion("", "",
        "Detail pass: what is under this mask is painted once more after the frame, enlarged to the frame's size, and "
        "pasted back with soft edges. An expression as in mask, such as <face>, which looks at the painted frame. "
        "Empty: none.")
    detail_prompt: str = _diffusion("", "", "Detail pass: its prompt; empty: the frame's.")
    detail_padding: int = _diffusion(32, "px", "Detail pass: margin around the mask.", 0, 1024)
    restore_faces: bool = _diffusion(False, "", "Repairs faces.", pending="face restoration")
    reroll_blank_frames: Literal["ignore", "reroll", "interrupt"] = _diffusion("ignore", "",
        "What happens to a blank frame: ignore keeps it, reroll repeats it with another seed, interrupt ends the run.",
        pending="rerolling")
    reroll_patience: int = _diffusion(10, "tries", "How often a blank frame is repeated.", 0, pending="rerolling")
    diffusion_redo: int = _diffusion(0, "times",
        "Extra diffusion passes with other seeds before the final one, each starting from the last result.", 0, 50)

    seed: int = _seeds(-1, "", "Seed of the run; -1 chooses a random one.", -1, 2**53)
    seed_behavior: Literal["iter", "fixed", "random", "ladder", "alternate", "schedule"] = _seeds("iter", "",
        "How the seed changes from one diffused frame to the next.")
    seed_iter_n: int = _seeds(1, "frames",
        "seed_behavior iter: number of frames that share a seed.", 1, old="seed_iter_N")
    noise_follows_camera: bool | None = _seeds(None, "",
        "Moves the seed's noise with the picture. Off, the noise stays where it is on the screen, and under a fixed "
        "seed it holds the picture back. null is on with seed_behavior: fixed, the embedded model and the corrected "
        "profile, and off otherwise.", modes=GOING_ON)
    seed_resize_from_w: int = _seeds(0, "px",
        "Keeps the composition that the seed has at this width: the noise of a picture of this size is put in the "
        "middle of the frame's. Noise that follows the camera has it in frame 0 alone. 0 is off.", 0, 8192,
        acts=_RESIZED)
    seed_resize_from_h: int = _seeds(0, "px", "The height that belongs to seed_resize_from_w; 0 is off.", 0, 8192,
        acts=_RESIZED)

    init_image: str | None = _init(None, "path", "Init image that frame 0 is painted from; null starts from noise.",
        path=True)
    init_strength: float = _init(0.8, "share", "How much of the init image survives in frame 0.", 0, 1)
    end_image: str | None = _init(None, "path",
        "Picture that the last frame is painted from: over ending_frames the animation goes over to it.", path=True)
    end_strength: float = _init(0.8, "share",
        "How much of end_image survives in the last frame; 1 shows it as it is.", 0, 1,
        acts=when("end_image is given", lambda settings, sampled: settings.end_image is not None))
    strength_0_no_init: bool = _init(True, "",
        "Paints frame 0 from pure noise (strength 0) where init_image is null. Off, it is painted from empty latents "
        "with init_strength, as in Deforum's notebook, which gives plain, hazy pictures.",
        acts=when("init_image is null", lambda settings, sampled: settings.init_image is None))

    border: Literal["replicate", "wrap", "reflect"] = _motion("replicate", "",
        "What fills the edges: replicate stretches the edge, wrap shows the opposite side, reflect mirrors.")
    enable_perspective_flip: bool = _motion(False, "", "Turns the perspective_flip parameters on.",
        old="flip_2d_perspective")
    motion_gain: Literal["auto", "off", "on"] = _motion("auto", "",
        "on moves the picture further than set before it is painted, up to three times as far, so that as much motion "
        "is seen as is set: models paint a part of slow motion back. How much is measured from frame to frame. auto is "
        "on with the embedded model and the corrected profile, unless frames take structure from elsewhere: with "
        "hybrid video, masks, guided images, control units and symmetry it is off.",
        acts=when("diffused frames are shown on time and hybrid_motion is None", lambda settings, sampled: (
            settings.keys_on_time and settings.hybrid_motion == "None"
        )))

    camera_file: str = _camera("", "path",
        "The path of a camera in another program's format, which moves the camera in place of translation_x, _y, _z "
        "and rotation_3d_x, _y, _z, and of fov where it has a lens: Nuke .chan, nerfstudio transforms.json and "
        "camera_path.json, a COLMAP folder, glTF, After Effects keyframes, Deforum's strings of Blender's exporter.",
        acts=when("it is given in 3D mode", lambda settings, sampled: (
            settings.mode.has_depth and bool(settings.camera_file)
        )), path=True)
    camera_scale: float | None = _camera(None, "1/200 scene unit",
        "camera_file: how far the camera moves for a unit of the file; try 50 for a scene in metres. null is 200, a "
        "scene unit, which is about the distance of the nearest things; with After Effects and Deforum's strings 1.",
        1e-6, 1e6, acts=_CAMERA_FILE)
    camera_rate: float | None = _camera(None, "frames/s",
        "camera_file: the rate of its frames. null is what the file says, or else that of the animation.",
        0.01, 1000, acts=_CAMERA_FILE)
    camera_start: float | None = _camera(None, "frame",
        "camera_file: which of its frames is frame 0, in its own counting; null is its first.", -1e6, 1e6,
        acts=_CAMERA_FILE)
    camera_name: str | None = _camera(None, "",
        "camera_file: the camera of a glTF scene with several; null is the first one that moves.", acts=_CAMERA_FILE)
    camera_rotation_order: Literal["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"] = _camera("ZXY", "",
        "camera_file: the order in which the angles of a .chan file turn; ZXY is Nuke's, XYZ Blender's.",
        acts=_CAMERA_FILE)
    use_depth_warping: bool = _camera(True, "", "Warps by depth in 3D; off, the scene is flat.")
    depth_algorithm: str = _camera("embedded", "",
        "Depth model: embedded, none, a name such as midas-dpt-large or depth-anything-v2-small, "
        "or a folder or video of depth maps.")
    midas_weight: float = _camera(0.2, "share", "Share of MiDaS in depth_algorithm Midas+AdaBins (old).", 0, 1)
    padding_mode: Literal["border", "reflection", "zeros"] = _camera("border", "",
        "What fills the edges in 3D: the edge stretched, a mirror, or black.")
    sampling_mode: Literal["bicubic", "bilinear", "nearest"] = _camera("bicubic", "",
        "Interpolation of moved pixels; bicubic is sharpest.")
    aspect_ratio_use_old_formula: bool = _camera(False, "", "The camera's aspect ratio is width over height.")
    disocclusion: Literal["far", "stretch", "repaint"] = _camera("far", "",
        "How newly visible areas are filled: far shows what lies behind, stretch extends the surface in front, "
        "repaint is "
        "far with noise and a lower strength, so that they are painted anew. With profile: deforum the surface is "
        "always stretched; repaint still repaints it.")
    save_disocclusion_masks: bool = _camera(False, "",
        "Writes a mask of the newly visible areas of each diffused frame: 8-bit PNG, white there.")
    save_depth_maps: bool = _camera(False, "",
        "Writes the depth of every frame, on one scale for the whole run.")
    depth_format: Literal["png", "exr"] = _camera("png", "",
        "save_depth_maps: png is 16-bit, near is bright; levels go in equal steps of inverse depth from slightly "
        "nearer "
        "than near (white) to far (black). exr is OpenEXR with the distance in scene units in channel Z.")
    save_depth_video: bool = _camera(False, "", "Writes the depth as a video too; near is bright.")
    shake_name: str = _motion("None", "",
        "Camera shake added to the motion: INVESTIGATION, THE_CLOSEUP, THE_WEDDING, WALK_TO_THE_STORE, HANDYCAM_RUN, "
        "OUT_CAR_WINDOW, BIKE_ON_GRAVEL_2D, SPACESHIP_SHAKE_2D, THE_ZEEK_2D, or None: recordings of "
        "Camera Shakify (CC0). shake_file reads others.")
    shake_file: str | None = _motion(None, "path",
        "File of recorded camera shakes, of which shake_name chooses one: shake_data.py of Camera Shakify, JSON or "
        "CSV, see docs/loops.md.", path=True)
    shake_scale: float = _motion(50.0, "1/200 scene unit per metre",
        "Camera shake: how far a metre of it moves the camera. With 50 a near thing is 4 m away.", 0, 100_000,
        acts=SHAKEN)

    color_coherence: Literal["None", "HSV", "LAB", "RGB", "Video Input", "Image"] = _colors("LAB", "",
        "Keeps colours from drifting: HSV, LAB and RGB match each frame to the first one in that colour space, or to "
        "what color_renewal put in its place where the prompt changed; Image and "
        "Video Input match it to a picture or to the clip's frames. In Video Input mode only the last two act.")
    color_coherence_image_path: str | None = _colors(None, "path", "color_coherence Image: the reference picture.",
        acts=chosen("color_coherence", "Image"), path=True)
    color_coherence_video_every_n_frames: int = _colors(1, "frames",
        "color_coherence Video Input: takes new reference colours every n frames.", 1,
        old="color_coherence_video_every_N_frames")
    color_force_grayscale: bool = option(False, "", "Turns the picture to grayscale.", section="feedback")
    legacy_colormatch: bool = _feedback(False, "",
        "Matches colours only before diffusion, as Deforum did up to 2023.", acts=unless("color_coherence", "None"))
    noise_type: Literal["perlin", "uniform"] = _feedback("perlin", "",
        "Kind of noise added to the previous frame.", acts=used("noise"))
    noise_keeps_mean: bool = _feedback(False, "",
        "Adds noise with mean 0, so that brightness stays. Off, noise is mixed in as in Deforum, which pulls colours "
        "towards grey.")
    perlin_w: float = _feedback(8.0, "cells", 
        "Perlin noise: cells across in the coarsest layer; with profile: deforum cells down, as in Deforum.", 0.1, 256,
        acts=_PERLIN)
    perlin_h: float = _feedback(8.0, "cells",
        "Perlin noise: cells down in the coarsest layer; with profile: deforum cells across.", 0.1, 256, acts=_PERLIN)
    perlin_octaves: int = _feedback(4, "layers",
        "Perlin noise: octaves, each twice as fine as the one before.", 1, 16, acts=_PERLIN)
    perlin_persistence: float = _feedback(0.5, "share",
        "Perlin noise: strength of each octave relative to the one before.", 0, 1, acts=_PERLIN)
    optical_flow_cadence: Literal["auto", "None", "RAFT", "DIS Medium", "DIS Fine", "Farneback"] = _feedback("auto", "",
        "Optical flow between diffused frames, beyond the camera's motion; in-betweens follow what both frames have in "
        "common. None only fades. auto is DIS Medium, and None with profile: deforum or on a graphics card, which "
        "would wait for the processor.")
    optical_flow_redo_generation: FlowMethod = _feedback("None", "",
        "Diffuses each frame twice: the first result gives an optical flow, the previous frame is moved by it and "
        "diffused again.")

    symmetry: Literal["none", "mirror x", "mirror y", "quad", "kaleidoscope"] = _feedback("none", "",
        "Mirrors the moved picture before it is painted, and every frame that is shown: the left half onto the right "
        "(mirror x), the upper half onto the lower (mirror y), the upper left quarter onto the others (quad), or one "
        "of symmetry_segments pieces all around the centre (kaleidoscope).")

    echo_blend: Literal["normal", "lighten", "darken", "add"] = option("normal", "",
        "Blend mode of the trail: normal mixes it in, lighten shows only trails of bright things, darken those of dark "
        "things, add brightens the picture; try add with an echo_amount of 0.2.", section="feedback")
    echo_in_loop: bool = _feedback(False, "",
        "Also lays the trail over the picture that the next frame is painted from, so that trails turn into new "
        "shapes. "
        "Off, the trail is only laid over finished frames. Try it with an echo_amount of 0.2.")

    use_mask: bool = _masks(False, "", "Paints only where the mask is white.")
    mask_file: str = _masks("", "path or URL", "The mask: white is painted, black is kept.", path=True)
    use_alpha_as_mask: bool = _masks(False, "",
        "Uses the init image's alpha channel as the mask: opaque is painted.")
    invert_mask: bool = _masks(False, "", "Paints where the mask is black.")
    mask_contrast_adjust: float = _masks(1.0, "factor",
        "Contrast of mask_file or the mask video; 1 is neutral. Deforum swaps it with the brightness.", 0)
    mask_brightness_adjust: float = _masks(1.0, "factor", "Brightness of mask_file or the mask video; 1 is neutral.", 0)
    mask_follows_camera: bool = _masks(False, "",
        "Moves mask files and the overlaid init image with the camera.")
    overlay_mask: bool = _masks(True, "",
        "Restores the unmasked area of the finished frame from the init image, or from the picture before painting "
        "where "
        "init_image is null.")
    mask_overlay_blur: float = _masks(4.0, "px",
        "overlay_mask: blur of the mask's edge. Pixels more than 3 times this far from white stay unchanged.", 0, 64)
    fill: Literal["fill", "original", "latent noise", "latent nothing"] = _masks("original", "",
        "What painting starts from under the mask: the surrounding colours, the original picture, noise, or grey; use "
        "a "
        "strength near 0 with the last two.")
    full_res_mask: bool = _masks(True, "", "Paints the masked region at full resolution.")
    full_res_mask_padding: int = _masks(4, "px",
        "full_res_mask: margin around the masked region that the model sees.", 0, 512)
    use_mask_video: bool = _masks(False, "", "Uses a video as the mask.")
    video_mask_path: str = _masks("", "path or URL", "The mask video.", path=True)
    mask: TextSchedule = _masks(_texts("mask", "{video_mask}"), "",
        "Mask expression by keyframe, in quotes: {video_mask}, {init_mask}, {everywhere}, {depth} (near is white), "
        "{disocclusion} (newly visible areas), [file.png] and <words>, joined by ! (not), & (and), "
        "| (or), ^ (exclusive or) and \\ (without), with parentheses.", old="mask_schedule")
    mask_words_model: str = _masks("CIDAS/clipseg-rd64-refined", "",
        "CLIPSeg model for <words> in masks: a folder, or a name on the model hub, which is downloaded with "
        "--allow-download only.")
    use_noise_mask: bool = _masks(False, "", "Adds noise only where noise_mask is white, instead of where mask is.")
    noise_mask: TextSchedule = _masks(_texts("noise_mask", "{video_mask}"), "",
        "Mask expression for the noise, by keyframe.", old="noise_mask_schedule")
    save_masks: bool = _masks(False, "", "Writes the masks of diffused frames as 8-bit PNG.")
    save_control_pictures: bool = _control(False, "",
        "Writes what control units see of the frames that they act on as 8-bit PNG: those of the first unit in the "
        "folder control_1, and so on.")

    video_init_path: str = _video("", "path",
        "The clip: a video, a folder of pictures sorted by name, or a single picture.", acts=_CLIP_SOUND,
        path=True)
    extract_nth_frame: int = _video(1, "frames",
        "Uses every n-th frame of the clip: frame t of the animation has the clip's frame "
        "extract_from_frame + t * extract_nth_frame.", 1)
    extract_from_frame: int = _video(0, "",
        "First frame of the clip that is used, counted from 0 at the clip's average frame rate.", 0, acts=_CLIP_SOUND)
    extract_to_frame: int = _video(-1, "", "Last frame of the clip that is used; -1 is its end.", -1)
    clip_fit: Literal["fill", "fit", "stretch"] = _video("fill", "",
        "How a clip of another aspect ratio is fitted: fill crops it, fit adds black bars, stretch distorts it. "
        "Deforum's "
        "own files use stretch.")
    clip_end: Literal["stop", "hold", "loop"] = _video("stop", "",
        "After the clip's last frame: stop ends the animation (max_frames is at most the clip's length), hold repeats "
        "the "
        "last frame, loop restarts the clip.")
    clip_feedback_flow: Literal["DIS Medium", "DIS Fine", "Farneback", "RAFT"] = _video("DIS Medium", "",
        "clip_feedback and clip_feedback_init: optical flow method for the clip's motion.", modes=FROM_CLIP)
    overwrite_extracted_frames: bool = _video(False, "", "Has no effect: the clip is read while it is needed.",
        acts=NEVER)

    hybrid_composite: Literal["None", "Normal", "Before Motion", "After Generation"] = _hybrid("None", "",
        "When the clip is mixed into the picture: Normal after the clip's motion is applied, Before Motion before it "
        "(both "
        "before painting), After Generation after painting.")
    hybrid_motion: Literal["None", "Optical Flow", "Perspective", "Affine"] = _hybrid("None", "",
        "Motion of the clip that is added to the camera's: Optical Flow moves each pixel, Perspective and Affine move "
        "the "
        "whole picture with or without perspective.")
    hybrid_flow_method: Literal["RAFT", "DIS Medium", "DIS Fine", "Farneback"] = _hybrid("RAFT", "",
        "Optical flow method. RAFT needs weights.")
    hybrid_motion_use_prev_img: bool = _hybrid(False, "",
        "Takes the motion from the previous frame to the clip's frame. Off, from one clip frame to the next.")
    hybrid_flow_consistency: bool = _hybrid(False, "",
        "Uses the flow only where forward and backward flow agree; elsewhere nothing moves.")
    hybrid_consistency_blur: int = _hybrid(2, "px",
        "hybrid_flow_consistency: blur of the edge between areas that move and areas that rest.", 0, 16)
    hybrid_use_first_frame_as_init_image: bool = _hybrid(True, "",
        "Paints frame 0 from the clip's first frame, with init_strength; init_image is not used.")
    hybrid_use_init_image: bool = _hybrid(False, "", "Uses init_image as the clip instead of video_init_path.")
    hybrid_generate_inputframes: bool = _hybrid(False, "", "Has no effect: the clip is read while it is needed.",
        acts=NEVER)
    hybrid_generate_human_masks: Literal["None", "PNGs", "Video", "Both"] = _hybrid("None", "",
        "Writes masks of the people in the clip.", pending="cutting people out")
    hybrid_comp_mask_type: Literal["None", "Depth", "Video Depth", "Blend", "Difference"] = _hybrid("None", "",
        "Composite mask: white keeps the animation, black shows the clip. Depth and Video Depth use nearness in the "
        "animation or the clip, Blend the brightness of both, Difference how far it differs.")
    hybrid_comp_mask_inverse: bool = _hybrid(False, "", "Inverts the composite mask.")
    hybrid_comp_mask_equalize: Literal["None", "Before", "After", "Both"] = _hybrid("None", "",
        "Equalises the histogram of the composite mask before or after contrast and automatic contrast.")
    hybrid_comp_mask_auto_contrast: bool = _hybrid(False, "",
        "Stretches the composite mask's contrast to hybrid_comp_mask_auto_contrast_cutoff_low and _high.")
    hybrid_comp_save_extra_frames: bool = _hybrid(False, "",
        "Writes the clip's pictures, the masks and the composites to the run's folder hybrid.")

    use_looper: bool = _guided(False, "",
        "Guides the animation by init_images. Without an init image, frame 0 is painted from the first of them.")
    init_images: KeyedTexts = _guided((), "path",
        "Guided images by keyframe; each guides until the next.")

    control_units: tuple[ControlUnit, ...] = ()
    parseq: Managed | None = field(default=None, compare=False)
    """What the manifest of parseq_manifest gave; None: nothing, or it is not read yet."""

    audio: str = _audio("", "path or clip",
        "Sound that schedules follow, with the variables amp, bass, mid, treble, onset, beat, beat_phase, bar_phase, "
        "bpm, section and the function band(low, high), and keyframes at places such as beat(16): any file with sound; "
        "clip is the sound of video_init_path. It is also the sound of the film, see add_soundtrack.",
        acts=_SOUNDS, path=True, words="clip")
    audio_start: float = _audio(0.0, "s", "Seconds of the sound that are left out: frame 0 is there.", 0, 86_400,
        acts=_SOUNDS)
    bpm: float | None = _audio(None, "beats/min",
        "Constant tempo, by hand; null is the tempo that is heard. It also gives beats without a sound.", 20, 400)
    first_beat: float | None = _audio(None, "s",
        "A beat of the sound that begins a bar; null is as it is heard, and 0 without a sound.", 0, 86_400, acts=_BEATS)
    beats_per_bar: int = _audio(4, "beats", "Beats in a bar: 3 for a waltz.", 1, 32, acts=_BEATS)
    audio_gain: float | None = _audio(None, "factor",
        "Multiplies amp, bass, mid, treble and band. null gives each its own gain, with which its loudest moments are "
        "1; with 1 a sine of full scale is 1, and music is at 0.05 to 0.5.", 0, 1_000_000, acts=_SOUNDS)
    audio_offset: float = _audio(0.0, "", "Is added to amp, bass, mid, treble, band and onset.", -1000, 1000,
        acts=_SOUNDS)
    audio_smoothing: float = _audio(0.0, "s",
        "Averages levels over time, before and behind: standard deviation of the average. Try 0.1 for calm motion.",
        0, 60, acts=_SOUNDS)
    audio_attack: float = _audio(0.0, "s", "Time constant with which levels and onset rise; 0 is at once.", 0, 60,
        acts=_SOUNDS)
    audio_release: float = _audio(0.1, "s", "Time constant with which levels and onset fall. Try 0.1 to 1.", 0, 60,
        acts=_SOUNDS)
    beat_decay: float = _audio(0.15, "s", "Time in which beat falls from 1 to 0.37.", 0.001, 60, acts=_BEATS)
    variables: tuple[VariableUnit, ...] = _audio((), "",
        "Columns of tables as variables of schedules: {energy: {file: data.csv, column: rms}}. `index` is the column "
        "of frames or times, `interpolation` linear or hold; see docs/audio.md.")

    parseq_manifest: str = _parseq("", "path, JSON or URL",
        "Parseq manifest, whose values of each frame replace schedules and prompts: a file, the JSON itself, or an "
        "address, which is fetched with --allow-download only.")
    parseq_use_deltas: bool = _parseq(True, "",
        "Moves by the change from frame to frame (zoom_delta). Off, the values themselves are the motion of each "
        "frame, as in a schedule.", acts=_MANIFEST)
    parseq_non_schedule_overrides: bool = _parseq(True, "",
        "The manifest also sets max_frames, fps and cadence.", acts=_MANIFEST)
    parseq_except: str = _parseq("", "",
        "Settings that keep their own values where the manifest has some too, such as: strength prompts.",
        acts=_MANIFEST)

    output: str = _files("output", "folder", "Folder in which the run's folder is created.", old="outdir")
    batch_name: str = _files("Deforum_{timestring}", "",
        "Name of the run's folder; {seed}, {timestring} and so on are filled in.")
    video_format: VideoFormat = _files("h264", "", "Video codec or animated picture format.", acts=_FILM)
    crf: int = _files(17, "", "h264 quality: 0 is lossless, 51 is worst; try 17 to 23.", 0, 51,
        acts=_FILM & chosen("video_format", "h264"))
    video_quality: int | None = _files(None, "",
        "Quality of the other video formats, each on its own scale; null is their default.",
        acts=_FILM & unless("video_format", "h264"))
    video_preset: str | None = _files(None, "",
        "Encoder preset; slower ones look better at equal size. null: superfast for h264, medium for h265, 8 for av1.",
        acts=_FILM)
    frame_format: FrameFormat = _files("png", "", "File format of the frames.")
    finish: Literal["auto", "none", "embedded"] = _files("auto", "",
        "Finishes the frames that are written: the embedded network makes them twice as wide and high, with firm edges "
        "and even areas. The animation goes on from the frames before, so it stays the same. Where a clip's own pixels "
        "show, they are only enlarged. auto does so with the embedded model, whose frames the network is made for, and "
        "not with profile: deforum.")
    finish_look: Literal["plain", "gouache", "ink"] = _files("plain", "",
        "Look of finished frames. gouache: opaque paint, even areas with hard edges. ink: pen and wash, dark lines "
        "over thinned colours.", acts=_FINISHED)
    upscale: float | None = _files(None, "times",
        "Makes the frames this many times as wide and high behind the render; the frames and films of the run are "
        "kept. Try 2.", 1.5, 8)
    upscaler: str = _files("auto", "",
        "upscale: lanczos, realesr-animevideov3 (fast, clean lines), x4plus (slow, more detail), x4plus-anime (slow, "
        "flat colours), or a model's file, or its name in models_dir. auto is realesr-animevideov3 where its package "
        "is installed, else lanczos.",
        acts=_UPSCALED, path=True, words=" ".join(UPSCALERS), models="upscaler")
    post: Chain = _files(Chain(), "",
        "Steps behind the render, in any order, such as [{upscale: 2}, {grain: 0.02}, {film: h265}]; they follow "
        "upscale and interpolate. Each keeps what it was made from. The steps are listed in docs/post.md.")
    save_metadata: bool = _files(True, "",
        "Writes the settings of the run, and each frame's prompt, seed and values, into pictures and films: any of "
        "them can be given instead of a settings file. Off, pictures and films carry no texts.")
    skip_video_creation: bool = _files(False, "", "Writes frames without a video.", old="skip_video_for_run_all")
    delete_imgs: bool = _files(False, "", "Deletes the frames once the video is written.", acts=_FILM)
    delete_input_frames: bool = _files(False, "", "Has no effect: no frames of clips are kept.", acts=NEVER)
    make_gif: bool = _files(False, "", "Also writes a GIF.", acts=_FILM)
    add_soundtrack: Literal["auto", "None", "File", "Init Video"] = _files("auto", "",
        "Source of the video's sound: File is soundtrack_path, Init Video the clip's own sound. auto is audio where it "
        "is given, from audio_start on, and none otherwise.", acts=_FILM)
    soundtrack_path: str = _files("", "path", "add_soundtrack File: the sound file.",
        acts=_FILM & chosen("add_soundtrack", "File"), path=True)
    chapters: bool = _files(True, "",
        "Marks where each prompt begins as a chapter of the film (not in GIF and WebP). Not with save_metadata off.",
        acts=_FILM & on("save_metadata"))
    save_values: Literal["none", "csv", "json", "both"] = _files("none", "",
        "Also writes every value of each frame, with seed and prompt, into values.csv or values.json of the run's "
        "folder.")
    subtitles: str = _files("", "", "Fields of each frame shown in a subtitle file, such as: seed strength prompt.")
    checkpoint_every: int = _files(0, "frames",
        "Painted frames from one saved state to the next; a run that was stopped in any way is resumed from the last "
        "one. 0 adapts, so that it costs under 2 % of the time; -1 saves none.", -1, 100_000)
    resume_from_timestring: bool = _files(False, "",
        "Resumes the run that resume_timestring names, if it is in the output folder; see the command line's --resume.")
    resume_timestring: str = _files("", "YYYYMMDDHHMMSS", "The run to resume: the time in its folder's name.",
        acts=on("resume_from_timestring"))
    r_upscale_video: bool = _files(False, "", "Deforum's switch of upscaling; upscale does the same.")
    r_upscale_factor: Literal["x2", "x3", "x4"] = _files("x2", "", "r_upscale_video: the factor.",
        acts=on("r_upscale_video"))
    r_upscale_model: str = _files("realesr-animevideov3", "", "r_upscale_video: the upscaler, as upscaler.",
        acts=on("r_upscale_video"), path=True, words=" ".join((*UPSCALERS, *OLD_UPSCALERS)),
        models="upscaler")
    r_upscale_keep_imgs: bool = _files(True, "", "r_upscale_video: keeps the upscaled frames beside the film.",
        acts=on("r_upscale_video"))
    interpolate: int = _files(1, "times",
        "Frames of the film for each frame that is rendered: 2 puts one in between, at twice the frame rate, which "
        "makes motion smoother. 1 is off.", 1, 10)
    slow_motion: int = _files(1, "times",
        "Slow motion: the film lasts this many times as long. Use it with interpolate of the same number or more.",
        1, 10)
    interpolator: str = _files("auto", "name or path",
        "Makes the frames in between. flow moves the pixels of both frames along optical flow, and needs no files. "
        "raft does so with RAFT's flow, whose weights you fetch. A path is a TorchScript file of FILM or RIFE: it is a "
        "program that runs when it is loaded, so use only files that you trust. auto is raft on a graphics card where "
        "its weights are, and flow otherwise.",
        acts=_IN_BETWEEN, path=True, words="auto flow raft")
    interpolator_inputs: Literal["auto", "film", "rife", "plane", "number", "middle"] = _files("auto", "",
        "What the network in a TorchScript file is given. film: both frames, and the time in a tensor of 1x1. rife: "
        "both frames in one tensor, and the time in a plane. plane and number: both frames, and the time in a plane or "
        "as a number. middle: both frames, as it only makes the middle. auto tries them.",
        acts=_IN_BETWEEN)
    interpolate_keep_frames: bool = _files(False, "",
        "Writes the frames in between as pictures too.", acts=_IN_BETWEEN)
    frame_interpolation_use_upscaled: bool = _files(False, "",
        "With r_upscale_video: frames in between are made of the upscaled frames. Off, they are a film of their own.",
        acts=on("r_upscale_video") & _IN_BETWEEN)
    # fmt: on

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, px. Raises ValueError before `build.prepare` has set those not given."""
        if self.width is None or self.height is None:
            raise ValueError("width or height is None: the size is known once the model is, see deforum.build.prepare")
        return self.width, self.height

    @property
    def finishes(self) -> bool:
        """Whether frames are finished before they are written."""
        by_itself = self.model == "embedded" and PROFILES[self.profile].finishes_frames
        return self.finish == "embedded" or (self.finish == "auto" and by_itself)

    @property
    def moves_grid(self) -> bool:
        """Whether the grid of the latents moves from frame to frame."""
        by_itself = self.model == "embedded" and PROFILES[self.profile].moves_grid
        wanted = self.latent_grid == "moving" or (self.latent_grid == "auto" and by_itself)
        return wanted and self.mode.goes_on

    @property
    def moves_noise(self) -> bool:
        """Whether the noise of the seed moves with the picture."""
        wanted = self.noise_follows_camera
        if wanted is None:
            by_itself = self.model == "embedded" and PROFILES[self.profile].noise_follows
            wanted = by_itself and self.seed_behavior == "fixed"
        return wanted and self.mode.goes_on

    @property
    def gains_motion(self) -> bool:
        """Whether the gain of the motion is wanted, as far as the model and the profile decide it."""
        by_itself = self.model == "embedded" and PROFILES[self.profile].gains_motion
        return self.motion_gain == "on" or (self.motion_gain == "auto" and by_itself)

    @property
    def sound_setting(self) -> str:
        """The setting that names the file of the film's sound; "" for a film without sound."""
        match self.add_soundtrack:
            case "File":
                return "soundtrack_path"
            case "Init Video":
                return "video_init_path"
            case "auto" if self.audio:
                return "video_init_path" if self.audio == "clip" else "audio"
        return ""

    @property
    def written_size(self) -> tuple[int, int]:
        """Width and height of the frames that are written, px; `size` is that of the animation."""
        factor = FINISHING_FACTOR if self.finishes else 1
        return factor * self.size[0], factor * self.size[1]

    @property
    def chains(self) -> tuple[tuple[Step, ...], ...]:
        """The steps behind the render; each chain begins with the frames of the run."""
        larger: list[Step] = []
        if self.upscale is not None:
            larger = [Upscale(self.upscale, self.upscaler)]
        elif self.r_upscale_video:
            upscaler = OLD_UPSCALERS.get(self.r_upscale_model, self.r_upscale_model)
            larger = [Upscale(float(self.r_upscale_factor[1:]), upscaler, keep=self.r_upscale_keep_imgs)]
        between: list[Step] = []
        if self.interpolate > 1 or self.slow_motion > 1:
            between = [Interpolate(self.interpolate, self.slow_motion, interpolator=self.interpolator,
                                   inputs=self.interpolator_inputs, loop=self.loops,
                                   keep=self.interpolate_keep_frames)]  # fmt: skip
        is_apart = larger and between and self.upscale is None and not self.frame_interpolation_use_upscaled
        chains = [larger, [*between, *self.post.steps]] if is_apart else [[*larger, *between, *self.post.steps]]
        return tuple(tuple(chain) for chain in chains if chain)

    @property
    def has_keyframe_strength(self) -> bool:
        """Whether keyframes have a strength of their own. A Parseq manifest's strength is that of all frames."""
        theirs = PROFILES[self.profile].keyframes_have_their_strength
        by_parseq = self.parseq is not None and (not theirs or "strength" in self.parseq.settings)
        return self.mode.goes_on and self.keyframe_distribution != "Off" and not by_parseq

    @property
    def has_in_betweens(self) -> bool:
        """Whether some frames are not diffused, but moved and blended."""
        return self.mode.goes_on and (self.cadence > 1 or self.keyframe_distribution != "Off")

    @property
    def loops(self) -> bool:
        """Whether the last frame leads to the first one."""
        return self.loop and not self.mode.reads_clip and self.first_frame == 0

    @property
    def ends_at_picture(self) -> bool:
        """Whether the last frame is painted from end_image."""
        return self.mode.goes_on and self.end_image is not None

    @property
    def has_ending(self) -> bool:
        """Whether the last frames are painted towards a picture."""
        return self.mode.goes_on and self.max_frames > 1 and (self.loops or self.ends_at_picture)

    @property
    def keys_on_time(self) -> bool:
        """Whether a diffused frame is shown unblended at its own index."""
        own = self.mode.goes_on and (self.keyframe_distribution != "Off" or self.has_ending)
        return PROFILES[self.profile].keys_on_time or own

    @property
    def blending(self) -> Literal["hold", "linear", "spherical"]:
        """How prompts blend: `prompt_blend`, or the mode's own default where it is None."""
        return self.prompt_blend or self.mode.prompt_blend

    def __repr__(self) -> str:
        """Show only what differs from the defaults."""
        plain, defaults = Settings(), default_params()
        params = {name: value for name, value in self.params.items() if value != getattr(defaults, name)}
        options = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) != getattr(plain, name)}
        shown = [f"{name}={getattr(value, 'text', value)!r}" for name, value in (options | params).items()]
        units = [f"control_units={self.control_units!r}"] if self.control_units else []
        return f"Settings({', '.join([*shown, *units])})"

    @property
    def first_vae(self) -> str:
        """The autoencoder that `vae` names at its first keyframe; empty: the model's own."""
        return self.vae.keyframes[0].value or ""

    @property
    def is_lenient(self) -> bool:
        """Whether a render tolerates missing files and values out of range, as Deforum does."""
        return self.profile == "deforum"

    @property
    def mode(self) -> ModeFacts:
        """The facts of the animation mode."""
        return MODES[self.animation_mode]

    @property
    def renews_colors(self) -> bool:
        """Whether what colours are held to is renewed where the prompt changes (color_renewal)."""
        holds = self.mode.goes_on and self.color_coherence in ("HSV", "LAB", "RGB") and not self.legacy_colormatch
        return holds and PROFILES[self.profile].colors_follow_prompts


OPTIONS: Mapping[str, Declaration] = declarations(Settings)
DECLARATIONS: Mapping[str, Declaration] = {**OPTIONS, **PARAMS}
"""Every setting by name, without those of ControlNet units."""
