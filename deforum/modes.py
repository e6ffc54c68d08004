"""What can be chosen for the parts of a frame's journey, as tables: a new mode is a new row and a new function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.animate import Camera, Filter, Moment, Palette, Source
from deforum.cameras import DepthCamera, FlatCamera, StillCamera
from deforum.depth import DepthModel
from deforum.filters import ColorReference, Space, adjust_contrast, match_color, match_detail, to_gray, unsharp_mask
from deforum.image import Device, Image, read
from deforum.masks.painting import under
from deforum.noise import add_noise, perlin_noise, uniform_noise
from deforum.profile import Profile
from deforum.rng import derive_seed
from deforum.video_input.stages import Video, colors_of, frames_of

if TYPE_CHECKING:
    from deforum.masks.compose import Masks
    from deforum.settings import Settings


def previous_frame(settings: Settings, video: Video | None) -> Source:
    """Start from the moved previous picture; the first frame from the init image, or from noise without one."""
    init = None if settings.init_image is None else read(Path(settings.init_image), settings.width, settings.height)

    def source(moved: Image | None, moment: Moment) -> Image | None:
        return init if moved is None else moved

    return source


def frame_of_clip(settings: Settings, video: Video | None) -> Source:
    """Start from the clip's frame."""
    assert video is not None
    return frames_of(video)


def noise_alone(settings: Settings, video: Video | None) -> Source:
    """Start from nothing."""
    return lambda moved, moment: None


@dataclass(frozen=True)
class Mode:
    """A row of the table of animation modes."""

    camera: Callable[[Settings, Profile, Device, DepthModel | None, bool], Camera]
    """Asked with the depth model, and whether its values are distances as they are."""
    source: Callable[[Settings, Video | None], Source]
    """Asked with the open clip, where there is one."""
    goes_on: bool
    """Each frame is painted from the one before. If not, frames do not depend on each other: they are painted several
    at a time, no filter changes what they are painted from, and colours are not held to those of another frame."""


def still(settings: Settings, profile: Profile, device: Device, *_: object) -> Camera:
    return StillCamera(settings, device)


MODES: dict[str, Mode] = {
    "2D": Mode(lambda settings, profile, device, *_: FlatCamera(settings, profile, device), previous_frame, True),
    "3D": Mode(DepthCamera, previous_frame, True),
    "Video Input": Mode(still, frame_of_clip, False),
    "Interpolation": Mode(still, noise_alone, False),
}


COLOR_SPACES: dict[str, Space] = {"HSV": "HSV", "LAB": "LAB", "RGB": "RGB", "Image": "LAB", "Video Input": "LAB"}
"""Where colours are matched, by color_coherence."""

GIVEN_COLORS: dict[str, tuple[str, ...]] = {"Video Input": ("Image", "Video Input"), "Interpolation": ()}
"""What color_coherence can hold to in the modes whose frames do not depend on each other."""


def no_palette(moment: Moment, moved: Image | None, painted: Image | None) -> None:
    """Hold to no colours."""


def palette_of(settings: Settings, profile: Profile, first: Image | None = None, video: Video | None = None) -> Palette:
    """Choose the rule that says which picture's colours are held to.

    `first` is what frame 0 is painted from, where that is something else than the init image; `video` the clip that
    colours may come from.
    """
    space = COLOR_SPACES.get(settings.color_coherence)
    if space is None or settings.color_coherence not in GIVEN_COLORS.get(settings.animation_mode, COLOR_SPACES):
        return no_palette

    def reference(image: Image) -> ColorReference:
        return ColorReference.of(
            image, space, true_channels=profile.true_color_channels, float_color=profile.float_color
        )

    def given(image: Image) -> Palette:
        fixed = reference(image)
        return lambda moment, moved, painted: fixed

    def stored(path: str | None) -> Image:
        assert path is not None
        return read(Path(path), settings.width, settings.height)

    def first_painted(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        return reference(painted) if moment.palette is None and painted is not None else moment.palette

    def first_moved(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        return reference(moved) if moment.palette is None and moved is not None else moment.palette

    def last_moved_at_strength_0(moment: Moment, moved: Image | None, painted: Image | None) -> ColorReference | None:
        fresh = painted is None and (moment.palette is None or moment.frame.params.strength == 0)
        return reference(moved) if fresh and moved is not None else moment.palette

    if settings.color_coherence == "Video Input":
        every = settings.color_coherence_video_every_n_frames
        return no_palette if video is None else colors_of(video, reference, every)
    if settings.color_coherence == "Image":
        return given(stored(settings.color_coherence_image_path))
    if settings.legacy_colormatch:
        return last_moved_at_strength_0
    if settings.init_image is None and first is None:
        return first_painted
    if not profile.init_is_color_sample:
        return first_moved
    return given(stored(settings.init_image) if first is None else first)


def hold_colors(image: Image, moment: Moment) -> Image:
    """Match the colours to those that the run holds to."""
    return image if moment.palette is None else match_color(image, moment.palette)


def hold_detail(image: Image, moment: Moment) -> Image:
    """Bring fine detail to that of the picture whose colours are held."""
    if moment.palette is None:
        return image
    return match_detail(image, moment.palette.detail, moment.frame.params.detail_coherence)


def force_grayscale(image: Image, moment: Moment) -> Image:
    return to_gray(image)


def scale_contrast(image: Image, moment: Moment) -> Image:
    return adjust_contrast(image, moment.frame.params.contrast)


def sharpen(image: Image, moment: Moment) -> Image:
    """Undo the softening that each motion brings."""
    p = moment.frame.params
    return unsharp_mask(image, p.antiblur_amount, int(p.antiblur_kernel), p.antiblur_sigma, p.antiblur_threshold)


def noise_filter(settings: Settings, profile: Profile) -> Filter:
    """Mix in noise, for diffusion to make something of."""

    def uniform(seed: int) -> Image:
        return uniform_noise(seed, settings.width, settings.height)

    def perlin(seed: int) -> Image:
        return perlin_noise(
            seed,
            settings.width,
            settings.height,
            grid=(settings.perlin_w, settings.perlin_h),
            octaves=settings.perlin_octaves,
            persistence=settings.perlin_persistence,
        )

    draw = {"uniform": uniform, "perlin": perlin}[settings.noise_type]

    def filtered(image: Image, moment: Moment) -> Image:
        frame = moment.frame
        if frame.params.noise == 0:
            return image
        noise = draw(derive_seed(frame.seed, frame.index, "noise") if profile.noise_per_frame else frame.seed)
        noise = noise if profile.true_color_channels else noise.flip(0)
        return add_noise(image, noise, frame.params.noise, zero_mean=settings.noise_keeps_mean)

    return filtered


def filters_before(settings: Settings, profile: Profile, masks: Masks | None = None) -> Sequence[Filter]:
    """List what changes a picture between motion and diffusion, in order; with masks, some of it only under them."""
    sharpened: Filter = sharpen
    noisy = noise_filter(settings, profile)
    if masks is not None:
        sharpened, noisy = under(sharpened, masks.paint), under(noisy, masks.noise)
    rows = (
        (settings.color_coherence in COLOR_SPACES, hold_colors),
        (settings.color_force_grayscale, force_grayscale),
        (True, scale_contrast),
        (True, sharpened),
        (True, noisy),
    )
    return [change for wanted, change in rows if wanted]


def filters_after(settings: Settings) -> Sequence[Filter]:
    """List what changes a picture after diffusion, in order."""
    rows = (
        (settings.color_coherence in COLOR_SPACES and not settings.legacy_colormatch, hold_colors),
        (settings.color_coherence in COLOR_SPACES and MODES[settings.animation_mode].goes_on, hold_detail),
        (settings.color_force_grayscale, force_grayscale),
    )
    return [change for wanted, change in rows if wanted]
