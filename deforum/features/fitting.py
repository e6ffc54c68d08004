"""Whether the models of a run fit what it asks of them, as far as that is known before any is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deforum.diffusion.families import FAMILIES
from deforum.diffusion.families.find import token_width
from deforum.diffusion.sampling.samplers import find_sampler
from deforum.diffusion.training_limits import window_of
from deforum.errors import UserError
from deforum.features import ip_adapters, loras, reference
from deforum.settings.options import Settings
from deforum.timeline.image_tracks import INIT
from deforum.timeline.timeline import Timeline
from schedules.quoting import cut

if TYPE_CHECKING:
    from deforum.diffusion import ModelSource

FREE_U = ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
"""Parameters that change a UNet where they are not 1."""
_REFUSALS = (("LoRAs", loras.refusals), ("IP-Adapters", ip_adapters.refusals), ("reference", reference.refusals))


def misfits(
    settings: Settings,
    timeline: Timeline,
    models: Mapping[tuple[str, str], ModelSource],
    found: Mapping[str, Any],
    *,
    starts_from_picture: bool,
) -> Iterator[str]:
    """Yield a message for each adapter that does not fit a model, and for each pass that cannot act in a frame.

    `models` are those of the diffused frames by `Timeline.models`, `found` what features have found, by
    their names, and `starts_from_picture` tells whether frame 0 is painted from one.
    """
    by_name = {name: model for (name, _), model in models.items()}
    for name, model in by_name.items():
        of = f" (checkpoint {cut(name, 60)})" if name and len(by_name) > 1 else ""
        for feature, refusals in _REFUSALS:
            if found.get(feature) is not None:
                yield from (f"{message}{of}" for message in refusals(found[feature], *token_width(model)))
    yield from _beside_windows(settings, models)
    yield from _without_unet(timeline, by_name)
    yield from _beside_reference(settings, timeline, found, starts_from_picture)


def _beside_windows(settings: Settings, models: Mapping[tuple[str, str], ModelSource]) -> Iterator[str]:
    """Yield a message for a wrong window of tiled diffusion, and for what sees whole frames, where they are split."""
    try:
        windows = [window_of(settings.tiled_diffusion, model.size) for model in models.values()]
    except UserError as error:
        yield str(error)
        return
    longest = max(settings.width or 0, settings.height or 0)
    if not any(0 < window < longest for window in windows):
        return
    sees_frames = {"reference": settings.reference, f"tiling {settings.tiling}": settings.tiling != "none"}
    for name in (name for name, acts in sees_frames.items() if acts):
        yield f"tiled_diffusion: does not go with {name}, which needs whole frames; leave out the one or the other"


def _without_unet(timeline: Timeline, models: Mapping[str, ModelSource]) -> Iterator[str]:
    """Yield a message for FreeU, and one for pag_scale, at the first frame whose model has no UNet."""
    curves = timeline.curves
    for names, usual in ((FREE_U, 1), (("pag_scale",), 0)):
        for index in timeline.keys:
            model = models.get(timeline.checkpoints[index])
            if model is None or not model.family or FAMILIES[model.family].network == "unet":
                continue
            name = next((name for name in names if getattr(curves, name)[index] != usual), "")
            if name:
                yield (
                    f"{name} is {getattr(curves, name)[index]:.6g} at frame {index}: it changes a UNet, and the model "
                    f"({FAMILIES[model.family].title}) has none; set {' and '.join(names)} to {usual}"
                )
                break


def _beside_reference(
    settings: Settings, timeline: Timeline, found: Mapping[str, Any], starts_from_picture: bool
) -> Iterator[str]:
    """Yield a message for each thing that does not act together with a reference, at the first frame of both."""
    track, curves = timeline.reference, timeline.curves
    if track is None:
        return
    told: set[str] = set()
    for index in timeline.keys:
        # As the stages of the modes give it: what is painted from noise alone has no init to refer to.
        has_init = settings.mode.reads_clip or (
            starts_from_picture if index == settings.first_frame else settings.mode.goes_on
        )
        word = track.at(index)
        if word is None or word.strength <= 1e-9 or (word.picture == INIT and not has_init):
            continue
        acting = {
            "regions": any(has_init or not region.looks for region in found.get("regions") or ()),
            "pag_scale": curves.pag_scale[index] != 0,
            "guidance_rescale": curves.guidance_rescale[index] != 0,
            f"sampler {timeline.samplers[index]}": find_sampler(timeline.samplers[index]).cfg_pp,
        }
        for name in (name for name, acts in acting.items() if acts and name not in told):
            told.add(name)
            yield f"reference: does not act together with {name}, as at frame {index}; leave out the one or the other"
