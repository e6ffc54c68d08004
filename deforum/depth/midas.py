"""MiDaS: DPT-Large, DPT-Hybrid and MiDaS-small on timm backbones, with the parameter names of the official weights.

Source: Ranftl et al., "Vision Transformers for Dense Prediction" (2021) and "Towards Robust Monocular Depth
Estimation" (2020); the architectures follow the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.functional import gelu, interpolate, relu

from deforum.depth import DepthSource
from deforum.depth.network import Network
from deforum.errors import UserError
from deforum.models.weights import read_weights
from deforum.pixels.image import Device


class ResidualUnit(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.conv2(relu(self.conv1(relu(x))))
        return x + changed


class Fusion(nn.Module):
    """Adds a finer level to a coarser one, and resizes the sum."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, out_width, 1)
        self.resConfUnit1 = ResidualUnit(width)  # in checkpoints at the coarsest level too, where it is unused
        self.resConfUnit2 = ResidualUnit(width)

    def forward(self, x: torch.Tensor, finer: torch.Tensor | None, size: Sequence[int]) -> torch.Tensor:
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        x = self.resConfUnit2(x)
        fused: torch.Tensor = self.out_conv(interpolate(x, size=tuple(size), mode="bilinear", align_corners=True))
        return fused


class Decoder(nn.Module):
    """Decodes four levels of features, fine to coarse, to inverse depth (N, H, W) at four times the finest size."""

    def __init__(self, widths_in: Sequence[int], widths: Sequence[int], *, head_corners: bool) -> None:
        super().__init__()
        self.head_corners = head_corners
        a, b, c, d = widths
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(width_in, width, 3, padding=1, bias=False)
            for width_in, width in zip(widths_in, widths, strict=True)
        )
        self.refinenet1, self.refinenet2, self.refinenet3 = Fusion(a, a), Fusion(b, a), Fusion(c, b)
        self.refinenet4 = Fusion(d, c)
        # Numbered as in the checkpoints, which count layers without weights too.
        half = widths[0] // 2
        self.output_conv = nn.ModuleDict(
            {
                "0": nn.Conv2d(widths[0], half, 3, padding=1),
                "2": nn.Conv2d(half, 32, 3, padding=1),
                "4": nn.Conv2d(32, 1, 1),
            }
        )

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        narrow = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        levels = [change(level) for change, level in zip(narrow, levels, strict=True)]
        sizes = [(2 * levels[0].shape[2], 2 * levels[0].shape[3]), *(level.shape[2:] for level in levels[:-1])]
        x = self.refinenet4(levels[3], None, sizes[3])
        x = self.refinenet3(x, levels[2], sizes[2])
        x = self.refinenet2(x, levels[1], sizes[1])
        x = self.refinenet1(x, levels[0], sizes[0])
        x = self.output_conv["0"](x)
        x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=self.head_corners)
        inverse_depth: torch.Tensor = relu(self.output_conv["4"](relu(self.output_conv["2"](x))))
        return inverse_depth[:, 0]


class Readout(nn.Module):
    """Readout projection: combines each patch token with the class token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList([nn.Linear(2 * width, width)])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        patches, whole = tokens[:, 1:], tokens[:, :1]
        return gelu(self.project[0](torch.cat((patches, whole.expand_as(patches)), dim=-1)))


@dataclass(frozen=True)
class Shape:
    """Architecture of one DPT variant."""

    backbone: str
    width: int
    blocks: tuple[int, ...]
    """The transformer blocks whose output is used, early to late."""
    levels: tuple[int, int, int, int]
    """Channels of the features, fine to coarse."""
    features: int = 256
    changes: dict[str, Any] = field(default_factory=dict)
    """Arguments for timm that change the backbone."""


SHAPES = {
    "midas-dpt-large": Shape("vit_large_patch16_384", 1024, (5, 11, 17, 23), (256, 512, 1024, 1024)),
    "midas-dpt-hybrid": Shape("vit_base_r50_s16_384", 768, (8, 11), (256, 512, 768, 768)),
}


class Dpt(nn.Module):
    """DPT: a vision transformer whose tokens are reassembled into feature maps; sides must be multiples of 32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.pretrained = nn.Module()
        self.pretrained.model = timm.create_model(shape.backbone, num_classes=0, **shape.changes)
        # In a hybrid, the two finest levels come from the convolutions before the transformer.
        for level in range(4 - len(shape.blocks), 4):
            out = shape.levels[level]
            parts: dict[str, nn.Module] = {"0": Readout(shape.width), "3": nn.Conv2d(shape.width, out, 1)}
            if level < 2:
                parts["4"] = nn.ConvTranspose2d(out, out, 4 >> level, stride=4 >> level)
            elif level == 3:
                parts["4"] = nn.Conv2d(out, out, 3, stride=2, padding=1)
            setattr(self.pretrained, f"act_postprocess{level + 1}", nn.ModuleDict(parts))
        self.scratch = Decoder(shape.levels, (shape.features,) * 4, head_corners=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vit: Any = self.pretrained.model
        rows, columns = x.shape[2] // 16, x.shape[3] // 16
        levels = []
        if len(self.shape.blocks) < 4:
            convolutions = vit.patch_embed.backbone
            x = convolutions.stem(x)
            for stage in convolutions.stages:
                x = stage(x)
                levels.append(x)
            del levels[2:]
            x = convolutions.norm(x)
        x = vit.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat((vit.cls_token.expand(len(x), -1, -1), x), dim=1) + self._places(rows, columns)
        for number, block in enumerate(vit.blocks):
            x = block(x)
            if number in self.shape.blocks:
                level = getattr(self.pretrained, f"act_postprocess{len(levels) + 1}")
                features = level["0"](x).transpose(1, 2).reshape(len(x), -1, rows, columns)
                features = level["3"](features)
                levels.append(level["4"](features) if "4" in level else features)
        depth: torch.Tensor = self.scratch(levels)
        return depth

    def _places(self, rows: int, columns: int) -> torch.Tensor:
        """Resize the position embedding from the square grid of training to rows x columns of patches."""
        vit: Any = self.pretrained.model
        embedding: torch.Tensor = vit.pos_embed
        side = round((embedding.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return embedding
        grid = embedding[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        grid = interpolate(grid, size=(rows, columns), mode="bilinear").flatten(2).transpose(1, 2)
        return torch.cat((embedding[:, :1], grid), dim=1)


class MidasSmall(nn.Module):
    """EfficientNet-Lite3 encoder with a decoder that widens with depth; sides must be multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        net: Any = timm.create_model("tf_efficientnet_lite3", num_classes=0)
        self.pretrained = nn.Module()
        # The checkpoint counts the activation after the first normalisation; timm has it inside the normalisation.
        self.pretrained.layer1 = nn.Sequential(net.conv_stem, net.bn1, nn.Identity(), *net.blocks[:2])
        self.pretrained.layer2 = nn.Sequential(*net.blocks[2:3])
        self.pretrained.layer3 = nn.Sequential(*net.blocks[3:5])
        self.pretrained.layer4 = nn.Sequential(*net.blocks[5:])
        self.scratch = Decoder((32, 48, 136, 384), (64, 128, 256, 512), head_corners=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = []
        for number in (1, 2, 3, 4):
            x = getattr(self.pretrained, f"layer{number}")(x)
            levels.append(x)
        depth: torch.Tensor = self.scratch(levels)
        return depth


def load(source: DepthSource, device: Device) -> Network:
    """Load official weights. Raises UserError where the file does not contain them."""
    assert source.path is not None
    small = source.name == "midas-small"
    network = MidasSmall() if small else Dpt(SHAPES[source.name])
    try:
        weights = read_weights(source.path)
        # Both DPT checkpoints contain the classifier of their pretraining, which is unused.
        weights = {key: value for key, value in weights.items() if not key.startswith("pretrained.model.head.")}
        network.load_state_dict(weights)
    except (UserError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{source.path}: not the weights of {source.name} ({reason}); is the download complete?"
        ) from None
    network.eval().requires_grad_(False)
    # Half precision is faster on an accelerator only; bf16 for its range, which DPT's features need.
    network.to(device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    if small:
        return Network(network, 256, fit_inside=True, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
    return Network(network, 384)
