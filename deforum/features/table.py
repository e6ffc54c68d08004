"""The table of features, from the inside out: the last one acts first before painting, and last after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deforum.features import (
    audio,
    camera_file,
    clip_length,
    controlnet,
    detail,
    ending,
    flows,
    guided_images,
    hybrid,
    ip_adapters,
    loras,
    motion_gain,
    reference,
    regions,
    shake,
    video_input,
)
from deforum.features.depth import check_lens, find_depth
from deforum.features.feature import Feature
from deforum.features.masks import find as masks
from deforum.settings.declare import When, chosen, on, unless, used, when
from deforum.settings.options import Settings
from deforum.settings.params import SHAKEN
from deforum.timeline.camera import camera_track, drives_camera
from deforum.timeline.curves import Sampling
from deforum.timeline.timeline import Timeline, sample


def _all(condition: When, *names: str) -> dict[str, When]:
    return dict.fromkeys(names, condition)


DEPTH = Feature(
    "depth",
    is_on=lambda settings: settings.mode.has_depth,
    find=find_depth,
    check=check_lens,
    attach="deforum.features.depth:attach",
    is_previewed=True,
    record="deforum.features.depth_record:record",
    notes=lambda settings, found: [f"depth_algorithm: {found.says}"] if found is not None and found.says else [],
    acts={
        "midas_weight": when(
            "depth_algorithm is Midas+AdaBins (old)",
            lambda settings, sampled: settings.depth_algorithm.casefold().startswith("midas+"),
        ),
        "depth_format": on("save_depth_maps"),
    },
)

CAMERA_FILE = Feature(
    "camera file",
    is_on=drives_camera,
    find=camera_track,
    check=camera_file.check,
    notes=camera_file.notes,
    attach="deforum.features.camera_file:attach",
)

MOTION_GAIN = Feature(
    "motion gain",
    is_on=motion_gain.is_on,
    attach="deforum.features.motion_gain:attach",
)

VIDEO_INPUT = Feature(
    "video input",
    is_on=lambda settings: settings.mode.reads_clip or video_input.holds_colors(settings),
    find=video_input.find_video,
    attach="deforum.features.video_input.attach:attach",
    is_previewed=True,
    notes=video_input.notes,
    settle=lambda settings: clip_length.as_long_as_the_clip(settings) if settings.mode.reads_clip else settings,
    carries=video_input.feeds_back,
    acts={
        **_all(
            when(
                "frames or colours come from a clip", lambda settings, sampled: video_input.needs_clip(settings)
            ),
            "video_init_path", "extract_nth_frame", "extract_from_frame", "extract_to_frame", "clip_fit", "clip_end",
        ),
        "clip_feedback_flow": when(
            "clip_feedback or clip_feedback_init is above 0",
            lambda settings, sampled: sampled.is_used("clip_feedback") or sampled.is_used("clip_feedback_init"),
        ),
        "color_coherence_video_every_n_frames": when(
            "colours are held to the clip's", lambda settings, sampled: video_input.holds_colors(settings)
        ),
    },
)  # fmt: skip

DISOCCLUSION = Feature(
    "disocclusion",
    is_on=lambda settings: (
        settings.mode.has_depth and (settings.disocclusion == "repaint" or settings.save_disocclusion_masks)
    ),
    attach="deforum.features.disocclusion:attach",
    record="deforum.features.disocclusion:record",
    acts=_all(chosen("disocclusion", "repaint"), "disocclusion_strength", "disocclusion_noise"),
)

FLOW_CADENCE = Feature(
    "optical-flow cadence",
    is_on=lambda settings: settings.has_in_betweens and flows.method_of(settings, "optical_flow_cadence") != "None",
    find=lambda settings: flows.find_flow(settings, "optical_flow_cadence"),
    attach="deforum.features.flow_cadence:attach",
    notes=lambda settings, found: flows.notes("optical_flow_cadence", found),
    acts={
        "optical_flow_cadence": flows.IN_BETWEENS,
        "cadence_flow_factor": flows.IN_BETWEENS & flows.FOLLOWED,
    },
)

REDO = Feature(
    "redo",
    is_on=lambda settings: (
        bool(settings.diffusion_redo) or (settings.mode.goes_on and settings.optical_flow_redo_generation != "None")
    ),
    find=lambda settings: flows.find_flow(settings, "optical_flow_redo_generation"),
    attach="deforum.features.redo:attach",
    notes=lambda settings, found: flows.notes("optical_flow_redo_generation", found),
    acts={"redo_flow_factor": unless("optical_flow_redo_generation", "None")},
)

SHAKE = Feature(
    "camera shake",
    is_on=lambda settings: SHAKEN.test(settings, Sampling(settings)) and settings.mode.goes_on,
    find=shake.find,
    check=shake.check,
    attach="deforum.features.shake:attach",
)

ENDING = Feature(
    "ending",
    is_on=lambda settings: settings.has_ending,
    find=ending.find,
    check=ending.check,
    notes=ending.notes,
    attach="deforum.features.ending:attach",
    is_previewed=True,
)

GUIDED_IMAGES = Feature(
    "guided images",
    is_on=guided_images.is_on,
    find=guided_images.find_guides,
    attach="deforum.features.guided_images:attach",
    locate=guided_images.locate,
    without=guided_images.without,
    acts=_all(
        on("use_looper"),
        "init_images", "image_strength", "blend_factor_max", "blend_factor_slope", "tweening_frames",
        "color_correction_factor",
    ),
)  # fmt: skip

HYBRID = Feature(
    "hybrid video",
    is_on=hybrid.is_on,
    find=hybrid.find_hybrid,
    attach="deforum.features.hybrid.attach:attach",
    is_previewed=True,
    record="deforum.features.hybrid.attach:record",
    own="deforum.features.hybrid.attach:own",
    notes=hybrid.notes,
    acts=hybrid.ACTS,
    needs=hybrid.NEEDS,
    without=hybrid.without,
    settle=lambda settings: clip_length.as_long_as_the_clip(settings) if hybrid.needs_clip(settings) else settings,
    starts_from_picture=hybrid.starts_from_clip,
)

MOVING_NOISE = Feature(
    "moving noise",
    is_on=lambda settings: settings.moves_noise,
    attach="deforum.features.moving_noise:attach",
)

MOVING_GRID = Feature(
    "moving grid",
    is_on=lambda settings: settings.moves_grid,
    attach="deforum.features.moving_grid:attach",
)

MASKS = Feature(
    "masks",
    is_on=lambda settings: bool(masks.active(settings)),
    find=masks.find_masks,
    attach="deforum.features.masks.attach:attach",
    is_previewed=True,
    record="deforum.features.masks.attach:record",
    own="deforum.features.masks.attach:own",
    acts=masks.ACTS,
    check=masks.check,
    notes=lambda settings, found: [f"video_mask_path: {note}" for note in found.clip.notes] if found.clip else [],
    locate=masks.locate,
    without=masks.without,
)

CONTROL = Feature(
    "control units",
    is_on=controlnet.is_on,
    find=controlnet.find_units,
    attach="deforum.features.controlnet.attach:attach",
    record="deforum.features.controlnet.attach:record",
    notes=controlnet.notes,
    acts={
        "save_control_pictures": when("a control unit is on", lambda settings, sampled: controlnet.is_on(settings)),
    },
    check=controlnet.check,
    locate=controlnet.locate,
    without=controlnet.without,
)
"""After the masks, whose mask the unit for inpainting sees; it is nevertheless the innermost, next to the model."""

DETAIL = Feature(
    "detail pass",
    is_on=detail.is_on,
    find=detail.find,
    check=detail.check,
    locate=detail.locate,
    attach="deforum.features.detail:attach",
    acts=_all(
        when("detail_mask is given", lambda settings, sampled: detail.is_on(settings)),
        "detail_prompt", "detail_padding", "detail_strength", "detail_steps",
    ),
)  # fmt: skip

ECHO = Feature(
    "echo",
    is_on=lambda settings: Sampling(settings).is_used("echo_amount"),
    attach="deforum.features.echo:attach",
    is_previewed=True,
    carries=lambda settings: True,
    acts=_all(used("echo_amount"), "echo_decay", "echo_blend", "echo_in_loop"),
)

REGIONS = Feature(
    "regions",
    is_on=lambda settings: bool(settings.regions),
    find=regions.find_regions,
    check=regions.check,
    locate=regions.locate,
    attach="deforum.features.regions.attach:attach",
)

SYMMETRY = Feature(
    "symmetry",
    is_on=lambda settings: settings.mode.goes_on and settings.symmetry != "none",
    attach="deforum.features.symmetry:attach",
    is_previewed=True,
    acts={
        "symmetry_segments": chosen("symmetry", "kaleidoscope"),
        **_all(
            unless("symmetry", "none"),
            "symmetry_angle", "symmetry_center_x", "symmetry_center_y", "symmetry_strength",
        ),
    },
)  # fmt: skip

LORAS = Feature(
    "LoRAs",
    is_on=lambda settings: bool(loras.names_in(settings)),
    find=loras.find,
    attach="deforum.features.loras:attach",
    notes=loras.notes,
    check=loras.check,
    locate=loras.locate,
    without=loras.without,
)

IP_ADAPTERS = Feature(
    "IP-Adapters",
    is_on=lambda settings: bool(settings.ip_adapter),
    find=ip_adapters.find,
    attach="deforum.features.ip_adapters:attach",
    check=ip_adapters.check,
    locate=ip_adapters.locate,
)

AUDIO = Feature(
    "audio",
    is_on=audio.is_on,
    find=audio.find,
    attach="deforum.features.audio:attach",
    notes=audio.notes,
    check=audio.check,
    locate=audio.locate,
    acts=_all(
        when("audio is clip", lambda settings, sampled: settings.audio == "clip"),
        "video_init_path", "extract_from_frame",
    ),
)  # fmt: skip

REFERENCE = Feature(
    "reference",
    is_on=lambda settings: bool(settings.reference),
    find=reference.find,
    attach="deforum.features.reference:attach",
    check=reference.check,
    locate=reference.locate,
)


FEATURES: tuple[Feature, ...] = (
    DEPTH,
    CAMERA_FILE,
    MOTION_GAIN,
    VIDEO_INPUT,
    DISOCCLUSION,
    FLOW_CADENCE,
    REDO,
    SHAKE,
    ENDING,
    GUIDED_IMAGES,
    HYBRID,
    MOVING_NOISE,
    MOVING_GRID,
    MASKS,
    REGIONS,
    CONTROL,
    DETAIL,
    ECHO,
    SYMMETRY,
    LORAS,
    IP_ADAPTERS,
    REFERENCE,
    AUDIO,
)


def switched_on(settings: Settings) -> tuple[Feature, ...]:
    """List the features that are on, from the inside out."""
    return tuple(feature for feature in FEATURES if feature.is_on(settings))


def settle(settings: Settings) -> Settings:
    """Let the features adapt the length of a run. Raises UserError."""
    for feature in switched_on(settings):
        settings = feature.settle(settings)
    return settings


def starts_from_picture(settings: Settings) -> bool:
    """Whether frame 0 is painted from a picture: the init image, or one of a feature."""
    from_init = settings.mode.goes_on and settings.init_image is not None
    return from_init or any(feature.starts_from_picture(settings) for feature in switched_on(settings))


def timeline_of(settings: Settings) -> Timeline:
    """Sample settings whose seed is resolved, taking their features into account.

    Raises ScheduleError, UserError: see `deforum.timeline.timeline.sample`.
    """
    return with_schedulers(sample(settings, starts_from_picture=starts_from_picture(settings)), settings)


def with_schedulers(timeline: Timeline, settings: Settings) -> Timeline:
    """Return a timeline whose samplers run on the noise schedules of `scheduler`."""
    if all((keyframe.value or "none").casefold() == "none" for keyframe in settings.scheduler.keyframes):
        return timeline
    from deforum.diffusion.sampling.samplers import with_scheduler

    schedulers = settings.scheduler.sample(settings.max_frames, timeline.variables)
    pairs = {pair: with_scheduler(*pair)[0] for pair in dict.fromkeys(zip(timeline.samplers, schedulers, strict=True))}
    return replace(timeline, samplers=tuple(pairs[pair] for pair in zip(timeline.samplers, schedulers, strict=True)))


def scheduler_notes(timeline: Timeline, settings: Settings) -> Iterable[str]:
    """Return a note for each scheduler that has no effect on a sampler of the timeline."""
    from deforum.diffusion.sampling.samplers import with_scheduler

    schedulers = settings.scheduler.sample(settings.max_frames, timeline.variables)
    for sampler, scheduler in dict.fromkeys(zip(timeline.samplers, schedulers, strict=True)):
        joined, note = with_scheduler(sampler, scheduler)
        if joined == sampler and note:
            yield note
