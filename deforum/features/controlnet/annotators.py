"""Preprocessors with networks of their own, by the package controlnet-aux, an extra of the installation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from deforum.errors import UserError
from deforum.features.controlnet.filters import Given
from deforum.models import hub
from deforum.models.catalogue import find_function
from deforum.models.hub import without_network
from deforum.pixels.image import Device, Image, from_bytes, to_bytes

ANNOTATORS = "lllyasviel/Annotators"
INSTALL = "pip install 'deforum-renderer[annotators]'"
OTHERWISE = "or make the control pictures elsewhere and give them, with module: none"


@dataclass(frozen=True)
class Weights:
    """Where an annotator's weights are on the model hub."""

    file: str
    """Its file, or the first of them."""
    hub: str = ANNOTATORS
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Of its from_pretrained, beside the folder."""


WEIGHTS: Mapping[str, Weights | None] = {
    "OpenposeDetector": Weights("body_pose_model.pth"),
    "HEDdetector": Weights("ControlNetHED.pth"),
    "PidiNetDetector": Weights("table5_pidinet.pth"),
    "TEEDdetector": Weights("5_model.pth", "fal-ai/teed", {"filename": "5_model.pth"}),
    "AnylineDetector": Weights("Anyline/MTEED.pth", "TheMistoAI/MistoLine", {"filename": "MTEED.pth"}),
    "LineartDetector": Weights("sk_model.pth"),
    "LineartAnimeDetector": Weights("netG.pth"),
    "NormalBaeDetector": Weights("scannet.pt"),
    "MediapipeFaceDetector": None,  # they come with mediapipe
    "SamDetector": Weights(
        "mobile_sam.pt", "dhkim2810/MobileSAM", {"model_type": "vit_t", "filename": "mobile_sam.pt"}
    ),
}
"""By the classes of controlnet-aux."""


def is_installed() -> bool:
    """Whether controlnet-aux is installed. It is not imported."""
    from importlib.util import find_spec

    return find_spec("controlnet_aux") is not None


def check(name: str, annotator: str) -> None:
    """Raise UserError where an annotator or its weights are not here."""
    if not is_installed():
        raise UserError(f"{name} needs the package controlnet-aux: {INSTALL}; {OTHERWISE}")
    weights = WEIGHTS[annotator]
    if weights is not None and hub.find_cached(weights.hub, weights.file) is None:
        hub.expect_on_hub(weights.hub, OTHERWISE.removeprefix("or "))


OPTIONS: Mapping[str, Mapping[str, bool]] = {
    "openpose_full": {"include_hand": True, "include_face": True},
    "dw_openpose_full": {"include_hand": True, "include_face": True},
    "openpose_hand": {"include_hand": True},
    "openpose_face": {"include_face": True},
    "openpose_faceonly": {"include_body": False, "include_face": True},
    "hed_safe": {"safe": True},
    "softedge_hedsafe": {"safe": True},
    "pidinet_safe": {"safe": True},
    "softedge_pidisafe": {"safe": True},
    "scribble_hed": {"scribble": True},
    "pidinet_scribble": {"scribble": True},
    "scribble_pidinet": {"scribble": True},
    "lineart_coarse": {"coarse": True},
}
"""Options of the annotators by the module's name."""


def load(annotator: str, device: Device) -> Any:
    """Load an annotator of controlnet-aux. Raises UserError where it, or its weights, cannot be read."""
    weights = WEIGHTS[annotator]
    try:
        cls: Any = find_function(f"controlnet_aux:{annotator}")
        if weights is None:
            return cls()
        folder = hub.find_cached(weights.hub, weights.file)
        with nullcontext() if folder is None else without_network():
            made = cls.from_pretrained(weights.hub if folder is None else str(folder), **weights.arguments)
    except Exception as error:
        # It raises what torch, the hub library and its own code raise for missing and damaged files.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{annotator} of controlnet-aux cannot be loaded ({reason}); {OTHERWISE}") from error
    return made.to(device) if hasattr(made, "to") else made


def annotate(image: Image, given: Given) -> Image:
    """Run an annotator, `given.more["annotator"]`, and return its picture at the size of `image`."""
    from PIL import Image as Picture

    height, width = image.shape[1:]
    side = min(height, width)
    found = given.more["annotator"](
        Picture.fromarray(to_bytes(image)), detect_resolution=side, image_resolution=side, **given.more["options"]
    )
    levels = np.asarray(found.convert("RGB"), np.uint8)
    if levels.shape[:2] != (height, width):
        levels = np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return from_bytes(levels, image.device)
