"""Evaluation of mask expressions to the mask of a frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from deforum.animation.parts import Moment
from deforum.depth import DepthModel
from deforum.errors import UserError
from deforum.features.masks.find import MaskSource
from deforum.features.masks.follow import came_into_view, carried, followed
from deforum.features.masks.language import Joined, MaskExpression, Not, Operand, Operator
from deforum.models.transfer import constant
from deforum.pixels.files import decode
from deforum.pixels.image import Device, Image, Mask, read, to_gray
from deforum.settings.options import Settings
from deforum.settings.profiles import Profile

KEPT = 16
"""Frames whose masks are cached, because several stages use each mask, and some frames are painted together."""
OUTLIERS = 0.01
"""Share of a depth map at either end that is ignored for its range."""

JOINED: dict[Operator, Callable[[Mask, Mask], Mask]] = {
    "&": torch.minimum,
    "|": torch.maximum,
    "^": lambda a, b: (a - b).abs(),
    "\\": lambda a, b: torch.minimum(a, 1 - b),
}
"""Operators on two masks: Boolean logic on black and white, extended to greys."""


def evaluate(expression: MaskExpression, mask_of: Callable[[Operand], Mask]) -> Mask:
    """Evaluate a mask expression, given the masks of its operands."""
    match expression:
        case Operand():
            return mask_of(expression)
        case Not(of):
            return 1 - evaluate(of, mask_of)
        case Joined(operator, left, right):
            return JOINED[operator](evaluate(left, mask_of), evaluate(right, mask_of))


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of a run.

    Both methods take the picture that painting starts from, which `{depth}` and `<words>` look at. For in-betweens it
    is the shown picture.
    """

    source: MaskSource
    settings: Settings
    profile: Profile
    device: Device
    clip: Callable[[int], Image] | None = None
    """Returns the mask video's picture for each frame."""
    depth: DepthModel | None = None
    words: Callable[[Image, str], Mask] | None = None
    _made: OrderedDict[tuple[int, bool], tuple[Image, Mask]] = field(default_factory=OrderedDict)

    def paint(self, moment: Moment, picture: Image) -> Mask:
        """The mask for painting a frame: (H, W)."""
        if not self.source.paint:
            return torch.ones(picture.shape[1:], device=picture.device)
        return self._at(moment, picture, for_noise=False)

    def noise(self, moment: Moment, picture: Image) -> Mask:
        """The mask for adding noise: (H, W)."""
        return self._at(moment, picture, for_noise=True) if self.source.noise else self.paint(moment, picture)

    def _at(self, moment: Moment, picture: Image, *, for_noise: bool) -> Mask:
        index = moment.frame.index
        known = self._made.get((index, for_noise))
        if known is not None and known[0] is picture:
            return known[1]
        expression = (self.source.noise if for_noise else self.source.paint)[index]
        mask = self._finished(evaluate(expression, lambda operand: self._operand(operand, moment, picture)), moment)
        self._made[index, for_noise] = picture, mask
        while len(self._made) > 2 * KEPT:
            self._made.popitem(last=False)
        return mask

    def _finished(self, mask: Mask, moment: Moment) -> Mask:
        """Invert the mask where invert_mask is on, and add newly visible areas where the mask follows the camera."""
        mask = 1 - mask if self.settings.invert_mask else mask
        came = followed(moment.camera)
        mask = mask if came is None else torch.maximum(mask, came_into_view(came))
        return mask if self.profile.black_mask_keeps else torch.where(mask.any(), mask, 1)

    def _operand(self, operand: Operand, moment: Moment, picture: Image) -> Mask:
        if operand.kind == "file":
            return self._carried(self._read(Path(operand.text)), moment)
        if operand.kind == "words":
            assert self.words is not None
            return self.words(picture, operand.text)
        return self._names[operand.text](moment, picture)

    @cached_property
    def _names(self) -> dict[str, Callable[[Moment, Image], Mask]]:
        return {
            "everywhere": lambda moment, picture: self._flat(1),
            "video_mask": self._video,
            "init_mask": lambda moment, picture: self._carried(self._init, moment),
            "depth": self._near,
            "disocclusion": lambda moment, picture: (
                self._flat(0) if moment.warp is None else 1 - moment.warp.coverage()
            ),
        }

    def _video(self, moment: Moment, picture: Image) -> Mask:
        if self.clip is None:
            return self._carried(self._init, moment)
        return self._adjusted(to_gray(self.clip(moment.frame.index).to(self.device))[0])

    def _near(self, moment: Moment, picture: Image) -> Mask:
        assert self.depth is not None
        found = self.depth(picture, moment.frame.index).to(picture.device)
        nearness = found if self.depth.gives == "inverse depth" else -found
        ends = constant((OUTLIERS, 1 - OUTLIERS), torch.float32, found.device)
        low, high = torch.quantile(nearness, ends)
        mask: Mask = ((nearness - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        return mask

    def _carried(self, mask: Mask, moment: Moment) -> Mask:
        return carried(mask[None], followed(moment.camera))[0]

    @cached_property
    def _init(self) -> Mask:
        assert self.source.init is not None
        size = self.settings.size
        if self.source.init_is_alpha:
            return self._adjusted(read_alpha(self.source.init, *size).to(self.device))
        return self._adjusted(self._read(self.source.init))

    def _read(self, path: Path) -> Mask:
        if path not in self._files:
            picture = read(path, *self.settings.size, self.device)
            self._files[path] = to_gray(picture)[0].contiguous()
        return self._files[path]

    @cached_property
    def _files(self) -> dict[Path, Mask]:
        return {}

    def _adjusted(self, mask: Mask) -> Mask:
        """Scale the brightness of a mask, then its contrast about its mean grey."""
        brightness, contrast = self.settings.mask_brightness_adjust, self.settings.mask_contrast_adjust
        if not self.profile.true_mask_adjustment:
            brightness, contrast = contrast, brightness
        mask = mask if brightness == 1 else (mask * brightness).clamp(0, 1)
        return mask if contrast == 1 else torch.lerp(mask.mean(), mask, contrast).clamp(0, 1)

    def _flat(self, value: float) -> Mask:
        return torch.full(self.settings.size[::-1], float(value), device=self.device)


def read_alpha(path: Path, width: int, height: int) -> Mask:
    """Read the alpha channel of a picture, stretched to width x height: 1 is opaque. Raises UserError."""
    levels = decode(path, unchanged=True)
    if levels.ndim != 3 or levels.shape[2] != 4:
        raise UserError(f"{path}: this picture has no alpha channel")
    alpha = cv2.resize(levels[..., 3], (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    return torch.from_numpy(alpha / np.float32(65535 if levels.dtype == np.uint16 else 255))
