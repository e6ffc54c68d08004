"""The README and the pages of docs/: what they tell to write works, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deforum import check, load
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / folder / "README.md" for folder in ("benchmarks", "deforum/embedded", "training")]
FILES_TO_WRITE = [
    (page, text)
    for page in PAGES
    for text in re.findall(r"```yaml\n(# \w+\.yaml\n.*?)```", page.read_text(), re.DOTALL)
]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!\w+:)([^()\s#]*)#?([^()\s]*)\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}: no such heading"


@pytest.mark.parametrize(("page", "text"), FILES_TO_WRITE, ids=lambda each: each.name if isinstance(each, Path) else "")
def test_settings_files_to_write_are_good(page: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    loaded = load(tmp_path / "my.yaml")
    notes = [*loaded.report, *check(loaded.settings).notes]
    assert notes == ["size: 256x256; width and height are not given and are native to the embedded model"]


def test_there_are_settings_files_to_write() -> None:
    assert {page.name for page, _ in FILES_TO_WRITE} >= {"README.md", "first_animation.md"}


def test_the_pictures_of_settings_are_shown_and_small() -> None:
    strips = list((ROOT / "docs" / "images" / "settings").iterdir())
    shown = re.findall(r"\((images/settings/[^)]*)\)", (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8"))
    assert {f"images/settings/{strip.name}" for strip in strips} == set(shown)
    assert sum(strip.stat().st_size for strip in strips) < 1_000_000
