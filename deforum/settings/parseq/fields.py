"""Which settings the fields of a Parseq manifest give, and their values.

Deforum takes a schedule from the manifest where the first frame has its field: motion from `<field>_delta`, the others
from `<field>`. Most fields have the name of Deforum's schedule; `NAMED` has the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from deforum.settings.modes import MODES
from deforum.settings.options import CONTROLS, DECLARATIONS, Settings
from deforum.settings.params import PARAMS
from deforum.settings.parseq import Managed
from deforum.settings.parseq.manifest import Manifest
from deforum.settings.profiles import PROFILES
from schedules import Key, NumberKeyframe, NumberSchedule, parse_text
from schedules.quoting import cut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLIPS = ("perspective_flip_theta", "perspective_flip_phi", "perspective_flip_gamma")
MOVING = (
    "angle", "zoom", "translation_x", "translation_y", "translation_z", "rotation_3d_x", "rotation_3d_y",
    "rotation_3d_z", *FLIPS,
)  # fmt: skip
"""Settings that are a change from frame to frame: `<field>_delta`, where parseq_use_deltas is on."""
NAMED: Mapping[str, tuple[str, ...]] = {
    "cfg_scale": ("scale",),
    "seed_schedule": ("seed",),
    "steps": ("steps_schedule",),
    "image_strength": ("strength",),
    "clip_skip": ("clipskip", "clip_skip"),
    "blend_factor_max": ("guided_blendFactorMax",),
    "blend_factor_slope": ("guided_blendFactorSlope",),
    "tweening_frames": ("guided_tweening_frames",),
    "color_correction_factor": ("guided_color_correction_factor",),
}
"""Settings whose field has another name than Deforum's schedule."""
TEXTS: Mapping[str, str] = {
    "sampler": "sampler_schedule", "scheduler": "scheduler", "checkpoint": "checkpoint", "mask": "mask",
    "noise_mask": "noise_mask",
}  # fmt: skip
"""Settings of texts over time, with their fields."""
PROMPT = "deforum_prompt"
PROMPTS: Mapping[str, Any] = {"positive_prompt": "", "negative_prompt": "", "prompt_blend": "hold"}
"""Settings that act on prompts, as a manifest's prompts, which are complete, need them."""
OF_SEEDS = ("seed_behavior", "seed_schedule", "subseed", "subseed_strength")
OVERRIDES = ("max_frames", "fps", "cadence")
"""Settings that parseq_non_schedule_overrides is about."""
_DELTA = "_delta"
_SUFFIX = re.compile(r"(?:_series|_schedule)+$")
_ONLY_PARSEQ = re.compile(r"(?:prompt_weight_\d+|subseed|subseed_strength|frame)$")
_ANOTHER_MOVE = 0.1
"""How far the first change lies from the others where it is worth a note, px, degrees or a factor."""


def fields_of(name: str) -> tuple[str, ...]:
    """Return the fields that may give a parameter."""
    own = (_SUFFIX.sub("", each) for each in (name, *PARAMS[name].old))
    return NAMED.get(name) or tuple(dict.fromkeys(own))


def is_known(field: str) -> bool:
    """Whether a field can give a setting."""
    plain = field.removesuffix(_DELTA)
    control = re.fullmatch(r"cn_\d+_(\w+)", field)
    return (
        field in (PROMPT, *TEXTS.values())
        or (plain in MOVING)
        or any(field in fields_of(name) for name in PARAMS)
        or (control is not None and control[1] in CONTROLS and CONTROLS[control[1]].type is NumberSchedule)
    )


def manage(
    settings: Settings, manifest: Manifest, *, leave: Collection[str] = (), file: str = ""
) -> tuple[Settings, tuple[str, ...]]:
    """Put the values of a manifest in place of the settings that it manages; also return notes, one line each.

    `leave` are settings that keep their own values; `file` is the manifest's path, if it has one. With profile:
    corrected the zoom of a frame is the ratio of two values of the zoom's curve, so that the picture follows the curve;
    with profile: deforum it is 1 + their difference, as in Parseq.
    """
    return _Managing(settings, manifest, frozenset(leave), file).done()


@dataclass
class _Managing:
    """A manifest on its way into settings."""

    settings: Settings
    manifest: Manifest
    leave: frozenset[str]
    file: str
    values: dict[str, Any] = field(default_factory=dict)
    """New values by name of the setting."""
    used: set[str] = field(default_factory=set)
    """Fields of the manifest that are read."""
    notes: list[str] = field(default_factory=list)

    def done(self) -> tuple[Settings, tuple[str, ...]]:
        params = dict(self.params())
        self.take_texts()
        self.take_prompts()
        self.take_seeds(params)
        self.take_flip(params)
        units, controlled = self.control_units()
        names = [*params, *self.values, *controlled]
        overridden = self.overrides()
        whole = replace(self.settings.params, **{name: as_schedule(curve, name) for name, curve in params.items()})
        file = self.file or self.manifest.file
        managed = Managed(self.manifest, frozenset(names), self.manifest.keyframes, self.manifest.is_reversed, file)
        settings = replace(
            self.settings, params=whole, control_units=units, parseq=managed, parseq_non_schedule_overrides=False,
            **self.values, **overridden,
        )  # fmt: skip
        said = (self.summary(settings, names), *self.manifest.notes, *self.unused(names))
        return settings, (*(f"parseq_manifest: {line}" for line in said), *self.notes)

    # --- values -------------------------------------------------------------------------------------------------------

    def params(self) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield the parameters that the manifest has, with their curves (F,)."""
        numbers = self.manifest.numbers
        for name in PARAMS:
            ending = _DELTA if name in MOVING and self.settings.parseq_use_deltas else ""
            found = next((each + ending for each in fields_of(name) if each + ending in numbers), None)
            if found is None or name in self.leave:
                continue
            self.used.add(found)
            curve = self.zoom(numbers[found]) if name == "zoom" and ending else numbers[found]
            if name in MOVING and ending:
                curve = self.without_start(name, curve)
            # Parseq's own default is 0, which stands for the last layer.
            yield name, curve.clip(1) if name == "clip_skip" else curve

    def zoom(self, written: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the zoom of each frame, by profile, from the additive change that Parseq writes."""
        import numpy as np

        curve = self.manifest.numbers.get("zoom")
        if curve is None or not PROFILES[self.settings.profile].parseq_as_drawn or len(curve) < 2:
            return written
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = curve[1:] / curve[:-1]
        zoom = written.copy()
        # A reversed manifest has the change of a frame one frame earlier, as a reciprocal.
        place = slice(None, -1) if self.manifest.is_reversed else slice(1, None)
        zoom[place] = np.where(np.isfinite(ratio) & (ratio > 0), ratio, written[place])
        return zoom

    def without_start(self, name: str, curve: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the changes of a curve; the first of them is where the curve begins, and is no change."""
        still = 1.0 if name == "zoom" else 0.0
        at = len(curve) - 1 if self.manifest.is_reversed else 0
        start, others = curve[at], (curve[:-1] if at else curve[1:])
        acts = not DECLARATIONS[name].modes or self.settings.animation_mode in DECLARATIONS[name].modes
        if not len(others) or abs(start - still) < 1e-9 or not acts:
            return curve
        is_near = others.min() - _ANOTHER_MOVE <= start <= others.max() + _ANOTHER_MOVE
        if at and PROFILES[self.settings.profile].parseq_as_drawn:
            curve = curve.copy()
            curve[at] = still
            self.notes.append(f"{name}: the last frame's change, {start:.6g}, is where the curve begins in Parseq, and "
                              "no motion; it is left out")  # fmt: skip
        elif at or not is_near:
            moved = "the last frame is moved by it" if at else "frame 0 is not moved by it"
            what = f"the change at frame {at}, {start:.6g}, is where the curve begins in Parseq, and no motion"
            self.notes.append(f"{name}: {what}; {moved}")
        return curve

    def take_texts(self) -> None:
        for name, text_field in TEXTS.items():
            if text_field in self.manifest.texts and name not in self.leave:
                self.used.add(text_field)
                texts = dict(_changes(self.manifest.texts[text_field]))
                self.values[name] = parse_text({str(frame): text for frame, text in texts.items()}, name=name)

    def take_prompts(self) -> None:
        prompts = self.manifest.texts.get(PROMPT)
        if prompts is None or "prompts" in self.leave:
            return
        self.used.add(PROMPT)
        self.values["prompts"] = tuple((str(frame), text) for frame, text in _changes(prompts))
        self.values |= {name: value for name, value in PROMPTS.items() if name not in self.leave}

    def take_seeds(self, params: Collection[str]) -> None:
        if "seed_schedule" in params and "seed_behavior" not in self.leave:
            self.values["seed_behavior"] = "schedule"

    def take_flip(self, params: Mapping[str, NDArray[np.float64]]) -> None:
        """Turn the perspective flip on where it is used. (Deforum sets a switch that is not read any more.)"""
        is_used = any(params[name].any() for name in FLIPS if name in params)
        name = "enable_perspective_flip"
        if is_used and PROFILES[self.settings.profile].parseq_as_drawn and name not in self.leave:
            self.values[name] = True

    def control_units(self) -> tuple[tuple[Any, ...], list[str]]:
        """Return the control units with the manifest's values, and the names of the settings that it gives."""
        units, names = list(self.settings.control_units), []
        for number, unit in enumerate(units, 1):
            changes: dict[str, NumberSchedule] = {}
            for name, declaration in CONTROLS.items():
                whole = f"cn_{number}_{name}"
                if declaration.type is not NumberSchedule or whole not in self.manifest.numbers or whole in self.leave:
                    continue
                self.used.add(whole)
                changes[name] = as_schedule(self.manifest.numbers[whole], whole)
                names.append(whole)
            units[number - 1] = replace(unit, **changes)  # type: ignore[arg-type]
        return tuple(units), names

    def overrides(self) -> dict[str, Any]:
        """Return the settings that are constant and that the manifest gives; note those that change."""
        if not self.settings.parseq_non_schedule_overrides:
            return {}
        given = {"max_frames": self.manifest.num_frames, "fps": self.manifest.fps, "cadence": self.manifest.cadence}
        found = {}
        for name, value in given.items():
            low, high = DECLARATIONS[name].bounds
            if value is None or getattr(self.settings, name) == value:
                continue
            if name == "cadence" and not MODES[self.settings.animation_mode].goes_on:
                continue
            if not low <= value <= high:
                self.notes.append(f"{name}: the manifest has {value:g}, which is out of range; expected "
                                  f"{DECLARATIONS[name].range}; it stays {getattr(self.settings, name):g}")  # fmt: skip
                continue
            if name in self.leave:
                kept = f"{getattr(self.settings, name):g}"
                self.notes.append(f"{name}: {kept}, as you ask for; the manifest has {value:g}")
                continue
            found[name] = value
            self.notes.append(f"{name}: {getattr(self.settings, name):g} became {value:g}, by the manifest")
        return found

    # --- notes --------------------------------------------------------------------------------------------------------

    def summary(self, settings: Settings, names: Collection[str]) -> str:
        count = self.manifest.num_frames
        shown = [name for name in names if name not in PROMPTS and name != "seed_behavior"]
        line = f"{count} frames, of which it manages {', '.join(shown) if shown else 'nothing'}"
        if self.manifest.is_reversed:
            line += "; it is reversed: the film is meant to be played backwards"
        if settings.max_frames > count:
            line += f"; from frame {count} on its last values are held"
        elif settings.max_frames < count:
            line += f"; {settings.max_frames} of them are rendered"
        return line

    def unused(self, names: Collection[str]) -> Iterator[str]:
        """Yield notes on fields that give nothing here."""
        mode = self.settings.animation_mode
        modes = {name: DECLARATIONS[name].modes for name in names if name in DECLARATIONS}
        elsewhere = [name for name, its in modes.items() if its and mode not in its]
        if elsewhere:
            yield f"without effect in {mode} mode: {', '.join(elsewhere)}"
        fields = [*self.manifest.numbers, *self.manifest.texts]
        plain = [each for each in fields if each not in self.used and each.removesuffix(_DELTA) not in self.used
                 and each + _DELTA not in self.used and not _ONLY_PARSEQ.match(each.removesuffix(_DELTA))]  # fmt: skip
        left = [each for each in plain if is_known(each)]
        unknown = [each for each in plain if each not in left and not each.endswith(_DELTA)]
        if left:
            yield f"in the manifest, and not used here: {cut(', '.join(left), 300)}"
        if unknown:
            yield f"in the manifest, and no setting of this renderer: {cut(', '.join(unknown), 300)}"


def _changes(texts: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (frame, text) at frame 0 and wherever the text changes."""
    for text, run in groupby(enumerate(texts), key=lambda each: each[1]):
        yield next(run)[0], text


def as_schedule(curve: NDArray[np.float64], name: str) -> NumberSchedule:
    """Return the schedule with the values of a curve (F,) at its frames; equal values in a row are two keyframes."""
    import numpy as np

    same = curve[1:] == curve[:-1]
    inside = np.concatenate(([False], same[:-1] & same[1:], [False])) if len(curve) > 1 else np.zeros(1, bool)
    kept = np.flatnonzero(~inside)
    if len(curve) > 1 and same.all():
        kept = kept[:1]
    return NumberSchedule(
        tuple(NumberKeyframe(Key(int(index)), float(curve[index]), "linear") for index in kept), name=name
    )
