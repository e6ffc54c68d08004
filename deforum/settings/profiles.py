"""Profiles: the differences between Deforum's behaviour and the corrected one, as a table with two rows.

Only differences that existing files rely on are listed (rows "P" of the study of Deforum's behaviour). Plain bugs of
Deforum are fixed in both profiles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Behaviours that a profile selects; each field names the corrected one, so `False` is Deforum's."""

    name: str
    size_of_model: bool
    """Width and height that are not given are those that the model was trained at. (Deforum: 512x512.)"""
    flip_keeps_translation: bool
    """2D: with the perspective flip on, translation still acts. (Deforum: it has no effect.)"""
    keys_on_time: bool
    """Cadence: the frame diffused at k is shown unblended at k. (Deforum: blended in from k on, alone at k+C-1.)"""
    keyframes_from_0: bool
    """keyframe_distribution: the frame where a prompt begins is diffused. (Deforum's fork: the one before.)"""
    keyframes_have_their_strength: bool
    """keyframe_strength is that of keyframes. (Deforum's fork: that of all other frames.)"""
    in_betweens_follow: bool
    """optical_flow_cadence: auto follows the flow between diffused frames. (Deforum: they fade.)"""
    true_color_channels: bool
    """Colour match in HSV and LAB, and noise, use the right channels. (Deforum: red and blue are swapped.)"""
    float_color: bool
    """Colour match keeps fractions. (Deforum: truncated to 8 bits, which darkens a little each time.)"""
    init_is_color_sample: bool
    """Colours are matched to those of the init image, if there is one. (Deforum: to the moved picture of frame 1.)"""
    colors_follow_prompts: bool
    """The colour reference is renewed where the prompt changes. (Deforum: day stays day.)"""
    full_iter_groups: bool
    """Seed behaviour iter with N: N frames per seed. (Deforum: one of the first, then N of each.)"""
    exact_step_count: bool
    """Steps run = steps - strength * steps. (Deforum in the A1111 web UI: one more, from one noise level higher; DDIM,
    PLMS and UniPC walk over timesteps, see `diffusion.sampling.paths`.)"""
    fills_prompts: bool
    """The shorter of prompt and negative prompt is filled with empty chunks. (Deforum: each has its own length.)"""
    true_latents: bool
    """Latents are corrected by their decoded picture. (Deforum: each pass through the autoencoder loses detail.)"""
    noise_per_frame: bool
    """Noise added to frames differs in each frame even with a fixed seed. (Deforum: it depends on the seed only.)"""
    perlin_w_across: bool
    """perlin_w counts the noise's cells across, perlin_h down. (Deforum: perlin_w down, perlin_h across.)"""
    guides_swing_from_keyframe: bool
    """Guided images: the phase of the blend counts from each keyframe. (Deforum: from frame 0, so that it jumps.)"""
    clip_keeps_max_frames: bool
    """A clip never makes an animation longer than max_frames. (Deforum: the animation is as long as the clip.)"""
    depth_steady: bool
    """3D: depth is scaled once and smoothed over time. (Deforum: normalised and equalised in each frame.)"""
    physical_camera: bool
    """3D: pixels are back-projected with true intrinsics. (Deforum: a slab of points between -1 and 1.)"""
    true_mask_adjustment: bool
    """Mask contrast changes contrast, mask brightness brightness. (Deforum: the two are swapped.)"""
    black_mask_keeps: bool
    """An all-black mask paints nothing. (Deforum: everything.)"""
    first_frame_is_composed: bool
    """Hybrid video: the composite After Generation is applied to frame 0 too. (Deforum: from frame 1 on.)"""
    flow_is_bicubic: bool
    """Hybrid video: the warp by a clip's flow is bicubic. (Deforum: bilinear, which softens each time.)"""
    doubtful_flow_rests: bool
    """Hybrid video: unreliable flow of a clip is set to 0. (Deforum: it is multiplied by -0.75.)"""
    finishes_frames: bool
    """Frames of the embedded model are finished before they are written. (Deforum: written as they are.)"""
    parseq_as_drawn: bool
    """A Parseq manifest's zoom, and its perspective flip, act as drawn. (Deforum: the zoom of a frame is 1 + the change
    of its curve, and the flip is off.)"""
    moves_grid: bool
    """The embedded model's latents have another grid in each frame while the camera moves. (Deforum: always one.)"""
    noise_follows: bool
    """The embedded model: the noise of a fixed seed moves with the picture. (Deforum: it stays where it is.)"""
    gains_motion: bool
    """With the embedded model as much motion is seen as is set. (Deforum: pictures are moved as set.)"""


PROFILES: dict[str, Profile] = {
    "corrected": Profile(
        name="corrected",
        size_of_model=True,
        flip_keeps_translation=True,
        keys_on_time=True,
        keyframes_from_0=True,
        keyframes_have_their_strength=True,
        in_betweens_follow=True,
        true_color_channels=True,
        float_color=True,
        init_is_color_sample=True,
        colors_follow_prompts=True,
        full_iter_groups=True,
        exact_step_count=True,
        fills_prompts=True,
        true_latents=True,
        noise_per_frame=True,
        perlin_w_across=True,
        guides_swing_from_keyframe=True,
        clip_keeps_max_frames=True,
        depth_steady=True,
        physical_camera=True,
        true_mask_adjustment=True,
        black_mask_keeps=True,
        first_frame_is_composed=True,
        flow_is_bicubic=True,
        doubtful_flow_rests=True,
        finishes_frames=True,
        parseq_as_drawn=True,
        moves_grid=True,
        noise_follows=True,
        gains_motion=True,
    ),
    "deforum": Profile(
        name="deforum",
        size_of_model=False,
        flip_keeps_translation=False,
        keys_on_time=False,
        keyframes_from_0=False,
        keyframes_have_their_strength=False,
        in_betweens_follow=False,
        true_color_channels=False,
        float_color=False,
        init_is_color_sample=False,
        colors_follow_prompts=False,
        full_iter_groups=False,
        exact_step_count=False,
        fills_prompts=False,
        true_latents=False,
        noise_per_frame=False,
        perlin_w_across=False,
        guides_swing_from_keyframe=False,
        clip_keeps_max_frames=False,
        depth_steady=False,
        physical_camera=False,
        true_mask_adjustment=False,
        black_mask_keeps=False,
        first_frame_is_composed=False,
        flow_is_bicubic=False,
        doubtful_flow_rests=False,
        finishes_frames=False,
        parseq_as_drawn=False,
        moves_grid=False,
        noise_follows=False,
        gains_motion=False,
    ),
}
