"""What can be chosen of a preview, by name."""

from __future__ import annotations

from typing import Literal, get_args

Picture = Literal["auto", "init", "painted", "card", "room"]
"""What is moved: the init picture; frame 0 as the model paints it; a flat test card; a drawn room, with its depth."""
PICTURES: tuple[Picture, ...] = get_args(Picture)

DepthChoice = Literal["auto", "set", "embedded", "none"]
"""The depth of a 3D scene: of the model that is set, of the embedded one, or none (flat). A room has its own."""
DEPTHS: tuple[DepthChoice, ...] = get_args(DepthChoice)

Stream = Literal["y4m", "raw"]
"""How frames go into a pipe."""
STREAMS: tuple[Stream, ...] = get_args(Stream)
