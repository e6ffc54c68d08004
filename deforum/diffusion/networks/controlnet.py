"""The ControlNets of Stable Diffusion 1, 2 and XL and of the embedded model, as diffusers' ControlNetModel.

Zhang, Rao, Agrawala, arXiv 2302.05543. The network is the way down of a UNet, which also sees a control picture, with
a convolution behind each block that begins at zero; the results are added to what the UNet's way up joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.networks.files import Config
from deforum.diffusion.networks.unet import ACCEPTED, DOWN, READ, Encoder, TimeEmbedding, each, sinusoids

Tensor = torch.Tensor

_READ = READ | {
    "addition_time_embed_dim",
    "conditioning_channels",
    "conditioning_embedding_out_channels",
    "global_pool_conditions",
    "projection_class_embeddings_input_dim",
}
_ACCEPTED: dict[str, tuple[Any, ...]] = {name: values for name, values in ACCEPTED.items() if name not in _READ} | {
    "controlnet_conditioning_channel_order": ("rgb",)
}
PICTURE = (16, 32, 96, 256)
"""Channels of the layers that read the control picture, in the published networks."""


class PictureEmbedding(nn.Module):
    """Convolutions from a control picture (B, 3, H, W) to a feature map of the latents' size."""

    def __init__(self, channels: int, widths: Sequence[int], out: int) -> None:
        """Each of `widths` after the first halves the size."""
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for before, after in pairwise(widths):
            self.blocks.append(nn.Conv2d(before, before, 3, padding=1))
            self.blocks.append(nn.Conv2d(before, after, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(widths[-1], out, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def forward(self, picture: Tensor) -> Tensor:
        x = F.silu(self.conv_in(picture))
        for block in self.blocks:
            x = F.silu(block(x))
        made: Tensor = self.conv_out(x)
        return made


class ControlNet(Encoder):
    """The way down of a UNet with a control picture."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        widths: list[int] = config.block_out_channels
        layers = each(config.get("layers_per_block", 2), len(widths))
        self.controlnet_cond_embedding = PictureEmbedding(
            config.get("conditioning_channels", 3),
            config.get("conditioning_embedding_out_channels", PICTURE),
            widths[0],
        )
        joined = [widths[0]]
        for level, width in enumerate(widths):
            joined += [width] * (layers[level] + (level < len(widths) - 1))
        self.controlnet_down_blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for width in joined)
        self.controlnet_mid_block = nn.Conv2d(widths[-1], widths[-1], 1)

    @staticmethod
    def covers(config: Config) -> bool:
        """Whether the network of this configuration is of this form."""
        return (
            config.only(_ACCEPTED, _READ)
            and config.get("act_fn", "silu") == "silu"
            and config.get("addition_embed_type") in (None, "text", "text_time")
            and all(kind in DOWN for kind in config.down_block_types)
            and isinstance(config.cross_attention_dim, int)
        )

    def forward(
        self,
        x: Tensor,
        time: Tensor | float,
        tokens: Tensor,
        features: Tensor,
        pooled: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return what to add to the results that the UNet's way up joins, and last to that of its middle.

        `x`, `time` and `tokens` are those of the UNet; `features` are what `controlnet_cond_embedding` makes of control
        pictures (B, 3, H, W), the same in every step. `pooled` (B, width) is the pooled prompt and `sizes` (B, 6) the
        size conditioning of XL.
        """
        embedding = self.embed(x, time)
        more = self.more(tokens, pooled, sizes)
        return self.run(x, embedding if more is None else embedding + more, tokens, features)

    def more(self, tokens: Tensor, pooled: Tensor | None, sizes: Tensor | None) -> Tensor | None:
        """Return what is added to the embedding of the time; None where that is nothing."""
        if self.add_embedding is None:
            return None
        if not isinstance(self.add_embedding, TimeEmbedding):
            added: Tensor = self.add_embedding(tokens)
            return added
        assert pooled is not None and sizes is not None
        waves = sinusoids(
            sizes.flatten(),
            self.config.addition_time_embed_dim,
            cosine_first=bool(self.config.get("flip_sin_to_cos", True)),
            shift=float(self.config.get("freq_shift", 0)),
        )
        added = self.add_embedding(torch.cat([pooled, waves.view(len(sizes), -1).to(pooled.dtype)], dim=-1))
        return added

    def run(self, x: Tensor, embedding: Any, context: Any, features: Tensor) -> tuple[Tensor, ...]:
        """Run the blocks on latents, with what those need of time and prompts."""
        x, made = self.descend(self.conv_in(x) + features, embedding, context)
        found = [block(each) for block, each in zip(self.controlnet_down_blocks, made, strict=True)]
        return (*found, self.controlnet_mid_block(x))
