"""Films from the frames of a run: after a stop, or again in another format, size or rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deforum.errors import UserError, disk_error
from deforum.loading import load
from deforum.metadata import SETTINGS, read_texts
from deforum.output.chapters import saved_chapters
from deforum.output.choice import Film, Outputs
from deforum.output.finished import Frames, Pictures, find_frames, find_run
from deforum.output.labels import Label
from deforum.paths import exists
from deforum.settings.files import Lookup
from deforum.settings.options import Settings
from deforum.settings.read import Findings, Given, collect, read_overrides
from deforum.sources import SETTINGS_FILE, origin_in, read_source
from deforum.video.formats import FORMATS
from deforum.video.reader import fit_picture
from deforum.video.tags import Chapter
from deforum.video.writer import Pixels, VideoWriter

SIZES = ("width", "height")
ACTING = (
    *SIZES, "fps", "clip_fit", "video_format", "crf", "video_quality", "video_preset", "make_gif", "add_soundtrack",
    "soundtrack_path", "audio", "audio_start", "video_init_path", "extract_from_frame", "save_metadata",
    "chapters",
)  # fmt: skip
"""Settings that act on a film of finished frames."""
_SOUND = ("soundtrack_path", "audio")
"""Those that name a sound file."""
_LARGEST = 16384
_SUFFIXES = tuple(dict.fromkeys(row.suffix for row in FORMATS.values()))


@dataclass(frozen=True)
class FilmResult:
    """Films of `frames` frames; `notes` say what was missing or is different from the run, one line each."""

    films: tuple[Path, ...]
    frames: int
    notes: tuple[str, ...]


def make_films(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    output: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FilmResult:
    """Make the film of a run from its frames, with the run's settings and overrides such as 'video_format=webm'.

    `folder` is that of a run, finished or not, or one of A1111's Deforum. `overrides` change settings in ACTING; of
    width and height the one that is not given follows. A missing or damaged frame shows the one before it; at the end
    it is left out. `output` is the film's file, or a folder for it (default: `folder`, under a new name); a file is
    replaced only with `overwrite`. `progress(done, total)` is called after every frame. Raises UserError.
    """
    folder = find_run(folder)
    frames = find_frames(folder)
    found = film_settings(folder, frames, overrides, output)
    given, run, settings, notes = found.given, found.run, found.settings, list(found.notes)
    pictures = frames.read(notes)
    lost, first = next(((at, pixels) for at, pixels in enumerate(pictures) if pixels is not None), (0, None))
    if first is None:
        raise UserError(f"{folder}: none of its {len(frames)} frames can be read")
    begin = frames.first + lost
    if begin:
        notes.append(f"the first frame is frame {begin}")
    width, height = _size(given, first.shape[1], first.shape[0])
    films = {
        _target(folder, output, FORMATS[film.format].suffix, overwrite=overwrite): later(film, begin / run.fps)
        for film in Outputs.of(settings)[0].films
    }
    writers = [
        VideoWriter(
            unfinished(path), width, height, settings.fps, format=film.format, quality=film.quality, preset=film.preset,
            soundtrack=film.soundtrack, comment=found.comment, chapters=found.chapters(begin),
        )
        for path, film in films.items()
    ]  # fmt: skip
    shown = 0
    try:
        with ExitStack() as stack:
            for writer in writers:
                stack.enter_context(writer)
            for shown, pixels in enumerate(_same_size(_without_gaps(first, pictures), folder), 1):
                fitted = fit_picture(pixels, width, height, settings.clip_fit)
                for writer in writers:
                    writer.write(fitted)
                progress(shown, len(frames) - lost)
    except Exception:
        for path in films:
            with suppress(OSError):
                unfinished(path).unlink(missing_ok=True)
        raise
    for path in films:
        unfinished(path).replace(path)
    return FilmResult(tuple(films), shown, tuple(notes))


def unfinished(path: Path) -> Path:
    """Return the name of a film while it is made: not that of the run, which may still be rendering."""
    return path.with_name(f"{path.stem}.film{path.suffix}")


def _without_gaps(first: Pixels, rest: Iterable[Pixels | None]) -> Iterator[Pixels]:
    """Yield the frames, with the one before in place of a missing one; those missing at the end are left out."""
    last, missing = first, 0
    yield first
    for pixels in rest:
        if pixels is None:
            missing += 1
            continue
        yield from [last] * missing
        yield pixels
        last, missing = pixels, 0


def _same_size(frames: Iterable[Pixels], folder: Path) -> Iterator[Pixels]:
    """Yield the frames. Raises UserError where one has another size than the first."""
    shape: tuple[int, ...] = ()
    for pixels in frames:
        shape = shape or pixels.shape
        if pixels.shape != shape:
            sizes = " and ".join(f"{width}x{height}" for height, width, *_ in (shape, pixels.shape))
            raise UserError(f"{folder}: its frames have different sizes, {sizes}; they are not of one run")
        yield pixels


# --- settings ---------------------------------------------------------------------------------------------------------


def _settings_source(folder: Path, frames: Frames) -> Path | None:
    """Return the folder if it has settings, else the first frame that carries them, else None."""
    if (folder / SETTINGS_FILE).is_file() or len(list(folder.glob("*_settings.txt"))) == 1:
        return folder
    paths = sorted(frames.paths.values()) if isinstance(frames, Pictures) else []
    return next((path for path in paths[:3] if SETTINGS in (read_texts(path) or {})), None)


@dataclass(frozen=True)
class FilmSettings:
    """The settings of a film from the frames of a run, and of the run; notes on what differs, one line each."""

    settings: Settings
    run: Settings
    given: Mapping[str, Given]
    notes: tuple[str, ...]
    comment: str
    """For the film's metadata."""

    def chapters(self, begin: int) -> tuple[Chapter, ...]:
        """Return the chapters of a film that begins at a frame of the run."""
        film = self.settings
        return saved_chapters(replace(self.run, chapters=film.chapters, save_metadata=film.save_metadata), begin)


def film_settings(folder: Path, frames: Frames, overrides: Sequence[str], output: Path | None) -> FilmSettings:
    """Read the settings of a run, changed by overrides that act on films. Raises UserError for others."""
    source = _settings_source(folder, frames)
    given, others = _read_overrides(overrides)
    run = _load(source)
    settings, notes = _settle(_load(source, others), run, given, folder, output)
    if source is None:
        notes.insert(0, f"no {SETTINGS_FILE} in {folder}; fps is {settings.fps:g} (to change: fps=N)")
    comment = _comment(source, run) if settings.save_metadata else ""
    return FilmSettings(settings, run, given, tuple(notes), comment)


def plain_film_settings(overrides: Sequence[str]) -> Settings:
    """Return the settings of a film that is made of another film. Raises UserError for overrides without effect."""
    given, others = _read_overrides(overrides)
    settings = _load(None, others)
    return _settle(settings, Settings(), given, Path(), None)[0]


def _load(source: Path | None, overrides: Sequence[str] = ()) -> Settings:
    return load({} if source is None else source, overrides, to_render=False).settings


def _read_overrides(overrides: Sequence[str]) -> tuple[Mapping[str, Given], list[str]]:
    """Return the overrides by setting, and those that are not a size. Raises UserError for those without effect."""
    found = Findings()
    given = collect(read_overrides(overrides, found), found)
    for name, each in given.items():
        if name not in ACTING:
            what = f"{each.written}: has no effect on finished frames; a film is made with {', '.join(ACTING)}"
            found.refuse(what, each.place)
    if found.problems:
        raise UserError(found.problems)
    # A film may have sizes that a render may not.
    written = {each.written for name, each in given.items() if name in SIZES}
    others = [text for text in overrides if text.partition("=")[0].strip().rpartition(".")[2] not in written]
    return given, others


def _settle(
    settings: Settings, run: Settings, given: Mapping[str, Given], folder: Path, output: Path | None
) -> tuple[Settings, list[str]]:
    """Return the settings of the film, and notes on what is different from the run."""
    notes: list[str] = []
    suffix = "" if output is None else output.suffix.lower()
    if suffix in _SUFFIXES and "video_format" not in given and suffix != FORMATS[settings.video_format].suffix:
        chosen = next(name for name, row in FORMATS.items() if row.suffix == suffix)
        settings = replace(settings, video_format=chosen)  # type: ignore[arg-type]
    if settings.video_format != run.video_format:
        # Numbers and presets belong to the format they were chosen for.
        settings = replace(settings, **{
            name: None for name in ("video_quality", "video_preset") if name not in given
        })  # type: ignore[arg-type]  # fmt: skip
        settings = settings if "make_gif" in given else replace(settings, make_gif=False)
    settings = replace(settings, skip_video_creation=False, delete_imgs=False)
    if "add_soundtrack" not in given and not given.keys().isdisjoint(_SOUND):
        settings = replace(settings, add_soundtrack="File" if "soundtrack_path" in given else "auto")
    if settings.sound_setting:
        settings = _with_sound(settings, given, folder, notes)
    if settings.fps != run.fps and settings.sound_setting:
        notes.append(f"the run was made for {run.fps:g} fps; at {settings.fps:g} the sound keeps its own speed")
    return settings, notes


def _with_sound(settings: Settings, given: Mapping[str, Given], folder: Path, notes: list[str]) -> Settings:
    """Find the sound file; sound that only the run asked for is left out where the format has none."""
    if not FORMATS[settings.video_format].audio and given.keys().isdisjoint(("add_soundtrack", *_SOUND)):
        notes.append(f"{settings.video_format} has no sound; the soundtrack is left out")
        return replace(settings, add_soundtrack="None")
    name = settings.sound_setting
    files = Lookup(folder)
    path = files.find_file(getattr(settings, name))
    if path is None:
        missing = files.missing(getattr(settings, name))
        raise UserError(f"{name}: {missing}; add_soundtrack=None makes the film without sound")
    return replace(settings, **{name: str(path.resolve())})  # type: ignore[arg-type]


def later(film: Film, seconds: float) -> Film:
    """Return a film whose sound begins later, where its first frames are missing."""
    sound = film.soundtrack
    return film if sound is None else replace(film, soundtrack=replace(sound, start=sound.start + seconds))


def _size(given: Mapping[str, Given], width: int, height: int) -> tuple[int, int]:
    """Return the film's width and height for frames of width x height; of one given side the other follows."""
    sides: dict[str, int] = {}
    for name in SIZES:
        if name in given:
            text = getattr(given[name].node, "text", "")
            if not text.isdecimal() or not 16 <= int(text) <= _LARGEST:
                raise UserError(f"{given[name].place}: {name}: expected 16..{_LARGEST} (px), a whole number")
            sides[name] = int(text)
    if "width" in sides:
        return sides["width"], sides.get("height", max(2, round(sides["width"] * height / width / 2) * 2))
    if "height" in sides:
        return max(2, round(sides["height"] * width / height / 2) * 2), sides["height"]
    return width, height


def _comment(source: Path | None, run: Settings) -> str:
    """Return the settings of the run for the film's metadata, as the run wrote them where it did."""
    origin = "" if source is None else origin_in(read_source(source).text) or source.name
    return Label.of(run, origin).comment


# --- files ------------------------------------------------------------------------------------------------------------


def _target(folder: Path, output: Path | None, suffix: str, *, overwrite: bool) -> Path:
    """Return the path of the film. Raises UserError where it exists or its folder cannot be made."""
    name = folder.resolve().name
    is_file = output is not None and output.suffix.lower() in _SUFFIXES and not output.is_dir()
    path = output.with_suffix(suffix) if output is not None and is_file else (output or folder) / f"{name}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    if not exists(path) or (overwrite and path.is_file()):
        return path
    if is_file:
        raise UserError(f"{path}: already exists; choose another one with -o, or add --overwrite")
    number = 2
    while path.with_name(f"{name}_{number}{suffix}").exists():
        number += 1
    return path.with_name(f"{name}_{number}{suffix}")
