"""The small depth network that ships with the package, trained by `training/depth.py`."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
from torch import nn
from torch.nn.functional import interpolate

from deforum.depth import DepthSource
from deforum.depth.network import Network
from deforum.errors import UserError
from deforum.pixels.image import Device

BACKBONE = "mobilenetv4_conv_small"
WIDTH, THIN = 64, 24  # channels
SIZE = 192  # px; side of the training pictures
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Join(nn.Module):
    """Adds a finer level to a coarser one: a depthwise 5 x 5 convolution, then a residual mix of the channels."""

    def __init__(self, finer: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(finer, width, 1)
        self.near = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.wide = nn.Conv2d(width, 2 * width, 1)
        self.mix = nn.Conv2d(2 * width, width, 1)

    def forward(self, coarse: torch.Tensor, finer: torch.Tensor) -> torch.Tensor:
        x = self.narrow(finer)
        x = x + interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
        joined: torch.Tensor = x + self.mix(torch.relu(self.wide(self.norm(self.near(x)))))
        return joined


class SmallDepth(nn.Module):
    """MobileNet encoder with a coarse-to-fine decoder: (N, 3, H, W) to inverse depth (N, H, W) in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(BACKBONE, features_only=True, pretrained=False)
        finest, *middle, coarsest = cast(Any, self.backbone.feature_info).channels()
        self.whole = nn.Conv2d(coarsest, WIDTH, 1)
        self.joins = nn.ModuleList(Join(channels, WIDTH) for channels in reversed(middle))
        # The finest level gives the outlines; it is too large for more layers than this.
        self.thin = nn.Conv2d(WIDTH, THIN, 1)
        self.fine = nn.Conv2d(finest, THIN, 1)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(THIN, THIN, 3, padding=1), nn.ReLU(), nn.Conv2d(THIN, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        finest, *middle, coarsest = self.backbone(pictures)
        x = self.whole(coarsest)
        # Global context: the picture as a whole tells how to read its parts.
        x = x + x.mean((2, 3), keepdim=True)
        for join, level in zip(self.joins, reversed(middle), strict=True):
            x = join(x, level)
        x = self.fine(finest) + interpolate(self.thin(x), size=finest.shape[2:], mode="bilinear", align_corners=False)
        x = interpolate(self.head(x), size=pictures.shape[2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(x)[:, 0]


def load(source: DepthSource, device: Device) -> Network:
    """Load the weights that ship with the package. Raises UserError where they are damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    assert source.path is not None
    network = SmallDepth()
    try:
        network.load_state_dict(load_file(source.path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{source.path}: damaged ({reason}); install the package again") from None
    network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    return Network(network, SIZE, mean=MEAN, deviation=DEVIATION)
