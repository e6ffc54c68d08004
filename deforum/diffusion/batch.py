"""How many frames that do not depend on each other go through the model together."""

from __future__ import annotations

import torch

ON_CPU = 4
"""Beyond this little is gained, and each takes memory."""
MOST = 16
MEMORY = 2**30
"""Bytes that one frame of 512x512 takes on the way, with guidance, in 16 bits; decoding takes most."""


def batch_size(device: torch.device, width: int, height: int) -> int:
    """Choose by the device's memory and the size of the frames: the same in every run, so that pictures are too."""
    if device.type == "cpu":
        return ON_CPU
    if device.type != "cuda":
        return 1  # memory is shared with everything else
    share = torch.cuda.get_device_properties(device).total_memory / 2
    return max(1, min(MOST, int(share / (MEMORY * width * height / 512**2))))
