"""Regions of the frame with prompts of their own: a mapping of mask to prompt, or a list of {mask, prompt}."""

from __future__ import annotations

from collections.abc import Iterator

from deforum.errors import Problem
from deforum.settings.declare import Region, Regions
from deforum.settings.document import Mapping, Node, Scalar, Sequence
from deforum.settings.faults import Wrong, readable, unique
from schedules.quoting import cut, quote

MOST = 16
"""The most regions: each is one more evaluation of the network in every step."""

_FORM = 'expected a list such as [{mask: "{depth}", prompt: a stone wall}], or a mapping of masks to prompts'


def read_regions(node: Node, name: str) -> Regions:
    """Read regions. Raises Wrong."""
    if isinstance(node, Scalar):
        if node.is_null or not node.text.strip():
            return ()
        raise Wrong(Problem(f"{name}: {quote(node.text)} is no region; {_FORM}", str(node.place)))
    found: list[Region] = []
    for mask, prompt, where in _pairs(node, name):
        if any(mask == region.mask for region in found):
            raise Wrong(Problem(f"{name}: the mask {quote(mask)} stands there twice; join the prompts", str(where)))
        found.append(Region(mask, prompt))
    if len(found) > MOST:
        raise Wrong(Problem(f"{name}: {len(found)} regions; expected at most {MOST}", str(node.place)))
    return tuple(found)


def _pairs(node: Mapping | Sequence, name: str) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, Mapping):
        for key, value in unique(node, name):
            yield key.text, _text(value, f"{name}, mask {cut(key.text, 40)}"), key.place
        return
    for item in node.items:
        if not isinstance(item, Mapping):
            raise Wrong(Problem(f"{name}: {_FORM}", str(item.place)))
        given = {key.text.casefold(): value for key, value in unique(item, name)}
        odd = next((key for key, _ in item.entries if key.text.casefold() not in ("mask", "prompt")), None)
        if odd is not None:
            raise Wrong(Problem(f"{name}: unknown part {quote(odd.text)} of a region; {_FORM}", str(odd.place)))
        missing = next((part for part in ("mask", "prompt") if part not in given), "")
        if missing:
            raise Wrong(Problem(f"{name}: a region without a {missing}; {_FORM}", str(item.place)))
        yield _text(given["mask"], f"{name}, mask"), _text(given["prompt"], f"{name}, prompt"), item.place


def _text(node: Node, where: str) -> str:
    if not isinstance(node, Scalar):
        what = "a text was expected here; one that begins with { or [ has to stand in quotes"
        raise Wrong(Problem(f"{where}: {what}", str(node.place)))
    return "" if node.is_null else readable(node, where)
