"""Text-prompted segmentation by CLIPSeg (Lueddecke and Ecker 2022, arXiv 2112.10003)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from deforum.errors import UserError
from deforum.features.masks.find import WordsSource, check_words
from deforum.models import hub
from deforum.pixels.image import Device, Image, Mask


@dataclass(frozen=True, eq=False)
class WordMasks:
    """Segments what words describe in a picture: a mask of 1 there, 0 elsewhere."""

    model: Any
    processor: Any

    @torch.inference_mode()
    def __call__(self, image: Image, words: str) -> Mask:
        given = self.processor(text=[words], images=image.clamp(0, 1), do_rescale=False, return_tensors="pt")
        given = {name: tensor.to(self.model.device) for name, tensor in given.items()}
        likely = torch.sigmoid(self.model(**given).logits.float())
        likely = likely.view(1, 1, *likely.shape[-2:])
        return above_otsu(interpolate(likely, image.shape[1:], mode="bilinear", align_corners=False)[0, 0])


def above_otsu(values: torch.Tensor) -> Mask:
    """Binarise values (H, W) in 0..1 by Otsu's threshold: 1 above it, else 0.

    Source: N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    levels = np.round(values.cpu().numpy() * 255).astype(np.uint8)
    _, split = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return torch.from_numpy(split.astype(np.float32)).to(values.device)


def load_words(source: WordsSource, device: Device) -> WordMasks:
    """Load the model from its folder, or download it first. Raises UserError for invalid files."""
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    folder = source.folder
    if folder is None:
        folder = _download(source.name)
        check_words(folder)
    try:
        with hub.without_network():
            processor = CLIPSegProcessor.from_pretrained(folder, local_files_only=True)
            load: Any = CLIPSegForImageSegmentation.from_pretrained
            model, found = load(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:
        # transformers raises many kinds; each means the same to the user.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"mask_words_model: {folder}: cannot be loaded as CLIPSeg ({lines[0][:300]})") from None
    if found["missing_keys"]:
        # transformers would only warn, and go on with random numbers.
        raise UserError(f"mask_words_model: {folder}: weights are missing ({sorted(found['missing_keys'])[0]}, ...)")
    model.eval().requires_grad_(False).to(device)
    return WordMasks(model, processor)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    small = ["*.json", "*.txt"]
    folder = hub.fetch(name, lambda: str(snapshot_download(name, allow_patterns=[*small, "*.safetensors"])))
    if not any(folder.glob("*.safetensors")):
        folder = hub.fetch(name, lambda: str(snapshot_download(name, allow_patterns=[*small, "*.bin"])))
    return folder
