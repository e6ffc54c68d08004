"""IP-Adapters: their files, image encoders and pictures. They travel as LoRAs do, with frames and with the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.diffusion.adapters.ip_adapter.file import IpFile, read_file
from deforum.errors import Problem, UserError
from deforum.models import library
from deforum.models.places import roots_of
from deforum.paths import is_file
from deforum.pixels.files import check_pictures
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.timeline.variables import variables_of
from schedules import ScheduleError
from schedules.quoting import cut

if TYPE_CHECKING:
    from deforum.animation.stages import Stages
    from deforum.features.feature import Kit


@dataclass(frozen=True)
class IpAdapters:
    """What the units of the setting `ip_adapter` name, in its order."""

    paths: tuple[tuple[Path, Path], ...]
    """Of the adapter and of its image encoder's folder."""
    files: tuple[IpFile, ...]
    pictures: tuple[Path, ...]
    """All of them: a run is made from them, too."""


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make paths absolute; returns problems of pictures that are not there."""
    problems: list[tuple[str, str]] = []
    units = []
    for number, unit in enumerate(settings.ip_adapter, 1):
        images = []
        for key, text in unit.images:
            path = files.find_file(text)
            images.append((key, text if path is None else str(path.resolve())))
            if path is None:
                message = f"ip_adapter {number}, images, keyframe {cut(key, 40)}: {files.missing(text)}"
                problems.append(("ip_adapter", message))
        found = {name: files.find(getattr(unit, name)) for name in ("model", "image_encoder")}
        absolute = {name: str(path.resolve()) for name, path in found.items() if path is not None}
        units.append(replace(unit, images=tuple(images), **absolute))  # type: ignore[arg-type]
    return replace(settings, ip_adapter=tuple(units)), problems


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with scales, and with units without pictures or an encoder."""
    if settings.ip_adapter and settings.refiner:
        yield (
            "ip_adapter",
            "ip_adapter: does not go with refiner, whose network has no weights for it; remove one of them",
        )
    for number, unit in enumerate(settings.ip_adapter, 1):
        where = f"ip_adapter {number} ({cut(unit.model, 60)})"
        if not unit.images:
            yield "ip_adapter", f"{where}: images has no picture; expected {{0: picture.png}}"
        if not unit.image_encoder:
            yield "ip_adapter", f"{where}: image_encoder is missing; expected the folder of its image encoder"
        try:
            scale = unit.scale.sample(settings.max_frames, variables_of(settings))
        except ScheduleError as error:
            if error.said_elsewhere:
                continue
            yield "ip_adapter", f"{where}, scale: {error.message}"
            continue
        wrong = ~(np.isfinite(scale) & (np.abs(scale) <= 10))
        if wrong.any():
            first = int(np.argmax(wrong))
            yield "ip_adapter", f"{where}, scale is {scale[first]:.6g} at frame {first}; expected -10..10"


def find(settings: Settings) -> IpAdapters:
    """Find the files of all units. Raises UserError."""
    problems: list[Problem] = []
    paths: list[tuple[Path, Path]] = []
    files: list[IpFile] = []
    roots = roots_of(settings.models_dir)
    for number, unit in enumerate(settings.ip_adapter, 1):
        try:
            encoder = library.find("image_encoder", unit.image_encoder, roots)
            if not (encoder / "config.json").is_file():
                raise UserError(f"{encoder}: no config.json; expected the folder of a CLIPVisionModelWithProjection")
            path = library.find("ip_adapter", unit.model, roots)
            files.append(read_file(path))
            paths.append((path, encoder))
        except UserError as error:
            problems += [Problem(f"ip_adapter {number}: {each.message}", each.where) for each in error.problems]
        problems += check_pictures((Path(path) for _, path in unit.images if is_file(Path(path))), "ip_adapter")
    if problems:
        raise UserError(problems)
    pictures = dict.fromkeys(Path(path) for unit in settings.ip_adapter for _, path in unit.images)
    return IpAdapters(tuple(paths), tuple(files), tuple(pictures))


def refusals(found: IpAdapters, width: int | None, title: str) -> Iterator[str]:
    """Yield a message for each adapter whose tokens are not as wide as the model's; see `loras.refusals`."""
    for number, file in enumerate(found.files, 1):
        if title and file.width != width:
            own = "no UNet" if width is None else f"{width} numbers a token"
            yield (
                f"ip_adapter {number}: {file.path} is made for prompts of {file.width} numbers a token; the model "
                f"({title}) has {own}"
            )


def attach(stages: Stages, found: IpAdapters, kit: Kit) -> Stages:
    """Return the stages as they are: `build` gives the files to the model."""
    return stages
