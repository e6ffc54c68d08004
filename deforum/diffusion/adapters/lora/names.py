"""The layers of a model that the names in LoRA files mean.

Trainers write the names of diffusers, or those of the original code of a family, with points or with underscores,
behind one of many prefixes. Where the original code has one layer for several of diffusers' (query, key and value), a
name means each of them, with its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

Rows = tuple[tuple[int, int], ...]
"""Ranges of the rows of a weight, one behind the other."""

DENOISER = (
    "base_model.model.unet.", "base_model.model.transformer.", "base_model.model.", "model.diffusion_model.",
    "diffusion_model.", "transformer.", "unet.", "lora_transformer_", "lora_unet_", "lycoris_unet_", "lycoris_", "",
)  # fmt: skip
CLIP = ("lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_", "text_encoder.", "base_model.model.text_encoder.",
        "clip_l.transformer.", "text_encoders.clip_l.transformer.", "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.", "base_model.model.", "")  # fmt: skip
SECOND = ("lora_te2_", "lycoris_te2_", "text_encoder_2.", "base_model.model.text_encoder_2.", "clip_g.transformer.",
          "text_encoders.clip_g.transformer.")  # fmt: skip
T5 = ("lora_te3_", "lycoris_te3_", "text_encoder_3.", "base_model.model.text_encoder_3.", "t5xxl.transformer.",
      "text_encoders.t5xxl.transformer.")  # fmt: skip
"""Prefixes of the parts of a model; the longest that leads to a layer counts."""

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ENDS = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0",
    "conv_out": "out.2",
}  # fmt: skip
_FLUX_DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"), "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"), "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",), "img_mlp.2": ("ff.net.2",), "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",), "img_mod.lin": ("norm1.linear",), "txt_mod.lin": ("norm1_context.linear",),
}  # fmt: skip
_FLUX_SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}  # fmt: skip
_FLUX_ENDS = {
    "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    **{f"{one}.{layer}_layer": f"time_text_embed.{other}.linear_{number}"
       for one, other in (("time_in", "timestep_embedder"), ("vector_in", "text_embedder"),
                          ("guidance_in", "guidance_embedder"))
       for layer, number in (("in", 1), ("out", 2))},
}  # fmt: skip
_SD3_BLOCK = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"), "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"), "x_block.attn2.proj": ("attn2.to_out.0",),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block.attn.proj": ("attn.to_add_out",),
    "x_block.mlp.fc1": ("ff.net.0.proj",), "x_block.mlp.fc2": ("ff.net.2",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",), "context_block.mlp.fc2": ("ff_context.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",), "context_block.adaLN_modulation.1": ("norm1_context.linear",),
}  # fmt: skip
_SD3_ENDS = {
    "x_embedder.proj": "pos_embed.proj", "context_embedder": "context_embedder", "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    **{f"{one}.mlp.{layer}": f"time_text_embed.{other}.linear_{number}"
       for one, other in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder"))
       for layer, number in ((0, 1), (2, 2))},
}  # fmt: skip
_SWAPPED = ("norm_out.linear",)
"""Layers whose two halves the original code has in the other order: shift and scale."""


@dataclass(frozen=True, eq=False)
class Target:
    """A layer that a LoRA changes."""

    layer: nn.Module
    name: str
    """Its path within its part of the model, for messages."""
    is_text: bool
    """Whether it is in a text encoder."""
    rows: Rows | None = None
    """The rows of the file's layer that are this one's; None: all."""


class Names:
    """Finds the layers of one model by the names in files."""

    def __init__(self, denoiser: nn.Module, text_encoders: Sequence[Any]) -> None:
        self._parts: list[tuple[tuple[str, ...], Mapping[str, tuple[Target, ...]]]] = []
        originals = dict(_originals(denoiser))
        self._parts.append((DENOISER, _table(denoiser, originals, is_text=False)))
        for encoder, prefixes in zip(text_encoders, _prefixes(text_encoders), strict=True):
            self._parts.append((prefixes, _table(encoder, {}, is_text=True)))

    def find(self, name: str) -> tuple[Target, ...]:
        """Return the layers that a name in a file means; none if this model has none of that name."""
        for prefixes, table in self._parts:
            for prefix in prefixes:
                if name.startswith(prefix):
                    found = table.get(_todays(name.removeprefix(prefix)))
                    if found:
                        return found
        return ()


def _prefixes(encoders: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    clips = 0
    for encoder in encoders:
        if any(name.startswith("encoder.block.") for name, _ in encoder.named_modules()):
            # In Flux the T5 encoder is the second one; kohya's te3 is a T5 in any family.
            yield T5 if clips > 1 else (*T5, *SECOND)
        else:
            yield CLIP if not clips else SECOND
            clips += 1


def _todays(name: str) -> str:
    """Return a name as the modules have it: early files name attention processors, and leave out a number."""
    name = name.replace(".processor.", ".")
    if name.endswith((".to_out", "_to_out")):
        return f"{name}{name[-7]}0"
    return name


def _table(
    module: nn.Module, originals: Mapping[str, tuple[tuple[str, Rows | None], ...]], *, is_text: bool
) -> dict[str, tuple[Target, ...]]:
    """Return the layers of a part by every name without a prefix."""
    layers = {name: layer for name, layer in module.named_modules() if getattr(layer, "weight", None) is not None}
    table: dict[str, tuple[Target, ...]] = {}
    for name, layer in layers.items():
        names = [name]
        if is_text:
            bare = name.removeprefix("text_model.")
            names = [name, bare, f"text_model.{bare}"]
            # Early versions of diffusers gave the layers of text encoders the names that they have in the UNet.
            for new, old in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out.0")):
                names += [f"{each.removesuffix(new)}{old}" for each in names[:3] if each.endswith(f".{new}")]
        for each in names:
            table[each] = (Target(layer, name, is_text),)
    for original, meant in originals.items():
        if all(name in layers for name, _ in meant):
            table[original] = tuple(Target(layers[name], name, is_text, rows) for name, rows in meant)
    return table | {name.replace(".", "_"): found for name, found in table.items()}


Originals = Iterator[tuple[str, tuple[tuple[str, Rows | None], ...]]]


def _originals(denoiser: Any) -> Originals:
    """Yield the names of the original code of the denoiser's family, and the layers that they mean."""
    if hasattr(denoiser, "down_blocks"):
        for name, original in _of_unet(denoiser):
            yield original, ((name, None),)
    elif hasattr(denoiser, "single_transformer_blocks"):
        layers = dict(denoiser.named_modules())
        for start, here, inner in (
            ("double_blocks", "transformer_blocks", _FLUX_DOUBLE),
            ("single_blocks", "single_transformer_blocks", _FLUX_SINGLE),
        ):
            yield from _of_blocks(layers, start, here, inner, len(getattr(denoiser, here)))
        yield from _of_ends(layers, _FLUX_ENDS)
    elif hasattr(denoiser, "transformer_blocks") and hasattr(denoiser, "context_embedder"):
        layers = dict(denoiser.named_modules())
        yield from _of_blocks(
            layers, "joint_blocks", "transformer_blocks", _SD3_BLOCK, len(denoiser.transformer_blocks)
        )
        yield from _of_ends(layers, _SD3_ENDS)


def _of_blocks(
    layers: Mapping[str, Any], start: str, here: str, inner: Mapping[str, tuple[str, ...]], count: int
) -> Originals:
    for block in range(count):
        for original, names in inner.items():
            full = [f"{here}.{block}.{name}" for name in names]
            if not all(name in layers for name in full):
                continue
            meant: list[tuple[str, Rows | None]] = []
            end = 0
            for name in full:
                first, end = end, end + len(layers[name].weight)
                meant.append((name, ((first, end),) if len(full) > 1 else None))
            # The last block of version 3 has no more than shift and scale for the prompt's tokens.
            ends = original.startswith("context_block.adaLN") and f"{here}.{block}.ff_context.net.2" not in layers
            yield f"{start}.{block}.{original}", _swapped(layers, meant) if ends else tuple(meant)


def _of_ends(layers: Mapping[str, Any], ends: Mapping[str, str]) -> Originals:
    for original, name in ends.items():
        if name in layers:
            meant: list[tuple[str, Rows | None]] = [(name, None)]
            yield original, _swapped(layers, meant) if name in _SWAPPED else tuple(meant)


def _swapped(
    layers: Mapping[str, Any], meant: Sequence[tuple[str, Rows | None]]
) -> tuple[tuple[str, Rows | None], ...]:
    [(name, _)] = meant
    count = len(layers[name].weight)
    return ((name, ((count // 2, count), (0, count // 2))),)


def _of_unet(unet: Any) -> Iterator[tuple[str, str]]:
    """Yield the name of each layer of a UNet, and the one that it has in the code of Stable Diffusion."""

    def block(path: str, module: Any, original: str) -> Iterator[tuple[str, str]]:
        for name, _ in module.named_modules():
            if name:
                yield f"{path}.{name}", f"{original}.{_RESNET.get(name, name)}"

    yield from _ENDS.items()
    index = 1
    for level, down in enumerate(unet.down_blocks):
        attentions = getattr(down, "attentions", None) or ()
        for i, resnet in enumerate(down.resnets):
            yield from block(f"down_blocks.{level}.resnets.{i}", resnet, f"input_blocks.{index}.0")
            if i < len(attentions):
                yield from block(f"down_blocks.{level}.attentions.{i}", attentions[i], f"input_blocks.{index}.1")
            index += 1
        for _ in getattr(down, "downsamplers", None) or ():
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{index}.0.op"
            index += 1
    middle = unet.mid_block
    if middle is not None:
        for i, resnet in enumerate(middle.resnets):
            yield from block(f"mid_block.resnets.{i}", resnet, f"middle_block.{2 * i}")
        for i, attention in enumerate(getattr(middle, "attentions", None) or ()):
            yield from block(f"mid_block.attentions.{i}", attention, f"middle_block.{2 * i + 1}")
    index = 0
    for level, up in enumerate(unet.up_blocks):
        attentions = getattr(up, "attentions", None) or ()
        for i, resnet in enumerate(up.resnets):
            yield from block(f"up_blocks.{level}.resnets.{i}", resnet, f"output_blocks.{index}.0")
            if i < len(attentions):
                yield from block(f"up_blocks.{level}.attentions.{i}", attentions[i], f"output_blocks.{index}.1")
            index += 1
        for _ in getattr(up, "upsamplers", None) or ():
            place = 2 if len(attentions) else 1
            yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{index - 1}.{place}.conv"
