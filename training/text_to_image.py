"""Training of the text-to-image model: text encoder and UNet, jointly, on the autoencoder's latents.

    python -m training.text_to_image --data build/training --minutes 90

Noise schedule (apart from its end, see `BETAS`) and v-prediction are those of Stable Diffusion, so that the usual
samplers run. Most training noise levels are drawn from a normal distribution of log(sigma/alpha), which is flow
matching's logit-normal time (Esser et al. 2024) in another parametrisation: with unit weights on v the two losses
differ by a factor between 1 and 2. The others are drawn uniformly over the timesteps, so that the noisiest steps, which
decide the overall brightness of a picture, are learned as well.

Latents: (C, 16, 16) of unit variance; text: 77 tokens.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import device, group_norm, progress
from training.learner import Learner
from training.samples import Samples
from training.tokenizer import LENGTH, strew, train_tokenizer

TRAIN_STEPS = 1000
LAYOUT_WEIGHT = 0.2
# Loss weights of the errors of local means, by their side in latents. Position and size of a sun hardly affect the
# error of single latents, but a camera moves a sun by half a pixel per frame, and an error of that size stops it.
COARSE = {2: 0.5, 4: 0.5}
# Parameters that AdamW trains: embedding tables, input and output layers. (Vectors as well.)
_ENDS = ("conv_in", "conv_out", "embedding.weight", "embeddings", "layout")
# Stable Diffusion's beta_end is 0.012. With our few, correlated latents its noisiest step would still show the
# picture's brightness, and samples, which start from pure noise, would all be mid-grey: hence more noise.
BETAS = {"beta_start": 0.00085, "beta_end": 0.02, "beta_schedule": "scaled_linear"}


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the parameters into those for Muon (inner matrices and convolutions) and those for AdamW."""
    inner = {name: p for name, p in model.named_parameters() if p.ndim > 1 and not any(end in name for end in _ENDS)}
    return list(inner.values()), [p for name, p in model.named_parameters() if name not in inner]


# --- models --------------------------------------------------------------------------------------------


def build_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 48),
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet(channels: int, widths: tuple[int, ...], text_width: int, size: int = 16) -> UNet2DConditionModel:
    """Build a UNet with cross-attention at all levels but the first, with heads of width 32.

    A pooled text embedding is added to the time embedding and so reaches every residual block: palette and time of day
    concern all levels, including the first. Its contribution starts at zero.
    """
    below = len(widths) - 1
    unet = UNet2DConditionModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * below),
        up_block_types=(*("CrossAttnUpBlock2D",) * below, "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=(2, *(1,) * below),
        cross_attention_dim=text_width,
        attention_head_dim=tuple(max(1, w // 32) for w in widths),  # diffusers reads this as the number of heads
        norm_num_groups=min(32, widths[0] // 2),
        addition_embed_type="text",
        addition_embed_type_num_heads=max(1, text_width // 32),
    )
    nn.init.zeros_(unet.add_embedding.norm2.weight)
    return unet


class Model(nn.Module):
    """Text encoder and UNet as one module for training and weight averaging.

    ``layout`` is an auxiliary head, not exported: it predicts a picture's coarse layout (4x4 means of the latents) from
    the text encoder's states. Through the UNet alone, which sees most layouts in the noisy picture, the text encoder
    learned less in 100,000 samples than a linear fit on the bag of words.
    """

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet
        self.layout = nn.Linear(text_encoder.config.hidden_size, unet.config.in_channels * 16)

    def forward(self, noisy: Tensor, steps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Predict v (B, C, h, w) of noisy latents at timesteps ``steps`` (B,) with captions ``tokens`` (B, 77).

        Returns v and the layouts (B, 16 C) predicted from the captions.
        """
        text = self.text_encoder(tokens).last_hidden_state
        return self.unet(noisy, steps, text).sample.float(), self.layout(text.mean(1)).float()

    def read_layout(self, tokens: Tensor) -> Tensor:
        """Predict layouts (B, 16 C) from captions ``tokens`` (B, 77)."""
        return self.layout(self.text_encoder(tokens).last_hidden_state.mean(1)).float()  # type: ignore[no-any-return]


def layout_of(latents: Tensor) -> Tensor:
    """Return the coarse layout (B, 16 C) of latents (B, C, h, w): their 4x4 means."""
    return F.adaptive_avg_pool2d(latents, 4).flatten(1)


class Noise:
    """The noise schedule, and the distribution of training timesteps."""

    def __init__(self) -> None:
        betas = (
            torch.linspace(BETAS["beta_start"] ** 0.5, BETAS["beta_end"] ** 0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
        )
        kept = torch.cumprod(1 - betas, 0)
        self.alpha, self.sigma = kept.sqrt().float(), (1 - kept).sqrt().float()
        self.level = (self.sigma / self.alpha).log()  # log(sigma/alpha), (TRAIN_STEPS,), ascending

    def draw(self, uniform: Tensor, even_share: float = 0.2, mean: float = 0.9, spread: float = 1.3) -> Tensor:
        """Map uniform numbers (B,) in (0, 1) to timesteps (B,).

        A share ``even_share`` is uniform over the timesteps; for the others log(sigma/alpha) is normal with ``mean``
        and standard deviation ``spread``.
        """
        part = (uniform / even_share).clamp(max=1)
        evenly = (part * TRAIN_STEPS).long().clamp(max=TRAIN_STEPS - 1)
        rest = ((uniform - even_share) / (1 - even_share)).clamp(1e-5, 1 - 1e-5)
        wanted = mean + spread * math.sqrt(2) * torch.erfinv(2 * rest - 1)
        normal = torch.searchsorted(self.level, wanted).clamp(max=TRAIN_STEPS - 1)
        return torch.where(uniform < even_share, evenly, normal)

    def add(self, clean: Tensor, noise: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents (B, C, h, w) with noise of timesteps ``steps`` (B,), and alpha and sigma (B, 1, 1, 1)."""
        alpha, sigma = self.alpha[steps].view(-1, 1, 1, 1), self.sigma[steps].view(-1, 1, 1, 1)
        return alpha * clean + sigma * noise, alpha, sigma


# --- training ------------------------------------------------------------------------------------------


@torch.no_grad()
def heldout_loss(model: Model, noise: Noise, samples: Samples, count: int) -> dict[str, float]:
    """Return the mean squared error of v on held-out pictures with and without captions, and the gain in percent."""
    generator = torch.Generator("cpu").manual_seed(0)
    count = min(count, samples.latents.shape[1])
    clean = samples.latents[0, :count].float()
    steps = noise.draw((torch.arange(count) * 0.6180339887) % 1)
    eps = device.put(torch.randn(clean.shape, generator=generator, device="cpu"))
    tokens = samples.tokens[:count, 0].long()
    empty = samples.empty.long().expand_as(tokens)
    found = {}
    for name, text in (("caption", tokens), ("empty", empty)):
        total = 0.0
        for part in torch.arange(count).split(32):
            noisy, alpha, sigma = noise.add(clean[part], eps[part], steps[part])
            with device.bfloat16():
                made, _ = model(noisy, steps[part], text[part])
            total += float((made - (alpha * eps[part] - sigma * clean[part])).square().mean()) * len(part)
        found[name] = total / count
    found["gain_percent"] = 100 * (1 - found["caption"] / found["empty"])
    return found


def export(model: Model, tokenizer: CLIPTokenizer, vae_folder: Path, out: Path) -> None:
    """Write a StableDiffusionPipeline folder: fp16 safetensors, sharded into files of at most 14 MB."""
    scheduler = EulerDiscreteScheduler(
        num_train_timesteps=TRAIN_STEPS, prediction_type="v_prediction", timestep_spacing="linspace", **BETAS
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(vae_folder).half().cpu(),
        text_encoder=copy.deepcopy(model.text_encoder).half().cpu(),
        tokenizer=tokenizer,
        unet=copy.deepcopy(model.unet).to(memory_format=torch.contiguous_format).half().cpu(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True, max_shard_size="14MB")
    # For other schedulers made from this file: DDIM and DDPM would clip our latents, which are wider, to [-1, 1].
    settings = out / "scheduler" / "scheduler_config.json"
    more = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | more, indent=2, sort_keys=True) + "\n")
    for path in out.rglob("config.json"):  # remove the local path that the parts were loaded from
        config = {k: v for k, v in json.loads(path.read_text()).items() if k != "_name_or_path"}
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)
    for name in ("vocab.json", "merges.txt"):
        (out / "tokenizer" / name).write_text((vae_folder.parent / "tokenizer" / name).read_text("utf-8"), "utf-8")


def build_model(args: argparse.Namespace, tokenizer: CLIPTokenizer) -> Model:
    torch.manual_seed(0)
    channels = np.load(args.data / "heldout" / "latents.npy", mmap_mode="r").shape[2]
    return Model(
        build_text_encoder(tokenizer, args.text_width, args.text_layers),
        build_unet(channels, tuple(args.widths), args.text_width),
    )


def attention() -> AbstractContextManager[None]:
    """Context for attention: on a CPU the plain kernel, which trains a fifth faster than flash on so few tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.current().type == "cpu" else nullcontext()


def warm_up_text(model: Model, samples: Samples, minutes: float, peak: float = 1e-3, batch: int = 128) -> None:
    """Train the text encoder and the layout head on the layouts of captions, before the UNet is trained."""
    parameters = [*model.text_encoder.parameters(), *model.layout.parameters()]
    optimizer = torch.optim.AdamW(parameters, peak, betas=(0.9, 0.99), weight_decay=0.01)
    budget, rng, step, mean = progress.Budget(minutes), np.random.default_rng(9), 0, 0.0
    while budget.progress < 1:
        clean, _, tokens = samples.batch(rng, torch.zeros(batch))
        for group in optimizer.param_groups:
            group["lr"] = progress.learning_rate(peak, step, budget.progress, warm_up=50)
        with device.bfloat16(), attention():
            made = model.read_layout(tokens)
        loss = (made - layout_of(clean)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step, mean = step + 1, mean + float(loss.detach()) / 25
        if step % 25 == 0:
            print(f"text {budget.spent / 60:4.1f} min  step {step}  layout loss {mean:.4f}", flush=True)
            mean = 0.0


def _average_gradients(model: nn.Module, processes: int) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch._utils._flatten_dense_tensors(gradients).bfloat16()  # halves the memory traffic
    dist.all_reduce(flat)
    flat = flat.float() / processes
    for gradient, part in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients), strict=True):
        gradient.copy_(part)


@dataclass(frozen=True)
class Losses:
    """Mean squared errors of v, of its local means (`COARSE`, scaled so that white noise counts as much as in v), and
    of the layout."""

    error: Tensor
    coarse: Tensor
    layout: Tensor


def losses(
    model: Model, noise: Noise, samples: Samples, rng: np.random.Generator, count: int, shares: tuple[float, float]
) -> Losses:
    """Compute the losses on ``count`` random samples; ``shares`` are those of views and loop pairs."""
    steps = noise.draw(device.put(rng.random(count, dtype=np.float32)))
    clean, shown, tokens = samples.batch(rng, noise.level[steps], *shares)
    degraded = (shown - clean).flatten(1).abs().amax(1) > 0
    # Degraded inputs are used only with enough noise: the difference to the clean target is divided by sigma, and v
    # would be huge.
    low = degraded & (noise.level[steps] < -0.7)
    shown = torch.where(low.view(-1, 1, 1, 1), clean, shown)
    eps = torch.randn_like(clean)
    noisy, alpha, sigma = noise.add(shown, eps, steps)
    target = (alpha * noisy - clean) / sigma  # = alpha eps - sigma clean where shown is clean
    with device.bfloat16(), attention():
        made, layout = model(noisy.contiguous(memory_format=torch.channels_last), steps, tokens)
    off = made - target
    error = off.square().mean()
    coarse = [weight * side**2 * F.avg_pool2d(off, side).square().mean() for side, weight in COARSE.items()]
    return Losses(error, torch.stack(coarse).sum(), (layout - layout_of(clean)).square().mean())


def train(rank: int, args: argparse.Namespace, meeting: str) -> None:
    """Run one training process; gradients are averaged over all, and rank 0 writes checkpoints and reports.

    ``meeting`` is the file through which the processes find each other.
    """
    device.use(args)
    if device.current().type == "cpu":
        group_norm.use()
    if args.processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=args.processes)
    tokenizer = CLIPTokenizer.from_pretrained(args.data / "tokenizer")
    samples = Samples(args.data / "train", tokenizer, strewn=True)
    heldout = Samples(args.data / "heldout", tokenizer)
    noise = Noise()
    model = build_model(args, tokenizer).to(memory_format=torch.channels_last)
    if (args.data / "text_warm.pt").exists():
        model.load_state_dict(progress.load(args.data / "text_warm.pt"))
    inner, others = split(model)
    learner = Learner(
        model, copy.deepcopy(model), (inner, args.peak), [(others, args.adam_peak)], args.data / "text_to_image.ckpt",
        decay=args.average, resume=args.resume,
    )  # fmt: skip
    if rank == 0:
        size = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"{size:.1f} M parameters, {samples.latents.shape[1]} pictures, from step {learner.step}", flush=True)
    budget = progress.Budget(args.minutes, learner.spent)
    rng = np.random.default_rng([learner.step, rank])
    torch.manual_seed(learner.step * 1000 + rank)
    saved = reported = time.monotonic()
    loss_sum, loss_count, seen_before = torch.zeros(()), 0, learner.seen

    def keep() -> None:
        nonlocal saved
        learner.save(budget.spent)
        on_heldout = heldout_loss(learner.average.eval(), noise, heldout, 256)
        print("  held-out", json.dumps({k: round(v, 4) for k, v in on_heldout.items()}), flush=True)
        saved = time.monotonic()

    while True:
        share = budget.progress
        if args.processes > 1:
            now = torch.tensor([share])
            dist.broadcast(now, 0)  # all processes need the same learning rate and the same last step
            share = float(now)
        if share >= 1:
            break
        learner.set_rates(share, hold=args.hold)
        count = args.batch // args.processes
        found = losses(model, noise, samples, rng, count, (args.view_share, args.loop_share))
        model.zero_grad()
        (found.error + found.coarse + LAYOUT_WEIGHT * found.layout).backward()
        if args.processes > 1:
            _average_gradients(model, args.processes)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learner.take_step(args.batch)
        if rank:
            continue
        loss_sum, loss_count = loss_sum + found.error.detach(), loss_count + 1
        if learner.step % 50 == 0:
            pace = (learner.seen - seen_before) / (time.monotonic() - reported)
            print(f"{budget.spent / 60:5.1f} min  step {learner.step}  {learner.seen} samples  {pace:.0f}/s  "
                  f"loss {float(loss_sum) / loss_count:.4f}", flush=True)  # fmt: skip
            loss_sum, loss_count, seen_before, reported = torch.zeros(()), 0, learner.seen, time.monotonic()
        if time.monotonic() - saved > args.save_every * 60:
            keep()
    if rank == 0:
        keep()
    if args.processes > 1:
        dist.destroy_process_group()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the data folder and the size of the model."""
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 192])
    parser.add_argument("--text-width", type=int, default=192)
    parser.add_argument("--text-layers", type=int, default=2)


def load_average(args: argparse.Namespace) -> tuple[Model, CLIPTokenizer, dict[str, Any]]:
    """Load the averaged model of the last checkpoint, its tokenizer, and the counts of steps, samples and seconds."""
    tokenizer = CLIPTokenizer.from_pretrained(args.data / "tokenizer")
    model = build_model(args, tokenizer)
    state = progress.load(args.data / "text_to_image.ckpt")
    model.load_state_dict(state["average"])
    return model.eval(), tokenizer, {k: state[k] for k in ("step", "seen", "spent")}


@torch.no_grad()
def average_with(model: Model, pipeline: Path, share: float) -> None:
    """Average the weights with those of a pipeline folder they were trained from; ``share`` is the model's part."""
    others = (UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet"),
              CLIPTextModel.from_pretrained(pipeline, subfolder="text_encoder"))  # fmt: skip
    for part, other in zip((model.unet, model.text_encoder), others, strict=True):
        for mine, theirs in zip(part.parameters(), other.parameters(), strict=True):
            mine.lerp_(theirs.to(mine), 1 - share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument(
        "--text-minutes", type=float, default=3.0, help="training time of the text encoder alone, minutes"
    )
    parser.add_argument(
        "--hold", type=float, default=0.1, help="share of the training time at the peak learning rate, before it decays"
    )
    parser.add_argument("--batch", type=int, default=32, help="batch size, summed over all processes")
    parser.add_argument("--processes", type=int, default=2, help="number of processes on the CPU; a GPU uses one")
    parser.add_argument("--peak", type=float, default=0.006, help="peak learning rate of Muon")
    parser.add_argument(
        "--adam-peak",
        type=float,
        default=5e-4,
        help="peak learning rate of AdamW, for the parameters Muon does not train",
    )
    parser.add_argument(
        "--average", type=float, default=0.996, help="decay per step of the moving average of the weights"
    )
    parser.add_argument(
        "--view-share", type=float, default=0.4, help="share of views in the batches of low noise levels"
    )
    parser.add_argument(
        "--loop-share", type=float, default=0.3, help="share of loop pairs in the batches of low noise levels"
    )
    parser.add_argument("--save-every", type=float, default=4.0, help="time between checkpoints, minutes")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--export", type=Path, help="only write the pipeline folder from the last checkpoint")
    parser.add_argument(
        "--mean-with",
        type=Path,
        help="with --export: average the weights with this pipeline folder's, an earlier export",
    )
    parser.add_argument(
        "--share", type=float, default=0.75, help="with --mean-with: weight of the last checkpoint in the mean, 0..1"
    )
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    if device.current().type != "cpu":
        args.processes = 1
    if args.export:
        model, tokenizer, books = load_average(args)
        if args.mean_with:
            average_with(model, args.mean_with, args.share)
        export(model, tokenizer, args.data / "vae", args.export)
        print(f"exported {args.export} at {books['seen']} samples")
        return
    captions = json.loads((args.data / "train" / "captions.json").read_text())
    if not (args.data / "tokenizer" / "vocab.json").exists():
        train_tokenizer([text for each in strew(captions) for text in each], args.data / "tokenizer")
    if args.text_minutes and not (args.data / "text_to_image.ckpt").exists():
        torch.set_num_threads(args.threads * args.processes)
        tokenizer = CLIPTokenizer.from_pretrained(args.data / "tokenizer")
        model = build_model(args, tokenizer)
        warm_up_text(model, Samples(args.data / "train", tokenizer, strewn=True), args.text_minutes)
        torch.save(model.state_dict(), args.data / "text_warm.pt")
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        if args.processes == 1:
            train(0, args, meeting)
        else:
            mp.spawn(train, (args, meeting), nprocs=args.processes)


if __name__ == "__main__":
    main()
