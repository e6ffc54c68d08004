"""Depth Anything V2 and ZoeDepth, through transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deforum.depth import MODELS, DepthSource, Gives
from deforum.errors import UserError
from deforum.pixels.image import Device, Image


@dataclass(frozen=True)
class HubModel:
    """A transformers model with its processor, which knows its sizes, normalisation and padding."""

    model: Any
    processor: Any
    gives: Gives

    def __call__(self, image: Image, index: int) -> torch.Tensor:
        height, width = image.shape[1:]
        # do_rescale divides levels by 255; pictures are in 0..1 already.
        pixels = self.processor(image.clamp(0, 1), do_rescale=False, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            output = self.model(pixel_values=pixels.to(image.device, self.model.dtype))
        output.predicted_depth = output.predicted_depth.float()
        sizes = {"target_sizes": [(height, width)]}
        if self.gives == "depth":  # ZoeDepth's processor removes the padding that it added
            sizes["source_sizes"] = [(height, width)]
        depth: torch.Tensor = self.processor.post_process_depth_estimation(output, **sizes)[0]["predicted_depth"]
        return depth


def load(source: DepthSource, device: Device) -> HubModel:
    """Load from a folder, or from the hub where the source has none.

    Raises UserError where the files cannot be loaded as this model, lack weights, or cannot be fetched from the hub.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    place = str(source.path or MODELS[source.name].hub)
    # Half precision is faster on an accelerator only.
    precision = torch.float32 if device.type == "cpu" else torch.float16
    try:
        load_processor: Any = AutoImageProcessor.from_pretrained
        processor = load_processor(place, use_fast=True)
        model, found = AutoModelForDepthEstimation.from_pretrained(place, dtype=precision, output_loading_info=True)
    except Exception as error:
        # transformers and the hub library raise many types; all mean the same to the user.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{place}: cannot be loaded as {source.name} ({lines[0]})") from None
    if found["missing_keys"]:
        # transformers would only warn, and continue with random weights.
        raise UserError(f"{place}: weights are missing ({', '.join(sorted(found['missing_keys'])[:3])}, ...)")
    model.eval().requires_grad_(False).to(device)
    return HubModel(model, processor, "depth" if model.config.model_type == "zoedepth" else "inverse depth")
