"""Runs of coloured patches, and chains that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from deforum.events import Event, StepBegun, StepFrame
from deforum.models.kept import KeptModels
from deforum.output.finished import read_frame
from deforum.pixels.image import CPU
from deforum.post.making import Made, Making
from deforum.post.material import Material, of_run
from deforum.settings.steps import Step


@dataclass
class Chained:
    """Makes chains; says which steps did something, and stops after a number of frames."""

    stop_after: int = 10**9
    begun: list[str] = field(default_factory=list)
    frames: int = 0

    def tell(self, event: Event) -> None:
        if isinstance(event, StepBegun):
            self.begun.append(f"{event.text}: {event.total}")
        elif isinstance(event, StepFrame):
            self.frames += 1

    def make(self, material: Material | Path, *steps: Step, overwrite: bool = False) -> Made:
        """Make a chain of a run; `begun` is of this call alone."""
        self.begun, self.frames = [], 0
        material = of_run(material) if isinstance(material, Path) else material
        making = Making(material, self.tell, lambda: self.frames >= self.stop_after, KeptModels(), CPU, overwrite)
        return making.make(steps)


def enlarged(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge levels by Lanczos, apart from the program."""
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    sized = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_LANCZOS4)
    return sized.clip(0, 255).round().astype(np.uint8)


def read_frames(folder: Path) -> Sequence[np.ndarray]:
    """Read the frames of a stage, in order."""
    found = []
    for path in sorted((folder / "frames").iterdir()):
        pixels = read_frame(path)
        assert pixels is not None, path
        found.append(pixels)
    return found
