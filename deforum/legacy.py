"""Deforum's own settings files (JSON), translated into the names and values of this renderer.

Files come from the A1111 extension (2022 to 2024), its Forge fork, deforum-studio and the original notebook. Where a
name means something else there than here (`strength` is that of the first frame), Deforum's meaning holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deforum import document
from deforum.document import Node

DISSOLVED: Mapping[str, str] = {
    "enable_steps_scheduling": "steps takes a schedule as well as a number",
    "enable_sampler_scheduling": "sampler takes a schedule as well as a name",
    "enable_checkpoint_scheduling": "a checkpoint schedule acts when it is given",
    "enable_clipskip_scheduling": "clip_skip acts when it is given",
    "enable_noise_multiplier_scheduling": "noise_multiplier: 1 is neutral",
    "enable_subseed_scheduling": "subseed_strength: 0 is off",
    "enable_ddim_eta_scheduling": "ddim_eta acts when it is given",
    "enable_ancestral_eta_scheduling": "ancestral_eta acts when it is given",
    "use_init": "init_image acts when it is given; null is none",
}
"""Switches of Deforum's that a value of another setting takes the place of."""

FOREIGN: Mapping[str, str] = {
    "show_info_on_ui": "a setting of the web UI",
    "motion_preview_mode": "a setting of the web UI",
    "store_frames_in_ram": "frames are never held in memory",
    "init_image_box": "a field of the web UI",
    "image_path": "a field of the web UI",
    "init_sample": "a field of the web UI",
    "sd_model_hash": "a stamp of the program that wrote the file",
    "deforum_git_commit_id": "a stamp of the program that wrote the file",
    "fetched_parseq_manifest_summary": "a stamp of the program that wrote the file",
}
"""Names that Deforum's files have and that say nothing to a renderer."""


@dataclass(frozen=True)
class Translation:
    """Settings by name, each with what the file calls it and its value; and what a person should know."""

    given: Mapping[str, tuple[str, Node]]
    notes: tuple[str, ...]


def translate(root: document.Mapping) -> Translation:
    """Translate a file of Deforum's."""
    raise NotImplementedError
