"""The model hub. Every model name is looked up here; only `expect_on_hub`, `fetch` and `fetch_file` ask the network.

A settings file is data: a name in it may be looked up in the local cache, but it downloads nothing unless the caller
allows that (`--allow-download`, `allow_download=True`). Does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from deforum.errors import UserError

T = TypeVar("T")

LONGEST_NAME = 96  # characters, the hub's own limit

_allowed: ContextVar[bool] = ContextVar("allow_download", default=False)


@contextmanager
def downloads(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid downloads for the duration of the context; outside of any context they are forbidden."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def may_download() -> bool:
    """Whether downloads are allowed here."""
    return _allowed.get()


def is_name(text: str) -> bool:
    """Whether a text can be a name on the hub: owner/name, by the hub's own rules."""
    part = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
    is_formed = len(text) <= LONGEST_NAME and re.fullmatch(f"{part}/{part}", text, re.ASCII) is not None
    return is_formed and "--" not in text and ".." not in text and not text.endswith(".git")


def find_cached(name: str, *files: str) -> Path | None:
    """Return the folder of a model in the local hub cache, or None where it or one of `files` is not there."""
    from huggingface_hub import try_to_load_from_cache

    # A cache may hold a model's small files without its weights.
    found = [try_to_load_from_cache(name, file) for file in files]
    here = [Path(each).parent for each in found if isinstance(each, str)]
    return here[0] if here and len(here) == len(files) else None


def cached_folder(name: str) -> Path | None:
    """Return the folder of what the local hub cache has of a model: its main revision, or the only one."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    try:
        revisions = {each.name: each for each in (folder / "snapshots").iterdir() if each.is_dir()}
    except OSError:
        return None
    with suppress(OSError, ValueError):
        main = (folder / "refs" / "main").read_text("ascii").strip()
        return revisions.get(main)
    return next(iter(revisions.values())) if len(revisions) == 1 else None


def expect_on_hub(name: str, or_give: str) -> None:
    """Check that a model that is not in the cache may be and can be downloaded; `or_give` names the alternatives.

    Raises UserError where downloads are forbidden, or the hub does not give the model.
    """
    from huggingface_hub.constants import HF_HUB_CACHE, is_offline_mode

    here = f"{name} is neither a folder here nor in the local hub cache ({HF_HUB_CACHE})"
    fetch = f"fetch it once where there is a network (hf download {name}), or give {or_give}"
    if not _allowed.get():
        raise UserError(f"{here}, and nothing is downloaded without --allow-download; add that, or {fetch}")
    if is_offline_mode():
        raise UserError(f"{here}, and HF_HUB_OFFLINE forbids downloading it; {fetch}")
    from huggingface_hub import HfApi

    # Fails at once for a wrong name or without a network; a download would retry for half a minute.
    _ask(f"{here}, and the hub does not give it", fetch, lambda: HfApi().model_info(name, timeout=5))


def fetch(name: str, download: Callable[[], str]) -> Path:
    """Run the download of a model that `expect_on_hub` let pass; return its folder. Raises UserError."""
    return Path(_ask(f"{name} cannot be downloaded", "try again, or give a folder", download))


def fetch_file(name: str, file: str) -> Path:
    """Download a small file of a model that `expect_on_hub` let pass; return its path. Raises UserError."""
    from huggingface_hub import hf_hub_download

    return Path(
        _ask(f"{file} of {name} cannot be downloaded", "try again, or give a folder",
             lambda: hf_hub_download(name, file, etag_timeout=5))
    )  # fmt: skip


@contextmanager
def without_network() -> Iterator[None]:
    """Keep the libraries from asking the hub, whatever a model's configuration names."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _ask(failed: str, way_on: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:
        # The hub library raises errors of several packages; all mean the same to the user.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UserError(f"{failed} ({reason}); {way_on}") from None
