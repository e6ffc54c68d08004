"""Making the stages of a chain: frames into folders, and films; what is there already is not made again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deforum.background import Background, queue_room
from deforum.errors import Problem, UserError, disk_error
from deforum.events import Note, Observer, StepBegun, StepFrame
from deforum.models.catalogue import find_function
from deforum.models.digest import sha256_of
from deforum.output.choice import Film as Encoding
from deforum.output.choice import Outputs
from deforum.output.finished import ranges
from deforum.output.frames import AT_THE_END
from deforum.output.ledger import Ledger, is_whole
from deforum.output.pictures import PICTURES, encode
from deforum.output.record import FilmFile
from deforum.post.material import Material, PictureSource, Source
from deforum.post.plan import (
    Stage,
    beginning,
    check_disk,
    check_sizes,
    digest,
    frame_behind,
    plan,
    recipes,
    refuse,
    stretches,
)
from deforum.post.record import RECIPE, StepRecord, film_is_whole, read_step
from deforum.post.sound import filters_of
from deforum.settings.steps import Chain, Film, Frames, Step, as_made, kind_of
from deforum.sources import FRAMES_FOLDER
from deforum.video.formats import FORMATS
from deforum.video.tags import Chapter
from deforum.video.writer import Pixels, VideoWriter, probe

if TYPE_CHECKING:
    from deforum.models.kept import KeptModels
    from deforum.pixels.image import Device, Image


@dataclass(frozen=True)
class Made:
    """What a chain made: its films in order, and the folders of the frames that are kept."""

    films: tuple[Path, ...]
    folders: tuple[Path, ...]
    stopped: bool = False


@dataclass
class _Place:
    """A stage and its folder."""

    stage: Stage
    folder: Path
    record: StepRecord
    recipes: Sequence[str]
    files: str


@dataclass
class Making:
    """The making of one chain, from `material`."""

    material: Material
    tell: Observer
    stop: Callable[[], bool]
    models: KeptModels
    device: Device
    overwrite: bool = False
    places: list[_Place] = field(default_factory=list)

    def make(self, chain: Sequence[Step]) -> Made:
        """Make what is missing of a chain. Raises UserError, before anything is made wherever possible."""
        material = self.material
        stages = plan(self._with_films(chain), material.reel, film=False)
        refuse(check_sizes(stages))
        self._check_films(stages)
        known: list[Sequence[str]] = []
        taken: set[Path] = set()
        for stage in stages:
            source = material.source.recipes if stage.source < 0 else known[stage.source]
            files = _digest_of_files(stage)
            known.append(recipes(stage, source, files))
            folder, record = self._find(stage, files, taken)
            taken.add(folder)
            self.places.append(_Place(stage, folder, record, known[-1], files))
        there = sum(path.stat().st_size for place in self.places for path in (place.folder / FRAMES_FOLDER).glob("*"))
        refuse(check_disk(stages, material.bits, material.post, there))
        for place in self.places:
            done = self._film(place) if place.stage.is_film else not self._keeps(place.stage) or self._frames(place)
            if not done:
                return Made(self._films(), self._folders(), stopped=True)
        for place in self.places:
            if not place.stage.is_film and not self._keeps(place.stage):
                self._drop(place)
        return Made(self._films(), self._folders())

    def _with_films(self, chain: Sequence[Step]) -> list[Step]:
        """Say the format of each film, and end with one unless none are made."""
        settings = self.material.settings
        steps = [replace(step, format=step.format or settings.video_format) if isinstance(step, Film) else step
                 for step in chain]  # fmt: skip
        ends = isinstance(steps[-1], Film) or settings.skip_video_creation
        return steps if ends else [*steps, Film(settings.video_format)]

    def _films(self) -> tuple[Path, ...]:
        films = [self._film_path(place) for place in self.places if place.stage.is_film]
        return tuple(path for path in films if path.is_file())

    def _folders(self) -> tuple[Path, ...]:
        return tuple(place.folder for place in self.places if not place.stage.is_film and self._keeps(place.stage))

    def _keeps(self, stage: Stage) -> bool:
        keep = getattr(stage.end, "keep", True)
        return bool(self.material.keeps_frames if keep is None else keep)

    # --- folders ------------------------------------------------------------------------------------------------------

    def _find(self, stage: Stage, files: str, taken: set[Path]) -> tuple[Path, StepRecord]:
        """Return the folder of a stage: the one that has it, or a new one, which is not made yet."""
        gives = stage.gives
        steps = Chain(tuple(map(as_made, stage.made_by)))
        record = StepRecord(
            steps.text, self.material.of, gives.count, gives.width, gives.height, str(gives.rate), files
        )
        number = 1
        while True:
            name = stage.name if number == 1 else f"{stage.name}_{number}"
            folder = self.material.post / name
            found = read_step(folder)
            if found is not None and (found.steps, found.source) == (record.steps, record.source):
                same = replace(found, count=record.count, width=record.width, height=record.height, fps=record.fps)
                return folder, replace(same, files=files)
            is_free = found is None and folder not in taken and not _is_filled(folder)
            if is_free and not (stage.is_film and self._is_taken(stage, folder)):
                return folder, record
            number += 1

    def _is_taken(self, stage: Stage, folder: Path) -> bool:
        """Whether the film of a new stage would have the name of a file that is there."""
        if self.material.films_in is not None:
            return False
        suffix = FORMATS[self._encoding(stage).format].suffix
        return (self.material.home / f"{self.material.name}_{_film_words(folder)}{suffix}").exists()

    def _source(self, stage: Stage) -> Source | None:
        """Return the frames that a stage is made of, made where they are missing; None for a stop."""
        if stage.source < 0:
            return self.material.source
        place = self.places[stage.source]
        if not self._frames(place):
            return None
        paths = tuple(_frame_path(place, index, self.material.bits) for index in range(place.stage.gives.count))
        return PictureSource(paths, tuple(place.recipes))

    # --- frames -------------------------------------------------------------------------------------------------------

    def _frames(self, place: _Place) -> bool:
        """Make the frames of a stage that are missing, or made of other frames; False for a stop."""
        if place.record.finished and not place.record.frames_deleted and self._is_made(place):
            return True
        stage, folder = place.stage, place.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        place.record = replace(place.record, finished=False, frames_deleted=False)
        place.record.write(folder)
        ledger = Ledger(folder)
        try:
            good = {
                entry.frame for entry in ledger.entries.values()
                if entry.frame < stage.gives.count and entry.facts.get(RECIPE) == place.recipes[entry.frame]
                and entry.file == _frame_path(place, entry.frame, self.material.bits).relative_to(folder).as_posix()
                and is_whole(folder, entry)
            }  # fmt: skip
            wanted = [index for index in range(stage.gives.count) if index not in good]
            if wanted and good:
                self.tell(Note(f"{folder.name}: made are {len(good)} of {stage.gives.count} frames; to make: "
                               f"{ranges(wanted)}"))  # fmt: skip
            if not self._write_frames(place, wanted, ledger):
                return False
            self._remove_others(place, ledger)
        finally:
            ledger.close()
        place.record = replace(place.record, finished=True)
        place.record.write(folder)
        return True

    def _is_made(self, place: _Place) -> bool:
        from deforum.output.ledger import read_entries

        entries = {entry.frame: entry for entry in read_entries(place.folder).values()}
        return all(
            index in entries and entries[index].facts.get(RECIPE) == recipe and is_whole(place.folder, entries[index])
            for index, recipe in enumerate(place.recipes)
        )

    def _write_frames(self, place: _Place, wanted: Sequence[int], ledger: Ledger) -> bool:
        stage = place.stage
        if not wanted:
            return True
        source = self._source(stage)
        if source is None:
            return False
        total, done = len(wanted), 0
        self.tell(StepBegun(stage.words, place.folder, total))
        kind = _format_of(stage, self.material.bits)

        def write(item: tuple[int, Pixels]) -> None:
            index, pixels = item
            path = _frame_path(place, index, self.material.bits)
            try:
                ledger.save(path, index, encode(pixels, kind, {}), recipe=place.recipes[index])
            except OSError as error:
                raise disk_error(error, path) from error

        room = queue_room(stage.gives.width * stage.gives.height * 3 * self.material.bits // 8)
        line: Background[tuple[int, Pixels]] = Background(write, name="steps", threads=2, waiting=room)
        try:
            for stretch in stretches(wanted):
                frames = self._pass(stage, source, stretch.start)
                for index, pixels in zip(stretch, frames, strict=False):
                    line.put((index, pixels))
                    done += 1
                    self.tell(StepFrame(done, total))
                    if self.stop() and done < total:
                        line.close()
                        return False
        except BaseException:
            line.abandon(AT_THE_END)
            raise
        line.close()
        return True

    def _pass(self, stage: Stage, source: Source, start: int) -> Iterator[Pixels]:
        """Yield the outputs of a stage from `start` on, as levels."""
        from deforum.pixels.image import quantized, to_bytes
        from deforum.post.at import At, Open

        bits = PICTURES[_format_of(stage, self.material.bits)].bits if not stage.is_film else self.material.bits
        begin, firsts = beginning(stage, start)
        if not stage.steps:
            yield from source.read(start)
            return
        images: Iterator[Image] = (_image(pixels, self.device) for pixels in source.read(begin))
        at = begin
        for step, reel, first in zip(stage.steps, stage.reels, firsts, strict=True):
            opened: Open = find_function(kind_of(step).open)
            images = opened(step, images, At(reel, at, self.device, self.models, self.material.settings.seed))
            at = first
        for image in islice(images, start - at, None):
            yield to_bytes(image) if bits == 8 else np.asarray(quantized(image, 16).cpu().numpy(), np.uint16)

    def _remove_others(self, place: _Place, ledger: Ledger) -> None:
        """Remove frames that a chain had before, and has no more."""
        known = {_frame_path(place, index, self.material.bits) for index in range(place.stage.gives.count)}
        for entry in list(ledger.entries.values()):
            if place.folder / entry.file not in known:
                (place.folder / entry.file).unlink(missing_ok=True)

    def _drop(self, place: _Place) -> None:
        """Delete the frames of a stage; what is made of them is there."""
        if not place.folder.is_dir():
            return
        shutil.rmtree(place.folder / FRAMES_FOLDER, ignore_errors=True)
        place.record = replace(place.record, frames_deleted=True, finished=True)
        place.record.write(place.folder)

    # --- films --------------------------------------------------------------------------------------------------------

    def _encoding(self, stage: Stage) -> Encoding:
        """Return how a film is encoded: by its own options, else by those of the run."""
        assert isinstance(stage.end, Film)
        settings, end = self.material.settings, stage.end
        usual = Outputs.of(replace(settings, skip_video_creation=False, add_soundtrack="None"))[0].films[0]
        if end.format is not None and end.format != usual.format:
            usual = Encoding(end.format)
        sound = self.material.sound
        with_sound = sound is not None and FORMATS[usual.format].audio and not stage.gives.sound.is_left_out
        if sound is not None and with_sound:
            sound = replace(sound, filters=filters_of(stage.gives.sound))
        return replace(
            usual, quality=usual.quality if end.quality is None else end.quality,
            preset=usual.preset if end.preset is None else end.preset, soundtrack=sound if with_sound else None,
        )  # fmt: skip

    def _check_films(self, stages: Sequence[Stage]) -> None:
        problems: list[Problem] = []
        for stage in stages:
            if stage.is_film:
                encoding, gives = self._encoding(stage), stage.gives
                try:
                    probe(encoding.format, gives.width, gives.height, gives.rate, quality=encoding.quality,
                          preset=encoding.preset)  # fmt: skip
                except UserError as error:
                    problems += error.problems
        refuse(problems)

    def _film_path(self, place: _Place) -> Path:
        """Return the path of a film: `sea_upscale2.mp4`, or what was given."""
        material, suffix = self.material, FORMATS[self._encoding(place.stage).format].suffix
        given, last = material.films_in, [each for each in self.places if each.stage.is_film][-1]
        if given is not None and given.suffix and not given.is_dir():
            if place is last:
                return given.with_suffix(suffix)
            given = given.parent
        name = f"{material.name}_{_film_words(place.folder)}{suffix}"
        if place.record.film is not None and place.record.film.file.endswith(suffix) and given is None:
            name = place.record.film.file
        return (given or material.home) / name

    def _chapters(self, stage: Stage) -> list[Chapter]:
        """Return the chapters of a stage's film: longer and later than those of the frames that it is made of."""
        steps = [step for step in stage.made_by if kind_of(step).open]
        found = [(frame_behind(steps, self.material.reel, each.frame), each.title) for each in self.material.chapters]
        return [Chapter(0 if not number else frame, title) for number, (frame, title) in enumerate(found)]

    def _film(self, place: _Place) -> bool:
        """Make the film of a stage, unless it is there; False for a stop."""
        stage, path = place.stage, self._film_path(place)
        encoding = self._encoding(stage)
        sound = encoding.soundtrack
        heard = "" if sound is None else f"{sound.path} {sound.path.stat().st_mtime_ns} {sound.start} {sound.filters}"
        chapters = self._chapters(stage)
        marks = [repr(chapters)] if chapters else []
        recipe = digest(repr(replace(encoding, soundtrack=None)), heard, str(stage.gives.rate), *place.recipes, *marks)
        is_home = path.parent == self.material.home
        if is_home and place.record.recipe == recipe and film_is_whole(path.parent, place.record.film):
            return True
        if path.exists() and not (is_home and place.record.film is not None) and not self.overwrite:
            raise UserError(f"{path}: already exists; choose another one with -o, or add --overwrite")
        source = self._source(stage)
        if source is None:
            return False
        gives, done = stage.gives, 0
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, path) from error
        self.tell(StepBegun(stage.words, path, gives.count))
        unfinished = path.with_name(f"{path.stem}.step{path.suffix}")
        writer = VideoWriter(
            unfinished, gives.width, gives.height, gives.rate, format=encoding.format, quality=encoding.quality,
            preset=encoding.preset, soundtrack=sound, comment=self.material.comment, chapters=chapters,
        )  # fmt: skip
        try:
            with writer:
                for pixels in islice(self._pass(stage, source, 0), gives.count):
                    writer.write(pixels)
                    done += 1
                    self.tell(StepFrame(done, gives.count))
                    if self.stop() and done < gives.count:
                        writer.discard()
                        return False
        except BaseException:
            for left in (unfinished, writer.working_path):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
            raise
        unfinished.replace(path)
        film = FilmFile(path.name, path.stat().st_size, sha256_of(path)) if is_home else None
        place.record = replace(place.record, recipe=recipe, film=film, finished=True)
        place.record.write(place.folder)
        return True


def _film_words(folder: Path) -> str:
    """Return the part of a film's name that tells its steps."""
    return folder.name.replace("_film", "")


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _format_of(stage: Stage, bits: int) -> str:
    if isinstance(stage.end, Frames):
        return stage.end.format
    return "png16" if bits == 16 else "png"


def _frame_path(place: _Place, index: int, bits: int) -> Path:
    return place.folder / FRAMES_FOLDER / f"{index:09}{PICTURES[_format_of(place.stage, bits)].suffix}"


def _image(pixels: Pixels, device: Device) -> Image:
    from deforum.pixels.image import from_array, from_bytes

    if pixels.dtype == np.uint8:
        return from_bytes(np.asarray(pixels, np.uint8), device)
    return from_array(pixels.astype(np.float32) * np.float32(1 / 65535), device)


def _digest_of_files(stage: Stage) -> str:
    """Return a digest of the files that the options of a stage name; "" where they name none."""
    named = [
        (getattr(step, name), declaration)
        for step in stage.steps
        for name, declaration in kind_of(step).declared.items()
        if declaration.path
    ]
    paths = [Path(text) for text, declaration in named if text and text not in declaration.words]
    there = [path for path in paths if path.is_file()]
    return digest(*map(sha256_of, there)) if there else ""
