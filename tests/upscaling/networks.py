"""Small networks in ncnn's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

LAYERS = """\
7767517
6 7
Input            data    0 1 data
Split            split   1 2 data a b
Convolution      conv    1 1 a c 0=12 1=3 4=1 5=1 6=324 9=2 -23310=1,2.000000e-01
PixelShuffle     shuffle 1 1 c d 0=2
Interp           resize  1 1 b e 0=1 1=2.000000e+00 2=2.000000e+00
BinaryOp         add     2 1 d e output 0=0
"""
"""Twice as large: the nearest pixels, and what a convolution of 3 x 3 adds."""


def write_network(folder: Path, layers: str = LAYERS, changes: Mapping[str, str] = {}, half: bool = True) -> Path:
    """Write the two files of a network; `changes` are made in its list of layers. Returns the path of the list."""
    for old, new in changes.items():
        assert old in layers
        layers = layers.replace(old, new)
    path = folder / "small.param"
    path.write_text(layers)
    random = np.random.default_rng(0)
    weights = (random.standard_normal(324) * 0.05).astype("<f2" if half else "<f4")
    tag = np.array([0x01306B47 if half else 0], "<u4").tobytes()
    bias = (random.standard_normal(12) * 0.05).astype("<f4")
    path.with_suffix(".bin").write_bytes(tag + weights.tobytes() + bias.tobytes())
    return path
