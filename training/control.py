"""The ControlNet for outlines that ships with the embedded model, as a Control-LoRA.

    python -m training.control --data build/training/control --minutes 30
    python -m training.control --data build/training/control --export deforum/embedded/control

A ControlNet is a copy of the UNet's way down that also sees a picture of lines. Here only what differs from the UNet is
trained and stored: matrices of a low rank for its layers, the layers that read the lines, and the convolutions behind
the blocks (Stability AI's Control-LoRA). Training pictures are drawn by `training.world`, half of them at places of
their own; their lines are found as the renderer finds them, by Canny's method, with random thresholds.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from deforum.diffusion.adapters.names import modules_of, renamed
from deforum.diffusion.families.find import resolve_model
from deforum.diffusion.families.load import load_model
from deforum.diffusion.networks.controlnet import ControlNet
from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.unet import UNet
from deforum.diffusion.prompts.encode import PromptEncoder
from training import device, group_norm, progress, world
from training.captions import describe
from training.text_to_image import Noise, attention

WIDTHS = (8, 16, 32, 64, 96)  # channels of the layers that read the lines; each after the first halves the size
RANK = 16
LARGE = 8192  # weights of a layer from which it is changed by matrices of a low rank
SEED, HELDOUT = 51, 52
EMPTY = 0.15  # share of the captions that are left out
LEVELS = {"even_share": 0.15, "mean": 1.2, "spread": 1.2}  # of the training timesteps; outlines form at the noisy ones
THICK = 0.3  # share of the pictures whose lines are of two px: those of a small clip that was enlarged

Picture = NDArray[np.uint8]


def lines(picture: Picture, rng: np.random.Generator | None = None) -> Picture:
    """Return the outlines (H, W) of a picture (H, W, 3), white on black; varied where `rng` is given."""
    low, high, blur = (100.0, 200.0, 0.0) if rng is None else _drawn(rng)
    if blur > 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
    found = np.asarray(cv2.Canny(picture, low, high), np.uint8)
    if rng is not None and rng.random() < THICK:
        found = np.asarray(cv2.dilate(found, np.ones((2, 2), np.uint8)), np.uint8)
    return found


def _drawn(rng: np.random.Generator) -> tuple[float, float, float]:
    low = float(np.exp(rng.uniform(np.log(35), np.log(140))))
    return low, low * float(rng.uniform(1.6, 2.6)), float(rng.uniform(0, 1.2))


def prepare(folder: Path, count: int, heldout: int) -> None:
    """Draw pictures, and encode them and their captions by the embedded model."""
    model: Any = load_model(resolve_model("embedded"), "cpu", "fp32")
    prompts = PromptEncoder(model.text, spherical=False)

    def read(text: str) -> Tensor:
        return prompts.encode(text, 1, frame=0).tokens[:77]

    for name, seed, number in (("heldout", HELDOUT, heldout), ("train", SEED, count)):
        if (folder / name / "states.npy").exists():
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        pictures = np.empty((number, world.SIZE, world.SIZE, 3), np.uint8)
        latents = np.empty((number, 16, 16, 16), np.float16)
        states = np.empty((number, 77, 192), np.float16)
        for index in range(number):
            rng = np.random.default_rng([seed, index, 7])
            drawn = world.draw(seed, index, anywhere=index % 2 == 0)
            pictures[index] = nearer(drawn.image, rng)
            pixels = torch.from_numpy(pictures[index]).permute(2, 0, 1)[None].float() / 127.5 - 1
            with torch.inference_mode():
                latents[index] = model.vae.encode(pixels).latent_dist.mode()[0].numpy()
                states[index] = read(describe(drawn.facts, rng)).numpy()
            if index % 200 == 199:
                print(f"{name}: {index + 1} pictures", flush=True)
        for kind, values in (("pictures", pictures), ("latents", latents), ("states", states)):
            np.save(folder / name / f"{kind}.npy", values)
    with torch.inference_mode():
        np.save(folder / "empty.npy", read("").numpy())


def nearer(picture: Picture, rng: np.random.Generator) -> Picture:
    """Enlarge a part of half of the pictures, up to 1.8 times."""
    factor = float(rng.uniform(1, 1.8)) if rng.random() < 0.5 else 1.0
    side = round(len(picture) / factor)
    x, y = (int(rng.integers(len(picture) - side + 1)) for _ in range(2))
    part = picture[y : y + side, x : x + side]
    return (
        part
        if factor == 1
        else np.asarray(cv2.resize(part, picture.shape[:2], interpolation=cv2.INTER_CUBIC), np.uint8)
    )


class LowRank(nn.Module):
    """A ControlNet whose layers are those of a UNet, each changed by two matrices; the rest is trained as it is."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        config = {name: value for name, value in unet.config.items() if not name.startswith("up_")}
        network = ControlNet(Config(config | {"conditioning_embedding_out_channels": list(WIDTHS)}))
        base = unet.state_dict()
        network.load_state_dict(
            {name: weight for name, weight in base.items() if name in network.state_dict()}, strict=False
        )
        _begin(network)
        self.network = [network.requires_grad_(False)]  # in a list, so that its weights are not parameters here
        self.base = {name: weight.detach() for name, weight in network.named_parameters()}
        self.changed = [name for name, weight in self.base.items() if name in base and weight.numel() >= LARGE]
        free = {name: weight for name, weight in self.base.items() if name not in base or _is_free(name, weight)}
        self.whole = nn.ParameterDict({_key(name): nn.Parameter(weight.clone()) for name, weight in free.items()})
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name in self.changed:
            weight = self.base[name].flatten(1)
            rank = min(RANK, *weight.shape)
            self.down[_key(name)] = nn.Parameter(torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5)
            self.up[_key(name)] = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the ControlNet by name."""
        made = dict(self.base)
        for name in self.changed:
            change = self.up[_key(name)] @ self.down[_key(name)]
            made[name] = self.base[name] + change.view(self.base[name].shape)
        return made | {name: self.whole[_key(name)] for name in made if _key(name) in self.whole}

    def forward(self, x: Tensor, time: Tensor, states: Tensor, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the residuals for the UNet of lines (B, 3, H, W)."""
        network, weights = self.network[0], self.weights()
        prefix = "controlnet_cond_embedding."
        reading = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        seen = functional_call(network.controlnet_cond_embedding, reading, (picture,))
        found: tuple[Tensor, ...] = functional_call(network, weights, (x, time, states, seen))
        return found


def _is_free(name: str, weight: Tensor) -> bool:
    """Whether a weight of the UNet is small enough to be trained whole: biases and normalisations of its blocks."""
    return weight.ndim == 1 and "add_embedding" not in name


def _key(name: str) -> str:
    return name.replace(".", "/")


@torch.no_grad()
def _begin(network: ControlNet) -> None:
    """Begin the layers that a UNet does not have: those behind the blocks with zero, those before at random."""
    behind: list[Any] = [*network.controlnet_down_blocks, network.controlnet_mid_block]
    for layer in behind:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for layer in network.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight, std=0.02)


def export(model: Mapping[str, Tensor], config: Mapping[str, object], path: Path) -> None:
    """Write a Control-LoRA in fp16 with the names of the original training code; `model` is a state of `LowRank`."""
    original = {todays: old for old, todays in modules_of(config)}
    made = {"lora_controlnet": torch.zeros(())}
    for key, weight in model.items():
        kind, _, name = key.partition(".")
        name = renamed(name.replace("/", "."), original)
        made[name if kind == "whole" else f"{name.removesuffix('.weight')}.{kind}"] = weight.half().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(made, path)
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


class Drawn:
    """Pictures, latents and captions of a folder."""

    def __init__(self, folder: Path, empty: Tensor) -> None:
        self.pictures, self.latents, self.states = (
            np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in ("pictures", "latents", "states")
        )
        self.empty = empty

    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, states and lines (B, 3, H, W) of pictures; varied where `rng` is given."""
        found = np.stack([lines(self.pictures[i], rng) for i in chosen])
        states = torch.from_numpy(self.states[chosen]).float()
        if rng is not None:
            states[torch.from_numpy(rng.random(len(chosen)) < EMPTY)] = self.empty
        shown = torch.from_numpy(found).float()[:, None].expand(-1, 3, -1, -1) / 255
        return torch.from_numpy(self.latents[chosen]).float(), states, shown


def loss_of(
    model: LowRank | None, unet: UNet, noise: Noise, given: tuple[Tensor, Tensor, Tensor], steps: Tensor, eps: Tensor
) -> Tensor:
    """Return the mean squared error of v; `model` None: of the UNet alone."""
    clean, states, shown = given
    noisy, alpha, sigma = noise.add(clean, eps, steps)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    with device.bfloat16(), attention():
        residuals = (
            () if model is None else model(noisy, steps, states, shown.contiguous(memory_format=torch.channels_last))
        )
        made = unet(noisy, steps, states, None, residuals[:-1], residuals[-1] if residuals else None).sample.float()
    loss: Tensor = (made - (alpha * eps - sigma * clean)).square().mean()
    return loss


@torch.no_grad()
def evaluate(model: LowRank, unet: UNet, noise: Noise, heldout: Drawn) -> tuple[float, float]:
    """Return the error of v on held-out pictures with and without lines."""
    count = len(heldout.latents)
    generator = torch.Generator().manual_seed(0)
    errors = np.zeros(2)
    for part in np.array_split(np.arange(count), max(1, count // 16)):
        given = heldout.batch(part, None)
        steps = noise.draw((torch.from_numpy(part) * 0.6180339887).float() % 1, **LEVELS)
        eps = torch.randn(given[0].shape, generator=generator)
        for which, each in enumerate((model, None)):
            errors[which] += float(loss_of(each, unet, noise, given, steps, eps)) * len(part) / count
    return float(errors[0]), float(errors[1])


def train(args: argparse.Namespace) -> None:
    device.use(args)
    group_norm.use()
    torch.manual_seed(0)
    embedded: Any = load_model(resolve_model("embedded"), "cpu", "fp32")
    unet: UNet = embedded.unet.requires_grad_(False)
    empty = torch.from_numpy(np.load(args.data / "empty.npy")).float()
    drawn, heldout = (Drawn(args.data / name, empty) for name in ("train", "heldout"))
    model, noise = LowRank(unet), Noise()
    ends = [weight for name, weight in model.whole.items() if "controlnet" in name]
    rest = [weight for name, weight in model.whole.items() if "controlnet" not in name]
    groups = [
        {"params": list(model.down.values()), "peak": args.peak / 4},
        {"params": list(model.up.values()), "peak": args.peak / 2},
        {"params": ends, "peak": args.peak},
        {"params": rest, "peak": args.peak / 8},
    ]
    optimizer = torch.optim.AdamW(groups, args.peak, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    average = copy.deepcopy(model)
    checkpoint, step, spent = args.data / "control.ckpt", 0, 0.0
    if checkpoint.exists():
        state = progress.load(checkpoint)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)
    budget = progress.Budget(args.minutes, spent)
    rng, saved, total = np.random.default_rng([step, 3]), time.monotonic(), 0.0

    def keep() -> None:
        parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        progress.save(state | {"step": step, "spent": budget.spent}, checkpoint)
        print(
            "  held out, with and without lines: {:.4f} {:.4f}".format(*evaluate(average, unet, noise, heldout)),
            flush=True,
        )

    while budget.progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = progress.learning_rate(group["peak"], step, budget.progress, warm_up=50, hold=0.3)
        given = drawn.batch(rng.integers(len(drawn.latents), size=args.batch), rng)
        steps = noise.draw(torch.from_numpy(rng.random(args.batch, dtype=np.float32)), **LEVELS)
        loss = loss_of(model, unet, noise, given, steps, torch.randn_like(given[0]))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            share = 1 - min(0.99, step / (step + 20))
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)
        step, total = step + 1, total + float(loss.detach())
        if step % 25 == 0:
            print(
                f"{budget.spent / 60:5.1f} min  step {step}  {step * args.batch} samples  loss {total / 25:.4f}",
                flush=True,
            )
            total = 0.0
        if time.monotonic() - saved > args.save_every * 60:
            keep()
            saved = time.monotonic()
    keep()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training/control"))
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--heldout", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--save-every", type=float, default=4.0, help="time between checkpoints, minutes")
    parser.add_argument(
        "--export", type=Path, help="only write the Control-LoRA of the last checkpoint into this folder"
    )
    device.add_argument(parser)
    args = parser.parse_args()
    if args.export:
        embedded: Any = load_model(resolve_model("embedded"), "cpu", "fp32")
        config = LowRank(embedded.unet).network[0].config
        export(progress.load(args.data / "control.ckpt")["average"], config, args.export / "outlines.safetensors")
        return
    prepare(args.data, args.pictures, args.heldout)
    train(args)


if __name__ == "__main__":
    main()
