"""The memory of a device: which modules are there, which wait on the host, and what happens when it is full."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar, get_args
from weakref import ref

import torch
from torch import nn

from deforum.models.machine import free_memory
from deforum.models.offload import Visitor, park, settle, size_of, stream

Mode = Literal["full", "low", "lowest"]
"""full: all modules stay on the device. low: a module is moved there when it runs, and leaves when another one needs
the memory. lowest: large networks are moved layer by layer, and pictures are encoded and decoded in tiles."""

T = TypeVar("T")
_log = logging.getLogger(__name__)

MODES: tuple[Mode, ...] = get_args(Mode)


def free_on(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device; 0 where it is not known."""
    if device.type == "cuda":
        # What torch holds in reserve is free for us too.
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    return free_memory()  # Apple's graphics cards share the memory of the machine


_SAYS_FULL = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "Insufficient memory", "not enough memory")
"""Words of torch for the CPU and for MPS, of cuBLAS and cuDNN, of OpenCV, and of Windows."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a device or of the host is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, Exception) and any(words in str(error) for words in _SAYS_FULL)


def modules_in(model: object) -> list[nn.Module]:
    """List the modules that a loaded model of any kind has in its fields."""
    if isinstance(model, nn.Module):
        return [model]
    if isinstance(model, list | tuple):
        return [module for each in model for module in modules_in(each)]
    if is_dataclass(model):
        return [module for each in vars(model).values() for module in modules_in(each)]
    return []


class Sheds(Protocol):
    """Something that holds memory to save time, such as CUDA graphs."""

    def shed(self) -> bool:
        """Give the memory up, and do without it from now on; False if there was none."""


@dataclass(frozen=True)
class Resident:
    """A module that computes on the device."""

    module: ref[nn.Module]
    streams: bool
    """Whether its layers are moved one by one in mode lowest."""


@dataclass(eq=False)
class Room:
    """The modules that compute on one device, and the mode by which they share its memory."""

    device: torch.device
    free: Callable[[], int]
    """Returns the bytes that can still be allocated, 0 where it is not known."""
    moves: bool
    """Whether modules are moved at all: the CPU has no other place for them. In mode lowest it works in tiles."""
    mode: Mode = "full"
    reserve: int = 0
    """Bytes to leave free for the pictures and feature maps of a frame."""
    _residents: list[Resident] = field(default_factory=list)
    _inside: list[ref[Visitor]] = field(default_factory=list)
    """Parked modules that are on the device, in the order of their last use."""
    _shed: list[ref[Sheds]] = field(default_factory=list)

    def adopt(self, module: nn.Module, *, streams: bool = False) -> None:
        """Take a module in, and place it as the mode says."""
        if all(resident.module() is not module for resident in self._residents):
            self._residents.append(Resident(ref(module), streams))
        self._place(module, streams)

    def wrap(self, wrapper: nn.Module) -> None:
        """Move a wrapper from now on, in place of the modules of the room that are within it."""
        inner = list(wrapper.modules())
        wrapped = [each for each in self._residents if any(each.module() is module for module in inner)]
        self._residents = [each for each in self._residents if each not in wrapped]
        self._residents.append(Resident(ref(wrapper), any(each.streams for each in wrapped)))

    def arrange(self, mode: Mode) -> None:
        """Change the mode, and place all modules by it."""
        if mode == self.mode:
            return
        self.mode = mode
        self._residents = [resident for resident in self._residents if resident.module() is not None]
        for resident in self._residents:
            module = resident.module()
            if module is not None:
                self._place(module, resident.streams)
        self.free_caches()

    def lower(self) -> bool:
        """Change to the next mode that takes less memory; False if there is none."""
        after = MODES[MODES.index(self.mode) + 1 :]
        if not after:
            return False
        self.arrange(after[0] if self.moves else "lowest")
        return True

    def fits(self, needed: int) -> bool:
        """Whether `needed` bytes for a frame are free. True where that is not known."""
        free = self.free()
        if not free:
            return True
        coming = [size_of(module) for each in self._residents if (module := each.module()) is not None]
        return free >= needed + (max(coming, default=0) if self.mode == "low" and self.moves else 0)

    def fit(self, needed: int) -> None:
        """Lower the mode until a frame that takes `needed` bytes beside the weights is expected to fit."""
        self.reserve = needed
        before = self.mode
        while not self.fits(needed) and self.lower():
            pass
        if self.mode != before:
            _log.warning(
                "a frame takes about %.1f GB and %.1f GB are free: rendering with memory: %s, which takes longer",
                needed / 1e9, self.free() / 1e9, self.mode,
            )  # fmt: skip

    def enter(self, visitor: Visitor) -> None:
        """Bring a parked module to the device; those that were not used for the longest time leave until it fits."""
        inside = [other for each in self._inside if (other := each()) is not None and other.is_inside]
        if visitor in inside:
            inside.remove(visitor)
        else:
            while inside and self.free() < visitor.size + self.reserve:
                inside.pop(0).leave()
            visitor.arrive()
        self._inside = [ref(other) for other in (*inside, visitor)]

    def register(self, sheds: Sheds) -> None:
        """Note something that holds memory which it can do without."""
        self._shed = [each for each in self._shed if each() is not None] + [ref(sheds)]

    def shed(self) -> bool:
        """Give up all memory that is held to save time; False if there was none."""
        holders = [sheds for each in self._shed if (sheds := each()) is not None]
        # A list, not a generator: all of them are asked.
        had = any([sheds.shed() for sheds in holders])
        self.free_caches()
        return had

    def free_caches(self) -> None:
        """Return memory that nothing uses to the device."""
        gc.collect()
        if self.device.type == "cuda" and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _place(self, module: nn.Module, streams: bool) -> None:
        if not self.moves or self.mode == "full":
            settle(module, self.device)
        elif self.mode == "lowest" and streams:
            stream(module, self.device)
        else:
            park(module, self)


def within_memory(work: Callable[[], T], room: Room, *, alone: bool) -> T:
    """Run `work` for a frame; where memory runs out, free what is not needed, then try each mode that takes less.

    Raises torch.OutOfMemoryError where all were tried, or at once for work on several frames (not `alone`), for which
    fewer frames at a time come first.
    """
    while True:
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        # Out of the `except`, so that the traceback holds no tensors of the failed try.
        room.free_caches()
        if not alone:
            raise torch.OutOfMemoryError(reason)
        if room.shed():
            _log.warning("out of memory: going on without CUDA graphs, which hold memory to save time")
        elif room.lower():
            _log.warning("out of memory: trying again with memory: %s, which takes longer", room.mode)
        else:
            raise torch.OutOfMemoryError(reason)


_ROOMS: dict[torch.device, Room] = {}


def room_of(device: torch.device) -> Room:
    """Return the room of a device. All models of the process share it, as they share the memory."""
    if device.type == "cuda" and device.index is None:  # the same card as one that is named with its number
        device = torch.device("cuda", torch.cuda.current_device() if torch.cuda.is_available() else 0)
    return _ROOMS.setdefault(device, Room(device, partial(free_on, device), moves=device.type != "cpu"))
