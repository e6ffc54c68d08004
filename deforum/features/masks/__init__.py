"""Masks: where a picture is painted, and where it stays as it is.

Convention: a mask is (H, W) float32; 1 (white) is painted, 0 (black) is kept. The parts: `language` reads expressions,
`source` finds what they need before anything is loaded, `compose` makes the mask of a frame, `painting` paints by it,
`follow` moves it with the camera, `words` finds what words describe.
"""

from deforum.features.masks.find import MaskSource, find_masks, masks_by_depth
from deforum.features.masks.language import (
    EVERYWHERE,
    Expression,
    Operand,
    name_files,
    operands,
    parse_mask,
    parse_masks,
)

__all__ = [
    "EVERYWHERE",
    "Expression",
    "MaskSource",
    "Operand",
    "find_masks",
    "masks_by_depth",
    "name_files",
    "operands",
    "parse_mask",
    "parse_masks",
]
