"""Optical flow by RAFT, with torchvision's network and the user's weights.

Source: Z. Teed, J. Deng, "RAFT: Recurrent all-pairs field transforms for optical flow", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from deforum.errors import UserError
from deforum.flow import FlowModel, FlowSource
from deforum.models.transfer import constant
from deforum.models.weights import read_weights
from deforum.pixels.image import Device, Image
from deforum.profiling import staged

UPDATES = 50  # iterations of refinement, as in Deforum; the network was trained with 12
FINEST = 8  # px; size of a feature cell: sides must be multiples of it
SMALLEST = 128  # px; for smaller pictures the coarsest level of correlation would have less than 2 cells


@dataclass(frozen=True)
class Raft:
    """RAFT, loaded on a device."""

    network: nn.Module
    device: Device

    @staged("flow")
    @torch.inference_mode()
    def __call__(self, a: Image, b: Image) -> torch.Tensor:
        height, width = a.shape[1:]
        size = tuple(max(SMALLEST, -(-side // FINEST) * FINEST) for side in (height, width))
        pair = torch.stack((a, b)).to(self.device)
        pair = F.interpolate(pair, size, mode="bilinear", align_corners=False) if size != (height, width) else pair
        pair = (2 * pair - 1).clamp(-1, 1)
        flow: torch.Tensor = self.network(pair[:1], pair[1:], num_flow_updates=UPDATES)[-1]
        if size != (height, width):
            flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
        scale = constant((width / size[1], height / size[0]), torch.float32, flow.device)
        scaled: torch.Tensor = flow[0].permute(1, 2, 0).float() * scale
        return scaled.contiguous().to(a.device)


def load(source: FlowSource, device: Device) -> FlowModel:
    """Load the network of the weights, large or small by their file name. Raises UserError where they do not fit it."""
    from torchvision.models.optical_flow import raft_large, raft_small

    assert source.path is not None
    weights = read_weights(source.path)
    # The large network has normalisation layers with learnt weights; the small one has narrower layers.
    make = raft_small if "small" in source.path.name else raft_large
    network = make(weights=None)
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{source.path}: not the weights of torchvision's {make.__name__} ({reason})") from None
    return Raft(network.eval().to(device), device)
