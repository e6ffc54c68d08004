"""What a run is called, and the folder of that name: a new one each time."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError, disk_error

if TYPE_CHECKING:
    from deforum.settings.options import Settings

_RESERVED = re.compile(r'[<>:"/\\|?*\s,\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
LONGEST_NAME = 120  # bytes; leaves room for suffixes within the 255 of most file systems and Windows' 260 for a path
LONGEST_VALUE = 50  # characters, of a setting within a name


def safe_name(text: str) -> str:
    """Turn any text into a file name that every file system takes, and that stays where it is put."""
    name = _RESERVED.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")
    name = name.rstrip(".")  # Windows drops trailing dots; this also disposes of '.' and '..'
    if name.startswith(("-", "~")) or _DEVICES.fullmatch(name):
        name = f"_{name}"  # an option, a home folder, or one of DOS's devices
    return name or "run"


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace `{name}` by values, whose names are lower-case; a name that is not known stays as it is written."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1].lower())
        return match[0] if value is None else str(value)[:LONGEST_VALUE]

    return re.sub(r"\{(\w+)\}", value_of, template)


def name_values(settings: Settings, now: datetime) -> dict[str, object]:
    """List what `{...}` in a run's name can stand for: every setting, and the time."""
    from deforum.settings.options import DECLARATIONS
    from deforum.settings.yaml_writer import write_value
    from schedules import NumberSchedule, TextSchedule

    values: dict[str, object] = {}
    for name, declaration in DECLARATIONS.items():
        value = getattr(settings, name) if hasattr(settings, name) else getattr(settings.params, name)
        if isinstance(value, TextSchedule) and len(value.keyframes) == 1:
            value = value.keyframes[0].value
        elif isinstance(value, NumberSchedule | float):
            value = write_value(value).strip('"')  # 7, not 0: (7), nor 7.0
        value = getattr(value, "text", value)  # a schedule is named by its text
        for known in (name, *declaration.old):
            values.setdefault(known.lower(), value)
    values["prompts"] = settings.prompts[0][1] if settings.prompts else ""
    values["batch_name"] = fill(settings.batch_name, {**values, "batch_name": ""})
    return values | {
        "timestring": now.strftime("%Y%m%d%H%M%S"),
        "date": now.strftime("%Y-%m-%d"),
        "time": now.strftime("%H-%M-%S"),
    }


def run_name(settings: Settings, now: datetime) -> str:
    """Give the name of a run's folder: the setting batch_name, filled in and made safe."""
    return safe_name(fill(settings.batch_name, name_values(settings, now)))


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there: `name`, else `name_2`, `name_3`. Raises UserError where that cannot be."""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileExistsError as error:
            if not parent.is_dir():
                raise UserError(f"{parent}: is no folder; output takes the folder for the runs") from error
            number += 1
        except OSError as error:
            raise disk_error(error, folder) from error


def runs_folder(settings: Settings, output: Path | None) -> Path:
    """Choose the folder that runs are made in. Raises UserError where that cannot be."""
    folder = (Path(settings.output) if output is None else output).expanduser()
    if folder.is_file():
        raise UserError(f"{folder}: is a file; output takes the folder for the runs")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: writing here is not allowed; choose another folder with -o")
    return folder
