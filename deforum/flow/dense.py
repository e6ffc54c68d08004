"""Dense optical flow by OpenCV, on the CPU: DIS and Farneback.

Source: T. Kroeger et al., "Fast optical flow using dense inverse search", 2016 (DIS); G. Farnebäck, "Two-frame motion
estimation based on polynomial expansion", 2003. The parameters are those that Deforum's files rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deforum.flow import FlowModel, FlowSource
from deforum.models.transfer import upload
from deforum.pixels.image import Device, Image, to_bytes
from deforum.profiling import WAITING, in_context, stage, staged

Gray = NDArray[np.uint8]
Estimate = Callable[[Gray, Gray], NDArray[Any]]

SMALLEST = 16  # px; smaller pictures leave the estimators no pyramid level to search


@dataclass(frozen=True)
class Dense:
    """An estimator that takes two grey pictures (H, W) and returns flow (H, W, 2) px, on one thread."""

    estimate: Estimate
    """Called by several threads at once."""

    def __call__(self, a: Image, b: Image) -> torch.Tensor:
        return _on(a.device, self._flow(to_levels(a), to_levels(b)))

    def both_ways(self, a: Image, b: Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate the flow from `a` to `b` and from `b` to `a`, beside each other."""
        from_a, from_b = to_levels(a), to_levels(b)
        with ThreadPoolExecutor(1, "flow") as thread:
            backward = thread.submit(in_context(self._flow), from_b, from_a)
            forward = self._flow(from_a, from_b)
            with stage(WAITING):
                return _on(a.device, forward), _on(b.device, backward.result())

    @staged("flow")
    def _flow(self, a: Gray, b: Gray) -> NDArray[np.float32]:
        return np.asarray(self.estimate(a, b), np.float32)


def _on(device: Device, flow: NDArray[np.float32]) -> torch.Tensor:
    return upload(torch.from_numpy(flow), device)


def both_ways(model: FlowModel, a: Image, b: Image) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate the flow from `a` to `b` and from `b` to `a`; see `FlowModel`."""
    return model.both_ways(a, b) if isinstance(model, Dense) else (model(a, b), model(b, a))


def to_levels(image: Image) -> Gray:
    """Convert a picture (3, H, W) to grey levels 0..255, (H, W)."""
    return np.asarray(cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY), np.uint8)


def load_dis_medium(source: FlowSource, device: Device) -> FlowModel:
    return Dense(lambda a, b: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(a, b, None))  # type: ignore[call-overload]


def load_dis_fine(source: FlowSource, device: Device) -> FlowModel:
    """Make the DIS estimator with the search at full resolution, and 192 iterations of variational refinement."""

    def estimate(a: Gray, b: Gray) -> NDArray[Any]:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis.setFinestScale(0)
        dis.setPatchSize(8)
        dis.setPatchStride(4)
        dis.setVariationalRefinementIterations(192)
        found: NDArray[Any] = dis.calc(a, b, None)  # type: ignore[call-overload]
        return found

    return Dense(estimate)


def load_farneback(source: FlowSource, device: Device) -> FlowModel:
    return Dense(
        lambda a, b: cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
            a, b, None, pyr_scale=0.5, levels=3, winsize=21, iterations=5, poly_n=5, poly_sigma=1.2, flags=0
        )
    )
