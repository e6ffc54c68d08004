"""Conversion of the linear pair to an `AutoencoderKL` whose residual branches output zero and can be trained.

Its encoder and decoder are the same linear maps as the pair's, at every picture size.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

from training.linear_pair import PATCH, WIDTHS, LinearPair

# A constant channel pair far larger than the signal makes GroupNorm a fixed scaling, independent of the statistics of a
# crop or picture: contrast and hue pass through unchanged.
CONSTANT = 256.0
BRANCH_CONSTANT = 4.0


def build(channels: int, widths: tuple[int, ...] = WIDTHS, size: int = 256) -> AutoencoderKL:
    """Build an untrained autoencoder with latents (B, channels, H/16, W/16).

    Raises ValueError where ``widths`` cannot hold the pair and its constants.
    """
    levels = len(widths)
    if 2 ** (levels - 1) != PATCH or sorted(set(widths)) != list(widths) or 2 * channels + 2 > widths[-1]:
        raise ValueError(f"widths {widths}: expected 5, each above the one before, the last above {2 * channels + 1}")
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        sample_size=size,
        scaling_factor=1.0,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _place(conv: nn.Conv2d, inner: nn.Conv2d) -> None:
    """Write a convolution of the linear pair into a wider one that also passes the constants, its last two channels."""
    _zero(conv)
    conv.weight[: inner.out_channels, : inner.in_channels] = inner.weight
    y, x = (0, 0) if conv.stride[0] == 2 else (1, 1)
    conv.weight[-2, -2, y, x] = conv.weight[-1, -1, y, x] = 1


def _select(conv: nn.Conv2d, count: int, paired: bool = False) -> None:
    """Make a 1x1 convolution pass ``count`` channels and the constants; with ``paired`` also their negatives."""
    _zero(conv)
    for k in range(count):
        conv.weight[k, k] = 1
        if paired:  # SiLU(x) - SiLU(-x) = x: a pair of opposite sign passes the activation unchanged
            conv.weight[conv.out_channels // 2 - 1 + k, k] = -1
    conv.weight[-2, -2] = conv.weight[-1, -1] = 1


def _finish(norm: nn.GroupNorm, conv: nn.Conv2d, inner: nn.Conv2d) -> None:
    """Set the last layers of encoder or decoder: a norm of gain 1, and a convolution that reads the +- pairs."""
    norm.weight.fill_(CONSTANT * (2 / norm.num_channels) ** 0.5)
    norm.bias.zero_()
    _zero(conv)
    half, count = norm.num_channels // 2 - 1, inner.in_channels
    conv.weight[: inner.out_channels, :count] = inner.weight
    conv.weight[: inner.out_channels, half : half + count] = -inner.weight
    conv.bias[: inner.out_channels] = inner.bias


@torch.no_grad()
def write(vae: AutoencoderKL, pair: LinearPair) -> None:
    """Write the linear pair into an `AutoencoderKL`, whose residual branches then output zero and can be trained."""
    constants = torch.tensor([CONSTANT, -CONSTANT])
    encoder, decoder = vae.encoder, vae.decoder
    _zero(encoder.conv_in)
    encoder.conv_in.weight[:3, :3, 1, 1] = torch.eye(3)
    encoder.conv_in.bias[-2:] = constants
    _finish(encoder.conv_norm_out, encoder.conv_out, pair.code)
    encoder.conv_out.bias[pair.code.out_channels :] = -12.0  # log variance: sampling the posterior adds 0.0025

    _zero(decoder.conv_in)
    decoder.conv_in.weight[:-2] = pair.start.weight
    decoder.conv_in.bias[:-2] = pair.start.bias
    decoder.conv_in.bias[-2:] = constants
    _finish(decoder.conv_norm_out, decoder.conv_out, pair.out)

    ways = ((pair.down, encoder.down_blocks, "downsamplers"), (pair.up, decoder.up_blocks, "upsamplers"))
    for convolutions, blocks, sampler in ways:
        for level, inner in enumerate(convolutions):
            _place(getattr(blocks[level], sampler)[0].conv, inner)
            last = level == len(convolutions) - 1
            _select(blocks[level + 1].resnets[0].conv_shortcut, inner.out_channels, last)
    for block in (*encoder.down_blocks, encoder.mid_block, decoder.mid_block, *decoder.up_blocks):
        for resnet in block.resnets:
            # The branch gets the signal with gain 1, without the constant channels.
            resnet.norm1.weight.fill_(CONSTANT * (2 / resnet.in_channels) ** 0.5)
            resnet.norm1.weight[-2:] = 0
            resnet.conv1.weight[-2:] = 0
            resnet.conv1.bias[-2:] = torch.tensor([BRANCH_CONSTANT, -BRANCH_CONSTANT])
            resnet.norm2.weight.fill_(BRANCH_CONSTANT * (2 / resnet.out_channels) ** 0.5)
            _zero(resnet.conv2)


def _mask(parameter: nn.Parameter, written: bool, read: bool = False) -> None:
    """Zero the gradients of the weights that write the constant channels (``written``) or read them (``read``)."""
    kept = torch.ones_like(parameter)
    if written:
        kept[-2:] = 0
    if read:
        kept[:, -2:] = 0
    parameter.register_hook(lambda gradient: gradient * kept)


def keep_constants_of(resnet: nn.Module) -> None:
    """Apply `keep_constants` to the branch of a residual block."""
    _mask(resnet.norm1.weight, True)
    _mask(resnet.conv2.weight, True)
    _mask(resnet.conv2.bias, True)


def keep_constants(decoder: nn.Module) -> None:
    """Zero the gradients of the weights that write or read the decoder's large constants, which would amplify steps."""
    _mask(decoder.conv_in.weight, True)
    _mask(decoder.conv_in.bias, True)
    for block in (decoder.mid_block, *decoder.up_blocks):
        for resnet in block.resnets:
            keep_constants_of(resnet)
            if resnet.conv_shortcut is not None:
                _mask(resnet.conv_shortcut.weight, True, True)
                _mask(resnet.conv_shortcut.bias, True)
        for sampler in getattr(block, "upsamplers", None) or []:
            _mask(sampler.conv.weight, True, True)
            _mask(sampler.conv.bias, True)
    _mask(decoder.conv_norm_out.weight, True)
    _mask(decoder.conv_out.weight, False, True)


def is_branch(name: str) -> bool:
    """Whether a parameter of the decoder belongs to a residual branch, not to the linear path."""
    return ".resnets." in name and "conv_shortcut" not in name
