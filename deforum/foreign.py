"""Pictures of other programs: the settings that A1111's give, and what others hold, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from deforum.diffusion import resolve_sampler
from deforum.errors import UserError
from deforum.metadata import PARAMETERS, infotext
from schedules.quoting import quote

_LONGEST_QUOTE = 60

_PROGRAMS: Mapping[str, str] = {
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "Comment": "NovelAI",
}
"""Programs by a text that only they write."""

_NUMBERS: Mapping[str, tuple[str, str]] = {
    "Steps": ("steps", r"\d{1,4}"),
    "CFG scale": ("cfg_scale", r"\d{1,3}(?:\.\d{1,6})?"),
    "Seed": ("seed", r"\d{1,15}"),
    "Clip skip": ("clip_skip", r"\d{1,2}"),
    "Variation seed": ("subseed", r"\d{1,15}"),
    "Variation seed strength": ("subseed_strength", r"[01](?:\.\d{1,6})?"),
}
"""Pairs of A1111's text that are numbers: the setting here, and how they are written."""

_OTHER_PAIRS = {"Sampler", "Schedule type", "Size", "Model", "Model hash", "Version", "RNG", "Denoising strength"}
"""Pairs that are read in another way, or that need not be mentioned."""


_KINDS = (
    (0, b"PK", "a zip archive, such as a .ckpt file of weights"),
    (8, b'{"', "a .safetensors file of weights"),
    (8, b"WAVE", "a sound"),
    (8, b"AVI ", "a film"),
    (0, b"FLV", "a film"),
    (0, b"ID3", "a sound"),
    (0, b"fLaC", "a sound"),
    (0, b"OggS", "a sound"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x80\x02", "a file of weights in Python's pickle form"),
)
"""Files that are given as settings by mistake: offset, bytes there, and what they are."""


def kind_of_file(head: bytes) -> str:
    """Return what a file is that begins with `head` (12 bytes or more) and holds no settings; "" for a text.

    Only bytes that no text has are decisive where a text could begin alike.
    """
    is_text = all(byte >= 32 or byte in b"\t\n\r" for byte in head)
    found = (what for at, begins, what in _KINDS if head[at:].startswith(begins))
    return "" if is_text and head[:4] != b"%PDF" else next(found, "")


def is_a1111(texts: Mapping[str, str]) -> bool:
    """Whether a picture has the text of A1111's web UI; SwarmUI and Fooocus write JSON under the same name."""
    return PARAMETERS in texts and not texts[PARAMETERS].lstrip().startswith("{")


def settings_of_a1111(text: str) -> tuple[dict[str, object], tuple[str, ...], str]:
    """Return what the text of an A1111 picture gives: settings by name, notes on them, and its checkpoint's name.

    The settings are prompt, negative prompt, seed, size, steps, sampler and so on, where they can be read.
    """
    found = infotext.parse(text)
    values: dict[str, object] = {"prompts": {0: found.prompt}}
    left = []
    if found.negative:
        values["negative_prompt"] = found.negative
    for key, written in found.pairs.items():
        name, pattern = _NUMBERS.get(key, ("", ""))
        if name and re.fullmatch(pattern, written):
            values[name] = float(written) if "." in written else int(written)
        elif key not in _OTHER_PAIRS:
            left.append(key)
    size = re.fullmatch(r"(\d{2,4})x(\d{2,4})", found.pairs.get("Size", ""))
    if size:
        values |= {"width": int(size[1]) // 8 * 8, "height": int(size[2]) // 8 * 8}
    try:
        values["sampler"] = resolve_sampler(f"{found.pairs['Sampler']} {found.pairs.get('Schedule type', '')}".strip())
    except (KeyError, UserError):
        left += ["Sampler"] * ("Sampler" in found.pairs)
    notes = [f"a picture of A1111's web UI; taken from it: {', '.join(values)}"]
    notes += [f"not taken from it: {', '.join(left)}"] if left else []
    model = "".join(letter for letter in found.pairs.get("Model", "") if letter.isprintable())
    return values, tuple(notes), model


def describe(what: str, texts: Mapping[str, str]) -> str:
    """Say what a picture or film (`what`) holds that has no settings for this program."""
    if any(texts.get(key, "").lstrip().startswith("{") for key in ("prompt", "workflow")):
        return f"{what} of ComfyUI with a workflow ({_summary(texts.get('prompt', ''))}), not with settings for this"
    program = next((name for key, name in _PROGRAMS.items() if key in texts), "")
    if not program and PARAMETERS in texts:
        program = "SwarmUI" if "sui_image_params" in texts[PARAMETERS] else "Fooocus"
    if program:
        return f"{what} of {program}, whose texts are not read"
    keys = ", ".join(sorted(texts)[:6])
    return f"{what} without settings in it" + (f" (it holds: {quote(keys, _LONGEST_QUOTE)})" if keys else "")


def json_texts(text: str) -> dict[str, str]:
    """Return the values of a JSON object, each as text; {} for any other text."""
    values = _json_object(text)
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _json_object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _summary(graph: str) -> str:
    """Return what ComfyUI's graph holds, in words: number of nodes, prompts, seed, steps, model."""
    nodes = [node for node in _json_object(graph).values() if isinstance(node, dict)]
    inputs = [node["inputs"] for node in nodes if isinstance(node.get("inputs"), dict)]

    def said(name: str) -> Iterator[str]:
        found = (each[name] for each in inputs if isinstance(each.get(name), str | int | float))
        yield from dict.fromkeys(quote(each, _LONGEST_QUOTE) if isinstance(each, str) else str(each) for each in found)

    parts = [f"{len(nodes)} nodes"] if nodes else ["for its editor only"]
    parts += [f"prompt {text}" for text in said("text")][:2]
    for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "ckpt_name"):
        parts += [f"{name} {text}" for text in said(name)][:1]
    return ", ".join(parts)
