"""Render the examples as the animated pictures of the README and the gallery: docs/images/NAME.webp.

    python docs/render_gallery.py [NAME ...]

Each is written as the film is, finished, and scaled to WIDTH; all of them together stay under LIGHT bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe

from deforum import load, render

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDTH, QUALITY = 384, 62
LIGHT = 6_000_000
NAMES = (
    "quickstart",
    "loop",
    "kaleidoscope",
    "music_video",
    "prompt_morph",
    "flythrough",
    "stylise_clip",
    "hybrid",
    "controlnet",
    "lora",
)


def picture(name: str, folder: Path) -> Path:
    """Render an example into a folder, and write its animated picture."""
    settings = load(ROOT / "examples" / f"{name}.yaml").settings
    frames = render(settings, output=folder).folder / "frames" / "%09d.png"
    path = IMAGES / f"{name}.webp"
    command = [get_ffmpeg_exe(), "-v", "error", "-y", "-framerate", str(settings.fps), "-i", str(frames)]
    scale = ["-vf", f"scale={WIDTH}:-2:flags=lanczos"]
    encode = ["-c:v", "libwebp_anim", "-quality", str(QUALITY), "-compression_level", "6", "-loop", "0"]
    subprocess.run([*command, *scale, *encode, str(path)], check=True)
    return path


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            path = picture(name, Path(folder))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB", flush=True)
    size = sum((IMAGES / f"{name}.webp").stat().st_size for name in NAMES)
    if size > LIGHT:
        sys.exit(f"the gallery has {size / 1e6:.1f} MB; expected at most {LIGHT / 1e6:.0f} MB: lower QUALITY or WIDTH")


if __name__ == "__main__":
    main()
