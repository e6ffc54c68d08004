"""Finishing one frame: the network, a clip's own pixels, and the look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from deforum.embedded import FINISHING
from deforum.errors import UserError
from deforum.finishing.looks import LOOKS, Look
from deforum.finishing.network import CELL, FACTOR, FinishingNet, enlarged
from deforum.models.open_vino import as_graph
from deforum.pixels.image import CPU, Device, Image, Mask, from_array, to_array

WEIGHTS = "finishing.safetensors"
LEAST = 160 * 160
"""px of a frame from which a graph is made; of smaller ones too little is gained for the seconds that takes."""


@dataclass(frozen=True)
class Finisher:
    """Makes of a frame (3, H, W) the one that is written, (3, 2H, 2W), on the same device."""

    added: Callable[[torch.Tensor], torch.Tensor]
    """What the network adds to enlarged pictures: (N, 3, H, W) to (N, 3, 2H, 2W), H and W multiples of `CELL`."""
    look: Look | None = None

    @torch.inference_mode()
    def __call__(self, image: Image, own: Mask | None = None) -> Image:
        """Finish a frame. `own` (H, W): 1 where its pixels are a clip's own, which are enlarged as they are."""
        pictures = image[None].float()
        large = enlarged(pictures)[0]
        height, width = large.shape[1:]
        made: Image = (large + self.added(_padded(pictures))[0, :, :height, :width]).clamp(0, 1)
        if self.look is not None:
            made = from_array(self.look(to_array(made)), image.device).clamp(0, 1)
        if own is None:
            return made
        share = F.interpolate(own[None, None].float(), scale_factor=float(FACTOR), mode="bilinear", align_corners=False)
        return torch.lerp(made, large.clamp(0, 1), share[0].to(made.device))


def _padded(pictures: torch.Tensor) -> torch.Tensor:
    height, width = pictures.shape[2:]
    down, right = -height % CELL, -width % CELL
    padded = F.pad(pictures, (0, right, 0, down), mode="replicate") if down or right else pictures
    return padded.contiguous(memory_format=torch.channels_last)


def load_finisher(look: str, device: Device = CPU, folder: Path = FINISHING) -> Finisher:
    """Load the network onto a device, with a look of `LOOKS`. Raises UserError for damaged weights."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    net, path = FinishingNet(), folder / WEIGHTS
    try:
        net.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: damaged ({reason}); install the package again") from None
    net.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    # Beside the painting a graph takes a third of the time: its threads wait for each other less often.
    return Finisher(as_graph("the finishing network", net, net.added, least=LEAST), LOOKS[look])
