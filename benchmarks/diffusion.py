"""Time the diffusion of a 256x256 frame with the embedded model, or the model of a folder; one figure per line.

    python benchmarks/diffusion.py [MODEL] [--size 256]

Times are wall-clock and processor seconds, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.timeline.frame import Frame
from deforum.timeline.prompts import Prompt

NEUTRAL = {"subseed_strength": 0.0, "noise_multiplier": 1.0, "clip_skip": 1.0, "ddim_eta": 0.0, "ancestral_eta": 1.0}
CASES = (
    # (figure, sampler, steps, strength, cfg_scale)
    ("text to image, 8 steps, guided", "DPM++ 2M Karras", 8, None, 3.0),
    ("image to image, 8 of 20 steps, guided", "DPM++ 2M Karras", 20, 0.6, 3.0),
    ("image to image, 8 of 20 steps, unguided", "DPM++ 2M Karras", 20, 0.6, 1.0),
    ("image to image, 1 of 20 steps, guided", "DPM++ 2M Karras", 20, 0.95, 3.0),
)
REPEATS = 4


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the least wall-clock and processor seconds of REPEATS runs, after one run to warm up."""
    work()
    taken = []
    for _ in range(REPEATS):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(a for a, _ in taken), min(b for _, b in taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    source = resolve_model(options.model)
    generator = torch.Generator().manual_seed(0)
    init = torch.nn.functional.interpolate(
        torch.rand((1, 3, 8, 8), generator=generator), (options.size, options.size), mode="bicubic"
    )[0].clamp(0, 1)
    for precision in ("fp32", "bf16"):
        start = time.perf_counter()
        diffuser = load_diffuser(source, device="cpu", precision=precision, exact_step_count=True)
        print(f"diffusion, {precision}, load: {time.perf_counter() - start:.2f} s")
        for figure, sampler, steps, strength, cfg_scale in CASES:
            params: dict[str, Any] = NEUTRAL | {"steps": steps, "strength": strength or 0.0, "cfg_scale": cfg_scale}
            frame = cast(
                Frame,
                SimpleNamespace(
                    index=0,
                    seed=1,
                    subseed=2,
                    prompts=(Prompt("a mountain lake at sunset"),),
                    sampler=sampler,
                    params=SimpleNamespace(**params),
                ),
            )
            given = None if strength is None else init
            clock, processor = seconds(partial(diffuser, given, frame, width=options.size, height=options.size))
            print(f"diffusion, {precision}, {figure}: {clock:.3f} s/frame ({processor:.3f} s of processor)")


if __name__ == "__main__":
    main()
