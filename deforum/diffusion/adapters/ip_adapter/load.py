"""IP-Adapters joined to a loaded UNet: keys and values in its attentions, and what makes tokens of pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.adapters.ip_adapter.file import IpFile, read_file
from deforum.diffusion.adapters.ip_adapter.network import build
from deforum.diffusion.networks.blocks import Attention
from deforum.diffusion.networks.image_tokens import ImageAttention, ImageKeys, acting, images_of, text_of
from deforum.errors import UserError
from deforum.models.device import execution_device
from deforum.models.hub import without_network
from deforum.models.transfer import upload
from deforum.models.weights import read_weights

Tensor = torch.Tensor
KEPT = 32
"""Pictures whose tokens are kept."""


@dataclass(frozen=True, eq=False)
class Pictured:
    """An IP-Adapter that a UNet has keys and values of."""

    key: str
    file: IpFile
    project: nn.Module
    encoder: Any
    """transformers' CLIPVisionModelWithProjection."""
    processor: Any
    """transformers' CLIPImageProcessor."""
    _known: OrderedDict[Path, tuple[Tensor, Tensor]] = field(default_factory=OrderedDict)

    @property
    def count(self) -> int:
        """The number of tokens of a picture."""
        config = self.encoder.config
        return self.file.tokens or (config.image_size // config.patch_size) ** 2 + 1

    @torch.inference_mode()
    def tokens(self, path: Path) -> tuple[Tensor, Tensor]:
        """Return the tokens of a picture, and those without one, (n, width) each. Raises UserError."""
        if path not in self._known:
            self._known[path] = self._read(path)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[path]

    def _read(self, path: Path) -> tuple[Tensor, Tensor]:
        from PIL import Image

        from deforum.pixels.files import check_pictures

        problems = check_pictures([path], "ip_adapter")
        if problems:
            raise UserError(problems)
        with Image.open(path) as picture:
            pixels = self.processor(picture.convert("RGB"), return_tensors="pt").pixel_values
        device, dtype = execution_device(self.encoder), next(self.encoder.parameters()).dtype
        pixels = upload(pixels, device).to(dtype)
        if self.file.reads_hidden:
            both = [self.encoder(each, output_hidden_states=True).hidden_states[-2] for each in (pixels, pixels * 0)]
        else:
            embedding = self.encoder(pixels).image_embeds
            both = [embedding, torch.zeros_like(embedding)]
        place = next(self.project.parameters()).device
        seen, blank = (self.project(each.float().to(place))[0] for each in both)
        return seen, blank


def join(adapters: Sequence[tuple[Path, Path]], unet: Any) -> list[Pictured]:
    """Give a UNet the keys and values of IP-Adapters, each with the folder of its image encoder, on the CPU.

    Raises UserError for what does not fit.
    """
    return [_join(f"ip{index}", path, encoder, unet) for index, (path, encoder) in enumerate(adapters)]


def _join(key: str, path: Path, encoder: Path, unet: Any) -> Pictured:
    file, weights = read_file(path), read_weights(path)
    attentions = list(_attentions(unet))
    if len(attentions) != len(file.numbers):
        raise UserError(
            f"{path}: it has weights for {len(file.numbers)} attentions to the prompt, and the model has "
            f"{len(attentions)}; use an IP-Adapter that was made for this family"
        )
    for attention, number in zip(attentions, file.numbers, strict=True):
        pair = [weights[f"ip_adapter.{number}.to_{each}_ip.weight"] for each in "kv"]
        own = attention.to_k.weight
        if tuple(pair[0].shape) != tuple(own.shape):
            raise UserError(
                f"{path}: ip_adapter.{number}.to_k_ip is {' x '.join(map(str, pair[0].shape))}, where the model has "
                f"{' x '.join(map(str, own.shape))}; use an IP-Adapter that was made for this family"
            )
        _attach(attention, key, ImageKeys(*(each.to(own.dtype) for each in pair)))
    inner = {name.removeprefix("image_proj."): each for name, each in weights.items() if name.startswith("image_proj.")}
    try:
        project = build(file.kind, inner)
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: its image_proj is not that of a {file.kind} IP-Adapter ({reason})") from None
    vision, processor = _encoder(encoder)
    config = vision.config
    width = config.hidden_size if file.reads_hidden else config.projection_dim
    if width != file.seen:
        raise UserError(
            f"ip_adapter: {encoder}: this image encoder gives {width} numbers, and {path.name} reads {file.seen}; "
            f"expected the encoder that it was trained with (ViT-H for most, ViT-bigG for some of XL)"
        )
    return Pictured(key, file, project, vision, processor)


def _encoder(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    cls: Any = CLIPVisionModelWithProjection
    try:
        with without_network():
            vision = cls.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"ip_adapter: {folder}: not an image encoder ({reason}); expected the folder of a "
            f"CLIPVisionModelWithProjection, such as models/image_encoder of the IP-Adapter's origin"
        ) from None
    size = int(vision.config.image_size)
    made: Any = CLIPImageProcessor
    return vision, made(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def _attentions(unet: Any) -> Iterator[Any]:
    """Yield the attentions to the prompt: of the way down, of the way up, of the middle."""
    for part in (unet.down_blocks, unet.up_blocks, unet.mid_block):
        for name, module in part.named_modules():
            if name.endswith("attn2"):
                yield module


def _attach(attention: Any, key: str, keys: ImageKeys) -> None:
    if not hasattr(attention, "images"):
        attention.images = nn.ModuleDict()
        if isinstance(attention, Attention):
            attention.__class__ = ImageAttention
        else:
            attention.set_processor(ImageProcessor(attention.processor))
    cast(nn.ModuleDict, attention.images)[key] = keys


class ImageProcessor:
    """Attention of diffusers' UNets to a prompt that has tokens of pictures behind it."""

    def __init__(self, plain: Any) -> None:
        """`plain` is the processor without pictures."""
        self._plain = plain

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *rest: Any, **more: Any
    ) -> Any:
        if encoder_hidden_states is None or not acting():
            return self._plain(attn, hidden_states, encoder_hidden_states, *rest, **more)

        def heads(part: Tensor) -> Tensor:
            return part.view(*part.shape[:-1], attn.heads, -1).transpose(1, 2)

        text, query = text_of(encoder_hidden_states), heads(attn.to_q(hidden_states))
        out = F.scaled_dot_product_attention(query, heads(attn.to_k(text)), heads(attn.to_v(text)))
        for name, tokens, weight in images_of(encoder_hidden_states):
            key, value = map(heads, attn.images[name](tokens))
            out = out + weight * F.scaled_dot_product_attention(query, key, value)
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def blended(adapter: Pictured, pictures: Sequence[tuple[Path, float]], *, negative: bool) -> Tensor:
    """Return the tokens (n, width) of pictures that are blended by weights; for a negative prompt those without one."""
    parts = [(adapter.tokens(path)[negative], weight) for path, weight in pictures]
    return sum((tokens * weight for tokens, weight in parts), torch.zeros_like(parts[0][0]))


def inputs_of(images: Sequence[tuple[Pictured, float]], device: torch.device) -> Mapping[str, Any]:
    """Return the inputs of the attentions for adapters with weights."""
    scalars = upload(torch.tensor([weight for _, weight in images]), device).unbind()
    return {"images": tuple((each.key, each.count, s) for (each, _), s in zip(images, scalars, strict=True))}
