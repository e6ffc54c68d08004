"""Every parameter with a value per frame, declared once.

`Params` is one dataclass for the three stages of a parameter: its schedule in the settings, its curve on the
timeline, its value in a frame. `map` goes from one stage to the next.
"""

# ruff: noqa: RUF009 (the calls in the dataclass make its fields, like dataclasses.field)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from deforum.settings.declare import Declaration, chosen, declarations, on, param, unless, used, when
from deforum.settings.modes import FLAT, FROM_CLIP, GOING_ON, WITH_DEPTH
from schedules import NumberSchedule, parse_number

T = TypeVar("T")
U = TypeVar("U")

RENEWED = when(
    "color_coherence is HSV, LAB or RGB, legacy_colormatch is off and profile is corrected",
    lambda settings, sampled: settings.renews_colors,
)
"""Where the colour reference of a run is renewed when the prompt changes."""

DISTRIBUTED = when(
    "keyframe_distribution is not Off",
    lambda settings, sampled: settings.mode.goes_on and settings.keyframe_distribution != "Off",
)
"""Where keyframes decide which frames are diffused."""

SHAKEN = when(
    "shake_name or shake_file is given",
    lambda settings, sampled: settings.shake_name.strip().casefold() not in ("", "none") or bool(settings.shake_file),
)

# Section and modes that the parameters below share. When a feature is implemented, remove its `pending` here.
_flat = partial(param, section="motion", modes=FLAT)
_motion = partial(param, section="motion", modes=GOING_ON)
_camera = partial(param, section="camera", modes=WITH_DEPTH)
_diffusion = partial(param, section="diffusion")
_between = partial(param, section="feedback", modes=GOING_ON)
_seeds = partial(param, section="seeds")
_shown = partial(param, section="feedback")
_video = partial(param, section="video_input", modes=FROM_CLIP)
_hybrid = partial(param, section="hybrid", modes=GOING_ON)
_guided = partial(param, section="guided", modes=GOING_ON)


@dataclass(frozen=True)
class Params(Generic[T]):
    """One value of type T for each parameter."""

    # fmt: off
    angle: T = _flat("0", "degrees/frame",
        "Turns the picture about the transform centre; positive is counter-clockwise.")
    zoom: T = _flat("1.0025+0.002*sin(1.25*3.14*t/30)", "factor/frame",
        "Zooms about the transform centre: above 1 zooms in, below 1 zooms out, negative turns it over; try 1.02.",
        -100, 100, least=0.01)
    translation_x: T = _motion("0", "px/frame (3D: 1/200 scene unit)",
        "2D: moves the picture to the right. 3D: moves the camera to the right, and so the picture to the left.")
    translation_y: T = _motion("0", "px/frame (3D: 1/200 scene unit)", "Moves the picture down.")
    transform_center_x: T = _flat("0.5", "share of the width",
        "Horizontal centre of angle and zoom: 0 is the left edge, 1 the right.")
    transform_center_y: T = _flat("0.5", "share of the height",
        "Vertical centre of angle and zoom: 0 is the upper edge, 1 the lower.")
    perspective_flip_theta: T = _motion("0", "degrees", "Perspective flip: rotation in the picture plane.",
        acts=on("enable_perspective_flip"))
    perspective_flip_phi: T = _motion("0", "degrees", "Perspective flip: tilt about the horizontal axis.",
        acts=on("enable_perspective_flip"))
    perspective_flip_gamma: T = _motion("0", "degrees", "Perspective flip: turn about the vertical axis.",
        acts=on("enable_perspective_flip"))
    perspective_flip_fv: T = _motion("53", "degrees",
        "Perspective flip: field of view of its camera; try 30 to 160.", 1, 179,
        acts=on("enable_perspective_flip"))

    translation_z: T = _camera("1.75", "1/200 scene unit per frame", "Moves the camera forward.")
    rotation_3d_x: T = _camera("0", "degrees/frame", "Tilts the camera up; the picture moves down.")
    rotation_3d_y: T = _camera("0", "degrees/frame", "Turns the camera to the right; the picture moves to the left.")
    rotation_3d_z: T = _camera("0", "degrees/frame", "Rolls the camera; the picture turns counter-clockwise.")
    fov: T = _camera("70", "degrees",
        "Field of view; must not be 0. At a smaller value the same translation moves the picture further.",
        -180, 180, old="fov_schedule", least=1)
    aspect_ratio: T = _camera("1", "",
        "Width over height of the camera's picture.", 0.01, 100, old="aspect_ratio_schedule")
    near: T = _camera("200", "1/200 scene unit",
        "Distance of the nearest things, in every picture: a long flight keeps its speed. Ignored with profile: "
        "deforum.", 1, 1e6, old="near_schedule near_plane")
    far: T = _camera("10000", "1/200 scene unit",
        "Distance of the farthest things, in every picture. Ignored with profile: deforum.",
        1, 1e6, old="far_schedule far_plane")

    shake_intensity: T = _motion("1", "factor",
        "Strength of the camera shake; 0 is off. Try 0.5 to 2.", 0, 1000, acts=SHAKEN)
    shake_speed: T = _motion("1", "factor",
        "Speed of the camera shake: 2 is twice as fast, 0 holds the camera still.", 0, 1000, acts=SHAKEN)

    disocclusion_strength: T = _camera("0.35", "share",
        "disocclusion repaint: strength in newly visible areas; at most the frame's own strength.", 0, 1)
    disocclusion_noise: T = _camera("0.05", "share",
        "disocclusion repaint: noise added to newly visible areas before diffusion.", 0, 1)

    strength: T = _diffusion("0.65", "share",
        "How much of the previous frame survives diffusion; denoise is 1 - strength.",
        0, 1, old="strength_schedule")
    steps: T = _diffusion("25", "steps",
        "Denoising steps of a full diffusion; steps * (1 - strength) of them are run.",
        1, 10_000, old="steps_schedule")
    cfg_scale: T = _diffusion("7", "",
        "CFG scale: how closely the picture follows the prompt; try 5 to 9.", 0, old="cfg_scale_schedule scale")
    guidance_rescale: T = _diffusion("0", "share",
        "Takes back the contrast that a high cfg_scale adds: how far the guided prediction is scaled to the spread of "
        "the prompt's own. 0 is off; try 0.7 where pictures are burnt. Costs no evaluation.", 0, 1)
    pag_scale: T = _diffusion("0", "",
        "Perturbed attention guidance: pushes the picture away from one painted without self-attention, which firms up "
        "structure, also at a low cfg_scale. Try 3. It costs one more evaluation in every step. For Stable Diffusion "
        "1, 2 and XL. 0 is off.", 0, 20)
    freeu_b1: T = _diffusion("1", "factor",
        "FreeU: scales half of the coarsest features of the UNet, which makes shapes firmer; try 1.5 with Stable "
        "Diffusion 1, 1.4 with 2, 1.3 with XL. 1 is off.", 0, 3)
    freeu_b2: T = _diffusion("1", "factor",
        "FreeU: the same at the next level; try 1.6 with Stable Diffusion 1 and 2, 1.4 with XL. 1 is off.", 0, 3)
    freeu_s1: T = _diffusion("1", "factor",
        "FreeU: scales the low frequencies of what skips the coarsest level; try 0.9. 1 is off.", 0, 3)
    freeu_s2: T = _diffusion("1", "factor", "FreeU: the same at the next level; try 0.2. 1 is off.", 0, 3)
    hires_scale: T = _diffusion("0", "factor",
        "High-resolution fix: above 1, each frame is painted at its size divided by this first, enlarged, and painted "
        "again with hires_strength: for frames larger than the model was trained on, where subjects repeat. Try 2. "
        "It costs the smaller pass beside the steps of the second one. 0 is off.", 0, 8)
    hires_strength: T = _diffusion("0.5", "share",
        "High-resolution fix: how much of the enlarged picture the second pass keeps; try 0.4 to 0.7.", 0, 1,
        acts=used("hires_scale"))
    hires_steps: T = _diffusion("0", "steps",
        "High-resolution fix: steps that the second pass counts its own from; 0 is steps.", 0, 1000,
        acts=used("hires_scale"))
    detail_strength: T = _diffusion("0.6", "share",
        "Detail pass: how much of the painted frame it keeps under the mask.", 0, 1)
    detail_steps: T = _diffusion("0", "steps",
        "Detail pass: steps that it counts its own from; 0 is steps.", 0, 1000)
    noise_multiplier: T = _diffusion("1.05", "factor",
        "Scales the noise that img2img starts from; 1 is neutral, higher gives more detail.",
        0, old="noise_multiplier_schedule")
    clip_skip: T = _diffusion("1", "layers",
        "Text encoder layer that is used, counted from the end; 1 is the last. A model that was trained with an "
        "earlier layer uses that one at least, so that 1 and 2 can be the same.",
        1, 12, old="clipskip_schedule clipskip")
    ddim_eta: T = _diffusion("0", "", "DDIM: share of fresh noise in each step.", 0, 1, old="ddim_eta_schedule")
    ancestral_eta: T = _diffusion("1", "",
        "Ancestral samplers (Euler a): share of fresh noise in each step.", 0, old="ancestral_eta_schedule")
    pix2pix_img_cfg_scale: T = _diffusion("1.5", "",
        "How closely instruct-pix2pix models follow the previous frame.",
        0, old="pix2pix_img_cfg_scale_schedule", pending="instruct-pix2pix models")
    keyframe_strength: T = _diffusion("0.5", "share",
        "keyframe_distribution: strength at the frames where a prompt begins; lower makes a fresher picture. With "
        "profile: deforum it is that of all other frames, as in the Forge fork.",
        0, 1, old="keyframe_strength_schedule", acts=when(
            "keyframe_distribution is not Off, and no Parseq manifest has the strength",
            lambda settings, sampled: settings.has_keyframe_strength))

    seed_schedule: T = _seeds('0:(s), 1:(-1), "max_f-2":(-1), "max_f-1":(s)', "",
        "seed_behavior schedule: the seed of each frame; -1 is random.", -(2**53), 2**53,
        acts=chosen("seed_behavior", "schedule"))
    subseed: T = _seeds("-1", "",
        "Seed of the variation noise that is mixed in; -1 is random in each frame.", -1, 2**53, old="subseed_schedule")
    subseed_strength: T = _seeds("0", "share",
        "How much of the subseed's noise is mixed in.", 0, 1, old="subseed_strength_schedule")

    noise: T = _between("0.065", "share",
        "Noise added to the previous frame before diffusion.", 0, 1, old="noise_schedule")
    contrast: T = _between("1", "factor",
        "Contrast of the previous frame before diffusion; 1 is neutral.", 0, old="contrast_schedule")
    antiblur_amount: T = _between("0.1", "factor",
        "Sharpening of the previous frame before diffusion; 0 is off.", 0, old="amount_schedule")
    antiblur_kernel: T = _between("5", "px",
        "Unsharp mask: width of the blur kernel; odd.", 1, 255, old="kernel_schedule", odd=True,
        acts=used("antiblur_amount"))
    antiblur_sigma: T = _between("1", "px", "Unsharp mask: standard deviation of the blur.", 0, old="sigma_schedule",
        acts=used("antiblur_amount"))
    antiblur_threshold: T = _between("0", "levels of 255",
        "Unsharp mask: differences below this are not sharpened.",
        0, 255, old="threshold_schedule", acts=used("antiblur_amount"))
    detail_coherence: T = _between("0", "share",
        "How far each painted frame is sharpened or softened to match the fine detail of the color_coherence "
        "reference. "
        "Keeps long runs from turning blurry or crisp. 0 is off.",
        0, 1, acts=unless("color_coherence", "None"))
    color_renewal: T = _between("12", "painted frames",
        "Lets colours follow the prompts: what color_coherence HSV, LAB or RGB holds colours (and detail_coherence "
        "detail) to is renewed by the share of the prompt that changed within the last so many painted frames. "
        "0 keeps the colours of the first frame. Ignored with profile: deforum.",
        0, 100_000, acts=RENEWED)
    cadence_flow_factor: T = _between("1", "factor",
        "optical_flow_cadence: scales the flow from the last diffused frame; 1 is the flow as found, 0 only fades.",
        old="cadence_flow_factor_schedule")
    redo_flow_factor: T = _between("1", "factor",
        "optical_flow_redo_generation: scales the flow; 1 is the flow as found, 0 turns the second diffusion off.",
        old="redo_flow_factor_schedule")

    symmetry_segments: T = _between("6", "segments",
        "symmetry kaleidoscope: number of pieces around the centre, a whole number. 6 is a star with three arms, 12 "
        "one with six; with an odd number each piece is mirrored in itself: 5 is a star with five arms.", 2, 360)
    symmetry_angle: T = _between("0", "degrees",
        "symmetry: turns the mirrors about their centre; positive is counter-clockwise. 0.5*t turns them slowly.")
    symmetry_center_x: T = _between("0.5", "share of the width",
        "symmetry: where the mirrors meet, 0 is the left edge, 1 the right.", 0, 1)
    symmetry_center_y: T = _between("0.5", "share of the height",
        "symmetry: where the mirrors meet, 0 is the upper edge, 1 the lower.", 0, 1)
    symmetry_strength: T = _between("1", "share",
        "symmetry: how much of the picture the mirror image replaces, each time a frame is painted or shown. 1 is "
        "fully symmetric, 0 is off; 0.3 leaves the picture visible beneath it.", 0, 1)

    echo_amount: T = _shown("0", "share",
        "How much of a trail of earlier frames is laid over each frame. The trail moves with the camera, so it shows "
        "what changes in the picture. 0 is off; try 0.5.", 0, 1)
    echo_decay: T = _shown("0.8", "share",
        "How much of the trail is left from one frame to the next: a trail of 0.8 is gone after about 10 frames, one "
        "of 0.95 after 45.", 0, 1)

    clip_feedback: T = _video("0", "share",
        "How much of the previous frame, moved with the clip, is mixed into each painted frame. 0.5 removes about half "
        "of the flicker; 0 paints each frame independently.", 0, 1)
    clip_feedback_init: T = _video("0", "share",
        "How much of the previous frame, moved with the clip, is mixed into the clip's frame before it is painted. "
        "Higher values carry the painting on and show less of the clip.", 0, 1)

    hybrid_comp_alpha: T = _hybrid("0.5", "share",
        "How much of the composite with the clip replaces the picture.", 0, 1, old="hybrid_comp_alpha_schedule")
    hybrid_comp_mask_blend_alpha: T = _hybrid("0.5", "share",
        "hybrid_comp_mask_type Blend: the clip's share in the brightness that makes the mask.",
        0, 1, old="hybrid_comp_mask_blend_alpha_schedule")
    hybrid_comp_mask_contrast: T = _hybrid("1", "factor",
        "Contrast of the composite mask about its mean; 1 is neutral.",
        0, 255, old="hybrid_comp_mask_contrast_schedule")
    hybrid_comp_mask_auto_contrast_cutoff_low: T = _hybrid("0", "%",
        "Automatic contrast: percentage of darkest pixels that become black.",
        0, 100, old="hybrid_comp_mask_auto_contrast_cutoff_low_schedule")
    hybrid_comp_mask_auto_contrast_cutoff_high: T = _hybrid("100", "%",
        "Automatic contrast: percentage above which pixels become white.",
        0, 100, old="hybrid_comp_mask_auto_contrast_cutoff_high_schedule")
    hybrid_flow_factor: T = _hybrid("1", "factor",
        "hybrid_motion Optical Flow: scales the motion.", old="hybrid_flow_factor_schedule")

    image_strength: T = _guided("0.75", "share",
        "Strength of every frame while guided images are on.", 0, 1, old="image_strength_schedule")
    blend_factor_max: T = _guided("0.35", "share",
        "Centre of the guided image's blended share, which goes from max - slope at the keyframe to "
        "max + 0.4 slope.", old="blendFactorMax")
    blend_factor_slope: T = _guided("0.25", "share",
        "How far the blended share varies around blend_factor_max.", old="blendFactorSlope")
    tweening_frames: T = _guided("20", "frames",
        "Frames over which the blended share varies; after that it is 0.07.", old="tweening_frames_schedule")
    color_correction_factor: T = _guided("0.075", "share",
        "How far painted colours are pulled from the previous frame's towards the guided image's.", 0, 1)
    image_keyframe_strength: T = _guided("0.2", "share",
        "keyframe_distribution: strength at the frames where a guided image begins.",
        0, 1, old="image_keyframe_strength_schedule", acts=on("use_looper") & DISTRIBUTED)
    # fmt: on

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, value) in the order of declaration."""
        return iter(vars(self).items())

    def map(self, fn: Callable[[str, T], U]) -> Params[U]:
        """Apply fn(name, value) to every parameter and return the results as `Params`."""
        return Params(**{name: fn(name, value) for name, value in self.items()})


PARAMS: Mapping[str, Declaration] = declarations(Params, NumberSchedule)


def default_params() -> Params[NumberSchedule]:
    """Return the default schedule of every parameter."""
    return Params(**{name: parse_number(each.default, name=name) for name, each in PARAMS.items()})
