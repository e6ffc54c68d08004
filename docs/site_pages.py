"""MkDocs hook: pages of the site that lie outside docs/, and links to files of the repository.

In the repository, links are relative paths that work on disk and on a code host. On the site, a link to a page leads to
that page; a link to any other file of the repository leads to `repo_url` where mkdocs.yml sets one, else it is the
path as code.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "embedded.md": "deforum/embedded/README.md",
    "training.md": "training/README.md",
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Page of the site -> file of the repository."""
HOME = {"README.md": "index.md"}
"""Files that the site has another page for."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^()\s#]*)(#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    source = ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return rewrite_links(markdown, source, config.repo_url or "")


def rewrite_links(markdown: str, source: str, repository: str) -> str:
    """Rewrite the links of a page whose text is the file `source`, a path in the repository."""
    pages = {path: page for page, path in ELSEWHERE.items()} | HOME

    def rewrite(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in pages:
            return f"{image}[{text}]({pages[path]}{anchor})"
        if path.startswith("docs/"):
            return f"{image}[{text}]({path.removeprefix('docs/')}{anchor})"
        if repository:
            return f"{image}[{text}]({repository.rstrip('/')}/blob/main/{path}{anchor})"
        shown = text.strip("`")
        return f"`{shown}`" if shown.rstrip("/") == path.rstrip("/") else f"{text} (`{path}`)"

    return _LINK.sub(rewrite, markdown)
