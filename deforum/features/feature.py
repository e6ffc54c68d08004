"""What a feature is: one row that says all that the rest of the program asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deforum.settings.declare import When
from deforum.settings.files import Lookup
from deforum.settings.options import Settings

if TYPE_CHECKING:
    import torch

    from deforum.models.kept import KeptModels
    from deforum.settings.profiles import Profile
    from deforum.timeline.timeline import Timeline
    from deforum.video.find import ClipSource
    from deforum.video.reader import Clip
    from deforum.video.writer import VideoWriter

T = TypeVar("T")
S = TypeVar("S")


def nothing(settings: Settings) -> None:
    """Find nothing: the feature needs nothing but its settings."""


def as_they_are(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Leave settings as they are: the feature names no files in texts of its own."""
    return settings, []


def with_all(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Do without nothing."""
    return settings, []


def unsettled(settings: Settings) -> Settings:
    """Settle nothing."""
    return settings


def never(settings: Settings) -> bool:
    return False


def silent(settings: Settings, found: Any) -> Iterable[str]:
    """Say nothing."""
    return ()


@dataclass(frozen=True)
class Feature:
    """A row of `deforum.features.table`. Nothing in it needs torch: what does is named by an import path."""

    name: str
    is_on: Callable[[Settings], bool]
    attach: str
    """Import path of (Stages, found, Kit) -> Stages: how it becomes a part of the loop."""
    find: Callable[[Settings], Any] = nothing
    """Finds what it is made from: models, clips, pictures; nothing is loaded. Raises UserError for what is missing."""
    record: str = ""
    """Import path of (Stages, found, Recording) -> Stages: what it saves beside the frames."""
    notes: Callable[[Settings, Any], Iterable[str]] = silent
    """What there is to say of it, a line each, given what was found."""
    acts: Mapping[str, When] = field(default_factory=dict)
    """When it reads a setting. A setting that names a file has to name one then."""
    needs: Mapping[str, When] = field(default_factory=dict)
    """When a setting has to name a file that is otherwise optional."""
    check: Callable[[Settings], Iterable[tuple[str, str]]] = lambda settings: ()
    """What is wrong with its settings: (setting, message)."""
    locate: Callable[[Settings, Lookup], tuple[Settings, list[tuple[str, str]]]] = as_they_are
    """Makes paths within its texts absolute; gives those that lead nowhere as (setting, message)."""
    without: Callable[[Settings, Lookup], tuple[Settings, list[str]]] = with_all
    """For Deforum's profile: goes on without what is not here, and says so."""
    settle: Callable[[Settings], Settings] = unsettled
    """Brings the length of the run to what the feature has. Raises UserError."""
    starts_from_picture: Callable[[Settings], bool] = never
    """Frame 0 is painted from a picture that it brings, with init_strength."""


@dataclass(frozen=True)
class Kit:
    """What a feature is attached with."""

    settings: Settings
    profile: Profile
    device: torch.device
    cell: int
    """px that a cell of the latents covers, each way."""
    models: KeptModels

    def load(self, loader: Callable[[S, torch.device], T], source: S) -> T:
        """Load a model, unless the last run left it behind."""
        from functools import partial

        return self.models.get(partial(loader, source, self.device))

    def open(self, clip: ClipSource) -> Clip:
        """Open a clip, in the frame's size. Raises UserError."""
        from deforum.video.reader import open_clip

        settings = self.settings
        return open_clip(clip, settings.width, settings.height, fit=settings.clip_fit, device=self.device)


@dataclass(frozen=True)
class Recording:
    """Where a feature saves what `save_...` settings ask for."""

    settings: Settings
    timeline: Timeline
    folder: Path
    """Of the run."""
    film: Callable[[str], VideoWriter]
    """Makes a film beside the run's first one and like it, given what is put behind its name; it is not open yet."""
    keep_open: Callable[[AbstractContextManager[Any]], Any]
    """Enters a context that ends with the run."""
