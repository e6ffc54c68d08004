"""What the text-to-image model learns from: latents with captions, and the loop's."""

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
# log(sigma/alpha) up to which the loop teaches: what an animation starts from at a strength of 0.45 or more.  Above it
# pictures come from noise, and their composition is only the drawn pictures' business.
LOOP_LEVEL = 1.0


class Samples:
    """Latents with tokenised captions, and where they are made, what `training.loop_pairs` adds.

    Views are pictures seen from nearer; pairs are degraded and clean latents of the feedback loop.  Some of the pairs
    are `MIXED`: the clean picture with another one shining through, as after a change of prompt.
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
        """Clean latents, the latents to add noise to (mostly the same), and captions, 10 % of them empty.

        One sample for each of ``levels`` (B,), log(sigma/alpha); views and pairs are for those below `LOOP_LEVEL`, and
        the shares are of these.
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
    """The arrays of a file, nothing where there is none."""
    return {name: device.put(value) for name, value in np.load(path).items()} if path.exists() else {}
