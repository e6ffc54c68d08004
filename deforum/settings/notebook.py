"""Names and habits of the files of Deforum's notebook (2022 to 2023) that the web UI's files do not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deforum.settings import document
from deforum.settings.document import Scalar

OFF = ("0", "0.0", "false", "none", "null", "")

HYBRID, HYBRID_NOW = "hybrid_video_", "hybrid_"
"""Beginnings of the names of hybrid video: in the notebook, and in all later files."""

HYBRID_DEFAULTS: Mapping[str, str] = {
    "hybrid_flow_method": "Farneback",
    "hybrid_comp_alpha_schedule": "0:(1)",
}
"""Defaults of the notebook's hybrid video that differ from those of later files, by later names."""


@dataclass(frozen=True)
class Idle:
    """Names without effect on a render here."""

    names: str
    """Separated by spaces."""
    words: str = ""
    """What the user is told where one has a value that is not `neutral`; "": nothing."""
    neutral: tuple[str, ...] = OFF


NOT_HERE = "of the notebook is not supported"

IDLE: tuple[Idle, ...] = (
    Idle(
        """n_samples save_samples save_settings show_sample_per_step grid_rows display_samples C f cond_prompts
        uncond_prompts timestring seed_internal log_weighted_subprompts
        init_latent init_c mask_sample adabins_depth_weight interpolate_key_frames interpolate_x_frames bpm
        schedule_events save_sample exposure_target colormatch_image colormatch_n_colors ignore_sat_weight clip_name
        cutn cut_pow init_mse_image gradient_wrt gradient_add_to decode_method grad_threshold_type
        clamp_grad_threshold clamp_start clamp_stop cond_uncond_sync clamp_schedule settings_file"""
    ),
    Idle("n_batch", "one run is rendered; render the file again for another one", ("1", *OFF)),
    Idle("filename_format", "frames are named by their number", ("{timestring}_{index}_{prompt}.png", "")),
    Idle("make_grid", "no grid of the pictures is made"),
    Idle("save_sample_per_step", "the pictures of single steps are not written"),
    Idle("dynamic_threshold static_threshold", f"limiting the latents' values {NOT_HERE}"),
    Idle("mean_scale var_scale", f"guidance towards a mean and a variance of colours {NOT_HERE}"),
    Idle("exposure_scale", f"guidance towards an exposure {NOT_HERE}"),
    Idle("colormatch_scale", f"guidance towards a palette {NOT_HERE}"),
    Idle("clip_scale", f"guidance by CLIP {NOT_HERE}"),
    Idle("aesthetics_scale", f"guidance towards an aesthetic score {NOT_HERE}"),
    Idle("init_mse_scale hybrid_use_video_as_mse_image", f"guidance towards an init image {NOT_HERE}"),
    Idle("blue_scale", f"guidance towards blue {NOT_HERE}"),
)

IDLE_BY_NAME: Mapping[str, Idle] = {name: row for row in IDLE for name in row.names.split()}


def evenly_keyed(prompts: document.Mapping, between: int) -> tuple[document.Mapping, int]:
    """Place prompts `between` frames apart, in the order of the file, whatever their keyframes.

    As the notebook's Interpolation mode does with interpolate_key_frames off: also returns the number of frames, which
    ends with the last prompt.
    """
    entries = tuple((Scalar(str(i * (between + 1)), key.place), text) for i, (key, text) in enumerate(prompts.entries))
    return document.Mapping(entries, prompts.place), (len(entries) - 1) * (between + 1) + 1


def keyed_from_zero(prompts: document.Mapping) -> tuple[document.Mapping, int] | None:
    """Move ascending whole keyframes so that the first is 0; also return the number of frames up to the last one.

    As the notebook's Interpolation mode does with interpolate_key_frames on. None for other keyframes.
    """
    keys = [int(key.text) for key, _ in prompts.entries if key.text.isdecimal()]
    if len(keys) != len(prompts.entries) or keys != sorted(set(keys)):
        return None
    entries = tuple(
        (Scalar(str(at - keys[0]), key.place), text) for at, (key, text) in zip(keys, prompts.entries, strict=True)
    )
    return document.Mapping(entries, prompts.place), keys[-1] - keys[0] + 1
