"""The manifest that a setting gives: a file, the JSON itself, or a web address."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from deforum.errors import UserError
from deforum.limits import MANIFEST
from deforum.settings.document import read_stream, read_text
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import DECLARATIONS, Settings
from deforum.settings.parseq.fields import OF_SEEDS, OVERRIDES, is_known, manage
from deforum.settings.parseq.manifest import Manifest, read_manifest
from deforum.settings.read import CANONICAL
from schedules import nearest
from schedules.quoting import cut, quote

SHORT = 20_000
"""Characters of a manifest in a settings file that are kept as they are; of longer ones, what is read."""
LONGEST_EMBEDDED = 2**21
"""Characters of a manifest that a run records in its settings."""


def is_inline(text: str) -> bool:
    """Whether the value of parseq_manifest is the manifest itself."""
    return text.lstrip()[:1] in ("{", "[")


def needs_fetching(text: str) -> bool:
    return is_url(text.strip())


def take_manifest(
    settings: Settings, files: Lookup, *, own: Mapping[str, bool] | None = None, where: str = ""
) -> tuple[Settings, tuple[str, ...]]:
    """Return settings with the values of the manifest that they name, see `fields.manage`; also notes, one line each.

    A path becomes absolute. A manifest that was fetched, and a long one in the settings, become the JSON of what is
    read of it, so that a run never depends on the address. `own` are settings that keep their values although the
    manifest has some, and whether a note says so; they join parseq_except. `where` is the place of the
    setting, for messages.

    Raises UserError where there is no such file, where it cannot be fetched, and where it cannot be read.
    """
    text, lenient = settings.parseq_manifest.strip(), settings.is_lenient
    notes: tuple[str, ...] = ()
    if is_inline(text):
        manifest = read_manifest(text, f"{where}, manifest" if where else "manifest", lenient=lenient)
        kept = text if len(text) <= SHORT else compact(manifest, manifest.file)
        file = ""
    elif needs_fetching(text):
        from deforum.models.web import fetch  # the library of web addresses takes a while to import

        held = fetch(text, MANIFEST)
        manifest = read_manifest(read_stream(BytesIO(held), cut(text), limit=MANIFEST), cut(text), lenient=lenient)
        notes = (f"fetched {cut(text)}, {len(held):,} bytes; what it gives is kept in the settings of the run",)
        kept, file = compact(manifest), ""
    else:
        path = locate(text, files)
        manifest = read_manifest(read_text(path, MANIFEST), str(path), lenient=lenient)
        kept = file = str(path)
    excepted = read_except(settings.parseq_except)
    own = own or {}
    own = {name: told for given, told in own.items() for name in (OF_SEEDS if given == "seed" else (given,))}
    all_of_it = manage(settings, manifest)[0].parseq if own else None
    offered = frozenset[str]() if all_of_it is None else all_of_it.settings
    if "seed_schedule" in offered:  # which turns Deforum's switch of subseeds on
        own = {name: told for name, told in own.items() if told or not name.startswith("subseed")}
    kept_own = [name for name in own if name in offered and name not in excepted]
    told = [name for name in kept_own if own[name]]
    notes += (f"what you ask for acts, and not the manifest's values: {', '.join(told)}",) if told else ()
    settings = replace(settings, parseq_except=" ".join([*excepted, *kept_own]))
    leave = {*excepted, *kept_own, *(name for name in own if name in OVERRIDES)}
    managed, said = manage(settings, manifest, leave=leave, file=file)
    return replace(managed, parseq_manifest=kept), (*notes, *said)


def read_except(text: str) -> tuple[str, ...]:
    """Return the settings in the value of parseq_except. Raises UserError for names that are no setting's."""
    names = []
    for word in re.split(r"[,\s]+", text.strip()):
        name = CANONICAL.get(word, word)
        if word and name not in DECLARATIONS and not re.fullmatch(r"cn_\d+_\w+", name):
            meant = nearest(word, [*DECLARATIONS, *CANONICAL])
            hint = f"; did you mean {meant}?" if meant else "; expected names of settings, such as strength prompts"
            raise UserError(f"parseq_except: there is no setting {quote(word)}{hint}")
        names += [name] if name else []
    return tuple(dict.fromkeys(names))


def locate(text: str, files: Lookup) -> Path:
    """Return the absolute path of a manifest's file. Raises UserError where there is none."""
    path = files.find_file(text)
    if path is None:
        raise UserError(f"parseq_manifest: {files.missing(text)}; expected a file, or the JSON that Parseq renders")
    return path.absolute()


def embedded(settings: Settings) -> Settings:
    """Return settings with their manifest in them, as a run records it; one that is too long stays a file.

    So a run goes on after its manifest's file was written anew, and its values can be compared with the new ones.
    """
    if settings.parseq is None or is_inline(settings.parseq_manifest):
        return settings
    text = compact(settings.parseq.manifest, settings.parseq.file)
    return replace(settings, parseq_manifest=text) if len(text) <= LONGEST_EMBEDDED else settings


def without_embedded(settings: Settings) -> Settings:
    """Return settings with the file of a long manifest in its place, to be written into every frame."""
    if settings.parseq is None or not settings.parseq.file or len(settings.parseq_manifest) <= SHORT:
        return settings
    return replace(settings, parseq_manifest=settings.parseq.file)


@lru_cache(maxsize=4)
def compact(manifest: Manifest, file: str = "") -> str:
    """Return the JSON of what is read of a manifest; `file` is where it is from."""
    numbers = {name: curve.tolist() for name, curve in manifest.numbers.items() if is_known(name)}
    texts = {name: values for name, values in manifest.texts.items() if is_known(name)}

    def plain(number: float) -> float:
        return int(number) if number.is_integer() and abs(number) < 1e15 else number

    records: list[dict[str, Any]] = [
        {"frame": index, **{name: plain(values[index]) for name, values in numbers.items()},
         **{name: values[index] for name, values in texts.items()}}
        for index in range(manifest.num_frames)
    ]  # fmt: skip
    last = manifest.num_frames - 1
    keyframes = sorted(last - each if manifest.is_reversed else each for each in manifest.keyframes)
    options = {"output_fps": manifest.fps, "cadence": manifest.cadence}
    whole: dict[str, Any] = {"meta": {"file": file}} if file else {}
    whole |= {
        "options": {name: plain(float(value)) for name, value in options.items() if value is not None},
        "keyframes": [{"frame": each} for each in keyframes],
        "reverseRender": manifest.is_reversed,
        "rendered_frames": records,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
