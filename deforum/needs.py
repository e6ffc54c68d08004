"""Estimates of what a render will take: memory, and for the embedded model time. No model is loaded for them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from deforum.animation.sizes import first_size
from deforum.build import Prepared
from deforum.diffusion.sampling.samplers import find_sampler
from deforum.diffusion.sampling.steps import count_steps
from deforum.features import motion_gain
from deforum.features.fitting import FREE_U
from deforum.features.table import FLOW_CADENCE, starts_from_picture
from deforum.models import kept_graphs
from deforum.models.machine import renders_on_gpu, total_memory
from deforum.settings.options import Settings
from deforum.settings.profiles import PROFILES


@dataclass(frozen=True)
class Cost:
    """What a part of a run takes on 2 cores."""

    each: float
    """Seconds, of a frame of any size..."""
    pixel: float
    """...and for each pixel of the animation."""

    def of(self, size: int) -> float:
        """Return the seconds for `size` pixels."""
        return self.each + self.pixel * size


# Measured with the embedded model in float32, its UNet as a graph of OpenVINO, on 2 cores of an AMD EPYC server at 160,
# 256 and 384 px by `python -m benchmarks.needs`; at 512 px by the times of the networks alone.
PAINTED = Cost(0.03, 1.2e-6)
"""A diffused frame besides its steps: encoding, decoding, moving, writing."""
GAINED = 0.02
"""Seconds of a painted frame for the gain of its motion."""
STEP = Cost(0.006, 0.19e-6)
"""A step in which the network is evaluated for two rows, the prompt and the negative one; what it takes for each pixel
grows with the rows."""
BY_TORCH = 0.0155
"""Seconds of a step more where the embedded network is not run as a graph."""
IN_BETWEEN = Cost(0.01, 0.265e-6)
"""A frame between two painted ones, mixed of both."""
MEETING = Cost(0.0, 0.4e-6)
"""The flow from one painted frame to the next one, which in-betweens follow."""
FADED = Cost(0.003, 0.03e-6)
"""A frame of Deforum's cadence in which a painted one fades in."""
MOVED_DEEP, MOVED_SLAB = Cost(0.0075, 0.2e-6), Cost(0.003, 0.05e-6)
"""In 3D, each frame besides; with Deforum's camera."""
DEPTH, DEPTH_OF_SLAB = Cost(0.01, 0.02e-6), Cost(0.004, 0.03e-6)
"""A look of the embedded depth model, with what places it in space; for Deforum's camera."""
CONTROLLED = 0.4
"""Time of a control unit's network in a step, in steps."""
FINISHED = Cost(0.01, 0.5e-6), Cost(0.01, 0.7e-6)
"""Finishing a frame: plain, and with another look."""
START = Cost(2.0, 2e-6)
"""Loading the embedded model, what its first frames take beyond the others, and closing the film: 1.5 s in one hour,
2.4 s in another, mostly of importing torch."""
START_DEEP, START_CONTROLLED, START_FINISHER = 1.4, 0.5, 0.2
"""Seconds of loading the depth model, the network of a control unit, and that of finishing."""
MAKING, MAKING_CONTROLLED, MAKING_DEEP = 1.9, 0.65, 1.5
"""Seconds of making graphs in the first run of a size, beyond those of loading them: of the UNet and a control unit's
network for each shape of latents, and of the depth network."""
CELL = 16
"""px; side of a latent cell of the embedded model."""
CHECKING = 0.3
"""Seconds of checking the settings before models are loaded."""
EDITION = sha256(
    repr(
        (
            PAINTED,
            GAINED,
            STEP,
            BY_TORCH,
            IN_BETWEEN,
            MEETING,
            FADED,
            MOVED_DEEP,
            MOVED_SLAB,
            DEPTH,
            DEPTH_OF_SLAB,
            FINISHED,
            CONTROLLED,
        )
    ).encode()
).hexdigest()[:8]
"""Changes with the table: what was measured against another one tells nothing."""
BYTES_PER_FINISHED = 300, 360
"""Memory of finishing a frame per pixel of the animation, likewise."""
LARGEST_MEASURED = 1024 * 1024
"""Frames of more px take longer than in proportion, as attention does; no time is given for them."""


def memory(prepared: Prepared, *, tiled: bool = False) -> int | None:
    """Return about how many bytes a render takes; None if the model is not fetched yet.

    `tiled`: as if frames were decoded in tiles, as they are with memory: lowest.
    """
    from deforum.diffusion.memory import BATCH_ON_CPU, estimate_memory, weights_in

    settings = prepared.settings
    on_gpu = renders_on_gpu(settings.device)
    at_once = 1 if settings.mode.goes_on else settings.batch_size or (1 if on_gpu else BATCH_ON_CPU)
    half = settings.precision in ("fp16", "bf16") or (on_gpu and settings.precision == "auto")
    batch = min(at_once, len(prepared.timeline))
    needed = estimate_memory(
        prepared.model, *settings.size, batch=batch, half=half, tiled=tiled or settings.memory == "lowest"
    )
    if needed is None:
        return None
    files = {file for unit in prepared.found.get("control units") or () for file in unit.model.files}
    needed += sum(map(weights_in, files)) * (2 if half else 4)
    if not settings.finishes or on_gpu:
        return needed
    width, height = settings.size
    return needed + BYTES_PER_FINISHED[settings.finish_look != "plain"] * width * height


def memory_note(prepared: Prepared) -> str:
    """Return a note where the machine has less memory than a render takes; "" where it has enough, or on a GPU."""
    needed, there = memory(prepared), total_memory()
    if needed is None or not there or needed < there or renders_on_gpu(prepared.settings.device):
        return ""
    width, height = prepared.settings.size
    short = f"{width}x{height}: about {gigabytes(needed)} of memory, and this machine has {gigabytes(there)}"
    in_tiles = memory(prepared, tiled=True) or needed
    if in_tiles < there and prepared.settings.memory == "auto":
        return f"{short}: frames are encoded and decoded in tiles (memory: lowest), which takes longer"
    or_tiles = f", or memory=lowest (about {gigabytes(in_tiles)})" if in_tiles < there else ""
    return f"{short}: the system will probably end the render; choose a smaller size{or_tiles}"


def seconds_on_two_cores(prepared: Prepared) -> float | None:
    """Return about how long a render takes on 2 cores; None where that was not measured, and for films of shots."""
    if prepared.shots or not is_in_table(prepared.settings):
        return None
    return start_on_two_cores(prepared) + float(work(prepared).sum())


def is_in_table(settings: Settings) -> bool:
    """Whether it was measured what settings take."""
    width, height = settings.size
    is_known = settings.model == "embedded" and width * height <= LARGEST_MEASURED
    return is_known and not renders_on_gpu(settings.device)


def start_on_two_cores(prepared: Prepared) -> float:
    """Return about how many seconds pass on 2 cores besides the frames, with the embedded model."""
    settings = prepared.settings
    width, height = settings.size
    units = len(prepared.found.get("control units") or ())
    deep = START_DEEP if sees_depth(settings) else 0
    finisher = START_FINISHER if settings.finishes else 0
    return CHECKING + START.of(width * height) + deep + finisher + START_CONTROLLED * units


def making_on_two_cores(prepared: Prepared) -> float:
    """Return about how many seconds graphs take where none is in the cache, with the embedded model on 2 cores."""
    settings = prepared.settings
    width, height = settings.size
    if not has_graphs(width, height) or not kept_graphs.is_empty():
        return 0.0
    shapes = 2 if settings.moves_grid else 1  # the moving grid has a margin
    units = len(prepared.found.get("control units") or ())
    return shapes * (MAKING + MAKING_CONTROLLED * units) + (MAKING_DEEP if sees_depth(settings) else 0)


def has_graphs(width: int, height: int) -> bool:
    """Whether the embedded model's networks are run as graphs for frames of a size, on a processor."""
    cells = -(-width // CELL) * -(-height // CELL)
    return cells >= kept_graphs.FEWEST_CELLS and kept_graphs.is_supported()


def sees_depth(settings: Settings) -> bool:
    """Whether a depth model looks at the pictures."""
    return settings.mode.has_depth and settings.use_depth_warping and settings.depth_algorithm.casefold() != "none"


def repaints(settings: Settings) -> bool:
    """Whether what comes into view is painted with a strength of its own."""
    looks = sees_depth(settings) and PROFILES[settings.profile].physical_camera
    return looks and settings.disocclusion == "repaint"


def work(prepared: Prepared, frames: range | None = None) -> NDArray[np.float64]:
    """Return the work of each frame of a chain, (F,): the seconds that the embedded model would take on 2 cores.

    With other models, larger frames and on graphics cards it tells which runs take longer, and by how much. `frames`
    are those that are rendered of the timeline; by default all from the first one on.
    """
    settings, timeline = prepared.settings, prepared.timeline
    frames = range(timeline.first, len(timeline)) if frames is None else frames
    width, height = settings.size
    size, profile, on_time = width * height, PROFILES[settings.profile], timeline.on_time
    moved = (MOVED_DEEP if profile.physical_camera else MOVED_SLAB).of(size) * settings.mode.has_depth
    looked = (DEPTH if profile.depth_steady else DEPTH_OF_SLAB).of(size) * sees_depth(settings)
    gained = GAINED if motion_gain.is_on(settings) else 0
    # On the way to a painted frame depth is estimated once, at its beginning; where that fades in, in each frame.
    between = IN_BETWEEN.of(size) + moved if on_time else FADED.of(size) + moved + looked
    met = MEETING.of(size) if on_time and FLOW_CADENCE.is_on(settings) else 0
    found, keys = np.full(len(frames), between), np.array([-1, *timeline.keys])
    follows_others = np.diff(keys) > 1
    shown = (keys[1:] >= frames.start) & (keys[1:] < frames.stop)
    keys, follows_others = keys[1:][shown], follows_others[shown]
    painted = PAINTED.of(size) + gained + Painting(prepared).seconds(keys)
    found[keys - frames.start] = painted * (1 + settings.diffusion_redo) + moved + looked + met * follows_others
    if settings.finishes:
        found += FINISHED[settings.finish_look != "plain"].of(size)
    return found


COUNTED = ("steps", "cfg_scale", "pag_scale", "hires_scale", "hires_steps", "hires_strength")
"""Parameters that change how often, and for which size, the network is evaluated; besides the strength."""


class Painting:
    """What the steps of frames take, and of those that are painted small first (hires_scale) that first pass."""

    def __init__(self, prepared: Prepared) -> None:
        settings, curves = prepared.settings, prepared.timeline.curves
        self._prepared, self._profile = prepared, PROFILES[settings.profile]
        # All steps are run that any pixel needs: with disocclusion: repaint those that come into view.
        self._strength = (
            np.minimum(curves.strength, curves.disocclusion_strength) if repaints(settings) else curves.strength
        )
        self._begins_from_noise = not starts_from_picture(settings)
        self._units = prepared.found.get("control units") or ()
        self._networks = settings.model == "embedded" and not renders_on_gpu(settings.device)

    def seconds(self, keys: NDArray[np.int_]) -> NDArray[np.float64]:
        """Return the seconds of painted frames: (N,) for `keys` (N,)."""
        timeline = self._prepared.timeline
        numbers = {name: number for number, name in enumerate(dict.fromkeys(timeline.samplers))}
        values = np.array([
            self._strength, np.arange(len(timeline)) == timeline.first, [numbers[name] for name in timeline.samplers],
            *(getattr(timeline.curves, name) for name in (*COUNTED, *FREE_U)), *(unit.weight for unit in self._units),
        ])[:, keys]  # fmt: skip
        varying = values[(values != values[:, :1]).any(axis=1)]
        _, firsts, which = np.unique(varying, axis=1, return_index=True, return_inverse=True)
        return np.array([self._at(int(key)) for key in keys[firsts]])[which.reshape(-1)]

    def _at(self, key: int) -> float:
        """Return the seconds of a painted frame."""
        settings, timeline = self._prepared.settings, self._prepared.timeline
        curves, (width, height) = timeline.curves, settings.size
        # From noise alone all steps run.
        begins = key == timeline.first and self._begins_from_noise
        from_noise = not settings.mode.reads_clip and (not settings.mode.goes_on or begins)
        steps, kept = curves.steps[key], None if from_noise else float(self._strength[key])
        small = first_size(curves.hires_scale[key], width, height)
        if small is None:
            return self._steps(key, steps, kept, width, height)
        again = curves.hires_steps[key] if curves.hires_steps[key] >= 1 else steps
        first = PAINTED.of(small[0] * small[1]) + self._steps(key, steps, kept, *small)
        return first + self._steps(key, again, float(curves.hires_strength[key]), width, height)

    def _steps(self, key: int, steps: float, kept: float | None, width: int, height: int) -> float:
        """Return the seconds of the steps of one pass over a picture, of which `kept` is kept; None: from noise."""
        curves, sampler = self._prepared.timeline.curves, find_sampler(self._prepared.timeline.samplers[key])
        count = count_steps(int(steps + 1e-6), kept, exact=self._profile.exact_step_count, timesteps=sampler.timesteps)
        count += (count - 1) * sampler.twice
        cfg, is_perturbed = curves.cfg_scale[key] * sampler.cfg_share, curves.pag_scale[key] != 0
        rows = 1 + (abs(cfg - 1) > 1e-6 or sampler.cfg_pp) + is_perturbed
        seconds = STEP.each + STEP.pixel * width * height * rows / 2
        if self._networks and (is_perturbed or self._is_free(key) or not has_graphs(width, height)):
            seconds += BY_TORCH
        units = sum(unit.weight[key] != 0 for unit in self._units)
        return float(count * seconds * (1 + CONTROLLED * units))

    def _is_free(self, key: int) -> bool:
        """Whether FreeU changes the network."""
        curves = self._prepared.timeline.curves
        return any(getattr(curves, name)[key] != 1 for name in FREE_U)


def gigabytes(count: int) -> str:
    """Return bytes as GB, with one decimal below 10."""
    amount = count / 1e9
    return f"{amount:.1f} GB" if amount < 9.95 else f"{amount:.0f} GB"
