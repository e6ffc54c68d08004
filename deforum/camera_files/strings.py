"""Deforum's own schedules as text, as the Blender add-on "Export Camera Animation to Diffusion Notebook String" writes
them: translation_x, _y, _z, rotation_3d_x, _y, _z and fov, a line each.

    translation_x = "0:(0), 1:(2.5)"

Convention: the motion from the frame before, read as the renderer reads its settings: degrees, and 1/200 scene unit.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from deforum.camera_files.motion import MOTION, Curves, curves_of, path_of_curves
from deforum.camera_files.path import CameraPath
from deforum.camera_files.reading import CameraFile, Wanted, check_count, read_text, refuse
from deforum.camera_files.rotations import Array
from deforum.camera_files.writing import digits
from deforum.limits import TEXT
from schedules import NumberSchedule, ScheduleError, Variables, parse_number

FOV = ("fov_schedule", "fov")
_LINE = re.compile(
    r"""^[ \t]*["']?(translation_[xyz]|rotation_3d_[xyz]|fov_schedule|fov)["']?[ \t]*(?:\#@param.*)?[=:][ \t]*(.*)$""",
    re.MULTILINE,
)


def recognises(file: CameraFile) -> bool:
    return _LINE.search(file.start) is not None


def read(file: CameraFile, wanted: Wanted) -> CameraPath:
    """Read the first camera of a file, as long as its last keyframe."""
    path = file.path
    schedules: dict[str, tuple[NumberSchedule, int]] = {}
    several = False
    text = read_text(path)
    for found in _LINE.finditer(text):
        name = "fov" if found[1] in FOV else found[1]
        line = text.count("\n", 0, found.start()) + 1
        if name in schedules:
            several = True
            break
        schedules[name] = _schedule(found[2], name, path, line), line
    if not set(MOTION) & set(schedules):
        check_count(0, path)
    variables = Variables(seed=0, fps=wanted.fps or 15.0)
    keys = [keyframe.key.at for schedule, _ in schedules.values() for keyframe in schedule.keyframes]
    last = max((key for key in keys if isinstance(key, int)), default=0)
    check_count(last + 1, path)
    curves: Curves = {}
    for name, (schedule, line) in schedules.items():
        curves[name] = _sample(schedule, last + 1, variables, name, path, line)
    notes = ["the file has several cameras; the first one is taken"] if several else []
    return path_of_curves(curves, notes=notes)


def _schedule(written: str, name: str, path: Path, line: int) -> NumberSchedule:
    text = written.strip()
    if text[:1] in ('"', "'"):
        end = text.find(text[0], 1)
        while end > 0 and text[end - 1] == "\\":
            end = text.find(text[0], end + 1)
        text = text[1 : end if end > 0 else len(text)].replace(f"\\{text[0]}", text[0])
    else:
        text = text.rstrip(",;")
    if len(text) > TEXT.most:
        refuse(path, f"{name} {TEXT.exceeded(len(text))}", line)
    try:
        return parse_number(text, name=name)
    except ScheduleError as error:
        refuse(path, str(error), line)


def _sample(schedule: NumberSchedule, count: int, variables: Variables, name: str, path: Path, line: int) -> Array:
    try:
        values = np.asarray(schedule.sample(count, variables), np.float64)
    except ScheduleError as error:
        refuse(path, str(error), line)
    if not (np.abs(values) < 1e9).all():
        refuse(path, f"{name} has values that are out of range", line)
    return values


def write(path: CameraPath, wanted: Wanted) -> dict[str, bytes]:
    """Write the motion as schedules; the position of the first pose is left out."""
    curves = curves_of(path)
    lines = [f'{name} = "{_text(curves[name])}"\n' for name in (*MOTION, "fov") if name in curves]
    return {"": "".join(lines).encode("ascii")}


def _text(values: Array) -> str:
    """Write a curve: a keyframe wherever the value before does not go on, or would be mixed with the next one."""
    texts = [digits(value) for value in values.tolist()]
    last = len(texts) - 1
    kept = [
        index for index, text in enumerate(texts)
        if index in (0, last) or text != texts[index - 1] or text != texts[index + 1]
    ]  # fmt: skip
    return ", ".join(f"{index}: ({texts[index]})" for index in kept)
