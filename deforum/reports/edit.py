"""What edited settings change in a run: the first frame that comes out different, and why.

Frames depend on their own values, on those of their span, and on the frames before. So the first difference of the
inputs is looked for, by what reads a value:

* what is painted reads its values at diffused frames, and on time shows in all in-betweens of its span;
* motion reads its values at every frame, and on time the whole span with it, as its end is painted first;
* what is looked at (the range of depth) acts on the frames that follow;
* what is shown reads its values at every frame.

A value that nothing reads at a frame does not count there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from pathlib import Path
from typing import Any

from deforum.build import Prepared
from deforum.features.acting import acts
from deforum.features.depth_record import ends_of
from deforum.features.guided_images import Guides
from deforum.features.table import starts_from_picture, switched_on
from deforum.settings.declare import Declaration
from deforum.settings.options import DECLARATIONS, OPTIONS, Settings
from deforum.settings.params import PARAMS
from deforum.settings.profiles import PROFILES
from deforum.settings.yaml_writer import write_value
from deforum.timeline.frame import Frame, Span
from deforum.timeline.prompts import negatives, positives
from deforum.timeline.variables import follows_sound
from schedules import TextSchedule
from schedules.quoting import cut


class Read(Flag):
    """When a stage reads a value."""

    PAINTED = auto()
    """At diffused frames."""
    REPAINTED = auto()
    """At diffused frames after frame 0, which start from the previous frame."""
    MOVED = auto()
    """At every frame after frame 0."""
    LOOKED = auto()
    """At the frame that is moved: the values act on the frames after it."""
    SHOWN = auto()
    """At every frame, on what is shown alone."""
    TRAILED = auto()
    """At every frame after frame 0, on what is shown alone."""


ALWAYS = Read.PAINTED | Read.MOVED | Read.LOOKED | Read.SHOWN

READ: Mapping[str, Read] = {
    **dict.fromkeys(("disocclusion_strength", "disocclusion_noise", "noise", "contrast", "cadence_flow_factor",
                     "redo_flow_factor", "antiblur_amount", "antiblur_kernel", "antiblur_sigma", "antiblur_threshold",
                     "image_keyframe_strength"), Read.REPAINTED),
    **dict.fromkeys(("near", "far"), Read.LOOKED),
    **dict.fromkeys(("fov", "aspect_ratio"), Read.MOVED | Read.LOOKED),
    **dict.fromkeys(("detail_coherence", "image_strength", "blend_factor_max", "blend_factor_slope", "tweening_frames",
                     "color_correction_factor", "clip_feedback", "clip_feedback_init"), Read.PAINTED),
    **dict.fromkeys(("symmetry_segments", "symmetry_angle", "symmetry_center_x", "symmetry_center_y",
                     "symmetry_strength"), Read.PAINTED | Read.SHOWN),
    **dict.fromkeys(("echo_amount", "echo_decay"), Read.TRAILED),
    "hybrid_flow_factor": Read.MOVED,
}  # fmt: skip
"""When parameters are read that the sections do not tell of."""
BY_SECTION: Mapping[str, Read] = {
    "motion": Read.MOVED, "camera": Read.MOVED,
    "diffusion": Read.PAINTED, "seeds": Read.PAINTED, "hybrid": Read.PAINTED,
}  # fmt: skip
GATES: Mapping[str, str] = {
    **dict.fromkeys(("antiblur_kernel", "antiblur_sigma", "antiblur_threshold"), "antiblur_amount"),
    **dict.fromkeys(("symmetry_segments", "symmetry_angle", "symmetry_center_x", "symmetry_center_y"),
                    "symmetry_strength"),
    **dict.fromkeys(("hires_strength", "hires_steps"), "hires_scale"),
}  # fmt: skip
"""Parameters that are not read at frames where another one is 0."""

BY_FRAMES = {
    "max_frames", "fps", "cadence", "keyframe_distribution", "keyframe_numbering", "keyframe_strength",
    "loop", "loop_drift", "ending_frames", "end_image", "end_strength",
    "shake_name", "shake_file", "shake_scale", "shake_intensity", "shake_speed",
    "seed", "seed_behavior", "seed_iter_n", "seed_schedule", "subseed",
    "color_renewal", "init_strength", "strength_0_no_init", "prompts", "positive_prompt", "negative_prompt", "sampler",
    "prompt_weighting", "init_images", "loras", "ip_adapter", "reference",
    "scheduler", "checkpoint", "vae", "wildcards_dir", "parseq_manifest", "parseq_use_deltas",
    "parseq_non_schedule_overrides", "parseq_except",
    "camera_file", "camera_scale", "camera_rate", "camera_start", "camera_name", "camera_rotation_order",
    "bpm", "first_beat", "beats_per_bar", "audio_gain", "audio_offset", "audio_smoothing", "audio_attack",
    "audio_release", "beat_decay", "variables",
}  # fmt: skip
"""Settings whose effect is in the values of the frames."""
OF_SPANS = ("cadence", "keyframe_distribution", "keyframe_numbering", "loop", "end_image")
"""Settings of which frames are diffused."""
OF_THE_RUN = {
    "output", "batch_name", "checkpoint_every", "resume_from_timestring", "resume_timestring", "batch_size", "memory",
    "device", "compile",
}  # fmt: skip
"""Settings that change no frame: where it is written, and how it is computed."""
OF_FILMS = {
    "video_format", "crf", "video_quality", "video_preset", "skip_video_creation", "delete_imgs", "make_gif",
    "chapters", "save_values",
    "add_soundtrack", "soundtrack_path", "audio", "audio_start",
    "subtitles", "save_metadata", "interpolate", "slow_motion", "interpolator",
    "interpolator_inputs", "interpolate_keep_frames", "upscale", "upscaler", "post", "r_upscale_video",
    "r_upscale_factor", "r_upscale_model", "r_upscale_keep_imgs", "frame_interpolation_use_upscaled",
}  # fmt: skip
"""Settings by which films, subtitles and what steps make are made anew from the frames."""
OF_WAYS = tuple(name for name, each in PARAMS.items() if each.section in ("motion", "camera") and name not in
                ("disocclusion_strength", "disocclusion_noise", "shake_intensity", "shake_speed"))  # fmt: skip
"""Parameters that the way back from the end is made of; near and far count at its end alone."""
OF_CLIPS = ("extract_nth_frame", "extract_to_frame", "clip_end")
"""Settings of which frames of a clip are painted."""
CONSTANTS: Mapping[str, Read] = {
    **dict.fromkeys(("border", "enable_perspective_flip", "padding_mode", "sampling_mode", "midas_weight",
                     "aspect_ratio_use_old_formula", "depth_algorithm", "use_depth_warping"), Read.MOVED),
    **dict.fromkeys(("noise_type", "noise_keeps_mean", "perlin_w", "perlin_h", "perlin_octaves", "perlin_persistence",
                     "optical_flow_cadence", "legacy_colormatch", "latent_grid"), Read.REPAINTED),
    "echo_blend": Read.TRAILED,
}  # fmt: skip
"""When constants are read; the others act from frame 0 on."""


@dataclass(frozen=True)
class Reason:
    """An input that differs, and the first frame that comes out different by it."""

    name: str
    frame: int
    then: str
    now: str
    at: int = -1
    """Frame at which it is read; -1: the frame that comes out different, or every frame."""

    def __str__(self) -> str:
        read = f" (it acts from frame {self.frame} on)" if self.at not in (-1, self.frame) else ""
        at = self.frame if self.at == -1 else self.at
        return f"{self.name}: frame {at}: {cut(self.then, 80)} -> {cut(self.now, 80)}{read}"


@dataclass(frozen=True)
class Edit:
    """What an edit changes."""

    first: int
    """The first frame that comes out different; the number of frames where none does."""
    reasons: tuple[Reason, ...]
    """What differs, by the frame that it acts from."""
    films: tuple[str, ...]
    """Changes of films and subtitles, a line each."""
    keeps_states: bool
    """Whether the states of the run before the first frame fit the edited settings."""
    is_shorter: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.reasons or self.films or self.is_shorter)


@dataclass(frozen=True)
class Part:
    """Settings of a run as they were, for the frames from `since` to before `until`."""

    prepared: Prepared
    since: int
    until: int


def compare(parts: Sequence[Part], now: Prepared, total: int) -> Edit:
    """Find what is different about a run made with `parts`, in order, when `total` frames are made with `now`."""
    old = parts[-1].until
    reasons = [reason for part in parts for reason in _differences(part, now)]
    if total > old:
        reasons.append(Reason("max_frames", old, str(old), str(total)))
    return edit_of(reasons, parts, now, total)


def edit_of(reasons: Sequence[Reason], parts: Sequence[Part], now: Prepared, total: int) -> Edit:
    """Return the edit with these reasons, of which the first by each name counts."""
    old = parts[-1].until
    first_ones: dict[str, Reason] = {}
    for reason in sorted(reasons, key=lambda reason: reason.frame):
        first_ones.setdefault(reason.name, reason)
    reasons = list(first_ones.values())
    then = parts[-1].prepared.settings
    films = [f"{name}: {_written(then, name)} -> {_written(now.settings, name)}" for name in DECLARATIONS
             if name in OF_FILMS | {"fps"} and getattr(then, name) != getattr(now.settings, name)
             and (acts(name, then, parts[-1].prepared.timeline) or acts(name, now.settings, now.timeline))]  # fmt: skip
    same = all(not _constants(part.prepared, now) and _features(part.prepared) == _features(now) for part in parts)
    first = min((reason.frame for reason in reasons), default=total)
    return Edit(min(first, total), tuple(reasons), tuple(films), same, total < old)


def _features(prepared: Prepared) -> tuple[str, ...]:
    return tuple(feature.name for feature in switched_on(prepared.settings))


def _written(settings: Settings, name: str) -> str:
    value = getattr(settings.params if name in PARAMS else settings, name)
    return value.text if hasattr(value, "text") else write_value(value)


# --- settings that are constant ---------------------------------------------------------------------------------------


def _constants(then: Prepared, now: Prepared) -> list[Reason]:
    """List the constants that differ and act on frames."""
    found = []
    for name in OPTIONS:
        one, other = getattr(then.settings, name), getattr(now.settings, name)
        if name in BY_FRAMES | OF_THE_RUN | OF_FILMS or one == other or isinstance(one, TextSchedule):
            continue
        if name in OF_CLIPS and _paints_a_clip(then) and _paints_a_clip(now):
            continue
        if name == "prompt_blend" and then.settings.blending == now.settings.blending:
            continue
        if not (acts(name, then.settings, then.timeline) or acts(name, now.settings, now.timeline)):
            continue
        found.append(Reason(name, 0, _written(then.settings, name), _written(now.settings, name)))
    if then.settings.control_units != now.settings.control_units and any(
        unit.enabled for each in (then, now) for unit in each.settings.control_units
    ):
        found.append(Reason("control_units", 0, "", "others"))
    return found


def _paints_a_clip(prepared: Prepared) -> bool:
    """Whether frames are painted from a clip alone, so that its choice of frames is all that they show of it."""
    features = _features(prepared)
    alone = "hybrid video" not in features and "masks" not in features and not _feeds_back(prepared)
    return prepared.settings.mode.reads_clip and alone and prepared.settings.color_coherence != "Video Input"


def _saves(*both: Prepared) -> bool:
    """Whether depth is saved, which is that of frame 0 too."""
    return any(each.settings.save_depth_maps or each.settings.save_depth_video for each in both)


# --- values of frames -------------------------------------------------------------------------------------------------


def _differences(part: Part, now: Prepared) -> Iterator[Reason]:
    """Yield the first effect of each input that differs, within the frames of a part."""
    then = part.prepared
    until = min(part.until, len(now.timeline))
    if until <= part.since:
        return
    places = _places(then, now, until)
    for reason in _constants(then, now):
        when = CONSTANTS.get(reason.name)
        first: int | None = part.since
        if when is not None and now.settings.mode.goes_on and not _saves(then, now):
            effects = [place.first(index, when) for index, place in places.items()]
            first = min((each for each in effects if each is not None and each >= part.since), default=None)
        if first is not None and first < until:
            yield replace(reason, frame=first)
    if _saves(then, now) and ends_of(then.settings, then.timeline) != ends_of(now.settings, now.timeline):
        yield Reason("near, far", part.since, "the range of the saved depth", "another one")
    if _feeds_back(then) != _feeds_back(now):
        one, other = ("on" if _feeds_back(each) else "off" for each in (then, now))
        yield Reason("clip_feedback", part.since, one, other)
    yield from _spans(part, now, until)  # first, as it is why values differ at the same frame
    for name, read, when in _inputs(then, now):
        for index, place in places.items():
            first = place.first(index, when)
            if first is None or not part.since <= first < until:
                continue
            one, other = read(then, place.then[index]), read(now, place.now[index])
            if one != other:
                yield Reason(name, first, _shown(one), _shown(other), index)
                break


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _feeds_back(prepared: Prepared) -> bool:
    used = prepared.timeline.is_used
    return prepared.settings.mode.reads_clip and (used("clip_feedback") or used("clip_feedback_init"))


@dataclass(frozen=True)
class Place:
    """A span, where the values of a frame act."""

    span: Span
    on_time: bool
    is_apart: bool
    last: int
    """Index of the last frame of the run."""
    then: Mapping[int, Frame]
    now: Mapping[int, Frame]
    begin: int = 0
    """Index of the first frame of the run."""

    def first(self, index: int, when: Read) -> int | None:
        """Return the first frame that the values of a frame act on; None where they are not read."""
        span, found = self.span, []
        begin = span.frames[0].index
        is_painted = span.paints and index == span.key.index
        if is_painted and (Read.PAINTED in when or (Read.REPAINTED in when and index > self.begin)):
            found.append(begin)
        if Read.MOVED in when and index > self.begin and not self.is_apart:
            found.append(begin if self.on_time and (span.paints or span.closes is not None) else index)
        looked = not self.on_time or (is_painted and index == span.frames[-1].index)
        if Read.LOOKED in when and index < self.last and looked:
            found.append(index + 1)
        if Read.SHOWN in when or (Read.TRAILED in when and index > self.begin):
            found.append(index)
        return min(found, default=None)


def _places(then: Prepared, now: Prepared, until: int) -> dict[int, Place]:
    """Return where each frame is that both have, by index."""
    timelines = [each.timeline for each in (then, now)]
    frames = [{index: timeline[index] for index in range(min(until, len(timeline)))} for timeline in timelines]
    places: dict[int, Place] = {}
    last = len(now.timeline) - 1
    for span in now.timeline.spans():
        if span.frames[0].index >= until:
            break
        place = Place(
            span, now.timeline.on_time, not now.settings.mode.goes_on, last, frames[0], frames[1], now.timeline.first
        )
        places |= {frame.index: place for frame in span.frames if frame.index < until}
    return places


Reading = tuple[str, Callable[[Prepared, Frame], Any], Read]
"""Name of an input, its value at a frame, and when it is read."""


def _checkpoint(prepared: Prepared, frame: Frame) -> object:
    """Return the model of a frame, without the autoencoder that the settings give it."""
    model = prepared.checkpoints.get(frame.model)
    return model if model is None else replace(model, vae=None)


def _autoencoder(prepared: Prepared, frame: Frame) -> object:
    model = prepared.checkpoints.get(frame.model)
    return None if model is None else model.vae


def _inputs(then: Prepared, now: Prepared) -> Iterator[Reading]:
    """Yield all inputs of frames that either of two settings reads."""
    both = (then, now)

    def is_read(name: str) -> bool:
        if name in ("near", "far") and not any(PROFILES[each.settings.profile].depth_steady for each in both):
            return False
        return any(acts(name, each.settings, each.timeline) for each in both)

    for name, declaration in PARAMS.items():
        if name not in BY_FRAMES and is_read(name):
            yield name, _value(name), _read(declaration, both)
    if all(_paints_a_clip(each) for each in both):
        yield "frame of the clip", _clip, Read.PAINTED
    yield "seed", lambda prepared, frame: frame.seed, Read.PAINTED
    if any(each.settings.moves_noise for each in both):
        yield "seed", lambda prepared, frame: frame.seed, ALWAYS
    yield "subseed", lambda prepared, frame: frame.subseed if frame.params.subseed_strength else None, Read.PAINTED
    yield "sampler", lambda prepared, frame: _sampler(frame.sampler), Read.PAINTED
    yield "LoRA", lambda prepared, frame: " ".join(map(str, frame.loras)), Read.PAINTED
    yield "checkpoint", _checkpoint, Read.PAINTED
    yield "vae", _autoencoder, Read.PAINTED
    yield "prompt", lambda prepared, frame: _blend(positives(frame.prompts)), Read.PAINTED
    yield "negative prompt", lambda prepared, frame: _blend(negatives(frame.prompts)), Read.PAINTED
    yield "loras", lambda prepared, frame: " ".join(map(str, frame.loras)), Read.PAINTED
    yield "reference", lambda prepared, frame: str(frame.reference or ""), Read.PAINTED
    yield "ip_adapter", lambda prepared, frame: " ".join(map(str, frame.images)), Read.PAINTED
    yield "color_renewal", lambda prepared, frame: frame.renewal, Read.PAINTED
    yield "ending", _ending(tuple(filter(is_read, OF_WAYS))), Read.PAINTED | Read.MOVED
    yield "strength_0_no_init", lambda prepared, frame: frame.starts_empty, Read.PAINTED
    for name in ("mask", "noise_mask"):
        if is_read(name):
            mirrored = any(each.settings.mode.goes_on and each.settings.symmetry != "none" for each in both)
            yield name, _texts(name), Read.PAINTED | Read.SHOWN if mirrored else Read.PAINTED
    if any(each.settings.use_looper and each.settings.mode.goes_on for each in both):
        yield "init_images", _guide, Read.PAINTED


def _read(declaration: Declaration, both: Sequence[Prepared]) -> Read:
    name = declaration.name
    if name == "echo_amount" and any(each.settings.echo_in_loop for each in both):
        return Read.TRAILED | Read.REPAINTED
    if name in ("strength", "noise_multiplier") and not any(_starts(each) for each in both):
        return Read.REPAINTED if both[1].settings.mode.goes_on else Read.PAINTED
    return READ.get(name, BY_SECTION.get(declaration.section, ALWAYS))


def _starts(prepared: Prepared) -> bool:
    """Whether frame 0 is painted from something, with a strength."""
    settings = prepared.settings
    return starts_from_picture(settings) or prepared.timeline.starts_empty or settings.use_looper


def _value(name: str) -> Callable[[Prepared, Frame], Any]:
    gate = GATES.get(name)

    def value(prepared: Prepared, frame: Frame) -> Any:
        return getattr(frame.params, name) if gate is None or getattr(frame.params, gate) else None

    return value


def _ending(names: Sequence[str]) -> Callable[[Prepared, Frame], Any]:
    """Return what reads the ending of a frame, with the parameters of its way back that are named."""

    def ending(prepared: Prepared, frame: Frame) -> Any:
        if frame.ending is None:
            return None
        way = frame.ending.way
        moves = [[getattr(each, name) for name in names if name not in ("near", "far")] for each in way]
        ends = [getattr(way[-1], name) for name in names if name in ("near", "far")]
        return _Shown(str(frame.ending), (replace(frame.ending, way=()), moves, ends))

    return ending


@dataclass(frozen=True)
class _Shown:
    """A value that is compared, and shown as a text."""

    text: str
    value: Any

    def __str__(self) -> str:
        return self.text


def _sampler(name: str) -> str:
    from deforum.diffusion import resolve_sampler

    return resolve_sampler(name)


def _blend(prompts: Sequence[tuple[str, float]]) -> str:
    """Write the prompts of a frame with their weights, as exactly as they are painted."""
    return prompts[0][0] if len(prompts) == 1 else " + ".join(f"{weight!r} {text}" for text, weight in prompts)


def _texts(name: str) -> Callable[[Prepared, Frame], str]:
    known: dict[int, Sequence[str]] = {}

    def text(prepared: Prepared, frame: Frame) -> str:
        if id(prepared) not in known:
            schedule: TextSchedule = getattr(prepared.settings, name)
            known[id(prepared)] = schedule.sample(len(prepared.timeline), prepared.timeline.variables)
        return known[id(prepared)][frame.index]

    return text


def _clip(prepared: Prepared, frame: Frame) -> int:
    clip = prepared.found["video input"].clip
    return int(clip.picks[clip.stored(frame.index)])


def _guide(prepared: Prepared, frame: Frame) -> str:
    guides = prepared.found.get("guided images")
    if not isinstance(guides, Guides):
        return ""
    swings = PROFILES[prepared.settings.profile].guides_swing_from_keyframe
    share = guides.share(frame.index, frame.params, phase_from_keyframe=swings)
    return f"{guides.paths[guides.at(frame.index)]} {share!r}"


def _spans(part: Part, now: Prepared, until: int) -> Iterator[Reason]:
    """Yield the first span that is another one: diffused at another frame, or faded in otherwise."""
    timelines = part.prepared.timeline, now.timeline
    lists = [[(span.key.index, (span.paints, span.closes is None), 
              tuple(frame.index for frame in span.frames), span.fades)
              for span in timeline.spans()] for timeline in timelines]  # fmt: skip
    for one, other in zip(*lists, strict=False):
        first = min(one[2][0], other[2][0])
        if first >= until:
            return
        shown = min(len(one[3]), len(other[3])) if not now.timeline.on_time else None
        same = one[:2] == other[:2] and one[3][:shown] == other[3][:shown]
        if not same and first >= part.since:
            both = part.prepared.settings, now.settings
            name = next((name for name in OF_SPANS if getattr(both[0], name) != getattr(both[1], name)), "max_frames")
            then, then_now = (getattr(each, name) for each in both)
            yield Reason(name, first, str(then), str(then_now))
            return


def changed_files(parts: Sequence[Part], now: Prepared, changed: Sequence[Path]) -> Iterator[Reason]:
    """Yield the first effect of each file that is not what it was."""
    then = parts[-1].prepared
    for path in changed:
        guides = now.found.get("guided images")
        first = 0
        if isinstance(guides, Guides) and path in [each.resolve() for each in guides.paths]:
            shown = [key for key in now.timeline.keys if guides.paths[guides.at(key)].resolve() == path]
            spans = [span for span in now.timeline.spans() if span.paints and span.key.index in shown]
            first = min((span.frames[0].index for span in spans), default=len(now.timeline))
        if _is_only_heard(path, then.settings):
            continue
        yield Reason(path.name, first, "the file as it was", "its contents now")


def _is_only_heard(path: Path, settings: Settings) -> bool:
    """Whether a file is the sound of a film, which no frame follows."""
    name = settings.sound_setting
    if name not in ("soundtrack_path", "audio") or path != Path(getattr(settings, name)).resolve():
        return False
    return name != "audio" or not follows_sound(settings)
