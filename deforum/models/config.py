"""Reading of the JSON configurations in a model's folder. They are a stranger's: nothing in them is taken on trust."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deforum.errors import UserError
from deforum.limits import LAYERS, MODEL_CONFIG


@dataclass(frozen=True)
class Document:
    """A file of JSON that was read. Those of the same content are equal, wherever they lie."""

    path: Path = field(compare=False)
    content: bytes


def read_document(path: Path) -> Document:
    """Read a file of JSON, without looking into it. Raises UserError where it cannot be read or is too large."""
    try:
        MODEL_CONFIG.check(path.stat().st_size, str(path))
        return Document(path, path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


def read_config(source: Path | Document) -> dict[str, Any]:
    """Read a JSON object. Raises UserError where the file is not one."""
    document = source if isinstance(source, Document) else read_document(source)
    path = document.path
    try:
        read = json.loads(document.content.decode("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None
    except RecursionError:
        raise UserError(f"{path}: cannot be read as JSON (nested too deeply)") from None
    if not isinstance(read, dict):
        raise UserError(f"{path}: expected a JSON object, not a {type(read).__name__}")
    return read


def check_network(path: Path, config: Mapping[str, Any]) -> None:
    """Check the configuration of a network that a library is going to build.

    Raises UserError where it names code or another model to download, or asks for more layers than any network has.
    """
    for key, value in _entries(config):
        if key == "auto_map" and value:
            raise UserError(f"{path}: auto_map asks to run code of the model's own; that is never done here")
        if key == "backbone" and value is not None:
            raise UserError(
                f"{path}: backbone {str(value)[:60]!r} names another model, which would be downloaded; expected null, "
                f"with the backbone described in backbone_config"
            )
        counts = value if isinstance(value, list) else [value]
        if "layers" in key and any(isinstance(n, int | float) and not abs(n) <= LAYERS.most for n in counts):
            raise UserError(f"{path}: {key} is more than {LAYERS.most:,}, which no network has")


def whole(path: Path, config: Mapping[str, Any], key: str, default: int, most: int) -> int:
    """Return a whole number of a configuration, 1..most. Raises UserError where it is anything else."""
    value = config.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise UserError(f"{path}: {key} is {repr(value)[:60]}; expected a whole number from 1 to {most:,}")
    return value


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    rest: list[Any] = [config]
    while rest:
        value = rest.pop()
        if isinstance(value, Mapping):
            yield from ((str(key), each) for key, each in value.items())
            rest += value.values()
        elif isinstance(value, list):
            rest += value
