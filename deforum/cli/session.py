"""What the runs of one command share: its arguments, its stop, loaded models, and the folders of its runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.cli.console import BROKEN, USER, Console
from deforum.cli.files import load_file, name_of
from deforum.cli.outcomes import Outcome
from deforum.cli.terminal import Stop
from deforum.errors import UserError, disk_error
from deforum.models.kept import KeptModels

if TYPE_CHECKING:
    from deforum.cli.sweep import Job
    from deforum.loading import Loaded
    from deforum.settings.options import Settings


@dataclass(frozen=True)
class Session:
    """State shared by the runs of one command."""

    arguments: argparse.Namespace
    stop: Stop
    sweeps: dict[Path, Path] = field(default_factory=dict)
    """The sweep folder of each file."""
    models: KeptModels = field(default_factory=KeptModels)
    """Loaded models, reused by the next run."""
    begun: dict[Job, Path] = field(default_factory=dict)
    """The folder of each run that began."""

    @property
    def is_continued(self) -> bool:
        """Whether finished runs of the same settings are left out, and those that were stopped are resumed."""
        return bool(self.arguments.is_continued or self.arguments.resume)

    @property
    def console(self) -> Console:
        console: Console = self.arguments.console
        return console

    def tell(self, path: Path, line: str) -> None:
        self.console.note(line, name_of(path))

    def load(self, job: Job) -> Loaded:
        """Read the settings of a run and print the notes on them."""
        given = self.arguments.output
        # The folder of the person who renders is an override, so that the file's own is not even read.
        overrides = job.overrides if given is None else (*job.overrides, f"output={given}")
        loaded = load_file(job.file, overrides, allow_download=self.arguments.allow_download)
        for line in loaded.report:
            self.tell(job.file, line)
        return loaded

    def folder(self, job: Job, settings: Settings) -> Path | None:
        """Return the parent of the run's folder (None: by the settings); the runs of a sweep share a sweep folder."""
        if not job.swept:
            output: Path | None = self.arguments.output
            return output
        if job.file not in self.sweeps:
            from deforum.cli.resume import Sweep, find_sweep
            from deforum.output.naming import new_folder, runs_folder, safe_name

            parent, sweep = runs_folder(settings, self.arguments.output), Sweep.of(job.file, self.arguments.overrides)
            folder = find_sweep(parent, sweep) if self.is_continued else None
            if folder is None:
                folder = new_folder(parent, safe_name(f"{name_of(job.file, stem=True)}_sweep"))
                try:
                    sweep.write(folder)
                except OSError as error:
                    raise disk_error(error, folder) from error
            self.sweeps[job.file] = folder
        return self.sweeps[job.file]

    def find_begun(self, job: Job, settings: Settings) -> Path | None:
        """Return the folder of the run to go on with; None: a new one begins. Raises UserError."""
        from deforum.output.naming import runs_folder
        from deforum.rendering import asked
        from deforum.resuming import find_unfinished, run_of_timestring

        if not self.is_continued and not settings.resume_from_timestring:
            return None
        parent = runs_folder(settings, self.folder(job, settings))
        if self.is_continued:
            return next((folder for folder, _ in find_unfinished(parent, asked(settings))), None)
        folder = run_of_timestring(parent, settings.resume_timestring)
        if folder is None:
            named = settings.resume_timestring
            what = f"resume_timestring: no run of this program with {named} in its name is in {parent}"
            if not settings.is_lenient:
                raise UserError(f"{what}; name its folder with --resume, or set resume_from_timestring to false")
            self.tell(job.file, f"{what}; rendered from the start")
        return folder

    def forget_broken(self, outcomes: Sequence[Outcome]) -> None:
        """Free the models after a failed run, which may leave them in any state."""
        if any(outcome.status in (USER, BROKEN) for outcome in outcomes):
            self.models.clear()
