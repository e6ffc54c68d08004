"""IP-Adapter files: their kind and sizes. Does not import torch.

kind    image_proj                                  reads of a picture
plain   proj, norm                                  its embedding
full    proj.0, proj.2, proj.3      full face       all hidden states of the last layer but one
plus    latents, layers.i, ...      plus, plus face  the same, by a resampler

and `ip_adapter.N.to_k_ip.weight`, `to_v_ip` for each attention to the prompt, N = 1, 3, 5, ... in the order of the way
down, the way up, the middle. Source: tencent-ailab/IP-Adapter, in .safetensors or as nested tables in .bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deforum.errors import UserError
from deforum.models.weights import SUFFIXES, Header, read_header

FORMS = "an IP-Adapter of Stable Diffusion 1.5 or XL: plain, plus, plus face or full face"


@dataclass(frozen=True)
class IpFile:
    """What an IP-Adapter's file says of itself."""

    path: Path
    kind: str
    tokens: int
    """Tokens of a picture; 0: as many as the encoder has."""
    width: int
    """Width of the tokens, which is that of the model's prompts."""
    seen: int
    """Width of what it reads of the image encoder."""
    numbers: tuple[int, ...]
    """Numbers of the attentions in the file, ascending."""

    @property
    def reads_hidden(self) -> bool:
        """Whether it reads hidden states of the image encoder, and not its embedding."""
        return self.kind != "plain"


def read_file(path: Path) -> IpFile:
    """Read the header of an IP-Adapter. Raises UserError for what is not one, or needs another kind of encoder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: not a file of weights; expected {FORMS}")
    header = read_header(path)
    names = header.shapes
    numbers = sorted(
        int(name.split(".")[1])
        for name in names
        if name.startswith("ip_adapter.") and name.endswith(".to_k_ip.weight") and name.split(".")[1].isdigit()
    )
    if not numbers or not any(name.startswith("image_proj.") for name in names):
        raise UserError(f"{path}: not an IP-Adapter: it has no image_proj and ip_adapter; expected {FORMS}")
    width = names[f"ip_adapter.{numbers[0]}.to_k_ip.weight"][1]
    return IpFile(path, *_kind(path, header, width), tuple(numbers))


def _kind(path: Path, header: Header, width: int) -> tuple[str, int, int, int]:
    names = header.shapes
    if "image_proj.latents" in names:
        return "plus", names["image_proj.latents"][1], width, names["image_proj.proj_in.weight"][1]
    if "image_proj.proj.weight" in names:
        rows, seen = names["image_proj.proj.weight"]
        return "plain", rows // width, width, seen
    if "image_proj.proj.3.weight" in names:
        return "full", 0, width, names["image_proj.proj.0.weight"][1]
    raise UserError(
        f"{path}: an IP-Adapter that reads faces by InsightFace (FaceID), which is not supported; expected {FORMS}"
    )
