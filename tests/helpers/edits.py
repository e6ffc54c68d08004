"""Random edits of runs, and a stand-in for the model that paints differently by all that it is told."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from deforum.diffusion.pixel_strength import Paint
from deforum.pixels.image import Image
from deforum.timeline.frame import Frame
from tests.animation.scenarios import ALL, FRAMES, PLAIN, Changes, stand_in

NAMES = [
    *(f"{mode} {pace} plain" for mode in ("2D", "3D") for pace in
      ("corrected/1", "corrected/3", "deforum/1", "deforum/3")),
    "2D corrected/3 flow cadence", "2D deforum/3 mask", "3D corrected/3 mask", "2D corrected/3 moving noise",
    "2D corrected/1 colours of the init image", "3D deforum/3 redo and guides", "3D corrected/3 repaint",
    "Interpolation", "Video Input", "Video Input with feedback",
    "2D loop", "3D loop", "2D to a picture", "2D keyframes",
]  # fmt: skip
"""Runs that are edited."""

SCHEDULES: dict[str, Sequence[tuple[str, str]]] = {
    "2D": [("zoom", "1.2"), ("angle", "-20"), ("translation_x", "9"), ("noise", "0.3"), ("contrast", "1.4"),
           ("strength", "0.2"), ("steps", "9"), ("cfg_scale", "12"), ("symmetry_strength", "0.9"),
           ("echo_amount", "0.6"), ("antiblur_amount", "2.5")],
    "3D": [("translation_z", "90"), ("rotation_3d_y", "-9"), ("fov", "100"), ("strength", "0.2"), ("noise", "0.3"),
           ("far", "900"), ("echo_amount", "0.6"), ("cfg_scale", "12")],
    "Interpolation": [("cfg_scale", "12"), ("steps", "9"), ("echo_amount", "0.6")],
    "Video Input": [("cfg_scale", "12"), ("strength", "0.2"), ("echo_amount", "0.6")],
}  # fmt: skip
CONSTANTS: dict[str, Sequence[tuple[str, object]]] = {
    "2D": [("border", "wrap"), ("noise_type", "uniform"), ("seed", 12), ("color_force_grayscale", True),
           ("noise_keeps_mean", True), ("perlin_octaves", 1)],
    "3D": [("padding_mode", "reflection"), ("seed", 12), ("sampling_mode", "nearest"), ("use_depth_warping", False)],
    "Interpolation": [("seed", 12), ("prompt_blend", "hold")],
    "Video Input": [("seed", 12), ("extract_nth_frame", 2)],
}  # fmt: skip


@dataclass(frozen=True)
class RandomEdit:
    """Settings of a run, and those that are edited."""

    name: str
    before: Changes
    after: Changes
    what: str


def random_edit(number: int) -> RandomEdit:
    """Make an edit of one of NAMES: a schedule from a frame on or at one, prompts, seeds, a constant, the length."""
    chance = random.Random(number)
    name = NAMES[number % len(NAMES)]
    before: Changes = PLAIN | ALL[name]
    mode = next(mode for mode in ("Video Input", "Interpolation", "3D", "2D") if name.startswith(mode))
    frame = chance.randrange(FRAMES)
    kind = chance.choice(["schedule", "schedule", "pulse", "pulse", "prompt", "constant", "length", "subseed"])
    if kind in ("schedule", "pulse"):
        setting, value = chance.choice(SCHEDULES[mode])
        usual = {"zoom": 1, "contrast": 1, "strength": 0.65, "noise": 0.065, "cfg_scale": 7, "fov": 70, "far": 10000,
                 "steps": 2, "symmetry_strength": 1, "antiblur_amount": 0.1}  # fmt: skip
        then = before.get(setting, usual.get(setting, 0))
        at = f"t >= {frame}" if kind == "schedule" else f"t == {frame}"
        after: Changes = {setting: f'"where({at}, {value}, {then})"'}
        if setting == "symmetry_strength":
            before = before | {"symmetry": "mirror x"}
    elif kind == "prompt":
        after = {"prompts": f'{{0: "a", {max(frame, 1)}: "c", 9: "b"}}'}
    elif kind == "subseed":
        after = {"subseed_strength": f'"where(t >= {frame}, 0.5, 0)"', "subseed": 3}
    elif kind == "length":
        after = {"max_frames": chance.choice([FRAMES - 2, FRAMES - 1, FRAMES + 1, FRAMES + 3])}
        if "Video Input" in name or "mask" in name:
            after = {"max_frames": FRAMES - 2}
    else:
        setting, constant = chance.choice(CONSTANTS[mode])
        after = {setting: constant}
    return RandomEdit(name, before, before | after, f"{name}, {after}")


def painted(
    inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
) -> list[Image]:
    """Paint as `stand_in`, in colours that depend on the prompts and the values of diffusion."""
    varied = [frame if frame.params.subseed_strength else replace(frame, subseed=0) for frame in frames]
    pictures = stand_in(inits, varied, paints=paints)
    for place, frame in enumerate(frames):
        p = frame.params
        told = repr((frame.prompts, frame.sampler, p.steps, p.cfg_scale, p.subseed_strength and frame.subseed))
        color = torch.tensor(list(hashlib.sha256(told.encode()).digest()[:3])).reshape(3, 1, 1) / 255
        paint = None if paints is None else paints[place]
        share = 0.2 if paint is None else 0.2 * (1 - paint.strength)
        pictures[place] = torch.lerp(pictures[place], color.expand_as(pictures[place]), share)
    return pictures
