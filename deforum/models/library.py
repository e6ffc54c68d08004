"""Models by name: a path, a file's name, the web UI's "name [hash]", a title in the metadata, the local hub cache.

Does not import torch, and reads no weights; see `places` for the folders that are searched.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from deforum.errors import UserError
from deforum.models import hub
from deforum.models.catalogue import existing
from deforum.models.digest import digest_of_file, known_digests, known_key
from deforum.models.places import KINDS, VARIABLE, Entry, Kind, entries, is_model_folder
from deforum.models.weights import SUFFIXES, read_header
from deforum.paths import is_file
from schedules.quoting import cut, quote

TITLES = ("modelspec.title", "ss_output_name")
"""Metadata of a .safetensors file that name the model: Stability AI's modelspec, kohya's trainer."""
MOST_LISTED = 12
_HASH = re.compile(r"(.*?)\s*\[([0-9a-fA-F]{8,64})\]", re.S)


def find(kinds: Kind | Sequence[Kind], name: str, roots: Sequence[Path]) -> Path:
    """Return the file or folder of a model of one of `kinds`, see `look_up`. Raises UserError where there is none."""
    found = look_up(kinds, name, roots)
    if found is None:
        raise missing(kinds, name, roots)
    return found


def look_up(kinds: Kind | Sequence[Kind], name: str, roots: Sequence[Path]) -> Path | None:
    """Return the file or folder of a model of one of `kinds`; None where there is none.

    `name` is a path, or a name under `roots` (see `places.roots_of`): the path from a folder of that kind, a file name
    with or without its ending, either with the first digits of the file's SHA-256 in square brackets, as the web UI
    writes it, or the title in its metadata; upper and lower case do not matter. Then `owner/name` and
    `owner/name/file.safetensors` of the local hub cache. Raises UserError where several models have the name, and where
    the digits are those of another file.
    """
    text = name.strip()
    path = existing(text)
    if path is not None and (path.is_file() or is_model_folder(path)):
        return path
    wanted, digits = _split_hash(text)
    there = entries(_several(kinds), roots)
    candidates = _named(wanted, there)
    if digits and candidates:
        right = [entry for entry in candidates if _has_digits(entry.path, digits)]
        if not right:
            raise UserError(_other_file(name, wanted, digits, candidates))
        candidates = right
    elif digits:
        candidates = _known_by(digits, there)
    if not candidates and wanted:
        candidates = [entry for entry in there if wanted.casefold() in map(str.casefold, titles_of(entry.path))]
    if len(candidates) > 1:
        raise UserError(_ambiguous(kinds, name, candidates))
    return candidates[0].path if candidates else _in_hub_cache(text)


def missing(kinds: Kind | Sequence[Kind], name: str, roots: Sequence[Path]) -> UserError:
    """Return the error for a model that is not there: the nearest name, and where it was looked for."""
    from schedules import nearest

    title = " or ".join(KINDS[kind].title for kind in _several(kinds))
    there = entries(_several(kinds), roots)
    close = nearest(_split_hash(name)[0], [_stem(entry) for entry in there])
    said = f"there is no {title} {quote(cut(name))}" + (f", did you mean {close!r}?" if close else "")
    if not roots:
        return UserError(f"{said}; give its path, or set models_dir (or {VARIABLE}) to the folder of your models")
    looked = ", ".join(map(str, roots))
    if not there:
        return UserError(f"{said}; none of this kind is in {looked}")
    return UserError(f"{said}; looked at the {len(there):,} of this kind in {looked} (the command models lists them)")


def titles_of(path: Path) -> tuple[str, ...]:
    """Return the titles in a model's metadata; none for a file that has none, or that cannot be read."""
    if path.suffix.lower() not in (".safetensors", ".sft"):
        return ()
    try:
        metadata = read_header(path).metadata
    except UserError:
        return ()
    return tuple(dict.fromkeys(title for key in TITLES if (title := metadata.get(key, "").strip())))


def old_hash(path: Path) -> str:
    """Return the 8 digits by which web UIs of 2022 called a checkpoint: of 64 KB at 1 MB. "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except OSError:
        return ""


def digest_without_header(path: Path) -> str:
    """Return the SHA-256 of a .safetensors file's numbers, by which LoRAs are known. "" if it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(8 + struct.unpack("<Q", file.read(8))[0])
            while block := file.read(1 << 20):
                found.update(block)
    except (OSError, struct.error, OverflowError):
        return ""
    return found.hexdigest()


def _several(kinds: Kind | Sequence[Kind]) -> tuple[Kind, ...]:
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _split_hash(text: str) -> tuple[str, str]:
    """Split "name [hash]" into name and digits; "" for none."""
    match = _HASH.fullmatch(text.strip())
    return (match[1].strip(), match[2].lower()) if match else (text.strip(), "")


def _stem(entry: Entry) -> str:
    return entry.path.name if entry.path.is_dir() else entry.path.stem


def _named(name: str, there: Iterable[Entry]) -> list[Entry]:
    """List the models of a name: those whose path from their folder it is, or else whose file name or stem it is."""
    wanted = name.replace("\\", "/").strip("/")
    if not wanted:
        return []
    listed = list(there)
    by_path: Callable[[Entry], tuple[str, ...]] = lambda entry: _with_and_without_end(entry.relative)  # noqa: E731
    by_name: Callable[[Entry], tuple[str, ...]] = lambda entry: _with_and_without_end(entry.path.name)  # noqa: E731
    for names in (by_path, by_name):
        found = [entry for entry in listed if wanted.casefold() in map(str.casefold, names(entry))]
        if found:
            exact = [entry for entry in found if wanted in names(entry)]
            return exact or found
    return []


def _with_and_without_end(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    return (name, name.removesuffix(path.suffix)) if path.suffix.lower() in SUFFIXES else (name,)


def _has_digits(path: Path, digits: str) -> bool:
    if not is_file(path):
        return False
    if len(digits) == 8 and old_hash(path) == digits:
        return True
    return digest_of_file(path).startswith(digits) or digest_without_header(path).startswith(digits)


def _known_by(digits: str, there: Iterable[Entry]) -> list[Entry]:
    """List the models whose digest is known without reading them, and begins with `digits`."""
    known = known_digests()
    found = []
    for entry in there:
        try:
            digest = known.get(known_key(entry.path), "")
        except OSError:
            continue
        if digest.startswith(digits):
            found.append(entry)
    return found


def _in_hub_cache(text: str) -> Path | None:
    """Return the folder of "owner/name" where it is a model, its one file of weights, or "owner/name/file"."""
    name, file = "/".join(text.split("/")[:2]), "/".join(text.split("/")[2:])
    folder = hub.cached_folder(name) if hub.is_name(name) else None
    if folder is None or ".." in Path(file).parts:
        return None
    if file or is_model_folder(folder):
        return folder / file if is_file(folder / file) or is_model_folder(folder / file) else None
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if len(inside) > 1:
        listed = ", ".join(f"{name}/{path.name}" for path in inside[:MOST_LISTED])
        raise UserError(f"{name} has {len(inside)} files of weights in the local hub cache; give one: {listed}")
    return inside[0] if inside else None


def _ambiguous(kinds: Kind | Sequence[Kind], name: str, found: Sequence[Entry]) -> str:
    title = " or ".join(KINDS[kind].title for kind in _several(kinds))
    paths = [str(entry.path) for entry in found]
    more = f" and {len(paths) - MOST_LISTED} more" if len(paths) > MOST_LISTED else ""
    return (
        f"{len(paths)} models fit the {title} name {quote(cut(name))}: {', '.join(paths[:MOST_LISTED])}{more}; give "
        f"the path of one"
    )


def _other_file(name: str, wanted: str, digits: str, found: Sequence[Entry]) -> str:
    first = found[0].path
    return (
        f"{quote(cut(name))}: {first} has the digest {digest_of_file(first)[:10]}, not {digits}: another file of this "
        f"name; leave [{digits}] out to use it"
    )
