"""What a render goes on with: runs and sweeps that were stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.files import STDIN, find_files, load_file
from deforum.cli.sweep import Axis, Job, list_jobs
from deforum.errors import UserError
from deforum.sources import SWEEP_FILE

if TYPE_CHECKING:
    from deforum.settings.options import Settings


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for."""

    file: str
    overrides: tuple[str, ...]

    @staticmethod
    def of(file: Path, overrides: Sequence[str]) -> Sweep:
        return Sweep(str(file.absolute()), tuple(overrides))

    def write(self, folder: Path) -> None:
        """Write it into the folder of the sweep; a sweep of the standard input cannot be resumed, and is not written.

        Raises OSError.
        """
        if self.file != str(STDIN.absolute()):
            (folder / SWEEP_FILE).write_text(json.dumps({"file": self.file, "overrides": self.overrides}, indent=1))


def read_sweep(folder: Path) -> Sweep | None:
    """Read the sweep of a folder; None where it has none. Raises UserError where it is damaged."""
    path = folder / SWEEP_FILE
    try:
        told = json.loads(path.read_text("utf-8"))
        return Sweep(str(told["file"]), tuple(map(str, told["overrides"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(f"{path}: damaged; resume the runs in {folder} one by one") from None


def find_sweep(parent: Path, sweep: Sweep) -> Path | None:
    """Find the newest folder of a sweep; None if there is none."""
    folders = [path.parent for path in parent.glob(f"*/{SWEEP_FILE}")]
    same = [folder for folder in folders if read_sweep(folder) == sweep]
    return max(same, key=lambda folder: (folder / SWEEP_FILE).stat().st_mtime, default=None)


def jobs_to_resume(
    folders: Sequence[Path], files: Sequence[str], overrides: Sequence[str]
) -> tuple[list[Job], tuple[Axis, ...], dict[Path, Path]]:
    """Return a job for each run to resume, or all those of a sweep, with its axes, and the folder of each swept file.

    A settings file and overrides are compared with the run. Raises UserError.
    """
    sweep = read_sweep(folders[0]) if len(folders) == 1 else None
    if sweep is not None:
        if files or overrides:
            raise UserError(f"{folders[0]}: a sweep is resumed as it was asked for, without a file or name=value")
        file = Path(sweep.file)
        if not file.is_file():
            raise UserError(f"{folders[0]}: its settings file {file} is not there any more; resume its runs one by one")
        jobs, axes = list_jobs([file], sweep.overrides)
        return jobs, axes, {file: folders[0]}
    given = find_files(files)
    if len(given) > 1 or (given and len(folders) > 1):
        raise UserError("--resume: give one settings file, to be compared with one run, or none")
    jobs = [Job(given[0] if given else folder, tuple(overrides), run=folder) for folder in folders]
    return jobs, (), {}


def settings_given(job: Job, *, allow_download: bool) -> Settings | None:
    """Return the settings that a run to resume is compared with; None if none were given."""
    if job.run is None or (job.file == job.run and not job.overrides):
        return None
    return load_file(job.file, job.overrides, allow_download=allow_download).settings
