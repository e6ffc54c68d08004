"""How two settings differ in what comes out, not in how they are written.

Curves are compared where they are read: at every frame that is moved, or at the diffused ones; what neither of the two
reads is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.features import hybrid, video_input
from deforum.features.masks import find as masks
from deforum.reports.tabulate import STAND_IN_SEED
from deforum.settings.declare import Declaration
from deforum.settings.options import CONTROLS, DECLARATIONS, OPTIONS, PENDING_CHOICES, ControlUnit, Settings
from deforum.settings.params import PARAMS
from deforum.settings.yaml_writer import write_value
from schedules import TextSchedule

if TYPE_CHECKING:
    from deforum.timeline.frame import Frame
    from deforum.timeline.prompts import Prompt
    from deforum.timeline.timeline import Timeline

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Numbers as close as this are equal: expressions that mean the same may differ in their last digits."""


@dataclass(frozen=True)
class Side:
    """One of the two: settings with a seed, and what they give over time."""

    settings: Settings
    timeline: Timeline


@dataclass(frozen=True)
class Comparison:
    """What differs, in the order of the reference, each as a text of a line or more."""

    differences: tuple[str, ...]
    idle: tuple[str, ...]
    """Settings that differ and act in neither."""


def compare(a: Settings, b: Settings) -> Comparison:
    """Compare two settings. Raises UserError or ScheduleError where one of them cannot be sampled."""
    differences = list(_start(a, b))
    sides = _sides(a, b)
    idle: list[str] = []
    for name, declaration in DECLARATIONS.items():
        if name in ELSEWHERE or _equal(a, b, name):
            continue
        lines = list(_compare_one(name, declaration, *sides))
        if lines and not any(_acts(declaration, side) for side in sides):
            idle.append(name)
        else:
            differences += lines
    differences += _compare_per_frame(*sides)
    for name, declaration, line in _compare_controls(a, b):
        if declaration.pending:
            idle.append(name)
        else:
            differences.append(line)
    return Comparison(tuple(differences), tuple(idle))


ELSEWHERE = {
    "max_frames", "seed", "seed_behavior", "seed_iter_n", "seed_schedule", "subseed", "init_strength", "sampler",
    "prompts", "positive_prompt", "negative_prompt",
}  # fmt: skip
"""Settings that are seen in what they do to the frames: see `_compare_per_frame`, `_start` and the strength curve."""


def _sides(a: Settings, b: Settings) -> tuple[Side, Side]:
    """Sample both, with the same seed where one is drawn by chance."""
    from deforum.timeline.timeline import sample

    known = next((each.seed for each in (a, b) if each.seed >= 0), STAND_IN_SEED)
    a, b = (replace(each, seed=known) if each.seed < 0 else each for each in (a, b))
    return Side(a, sample(a)), Side(b, sample(b))


def _equal(a: Settings, b: Settings, name: str) -> bool:
    """Whether a setting is the same text or value in both, which spares sampling."""
    holders = (a.params, b.params) if name in PARAMS else (a, b)
    one, other = (getattr(holder, name) for holder in holders)
    # Equal expressions may give other values: of the seed, the frame rate, the length. `strength` hides init_strength.
    same_variables = (a.seed, a.fps, a.max_frames, a.init_strength) == (b.seed, b.fps, b.max_frames, b.init_strength)
    return bool(one == other) and (same_variables or name in OPTIONS)


# --- what acts --------------------------------------------------------------------------------------------------------

ACTS: Mapping[str, Callable[[Side], bool]] = {
    **dict.fromkeys(
        ("perspective_flip_theta", "perspective_flip_phi", "perspective_flip_gamma", "perspective_flip_fv"),
        lambda side: side.settings.enable_perspective_flip,
    ),
    **dict.fromkeys(
        ("perlin_w", "perlin_h", "perlin_octaves", "perlin_persistence"),
        lambda side: side.settings.noise_type == "perlin" and bool(side.timeline.curves.noise.any()),
    ),
    "noise_type": lambda side: bool(side.timeline.curves.noise.any()),
    **dict.fromkeys(
        ("antiblur_kernel", "antiblur_sigma", "antiblur_threshold"),
        lambda side: bool(side.timeline.curves.antiblur_amount.any()),
    ),
    "color_coherence_image_path": lambda side: side.settings.color_coherence == "Image",
    **dict.fromkeys(
        ("invert_mask", "mask_contrast_adjust", "mask_brightness_adjust", "mask_follows_camera"),
        lambda side: masks.is_on(side.settings) or side.settings.use_noise_mask,
    ),
    **dict.fromkeys(
        ("mask", "overlay_mask", "fill", "full_res_mask", "save_masks"), lambda side: masks.is_on(side.settings)
    ),
    "mask_overlay_blur": lambda side: (
        masks.is_on(side.settings) and (side.settings.overlay_mask or side.settings.full_res_mask)
    ),
    "full_res_mask_padding": lambda side: masks.is_on(side.settings) and side.settings.full_res_mask,
    "mask_file": lambda side: masks.needs_mask_file(side.settings),
    "video_mask_path": lambda side: side.settings.use_mask_video,
    "mask_words_model": lambda side: masks.asks_for_words(side.settings),
    "noise_mask": lambda side: side.settings.use_noise_mask,
    **dict.fromkeys(
        (
            "hybrid_use_first_frame_as_init_image",
            "hybrid_use_init_image",
            "hybrid_composite",
            "hybrid_motion",
        ),
        lambda side: hybrid.is_on(side.settings),
    ),
    "hybrid_motion_use_prev_img": lambda side: side.settings.hybrid_motion != "None",
    **dict.fromkeys(
        ("hybrid_flow_method", "hybrid_flow_factor", "hybrid_flow_consistency"),
        lambda side: hybrid.moves_by_flow(side.settings),
    ),
    "hybrid_consistency_blur": lambda side: (
        hybrid.moves_by_flow(side.settings) and side.settings.hybrid_flow_consistency
    ),
    "hybrid_generate_inputframes": lambda side: False,
    **dict.fromkeys(
        ("hybrid_comp_alpha", "hybrid_comp_mask_type", "hybrid_comp_save_extra_frames"),
        lambda side: side.settings.hybrid_composite != "None",
    ),
    **dict.fromkeys(
        (
            "hybrid_comp_mask_inverse",
            "hybrid_comp_mask_equalize",
            "hybrid_comp_mask_contrast",
            "hybrid_comp_mask_auto_contrast",
        ),
        lambda side: hybrid.is_masked(side.settings),
    ),
    "hybrid_comp_mask_blend_alpha": lambda side: (
        hybrid.is_masked(side.settings) and side.settings.hybrid_comp_mask_type == "Blend"
    ),
    **dict.fromkeys(
        ("hybrid_comp_mask_auto_contrast_cutoff_low", "hybrid_comp_mask_auto_contrast_cutoff_high"),
        lambda side: hybrid.is_masked(side.settings) and side.settings.hybrid_comp_mask_auto_contrast,
    ),
    "midas_weight": lambda side: side.settings.depth_algorithm.casefold().startswith("midas+"),
    "depth_format": lambda side: side.settings.save_depth_maps,
    **dict.fromkeys(
        ("disocclusion_strength", "disocclusion_noise"), lambda side: side.settings.disocclusion == "repaint"
    ),
    **dict.fromkeys(
        (
            "init_images",
            "image_strength",
            "blend_factor_max",
            "blend_factor_slope",
            "tweening_frames",
            "color_correction_factor",
        ),
        lambda side: side.settings.use_looper,
    ),
    "legacy_colormatch": lambda side: side.settings.color_coherence != "None",
    "prompt_blend": lambda side: len(side.settings.prompts) > 1,
    **dict.fromkeys(
        ("clip_end", "extract_nth_frame", "extract_to_frame"),
        lambda side: _reads_clip(side.settings) or side.settings.use_mask_video,
    ),
    "clip_fit": lambda side: _reads_clip(side.settings) or side.settings.use_mask_video,
    "clip_feedback_flow": lambda side: video_input.feeds_back(side.settings),
    "color_coherence_video_every_n_frames": lambda side: video_input.holds_colors(side.settings),
    **dict.fromkeys(("overwrite_extracted_frames", "delete_input_frames", "batch_size"), lambda side: False),
    "crf": lambda side: side.settings.video_format == "h264" and not side.settings.skip_video_creation,
    "video_quality": lambda side: side.settings.video_format != "h264" and not side.settings.skip_video_creation,
    **dict.fromkeys(
        ("video_format", "video_preset", "make_gif", "add_soundtrack", "delete_imgs"),
        lambda side: not side.settings.skip_video_creation,
    ),
    "soundtrack_path": lambda side: side.settings.add_soundtrack == "File",
    "video_init_path": lambda side: _reads_clip(side.settings) or side.settings.add_soundtrack == "Init Video",
    "extract_from_frame": lambda side: (
        _reads_clip(side.settings) or side.settings.use_mask_video or side.settings.add_soundtrack == "Init Video"
    ),
    "optical_flow_cadence": lambda side: side.timeline.cadence > 1,
    "cadence_flow_factor": lambda side: side.timeline.cadence > 1 and side.settings.optical_flow_cadence != "None",
    "redo_flow_factor": lambda side: side.settings.optical_flow_redo_generation != "None",
    "ddim_eta": lambda side: _reads_eta(side, "ddim_eta"),
    "ancestral_eta": lambda side: _reads_eta(side, "ancestral_eta"),
}
"""When a setting acts, for those that another one can put out of action."""


def _reads_clip(settings: Settings) -> bool:
    return video_input.needs_clip(settings) or hybrid.needs_clip(settings)


def _acts(declaration: Declaration, side: Side) -> bool:
    """Whether a setting has an effect in these settings, and in this version."""
    if declaration.pending or (declaration.modes and side.settings.animation_mode not in declaration.modes):
        return False
    if (declaration.name, getattr(side.settings, declaration.name, None)) in PENDING_CHOICES:
        return False
    acts = ACTS.get(declaration.name)
    return acts is None or acts(side)


def _reads_eta(side: Side, name: str) -> bool:
    from deforum.diffusion.sampling.samplers import find_sampler
    from deforum.errors import UserError

    try:
        return any(find_sampler(sampler).eta == name for sampler in set(side.timeline.samplers))
    except UserError:
        return True


def _frames_read(declaration: Declaration, side: Side) -> NDArray[np.intp]:
    """List the frames at which a parameter is read: motion from frame 1 on, what belongs to diffusion when diffused."""
    timeline = side.timeline
    if side.settings.animation_mode not in ("2D", "3D"):
        return np.arange(len(timeline))
    if declaration.section in ("motion", "camera"):
        return np.arange(1, len(timeline))
    keys = np.asarray(timeline.keys)
    of_pictures = ("noise", "contrast", "cadence_flow_factor", "redo_flow_factor")
    from_picture = declaration.name in of_pictures or declaration.name.startswith("antiblur")
    from_noise = side.settings.init_image is None
    if from_picture or (declaration.name in ("strength", "noise_multiplier") and from_noise):
        return keys[1:]
    return keys if declaration.section in ("diffusion", "seeds") else np.arange(len(timeline))


# --- what differs -----------------------------------------------------------------------------------------------------


def _start(a: Settings, b: Settings) -> Iterator[str]:
    """Compare the length and where randomness starts."""
    if a.max_frames != b.max_frames:
        shorter = min(a.max_frames, b.max_frames)
        yield f"max_frames: {a.max_frames} | {b.max_frames} (compared up to frame {shorter - 1})"
    if (a.seed < 0) != (b.seed < 0):
        yield f"seed: {' | '.join('drawn by chance' if each.seed < 0 else str(each.seed) for each in (a, b))}"


def _compare_one(name: str, declaration: Declaration, a: Side, b: Side) -> Iterator[str]:
    if name in PARAMS:
        yield from _compare_curves(declaration, a, b)
        return
    one, other = getattr(a.settings, name), getattr(b.settings, name)
    if isinstance(one, TextSchedule):
        count = min(len(a.timeline), len(b.timeline))
        texts = [each.sample(len(s.timeline), s.timeline.variables)[:count] for each, s in ((one, a), (other, b))]
        yield from _compare_texts(name, range(count), *texts)
    elif isinstance(one, tuple):
        yield f"{name}: {len(one)} | {len(other)} entries, which are not the same"
    elif name == "prompt_blend":
        ways = (a.settings.blending, b.settings.blending)
        if ways[0] != ways[1] and "hold" not in ways:  # then the prompts of the frames tell
            yield f"{name}: {ways[0]} | {ways[1]}"
    else:
        yield f"{name}: {write_value(one)} | {write_value(other)}"


def _compare_curves(declaration: Declaration, a: Side, b: Side) -> Iterator[str]:
    """Compare two curves at the frames where both are read."""
    name = declaration.name
    frames = np.intersect1d(_frames_read(declaration, a), _frames_read(declaration, b))
    one, other = getattr(a.timeline.curves, name)[frames], getattr(b.timeline.curves, name)[frames]
    differ = ~np.isclose(one, other, rtol=RELATIVE, atol=ABSOLUTE)
    if not differ.any():
        return
    unit = f" {declaration.unit}" if declaration.unit else ""
    if np.ptp(one) == 0 == np.ptp(other):
        yield f"{name}: {one[0]:.6g} | {other[0]:.6g}{unit}"
        return
    most = int(np.argmax(np.abs(one - other)))
    kind = "frames" if len(frames) >= min(len(a.timeline), len(b.timeline)) - 1 else "diffused frames"
    yield (
        f"{name}: from frame {frames[np.argmax(differ)]} on, at {differ.sum()} of {len(frames)} {kind}; "
        f"most at frame {frames[most]}: {one[most]:.6g} | {other[most]:.6g}{unit}"
    )


def _compare_per_frame(a: Side, b: Side) -> Iterator[str]:
    """Compare what the diffused frames are made from: seeds, samplers and prompts."""
    count = min(len(a.timeline), len(b.timeline))
    keys = sorted(set(a.timeline.keys) & set(b.timeline.keys) & set(range(count)))
    pairs = [(a.timeline[key], b.timeline[key]) for key in keys]

    def compared(name: str, read: Callable[[Frame], str], among: Sequence[tuple[Frame, Frame]]) -> Iterator[str]:
        frames = [one.index for one, _ in among]
        return _compare_texts(name, frames, [read(one) for one, _ in among], [read(other) for _, other in among])

    mixed = [pair for pair in pairs if any(frame.params.subseed_strength for frame in pair)]
    yield from compared("seed", lambda frame: str(frame.seed), pairs)
    yield from compared("subseed", lambda frame: str(frame.subseed), mixed)
    yield from compared("sampler", lambda frame: _sampler(frame.sampler), pairs)
    yield from compared("prompt", lambda frame: _blend(frame, lambda prompt: prompt.positive), pairs)
    yield from compared("negative prompt", lambda frame: _blend(frame, lambda prompt: prompt.negative), pairs)


def _blend(frame: Frame, read: Callable[[Prompt], str]) -> str:
    """Join the texts of a frame, with their shares where there are several; blanks do not count."""
    parts = [(prompt.weight, " ".join(read(prompt).split())) for prompt in frame.prompts]
    return parts[0][1] if len(parts) == 1 else " + ".join(f"{weight:.3g} {text}" for weight, text in parts)


def _sampler(name: str) -> str:
    """Give the same name to all spellings of a sampler."""
    from deforum.diffusion import resolve_sampler
    from deforum.errors import UserError

    try:
        return resolve_sampler(name)
    except UserError:
        return name


def _compare_texts(name: str, frames: Sequence[int], one: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    """Compare texts at frames: short ones where they first differ, long ones stretch by stretch."""
    differ = [i for i in range(len(frames)) if one[i] != other[i]]
    if not differ:
        return
    if name in ("seed", "subseed"):
        first = differ[0]
        yield f"{name}: from frame {frames[first]} on, at {len(differ)} of {len(frames)} diffused frames: " + (
            f"{one[first]} | {other[first]}"
        )
        return
    start = differ[0]
    for place, i in enumerate(differ):
        following = differ[place + 1] if place + 1 < len(differ) else None
        if following == i + 1 and (one[i], other[i]) == (one[following], other[following]):
            continue
        where = f"frame {frames[start]}" if start == i else f"frames {frames[start]} to {frames[i]}"
        short = len(one[i]) + len(other[i]) < 60
        yield f"{name}, {where}:" + (f" {one[i]} | {other[i]}" if short else f"\n  {one[i]}\n  | {other[i]}")
        if following is not None:
            start = following


def _compare_controls(a: Settings, b: Settings) -> Iterator[tuple[str, Declaration, str]]:
    """Compare ControlNet units that are enabled in one of the two: names, declarations, and what differs."""
    for number in range(max(len(a.control_units), len(b.control_units))):
        one, other = (
            each.control_units[number] if number < len(each.control_units) else ControlUnit() for each in (a, b)
        )
        if not (one.enabled or other.enabled):
            continue
        for setting, declaration in CONTROLS.items():
            values, name = (getattr(one, setting), getattr(other, setting)), f"cn_{number + 1}_{setting}"
            if values[0] != values[1]:
                yield name, declaration, f"{name}: {write_value(values[0])} | {write_value(values[1])}"
