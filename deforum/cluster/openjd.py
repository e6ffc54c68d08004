"""Runs as a template of Open Job Description (jobtemplate-2023-09), for the queues of render farms.

Each run has three steps: its folder is made, its pieces are rendered, one task each, and its film is made. Files are
parameters of type PATH, so that a farm sends them along and maps their places.

Source: https://github.com/OpenJobDescription/openjd-specifications, "2023-09 Template Schemas".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deforum.build import Prepared
from deforum.cluster.tasks import Resources, resources_of
from deforum.errors import UserError
from deforum.output.inputs import find_inputs, place_of
from deforum.output.record import Piece
from deforum.settings.options import OPTIONS, Settings

SPECIFICATION = "jobtemplate-2023-09"
MOST_STEPS = 100
MOST_PARAMETERS = 50
LONGEST_NAME = 64
PROGRAM, OUTPUT = "Deforum", "Output"
"""Parameters: the program, and the folder for the runs."""


@dataclass(frozen=True)
class Submission:
    """A run to submit: its settings file, what is changed in it, and what it will be made of."""

    name: str
    """That of its folder."""
    file: Path
    overrides: tuple[str, ...]
    prepared: Prepared
    pieces: tuple[Piece, ...]
    chunk: int
    """Frames of a chunk, as `--chunk` takes them."""


@dataclass(frozen=True)
class Template:
    """A job template, and what belongs to it."""

    text: str
    """YAML."""
    values: Mapping[str, str]
    """Parameters of files outside of the template's folder: a template names only those below it."""
    notes: tuple[str, ...]


def template_of(name: str, runs: Sequence[Submission], output: Path, folder: Path) -> Template:
    """Return the job template of runs, which will be in a folder. Raises UserError for what a template cannot hold."""
    parameters: dict[str, dict[str, Any]] = {
        PROGRAM: {"type": "STRING", "default": "deforum", "description": "The program: a name, or its path."},
        OUTPUT: {
            "type": "PATH", "objectType": "DIRECTORY", "dataFlow": "INOUT", "default": str(output.absolute()),
            "description": "Folder for the runs.",
        },
    }  # fmt: skip
    steps: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, run in enumerate(runs, 1):
        more = "" if len(runs) == 1 else f" {number}"
        steps += _steps(run, more, parameters, notes)
    check_steps(len(runs), len(steps), len(parameters))
    values = {key: value["default"] for key, value in parameters.items() if value["type"] == "PATH"}
    for key, path in list(values.items()):
        if Path(path).is_relative_to(folder.absolute()):
            parameters[key]["default"] = Path(values.pop(key)).relative_to(folder.absolute()).as_posix()
        else:
            del parameters[key]["default"]
    document = {
        "specificationVersion": SPECIFICATION,
        "name": _name(name),
        "parameterDefinitions": [{"name": key, **value} for key, value in parameters.items()],
        "steps": steps,
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return Template(text, values, tuple(notes))


def check_steps(runs: int, steps: int, parameters: int) -> None:
    """Raise UserError for more than a template holds."""
    if steps > MOST_STEPS or parameters > MOST_PARAMETERS:
        raise UserError(
            f"{runs} runs make {steps} steps and {parameters} parameters; a job template holds {MOST_STEPS} and "
            f"{MOST_PARAMETERS}: submit fewer runs at once"
        )


def _name(text: str) -> str:
    return re.sub(r"[^\w .()=-]", "_", text)[:LONGEST_NAME]


def _steps(run: Submission, more: str, parameters: dict[str, dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Return the steps of a run; the parameters of its files are added to those that are known."""
    file = _path_parameter(parameters, "Settings", run.file)
    words = ["plan", file, *map(_literal, run.overrides)]
    words += [f"{name}={where}" for name, where in _files(run, parameters, notes).items()]
    folder = f"{{{{Param.{OUTPUT}}}}}/{run.name}"
    words += ["-o", f"{{{{Param.{OUTPUT}}}}}", "--name", run.name, "--chunk", str(run.chunk)]
    begin, render, film = f"Begin{more}", f"Render{more}", f"Film{more}"
    resources = resources_of(run.prepared, run.prepared.settings)
    steps = [
        _step(begin, words, None),
        _step(render, ["--resume", folder, "--progress", "openjd"], begin, resources),
    ]
    if run.pieces:
        steps[1]["script"] = _script(["--resume", folder, "--piece", "{{Task.Param.Piece}}", "--progress", "openjd"])
        steps[1]["parameterSpace"] = {
            "taskParameterDefinitions": [{"name": "Piece", "type": "INT", "range": f"1-{len(run.pieces)}"}]
        }
        steps.append(_step(film, ["--resume", folder, "--progress", "openjd"], render))
    return steps


def _step(name: str, words: list[str], after: str | None, resources: Resources | None = None) -> dict[str, Any]:
    step: dict[str, Any] = {"name": name}
    if after is not None:
        step["dependencies"] = [{"dependsOn": after}]
    if resources is not None:
        amounts = [{"name": "amount.worker.memory", "min": max(1, -(-resources.bytes // (1 << 20)))}]
        amounts += [{"name": "amount.worker.gpu", "min": resources.gpus}] * bool(resources.gpus)
        step["hostRequirements"] = {"amounts": amounts}
    step["script"] = _script(words)
    return step


def _script(words: list[str]) -> dict[str, Any]:
    return {"actions": {"onRun": {"command": f"{{{{Param.{PROGRAM}}}}}", "args": words}}}


def _files(run: Submission, parameters: dict[str, dict[str, Any]], notes: list[str]) -> Mapping[str, str]:
    """Return the settings that name files of a run, as overrides by parameters; other files are parameters alone."""
    settings, overrides = run.prepared.settings, dict[str, str]()
    for name, path in named_files(settings).items():
        overrides[name] = _path_parameter(parameters, _camel(name), path)
    known = {Path(str(each.get("default", ""))) for each in parameters.values()}
    others = [place_of(each) for each in find_inputs(run.prepared) if Path(each.path).is_absolute()]
    others += [Path(shot.file) for shot in settings.shots if shot.file]
    others = [path for path in others if not any(path == each or each in path.parents for each in known if each.name)]
    for path in others:
        _path_parameter(parameters, "Input", path)
    if others:
        listed = ", ".join(str(path) for path in others[:3]) + (" ..." if len(others) > 3 else "")
        notes.append(f"{listed}: sent along; a setting with several files names them, so they keep their places")
    return overrides


def named_files(settings: Settings) -> dict[str, Path]:
    """Return the files and folders that settings name, by the setting."""
    found = {}
    for name, declaration in OPTIONS.items():
        value = getattr(settings, name)
        if declaration.path and isinstance(value, str) and value and value not in declaration.words:
            path = Path(value)
            if path.is_absolute() and path.exists():
                found[name] = path
    return found


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _path_parameter(parameters: dict[str, dict[str, Any]], name: str, path: Path) -> str:
    """Add a parameter for a file, unless there is one for it; return what stands for its value."""
    text, number = str(path.absolute()), 1
    key = name
    while key in parameters and parameters[key].get("default") != text:
        number += 1
        key = f"{name}{number}"
    kind = "DIRECTORY" if path.is_dir() else "FILE"
    parameters[key] = {"type": "PATH", "objectType": kind, "dataFlow": "IN", "default": text}
    return f"{{{{Param.{key}}}}}"


def _literal(word: str) -> str:
    """Return a word that no farm takes for a parameter. Raises UserError."""
    if "{{" in word or re.search(r"[\x00-\x1f\x7f]", word):
        raise UserError(f"{word}: a job template takes {{{{ for a parameter; put this into the settings file")
    return word
