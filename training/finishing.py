"""Training of the finishing network, which makes shown frames of the embedded model larger and firmer.

    python -m training.finishing --data build/training --stage mean --minutes 20 [--start FOLDER]
    python -m training.finishing --data build/training --stage teach
    python -m training.finishing --data build/training --stage firm --minutes 40
    python -m training.finishing --data build/training --export deforum/embedded/finishing

First the network learns the mean of what a frame may show (`--stage mean`): L1 of colours and gradients, and of coarse
colours. Only where frame and target agree coarsely, as a loop at an animation's strength often paints something else
than its start.

A mean has no edges. So then (`--stage teach`) its results are made firm by filters that are too slow for every frame of
a render: a bilateral filter takes what is left of the weave, and shock filters, round after round, make edges hard
where there are any. The network learns to do all that at once (`--stage firm`), while a critic tells its frames from
drawn pictures by their details alone: their coarse colours are taken away. (The critic alone, from the mean, brought no
edges in 700 steps.) The critic leaves for the last quarter, as it brings a few dark dots.

Frames are trained in pairs that follow each other: the finished ones, moved by the camera, should differ no more than
it takes. Stages resume from their checkpoints; they need the frames of `training.finishing_pairs`.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from deforum.finishing.looks import shock
from deforum.finishing.network import FACTOR, FinishingNet, enlarged
from training import device, progress
from training.finishing_pairs import SIZE, PairSet
from training.learner import Learner

WEIGHTS = "finishing.safetensors"
CROP = 96  # px of the frame
PAIRS = 2  # of frames that follow each other, per step, if not said otherwise
PEAKS = (0.003, 7e-4)  # learning rates: matrices, others
CRITIC_RATE = 4e-4
ALONE, RAMP, LEAVES = 0.1, 0.1, 0.75  # shares of the training: the critic joins, comes in, and leaves
GRADIENT, COARSE, STEADY = 1.0, 0.5, 0.15  # weights of losses beside that of colours
DRAWN = 0.1  # weight of the drawn targets beside the taught ones
WEAVE, FLAT, FILTERS, ROUNDS = 12 / 255, 4, 3, 4  # the teacher: bilateral filter, shock filters, rounds of each
ADVERSARIAL = 0.5  # size of the critic's gradient, in those of all other losses
SAID = 120  # seconds between reports
SAME, OTHER = 0.05, 0.13  # coarse difference, in 0..1, up to which a frame shows its target, and beyond which not


class Critic(nn.Module):
    """Finished pictures (N, 3, H, W) to how drawn their details look, per patch of about 60 px (N, 1, h, w)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(12, width, 3, padding=1),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 3 * width, 4, stride=2, padding=1),
                nn.Conv2d(3 * width, 3 * width, 3, padding=1),
                nn.Conv2d(3 * width, 1, 3, padding=1),
            ]
        )

    def forward(self, pictures: Tensor) -> Tensor:
        coarse = F.avg_pool2d(pictures, 16)
        details = pictures - F.interpolate(coarse, size=pictures.shape[2:], mode="bilinear", align_corners=False)
        x = F.pixel_unshuffle(4 * details, 2)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        scores: Tensor = self.layers[-1](x)
        return scores


def to_tensor(pictures: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """Convert (N, H, W, 3) uint8 to (N, 3, H, W) float32 in 0..1."""
    made = device.put(np.array(pictures)).permute(0, 3, 1, 2).float().div(255)
    return made.contiguous(memory_format=torch.channels_last)


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def agreement(frames: Tensor, targets: Tensor) -> Tensor:
    """Return where frames (N, 3, H, W) show the same as their targets, (N, 1, 2H, 2W) in 0..1."""
    cell = 8
    off = (F.avg_pool2d(frames, cell) - F.avg_pool2d(targets, FACTOR * cell)).abs().mean(1, keepdim=True)
    same = ((OTHER - off) / (OTHER - SAME)).clamp(0, 1)
    return F.interpolate(same, size=targets.shape[2:], mode="bilinear", align_corners=False)


def pixel_loss(made: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Loss of finished frames where ``weight`` (N, 1, H, W) says that the target is known."""
    loss = (weight * (made - targets).abs()).mean()
    for ours, theirs, part in zip(
        gradients(made), gradients(targets), (weight[..., 1:, :], weight[..., 1:]), strict=True
    ):
        loss = loss + GRADIENT * (part * (ours - theirs).abs()).mean()
    coarse = (F.avg_pool2d(made, 4) - F.avg_pool2d(targets, 4)).abs()
    return loss + COARSE * (F.avg_pool2d(weight, 4) * coarse).mean()


def steady_loss(before: Tensor, after: Tensor, moves: Tensor, seen: Tensor) -> Tensor:
    """Difference of finished frames from those before, moved; ``moves`` (N, 2, H, W), ``seen`` (N, 1, H, W), in px."""
    height, width = after.shape[2:]
    moves = FACTOR * F.interpolate(moves, size=(height, width), mode="bilinear", align_corners=False)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack((x, y))[None] + moves
    grid = torch.stack((2 * places[:, 0] / width - 1, 2 * places[:, 1] / height - 1), dim=-1)
    moved = F.grid_sample(before, grid, align_corners=False)
    inside = (grid.abs() < 1).all(-1)[:, None] * F.interpolate(seen, size=(height, width))
    return (inside * (after - moved).abs()).sum() / (3 * inside.sum()).clamp(min=1)


@torch.no_grad()
def teach(data: Path, folders: list[Path], most: int) -> None:
    """Write ``firm.npy`` beside the first frames: means of the results of networks in these folders, made firm."""
    nets = [_loaded(folder).to(memory_format=torch.channels_last) for folder in folders]
    for part in ("heldout", "train"):
        pairs = PairSet(data / "finishing" / part)
        count = min(most, len(pairs))
        shape = (count, *pairs.targets.shape[1:])
        made = np.lib.format.open_memmap(data / "finishing" / part / "firm.npy", mode="w+", dtype=np.uint8, shape=shape)
        for k in range(count):
            frames = to_tensor(pairs.inputs[k : k + 1])
            mean = torch.stack([net(frames)[0] for net in nets]).mean(0).clamp(0, 1)
            picture = cv2.bilateralFilter(mean.permute(1, 2, 0).contiguous().cpu().numpy(), 0, WEAVE, FLAT)
            for _ in range(FILTERS):
                picture = shock(picture, ROUNDS)
            made[k] = (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _loaded(folder: Path) -> FinishingNet:
    net = FinishingNet()
    net.load_state_dict({name: weight.float() for name, weight in load_file(folder / WEIGHTS).items()})
    return net


class Bicubic(nn.Module):
    """Plain enlargement, to compare with."""

    def forward(self, pictures: Tensor) -> Tensor:
        return enlarged(pictures)


Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]


class Batches:
    """Random crops of frames that follow each other; with ``taught`` also of what the teacher made of them."""

    def __init__(self, folder: Path, seed: int, taught: bool, count: int = PAIRS) -> None:
        self._count = count
        self._taught = np.load(folder / "train" / "firm.npy", mmap_mode="r") if taught else None
        self._pairs, self._rng = PairSet(folder / "train"), np.random.default_rng(seed)
        self._drawn = np.load(folder / "drawn.npy", mmap_mode="r")
        known = self._pairs.facts if self._taught is None else self._pairs.facts[: len(self._taught)]
        self._later = [k for k, facts in enumerate(known) if facts["frame"] > 0]

    def __len__(self) -> int:
        return len(self._pairs)

    def draw(self) -> Batch:
        """Return the frames of pairs, first those before; targets, known parts, moves, and what was taught."""
        rng, sets = self._rng, self._pairs
        frames, targets, seen, moves, taught = [], [], [], [], []
        corners = 4 * rng.integers(0, (SIZE - CROP) // 4 + 1, (self._count, 2))
        places = [(int(rng.choice(self._later)), *corner) for corner in corners]
        flips = rng.random(self._count) < 0.5
        for back in (1, 0):
            for (k, y, x), flip in zip(places, flips, strict=True):
                side = -1 if flip else 1
                fine = np.s_[k - back, FACTOR * y : FACTOR * (y + CROP), FACTOR * x : FACTOR * (x + CROP)]
                own = np.s_[k - back, y : y + CROP, x : x + CROP]
                frames.append(sets.inputs[own][:, ::side])
                targets.append(sets.targets[fine][:, ::side])
                seen.append(sets.seen[own][:, ::side])
                if self._taught is not None:
                    taught.append(self._taught[fine][:, ::side])
                step = sets.steps[k, :, y : y + CROP, x : x + CROP][..., ::side].astype(np.float32)
                moves.append(step * np.array([side, 1], np.float32)[:, None, None])
        known = device.put(np.ascontiguousarray(np.stack(seen)))[:, None].float().div(255)
        firm = to_tensor(np.stack(taught)) if taught else None
        return to_tensor(np.stack(frames)), to_tensor(np.stack(targets)), known, device.put(np.stack(moves)), firm

    def drawn(self) -> Tensor:
        """Return crops of drawn pictures as they were drawn, as many as frames, of the size of finished ones."""
        side, rng = FACTOR * CROP, self._rng
        crops = []
        for _ in range(2 * self._count):
            y, x = rng.integers(0, FACTOR * SIZE - side + 1, 2)
            crop = self._drawn[int(rng.integers(len(self._drawn))), y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        return to_tensor(np.stack(crops))


class Adversary:
    """The critic and its optimizer."""

    def __init__(self, checkpoint: Path) -> None:
        self.critic = Critic().to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(self.critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99), weight_decay=0)
        self._checkpoint = checkpoint
        if checkpoint.exists():
            state = progress.load(checkpoint)
            self.critic.load_state_dict(state["critic"])
            self._optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        state = {"critic": self.critic.state_dict(), "optimizer": self._optimizer.state_dict()}
        progress.save(state, self._checkpoint)

    def learn(self, drawn: Tensor, made: Tensor) -> tuple[float, float]:
        """Take a step of the hinge loss; return the mean scores of drawn and finished pictures."""
        real, fake = self.critic(drawn), self.critic(made)
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(real.detach().mean()), float(fake.detach().mean())

    def gradient(self, made: Tensor) -> Tensor:
        """Return the gradient that makes finished pictures look less drawn: the network goes against it."""
        [towards] = torch.autograd.grad(-self.critic(made).mean(), made)
        return towards


def losses(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return finished frames and their loss without the critic's part."""
    frames, targets, seen, moves, taught = batch
    made = net(frames)
    fine = F.interpolate(seen, size=targets.shape[2:], mode="bilinear", align_corners=False)
    loss = pixel_loss(made, targets, fine * agreement(frames, targets))
    if taught is not None:
        loss = DRAWN * loss + pixel_loss(made, taught, torch.ones_like(fine))
    loss = loss + COARSE * (F.avg_pool2d(made, 16) - F.avg_pool2d(frames, 8)).abs().mean()
    half = len(frames) // 2
    return made, loss + STEADY * steady_loss(made[:half], made[half:], moves[half:], seen[half:])


@torch.no_grad()
def heldout_loss(net: nn.Module, pairs: PairSet, count: int = 16) -> float:
    """Return the pixel loss of whole held-out frames."""
    found = []
    for k in np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int):
        frames, targets = to_tensor(pairs.inputs[k : k + 1]), to_tensor(pairs.targets[k : k + 1])
        weight = agreement(frames, targets) * float(pairs.seen[k].mean() / 255)
        found.append(float(pixel_loss(net(frames), targets, weight)))
    return float(np.mean(found))


def train(
    data: Path, minutes: float, start: Path | None = None, *, firm: bool = False, seed: int = 0, pairs: int = PAIRS
) -> FinishingNet:
    """Train the mean, or with ``firm`` what was taught, from the weights in a folder; return the averaged network."""
    folder = data / "finishing"
    heldout = PairSet(folder / "heldout")
    torch.manual_seed(seed)
    net = (FinishingNet() if start is None else _loaded(start)).to(memory_format=torch.channels_last)
    average = copy.deepcopy(net)
    matrices = [parameter for parameter in net.parameters() if parameter.ndim == 4]
    others = [parameter for parameter in net.parameters() if parameter.ndim != 4]
    learner = Learner(
        net, average, (matrices, PEAKS[0]), [(others, PEAKS[1])], folder / checkpoint_of(firm), decay=0.998
    )
    adversary = Adversary(folder / "critic.pt")
    batches = Batches(folder, seed + learner.step, firm, pairs)
    budget = progress.Budget(minutes, learner.spent)
    losses_now = heldout_loss(Bicubic(), heldout), heldout_loss(average, heldout)
    print(f"{len(batches)} frames; held-out loss of bicubic frames {losses_now[0]:.5f}, so far {losses_now[1]:.5f}")
    said, scores, seen = 0, (0.0, 0.0), 0.0
    while budget.progress < 1:
        share = budget.progress
        learner.set_rates(share, hold=0.4)
        made, loss = losses(net, batches.draw())
        net.zero_grad()
        if firm and ALONE < share < LEAVES:
            scores = adversary.learn(batches.drawn(), made.detach())
            away = made.detach().requires_grad_()
            pushed = adversary.gradient(away)
            [plain] = torch.autograd.grad(loss, made, retain_graph=True)
            size = ADVERSARIAL * min(1.0, (share - ALONE) / RAMP) * plain.norm() / pushed.norm().clamp(min=1e-12)
            made.backward(plain + size * pushed)
        else:
            loss.backward()
        learner.take_step(len(made))
        seen = seen + 0.01 * (float(loss.detach()) - seen) if seen else float(loss.detach())
        if budget.spent // SAID > said:
            said = int(budget.spent // SAID)
            learner.save(budget.spent)
            adversary.save()
            found = f"loss {seen:.5f}, held-out {heldout_loss(average, heldout):.5f}"
            print(f"{budget.spent / 60:.1f} min, step {learner.step}: {found}, critic {scores[0]:.2f} {scores[1]:.2f}",
                  flush=True)  # fmt: skip
    learner.save(budget.spent)
    adversary.save()
    return average


def checkpoint_of(firm: bool) -> str:
    return "firm.pt" if firm else "mean.pt"


def export(data: Path, folder: Path, *, firm: bool = True) -> None:
    """Write the averaged weights of a checkpoint into a folder, in float16."""
    state = progress.load(data / "finishing" / checkpoint_of(firm))["average"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.half().contiguous() for name, weight in state.items()}, folder / WEIGHTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/training"))
    parser.add_argument("--stage", choices=("mean", "teach", "firm"), default="mean")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--start", type=Path, nargs="*", default=[], help="folders of weights to start from")
    parser.add_argument("--frames", type=int, default=400, help="frames that are made firm")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of frames per step")
    parser.add_argument("--export", type=Path, help="write the stage's weights into this folder, and do not train")
    device.add_argument(parser)
    args = parser.parse_args()
    device.use(args)
    cv2.setNumThreads(args.threads)
    firm, mean = args.stage == "firm", args.data / "finishing" / "mean"
    if args.export:
        export(args.data, args.export, firm=firm)
    elif args.stage == "teach":
        if not args.start:
            export(args.data, mean, firm=False)
        teach(args.data, args.start or [mean], args.frames)
    else:
        train(args.data, args.minutes, *(args.start or [mean] * firm)[:1], firm=firm, pairs=args.pairs)
        print("done")


if __name__ == "__main__":
    main()
