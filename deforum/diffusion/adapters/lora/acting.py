"""Which LoRAs act in a frame and in each of its steps, as inputs of their branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from deforum.diffusion.adapters.lora.load import Joined
from deforum.models.branches import NOTHING, Inputs
from deforum.models.transfer import upload
from deforum.timeline.edits import When
from deforum.timeline.lora_words import LoraWord

LEAST = 1e-9
"""Weight that counts as 0: the LoRA rests, and the picture is that without it, bit for bit."""


@dataclass(frozen=True)
class Acting:
    """A LoRA as it acts in one frame."""

    key: str
    """Of its branches, see `deforum.models.branches.Branched`."""
    text: float
    network: float
    when: tuple[When, ...]

    def acts(self, step: int, steps: int) -> bool:
        return all(when.holds(step, steps) for when in self.when)


def loras_of(words: Sequence[LoraWord], joined: Mapping[str, Joined]) -> tuple[Acting, ...]:
    """Return the LoRAs that act in a frame, in an order of their own; `joined` has each by its name in prompts.

    Weights of one that is named several times add up. Those without an effect are left out.
    """
    weights: dict[tuple[str, tuple[When, ...]], tuple[float, float]] = {}
    for word in words:
        lora = joined[word.name]
        key = lora.key if word.ranks is None else f"{lora.key}:{word.ranks}"
        text, network = weights.get((key, word.when), (0.0, 0.0))
        text += word.text_encoder if lora.in_text else 0.0
        network += word.unet if lora.in_network else 0.0
        weights[key, word.when] = text, network
    found = [Acting(key, text, network, when) for (key, when), (text, network) in weights.items()]
    return tuple(sorted((each for each in found if max(abs(each.text), abs(each.network)) > LEAST), key=repr))


def for_text(loras: Sequence[Acting]) -> Inputs:
    """Return the inputs for the text encoders, which read a prompt once for all steps of a frame."""
    return _summed([(lora.key, lora.text) for lora in loras])


class ForSteps:
    """The inputs of a denoising network in each step of a frame: one object for all steps with the same weights."""

    def __init__(
        self,
        loras: Sequence[Acting],
        count: Callable[[int], tuple[int, int]],
        device: torch.device,
        others: Inputs = NOTHING,
    ) -> None:
        """`count` returns how prompts count a step, see `steps.prompt_step`; `others` are inputs of all steps."""
        self._loras, self._count, self._device, self._others = loras, count, device, others
        self._made: dict[tuple[bool, ...], Inputs] = {}

    def at(self, step: int) -> Inputs:
        """Return the inputs of a step, counted from 0."""
        if not self._loras:
            return self._others
        acts = tuple(lora.acts(*self._count(step)) for lora in self._loras)
        if acts not in self._made:
            weights = _summed([(lora.key, lora.network) for lora, does in zip(self._loras, acts, strict=True) if does])
            scalars = upload(torch.tensor(list(weights.values())), self._device).unbind()
            self._made[acts] = {**self._others, **dict(zip(weights, scalars, strict=True))}
        return self._made[acts]


def _summed(weights: Sequence[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for key, weight in weights:
        sums[key] = sums.get(key, 0.0) + weight
    return {key: weight for key, weight in sums.items() if abs(weight) > LEAST}
