"""Conversion of settings files of any kind to clean, commented YAML that renders the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import UserError
from deforum.paths import to_path

if TYPE_CHECKING:
    from deforum.loading import Loaded


@dataclass(frozen=True)
class Conversion:
    """The settings that were read, and the file to write."""

    name: str
    """The source's name in the head of the YAML."""
    loaded: Loaded
    target: Path | None
    """None: the standard output."""

    @property
    def text(self) -> str:
        from deforum.settings.read import dump
        from deforum.version import __version__

        # Settings without effect are noted at each reading of the file; a later version may support them.
        kept = (note for note in self.loaded.report if not note.startswith("without effect"))
        notes = (f"# {line}" for note in kept for line in note.splitlines())
        head = [f"# Converted from {self.name} by deforum {__version__}; it renders the same.", *notes]
        return "\n".join(head) + "\n\n" + dump(self.loaded.settings)


def convert(loaded: Loaded, folder: Path, target: Path | None, *, name: str) -> Conversion:
    """Prepare the YAML of settings that were read from a file in `folder`, for the file `target`.

    Paths relative to the folder become absolute if the YAML goes to another folder.
    """
    from dataclasses import replace

    from deforum.settings.files import Lookup
    from deforum.validate import locate_files

    if target is None or target.resolve().parent != folder.resolve():
        found, _ = locate_files(loaded.settings, {}, Lookup(folder))
        loaded = replace(loaded, settings=found)
    elif loaded.settings.camera_file and (camera := Path(loaded.settings.camera_file)).is_relative_to(folder.resolve()):
        camera = camera.relative_to(folder.resolve())
        loaded = replace(loaded, settings=replace(loaded.settings, camera_file=camera.as_posix()))
    return Conversion(name, loaded, target)


def targets(sources: Sequence[Path], output: str | None, *, overwrite: bool) -> list[Path | None]:
    """Return the path of the YAML of each source: beside it, or the file or folder `output`; None for "-" (standard
    output). Raises UserError for a path that would lose a file or is not YAML.
    """
    if output == "-":
        return [None] * len(sources)
    folder = to_path(output) if output is not None else None
    if folder is not None and not folder.is_dir() and len(sources) == 1:
        chosen = [folder]
    elif folder is not None and not folder.is_dir():
        raise UserError(f"{output}: is not a folder, and there are {len(sources)} files to convert; give -o a folder")
    else:
        chosen = [(folder or source.parent) / f"{source.stem}.yaml" for source in sources]
    for source, target in zip(sources, chosen, strict=True):
        if chosen.count(target) > 1:
            raise UserError(f"{target}: several files would be written here; convert them one by one with -o")
        if target.exists() and target.resolve() == source.resolve():
            raise UserError(f"{target}: this is the file itself; choose another one with -o")
        if target.exists() and not overwrite:
            raise UserError(f"{target}: already exists; choose another one with -o, or add --overwrite")
        if target.suffix.lower() not in (".yaml", ".yml"):
            raise UserError(f"{target}: the output is YAML; its name has to end in .yaml")
    return list(chosen)
