"""The name of a run, and a new folder of that name for each run."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError, disk_error
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.settings.options import Settings

_RESERVED = re.compile(r'[<>:"/\\|?*\s,\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')  # C1, bidi
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
LONGEST_NAME = 120  # bytes; leaves room for suffixes within the 255 of most file systems and Windows' 260 for a path
LONGEST_VALUE = 50  # characters of a setting's value within a name


def safe_name(text: str) -> str:
    """Convert any text to a file name that is valid on every file system and cannot leave its folder."""
    name = _RESERVED.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")
    name = name.rstrip(".")  # Windows drops trailing dots; this also removes '.' and '..'
    if name.startswith(("-", "~")) or _DEVICES.fullmatch(name):
        name = f"_{name}"  # else read as an option, a home folder, or a DOS device
    return name or "run"


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each `{name}` by its value, cut to LONGEST_VALUE; keys are lower-case, unknown names stay unchanged."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1].lower())
        return match[0] if value is None else str(value)[:LONGEST_VALUE]

    return re.sub(r"\{(\w+)\}", value_of, template)


def name_values(settings: Settings, now: datetime) -> dict[str, object]:
    """Return the values for `{...}` in a run's name: every setting, and the time."""
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
    """Return the name of a run's folder: the setting batch_name, filled in and made a safe file name."""
    return safe_name(fill(settings.batch_name, name_values(settings, now)))


def new_folder(parent: Path, name: str) -> Path:
    """Create a new folder: `name`, else `name_2`, `name_3`, ... Raises UserError where it cannot be created."""
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
    """Return the parent folder of runs: `output`, or the setting; it may not exist yet.

    Raises UserError where no run can be written into it, which is tried with an empty folder.
    """
    folder = to_path(settings.output if output is None else output)
    there = next(each for each in (folder, *folder.parents, Path()) if os.path.exists(each))
    if not there.is_dir():
        what = "is a file; output takes the folder for the runs"
        raise UserError(f"{there}: {what}" if there == folder else f"{folder}: {there} {what}")
    if not os.access(there, os.W_OK):
        raise UserError(f"{there}: writing here is not allowed; choose another folder with -o")
    try:
        for name in folder.parts[len(there.parts) :]:
            with contextlib.suppress(FileNotFoundError):
                os.stat(there / name)  # fails for a name that is too long
        os.rmdir(tempfile.mkdtemp(prefix=".deforum_", dir=there))
    except OSError as error:
        raise disk_error(OSError(error.errno, error.strerror), folder) from error
    return folder
