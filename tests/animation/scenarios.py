"""Runs that are cut and gone on with: what the test renders at once, and a second process from written states.

    python -m tests.animation.scenarios FOLDER

goes on with every run that `begin` left in the folder, from each of its states.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from deforum.animation.parts import Memory, Moment
from deforum.animation.state import write_state
from deforum.build import Animation, build
from deforum.diffusion.pixel_strength import Paint
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.pixels.image import Image, from_array
from deforum.settings.options import Settings
from deforum.timeline.frame import Frame
from tests.helpers import ROOT, assembled, write_settings

CLIP = ROOT / "examples" / "clips" / "valley.mp4"
SIZE = 64
CELL = 8
FRAMES = 7

Changes = dict[str, object]

PLAIN: Changes = {
    "width": SIZE, "height": SIZE, "max_frames": FRAMES, "seed": 11, "steps": 2, "prompts": '{0: "a", 6: "b"}',
}  # fmt: skip
MODES: dict[str, Changes] = {
    "2D": {"zoom": "1.02 + 0.01*sin(t)", "angle": 3, "translation_x": "2*cos(t)"},
    "3D": {
        "animation_mode": "3D", "translation_z": 20, "translation_x": "6*sin(t)", "rotation_3d_y": 1.5,
        "fov": "60 + 2*t", "near": "150 + 20*t", "far": "6000 + 400*t",
    },
}  # fmt: skip
PACES: dict[str, Changes] = {
    f"{profile}/{cadence}": {"profile": profile, "cadence": cadence}
    for profile in ("corrected", "deforum")
    for cadence in (1, 3)
}
START: Changes = {"init_image": "init.png", "strength": 0.6}
MASK: Changes = {"use_mask": True, "mask_file": "mask.png", "mask_follows_camera": True, "full_res_mask": False}
FILM: Changes = {"video_init_path": CLIP, "extract_to_frame": FRAMES - 1}
FLOW: Changes = FILM | {
    "hybrid_motion": "Optical Flow", "hybrid_flow_method": "DIS Fine",
    "hybrid_flow_consistency": True, "hybrid_composite": "Before Motion", "hybrid_comp_mask_type": "Depth",
    "hybrid_use_first_frame_as_init_image": False,
}  # fmt: skip
NOISE: Changes = {"noise_follows_camera": True, "seed_behavior": "fixed"}

# fmt: off
FEATURES: dict[str, Changes] = {
    "plain": {"color_coherence": "None"},
    "flow cadence": {"optical_flow_cadence": "DIS Medium"},
    "hybrid flow": FLOW,
    "hybrid affine": FILM
    | {
        "hybrid_motion": "Affine", "hybrid_motion_use_prev_img": True, "hybrid_composite": "After Generation",
        "hybrid_comp_mask_type": "Difference",
    },
    "mask": START | MASK,
    "moving noise": NOISE,
    "colours of the init image": START | {"color_coherence": "HSV", "detail_coherence": 0.5},
    "colours of the moved picture":
        {"color_coherence": "RGB", "legacy_colormatch": True, "strength": "0.7*(t % 4 > 0)"},
    "colours of the clip": FLOW
    | {"color_coherence": "Video Input", "color_coherence_video_every_n_frames": 2, "hybrid_motion": "Perspective"},
    "redo and guides": {
        "diffusion_redo": 1, "optical_flow_redo_generation": "Farneback", "use_looper": True,
        "init_images": '{0: "init.png", 4: "mask.png"}', "noise_type": "uniform",
    },
    "everything": FLOW | START | MASK | NOISE
    | {
        "hybrid_flow_method": "DIS Medium", "hybrid_composite": "Normal", "optical_flow_cadence": "DIS Medium",
        "color_coherence": "LAB", "detail_coherence": 0.7, "diffusion_redo": 1, "full_res_mask": True,
        "enable_perspective_flip": True, "perspective_flip_phi": "3*sin(t)",
        "mask": '{0: "{init_mask}", 4: "{init_mask} & {depth}"}',
    },
}
IN_SPACE: dict[str, Changes] = {
    "repaint": {"disocclusion": "repaint", "disocclusion_noise": 0.3},
    "turn out of sight": {"rotation_3d_y": "where(t == 3, 75, 0)"},
    "stretch without depth": {"disocclusion": "stretch", "use_depth_warping": False},
    "everything": FEATURES["everything"] | {"disocclusion": "repaint"},
}
OTHER: dict[str, Changes] = {
    "Interpolation": {"animation_mode": "Interpolation", "batch_size": 2},
    "Video Input": FILM | {"animation_mode": "Video Input", "batch_size": 3},
    "Video Input under a mask": FILM
    | {"animation_mode": "Video Input", "batch_size": 4, "use_mask": True, "mask_file": "mask.png"},
    "Video Input with feedback": FILM
    | {"animation_mode": "Video Input", "clip_feedback": 0.5, "clip_feedback_init": 0.3, "color_coherence": "LAB"},
    "Video Input with feedback, as Deforum": FILM
    | {"animation_mode": "Video Input", "clip_feedback": 0.5, "profile": "deforum"},
}
ENDINGS: dict[str, Changes] = {
    "2D loop": MODES["2D"] | NOISE | {"loop": True, "cadence": 2, "ending_frames": 4, "shake_name": "THE_WEDDING"},
    "3D loop": MODES["3D"] | {"loop": True, "cadence": 3, "ending_frames": 5, "echo_amount": 0.3},
    "3D loop as Deforum": MODES["3D"] | {"loop": True, "cadence": 1, "profile": "deforum"},
    "2D to a picture": MODES["2D"] | {"end_image": "init.png", "cadence": 3, "ending_frames": 4},
    "3D to a picture": MODES["3D"] | {"end_image": "init.png", "cadence": 2, "end_strength": 0.5},
    "2D keyframes": MODES["2D"]
    | {"keyframe_distribution": "Additive", "cadence": 4, "profile": "deforum", "prompts": '{0: "a", 3: "b"}'},
}
# fmt: on
PAINTED: dict[str, Changes] = {
    "2D, painted by a model": MODES["2D"] | NOISE | {"cadence": 3},
    "3D, painted by a model": MODES["3D"] | FEATURES["everything"] | {"cadence": 2},
    "Video Input, painted by a model": OTHER["Video Input"] | {"sampler": "DPM++ 2M Karras", "cfg_scale": 3},
    "3D as Deforum, painted by a model": MODES["3D"] | {"profile": "deforum", "cadence": 2},
}
"""Those that the embedded model paints; a function stands in for it in the others."""


GOING_ON: dict[str, Changes] = {
    f"{mode} {pace} {feature}": MODES[mode] | PACES[pace] | changes
    for mode in MODES
    for pace in PACES
    for feature, changes in (FEATURES | (IN_SPACE if mode == "3D" else {})).items()
}
"""Every combination of mode, pace and feature."""

ALL: dict[str, Changes] = GOING_ON | OTHER | ENDINGS | PAINTED


def some() -> list[str]:
    """Choose runs: each feature once, by turns with either profile; both modes with either profile and cadence."""
    chosen = [f"{mode} {pace} plain" for mode, pace in zip(["2D", "3D", "3D", "2D"], PACES, strict=True)]
    chosen += ["2D deforum/3 everything", "3D corrected/3 everything"]
    for number, feature in enumerate(FEATURES):
        if feature not in ("plain", "everything"):
            one, other = ("3D", "2D") if number % 2 else ("2D", "3D")
            chosen.append(f"{one} corrected/3 {feature}" if number % 4 < 2 else f"{other} deforum/3 {feature}")
    chosen += [f"3D corrected/1 {feature}" for feature in IN_SPACE if feature != "everything"]
    return [*chosen, *OTHER, *list(ENDINGS)[1:2], *list(PAINTED)[:3]]


def texture(seed: int, index: int = 0, softness: float = 2) -> Image:
    """Make a soft random picture."""
    noise = np.random.default_rng((seed, index)).random((SIZE, SIZE, 3), np.float32)
    blurred = np.asarray(cv2.GaussianBlur(noise, (0, 0), softness), np.float32)
    return from_array((blurred - blurred.min()) / (blurred.max() - blurred.min()))


def stand_in(
    inits: Sequence[Image | None], frames: Sequence[Frame], *, paints: Sequence[Paint | None] | None = None
) -> list[Image]:
    """Paint from all that a model is told: the init, how much of it is kept where, the seed, and where its noise is."""
    paints = [None] * len(frames) if paints is None else paints
    return [_painted(*each) for each in zip(inits, frames, paints, strict=True)]


def _painted(init: Image | None, frame: Frame, paint: Paint | None) -> Image:
    fresh = texture(frame.seed, frame.subseed)
    if frame.noise_map is not None:
        numbers, spacing = frame.noise_map.numbers, frame.noise_map.spacing
        own = np.kron(np.random.default_rng(frame.seed).random(10**6, np.float32)[numbers], np.ones((spacing,) * 2))
        fresh = torch.lerp(fresh, torch.from_numpy(own.astype(np.float32))[:SIZE, :SIZE], 0.5)
    if init is None:
        return fresh
    kept = torch.tensor(frame.params.strength) if paint is None else paint.strength
    return torch.lerp(fresh, init, 0.4 + 0.6 * kept)


def settings_of(name: str, folder: Path, **changes: object) -> Settings:
    """Read the settings of a run; files that they name are made beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = np.zeros((SIZE, SIZE), np.uint8)
    levels[:, SIZE // 3 :] = 255
    cv2.imwrite(str(folder / "mask.png"), levels)
    cv2.imwrite(str(folder / "init.png"), (texture(5).permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    return load(write_settings(folder, PLAIN | ALL[name] | changes)).settings


def afterglow(image: Image, moment: Moment, trails: Memory) -> tuple[Image, Memory]:
    """Leave something of the pictures shown before in each that is shown: a `deforum.animation.parts.Show`."""
    before, count = trails.get("glow"), trails.get("count", 0)
    assert isinstance(count, int)
    glow = torch.lerp(image, before, 1 / (count + 3)) if isinstance(before, torch.Tensor) else image
    return glow, {"glow": glow, "count": count + 1, "of": {"name": "glow", "since": 0.1, "until": None}}


def animation_of(name: str, folder: Path, models: KeptModels) -> Animation:
    """Make a run in a folder."""
    return put_together(name, settings_of(name, folder), models)


def put_together(name: str, settings: Settings, models: KeptModels) -> Animation:
    """Put a run together, around the embedded model or the function that stands in for it."""
    if name in PAINTED:
        return build(settings, models)
    animation = assembled(settings, stand_in, models, CELL)
    return replace(animation, stages=replace(animation.stages, show=[*animation.stages.show, afterglow]))


@dataclass(frozen=True)
class Run:
    """A run in a folder: its frames, and a folder for the state after each frame at which it was cut."""

    folder: Path
    frames: dict[str, Image]

    def state(self, index: int, since: int | None = None) -> Path:
        """Name the folder of a state; `since` says which state the run went on from."""
        return self.folder / "states" / f"{'' if since is None else f'{since}-'}{index}"


def cuts_of(count: int) -> list[int]:
    """Choose frames: the first, others at an end of spans and within them, and the last but one."""
    return sorted({0, 2, 3, count - 2})


def begin(names: Sequence[str], folder: Path) -> dict[str, Run]:
    """Render runs from beginning to end, and write states of each."""
    models, runs = KeptModels(), {}
    for number, name in enumerate(names):
        runs[name] = run = Run(folder / str(number), {})
        animation = animation_of(name, run.folder, models)
        cuts = cuts_of(FRAMES)
        for state in animation.states():
            run.frames[str(state.frame.index)] = state.shown
            if state.frame.index in cuts:
                write_state(state, run.state(state.frame.index))
    (folder / "names.json").write_text(json.dumps(list(names)), encoding="utf-8")
    return runs


def go_on(folder: Path) -> None:
    """Render what follows each state, and write the states on the way once more."""
    names: list[str] = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    models = KeptModels()
    for number, name in enumerate(names):
        run = Run(folder / str(number), {})
        cuts, settings = cuts_of(FRAMES), settings_of(name, run.folder)
        for cut in cuts:
            animation = put_together(name, settings, models)
            for state in animation.states(animation.read_state(run.state(cut))):
                run.frames[f"{cut}-{state.frame.index}"] = state.shown.contiguous()
                if state.frame.index in cuts:
                    write_state(state, run.state(state.frame.index, since=cut))
        save_file(run.frames, run.folder / "frames.safetensors")


def gone_on(run: Run) -> dict[tuple[int, int], Image]:
    """Read the frames of the second process, by the frame that it went on behind, and their own."""
    found = load_file(run.folder / "frames.safetensors")
    return {(int(cut), int(index)): image for key, image in found.items() for cut, _, index in [key.partition("-")]}


if __name__ == "__main__":
    go_on(Path(sys.argv[1]))
