"""Depth Anything V2 and ZoeDepth, through transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deforum.depth import MODELS, DepthSource, Gives
from deforum.errors import UserError
from deforum.models import hub
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
    """Load from a folder, or download it first where the source has none.

    Raises UserError where the files cannot be loaded as this model, lack weights, or cannot be downloaded.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    place = _downloaded(source) if source.path is None else source.path
    # Half precision is faster on an accelerator only.
    precision = torch.float32 if device.type == "cpu" else torch.float16
    common: Any = {"local_files_only": True, "trust_remote_code": False}
    try:
        with hub.without_network():
            load_processor: Any = AutoImageProcessor.from_pretrained
            processor = load_processor(place, use_fast=True, **common)
            model, found = AutoModelForDepthEstimation.from_pretrained(
                place, dtype=precision, output_loading_info=True, **common
            )
    except Exception as error:
        # transformers raises many types; all mean the same to the user.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{place}: cannot be loaded as {source.name} ({lines[0][:300]})") from None
    if found["missing_keys"]:
        # transformers would only warn, and continue with random weights.
        raise UserError(f"{place}: weights are missing ({', '.join(sorted(found['missing_keys'])[:3])}, ...)")
    model.eval().requires_grad_(False).to(device)
    return HubModel(model, processor, "depth" if model.config.model_type == "zoedepth" else "inverse depth")


def _downloaded(source: DepthSource) -> Path:
    from huggingface_hub import snapshot_download

    name = MODELS[source.name].hub
    return hub.fetch(name, lambda: str(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"])))
