"""Reading settings files: `load` reads a file and checks it as a whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deforum.camera_files.table import files_of
from deforum.errors import Problem, UserError
from deforum.features.acting import in_mode, in_words, is_switched_on
from deforum.features.audio import located
from deforum.features.camera_file import replaced
from deforum.features.table import settle as settle_length
from deforum.models.hub import downloads, may_download
from deforum.paths import stays_inside, to_path
from deforum.settings import document
from deforum.settings.deforum_files import SCHEDULE_SWITCHES, translate
from deforum.settings.document import Place
from deforum.settings.files import Lookup, is_url
from deforum.settings.options import DECLARATIONS, PENDING_CHOICES, SWITCHES, Settings
from deforum.settings.params import PARAMS
from deforum.settings.parseq.find import is_inline, needs_fetching, take_manifest
from deforum.settings.read import (
    Findings,
    Given,
    Origin,
    collect,
    find_declaration,
    flatten,
    is_json,
    list_values,
    read_overrides,
    settle,
)
from deforum.settings.relaxed_json import parse_json
from deforum.shots import locate_shots
from deforum.sources import Source, describe_origin, origin_in, read_source
from deforum.timeline.curves import Sampling
from deforum.timeline.prompts import split_negative
from deforum.timeline.variables import variables_of
from deforum.validate import (
    check_curves,
    check_features,
    check_prompts,
    check_samplers,
    check_schedulers,
    complain,
    do_without,
    join_scheduler,
    locate_files,
    replace_samplers,
)
from schedules import ScheduleError, Variables, parse_key
from schedules.quoting import cut, printable, quote, shown


@dataclass(frozen=True)
class Loaded:
    """Settings as read, and notes for the user (renamed settings, settings without effect), one line each."""

    settings: Settings
    report: tuple[str, ...]
    origin: str = field(default="", compare=False)
    """Where the settings come from, as a run records it: the file's name and the overrides; "" for a mapping."""
    sha256: str = field(default="", compare=False)
    """Digest of the text that the settings were read from; "" for a mapping."""


def load(
    source: str | Path | Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    to_render: bool = True,
    allow_download: bool = False,
) -> Loaded:
    """Read a settings file (YAML, or Deforum's JSON in .txt and .json), then overrides such as 'width=256'.

    Instead of a settings file, `source` may be a frame, film or folder of a run, which carry the settings of the run;
    a picture of A1111's web UI, which gives its prompt, seed, size and so on; or a mapping with the names and values of
    a YAML file.

    With `to_render`, the files that a render needs must exist too, and paths are made absolute. Relative paths start
    from the settings file's folder, else from the current folder. `allow_download`: a Parseq manifest that is given by
    its address is fetched.
    Raises UserError with all problems found.
    """
    with downloads(allowed=allow_download or may_download()):
        if isinstance(source, Mapping):
            return _load(Source(Path("settings"), values=source), overrides, to_render)
        path = to_path(source)
        found = read_source(path)
        origin = describe_origin(path, overrides, before=origin_in(found.text))
        return replace(_load(found, overrides, to_render), origin=origin, sha256=_digest(found.text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if text else ""


def load_text(
    text: str, overrides: Sequence[str] = (), *, name: str, to_render: bool = True, allow_download: bool = False
) -> Loaded:
    """Read settings from a text, YAML or Deforum's JSON, as `load` reads a file; paths start from the current folder.

    `name` stands for the file in messages, and in what a run records of its origin.
    """
    origin = describe_origin(Path(name), overrides, before=origin_in(text))
    with downloads(allowed=allow_download or may_download()):
        return replace(_load(Source(Path(name), text), overrides, to_render), origin=origin, sha256=_digest(text))


def _load(source: Source, overrides: Sequence[str], to_render: bool) -> Loaded:
    path, text = source.path, source.text
    found, made_with, scheduler = Findings(notes=[*source.notes]), source.made_with, ""
    old_file = source.values is None and is_json(path, text) and bool(text.strip())
    if source.values is not None:
        given = collect(flatten(_as_document(source.values, str(path), found), found), found)
    elif old_file:
        translation = translate(parse_json(text, str(path)))
        made_with, scheduler = translation.made_with, translation.scheduler
        found.notes.extend(translation.notes)
        given = {name: Given(written, node.place, node) for name, (written, node) in translation.given.items()}
    else:
        given = collect(flatten(document.parse_yaml(text, str(path)), found), found)
    asked = collect(read_overrides(overrides, found), found)
    given |= asked
    if made_with and "model" not in given:
        found.notes.append(f"made with the checkpoint {cut(made_with)}; give model=PATH to render with it")
    settings, readable = settle(given, found, old_file)
    if scheduler and ("sampler" not in given or given["sampler"].node.place.line):
        settings, joined = join_scheduler(settings, scheduler)
        found.notes.extend(joined)
    settings = _stay_inside(settings, readable, found, old_file)
    settings = _managed(settings, readable, given, asked, found, Lookup(path.parent), to_render)
    readable = {name: origin for name, origin in readable.items() if not _is_managed(name, settings)}
    settings = _find_camera(settings, path.parent)
    if to_render:
        settings = _check(settings, readable, found, path.parent)
    else:  # values may follow a sound or a table beside the file, whose paths stay as they are
        checked = _check(located(settings, Lookup(path.parent)), readable, found, None)
        settings = replace(checked, audio=settings.audio, variables=settings.variables)
    if found.problems:
        raise UserError(found.problems)
    if "model" in given:
        settings = _sampled_as_usual(settings, given, found)
    is_file = source.values is None
    notes = (*found.notes, *_explain_idle(settings, given, old_file), *_explain_empty(settings, is_file, text))
    return Loaded(settings, tuple(map(printable, notes)))


def _sampled_as_usual(settings: Settings, given: Collection[str], found: Findings) -> Settings:
    """Fill in the steps, CFG and sampler that are not given, as the model was made for, where it can be found."""
    from deforum.diffusion import resolve_model
    from deforum.diffusion.training_limits import with_sampling
    from deforum.models.places import roots_of

    given = {*given, *(settings.parseq.settings if settings.parseq is not None else ())}
    if {"steps", "cfg_scale", "sampler"} <= given:
        return settings
    try:
        model = resolve_model(
            settings.model,
            roots=roots_of(settings.models_dir),
            vae=settings.first_vae,
            text_encoder=settings.text_encoder,
        )
    except UserError:
        return settings  # the check of the run says why
    settings, note = with_sampling(settings, model, given)
    found.notes.extend([note] if note else [])
    return settings


def _managed(
    settings: Settings, origins: Mapping[str, Origin], given: Mapping[str, Given], asked: Collection[str],
    found: Findings, files: Lookup, to_render: bool,
) -> Settings:  # fmt: skip
    """Take the values of the Parseq manifest that settings name; what was asked for with overrides keeps its value."""
    text = settings.parseq_manifest
    if not text.strip():
        return settings
    switched_off = [name for name, each in given.items() if settings.is_lenient and each.written in SCHEDULE_SWITCHES]
    own = dict.fromkeys(switched_off, False) | dict.fromkeys(asked, True)
    where = str(origins["parseq_manifest"].place)
    try:
        managed, notes = take_manifest(settings, files, own=own, where=where)
    except UserError as error:
        if not to_render and (needs_fetching(text) or (not is_inline(text) and files.find_file(text) is None)):
            found.notes.append(f"{error.problems[0].message}; its values are left out here")
        else:
            found.problems.extend(Problem(each.message, each.where or where) for each in error.problems)
        return settings
    found.notes.extend(notes)
    replaced = [name for name, _, value, default in list_values(settings) if name in given and value != default
                and _is_managed(name, managed)]  # fmt: skip
    if replaced:
        what = "the manifest's values act, and not those that are given (parseq_except keeps these)"
        found.notes.append(f"{what}: {', '.join(replaced)}")
    for name in (name for name in PARAMS if _is_managed(name, managed) and in_mode(PARAMS[name], managed)):
        schedule = getattr(managed.params, name)
        complaint = complain(PARAMS[name], schedule.sample(managed.max_frames, Variables(fps=managed.fps)))
        if complaint:
            found.notes.append(f"{name}{complaint}; the nearest valid value is used")
    return managed if to_render or is_inline(text) else replace(managed, parseq_manifest=text)


def _is_managed(name: str, settings: Settings) -> bool:
    return settings.parseq is not None and name in settings.parseq.settings


def _as_document(values: Mapping[str, object], source: str, found: Findings) -> document.Mapping:
    """Convert a mapping of Python values to the tree of a YAML file; unreadable values become problems."""
    entries = []
    for name, value in values.items():
        place = Place(f"{source}[{shown(name) if isinstance(name, int) else quote(name)}]")
        try:
            entries.append(
                (
                    document.key_of(name, place),
                    document.of_values(value, place, name=name if isinstance(name, str) else ""),
                )
            )
        except UserError as error:
            found.problems.extend(error.problems)
    return document.Mapping(tuple(entries), Place(source))


def _stay_inside(settings: Settings, origins: Mapping[str, Origin], found: Findings, old_file: bool) -> Settings:
    """Keep the `output` of a file below the current folder; only the person who renders may choose another place.

    A file is data, perhaps a stranger's, and may not write anywhere on the disk. Deforum's files hold the folders of
    other computers: theirs is replaced by the default.
    """
    origin = origins.get("output")
    if origin is None or not origin.place.line or stays_inside(settings.output):
        return settings
    where = f"{origin.written}: {quote(settings.output)} is not below the current folder"
    what = "a file may not choose a folder elsewhere: give it on the command line, with -o FOLDER or output=FOLDER"
    if old_file:
        found.notes.append(f"{where}; {Settings.output} is used instead, or the folder given with -o")
    else:
        found.refuse(f"{where}; {what}", origin.place)
    return replace(settings, output=Settings.output)


def _check(settings: Settings, origins: Mapping[str, Origin], found: Findings, folder: Path | None) -> Settings:
    """Check settings that depend on each other; with the folder of the file, also find the files they name.

    Deforum's profile is lenient, as Deforum is: values out of range are replaced by the nearest valid ones, and files
    on a network are left out, each with a note.
    """
    lenient = settings.is_lenient
    if folder is not None:
        if lenient:
            settings, missing = do_without(settings, Lookup(folder))
            found.notes.extend(missing)
        settings, lost = locate_files(settings, origins, Lookup(folder))
        found.problems.extend(lost)
        if not lost:
            settings = _settle_length(settings, found)
            settings, lost = locate_shots(settings, origins, folder, load, load_text)
            found.problems.extend(lost)
    for problem, way_on in (*check_curves(settings, origins), *check_prompts(settings, origins)):
        if lenient and way_on:
            found.notes.append(f"{problem.message.splitlines()[0]}; {way_on}")
        else:
            found.problems.append(problem)
    found.problems.extend(check_features(settings, origins))
    if lenient and "sampler" in origins and origins["sampler"].place.line:
        settings, replaced = replace_samplers(settings)
        found.notes.extend(replaced)
    found.problems.extend(check_samplers(settings, origins))
    for problem in check_schedulers(settings, origins):
        if lenient:
            found.notes.append(f"{problem.message.partition(';')[0]}; the samplers keep their own noise levels")
        else:
            found.problems.append(problem)
    return settings


def _find_camera(settings: Settings, folder: Path) -> Settings:
    """Make the path of a camera file absolute, if it is there: schedules are not sampled without it."""
    camera = Lookup(folder).find(settings.camera_file)
    if camera is None:
        return settings
    # Of a folder that belongs to a camera, only what is read becomes a part of the run.
    first, *_ = (*files_of(camera), camera)
    return replace(settings, camera_file=os.path.abspath(first))


def _settle_length(settings: Settings, found: Findings) -> Settings:
    """Set max_frames to the length of the clip, where a clip decides it."""
    try:
        settled = settle_length(settings)
    except UserError as error:
        found.problems.extend(error.problems)
        return settings
    if settled.max_frames != settings.max_frames:
        clip = Path(settings.video_init_path).name
        found.notes.append(f"max_frames: {settings.max_frames} became {settled.max_frames}, the length of {clip}")
    return settled


def _explain_idle(settings: Settings, given: Iterable[str], old_file: bool) -> Iterator[str]:
    """Yield notes on the given settings that have no effect, one for each reason."""
    values = {name: (each, value, value == default) for name, each, value, default in list_values(settings)}
    waiting: dict[str, list[str]] = {}
    other_mode: dict[str, list[str]] = {}
    switched_off: dict[str, list[str]] = {}
    sampling = Sampling(settings)
    for name in given:
        each, value, is_default = values.get(name, (find_declaration(name), None, True))
        if is_default:
            continue
        switches = SWITCHES.get(each.pending, ())
        idle = bool(switches) and name not in switches and all(values[switch][2] for switch in switches)
        if not in_mode(each, settings):
            other_mode.setdefault(" or ".join(each.modes), []).append(name)
        elif (unit := _unit_that_is_off(name, settings)) and not old_file:
            switched_off.setdefault(f"{unit} is on", []).append(name)
        elif each.pending and not idle:
            waiting.setdefault(each.pending, []).append(name)
        elif name in DECLARATIONS and not is_switched_on(name, settings, sampling):
            if old_file and not (name == "soundtrack_path" and not is_url(settings.soundtrack_path)):
                continue  # Deforum's files have every setting; a sound file of one's own was put there to be heard
            switched_off.setdefault(in_words(name), []).append(name)
        elif (name, value) in PENDING_CHOICES:
            waiting.setdefault(PENDING_CHOICES[name, str(value)], []).append(f"{name}: {value}")
    if in_place := replaced(settings, set(given)):
        yield f"camera_file moves the camera in place of the schedules given as {', '.join(in_place)}"
    for words, names in switched_off.items():
        yield f"without effect: {', '.join(names)}" + (f"; acts where {words}" if words else "")
    for feature, names in waiting.items():
        yield f"without effect, as {feature} is not supported yet: {', '.join(names)}"
    if not old_file and "prompts" in given and not _is_managed("prompts", settings):
        yield from _explain_unseen(settings)
    if not old_file:  # Deforum's files carry the settings of every mode
        for modes, names in other_mode.items():
            yield f"without effect in {settings.animation_mode} mode, only in {modes}: {', '.join(names)}"


def _unit_that_is_off(name: str, settings: Settings) -> str:
    """Return the switch of the control unit that a setting belongs to, where it is off; "" otherwise."""
    found = re.fullmatch(r"(cn_(\d+)_)\w+", name)
    units = settings.control_units
    return (
        f"{found[1]}enabled" if found and int(found[2]) <= len(units) and not units[int(found[2]) - 1].enabled else ""
    )


def _explain_empty(settings: Settings, is_file: bool, text: str) -> Iterator[str]:
    """Yield notes on an empty file, and on settings that paint no words in any frame."""
    if is_file and not text.strip():
        yield "the file is empty: every setting has its default"
    texts = (settings.positive_prompt, *(split_negative(text)[0] for _, text in settings.prompts))
    if not any(text.strip() for text in texts):
        place = "file" if is_file else "settings"
        yield f"no prompts in the {place}; the frames are painted without a prompt"


def _explain_unseen(settings: Settings) -> Iterator[str]:
    """Yield notes on prompts before frame 0 and after the last frame."""
    variables = variables_of(settings)
    try:
        frames = [(key, parse_key(key).frame(variables, settings.max_frames)) for key, _ in settings.prompts]
    except ScheduleError:
        return  # of a file that is looked at without its sound
    early = [key for key, frame in frames if frame < 0]
    if early:
        keys = cut(", ".join(early), 200)
        yield f"prompts: the first frame is 0; these keyframes are before it and never shown: {keys}"
    late = [key for key, frame in frames if frame >= settings.max_frames]
    if late and (settings.blending == "hold" or settings.loops):
        last = settings.max_frames - 1
        keys = cut(", ".join(late), 200)
        yield f"prompts: the last frame is {last}; these keyframes are after it and never shown: {keys}"
