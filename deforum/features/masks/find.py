"""Files and models of the masks of a run, found and checked before anything is loaded. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deforum.errors import Problem, UserError
from deforum.features.depth import depth_named
from deforum.features.masks.language import MaskExpression, Operand, name_files, operands, parse_masks
from deforum.models import hub
from deforum.models.catalogue import existing
from deforum.models.config import check_network, read_config
from deforum.models.weights import read_header
from deforum.paths import is_file
from deforum.pixels.files import check_pictures
from deforum.settings.declare import When, on, when
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import Settings
from deforum.timeline.variables import variables_of
from schedules import ScheduleError, TextSchedule
from schedules.quoting import cut, quote

if TYPE_CHECKING:
    from deforum.depth import DepthSource
    from deforum.video import ClipSource

CLIPSEG = "CIDAS/clipseg-rd64-refined"
WORD_FILES = (
    ("config.json",),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
    ("model.safetensors", "pytorch_model.bin"),
)
"""Files in the folder of a CLIPSeg model; of each tuple one has to exist."""


@dataclass(frozen=True)
class WordsSource:
    """A CLIPSeg model that was found, or that is to be downloaded."""

    name: str
    """As the user gave it."""
    folder: Path | None
    """None: it is to be downloaded from the hub."""


@dataclass(frozen=True, eq=False)
class MaskSource:
    """The masks of a run, before any file is read."""

    paint: tuple[MaskExpression, ...]
    """Mask expression of each frame for painting; empty without a mask."""
    noise: tuple[MaskExpression, ...]
    """Mask expression of each frame for noise; empty where noise uses `paint`."""
    init: Path | None
    """The picture that `{init_mask}` is read from."""
    init_is_alpha: bool
    """Whether `{init_mask}` is that picture's alpha channel."""
    clip: ClipSource | None
    """The mask video of `{video_mask}`, where use_mask_video is on."""
    words: WordsSource | None
    """The CLIPSeg model for `<words>`."""
    depth: DepthSource | None
    """The depth model of `{depth}`."""


def is_on(settings: Settings) -> bool:
    """Whether painting is masked."""
    return settings.use_mask or settings.use_alpha_as_mask or settings.use_mask_video


def active(settings: Settings) -> tuple[str, ...]:
    """List the names of the mask schedules in use."""
    wanted = {"mask": is_on(settings), "noise_mask": settings.use_noise_mask}
    return tuple(name for name in wanted if wanted[name])


def used(settings: Settings) -> Iterator[tuple[str, Operand]]:
    """Iterate over (schedule name, operand) of the masks in use. Raises ScheduleError."""
    for name in active(settings):
        for expression in parse_masks(getattr(settings, name)).values():
            yield from ((name, operand) for operand in operands(expression))


def asks_for_words(settings: Settings) -> bool:
    """Whether a mask in use has `<words>`."""
    try:
        return any(operand.kind == "words" for _, operand in used(settings))
    except ScheduleError:
        return False


def needs_mask_file(settings: Settings) -> bool:
    """Whether mask_file has to exist."""
    try:
        names = {operand.text for _, operand in used(settings) if operand.kind == "name"}
    except ScheduleError:
        return False
    asked = "init_mask" in names or ("video_mask" in names and not settings.use_mask_video)
    return asked and not settings.use_alpha_as_mask


def check(settings: Settings) -> Iterator[tuple[str, str]]:
    """Report masks in use that cannot be parsed."""
    for name in active(settings):
        try:
            parse_masks(getattr(settings, name))
        except ScheduleError as error:
            yield name, str(error)


def locate(settings: Settings, files: Lookup) -> tuple[Settings, list[tuple[str, str]]]:
    """Make the paths in masks in use absolute."""

    def find(text: str) -> str | None:
        path = files.find_file(text)
        return None if path is None else str(path.resolve())

    found: dict[str, TextSchedule] = {}
    problems = []
    for name in active(settings):
        try:
            found[name] = name_files(getattr(settings, name), find)
        except ScheduleError as error:
            problems.append((name, str(error)))
    return replace(settings, **found), problems  # type: ignore[arg-type]


def without(settings: Settings, files: Lookup) -> tuple[Settings, list[str]]:
    """Turn masks off whose files are URLs."""
    notes = []
    for switch, name in (("use_mask", "mask_file"), ("use_mask_video", "video_mask_path")):
        if getattr(settings, switch) and is_url(getattr(settings, name)):
            notes.append(f"{name}: {getattr(settings, name)} is not fetched; the animation goes without this mask")
            settings = replace(settings, **{switch: False})  # type: ignore[arg-type]
    return settings, notes


MASKED = when("use_mask, use_alpha_as_mask or use_mask_video is on", lambda settings, sampled: is_on(settings))
ANY_MASK = when("a mask is in use", lambda settings, sampled: bool(active(settings)))
ACTS: Mapping[str, When] = {
    **dict.fromkeys(("invert_mask", "mask_contrast_adjust", "mask_brightness_adjust", "mask_follows_camera"), ANY_MASK),
    **dict.fromkeys(("mask", "overlay_mask", "fill", "full_res_mask", "save_masks"), MASKED),
    "mask_overlay_blur": MASKED
    & when(
        "overlay_mask or full_res_mask is on",
        lambda settings, sampled: settings.overlay_mask or settings.full_res_mask,
    ),
    "full_res_mask_padding": MASKED & on("full_res_mask"),
    "mask_file": when(
        "a mask asks for {video_mask} or {init_mask}", lambda settings, sampled: needs_mask_file(settings)
    ),
    "mask_words_model": when("a mask has <words>", lambda settings, sampled: asks_for_words(settings)),
    "noise_mask": on("use_noise_mask"),
    **dict.fromkeys(
        ("video_mask_path", "clip_fit", "clip_end", "extract_nth_frame", "extract_from_frame", "extract_to_frame"),
        on("use_mask_video"),
    ),
}
"""When the settings of masks act."""


def find_masks(settings: Settings) -> MaskSource | None:
    """Find the files and models of the masks; None without masks. Raises UserError with everything that is missing."""
    try:
        wanted = list(used(settings))
    except ScheduleError as error:
        raise UserError(str(error)) from None
    if not active(settings):
        return None
    named = {operand.text for _, operand in wanted if operand.kind == "name"}
    problems: list[Problem] = []
    init = _find_init(settings, problems) if named & {"init_mask", "video_mask"} else None
    clip = _find_clip(settings, problems) if settings.use_mask_video and "video_mask" in named else None
    problems += [
        Problem(f"{name}: there is no file {quote(operand.text)}")
        for name, operand in wanted
        if operand.kind == "file" and not is_file(Path(operand.text))
    ]
    if "depth" in named and settings.depth_algorithm.strip().lower() == "none":
        problems.append(Problem("mask: {depth} needs a depth model; depth_algorithm is none"))
    words: WordsSource | None = None
    depth: DepthSource | None = None
    if "depth" in named:
        try:
            depth = depth_named(settings)
        except UserError as error:
            problems += error.problems
    if any(operand.kind == "words" for _, operand in wanted):
        try:
            words = find_words(settings.mask_words_model)
        except UserError as error:
            problems += error.problems
    pictures = {"mask_file": [init] if init is not None and not settings.use_alpha_as_mask else []}
    for name, operand in wanted:
        pictures.setdefault(name, []).extend([Path(operand.text)] if operand.kind == "file" else [])
    for name, paths in pictures.items():
        problems += check_pictures((path for path in paths if is_file(path)), name)
    if problems:
        raise UserError(dict.fromkeys(problems))
    return MaskSource(
        paint=_of_frames(settings.mask, settings) if is_on(settings) else (),
        noise=_of_frames(settings.noise_mask, settings) if settings.use_noise_mask else (),
        init=init,
        init_is_alpha=settings.use_alpha_as_mask,
        clip=clip,
        words=words,
        depth=depth,
    )


def _of_frames(schedule: TextSchedule, settings: Settings) -> tuple[MaskExpression, ...]:
    parsed = parse_masks(schedule)
    texts = schedule.sample(settings.max_frames, variables_of(settings))
    return tuple(parsed[text] for text in texts)


def _find_init(settings: Settings, problems: list[Problem]) -> Path | None:
    if settings.use_alpha_as_mask:
        if settings.init_image is None:
            problems.append(Problem("use_alpha_as_mask: there is no init_image whose alpha channel it could be"))
            return None
        path = Path(settings.init_image)
        try:
            transparent = not is_file(path) or _has_alpha(path)
        except UserError as error:
            problems += (Problem(f"init_image: {problem.message}") for problem in error.problems)
            return path
        if not transparent:
            problems.append(Problem(f"use_alpha_as_mask: {path} has no alpha channel; use a PNG or WebP that has one"))
        return path
    if not needs_mask_file(settings):
        return None
    path = Path(settings.mask_file)
    if not settings.mask_file or not is_file(path):
        missing = (
            f"there is no file {quote(settings.mask_file)}" if settings.mask_file else "this has to name a picture"
        )
        problems.append(Problem(f"mask_file: {missing}, as the mask is {cut(settings.mask.text)}"))
    return path


def _has_alpha(path: Path) -> bool:
    from deforum.pixels.files import decode

    levels = decode(path, unchanged=True)
    return levels.ndim == 3 and levels.shape[2] == 4


def _find_clip(settings: Settings, problems: list[Problem]) -> ClipSource | None:
    from deforum.video import resolve_clip

    try:
        return resolve_clip(
            settings.video_mask_path,
            name="video_mask_path",
            nth=settings.extract_nth_frame,
            first=settings.extract_from_frame,
            last=settings.extract_to_frame,
            # Frames after the clip's end need a mask too, so stop is replaced by hold.
            end="loop" if settings.clip_end == "loop" else "hold",
        )
    except UserError as error:
        problems += error.problems
        return None


def find_words(model: str) -> WordsSource:
    """Find the CLIPSeg model for `<words>`: a folder, or a hub name.

    Raises UserError where it is missing, and may not be downloaded or is not on the hub.
    """
    try:
        return _find_words(model.strip())
    except UserError as error:
        raise UserError(Problem(f"mask_words_model: {problem.message}") for problem in error.problems) from None


def _find_words(model: str) -> WordsSource:
    folder = existing(model)
    if folder is None or not folder.is_dir():
        if not hub.is_name(model):
            raise UserError(
                f"masks such as <words> need CLIPSeg, and {quote(model)} is neither its folder nor a name on the "
                f"hub; give {CLIPSEG}, or the path of its folder"
            )
        folder = hub.find_cached(model, "config.json")
        if folder is None:
            hub.expect_on_hub(model, "the path of its folder; masks such as <words> need CLIPSeg")
            return WordsSource(model, None)
    check_words(folder)
    return WordsSource(model, folder)


def check_words(folder: Path) -> None:
    """Check that the folder of a CLIPSeg model is complete. Raises UserError."""
    missing = [names[0] for names in WORD_FILES if not any((folder / name).is_file() for name in names)]
    if missing:
        raise UserError(f"{folder}: {', '.join(missing)} missing; is its download complete?")
    path = folder / "config.json"
    config = read_config(path)
    if config.get("model_type") != "clipseg":
        raise UserError(f"{folder}: a model of type {str(config.get('model_type'))[:60]!r}; expected clipseg")
    check_network(path, config)
    for file in WORD_FILES[-1]:
        if (folder / file).is_file():
            read_header(folder / file)
            break
    vocabulary = folder / "vocab.json"
    if vocabulary.is_file() and not all(type(number) is int for number in read_config(vocabulary).values()):
        raise UserError(f"{vocabulary}: not a vocabulary; copy it from the model's origin")
