"""Time Stable Diffusion 1.5, XL and a one-step model on a graphics card, with random weights; under 6 minutes in all.

    python -m benchmarks.gpu [--device cuda] [--seconds 340] [--only sd15,xl,turbo] [--tiny]

Each model is run eagerly, with CUDA graphs, with a tiny autoencoder, with step caching, and compiled, beside a plain
diffusers loop with the same weights (img2img pipeline, OpenCV's warp, PNG by Pillow, film by imageio-ffmpeg). A row has
ms per painted frame, the frames per second of a whole run to its finished film, ms per frame outside of the model, and
the share of the card's measured peak of matrix products. Rows are printed as they come, and written to $OUT/gpu.json.
Compiling comes last, as it takes minutes; what the time does not suffice for is said. `--tiny` has networks of a few
thousand weights, for a test of the script itself: `--device cpu --tiny`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deforum import load, render
from deforum.diffusion import load_diffuser
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.clip import ClipReader, Encoder
from deforum.diffusion.families.find import CONFIGS
from deforum.diffusion.families.load import faster
from deforum.diffusion.families.stable_diffusion import StableDiffusion
from deforum.diffusion.families.stable_diffusion_xl import StableDiffusionXL
from deforum.diffusion.families.vocabulary import clip_tokenizer
from deforum.diffusion.networks.autoencoder_kl import AutoencoderKL
from deforum.diffusion.networks.autoencoder_tiny import AutoencoderTiny
from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.unet import UNet
from deforum.diffusion.sampling.sigmas import NoiseSchedule
from deforum.errors import UserError
from deforum.events import FrameShown, Observer
from deforum.models.config import read_config
from deforum.models.kept import KeptModels
from deforum.models.room import free_on, room_of

PROMPT = "the sea at sunset with a glowing sun"
MOST_FRAMES, WARM = 24, 3
PLAIN = "plain diffusers loop"


@dataclass(frozen=True)
class Case:
    """A model as it is used: its configuration, and how a frame is sampled."""

    title: str
    family: str
    """The folder of its configurations."""
    side: int
    steps: int
    strength: float
    cfg_scale: float
    aim_ms: tuple[float | None, float | None]
    """Milliseconds per frame to reach with graphs, and compiled."""


CASES = {
    "sd15": Case("SD 1.5, 512, 10 of 20 steps, guided", "sd1", 512, 20, 0.5, 7.0, (60, 45)),
    "turbo": Case("SD Turbo, 512, 1 of 2 steps, unguided", "sd2", 512, 2, 0.5, 1.0, (None, None)),
    "xl": Case("SD XL, 1024, 10 of 20 steps, guided", "sdxl", 1024, 20, 0.5, 7.0, (450, 350)),
}
TINY_UNET = {"block_out_channels": [32, 64], "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}
TINY_ENDS: dict[str, dict[str, Any]] = {
    "sd1": {
        "cross_attention_dim": 32, "attention_head_dim": 4,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    },
    "sdxl": {
        "cross_attention_dim": 80, "attention_head_dim": [2, 4], "transformer_layers_per_block": [1, 2],
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 48,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    },
}  # fmt: skip
TINY_TEXT = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@dataclass
class Row:
    """Results of one way of running one model; None: not measured."""

    model: str
    way: str
    ms_per_frame: float | None = None
    film_fps: float | None = None
    ms_outside: float | None = None
    share_of_peak: float | None = None
    difference: float | None = None
    """Largest difference from the eager picture, in 8-bit levels."""
    seconds: float | None = None
    """Of this row, compiling included."""
    note: str = ""

    def __str__(self) -> str:
        told = [
            f"{value:.{digits}f}{unit}"
            for value, digits, unit in (
                (self.ms_per_frame, 1, " ms/frame"),
                (self.film_fps, 2, " frames/s to the film"),
                (self.ms_outside, 1, " ms outside the model"),
                (None if self.share_of_peak is None else 100 * self.share_of_peak, 0, " % of peak"),
                (self.difference, 3, " levels from eager"),
                (self.seconds, 0, " s for this row"),
            )
            if value is not None
        ]
        return f"{self.model}, {self.way}: {', '.join([*told, *filter(None, [self.note])])}"


class OutOfTime(Exception):
    """The time of a part is over."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the main thread after so many seconds."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Bench:
    """The rows so far, and the time that is left."""

    def __init__(self, device: torch.device, seconds: float, tiny: bool) -> None:
        self.device, self.tiny = device, tiny
        self.dtype = torch.float32 if device.type == "cpu" else torch.float16
        self._end = time.monotonic() + seconds
        self.rows: list[Row] = []
        self.facts: dict[str, object] = {"torch": torch.__version__, "device": self._name()}
        self.peak = self._peak()
        self.facts["peak_tflops"] = self.peak / 1e12
        print(f"{self.facts['device']}, torch {torch.__version__}: matrix products {self.peak / 1e12:.1f} TFLOP/s")

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def _name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    def _peak(self) -> float:
        side = 256 if self.tiny else 8192
        a = torch.randn(side, side, device=self.device, dtype=self.dtype)
        taken = []
        for _ in range(6):
            self.wait()
            begun = time.perf_counter()
            a @ a
            self.wait()
            taken.append(time.perf_counter() - begun)
        return 2 * side**3 / min(taken)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def row(self, model: str, way: str, work: Callable[[Row], None], seconds: float) -> None:
        """Measure one row within so many seconds, print it and write all of them."""
        row, begun = Row(model, way), time.monotonic()
        seconds = min(seconds, self.left)
        try:
            if seconds < 5:
                raise OutOfTime
            with at_most(seconds):
                work(row)
        except OutOfTime:
            row.note = f"not finished in {max(seconds, 0):.0f} s"
        except Exception as error:  # the other rows are worth having
            row.note = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        row.seconds = time.monotonic() - begun
        self.rows.append(row)
        print(row, flush=True)
        self.write()

    def write(self) -> None:
        if folder := os.environ.get("OUT"):
            found = {**self.facts, "rows": [asdict(row) for row in self.rows]}
            (Path(folder) / "gpu.json").write_text(json.dumps(found, indent=1))


@dataclass(frozen=True, eq=False)
class Parts:
    """A model's networks with random weights, as our classes and as the libraries'."""

    case: Case
    model: StableDiffusion
    pipeline: Any
    tiny_vae: Any


def random_parts(case: Case, bench: Bench) -> Parts:
    """Make a model of the published configuration with random weights, in the precision of the device."""
    diffusers: Any = importlib.import_module("diffusers")
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    configs = {path.parent.name: read_config(path) for path in (CONFIGS / case.family).glob("*/*.json")}
    is_xl = case.family == "sdxl"
    if bench.tiny:
        configs["unet"] |= TINY_UNET | TINY_ENDS["sdxl" if is_xl else "sd1"]
        configs["vae"] |= {"block_out_channels": [8, 8, 8, 16], "layers_per_block": 1, "norm_num_groups": 4}
        configs["text_encoder"] |= TINY_TEXT | {"hidden_size": 32, "projection_dim": 32}
        if is_xl:
            configs["text_encoder_2"] |= TINY_TEXT | {"hidden_size": 48, "projection_dim": 48}
    with default_dtype(bench.dtype), bench.device:
        theirs = diffusers.UNet2DConditionModel.from_config(configs["unet"])
        their_vae = diffusers.AutoencoderKL.from_config(configs["vae"])
        texts: list[Any] = [CLIPTextModel(CLIPTextConfig(**configs["text_encoder"]))]
        if is_xl:
            texts.append(CLIPTextModelWithProjection(CLIPTextConfig(**configs["text_encoder_2"])))
        tiny = AutoencoderTiny()
        config = Config(configs["unet"])
        # XL's UNet is the library's class in the program too.
        unet = UNet(config) if UNet.covers(config) and not is_xl else theirs
        vae = AutoencoderKL(Config(configs["vae"]))
    if unet is not theirs:
        unet.load_state_dict(theirs.state_dict(), assign=True)
    vae.load_state_dict(their_vae.state_dict(), assign=True)
    if is_xl and configs["vae"].get("force_upcast"):
        vae.float()  # as the program does; the pipeline converts its own in each frame
    for module in (theirs, unet, their_vae, vae, tiny, *texts):
        module.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    tokenizers = [clip_tokenizer("<|endoftext|>" if case.family != "sd2" else "!"), clip_tokenizer("!")]
    schedule = NoiseSchedule.from_config(configs["scheduler"])
    encoders = tuple(Encoder(text, tokenizer) for text, tokenizer in zip(texts, tokenizers, strict=False))
    scheduler = diffusers.EulerDiscreteScheduler.from_config(configs["scheduler"])
    if is_xl:
        reader = ClipReader(encoders, usual=2, final_norm=False, pooled=True, zero_empty=True)
        model: StableDiffusion = StableDiffusionXL(unet=unet, vae=vae, text=reader, schedule=schedule, aesthetics=False)
        pipeline = diffusers.StableDiffusionXLImg2ImgPipeline(
            their_vae, texts[0], texts[1], tokenizers[0], tokenizers[1], theirs, scheduler, add_watermarker=False
        )
    else:
        model = StableDiffusion(unet=unet, vae=vae, text=ClipReader(encoders), schedule=schedule)
        pipeline = diffusers.StableDiffusionImg2ImgPipeline(
            their_vae, texts[0], tokenizers[0], theirs, scheduler, None, None, requires_safety_checker=False
        )
    pipeline.set_progress_bar_config(disable=True)
    return Parts(case, model, pipeline, tiny)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Timed:
    """A diffuser that waits for the device after each frame, and notes how long it took."""

    def __init__(self, diffuser: Diffuser, bench: Bench) -> None:
        self._diffuser, self._bench = diffuser, bench
        self.device, self.factor = diffuser.device, diffuser.factor
        self.seconds: list[float] = []

    def fit(self, width: int, height: int) -> None:
        """Everything fits: the benchmark is not of a card that is too small."""

    def diffuse_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._bench.wait()
        begun = time.perf_counter()
        made = self._diffuser.diffuse_batch(*args, **kwargs)
        self._bench.wait()
        self.seconds.append(time.perf_counter() - begun)
        return made


class Given(KeptModels):
    """Models of a run whose diffusion model is there already."""

    def __init__(self, diffuser: Any) -> None:
        super().__init__()
        self.__dict__["_diffuser"] = diffuser

    def get(self, load: partial[Any]) -> Any:
        return self.__dict__["_diffuser"] if load.func is load_diffuser else super().get(load)


def settings_of(case: Case, bench: Bench, frames: int) -> Any:
    side = 64 if bench.tiny else case.side
    return load(
        {
            "prompts": PROMPT, "width": side, "height": side, "steps": case.steps, "strength": case.strength,
            "cfg_scale": case.cfg_scale, "sampler": "Euler", "cadence": 1, "max_frames": frames, "seed": 1,
            "zoom": "1.01", "angle": "0.2", "device": bench.device.type,
        }
    ).settings  # fmt: skip


def run(bench: Bench, case: Case, diffuser: Diffuser, frames: int) -> tuple[list[float], float, float]:
    """Render a film; return seconds of each painted frame, frames per second to the film, and seconds outside."""
    timed, shown = Timed(diffuser, bench), []

    def note(event: object) -> None:
        if isinstance(event, FrameShown):
            shown.append(time.perf_counter())

    observer: Observer = note
    with tempfile.TemporaryDirectory() as folder:
        render(settings_of(case, bench, frames), output=folder, models=Given(timed), observer=observer)
        ended = time.perf_counter()
    warm = min(WARM, frames - 2)
    outside = statistics.median(
        shown[i] - shown[i - 1] - timed.seconds[i] for i in range(warm, frames) if i < len(timed.seconds)
    )
    return timed.seconds[warm:], (frames - warm) / (ended - shown[warm - 1]), outside


def flops_of(bench: Bench, case: Case, diffuser: Diffuser) -> float:
    """Count the floating-point operations of one painted frame."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        picture(bench, case, diffuser)
    return float(counter.get_total_flops())


def picture(bench: Bench, case: Case, diffuser: Diffuser) -> torch.Tensor:
    """Paint the second frame of the run from a smooth picture, as the loop does."""
    from deforum.build import prepare

    settings = settings_of(case, bench, 2)
    frame = list(prepare(settings).timeline.spans())[-1].key
    side = settings.width or 0
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    init = torch.stack([x, y, (x + y) / 2]).to(bench.device)
    [made] = diffuser.diffuse_batch([init], [frame], width=side, height=side)
    return made


def plain_loop(bench: Bench, parts: Parts, row: Row, frames: int) -> None:
    """What one would write without this program."""
    import cv2
    import imageio_ffmpeg
    from PIL import Image

    case = parts.case
    side = 64 if bench.tiny else case.side
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), 0.2, 1.01)
    given = {"num_inference_steps": case.steps, "guidance_scale": case.cfg_scale, "strength": 1 - case.strength}
    painted, seconds = Image.fromarray(np.full((side, side, 3), 127, np.uint8)), []
    with tempfile.TemporaryDirectory() as folder:
        film = imageio_ffmpeg.write_frames(f"{folder}/film.mp4", (side, side), fps=15)
        film.send(None)
        for index in range(frames):
            if index == WARM:
                begun = time.perf_counter()
            moved = cv2.warpAffine(np.asarray(painted), matrix, (side, side), flags=cv2.INTER_CUBIC)
            random = torch.Generator().manual_seed(index)
            bench.wait()
            started = time.perf_counter()
            painted = parts.pipeline(PROMPT, image=Image.fromarray(moved), generator=random, **given).images[0]
            bench.wait()
            seconds.append(time.perf_counter() - started)
            painted.save(f"{folder}/{index:05}.png")
            film.send(np.ascontiguousarray(np.asarray(painted)))
        film.close()
        whole = time.perf_counter() - begun
    row.ms_per_frame = 1000 * statistics.median(seconds[WARM:])
    row.film_fps = (frames - WARM) / whole
    row.ms_outside = 1000 * (whole / (frames - WARM)) - row.ms_per_frame


def measure(bench: Bench, parts: Parts, row: Row, model: Any, eager: dict[str, Any], refinement: int = 1) -> None:
    """Measure a model as it is wrapped, and compare its picture with the eager one of the same name."""
    case, room = parts.case, room_of(bench.device)
    diffuser = Diffuser(model, exact_step_count=True, vae_refinement=refinement, room=room)
    made = [picture(bench, case, diffuser) for _ in range(WARM)][-1]  # graphs are recorded by now
    bench.wait()
    begun = time.perf_counter()
    picture(bench, case, diffuser)
    bench.wait()
    one = time.perf_counter() - begun
    frames = max(WARM + 3, min(MOST_FRAMES, int(6 / max(one, 1e-3))))
    seconds, row.film_fps, outside = run(bench, case, diffuser, frames)
    row.ms_per_frame, row.ms_outside = 1000 * statistics.median(seconds), 1000 * outside
    if "flops" not in eager:
        eager |= {"flops": flops_of(bench, case, diffuser), "picture": made}
        bench.facts[f"{case.title}, GFLOP per frame"] = eager["flops"] / 1e9
    if refinement == 1 and row.note != "other":
        row.difference = 255 * float((made - eager["picture"]).abs().max())
        row.share_of_peak = eager["flops"] / (row.ms_per_frame / 1000) / bench.peak
    row.note = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=340, help="time for everything")
    parser.add_argument("--only", default=",".join(CASES), help="models, of " + ", ".join(CASES))
    parser.add_argument("--tiny", action="store_true", help="networks of a few thousand weights, to test the script")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --device cpu --tiny tests the script")
    bench = Bench(torch.device(options.device), options.seconds, options.tiny)
    unknown = [name for name in options.only.split(",") if name not in CASES]
    if unknown:
        sys.exit(f"unknown models: {', '.join(unknown)}; there are {', '.join(CASES)}")
    late: list[Way] = []
    for name in options.only.split(","):
        late += measured(bench, CASES[name], compiles=not options.no_compile)
    # What takes minutes comes after all models' other figures, and last what changes a UNet that other ways share.
    for case, way, work, seconds in sorted(late, key=lambda each: "step_cache" in each[1]):
        bench.row(case.title, way, work, seconds)
        room_of(bench.device).shed()
    bench.write()


Way = tuple[Case, str, Callable[[Row], None], float]
"""A model, a way of running it, what measures that, and the most seconds it may take."""


def measured(bench: Bench, case: Case, *, compiles: bool) -> list[Way]:
    """Measure a model's quick ways; return the slow ones."""
    room = room_of(bench.device)
    before = free_on(bench.device)
    parts = random_parts(case, bench)
    print(f"{case.title}: {max(before - free_on(bench.device), 0) / 2**30:.1f} GiB", flush=True)
    eager: dict[str, Any] = {}

    def plain_vae() -> Any:
        """A fresh wrapper around the same networks: wrapping changes the autoencoder that is given."""
        return replace(parts.model, vae=own_vae(parts.model.vae))

    def ours(row: Row, make: Callable[[], Any], refinement: int = 1) -> None:
        measure(bench, parts, row, make(), eager, refinement)

    def tiny() -> Any:
        return faster(replace(parts.model, vae=own_vae(parts.tiny_vae)), room)

    ways: list[tuple[str, Callable[[Row], None], float]] = [
        ("eager", lambda row: ours(row, lambda: parts.model), 45),
        ("graphs", lambda row: ours(row, lambda: faster(plain_vae(), room)), 40),
        (PLAIN, lambda row: plain_loop(bench, parts, row, MOST_FRAMES // 2), 40),
        ("graphs, no refinement", lambda row: ours(row, lambda: faster(plain_vae(), room), 0), 25),
        ("graphs, tiny autoencoder", lambda row: ours(other(row), tiny), 25),
    ]
    for way, work, seconds in ways:
        bench.row(case.title, way, work, seconds)
        room.shed()
    late: list[Way] = []
    if compiles:
        late.append(
            (case, "compiled, graphs", lambda row: ours(row, lambda: faster(plain_vae(), room, compile="default")), 100)
        )
    if case.steps > 2:
        cached = partial(faster, room=room, step_cache=3)
        late.append((case, "graphs, step_cache 3", lambda row: ours(other(row), lambda: cached(plain_vae())), 30))
    if case.aim_ms[0]:
        print(f"{case.title}: aims {case.aim_ms[0]} ms with graphs, {case.aim_ms[1]} ms compiled")
    return late


def other(row: Row) -> Row:
    """Mark a row whose pictures and operations are not those of the eager one."""
    row.note = "other"
    return row


def own_vae(vae: Any) -> Any:
    """Return an autoencoder that shares weights with another, whose parts can be wrapped without changing the other."""
    import copy

    made = copy.copy(vae)
    made._modules = dict(vae._modules)
    return made


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
