"""Paths of the models that ship with the package, so that it runs without any download."""

from pathlib import Path

DIFFUSION: Path = Path(__file__).parent / "diffusion"
"""A diffusers `StableDiffusionPipeline` folder: text to image at 256x256 (see README.md beside this file)."""

DEPTH: Path = Path(__file__).parent / "depth"
"""The folder of the depth model's weights, depth.safetensors."""

FINISHING: Path = Path(__file__).parent / "finishing"
"""The folder of the finishing network's weights, finishing.safetensors."""

FINISHING_FACTOR = 2
"""Size of a finished frame, in sizes of the frame."""

CONTROL: Path = Path(__file__).parent / "control"
"""The folder of the ControlNet for outlines, outlines.safetensors, a Control-LoRA for the diffusion model."""

LORAS: Path = Path(__file__).parent / "loras"
"""The folder of the LoRAs for the diffusion model."""

SHAKES: Path = Path(__file__).parent / "shakes" / "recordings.json"
"""Recorded camera shakes; where they are from is in README.md beside them."""
