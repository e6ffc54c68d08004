"""A LoRA of an ink look for the embedded model.

    python -m training.ink_lora --data build/training/ink --pictures 1400 --minutes 15
    python -m training.ink_lora --data build/training/ink --export deforum/embedded/loras/ink.safetensors

Pictures of the drawn world become ink drawings, whatever their palette: washes of grey on paper, a dark brush line
along edges, and a vermilion sun. The model learns them under the captions of the pictures as they were, so that the
look needs no word in the prompt. The model's own weights stay; each layer gets a branch of rank `RANK`, whose output
starts at zero (Hu et al., LoRA, arXiv 2106.09685; on convolutions as in LyCORIS's LoCon).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from deforum.diffusion.networks import read_part
from deforum.embedded import DIFFUSION
from training import device, group_norm, progress, world
from training.captions import describe
from training.text_to_image import Noise, attention
from training.tokenizer import strew, tokenise
from training.world.finish import find_edges, washed
from training.world.primitives import Float, Grid, mix, rgb, smooth

Picture = NDArray[np.floating[Any]]
RANK = 8
SEED = 11
PAPER, INK, VERMILION = (0.97, 0.95, 0.89), (0.07, 0.06, 0.10), (0.87, 0.20, 0.13)
TONES = (0.16, 0.34, 0.56)
"""Brightness at which a wash gives way to the next lighter one."""
LIGHTEST_SUN = 0.90
"""Brightness from which a round area of a sunny picture is its sun."""
SMALLEST = 8.0
"""px; smallest radius of a sun."""
ROUND = 0.5
"""Share of its circle that a sun fills at least: it may be half behind a mountain."""
WORN = 0.3
"""Share of the pictures that went through the autoencoder again before noise is added, as in an animation."""


def draw_in_ink(picture: Picture, has_sun: bool, rng: np.random.Generator) -> Float:
    """Turn a picture (H, W, 3), 0..1, into an ink drawing."""
    image = np.asarray(picture, np.float32)
    luma = np.asarray(image @ rgb((0.30, 0.59, 0.11)), np.float32)
    low, high = np.percentile(luma, (2, 98))
    tone = ((luma - low) / max(float(high - low), 0.1)).clip(0, 1).astype(np.float32)
    flat = washed(tone, 0.3)
    wash = 0.22 + 0.78 * sum(smooth((flat - at) * 10) for at in TONES) / len(TONES)
    lines = find_edges(np.asarray(np.repeat(tone[..., None], 3, 2)), 1.8)
    shade = wash * (1 - 0.9 * lines) + 0.015 * Grid(len(image)).noise(rng, 2.4)
    drawn = mix(INK, PAPER, np.clip(shade, 0, 1))
    sun = find_sun(luma) if has_sun else None
    return drawn if sun is None else mix(drawn, VERMILION, np.asarray(cv2.GaussianBlur(sun, (0, 0), 1.2), np.float32))


def find_sun(luma: Float) -> Float | None:
    """Find the largest bright area of a picture (H, W): 1 there, 0 elsewhere; None where it is not round."""
    light = (luma > LIGHTEST_SUN).astype(np.uint8)
    bright = cv2.morphologyEx(light, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    outlines = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    largest = max(outlines, key=cv2.contourArea, default=None)
    if largest is None:
        return None
    radius = cv2.minEnclosingCircle(largest)[1]
    if radius < SMALLEST or cv2.contourArea(largest) < ROUND * np.pi * radius**2:
        return None
    disc = cv2.drawContours(np.zeros(luma.shape, np.float32), [largest], 0, 1.0, -1)
    return np.asarray(cv2.dilate(disc, np.ones((3, 3), np.uint8)), np.float32)


@torch.no_grad()
def prepare(data: Path, count: int) -> None:
    """Write latents (2, N, C, 16, 16) of ink drawings, as drawn and, of some, after a round trip; and captions."""
    vae = read_part(DIFFUSION / "vae", "AutoencoderKL", torch.float32, None)
    assert vae is not None
    latents: list[Tensor] = []
    captions: list[list[str]] = []
    index = 0
    while len(captions) < count:
        picture = world.draw(SEED, index)
        rng = np.random.default_rng([SEED, index, 1])
        index += 1
        if picture.facts.style:
            continue
        drawn = draw_in_ink(picture.image.astype(np.float32) / 255, "sun" in picture.facts.things, rng)
        x = torch.from_numpy(np.ascontiguousarray(drawn)).permute(2, 0, 1)[None] * 2 - 1
        clean = vae.encode(x).latent_dist.mode()
        worn = clean
        if rng.random() < WORN:
            worn = vae.encode(vae.decode(clean).sample.clamp(-1, 1)).latent_dist.mode()
        latents.append(torch.cat([clean, worn]) * vae.config.scaling_factor)
        captions.append([describe(picture.facts, rng) for _ in range(4)])
        if len(captions) % 100 == 0:
            print(f"{len(captions)} pictures", flush=True)
    data.mkdir(parents=True, exist_ok=True)
    np.save(data / "latents.npy", torch.stack(latents, 1).half().numpy())
    (data / "captions.json").write_text(json.dumps(captions))


class Branch(nn.Module):
    """The low-rank branch of a layer, added to its output by a hook."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int = RANK) -> None:
        super().__init__()
        if isinstance(layer, nn.Conv2d):
            conv: Any = nn.Conv2d
            self.down: nn.Module = conv(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False
            )
            self.up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        layer.register_forward_hook(lambda _, given, out: out + self.up(self.down(given[0])))


def branches(unet: nn.Module) -> nn.ModuleDict:
    """Attach a branch to each inner layer of the UNet; keys are the layers' names with _ for a point."""
    found = {
        name.replace(".", "_"): Branch(layer)
        for name, layer in unet.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and name.startswith(("down_", "mid_", "up_"))
    }
    return nn.ModuleDict(found)


def train(data: Path, minutes: float, batch: int, peak: float) -> None:
    """Train the branches, from ``lora.ckpt`` on if it is there, and write them to it."""
    torch.manual_seed(0)
    unet_class: Any = UNet2DConditionModel
    text_class: Any = CLIPTextModel
    unet = unet_class.from_pretrained(DIFFUSION, subfolder="unet").float().requires_grad_(False)
    text = text_class.from_pretrained(DIFFUSION, subfolder="text_encoder").float().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(DIFFUSION, subfolder="tokenizer")
    model = branches(unet)
    if (data / "lora.ckpt").exists():
        model.load_state_dict(progress.load(data / "lora.ckpt"))
    latents = torch.from_numpy(np.load(data / "latents.npy"))
    captions = strew(json.loads((data / "captions.json").read_text()))
    tokens = torch.stack([tokenise(tokenizer, list(texts)) for texts in zip(*captions, strict=True)], 1)
    empty = tokenise(tokenizer, [""])
    group_norm.use()
    unet.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), peak, betas=(0.9, 0.99), weight_decay=0.01)
    noise, rng, budget, step, mean = Noise(), np.random.default_rng(0), progress.Budget(minutes), 0, 0.0
    while budget.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = progress.learning_rate(peak, step, budget.progress, warm_up=50)
        which = torch.from_numpy(rng.integers(0, latents.shape[1], batch))
        steps = noise.draw(torch.from_numpy(rng.random(batch, dtype=np.float32)))
        clean = latents[0, which].float()
        # As in `training.text_to_image.losses`: with little noise the target of a worn input would be huge.
        shown = torch.where((noise.level[steps] > -0.7).view(-1, 1, 1, 1), latents[1, which].float(), clean)
        if rng.random() < 0.5:
            clean, shown = clean.flip(-1), shown.flip(-1)
        noisy, alpha, sigma = noise.add(shown, torch.randn_like(clean), steps)
        target = (alpha * noisy - clean) / sigma
        words = tokens[which, torch.from_numpy(rng.integers(0, tokens.shape[1], batch))]
        words = torch.where(torch.from_numpy(rng.random(batch) < 0.1)[:, None], empty, words)
        with device.bfloat16(), attention():
            states = text(words.long()).last_hidden_state
            made = unet(noisy.contiguous(memory_format=torch.channels_last), steps, states).sample
        off = made.float() - target
        loss = off.square().mean() + 0.5 * 4 * torch.nn.functional.avg_pool2d(off, 2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, mean = step + 1, mean + float(loss.detach()) / 50
        if step % 50 == 0:
            print(f"{budget.spent / 60:5.1f} min  step {step}  loss {mean:.4f}", flush=True)
            mean = 0.0
            progress.save(model.state_dict(), data / "lora.ckpt")
    progress.save(model.state_dict(), data / "lora.ckpt")


def export(data: Path, out: Path) -> None:
    """Write the LoRA with kohya's names, in float16."""
    weights: dict[str, Tensor] = {}
    for name, weight in progress.load(data / "lora.ckpt").items():
        layer, part = name.split(".")[:2]
        weights[f"lora_unet_{layer}.lora_{part}.weight"] = weight.half().contiguous()
        weights[f"lora_unet_{layer}.alpha"] = torch.tensor(float(RANK)).half()
    out.parent.mkdir(parents=True, exist_ok=True)
    texts = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "deforum-embedded/lora",
        "modelspec.title": "ink",
        "modelspec.usage_hint": "weight 0.6 to 1; needs no word in the prompt",
        "ss_output_name": "ink",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
    }
    save_file(weights, out, texts)
    out.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training/ink"))
    parser.add_argument("--pictures", type=int, default=1400)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--peak", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--export", type=Path, help="only write the LoRA's file from the last checkpoint")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    if args.export:
        export(args.data, args.export)
        return
    if not (args.data / "latents.npy").exists():
        prepare(args.data, args.pictures)
    train(args.data, args.minutes, args.batch, args.peak)


if __name__ == "__main__":
    main()
