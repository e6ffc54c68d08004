"""Names of a ControlNet's weights: those of the original training code (and of Control-LoRAs) in those of diffusers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""The layers of a residual block. Those of transformers have the same names in both."""


def modules_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (original name, diffusers' name) of the modules of a ControlNet; the names of weights begin with them."""
    widths: Sequence[int] = config["block_out_channels"]
    given = config.get("layers_per_block", 2)
    layers = list(given) if isinstance(given, list | tuple) else [given] * len(widths)
    yield from (("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"))
    yield from (("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"))
    yield "input_blocks.0.0", "conv_in"
    number = 1
    for level, kind in enumerate(config["down_block_types"]):
        for layer in range(layers[level]):
            yield from _resnet(f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}")
            if "Cross" in kind:
                yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{layer}"
            number += 1
        if level < len(widths) - 1:
            yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            number += 1
    yield from _resnet("middle_block.0", "mid_block.resnets.0")
    yield "middle_block.1", "mid_block.attentions.0"
    yield from _resnet("middle_block.2", "mid_block.resnets.1")
    yield from ((f"zero_convs.{i}.0", f"controlnet_down_blocks.{i}") for i in range(number))
    yield "middle_block_out.0", "controlnet_mid_block"
    pairs = len(config.get("conditioning_embedding_out_channels", (16, 32, 96, 256))) - 1
    yield "input_hint_block.0", "controlnet_cond_embedding.conv_in"
    for i in range(2 * pairs):
        yield f"input_hint_block.{2 * i + 2}", f"controlnet_cond_embedding.blocks.{i}"
    yield f"input_hint_block.{4 * pairs + 2}", "controlnet_cond_embedding.conv_out"


def _resnet(original: str, todays: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{original}.{old}", f"{todays}.{new}") for old, new in _RESNET.items())


def renamed(name: str, modules: Mapping[str, str]) -> str:
    """Return the name of a weight with the module that it belongs to renamed; other names stay."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:count])
        if module in modules:
            return ".".join([modules[module], *parts[count:]])
    return name
