"""The outputs of a run, read from settings: pictures, films, subtitles."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deforum.errors import Problem, UserError
from deforum.output.pictures import PICTURES
from deforum.output.subtitles import FRAME_FIELDS, subtitle_fields
from deforum.paths import to_path
from deforum.video.ffmpeg import VideoError, sound_cut_off, sound_seconds
from deforum.video.formats import FORMATS
from deforum.video.writer import Soundtrack, probe
from schedules.quoting import quote

if TYPE_CHECKING:
    from deforum.settings.options import Settings


SHORTEST_SILENCE = 0.2
"""Seconds of silence at the end of a film that are worth a note; codecs round the length of sound to their blocks."""


@dataclass(frozen=True)
class Film:
    """One video file of a run. `quality` and `preset` are the codec's; None: its default."""

    format: str = "h264"
    quality: int | None = None
    preset: str | None = None
    soundtrack: Soundtrack | None = None


@dataclass(frozen=True)
class Outputs:
    """The files that a run writes besides its settings. The first film is shown as the result."""

    picture: str = "png"
    films: tuple[Film, ...] = (Film(),)
    subtitles: tuple[str, ...] = ()
    """Fields of a frame shown in subtitles: seed, prompt, any parameter. Empty: no subtitles."""
    keep_frames: bool = True
    """False: frames are deleted once every film is complete, unless the run was stopped early."""
    is_resumable: bool = True
    """Whether the run keeps what it can be resumed from."""
    makes_films: bool = True
    """False: the films and subtitles are those of another run, to which the frames go."""
    from_pictures: bool = False
    """Whether films are made of the frames' files, although those show less."""

    @staticmethod
    def of(settings: Settings) -> tuple[Outputs, tuple[str, ...]]:
        """Read the outputs from settings; also return notes on settings without effect, one line each."""
        # crf is Deforum's setting, on the scale of h264 only.
        quality = settings.crf if settings.video_format == "h264" else settings.video_quality
        films = [Film(settings.video_format, quality, settings.video_preset, _soundtrack(settings))]
        if settings.make_gif and settings.video_format != "gif":
            films.append(Film("gif"))
        if settings.skip_video_creation:
            films = []
        notes: list[str] = []
        if settings.make_gif and settings.video_format == "gif" and films:
            notes.append("make_gif does nothing: the video is a GIF already")
        if settings.delete_imgs and not films:
            notes.append("delete_imgs does nothing: without a video the frames are all there is, so they are kept")
        outputs = Outputs(
            picture=settings.frame_format,
            films=tuple(films),
            subtitles=tuple(field for field in re.split(r"[,\s]+", settings.subtitles) if field),
            keep_frames=not (settings.delete_imgs and films),
            is_resumable=settings.checkpoint_every >= 0,
        )
        return outputs, tuple(notes)

    def sound_notes(self, seconds: float) -> list[str]:
        """Return a note where the sound ends before the film, which lasts `seconds`."""
        sound = next((film.soundtrack for film in self.films if film.soundtrack is not None), None)
        if sound is None:
            return []
        heard = sound_seconds(sound.path, sound.start, seconds)
        if heard > seconds - SHORTEST_SILENCE:
            return []
        return [f"add_soundtrack: the sound of {sound.path.name} lasts {heard:.1f} s and the film {seconds:.1f} s; the "
                "rest is silent"]  # fmt: skip

    def check(self, width: int, height: int, fps: float) -> None:
        """Encode one frame in every chosen format. Raises UserError with all problems, before anything renders."""
        problems: list[Problem] = []
        if self.picture not in PICTURES:
            problems.append(Problem(f"{self.picture!r} is no frame format; expected one of {', '.join(PICTURES)}"))
        for film in self.films:
            try:
                probe(film.format, width, height, fps, quality=film.quality, preset=film.preset)
                if film.soundtrack is not None:
                    film.soundtrack.check(film.format)
            except VideoError as error:
                problems += error.problems
        problems += [
            Problem(
                f"subtitles: a frame has no {quote(field)}; expected {', '.join(FRAME_FIELDS)} or the name of a "
                "parameter"
            )
            for field in self.subtitles
            if field not in subtitle_fields()
        ]
        if problems:
            raise UserError(problems)

    def cut_off(self) -> list[str]:
        """Return a note where the sound file is cut off."""
        sound = next((film.soundtrack for film in self.films if film.soundtrack is not None), None)
        missing = "" if sound is None else sound_cut_off(sound.path)
        return [f"add_soundtrack: {sound.path.name} {missing}"] if sound is not None and missing else []

    def beginning(self, seconds: float) -> Outputs:
        """Return the outputs of a stretch that begins so many seconds into the film: its sound begins there."""
        films = tuple(
            film if film.soundtrack is None or not seconds
            else replace(film, soundtrack=replace(film.soundtrack, start=film.soundtrack.start + seconds))
            for film in self.films
        )  # fmt: skip
        return replace(self, films=films)

    @property
    def bits(self) -> Literal[8, 16]:
        """Bits per channel of the frames to hand over: 16 if any output keeps more than 8."""
        deep = PICTURES[self.picture].bits == 16 or any(FORMATS[film.format].bits == 16 for film in self.films)
        return 16 if deep else 8

    @property
    def is_exact(self) -> bool:
        """Whether the frames' files have every detail that the films show."""
        picture = PICTURES[self.picture]
        return picture.is_exact and picture.bits >= self.bits

    @property
    def needs_copies(self) -> bool:
        """Whether exact copies of the frames are kept until the films are complete, so that a run can be resumed."""
        return self.is_resumable and bool(self.films) and not self.is_exact and not self.from_pictures


PLAIN = Outputs()
"""Frames as PNG, and one film."""


def _soundtrack(settings: Settings) -> Soundtrack | None:
    name = settings.sound_setting
    if not name:
        return None
    start = seconds_before(settings) if name == "video_init_path" else 0.0
    if settings.add_soundtrack == "auto":
        start += settings.audio_start
    return Soundtrack(to_path(getattr(settings, name)), start)


def seconds_before(settings: Settings) -> float:
    """Return when the clip's first used frame is shown, in seconds of its sound; 0 for a file without pictures."""
    from deforum.video import ClipError, video_init

    try:
        return video_init(settings).start
    except ClipError:
        return 0.0
