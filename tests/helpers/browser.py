"""A real browser without a window: the Chromium of the system, driven by Playwright. One process per test session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = 390
DESK = 1400
"""Widths of a window, in px."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start the browser; skip the test where there is none."""
    pytest.importorskip("playwright.sync_api")
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        # Without a sandbox, which root has not, and /dev/shm, which is small in containers.
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, what it asked for, and what went wrong on it."""

    page: Page
    requests: list[str] = field(default_factory=list)
    """Addresses, without the page's own and data: ones."""
    faults: list[str] = field(default_factory=list)
    """Errors of scripts, and what the console says of errors and warnings."""


@contextmanager
def opened(
    browser: Browser, address: str, *, width: int = DESK, height: int = 900, dark: bool = False, touch: bool = False
) -> Iterator[Watched]:
    """Open an address in a window of its own; afterwards no script may have failed."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", has_touch=touch
    )
    context.set_default_timeout(5000)
    page = context.new_page()
    watched = Watched(page)

    def asked(url: str) -> None:
        if url != address and not url.startswith("data:"):
            watched.requests.append(url)

    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda error: watched.faults.append(str(error)))
    page.on("console", lambda said: watched.faults.append(said.text) if said.type in ("error", "warning") else None)
    page.goto(address)
    try:
        yield watched
    finally:
        context.close()
    assert watched.faults == [], watched.faults
