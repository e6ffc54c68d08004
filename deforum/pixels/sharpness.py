"""Sharpness of pictures: Gaussian blur, unsharp mask, and matching of fine detail."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, conv2d, pad

from deforum.models.transfer import upload
from deforum.pixels.image import CPU, Device, Image, Mask, for_channels, from_array, to_array
from deforum.pixels.strips import TORCH_ALONE

Pixels = NDArray[np.float32]  # (H, W, 3)

LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B; ITU-R BT.601
FINE = (5, 1.0)  # px; kernel and deviation of the blur that separates fine detail: the defaults of antiblur
AMOUNTS = (-0.5, 1.0)  # least and largest amount of `match_detail`
AROUND = 19  # px, odd; width of the area over which `local_sharpness` is measured
LOCAL_AMOUNTS = (-1.0, 3.0)  # least and largest local amount of `sharpen_to`; -1 removes the fine detail
EVEN = 1e-4  # detail below 1/40 of a level counts as none


def unsharp_mask(
    image: Image, amount: float, kernel: int = 5, sigma: float = 1.0, threshold: float = 0, mask: Mask | None = None
) -> Image:
    """Sharpen (unsharp mask): add `amount` times the difference from a blurred copy; image (3, H, W).

    Convention: the blur is Gaussian over `kernel` x `kernel` px (odd), with deviation `sigma` in px (0 derives it from
    the kernel, as OpenCV does). Channels that differ from the blurred ones by less than `threshold`, in levels of 255,
    are unchanged. Where the mask (H, W) is 0 nothing changes.
    """
    if amount == 0:
        return image
    if image.device == CPU:
        return _unsharp_on_host(image, amount, kernel, sigma, threshold, mask)
    detail = _fine(image, kernel, sigma)
    if threshold > 0:
        detail.masked_fill_(detail.abs() < threshold / 255, 0)
    sharpened = torch.add(image, detail, alpha=amount, out=detail).clamp_(0, 1)
    return sharpened if mask is None else sharpened.sub_(image).mul_(mask).add_(image)


def _unsharp_on_host(
    image: Image, amount: float, kernel: int, sigma: float, threshold: float, mask: Mask | None
) -> Image:
    """Sharpen on one thread."""
    pixels, detail = to_array(image), to_array(_fine(image, kernel, sigma))
    if threshold > 0:
        detail[np.abs(detail) < threshold / 255] = 0
    sharpened = _add_share(pixels, detail, amount)
    if mask is not None:
        sharpened -= pixels
        sharpened *= mask[..., None].numpy()
        sharpened += pixels
    return from_array(sharpened)


def _add_share(pixels: Pixels, detail: Pixels, share: float) -> Pixels:
    """Add a share of the detail to pixels and clip them to 0..1, in the memory of the detail, on one thread."""
    # By torch, which rounds the product and the sum once.
    before, added = (torch.from_numpy(array.reshape(-1)) for array in (pixels, detail))
    for start in range(0, len(before), TORCH_ALONE):
        piece = slice(start, start + TORCH_ALONE)
        torch.add(before[piece], added[piece], alpha=share, out=added[piece])
    return np.clip(detail, 0, 1, out=detail)


def fine_detail(image: Image) -> float | torch.Tensor:
    """Measure fine detail: root mean square, 0..1, of what a small blur removes from the mean of R, G, B.

    That of a picture on a render device stays there, as a tensor ().
    """
    detail = _mean(_fine(_mean_of_channels(image)[None], *FINE).square_()).sqrt()
    return float(detail) if image.device == CPU else detail


def match_detail(image: Image, wanted: float | torch.Tensor, share: float = 1) -> Image:
    """Sharpen or soften a picture (3, H, W): move its `fine_detail` by `share` of the way, in ratios, to `wanted`.

    The amount of the `unsharp_mask` is solved for and clamped to AMOUNTS: missing detail cannot be sharpened.
    A picture without detail is returned unchanged.
    """
    if share == 0:
        return image
    if image.device != CPU:
        return match_detail_on_device(image, wanted, share)
    wanted = float(wanted)
    if wanted < EVEN:
        return image
    # The detail of image + a fine is fine + a finest; its mean square is a parabola in a. A mean of blurred channels is
    # the blurred mean of the channels.
    one = _fine(_mean_of_channels(image)[None], *FINE)
    other = _fine(one, *FINE)
    now, slope, bend = torch.stack([_mean(one * one), _mean(one * other), _mean(other * other)]).tolist()
    if now < EVEN**2:
        return image
    target = now ** (1 - share) * wanted ** (2 * share)
    amount = (max(slope * slope - bend * (now - target), 0) ** 0.5 - slope) / bend
    least, most = AMOUNTS
    fine = _fine(image, *FINE)
    return from_array(_add_share(to_array(image), to_array(fine), min(max(amount, least), most)))


def match_detail_on_device(image: Image, wanted: float | torch.Tensor, share: float = 1) -> Image:
    """Match as `match_detail` does, without a copy to the host."""
    fine = image - blur_on_device(image, *FINE)
    finest = fine - blur_on_device(fine, *FINE)
    one, other = fine.mean(0), finest.mean(0)
    now, slope, bend = (one * one).mean(), (one * other).mean(), (other * other).mean()
    goal = torch.full_like(now, wanted) if isinstance(wanted, float) else wanted
    target = now ** (1 - share) * goal ** (2 * share)
    amount = ((slope * slope - bend * (now - target)).clamp(min=0).sqrt() - slope) / bend
    even = (now < EVEN**2) | (goal < EVEN)
    amount = torch.where(even, 0, amount.clamp(*AMOUNTS))
    # In place of fine * 0, which is no number where there is one that is none.
    return torch.where(even, image, torch.addcmul(image, fine, amount).clamp_(0, 1))


def local_sharpness(image: Image) -> Mask:
    """Measure sharpness around each pixel: mean square of the Laplacian of luminance, (H, W)."""
    laplacian = _laplacian(image)
    return mean_around(laplacian * laplacian)


def sharpen_to(image: Image, wanted: Mask, still: torch.Tensor | None = None) -> Image:
    """Sharpen or soften a picture (3, H, W) around each pixel, to a `local_sharpness` of `wanted` (H, W).

    The local amount of the `unsharp_mask` is solved for and clamped to LOCAL_AMOUNTS. A picture that is as sharp as
    wanted is unchanged, and so is it where `still` (H, W) is True.
    """
    fine = _fine(image, *FINE)
    # The Laplacian of image + a fine is one + a other; its mean square around a pixel is a parabola in a.
    one, other = _laplacian(image), _laplacian(fine)
    excess = mean_around(one * one) - wanted
    slope, bend = mean_around(one * other).clamp_(min=0), mean_around(other * other)
    root = (slope * slope - bend * excess).clamp_(min=0).sqrt_()
    amount = (-excess / (slope + root).clamp_(min=1e-12)).clamp_(*LOCAL_AMOUNTS)
    if still is not None:
        amount.masked_fill_(still, 0)
    return torch.addcmul(image, for_channels(amount), fine, out=fine).clamp_(0, 1)


def _fine(image: Image, kernel: int, sigma: float) -> Image:
    """Return what a blur removes from (C, H, W), in memory of its own."""
    soft = blur(image, kernel, sigma)
    if image.device != CPU:
        return torch.sub(image, soft, out=soft)
    np.subtract(image.detach().numpy(), soft.numpy(), out=soft.numpy())  # on one thread
    return soft


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Return the mean, (): the same on any number of threads, among which sums over a whole picture are split."""
    return values.mean(-1).mean()


def _mean_of_channels(image: Image) -> Mask:
    """Return the mean of R, G, B, (H, W)."""
    if image.device != CPU:
        return image.mean(0)
    # 20 times as fast as torch's, for pictures stored channels last.
    return torch.from_numpy(np.asarray(cv2.transform(to_array(image), np.full((1, 3), 1 / 3)), np.float32))


def _laplacian(image: Image) -> Mask:
    if image.device != CPU:
        return laplacian_on_device(image)
    gray = cv2.transform(to_array(image), np.array([LUMINANCE], np.float32))
    laplacian = cv2.Laplacian(gray, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(np.asarray(laplacian, np.float32))


def laplacian_on_device(image: Image) -> Mask:
    """Return the Laplacian of luminance, (H, W), without a copy to the host; beyond the edge aaa|abc|ccc."""
    red, green, blue = (channel * weight for channel, weight in zip(image, LUMINANCE, strict=True))
    gray = pad((red + green + blue)[None, None], (1, 1, 1, 1), "replicate")[0, 0]
    around: Mask = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    return around


def mean_around(values: Mask) -> Mask:
    """Return the mean of (H, W) over AROUND x AROUND px; beyond the edge aaa|abc|ccc."""
    if values.device != CPU:
        return mean_on_device(values)
    mean = cv2.blur(values.numpy(), (AROUND, AROUND), borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(np.asarray(mean, np.float32))


def mean_on_device(values: Mask) -> Mask:
    """Return the mean of (H, W) over AROUND x AROUND px, without a copy to the host; beyond the edge aaa|abc|ccc."""
    around = pad(values[None, None], 4 * (AROUND // 2,), "replicate")
    return avg_pool2d(avg_pool2d(around, (AROUND, 1), 1), (1, AROUND), 1)[0, 0]


def blur(image: Image, kernel: int, sigma: float) -> Image:
    """Blur (C, H, W) with a Gaussian of `kernel` x `kernel` px (odd) and deviation `sigma` px.

    Convention: beyond the edge the picture is mirrored, the outermost pixel not repeated (dcb|abcd|cba).
    """
    if image.device == CPU:
        soft = cv2.GaussianBlur(to_array(image), (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT_101)
        return from_array(np.asarray(soft, np.float32).reshape(*image.shape[1:], -1))
    return blur_on_device(image, kernel, sigma)


def blur_on_device(image: Image, kernel: int, sigma: float, *, replicate: bool = False) -> Image:
    """Blur as `blur` does, on the image's device, without a copy to the host; `replicate`: beyond the edge aaa|abc."""
    weights = _gaussian(kernel, sigma, image.device)
    around = pad(image[:, None], 4 * (kernel // 2,), "replicate" if replicate else "reflect")
    # Convolutions take 10 bits of a factor on newer cards unless told otherwise: too few for a picture.
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        return conv2d(conv2d(around, weights), weights.transpose(2, 3))[:, 0]


@lru_cache(maxsize=32)
def _gaussian(kernel: int, sigma: float, device: Device) -> torch.Tensor:
    """Return the weights of a Gaussian, (1, 1, 1, kernel)."""
    with torch.inference_mode(False):
        return upload(torch.from_numpy(cv2.getGaussianKernel(kernel, sigma, cv2.CV_32F)).view(1, 1, 1, -1), device)
