"""Preprocessors with networks of their own, by the package controlnet-aux, an extra of the installation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from deforum.errors import UserError
from deforum.features.controlnet.filters import Given
from deforum.models import hub
from deforum.models.hub import without_network
from deforum.pixels.image import Device, Image, from_bytes, to_bytes

WEIGHTS = "lllyasviel/Annotators"
"""Where the weights of most annotators are on the model hub."""
INSTALL = "pip install 'deforum-renderer[annotators]'"


def is_installed() -> bool:
    """Whether controlnet-aux is installed. It is not imported."""
    from importlib.util import find_spec

    return find_spec("controlnet_aux") is not None


def check(name: str, annotator: str) -> None:
    """Raise UserError where an annotator or its weights are not here."""
    otherwise = "or make the control pictures elsewhere and give them, with module: none"
    if not is_installed():
        raise UserError(f"{name} needs the package controlnet-aux: {INSTALL}; {otherwise}")
    if annotator not in WITHOUT_WEIGHTS and hub.find_cached(WEIGHTS, FILES[annotator]) is None:
        hub.expect_on_hub(WEIGHTS, otherwise)


WITHOUT_WEIGHTS = ("MediapipeFaceDetector",)
FILES = {
    "OpenposeDetector": "body_pose_model.pth",
    "HEDdetector": "ControlNetHED.pth",
    "PidiNetDetector": "table5_pidinet.pth",
    "TEEDdetector": "7_model.pth",
    "AnylineDetector": "MTEED.pth",
    "LineartDetector": "sk_model.pth",
    "LineartAnimeDetector": "netG.pth",
    "NormalBaeDetector": "scannet.pt",
    "SamDetector": "mobile_sam.pt",
}
"""A file of each annotator's weights, by which it is known to be here."""


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
    """Load an annotator of controlnet-aux. Raises UserError where its weights cannot be read."""
    import controlnet_aux

    cls: Any = getattr(controlnet_aux, annotator, None)
    if cls is None:
        raise UserError(f"the installed controlnet-aux has no {annotator}; {INSTALL} --upgrade")
    if annotator in WITHOUT_WEIGHTS:
        return cls()
    folder = hub.find_cached(WEIGHTS, FILES[annotator])
    try:
        with without_network():
            made = cls.from_pretrained(WEIGHTS if folder is None else str(folder))
    except Exception as error:
        # It raises what torch, the hub library and its own code raise for missing and damaged files.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{annotator} cannot be loaded from {WEIGHTS} ({reason}); fetch it again") from error
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
