"""Guidance beyond the weighted sum of predictions: by regions of the frame, rescaled, and for CFG++.

What needs each prompt's prediction apart has them evaluated as frames of their own, in one batch: any model's denoiser
serves, and there are no more evaluations than otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from deforum.diffusion.altered import altered
from deforum.diffusion.families.model import Conditioning, Denoise, Model, Pull

Tensor = torch.Tensor
Both = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""(x, sigma) -> the guided x0 and the unguided one, both (B, C, h, w), in one evaluation."""


def guided(model: Model, frames: Sequence[Conditioning], width: int, height: int) -> Denoise:
    """Return the denoiser of a batch of frames, with their regions and their rescale."""
    if any(frame.rescale or any(pull.perturbed for pull in frame.pulls) for frame in frames):
        both = guided_and_not(model, frames, width, height)
        return lambda x, sigma: both(x, sigma)[0]
    if not any(frame.regions for frame in frames):
        return _altered(model, frames, model.denoiser(frames, width, height))
    predict = _altered(model, frames, model.denoiser(_parts(frames), width, height))
    return lambda x, sigma: _blended(predict(_repeated(x, frames), sigma), frames)


def guided_and_not(model: Model, frames: Sequence[Conditioning], width: int, height: int) -> Both:
    """Return a denoiser that also predicts x0 from the negative prompts alone, with the frames' regions."""
    parts = _parts(frames)
    counts = [len(part.pulls) for part in parts]
    alone = [replace(part, pulls=(replace(pull, weight=1.0),)) for part in parts for pull in part.pulls]
    predict = _altered(model, alone, model.denoiser(alone, width, height))

    def denoise(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        latents = _repeated(x, frames)
        rows = [own for own, count in zip(latents, counts, strict=True) for _ in range(count)]
        found = torch.split(predict(torch.stack(rows), sigma), counts)
        _, c_skip, c_out = model.schedule.scales_at(sigma)
        sums = [
            rescaled(x0, own * c_skip, c_out, part) if part.rescale else _weighted(x0, part.pulls)
            for x0, own, part in zip(found, latents, parts, strict=True)
        ]
        free = [_negative(x0, part.pulls) for x0, part in zip(found, parts, strict=True)]
        return _blended(torch.stack(sums), frames), _blended(torch.stack(free), frames)

    return denoise


def _altered(model: Model, frames: Sequence[Conditioning], predict: Denoise) -> Denoise:
    """Return a denoiser of frames under which the network is changed, as the frames and their single pulls say."""
    [network, *_], free_u = model.networks, frames[0].free_u
    perturbed = [frame.pulls[0].perturbed for frame in frames]
    if not free_u.acts and not any(perturbed):
        return predict

    def denoise(x: Tensor, sigma: float) -> Tensor:
        with altered(network, free_u, perturbed):
            return predict(x, sigma)

    return denoise


def rescaled(x0: Tensor, skipped: Tensor, c_out: float, part: Conditioning) -> Tensor:
    """Return the weighted sum (C, h, w) of predictions (pulls, C, h, w), rescaled in what the network predicts.

    There, x0 = skipped + c_out * prediction. The deviation of the guided prediction becomes that of the prompts', by
    the share `rescale`. Source: Lin et al. 2023 (arXiv 2305.08891), section 3.4.
    """
    is_prompt = [not pull.is_negative and not pull.perturbed for pull in part.pulls]
    prompts = [pull for pull, is_one in zip(part.pulls, is_prompt, strict=True) if is_one]
    total = sum(pull.weight for pull in prompts)
    if abs(total) < 1e-6 or len(prompts) == len(part.pulls):
        return _weighted(x0, part.pulls)  # nothing is guided
    predictions = (x0 - skipped) / c_out
    own = torch.stack([each for each, is_one in zip(predictions, is_prompt, strict=True) if is_one])
    prompted = _weighted(own, [replace(pull, weight=pull.weight / total) for pull in prompts])
    guided = _weighted(predictions, part.pulls)
    scaled = guided * (prompted.std() / guided.std())
    return skipped + c_out * torch.lerp(guided, scaled, part.rescale)


def _weighted(x0: Tensor, pulls: Sequence[Pull]) -> Tensor:
    """Return the weighted sum of the predictions (pulls, C, h, w), (C, h, w)."""
    weights = torch.tensor([pull.weight for pull in pulls], device=x0.device)
    return (x0 * weights.view(-1, 1, 1, 1)).sum(0)


def _negative(x0: Tensor, pulls: Sequence[Pull]) -> Tensor:
    """Return the prediction of the negative prompt of (pulls, C, h, w); the guided one without any."""
    return next((own for own, pull in zip(x0, pulls, strict=True) if pull.is_negative), _weighted(x0, pulls))


def _parts(frames: Sequence[Conditioning]) -> list[Conditioning]:
    """List the conditionings of each frame and of its regions, in order."""
    return [
        replace(frame, pulls=pulls, regions=())
        for frame in frames
        for pulls in (frame.pulls, *(own for _, own in frame.regions))
    ]


def _repeated(x: Tensor, frames: Sequence[Conditioning]) -> Tensor:
    """Repeat the latents (B, C, h, w) of each frame for each of its parts."""
    rows = [own for own, frame in zip(x, frames, strict=True) for _ in range(1 + len(frame.regions))]
    return torch.stack(rows)


def _blended(x0: Tensor, frames: Sequence[Conditioning]) -> Tensor:
    """Blend the predictions of all parts (parts, C, h, w) by the masks of the regions; returns (B, C, h, w).

    Where masks overlap they share the cell by their weights; the frame's own conditioning has what they leave.
    """
    counts = [1 + len(frame.regions) for frame in frames]
    mixed: list[Tensor] = []
    for (own, *others), frame in zip(torch.split(x0, counts), frames, strict=True):
        masks = [mask for mask, _ in frame.regions]
        whole = torch.stack([torch.zeros(own.shape[-2:], device=own.device), *masks]).sum(0).clamp(min=1)
        shares = [mask / whole for mask in masks]
        rest = 1 - sum(shares, torch.zeros_like(whole))
        mixed.append(sum((other * share for other, share in zip(others, shares, strict=True)), own * rest))
    return torch.stack(mixed)
