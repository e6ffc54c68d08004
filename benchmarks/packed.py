"""Time the embedded model's networks in their packed form beside their plain form, in turn, on a processor.

    python -m benchmarks.packed [--size 256] [--threads 2] [--repeats 40]

One line per network: median milliseconds of both forms, the ratio, and the largest difference of the results. The last
line is a painted frame of the quickstart: 9 guided evaluations, a decoding and two encodings (one for
the correction of the picture).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

from deforum.models.process import settle_process

settle_process()  # before torch is imported

import torch  # noqa: E402

from deforum.diffusion import resolve_model  # noqa: E402
from deforum.diffusion.autoencoder import Autoencoder  # noqa: E402
from deforum.diffusion.families.load import load_model  # noqa: E402
from deforum.diffusion.families.stable_diffusion import StableDiffusion  # noqa: E402
from deforum.models.faster import Faster  # noqa: E402

Tensor = torch.Tensor
Case = tuple[Faster, tuple[Tensor | None, ...], int]
"""A network, its inputs, and how often a painted frame calls it."""
STEPS = 9
WARM = 3


def milliseconds(runs: tuple[Callable[[], Tensor], ...], repeats: int) -> list[float]:
    """Return the median time of each of several functions, called in turn."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + WARM):
        for times, run in zip(taken, runs, strict=True):
            start = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - start))
    return [statistics.median(times[WARM:]) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(resolve_model("embedded"), "cpu", "fp32")
    assert isinstance(model, StableDiffusion)
    door = Autoencoder(model.vae)
    cells = options.size // door.factor

    def noise(*shape: int) -> Tensor:
        made = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return made.to(memory_format=torch.channels_last) if len(shape) == 4 else made

    latents, pixels, tokens = (
        noise(2, door.channels, cells, cells),
        noise(1, 3, options.size, options.size),
        noise(2, 77, 192),
    )
    cases: dict[str, Case] = {
        "UNet, guided": (model.fast, (latents, torch.full((2,), 500.0), tokens, None), STEPS),
        "encoder": (door._read, (pixels,), 2),
        "decoder": (door._draw, (latents[:1],), 1),
    }
    with torch.inference_mode():
        report(cases, options)


def report(cases: Mapping[str, Case], options: argparse.Namespace) -> None:
    """Time each case; `main` loads the model outside inference mode, as the program does."""
    whole = [0.0, 0.0]
    for name, (faster, inputs, times) in cases.items():
        difference = float((faster(*inputs) - faster._plain(*inputs)).abs().max())

        def plain(faster: Faster = faster, inputs: tuple[Tensor | None, ...] = inputs) -> Tensor:
            return faster._plain(*inputs)

        def packed(faster: Faster = faster, inputs: tuple[Tensor | None, ...] = inputs) -> Tensor:
            return faster(*inputs)

        before, after = milliseconds((plain, packed), options.repeats)
        whole = [whole[0] + times * before, whole[1] + times * after]
        print(
            f"packed, {name}: {after:.1f} ms, plain {before:.1f} ms: {before / after:.2f} times as fast, "
            f"difference {difference:.0e}"
        )
    print(
        f"packed, networks of a painted frame of {options.size}x{options.size} on {options.threads} threads: "
        f"{whole[1]:.0f} ms, plain {whole[0]:.0f} ms: {whole[0] / whole[1]:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
