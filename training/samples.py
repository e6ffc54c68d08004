"""What the text-to-image model learns from: latents with captions, and the loop's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

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
        self.latents: NDArray[np.float16] = np.load(folder / "latents.npy")
        captions: list[list[str]] = json.loads((folder / "captions.json").read_text())
        captions = strew(captions) if strewn else captions
        self.empty = tokenise(tokenizer, [""]).numpy()[0]
        self.tokens = np.stack([tokenise(tokenizer, each).numpy() for each in zip(*captions, strict=True)], 1)
        self.views, self.pairs = (
            dict(np.load(folder / name)) if (folder / name).exists() else None for name in ("views.npz", "loop.npz")
        )

    def batch(
        self, rng: np.random.Generator, levels: Tensor, view_share: float = 0.0, loop_share: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clean latents, the latents to add noise to (mostly the same), and captions, 10 % of them empty.

        One sample for each of ``levels`` (B,), log(sigma/alpha); views and pairs are for those below `LOOP_LEVEL`, and
        the shares are of these.
        """
        count = len(levels)
        which = rng.integers(0, self.latents.shape[1], count)
        mirrored = rng.integers(0, 2, count)
        clean = self.latents[mirrored, which].astype(np.float32)
        shown = clean.copy()
        kind = np.where(levels.numpy() < LOOP_LEVEL, rng.random(count), 1.0)
        if self.views is not None:
            for k in np.flatnonzero(kind < view_share):
                j = int(rng.integers(len(self.views["index"])))
                which[k], clean[k] = self.views["index"][j], self.views["latents"][j]
                shown[k] = clean[k]
        if self.pairs is not None:
            for k in np.flatnonzero((view_share <= kind) & (kind < view_share + loop_share)):
                j = int(rng.integers(len(self.pairs["index"])))
                which[k] = self.pairs["index"][j]
                clean[k], shown[k] = self.pairs["clean"][j], self.pairs["degraded"][j]
                if rng.random() < MIXED:
                    other = self.latents[mirrored[k], rng.integers(self.latents.shape[1])].astype(np.float32)
                    shown[k] += rng.uniform(0.1, 0.8) * (other - shown[k])
        tokens = self.tokens[which, rng.integers(0, self.tokens.shape[1], count)].copy()
        tokens[rng.random(count) < 0.1] = self.empty
        return torch.from_numpy(clean), torch.from_numpy(shown), torch.from_numpy(tokens).long()
