"""Frames per second of previews at 512x512 in 2D and 3D, with labels, card and film, without the import of torch.

The baseline is what a preview saves: the frames/s of the render with the embedded model, as `deforum.needs` knows it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from deforum import needs
from deforum.build import prepare
from deforum.loading import load
from deforum.models.process import settle_process
from deforum.preview.plan import plan_preview
from deforum.video.writer import VideoWriter

ROOT = Path(__file__).parents[1]
ROWS = {
    "2D, each frame painted": ("quickstart", "cadence=1"),
    "2D, cadence 2": ("quickstart", "cadence=2"),
    "3D, each frame painted": ("flythrough", "cadence=1"),
    "3D, cadence 2": ("flythrough", "cadence=2"),
    "3D, Deforum's camera": ("flythrough", "cadence=1", "profile=deforum", "disocclusion=stretch"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) - 1, 1), help="one core is ffmpeg's")
    args = parser.parse_args()
    settle_process()
    began = time.perf_counter()
    import torch

    from deforum.preview.show import preview_frames

    torch.set_num_threads(min(args.threads, os.cpu_count() or 1))
    print(f"{args.size}x{args.size}, {args.frames} frames, {torch.get_num_threads()} threads, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, torch in {time.perf_counter() - began:.1f} s")
    for name, (example, *changes) in ROWS.items():
        size = [f"width={args.size}", f"height={args.size}", f"max_frames={args.frames}"]
        settings = load(ROOT / "examples" / f"{example}.yaml", [*size, *changes]).settings
        rendered = needs.seconds_on_two_cores(prepare(settings))
        plan = plan_preview(settings)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            film = VideoWriter(Path(folder) / "film.mp4", args.size, args.size, 24, quality=20, preset="ultrafast")
            with film:
                for _, pixels in preview_frames(plan):
                    film.write(pixels)
            seconds = time.perf_counter() - began
        baseline = "" if rendered is None else f"; the render about {args.frames / rendered:5.2f}"
        print(f"{name:24} {args.frames / seconds:6.1f} frames/s{baseline}")


if __name__ == "__main__":
    main()
