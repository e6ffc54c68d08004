"""Networks in TorchScript files of the user's: FILM, RIFE and such.

Loading such a file runs the program that it contains: use only files that you trust. TorchScript has few operators that
reach beyond the tensors, for files and for networks of machines; a program that names one of them is refused before it
is loaded.

How a network is called is found by its signature and a small try, or told by `interpolator_inputs`. Sources of the
forms: F. Reda et al., "FILM: Frame interpolation for large motion", 2022; Z. Huang et al., "Real-time intermediate flow
estimation for video frame interpolation" (RIFE), 2022, and their exports to TorchScript.
"""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from deforum.errors import UserError
from deforum.interpolation import FORMS, Interpolator, InterpolatorSource
from deforum.limits import PROGRAM
from deforum.pixels.image import Device, Image

CELL = 64  # px; sides are padded to multiples of it, which the pyramids of FILM and RIFE need
NEAREST = 1 / 32  # a network that makes only the middle is asked again until it is this near
REFUSED = re.compile(rb"\b(from_file|save|load_tensor|c10d|_c10d\w*|symm_mem|_dtensor|debugprims)\b")
"""Names of operators, and groups of operators, that read or write files or speak to other machines."""
TRY = 64  # px; side of the pictures of the small try

Call = Callable[[Any, Image, Image, float], Any]
"""Calls a network with two pictures (1, 3, H, W) and a time."""


def _one(time: float, like: Image) -> Image:
    return like.new_full((1, 1), time)


def _plane(time: float, like: Image) -> Image:
    return like.new_full((1, 1, *like.shape[2:]), time)


CALLS: Mapping[str, Call] = {
    "film": lambda net, a, b, time: net(a, b, _one(time, a)),
    "rife": lambda net, a, b, time: net(torch.cat((a, b), 1), _plane(time, a)),
    "rife number": lambda net, a, b, time: net(torch.cat((a, b), 1), time),
    "rife stacked": lambda net, a, b, time: net(torch.cat((a, b, _plane(time, a)), 1)),
    "plane": lambda net, a, b, time: net(a, b, _plane(time, a)),
    "number": lambda net, a, b, time: net(a, b, time),
    "middle": lambda net, a, b, time: net(a, b),
    "middle stacked": lambda net, a, b, time: net(torch.cat((a, b), 1)),
}
"""How a network is called, by its form, in the order in which they are tried."""
ONLY_MIDDLE = ("middle", "middle stacked")


@dataclass(frozen=True)
class Scripted:
    """A network of the user's as an `Interpolator`."""

    network: Any
    form: str
    """A row of `CALLS`."""
    device: Device
    dtype: torch.dtype

    @torch.inference_mode()
    def __call__(self, first: Image, last: Image, at: Sequence[float]) -> list[Image]:
        height, width = first.shape[1:]
        pair = torch.stack((first, last)).to(self.device, self.dtype).contiguous()
        padding = (0, -width % CELL, 0, -height % CELL)
        pair = F.pad(pair, padding, "replicate") if any(padding) else pair
        a, b = pair[:1], pair[1:]
        make = self._halved if self.form in ONLY_MIDDLE else self._asked
        made = [make(a, b, time)[0, :, :height, :width].float().clamp(0, 1).to(first.device) for time in at]
        return [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) for image in made]

    def _asked(self, a: Image, b: Image, time: float) -> Image:
        return picture_of(CALLS[self.form](self.network, a, b, time), a)

    def _halved(self, a: Image, b: Image, time: float) -> Image:
        """Approach a time by middles of middles."""
        low, high = 0.0, 1.0
        while True:
            middle = self._asked(a, b, 0.5)
            half = (low + high) / 2
            if abs(time - half) <= NEAREST:
                return middle
            (a, high, b) = (a, half, middle) if time < half else (middle, high, b)
            low = low if time < half else half


def picture_of(result: Any, like: Image) -> Image:
    """Return the picture (1, 3, H, W) in a network's result: the last one of that size in its lists.

    Raises ValueError where there is none.
    """
    if isinstance(result, torch.Tensor):
        if result.shape == like.shape:
            return result
    elif isinstance(result, dict):
        return picture_of(list(result.values()), like)
    elif isinstance(result, list | tuple):
        for part in reversed(result):
            try:
                return picture_of(part, like)
            except ValueError:
                continue
    raise ValueError(f"no picture of size {tuple(like.shape)}")


def load(source: InterpolatorSource, device: Device) -> Interpolator:
    """Load a network, and find how it is called. Raises UserError for what is no TorchScript file, or fits no form."""
    path = source.path
    assert path is not None
    check_program(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated; the files are made in this format all the same
            network = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise not_a_program(path, error) from None
    network.eval()
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    return Scripted(network, find_form(path, network, source.form, device, dtype), device, dtype)


def check_program(path: Path) -> None:
    """Read the program in a file, without running it. Raises UserError where there is none, or it reaches for files."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [each for each in archive.infolist() if "/code/" in each.filename and each.filename.endswith(".py")]
            PROGRAM.check(sum(each.file_size for each in parts), f"{path}: its program")
            texts = [archive.read(each) for each in parts]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
        raise not_a_program(path, error) from None
    if not texts:
        raise not_a_program(path, "it has no program")
    for text in texts:
        found = REFUSED.search(text)
        if found is not None:
            raise UserError(f"{path}: its program has {found[0].decode()}, which reaches for files or other machines; "
                            "a network that makes pictures has no use for it, and it is not loaded")  # fmt: skip


def not_a_program(path: Path, why: Exception | str) -> UserError:
    reason = why if isinstance(why, str) else _reason(why)
    return UserError(
        f"{path}: not a TorchScript file ({reason}); expected one made with torch.jit.save: weights alone do not say "
        "how to compute with them"
    )


@torch.inference_mode()
def find_form(path: Path, network: Any, form: str, device: Device, dtype: torch.dtype) -> str:
    """Find how a network is called: the form that is told, or the first that gives a picture of a small pair.

    Raises UserError where none does.
    """
    ramp = torch.linspace(0, 1, TRY, device=device, dtype=dtype).expand(1, 3, TRY, TRY).contiguous()
    failed = {}
    for name in CALLS if form == "auto" else FORMS[form]:
        try:
            made = picture_of(CALLS[name](network, ramp, ramp.flip(3), 0.5), ramp)
        except Exception as error:
            failed[name] = _reason(error)
            continue
        if bool(torch.isfinite(made).all()):
            return name
        failed[name] = "NaN"
    told = "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:3])
    raise UserError(f"{path}: it makes no picture of two in any known form ({told}); set interpolator_inputs")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]
