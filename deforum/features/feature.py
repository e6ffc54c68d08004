"""The interface of a feature: one row with everything that the rest of the program needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deforum import atomic
from deforum.features.saver import PictureSaver, Save
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

Tell = Callable[[int, "torch.Tensor"], None]
"""Takes the index of a painted frame and its mask (H, W): 1 where a pixel is a clip's own, soft where it is mixed."""

T = TypeVar("T")
S = TypeVar("S")


def nothing(settings: Settings) -> None:
    """Default `find`: the feature needs only its settings."""


def as_they_are(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Default `locate`: the settings have no file names to resolve."""
    return settings, []


def with_all(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Default `without`: nothing is left out."""
    return settings, []


def unsettled(settings: Settings) -> Settings:
    """Default `settle`: the settings stay unchanged."""
    return settings


def never(settings: Settings) -> bool:
    return False


def silent(settings: Settings, found: Any) -> Iterable[str]:
    """Default `notes`: none."""
    return ()


@dataclass(frozen=True)
class Feature:
    """A row of `deforum.features.table`. Code that needs torch is named by an import path."""

    name: str
    is_on: Callable[[Settings], bool]
    attach: str
    """Import path of (Stages, found, Kit) -> Stages, which adds the feature to the loop."""
    find: Callable[[Settings], Any] = nothing
    """Finds its models, clips and pictures without loading them. Raises UserError for what is missing."""
    record: str = ""
    """Import path of (Stages, found, Recording) -> Stages, which adds the files that it saves beside the frames."""
    own: str = ""
    """Import path of (Stages, found, Tell) -> Stages, which tells where painted frames show a clip's own pixels."""
    notes: Callable[[Settings, Any], Iterable[str]] = silent
    """Notes for the user, a line each, given what was found."""
    acts: Mapping[str, When] = field(default_factory=dict)
    """When it reads a setting. The file that such a setting names has to exist then."""
    needs: Mapping[str, When] = field(default_factory=dict)
    """When an otherwise optional file has to exist."""
    check: Callable[[Settings], Iterable[tuple[str, str]]] = lambda settings: ()
    """Problems of its settings: (setting, message)."""
    locate: Callable[[Settings, Lookup], tuple[Settings, list[tuple[str, str]]]] = as_they_are
    """Makes paths within its texts absolute; returns missing ones as (setting, message)."""
    without: Callable[[Settings, Lookup], tuple[Settings, list[str]]] = with_all
    """For Deforum's profile: turns off what is missing, and returns notes about it."""
    settle: Callable[[Settings], Settings] = unsettled
    """Adapts the length of the run to the feature. Raises UserError."""
    carries: Callable[[Settings], bool] = never
    """Whether, where a mode's frames are independent, it carries something from one of them to the next."""
    starts_from_picture: Callable[[Settings], bool] = never
    """Whether frame 0 is painted from the feature's own picture, with init_strength."""
    is_previewed: bool = False
    """Whether it moves, reads or composes pictures without painting any, so that a preview shows it."""


@dataclass(frozen=True)
class Kit:
    """What `attach` needs: settings, device and loaders."""

    settings: Settings
    profile: Profile
    device: torch.device
    cell: int
    """px per latent cell, in each direction."""
    models: KeptModels
    dtype: torch.dtype | None = None
    """The precision of the diffusion model's network; None: float32."""

    def load(self, loader: Callable[[S, torch.device], T], source: S) -> T:
        """Load a model, or reuse the one kept from the last run."""
        from functools import partial

        from deforum.models.room import modules_in, room_of

        model = self.models.get(partial(loader, source, self.device))
        for module in modules_in(model):
            room_of(self.device).adopt(module)
        return model

    def open(self, clip: ClipSource) -> Clip:
        """Open a clip at the frame's size. Raises UserError."""
        from deforum.video.reader import open_clip

        settings = self.settings
        return open_clip(clip, *settings.size, fit=settings.clip_fit, device=self.device)


COPIES_FOLDER = "copies"
"""Folder in a run's for what its films are made from, where no other file has it; deleted when they are complete."""


def save(path: Path, index: int, content: bytes) -> None:
    """Save a file; a missing folder is created. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, content)


@dataclass(frozen=True)
class Recording:
    """What `record` needs to save the files of `save_...` settings."""

    settings: Settings
    timeline: Timeline
    folder: Path
    """The folder of the run."""
    film: Callable[[str], VideoWriter | None]
    """Makes an unopened film with the options of the run's first one, given a suffix of its name.

    None where no films are made: when only some frames of a run are rendered again.
    """
    keep_open: Callable[[AbstractContextManager[Any]], Any]
    """Enters a context that is closed at the end of the run."""
    save: Save = save
    expect: Callable[[Path], None] = lambda path: None
    """Announces a file that a thread will save: a state of the run is not complete before it is there."""
    since: int = 0
    """Index of the frame from which the run is resumed: the files of all frames before it are there already."""
    to_the_end: bool = True
    """False: frames after the last rendered one exist, or will; its depth may be found anew by the frame after it."""
    keeps_copies: bool = False
    """Keep what films are made from in files, until the films are complete, so that the run can be resumed."""

    def saver(self) -> PictureSaver:
        """Return what saves pictures and masks beside the renderer, until the end of the run."""
        saver: PictureSaver = self.keep_open(PictureSaver(self.save, self.expect))
        return saver
