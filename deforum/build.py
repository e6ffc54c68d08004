"""From settings to the stages of the loop: models are found and loaded, and each feature that is on is attached."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deforum.errors import Problem, UserError
from deforum.features.feature import Kit, Recording, Tell
from deforum.features.fitting import misfits
from deforum.features.hybrid import needs_init_image
from deforum.features.table import scheduler_notes, settle, starts_from_picture, switched_on, timeline_of
from deforum.loading import load, load_text
from deforum.models.catalogue import find_function
from deforum.models.hub import downloads, may_download
from deforum.models.kept import KeptModels
from deforum.models.places import roots_of
from deforum.models.process import color_tables
from deforum.models.transfer import stays_on
from deforum.pixels.files import check_pictures
from deforum.profiling import each
from deforum.settings.files import Lookup
from deforum.settings.modes import MODES
from deforum.settings.options import Settings
from deforum.settings.parseq.find import take_manifest
from deforum.settings.profiles import PROFILES
from deforum.shots import PlacedShot, place_shots
from deforum.timeline.frame import Frame
from deforum.timeline.timeline import Timeline
from deforum.timeline.wildcards import wildcard_notes, with_wildcards
from schedules.quoting import printable

if TYPE_CHECKING:
    import torch

    from deforum.animation.painter import Painter
    from deforum.animation.stages import Stages
    from deforum.animation.state import Packed, State
    from deforum.diffusion import ModelSource
    from deforum.diffusion.diffuser import Diffuser
    from deforum.diffusion.pixel_strength import Paint
    from deforum.diffusion.prompts.inversions import Inversion
    from deforum.pixels.image import Image

REFINE_FROM = 0.4
"""Strength from which latents are refined where vae_refinement is -1. With less, noise covers the correction: measured
with the embedded model it changes a frame by 0.1 of 255 levels (RMS) at strength 0.3, by 0.2 at 0.45, and by 1.0 where
nothing is diffused."""

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A checked run: everything that can be known without loading a model. Made once and passed on."""

    settings: Settings
    """Resolved: a seed of -1 is drawn, the length is the clip's where a clip decides it, and the size is known."""
    timeline: Timeline
    model: ModelSource
    """That of frame 0."""
    checkpoints: Mapping[tuple[str, str], ModelSource]
    """The models of the diffused frames, by `Frame.model`."""
    inversions: Mapping[tuple[str, str], tuple[Inversion, ...]]
    """The embeddings that the prompts name, by the names of `checkpoints`."""
    found: Mapping[str, Any]
    """Result of `Feature.find` (models, clips, pictures), by name of the features that are on."""
    notes: tuple[str, ...]
    """Deviations from the settings, one line each."""
    shots: tuple[PlacedShot, ...] = ()
    """Those of the film, in order; empty where it is one chain of frames, all by these settings."""

    @property
    def frames(self) -> range:
        """The frames of a run of all of it, by their numbers."""
        if self.shots:
            return range(self.shots[-1].place.stop)
        return range(self.settings.first_frame, len(self.timeline))

    def frame(self, index: int) -> Frame:
        """Return a frame of the run."""
        if not self.shots:
            return self.timeline[index]
        return next(shot for shot in self.shots if index in shot.place).frame(index)


@dataclass(frozen=True)
class Animation:
    """A run ready to start, with its models loaded."""

    prepared: Prepared
    stages: Stages
    device: torch.device
    """Where pictures are."""

    @property
    def settings(self) -> Settings:
        return self.prepared.settings

    @property
    def timeline(self) -> Timeline:
        return self.prepared.timeline

    def states(self, start: State | None = None, *, since: int = 0) -> Iterator[State]:
        """Render all frames in order, or those after the frame of `start`. Yields the state at each frame.

        Without `start`, frames are independent before `since`: it is the first one, see `independent_every`. Raises
        UserError where a frame cannot be rendered, and where memory runs out.
        """
        from deforum.diffusion.memory import shortage_explained
        from deforum.models.checks import settle_checks

        with shortage_explained(self.settings):
            spans = (span for span in self.timeline.spans() if span.frames[0].index >= since)
            yield from self.stages.pace(self.stages, each("schedule", spans), start)
            settle_checks()  # of the frames after the last painted one

    def frames(self, start: State | None = None) -> Iterator[tuple[Frame, Image]]:
        """Render as `states` does; yields frames and their pictures, (3, H, W) RGB float32 in 0..1."""
        return ((state.frame, state.shown) for state in self.states(start))

    def recorded(self, recording: Recording) -> Animation:
        """Return an animation whose features save their extra files (`save_...` settings) while it renders."""
        stages = self.stages
        for feature in switched_on(self.settings):
            if feature.record:
                stages = find_function(feature.record)(stages, self.prepared.found[feature.name], recording)
        return replace(self, stages=stages)

    def unpack_state(self, packed: Packed, where: str = "") -> State:
        """Return the state that `deforum.animation.state.pack_state` packed in a run of the same settings.

        `where` names it in messages. Raises UserError where it belongs to other settings.
        """
        from deforum.animation.state import unpack_state

        return unpack_state(packed, self.stages.camera, self.timeline, self.device, where)

    def telling_own(self, tell: Tell) -> Animation:
        """Return an animation whose features tell where painted frames show the own pixels of a clip or a picture."""
        stages = self.stages
        for feature in switched_on(self.settings):
            if feature.own:
                stages = find_function(feature.own)(stages, self.prepared.found[feature.name], tell)
        return replace(self, stages=stages)

    def read_state(self, folder: Path) -> State:
        """Read a state saved by `deforum.animation.state.write_state` in a run of the same settings.

        Raises UserError where it cannot be read.
        """
        from deforum.animation.state import read_state

        return read_state(folder, self.stages.camera, self.timeline, self.device)


def resolve(settings: Settings) -> Settings:
    """Draw the seed if it is -1, choose wildcards, and set max_frames where a clip decides it.

    `prepare` also sets the size.

    Raises UserError if that clip, or the lines of a wildcard, are missing.
    """
    settings = settle(settings)
    if settings.seed < 0:
        settings = replace(settings, seed=secrets.randbits(32))
    return with_wildcards(settings)


def with_manifest(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Take the values of a Parseq manifest into settings that were not loaded.

    Its path starts from the current folder. Also returns notes. Raises UserError where it cannot be read.
    """
    if settings.parseq is not None or not settings.parseq_manifest.strip():
        return settings, ()
    return take_manifest(settings, Lookup(Path()))


def prepare(settings: Settings, *, allow_download: bool = False) -> Prepared:
    """Check settings without loading a model, and find the models and files to load.

    `allow_download`: models that are not here may be on the hub, and are downloaded when they are loaded.

    Raises UserError with everything that is missing, ScheduleError where an expression has no value.
    """
    from deforum.diffusion import (
        prompt_notes,
        resolve_sampler,
        sampler_note,
    )
    from deforum.diffusion.families.usual import few_step_note, networks_in
    from deforum.diffusion.prompts.inversions import unfound
    from deforum.diffusion.training_limits import size_notes, with_size, word_notes

    with downloads(allowed=allow_download or may_download()):
        settings, managed = with_manifest(settings)
    given = settings = resolve(settings)
    timeline = timeline_of(settings)
    samplers = tuple(dict.fromkeys(timeline.samplers))
    for name in samplers:
        resolve_sampler(name)
    problems: list[Problem] = []

    def look(find: Callable[[Settings], T]) -> T | None:
        try:
            return find(settings)
        except UserError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
            return None

    prediction = None if settings.prediction_type == "auto" else settings.prediction_type
    with downloads(allowed=allow_download):
        roots = look(lambda settings: roots_of(settings.models_dir)) or ()
        checkpoints: dict[tuple[str, str], ModelSource] = {}
        models = timeline.models
        for named in dict.fromkeys(models[key] for key in timeline.keys):
            own = look(partial(_resolve_model, named=named, prediction=prediction, roots=roots))
            if own is not None:
                settings = settings if checkpoints else with_size(settings, own)
                if settings.width != given.width or settings.height != given.height:
                    timeline = timeline_of(settings)  # motion may depend on the size
                whole = look(partial(_with_parts, own=own, roots=roots))
                checkpoints |= {} if whole is None else {named: whole}
        texts = [settings.positive_prompt, *(text for _, text in settings.prompts), settings.negative_prompt]
        inversions = {
            named: look(partial(_find_inversions, texts=texts, roots=roots, own=own)) or ()
            for named, own in checkpoints.items()
        }
        model = checkpoints.get(models[0])
        found: dict[str, Any] = {feature.name: look(feature.find) for feature in switched_on(settings)}
        shots = look(lambda settings: place_shots(settings, timeline, load, load_text)) or ()
    starts = starts_from_picture(settings)
    problems += map(Problem, misfits(settings, timeline, checkpoints, found, starts_from_picture=starts))
    problems += [problem for problem in unreadable_pictures(settings) if problem not in problems]
    if problems or model is None:
        raise UserError(problems)
    says = [*managed, *model.notes, *size_notes(given, model), *word_notes(texts, model)]
    says += [note for text in texts for note in prompt_notes(text)] + [sampler_note(name) for name in samplers]
    most = {name: float(max(getattr(timeline.curves, name))) for name in ("steps", "cfg_scale")}
    says.append(few_step_note(model, networks_in(texts), **most))
    says += [*scheduler_notes(timeline, settings), *wildcard_notes(settings)]
    says += unfound(texts, settings.embeddings_dir, roots)
    for feature in switched_on(settings):
        says += feature.notes(settings, found[feature.name])
    notes = tuple(dict.fromkeys(map(printable, filter(None, says))))
    return Prepared(settings, timeline, model, checkpoints, inversions, found, notes, shots)


def _resolve_model(
    settings: Settings, *, named: tuple[str, str], prediction: str | None, roots: Sequence[Path]
) -> ModelSource:
    from deforum.diffusion import resolve_model

    name, vae = named
    return resolve_model(
        name or settings.model, prediction=prediction, roots=roots, vae=vae, text_encoder=settings.text_encoder
    )


def _with_parts(settings: Settings, *, own: ModelSource, roots: Sequence[Path]) -> ModelSource:
    from deforum.diffusion.families.find import with_refiner
    from deforum.diffusion.families.tiny import with_tiny

    return with_refiner(with_tiny(own, settings.tiny_vae), settings.refiner, settings.refiner_switch_at, roots)


def _find_inversions(
    settings: Settings, *, texts: Sequence[str], roots: Sequence[Path], own: ModelSource
) -> tuple[Inversion, ...]:
    from deforum.diffusion.prompts.inversions import find_inversions

    return find_inversions(texts, settings.embeddings_dir, roots, own)


def unreadable_pictures(settings: Settings) -> list[Problem]:
    """Return a problem for each picture that the loop itself reads and that cannot be read."""
    problems: list[Problem] = []
    if settings.init_image is not None and settings.mode.goes_on and not needs_init_image(settings):
        problems += check_pictures([Path(settings.init_image)], "init_image")
    colors = settings.color_coherence_image_path
    if settings.color_coherence == "Image" and settings.mode.holds("Image") and colors:
        problems += check_pictures([Path(colors)], "color_coherence_image_path")
    return problems


@dataclass(frozen=True)
class LoadedModel:
    """The diffusion model as the loop uses it."""

    painter: Painter
    device: torch.device
    cell: int
    """px per cell of the latents, in each direction."""
    dtype: torch.dtype | None = None
    """The precision of its network; None: float32."""


def _loading(prepared: Prepared, named: tuple[str, str]) -> partial[Diffuser]:
    """Return the call that loads a diffusion model of the run."""
    from deforum.diffusion import load_diffuser
    from deforum.diffusion.training_limits import window_of

    settings = prepared.settings
    profile = PROFILES[settings.profile]
    is_auto = settings.vae_refinement < 0
    # Without a loop nothing is encoded twice, and losses do not add up.
    corrects = profile.true_latents and MODES[settings.animation_mode].goes_on
    return partial(
        load_diffuser,
        prepared.checkpoints[named],
        inversions=prepared.inversions[named],
        device=settings.device,
        precision=settings.precision,
        exact_step_count=profile.exact_step_count,
        fills_prompts=profile.fills_prompts,
        tiling=settings.tiling,
        prompt_blend=settings.blending,
        memory=settings.memory,
        compile=settings.compile,
        step_cache=settings.step_cache,
        loras=prepared.found["LoRAs"].paths if "LoRAs" in prepared.found else (),
        sees_references="reference" in prepared.found,
        ip_adapters=prepared.found["IP-Adapters"].paths if "IP-Adapters" in prepared.found else (),
        vae_refinement=int(corrects) if is_auto else settings.vae_refinement,
        refine_from=REFINE_FROM if is_auto else 0.0,
        compensates=is_auto and corrects,
        window=window_of(settings.tiled_diffusion, prepared.checkpoints[named].size),
    )


def model_key(prepared: Prepared) -> Hashable:
    """Return what is equal for runs that share one loaded diffusion model."""
    loading = _loading(prepared, prepared.timeline.models[0])
    return loading.args, tuple(sorted(loading.keywords.items())), tuple(prepared.checkpoints.items())


def load_model(prepared: Prepared, models: KeptModels) -> LoadedModel:
    """Load the diffusion model of frame 0. Raises UserError.

    Where the run changes its model, the painter loads the one of each frame when it comes to it, in place of the last.
    """
    diffuser = _load(prepared, prepared.timeline.models[0], models)
    device, cell, dtype = diffuser.device, diffuser.factor, diffuser.dtype
    painter = _painter(prepared, diffuser)
    if len(prepared.checkpoints) > 1:
        del diffuser  # or it would stay in memory beside the others
        painter = partial(_paint_by_checkpoint, prepared, models, cell)
    return LoadedModel(painter, device, cell, dtype)


def _load(prepared: Prepared, named: tuple[str, str], models: KeptModels) -> Diffuser:
    from deforum.diffusion.memory import shortage_explained

    settings = prepared.settings
    with shortage_explained(settings):
        diffuser = models.get(_loading(prepared, named))
    if settings.memory == "auto":
        diffuser.fit(*settings.size)
    return diffuser


def _painter(prepared: Prepared, diffuser: Diffuser) -> Painter:
    settings = prepared.settings
    seed_size = settings.seed_resize_from_w, settings.seed_resize_from_h
    width, height = settings.size
    paint = partial(diffuser.diffuse_batch, seed_size=seed_size if all(seed_size) else None)
    if (prepared.timeline.curves.hires_scale > 1).any():
        from deforum.animation.hires import HiresPainter

        return HiresPainter(paint, width, height)
    return partial(paint, width=width, height=height)


def _paint_by_checkpoint(
    prepared: Prepared,
    models: KeptModels,
    cell: int,
    inits: Sequence[Image | None],
    frames: Sequence[Frame],
    *,
    paints: Sequence[Paint | None] | None = None,
) -> list[Image]:
    """Paint each frame with the model of its checkpoint and vae. Raises UserError where it cannot be loaded."""
    paints = [None] * len(frames) if paints is None else paints
    pictures: list[Image] = []
    for named, group in groupby(zip(inits, frames, paints, strict=True), key=lambda each: each[1].model):
        members = list(group)
        diffuser = _load(prepared, named, models)
        if diffuser.factor != cell:
            raise UserError(
                f"checkpoint: frame {members[0][1].index} changes to {prepared.checkpoints[named].name}, whose latents "
                f"have {diffuser.factor} px a cell; expected {cell}, as those of frame 0"
            )
        painter = _painter(prepared, diffuser)
        del diffuser
        own_inits, own_frames, own_paints = zip(*members, strict=True)
        pictures += painter(own_inits, own_frames, paints=own_paints)
        del painter
    return pictures


def build(run: Settings | Prepared, models: KeptModels | None = None) -> Animation:
    """Load the models and assemble the stages. Raises UserError.

    Models in `models` are reused; models loaded here are added to it.
    """
    prepared = prepare(run) if isinstance(run, Settings) else run
    models = KeptModels() if models is None else models
    with color_tables():
        model = load_model(prepared, models)
    return assemble(prepared, model, models)


def assemble(prepared: Prepared, model: LoadedModel, models: KeptModels) -> Animation:
    """Assemble the stages around a model: those of the mode, then each feature that is on. Raises UserError."""
    from deforum.animation.modes import stages_of
    from deforum.diffusion.diffuser import batch_size

    settings = prepared.settings
    kit = Kit(settings, PROFILES[settings.profile], model.device, model.cell, models, model.dtype)
    room = settings.batch_size or batch_size(model.device, *settings.size)
    # On a processor both have the same cores.
    following = prepared.timeline.following if stays_on(model.device) else None
    stages = stages_of(settings, model.painter, model.device, room=room, following=following)
    for feature in switched_on(settings):
        stages = find_function(feature.attach)(stages, prepared.found[feature.name], kit)
    return Animation(prepared, stages, model.device)


def is_independent(settings: Settings) -> bool:
    """Whether no frame depends on another one: each is painted by itself, and nothing of it is carried on."""
    return not settings.mode.goes_on and not any(feature.carries(settings) for feature in switched_on(settings))


def independent_every(settings: Settings) -> int:
    """Return the number of independent frames that are painted as one batch; 0 where frames depend on each other.

    Rendering can begin at the first frame of any batch, and gives the same frames, bit for bit. The size of `settings`
    is known.
    """
    if not is_independent(settings):
        return 0
    from deforum.diffusion.diffuser import batch_size
    from deforum.models.device import choose_device

    return settings.batch_size or batch_size(choose_device(settings.device), *settings.size)
