"""Measure how colours follow the prompts and hold within one: the README's animation, and a long run after a change.

    python -m benchmarks.colors [--frames 360]

The README's own animation must get dark. In a run that goes on within the second prompt, brightness, saturation and
fine detail are compared with those where colours are held again. The baseline has color_renewal: 0.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from deforum import frames, load
from deforum.models.kept import KeptModels

README = Path(__file__).resolve().parent.parent / "README.md"
DARK, DRIFT = 0.5, 0.3
RENEWED = 100
"""A frame from which on colours are held again, after the change at frame 60."""


def measure(picture: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return brightness, saturation and fine detail of a picture (H, W, 3)."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    fine = gray.astype(np.float32) - cv2.GaussianBlur(gray.astype(np.float32), (5, 5), 1)
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    return float(gray.mean()), float(saturation.mean()), float(np.sqrt((fine**2).mean()))


def measures(settings: Mapping[str, Any], models: KeptModels) -> NDArray[np.float64]:
    """Render; return the measures of each frame, (F, 3)."""
    return np.array([measure(picture) for _, picture in frames(load(settings).settings, models=models)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=360)
    options = parser.parse_args()
    block = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    settings, models = {**yaml.safe_load(block[1]), "seed": 5}, KeptModels()
    for name, change in (("renewed", {}), ("not renewed", {"color_renewal": 0})):
        light = measures(settings | change, models)[:, 0]
        print(f"README's animation, colours {name}: {light[-1] / light[0]:.2f} as bright at its end (target: {DARK})")
    held = {"max_frames": options.frames, "noise_keeps_mean": True, "detail_coherence": 0.8}
    ratios = measures(settings | held, models)[RENEWED:]
    ratios = ratios / ratios[0]
    for what, low, high in zip(("brightness", "saturation", "detail"), ratios.min(0), ratios.max(0), strict=True):
        print(f"frames {RENEWED} to {options.frames - 1}: {what} {low:.2f} to {high:.2f} (target: within {DRIFT:.0%})")


if __name__ == "__main__":
    main()
