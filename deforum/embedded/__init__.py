"""The models that travel with the package, so that everything runs with nothing else to download."""

from pathlib import Path

DIFFUSION: Path = Path(__file__).parent / "diffusion"
"""A diffusers `StableDiffusionPipeline` folder: text to image at 256x256 (see README.md beside this file)."""

DEPTH: Path = Path(__file__).parent / "depth"
"""The folder of the depth model's weights, depth.safetensors."""
