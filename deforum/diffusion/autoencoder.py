"""Encoding of pictures to latents and decoding of latents, with the model's autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from deforum.diffusion.compensation import SHARE, linear_path
from deforum.diffusion.faults import Fault, blank, guarded, not_finite
from deforum.diffusion.networks.packed import PACKED, is_packable
from deforum.diffusion.tiles import in_tiles
from deforum.models.device import execution_device
from deforum.models.faster import Faster, Form
from deforum.models.open_vino import Compared
from deforum.models.packing import pack
from deforum.models.transfer import upload
from deforum.pixels.image import Image
from deforum.profiling import stage

Tensor = torch.Tensor


class Autoencoder:
    """Wrapper of a diffusers AutoencoderKL: pictures (3, H, W) of any size to latents (C, h, w) and back."""

    def __init__(
        self,
        vae: Any,
        refinement: int = 0,
        tiled: Callable[[], bool] = lambda: False,
        *,
        compensates: bool = False,
    ) -> None:
        """`refinement` is the number of correction passes over the encoded latents, see `encode`.

        With `compensates` the decoded pictures are corrected in place of that, see `compensation`, where the
        autoencoder has a linear path. `tiled` says whether pictures are encoded and decoded in tiles, to take less
        memory; it may change.
        """
        self._vae = vae
        encode, decode = partial(_encode, vae), partial(_decode, vae)
        self.channels = int(vae.config.latent_channels)
        # The resolution is halved between blocks: a factor of 8 for Stable Diffusion, 16 for others.
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        # Not as a graph: OpenVINO sums up a group normalisation in one pass, which for whole pictures is off by up to
        # 4e-4, and with two passes it gains nothing.
        reading, drawing = (Form(partial(_packed, vae, run), is_packable) for run in (_encode, _decode))
        self._read = Faster("the encoder", vae, encode, [reading])
        self._draw = Faster("the decoder", vae, decode, [drawing])
        self._tiled = tiled
        self._path = linear_path(vae) if compensates else None
        self._refinement = refinement if self._path is None else 0
        self._scale, self._shift = _normalisation(vae)
        self._placed: tuple[Tensor, Tensor] = self._shift, self._scale

    def _normalisation(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return shift and scale on a device, see `_normalisation`."""
        if self._placed[0].device != device:
            self._placed = upload(self._shift, device), upload(self._scale, device)
        return self._placed

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return (C, h, w) for a picture of width x height px; h and w are rounded up."""
        return self.channels, -(-height // self.factor), -(-width // self.factor)

    def encode(self, images: Sequence[Image], frame: int, *, refined: bool = True) -> Tensor:
        """Encode pictures (3, H, W), 0..1, to latents (B, C, h, w), float32: the mode of the posterior, deterministic.

        Pictures are padded at the right and at the bottom to a multiple of the factor: by reflection, or by edge
        replication where a picture is smaller than the padding.

        The encoder is only an approximate inverse of the decoder. The error of a round trip has the same direction each
        time, so details are lost after twenty round trips. Each refinement decodes the latents, encodes the result
        again and adds the difference to the picture's own latents (van Cittert's iteration, 1931, with the encoder in
        the place of the inverse). It costs one decoding and one encoding, and is left out where not `refined`. Raises
        RenderError, naming `frame`, where the latents hold NaN or Inf.
        """
        batch = upload(torch.stack(tuple(images)), execution_device(self._vae))
        height, width = batch.shape[-2:]
        below, right = -height % self.factor, -width % self.factor
        if below or right:
            mode = "reflect" if below < height and right < width else "replicate"
            batch = torch.nn.functional.pad(batch, (0, right, 0, below), mode=mode)

        def work() -> tuple[Tensor, list[Fault]]:
            wanted = self._latents(batch * 2 - 1)
            latents = wanted
            for _ in range(self._refinement if refined else 0):
                latents = latents + wanted - self._latents(self._shown(latents).clamp(-1, 1))
            shift, scale = self._normalisation(latents.device)
            return (latents - shift) * scale, [not_finite(latents)]

        with stage("encode", frame):
            return guarded("the autoencoder (encoding)", frame, [self._vae], work)

    def decode(
        self, latents: Tensor, width: int, height: int, frame: int, *, may_be_blank: bool | Tensor | None
    ) -> list[Image]:
        """Decode latents (B, C, h, w) to pictures (3, height, width), 0..1; padding is cropped.

        Raises RenderError, naming `frame`, for a picture with NaN or Inf or, unless `may_be_blank`, of one colour;
        `may_be_blank` may be a flag on the device, () bool; None: no.
        """

        def work() -> tuple[Tensor, list[Fault]]:
            shift, scale = self._normalisation(latents.device)
            unscaled = latents / scale + shift
            batch = self._shown(unscaled)
            faults = [not_finite(batch)]
            if self._path is not None:
                batch = batch + SHARE * self._path(unscaled.float() - self._latents(batch.clamp(-1, 1)))
            batch = (batch / 2 + 0.5)[..., :height, :width]
            # Checked before clamping: an overexposed picture, white all over only once it is clamped, is not blank.
            if may_be_blank is not True:
                faults.append(blank(batch, 1 / 255, may_be_blank if isinstance(may_be_blank, Tensor) else None))
            return batch.clamp(0, 1), faults

        with stage("decode", frame):
            batch = guarded("the autoencoder (decoding)", frame, [self._vae], work)
        return list(batch.contiguous(memory_format=torch.channels_last))

    def _latents(self, pixels: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W), -1..1, to unscaled latents, float32."""
        given = pixels.to(self._vae.dtype, memory_format=torch.channels_last)
        return self._run(self._read, given, encodes=True)

    def _shown(self, latents: Tensor) -> Tensor:
        """Decode unscaled latents to pictures (B, 3, H, W), about -1..1, float32."""
        given = latents.to(self._vae.dtype, memory_format=torch.channels_last)
        return self._run(self._draw, given, encodes=False)

    def _run(self, work: Callable[[Tensor], Tensor], given: Tensor, *, encodes: bool) -> Tensor:
        """Encode or decode a batch, in tiles where memory is short; float32."""
        if self._tiled():
            return in_tiles(work, given, cell=self.factor, encodes=encodes)
        return work(given).float()


def _packed(vae: Any, run: Callable[[Any, Tensor], Tensor]) -> Compared:
    packed = pack(vae, PACKED)
    return Compared(vae, packed, partial(run, packed))


def _encode(vae: Any, pixels: Tensor) -> Tensor:
    mean: Tensor = vae.encode(pixels).latent_dist.mode()
    return mean


def _decode(vae: Any, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents).sample
    return pixels


def _normalisation(vae: Any) -> tuple[Tensor, Tensor]:
    """Return scale and shift of latents, (1 or C, 1, 1): normalised = (latents - shift) * scale.

    From the autoencoder's scaling_factor and shift_factor, or with its latents_mean and latents_std per channel.
    """
    config = vae.config
    scale = torch.tensor([float(config.scaling_factor)])
    shift = torch.tensor([float(getattr(config, "shift_factor", None) or 0.0)])
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and deviation is not None:
        scale, shift = scale / torch.tensor(deviation, dtype=torch.float32), torch.tensor(mean, dtype=torch.float32)
    return scale.view(-1, 1, 1), shift.view(-1, 1, 1)


def skip_silent(*blocks: Any) -> None:
    """Replace each residual branch whose last convolution is all zeros by its shortcut, in blocks of an autoencoder."""
    for block in blocks:
        for resnet in block.resnets:
            if not (resnet.conv2.weight.any() or resnet.conv2.bias.any()):
                resnet.forward = partial(_pass, resnet.conv_shortcut or nn.Identity())


def _pass(shortcut: nn.Module, x: Tensor, temb: None = None) -> Tensor:
    made: Tensor = shortcut(x)
    return made
