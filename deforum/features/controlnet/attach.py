"""Adding control units to the loop: each painted frame gets the units that act on it, with their control pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from deforum.animation.painter import Masked
from deforum.animation.parts import Diffuse, Moment
from deforum.animation.stages import Stages
from deforum.depth import DepthModel, load_depth
from deforum.diffusion.adapters.load import load_units
from deforum.features.controlnet import UnitSource, source_of
from deforum.features.controlnet.filters import Given
from deforum.features.controlnet.preprocessors import Preprocessor
from deforum.features.feature import Kit, Recording
from deforum.features.saver import SavePicture
from deforum.flow import FlowModel, load_flow
from deforum.models.catalogue import find_function
from deforum.models.transfer import upload
from deforum.pixels.files import read_bytes, read_header
from deforum.pixels.image import Image, Mask, to_gray
from deforum.profiling import stage
from deforum.settings.options import ControlUnit
from deforum.timeline.control import Control, Priority
from deforum.video import Clip, ClipSource
from deforum.video.find import VideoFile
from deforum.video.reader import open_clip

PRIORITIES: Mapping[str, Priority] = {
    "Balanced": "balanced",
    "My prompt is more important": "prompt",
    "ControlNet is more important": "control",
}
OUTER, STRETCH = "Outer Fit (Shrink to Fit)", "Just Resize"
SMALLEST = 16
"""px; shorter side of a picture that a preprocessor sees, at least."""


def attach(stages: Stages, found: Sequence[UnitSource], kit: Kit) -> Stages:
    """Load the units and guide the painting by them. Raises UserError for damaged files."""
    models = tuple(source.model for source in found)
    loaded = kit.load(load_units, (models, kit.dtype or torch.float32))
    masked = stages.painting.masked
    guides = [_guide(source, unit, kit, masked) for source, unit in zip(found, loaded, strict=True)]
    return replace(stages, around=[lambda diffuse: controlled(diffuse, guides), *stages.around])


def record(stages: Stages, found: Sequence[UnitSource], recording: Recording) -> Stages:
    """Save the control pictures of each diffused frame where save_control_pictures is on."""
    if not recording.settings.save_control_pictures:
        return stages
    folder, save = recording.folder, recording.saver()
    # Within what gives the frames their control pictures.
    return replace(stages, around=[lambda diffuse: saving_controls(diffuse, folder, save), *stages.around])


def saving_controls(diffuse: Diffuse, folder: Path, save: SavePicture) -> Diffuse:
    """Save the control pictures of each diffused frame: 8-bit PNG; pixels that inpaint marks as painted are black."""

    def saved(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        for moment in moments:
            index = moment.frame.index
            for control in moment.frame.controls:
                save(folder / f"control_{control.number}" / f"{index:09d}.png", index, control.picture)
        return diffuse(inits, moments)

    return saved


def controlled(diffuse: Diffuse, guides: Sequence[Guide]) -> Diffuse:
    """Guide a diffusion by units."""

    def stage_(inits: Sequence[Image | None], moments: Sequence[Moment]) -> list[Image]:
        changed = []
        for init, moment in zip(inits, moments, strict=True):
            controls = [control for guide in guides if (control := guide.control(init, moment)) is not None]
            changed.append(
                replace(moment, frame=replace(moment.frame, controls=tuple(controls))) if controls else moment
            )
        return diffuse(inits, changed)

    return stage_


@dataclass(eq=False)
class Guide:
    """A unit with its pictures, one for each frame."""

    source: UnitSource
    unit: Any
    size: tuple[int, int]
    """Width and height of the frames, px."""
    seed: int
    clip: Clip | None
    mask: Clip | None
    depth: DepthModel | None
    flow: FlowModel | None
    masked: Masked | None
    """The mask of the run."""
    falls_back: bool
    """Whether a frame after the end of the clip is guided by the picture that is painted over, as in Deforum."""
    annotator: Any = None
    options: Mapping[str, bool] = field(default_factory=dict)
    """Of the annotator."""
    _known: tuple[int, Image] | None = field(default=None, init=False)
    """The control picture of a frame of the clip, by its index: clips are held and pictures stay."""

    def control(self, init: Image | None, moment: Moment) -> Control | None:
        """Return the unit for a frame; None where it does not act."""
        index = moment.frame.index
        weight = float(self.source.weight[index])
        if weight == 0:
            return None
        with stage("control", index):
            picture = self._picture(init, moment)
            if picture is None:
                return None
            mask = None if self.mask is None else to_gray(self.mask(index))[0]
        source = self.source
        return Control(
            unit=self.unit,
            picture=picture,
            weight=weight,
            start=float(source.start[index]),
            end=float(source.end[index]),
            priority=PRIORITIES[source.settings.control_mode],
            mask=mask,
            number=source.number,
        )

    def _picture(self, init: Image | None, moment: Moment) -> Image | None:
        index = moment.frame.index
        kind = source_of(self.source.settings)
        row = self.source.preprocessor
        if self.clip is not None and not (self.falls_back and index >= len(self.clip) and not self._is_still):
            where = self.clip.source.stored(index)
            if self._known is not None and self._known[0] == where and row.needs not in ("mask", "flow"):
                return self._known[1]
            before = self.clip(index - 1) if row.needs == "flow" and index > 0 else None
            made = self._made(self.clip(index), before, init, moment)
            self._known = where, made
            return made
        if kind == "previous":
            return None if moment.moved is None else self._of_frame(moment.moved, None, init, moment)
        if init is None:
            return None
        return self._of_frame(init, moment.moved, init, moment)

    @property
    def _is_still(self) -> bool:
        """Whether the clip is a single picture, which is used for all frames."""
        return self.clip is not None and len(self.clip) == 1

    def _of_frame(self, image: Image, before: Image | None, init: Image | None, moment: Moment) -> Image:
        """Return the control picture of a picture of the animation."""
        height, width = image.shape[1:]
        small = work_size((width, height), self.size, self.source.settings, self.source.preprocessor)
        image, *rest = (_resized(each, small) for each in (image, before) if each is not None)
        return self._made(image, rest[0] if rest else None, init, moment)

    def _made(self, image: Image, before: Image | None, init: Image | None, moment: Moment) -> Image:
        """Preprocess a picture, and fit the result to the frame."""
        source = self.source
        row, unit = source.preprocessor, source.settings
        mask = self._mask_of_run(image, init, moment) if row.needs == "mask" else None
        given = Given(
            row.a.value(unit.threshold_a),
            row.b.value(unit.threshold_b),
            moment.frame.index,
            self.seed,
            self.depth,
            self.depth is None or self.depth.gives == "inverse depth",
            self.flow,
            before,
            mask,
            {"annotator": self.annotator, "options": self.options},
        )
        run: Callable[[Image, Given], Image] = find_function(row.run)
        return fitted(run(image, given), self.size, unit.resize_mode)

    def _mask_of_run(self, image: Image, init: Image | None, moment: Moment) -> Mask | None:
        """Return where a picture of a clip or of the animation is painted, at its size."""
        if self.mask is not None:
            mask = to_gray(self.mask(moment.frame.index))[0]
        elif self.masked is not None and init is not None:
            mask = self.masked.mask(moment, init if moment.start is None else moment.start)
        else:
            return None
        return interpolate(mask[None, None], size=image.shape[1:], mode="nearest")[0, 0]


def _guide(source: UnitSource, unit: Any, kit: Kit, masked: Masked | None) -> Guide:
    settings, size = kit.settings, kit.settings.size
    clip = mask = None
    if source.clip is not None:
        small = work_size(clip_size(source.clip), size, source.settings, source.preprocessor)
        clip = open_clip(source.clip, *small, fit="stretch", device=kit.device)
    if source.mask is not None:
        fit = {OUTER: "fit", STRETCH: "stretch"}.get(source.settings.resize_mode, "fill")
        mask = open_clip(source.mask, *size, fit=fit, device=kit.device)  # type: ignore[arg-type]
    annotator: Any = None
    options: Mapping[str, bool] = {}
    if source.preprocessor.annotator:
        from deforum.features.controlnet.annotators import OPTIONS, load

        annotator = kit.load(load, source.preprocessor.annotator)
        options = OPTIONS.get(source.settings.module.strip().casefold(), {})
    return Guide(
        source,
        unit,
        size,
        settings.seed,
        clip,
        mask,
        None if source.depth is None else kit.load(load_depth, source.depth),
        None if source.flow is None else kit.load(load_flow, source.flow),
        masked,
        settings.is_lenient,
        annotator,
        options,
    )


def clip_size(clip: ClipSource) -> tuple[int, int]:
    """Return the width and height of a clip in px; of pictures, those of the first one."""
    if isinstance(clip.media, VideoFile):
        return clip.media.width, clip.media.height
    path = clip.media.paths[int(clip.picks[0])]
    header = read_header(read_bytes(path), path)
    return header.width, header.height


def work_size(
    picture: tuple[int, int], frame: tuple[int, int], unit: ControlUnit, row: Preprocessor
) -> tuple[int, int]:
    """Return the width and height at which a picture is preprocessed.

    That is where its control picture fits the frame without being scaled; or where its shorter side is
    `processor_res`.
    """
    ratios = [wanted / side for wanted, side in zip(frame, picture, strict=True)]
    scale = min(ratios) if unit.resize_mode == OUTER else max(ratios)
    resolution = unit.processor_res
    if resolution is not None and not unit.pixel_perfect and row.name not in ("none", "invert"):
        scale = resolution / min(picture)
    scale = max(scale, SMALLEST / min(picture))
    width, height = (max(round(side * scale), 1) for side in picture)
    return width, height


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """Resize a picture to (width, height): by area where it shrinks."""
    width, height = size
    if image.shape[1:] == (height, width):
        return image
    found = interpolate(image[None], size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    return found[0].clamp(0, 1).contiguous()


def fitted(picture: Image, frame: tuple[int, int], mode: str) -> Image:
    """Fit a control picture to a frame of (width, height) px: cropped, with borders of its edges' colour, or stretched.

    Pictures of a few colours, such as lines, keep them.
    """
    width, height = frame
    if picture.shape[1:] == (height, width):
        return picture
    rows, columns = picture.shape[1:]
    if mode == STRETCH:
        return _scaled(picture, height, width)
    choose = min if mode == OUTER else max
    scale = choose(height / rows, width / columns)
    picture = _scaled(picture, max(round(rows * scale), 1), max(round(columns * scale), 1))
    rows, columns = picture.shape[1:]
    if mode != OUTER:
        top, left = max((rows - height) // 2, 0), max((columns - width) // 2, 0)
        picture = picture[:, top : top + height, left : left + width]
    if picture.shape[1:] == (height, width):
        return picture.contiguous()
    whole = _edge_color(picture)[:, None, None].expand(3, height, width).clone()
    rows, columns = (min(a, b) for a, b in zip(picture.shape[1:], (height, width), strict=True))
    top, left = (height - rows) // 2, (width - columns) // 2
    whole[:, top : top + rows, left : left + columns] = picture[:, :rows, :columns]
    return whole


def _scaled(picture: Image, height: int, width: int) -> Image:
    if picture.shape[1:] == (height, width):
        return picture
    if (picture < 0).any() or _is_flat(picture):
        return interpolate(picture[None], size=(height, width), mode="nearest-exact")[0]
    found = interpolate(picture[None], size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    return found[0].clamp(0, 1)


def _is_flat(picture: Image) -> bool:
    """Whether a control picture has a few colours only, as lines on black do."""
    levels = (picture * 255).round().to(torch.int32)
    return len(torch.unique(levels[0] * 65536 + levels[1] * 256 + levels[2])) <= 2


def _edge_color(picture: Image) -> torch.Tensor:
    """Return the median colour (3,) of the pixels at the border."""
    border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    return upload(torch.from_numpy(np.median(border.cpu().numpy(), axis=1)), picture.device)
