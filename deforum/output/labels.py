"""What the pictures and films of a run say they were made from; see `deforum.metadata` for how files carry it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.diffusion import resolve_sampler
from deforum.features.table import starts_from_picture
from deforum.metadata import FRAME, PARAMETERS, SETTINGS, SOFTWARE
from deforum.metadata.infotext import Infotext, write
from deforum.settings.parseq.find import without_embedded
from deforum.settings.read import dump
from deforum.sources import heading
from deforum.timeline.prompts import negatives, positives
from deforum.version import __version__

if TYPE_CHECKING:
    from deforum.settings.options import Settings
    from deforum.timeline.frame import Frame

Blend = tuple[tuple[str, float], ...]
"""Texts and their weights."""

LONGEST_SETTINGS = 1_000_000
"""Longest settings that are written into every frame, in letters; readers such as Pillow refuse longer texts."""


@dataclass(frozen=True)
class Label:
    """The texts of a run: `text` are its settings as YAML, with `heading`; paths in the home folder begin with ~."""

    settings: Settings
    text: str

    @staticmethod
    def of(settings: Settings, origin: str = "") -> Label:
        """Make the label of resolved settings; `origin` is where they came from, as `Loaded.origin`."""
        return Label(settings, f"{heading(origin)}\n\n{without_home(dump(without_embedded(settings)))}")

    @property
    def comment(self) -> str:
        """The text for a film: the run's settings, or where they are longer than LONGEST_SETTINGS only the heading."""
        return self.text if len(self.text) <= LONGEST_SETTINGS else self.text.partition("\n")[0]

    def texts(self, frame: Frame) -> dict[str, str]:
        """Return the texts of a frame's picture by key: program, `parameters`, the run's settings, the frame's values.

        Settings longer than LONGEST_SETTINGS are left out.
        """
        texts = {SOFTWARE: f"deforum {__version__}", PARAMETERS: write(self._infotext(frame)), FRAME: values_of(frame)}
        return texts | ({SETTINGS: self.text} if len(self.text) <= LONGEST_SETTINGS else {})

    def _infotext(self, frame: Frame) -> Infotext:
        settings, params = self.settings, frame.params
        positive, _ = prompts_of(frame, _as_in_a1111)
        # A1111 has no blend of negative prompts.
        negative = ", ".join(dict.fromkeys(filter(None, (prompt.negative for prompt in frame.prompts))))
        varied = params.subseed_strength > 0
        return Infotext(
            positive,
            negative,
            {
                "Steps": f"{params.steps:.0f}",
                "Sampler": resolve_sampler(frame.sampler),
                "CFG scale": f"{params.cfg_scale:g}",
                "Seed": str(frame.seed),
                "Size": f"{settings.width}x{settings.height}",
                "Model": model_name(frame.checkpoint or settings.model),
                "Variation seed": str(frame.subseed) if varied else "",
                "Variation seed strength": f"{params.subseed_strength:g}" if varied else "",
                "Denoising strength": self._denoise(frame),
                "Clip skip": f"{params.clip_skip:.0f}" if params.clip_skip > 1 else "",
                "Frame": str(frame.index),
                "Version": f"deforum {__version__}",
            },
        )

    def _denoise(self, frame: Frame) -> str:
        """Return the share of noise the frame is painted from; "" for a frame that is painted from noise alone."""
        mode = self.settings.mode
        from_picture = mode.reads_clip or (
            mode.goes_on and (frame.index > self.settings.first_frame or starts_from_picture(self.settings))
        )
        if not from_picture:
            return ""
        guided = mode.goes_on and self.settings.use_looper
        return f"{1 - (frame.params.image_strength if guided else frame.params.strength):.4g}"


def _shares(blend: Blend) -> str:
    """Return a blend in words: `sea (0.25) | land (0.75)`."""
    return " | ".join(f"{text} ({weight:.4g})" for text, weight in blend)


def _as_in_a1111(blend: Blend) -> str:
    """Return a blend in the syntax of A1111: `sea :0.25 AND land :0.75`."""
    if len({text for text, _ in blend}) == 1:
        return blend[0][0]
    return " AND ".join(f"{text} :{weight:.4g}" for text, weight in blend)


def prompts_of(frame: Frame, join: Callable[[Blend], str] = _shares) -> tuple[str, str]:
    """Return the positive and negative prompt of a frame; of several that are blended, with their weights.

    The LoRAs of the frame stand at the end of the positive prompt.
    """
    blends = positives(frame.prompts), negatives(frame.prompts)
    positive, negative = (blend[0][0] if len(blend) == 1 else join(blend) for blend in blends)
    return " ".join([positive, *map(str, frame.loras)]), negative


def _known(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def values_of(frame: Frame) -> str:
    """Return all values of a frame as JSON: index, seeds, sampler, prompts and LoRAs with weights, every parameter."""
    return json.dumps(
        {
            "frame": frame.index,
            "seed": frame.seed,
            "subseed": frame.subseed,
            "sampler": frame.sampler,
            "checkpoint": frame.checkpoint,
            "prompts": [_known(dataclasses.asdict(prompt)) for prompt in frame.prompts],
            **({"loras": [str(word) for word in frame.loras]} if frame.loras else {}),
            "params": dict(frame.params.items()),
        },
        ensure_ascii=False,
    )


def model_name(model: str) -> str:
    """Return the name of a model without its folders and the ending of a weights file."""
    return re.sub(r"\.(safetensors|ckpt|pt)$", "", re.split(r"[/\\]", model.rstrip("/\\"))[-1])


def without_home(text: str) -> str:
    """Replace the user's home folder at the start of paths by ~, so that shared files do not tell the user's name."""
    home = str(Path("~").expanduser())
    if len(home) < 2 or home == "~":
        return text
    written = {home, json.dumps(home)[1:-1]}  # as in YAML's quotes too
    return re.sub(rf"(?<![^\s\"'\[])(?:{'|'.join(map(re.escape, written))})(?=[/\\{re.escape(os.sep)}])", "~", text)
