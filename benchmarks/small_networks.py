"""Time the embedded model's networks as graphs of OpenVINO, packed and plain, in turn, on a processor.

    python -m benchmarks.small_networks [--size 256] [--threads 2] [--repeats 40]

One line per network: median milliseconds of each form, and the largest difference of the results, relative to the
largest value. The last line is a painted frame of the quickstart: 9 guided evaluations, a decoding and two encodings
(one for the correction of the picture).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from deforum.models.process import settle_process

settle_process()  # before torch is imported

import torch  # noqa: E402

from deforum.diffusion import resolve_model  # noqa: E402
from deforum.diffusion.autoencoder import Autoencoder  # noqa: E402
from deforum.diffusion.families.load import load_model  # noqa: E402
from deforum.diffusion.families.stable_diffusion import StableDiffusion  # noqa: E402
from deforum.models.faster import Faster  # noqa: E402
from deforum.models.kept_graphs import is_supported  # noqa: E402

Tensor = torch.Tensor
Case = tuple[Faster, tuple[Tensor | None, ...], int]
"""A network, its inputs, and how often a painted frame calls it."""
STEPS = 9
WARM = 3


def milliseconds(runs: Sequence[Callable[[], Tensor]], repeats: int) -> list[float]:
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
    whole: dict[str, float] = {}
    for name, (faster, inputs, times) in cases.items():
        kinds = ("graph", "packed")[-len(faster._forms) :]
        forms = {kind: form.make() for kind, form in zip(kinds, faster._forms, strict=True)}
        if not is_supported():
            forms.pop("graph", None)
        forms["plain"] = faster._plain
        right = faster._plain(*inputs)
        error = max(float((form(*inputs) - right).abs().max() / right.abs().max()) for form in forms.values())
        taken = milliseconds([partial(form, *inputs) for form in forms.values()], options.repeats)
        fastest = dict(zip(forms, taken, strict=True))
        for kind in ("graph", "packed", "plain"):  # with graphs, what has none is packed
            whole[kind] = whole.get(kind, 0.0) + times * fastest.get(kind, fastest.get("packed", 0.0))
        print(f"{name}: {_listed(dict(zip(forms, taken, strict=True)))}, largest difference {error:.0e}")
    print(
        f"networks of a painted frame of {options.size}x{options.size} on {options.threads} threads: {_listed(whole)}"
    )


def _listed(taken: Mapping[str, float]) -> str:
    return ", ".join(
        f"{kind} {each:.1f} ms" + (f" ({taken['plain'] / each:.2f} times as fast)" if kind != "plain" else "")
        for kind, each in taken.items()
    )


if __name__ == "__main__":
    main()
