"""Training samples of the text-to-image model: latents with captions, views and loop pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training import device
from training.tokenizer import strew, tokenise

MIXED = 0.15  # share of the loop pairs
# log(sigma/alpha) below which views and loop pairs are used: the starting noise of an animation at strength 0.45 or
# more. Above it pictures are composed from noise, which is learned from the drawn pictures only.
LOOP_LEVEL = 1.0


class Samples:
    """Latents with tokenized captions of a data folder, and the views and loop pairs of `training.loop_pairs`, if any.

    Views are enlarged parts of pictures; pairs are clean and degraded latents of the animation loop. In a share `MIXED`
    of the pairs another picture is blended into the degraded one, as after a change of prompt.
    """

    def __init__(self, folder: Path, tokenizer: CLIPTokenizer, strewn: bool = False) -> None:
        self.latents = device.put(np.load(folder / "latents.npy"))
        captions: list[list[str]] = json.loads((folder / "captions.json").read_text())
        captions = strew(captions) if strewn else captions
        self.empty = device.put(tokenise(tokenizer, [""])[0])
        each = [tokenise(tokenizer, list(texts)) for texts in zip(*captions, strict=True)]
        self.tokens = device.put(torch.stack(each, 1))
        self.views, self.pairs = (_load(folder / name) for name in ("views.npz", "loop.npz"))

    def batch(
        self, rng: np.random.Generator, levels: Tensor, view_share: float = 0.0, loop_share: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch: clean latents (B, C, h, w), input latents to add noise to, and captions (B, 77), 10 % empty.

        The input latents are the clean ones except in loop pairs. ``levels`` (B,) is log(sigma/alpha) of each sample;
        those below `LOOP_LEVEL` are views and pairs with the probabilities ``view_share`` and ``loop_share``.
        """
        count = len(levels)

        def draw(below: int) -> Tensor:
            return device.put(rng.integers(0, below, count))

        def uniform() -> Tensor:
            return device.put(rng.random(count, dtype=np.float32))

        def choose(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, 1, 1, 1), new.float(), old)

        mirrored, which, other = draw(2), draw(self.latents.shape[1]), draw(self.latents.shape[1])
        another = self.latents[mirrored, other].float()
        clean = self.latents[mirrored, which].float()
        kind = torch.where(levels < LOOP_LEVEL, uniform(), torch.inf)
        if self.views:
            seen, j = kind < view_share, draw(len(self.views["index"]))
            which = torch.where(seen, self.views["index"][j], which)
            clean = choose(seen, self.views["latents"][j], clean)
        shown = clean
        if self.pairs:
            worn, j = (kind >= view_share) & (kind < view_share + loop_share), draw(len(self.pairs["index"]))
            which = torch.where(worn, self.pairs["index"][j], which)
            clean, shown = (choose(worn, self.pairs[name][j], clean) for name in ("clean", "degraded"))
            share = (0.1 + 0.7 * uniform()).view(-1, 1, 1, 1)
            shown = choose(worn & (uniform() < MIXED), shown.lerp(another, share), shown)
        tokens = self.tokens[which, draw(self.tokens.shape[1])]
        tokens = torch.where((uniform() < 0.1)[:, None], self.empty, tokens)
        return clean, shown, tokens.long()


def _load(path: Path) -> dict[str, Tensor]:
    """Load the arrays of an npz file onto the device; {} if it does not exist."""
    return {name: device.put(value) for name, value in np.load(path).items()} if path.exists() else {}
