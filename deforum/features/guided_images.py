"""Guided images: keyframe pictures that guide the animation.

Each is the guide from its keyframe to the next. Every frame is painted from the moved previous picture with a share of
the guide blended in. The share varies over the first frames after the keyframe, then stays constant. Painted frames
take over colours from the guide.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.paths import is_file
from deforum.pixels.files import check_pictures
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import Settings
from deforum.timeline.variables import variables_of
from schedules import ScheduleError, Variables, parse_key
from schedules.quoting import cut

if TYPE_CHECKING:
    import torch

    from deforum.animation.parts import Diffuse, Moment
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit
    from deforum.pixels.image import Device, Image
    from deforum.settings.params import Params
    from deforum.settings.profiles import Profile

REST = 0.07  # share of the guide after tweening_frames
LAST_SEGMENT = 25  # frames; Deforum's segment after the last keyframe


@dataclass(frozen=True)
class Guides:
    """Guided images on the timeline: `keys` are sorted frame indices, `paths` the pictures in the same order."""

    keys: tuple[int, ...]
    paths: tuple[Path, ...]

    def at(self, frame: int) -> int:
        """Index of the guide of a frame; before the first keyframe it is 0."""
        return max(bisect_right(self.keys, frame) - 1, 0)

    def share(self, frame: int, params: Params[float], *, phase_from_keyframe: bool) -> float:
        """Share of the guide that is blended into a frame: 0 none, 1 all.

        For `tweening_frames` after the keyframe it is max - slope * cos(2 * phase / tweening_frames), where the phase
        counts frames modulo tweening_frames; then it is REST. The phase begins at the keyframe. Without
        `phase_from_keyframe`, frames are counted from 0, and the keyframe's distance is the frame index modulo the
        length of the segment, as in Deforum.
        """
        number, swing = self.at(frame), params.tweening_frames
        later = self.keys[number + 1 :]
        segment = later[0] - self.keys[number] if later else LAST_SEGMENT
        since = max(frame - self.keys[number], 0) if phase_from_keyframe else frame % segment
        if swing <= 0 or since > swing:
            return REST
        phase = (since if phase_from_keyframe else frame) % swing
        share = params.blend_factor_max - params.blend_factor_slope * math.cos(2 * phase / swing)
        return min(max(share, 0.0), 1.0)


def place_guides(images: Sequence[tuple[str, str]], num_frames: int, variables: Variables) -> Guides:
    """Sort guided images onto the timeline; keys may be expressions, negative ones are ignored.

    Raises UserError for keys that cannot be read, and where no key is left.
    """
    placed: dict[int, str] = {}
    problems: list[Problem] = []
    for key, path in images:
        try:
            placed[parse_key(key, name="init_images").frame(variables, num_frames)] = path
        except ScheduleError as error:
            problems.append(Problem(str(error)))
    if problems:
        raise UserError(problems)
    keys = tuple(sorted(key for key in placed if key >= 0))
    if not keys:
        raise UserError("init_images: use_looper needs at least one picture, such as 0: start.png")
    return Guides(keys, tuple(Path(placed[key]) for key in keys))


def is_on(settings: Settings) -> bool:
    return settings.use_looper and settings.mode.goes_on


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths of guided images absolute."""
    if not settings.use_looper:
        return settings, []
    found: list[tuple[str, str]] = []
    problems: list[tuple[str, str]] = []
    for key, text in settings.init_images:
        path = files.find_file(text)
        found.append((key, text if path is None else str(path.resolve())))
        if path is None:
            problems.append(("init_images", f"init_images: {cut(key, 40)}: {files.missing(text)}"))
    return replace(settings, init_images=tuple(found)), problems


def without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Turn guided images off where some are URLs."""
    images = settings.init_images
    if not settings.use_looper or (images and not any(is_url(path) for _, path in images)):
        return settings, []
    note = "init_images: pictures on a network are not fetched; the animation goes without guided images"
    return replace(settings, use_looper=False), [note]


def find_guides(settings: Settings) -> Guides | None:
    """Find the guided images without reading them; None where they are off. Raises UserError for missing files.

    Does not import torch.
    """
    if not is_on(settings):
        return None
    variables = variables_of(settings)
    guides = place_guides(settings.init_images, settings.max_frames, variables)
    problems = [
        Problem(f"init_images: the picture at frame {key}, {path}, is not there")
        for key, path in zip(guides.keys, guides.paths, strict=True)
        if not is_file(path)
    ]
    problems += check_pictures((path for path in guides.paths if is_file(path)), "init_images")
    if problems:
        raise UserError(problems)
    return guides


def read_guides(guides: Guides, width: int, height: int, device: Device) -> tuple[Image, ...]:
    """Read all guided images, each file once, stretched to the frame. Raises UserError for unreadable files."""
    from deforum.pixels.image import read

    pictures: dict[Path, Image] = {}
    problems: list[Problem] = []
    for key, path in zip(guides.keys, guides.paths, strict=True):
        try:
            pictures[path] = pictures[path] if path in pictures else read(path, width, height, device)
        except UserError as error:
            problems.append(Problem(f"init_images: the picture at frame {key}: {error}"))
    if problems:
        raise UserError(problems)
    return tuple(pictures[path] for path in guides.paths)


def attach(stages: Stages, guides: Guides, kit: Kit) -> Stages:
    """Read the guided images and guide the painting by them. Raises UserError for unreadable files."""
    pictures = read_guides(guides, *kit.settings.size, kit.device)
    around = partial(
        guided,
        guides=guides,
        pictures=pictures,
        profile=kit.profile,
        at_keyframes=kit.settings.keyframe_distribution != "Off",
    )
    return replace(stages, around=[*stages.around, around])


def guided(
    diffuse: Diffuse, guides: Guides, pictures: Sequence[Image], *, profile: Profile, at_keyframes: bool = False
) -> Diffuse:
    """Guide a diffusion by guided images; see `Guides.share`.

    Each frame is diffused with `image_strength`; with `at_keyframes` those of the guides with
    `image_keyframe_strength`. A frame that would be painted from noise, as the first is without an
    init image, is painted from its guide.
    """
    from deforum.pixels.image import blend

    def prepare(init: Image | None, moment: Moment) -> tuple[Image, Moment, Callable[[Image], Image]]:
        frame, p = moment.frame, moment.frame.params
        guide = pictures[guides.at(frame.index)]
        init = guide if init is None else init
        share = guides.share(frame.index, p, phase_from_keyframe=profile.guides_swing_from_keyframe)
        colors = blend(init, guide, p.color_correction_factor)
        fresh = at_keyframes and frame.index in guides.keys
        strength = p.image_keyframe_strength if fresh else p.image_strength
        frame = replace(frame, params=replace(p, strength=strength))
        return (
            blend(init, guide, share),
            replace(moment, frame=frame),
            lambda painted: take_colors(painted, colors, float_color=profile.float_color),
        )

    def stage(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        starts, changed, corrections = zip(*map(prepare, inits, moments), strict=True)
        painted = diffuse(starts, changed)
        return [correct(picture) for correct, picture in zip(corrections, painted, strict=True)]

    return stage


def take_colors(image: Image, colors: Image, *, float_color: bool) -> Image:
    """Match the colours of a picture to another one, and keep its luminosity.

    Its LAB histogram is matched to the other's, then its luminosity is restored, as in the A1111 web UI's colour
    correction.
    """
    from deforum.pixels.color import ColorReference, match_color

    reference = ColorReference.of(colors, "LAB", true_channels=True, float_color=float_color)
    return with_luminosity(match_color(image, reference), image)


def with_luminosity(color: Image, light: Image) -> Image:
    """Mix hue and saturation of one picture with the luminosity of another.

    Source: W3C, "Compositing and Blending Level 1", non-separable blend modes.
    """
    wanted = _luminosity(light)
    mixed = color + (wanted - _luminosity(color))
    # Out-of-range colours are pulled towards their grey, which keeps the luminosity.
    low, high = mixed.amin(0), mixed.amax(0)
    inward = (wanted / (wanted - low).clamp(min=1e-6)).clamp(max=1)
    outward = ((1 - wanted) / (high - wanted).clamp(min=1e-6)).clamp(max=1)
    result: Image = wanted + (mixed - wanted) * inward.minimum(outward)
    return result


def _luminosity(image: Image) -> torch.Tensor:
    luminosity: torch.Tensor = 0.3 * image[0] + 0.59 * image[1] + 0.11 * image[2]
    return luminosity
