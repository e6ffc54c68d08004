"""Names of the weights of ControlNets and T2I-Adapters: those of the original training codes in those of diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

PREFIX = "control_model."
"""Of the weights of a ControlNet in files of the original training code."""
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


def todays_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of a file's weights in diffusers' names, for a network of this configuration."""
    modules = dict(modules_of(config))
    listed = list(names)
    if any(name.startswith(PREFIX) for name in listed):
        listed = [name for name in listed if name.startswith(PREFIX)]  # beside the whole model that it was trained on
    return {name: renamed(name.removeprefix(PREFIX), modules) for name in listed}


def adapter_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of a T2I-Adapter's weights in diffusers' names.

    TencentARC's full adapters count residual blocks through all levels, two in each; the light ones count in levels.
    """
    listed = {name: name.removeprefix("adapter.") for name in names}
    is_new = any(name.startswith("adapter.") for name in listed)
    is_light = any(re.match(r"body\.\d+\.body\.", name) for name in listed.values())

    def todays(name: str) -> str:
        if is_new:
            return name
        if is_light:
            return re.sub(r"^(body\.\d+)\.body\.", r"\1.resnets.", name)
        found = re.fullmatch(r"body\.(\d+)\.(.+)", name)
        if found is None:
            return name
        level, block = divmod(int(found[1]), 2)
        return f"body.{level}." + (found[2] if found[2].startswith("in_conv") else f"resnets.{block}.{found[2]}")

    return {name: f"adapter.{todays(rest)}" for name, rest in listed.items()}
