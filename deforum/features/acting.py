"""Whether a setting has an effect: shared by checks, notes, comparisons and the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from deforum.errors import UserError
from deforum.features.table import FEATURES
from deforum.settings.declare import Declaration, Sampled, When, when
from deforum.settings.options import DECLARATIONS, PENDING_CHOICES, Settings


def _reads_eta(name: str) -> Callable[[Settings, Sampled], bool]:
    def reads(settings: Settings, sampled: Sampled) -> bool:
        from deforum.diffusion import find_sampler

        try:
            return any(find_sampler(sampler).eta == name for sampler in set(sampled.samplers))
        except UserError:
            return True

    return reads


SAMPLERS: Mapping[str, When] = {
    "ddim_eta": when("the sampler is DDIM", _reads_eta("ddim_eta")),
    "ancestral_eta": when("the sampler has fresh noise in its steps (Euler a and such)", _reads_eta("ancestral_eta")),
}
"""Conditions that depend on the sampler."""


@cache
def conditions(name: str) -> tuple[When, ...]:
    """List the conditions of which one has to hold for a setting to act; empty: always, in its modes."""
    declared = DECLARATIONS[name].acts
    rows = [feature.acts[name] for feature in FEATURES if name in feature.acts]
    found = [*([] if declared is None else [declared]), *([SAMPLERS[name]] if name in SAMPLERS else []), *rows]
    return tuple(dict.fromkeys(found))


def in_words(name: str) -> str:
    """Format the conditions of a setting as the end of "acts where"; "" for always."""
    return ", or where ".join(dict.fromkeys(condition.words for condition in conditions(name)))


def in_mode(declaration: Declaration, settings: Settings) -> bool:
    """Whether the animation mode reads a setting."""
    return not declaration.modes or settings.animation_mode in declaration.modes


def acts(name: str, settings: Settings, sampled: Sampled) -> bool:
    """Whether a setting has an effect in these settings, and in this version."""
    declaration = DECLARATIONS[name]
    if declaration.pending or not in_mode(declaration, settings):
        return False
    if (name, getattr(settings, name, None)) in PENDING_CHOICES:
        return False
    return is_switched_on(name, settings, sampled)


def is_switched_on(name: str, settings: Settings, sampled: Sampled) -> bool:
    """Whether the conditions of a setting hold."""
    found = conditions(name)
    return not found or any(condition.test(settings, sampled) for condition in found)


def needs_file(name: str, settings: Settings, sampled: Sampled) -> bool:
    """Whether the file that a setting names has to exist."""
    declaration = DECLARATIONS[name]
    needs = [feature.needs[name] for feature in FEATURES if name in feature.needs]
    if any(condition.test(settings, sampled) for condition in (*conditions(name), *needs)):
        return True
    # An optional file without conditions is needed where it is given.
    return declaration.optional and declaration.acts is None and getattr(settings, name) is not None
