"""A settings file for a song: shots on its sections, moves on its beats. It is meant to be edited."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deforum.audio import RATE, Section, Sound, hear
from deforum.errors import UserError
from deforum.features.audio import clock
from deforum.limits import FRAMES
from deforum.loading import load
from deforum.settings.options import Settings
from deforum.settings.read import find_declaration, find_setting
from deforum.settings.yaml_writer import write_value

FPS = 24
SCENES = (
    "the sea at sunset with a glowing sun",
    "snowy mountains with a calm lake, northern lights and stars",
    "a synthwave city skyline at night with neon lights",
    "an autumn forest with a path and sunbeams",
    "a galaxy with stars and a ringed planet",
    "a desert with dunes and a big moon at dusk",
    "a stormy sea with lightning and dark clouds",
    "a meadow with wildflowers on a clear day",
)
"""Prompts of sections, one for each letter; the embedded model knows their words."""


@dataclass(frozen=True)
class Energy:
    """How a section of a loudness moves."""

    word: str
    zoom: str
    angle: str
    strength: str


ENERGIES = (
    Energy("quiet", "1.003 + 0.012*beat", "0.25*sin(pi*bar_phase)", "0.64"),
    Energy("middle", "1.004 + 0.03*beat", "0.8*beat*where(bar_phase < 0.5, 1, -1)", "0.62 - 0.06*beat"),
    Energy("loud", "1.005 + 0.055*beat", "1.6*beat*where(bar_phase < 0.5, 1, -1)", "0.6 - 0.12*beat"),
)
"""From quiet to loud."""
STEADY = Energy("without a beat", "1.003 + 0.03*onset", "0.4*noise(sec)", "0.62 - 0.08*onset")
"""For a song in which no beat is heard."""
NEW_PICTURE = "0.25 step"
"""Strength of the two frames at which a section begins."""


def write_song(path: Path, overrides: Sequence[str], target: Path | None) -> str:
    """Return a settings file for a song, as YAML. Paths in it are relative to `target`, if they can be.

    `overrides` such as fps=30 or bpm=128 replace what it would say. Raises UserError.
    """
    sound = hear(path)
    settings = load({"audio": str(path.resolve()), "fps": FPS, "prompts": "a"}, overrides).settings
    seconds = sound.seconds - settings.audio_start
    count = max(int(seconds * settings.fps), 1)
    if count > FRAMES.most:
        raise UserError(f"{path}: at {settings.fps:g} fps, {FRAMES.of} {FRAMES.exceeded(count)}; try a lower fps")
    given = _given(overrides, settings)
    lines = list(_lines(sound, settings, count, _named_from(path, target), given))
    rest = [f"{name}: {value}" for name, value in given.items() if not any(_names(line) == name for line in lines)]
    return "\n".join([*lines, *(["", "# As given on the command line."] if rest else []), *rest]) + "\n"


def _given(overrides: Sequence[str], settings: Settings) -> Mapping[str, str]:
    """Return the values of overrides as YAML, by setting."""
    found: dict[str, str] = {}
    for override in overrides:
        declaration = find_setting(override.partition("=")[0].strip())
        if declaration is not None and hasattr(settings, declaration.name):
            found[declaration.name] = write_value(getattr(settings, declaration.name))
        elif declaration is not None and hasattr(settings.params, declaration.name):
            schedule = getattr(settings.params, declaration.name)
            found[declaration.name] = write_value(schedule)
    return found


def _names(line: str) -> str:
    return line.partition(":")[0].strip()


def _named_from(path: Path, target: Path | None) -> str:
    """Return how a file at `target` names the song: by a relative path where it lies beside or below it."""
    folder = Path.cwd() if target is None else target.resolve().parent
    whole = path.resolve()
    return os.path.relpath(whole, folder) if whole.is_relative_to(folder) else str(whole)


def _lines(sound: Sound, settings: Settings, count: int, named: str, given: Mapping[str, str]) -> Iterator[str]:
    has_beats = settings.bpm is not None or len(sound.beats) > 1
    heard = f"{sound.bpm:.1f} beats a minute" if len(sound.beats) > 1 else "no beat"
    sections = [each for each in sound.sections if each.end > settings.audio_start + 1 / settings.fps]
    yield f"# A film of {_plain(sound.path.name)}: {clock(sound.seconds)}, {heard}, {len(sections)} sections."
    yield "# Each section is a shot. Change what you like: beat(16), bar(8), section(2), 12.5s and frame numbers are"
    yield "# places, counted from 0; docs/audio.md says what beat, bass, onset and so on are."
    yield ""
    yield f"audio: {write_value(named)}"
    if has_beats and settings.bpm is None:
        yield f"# bpm: {sound.bpm:.1f}".ljust(44) + "# as it is heard; give half or double where that is wrong"
    for name, value, comment in (
        ("max_frames", str(count), f"all of it; 240 is the first {clock(240 / settings.fps)}"),
        ("fps", f"{settings.fps:g}", ""),
        ("seed", "7", ""),
        ("cadence", "2", "every second frame is painted, those between are moved"),
    ):
        yield _commented(f"{name}: {given.get(name, value)}", comment)
    kinds = [ENERGIES[level] if has_beats else STEADY for level in _levels(sound, sections)]
    letters = list(dict.fromkeys(each.label for each in sections))
    yield from _by_section("prompts", sections, [SCENES[letters.index(each.label) % len(SCENES)] for each in sections],
                           sound, settings, given)  # fmt: skip
    for name in ("zoom", "angle"):
        yield from _by_section(name, sections, [getattr(kind, name) for kind in kinds], sound, settings, given, kinds)
    if "strength" not in given:
        yield ""
        yield _commented("strength:", "share of the frame before that stays; a new picture where a section begins")
        for number, kind in enumerate(kinds):
            if number:
                yield f"  section({number}): {NEW_PICTURE}"
                yield f"  section({number})+2: {kind.strength}"
            else:
                yield f"  0: {kind.strength}"
    yield ""
    for name, value in (("steps", "20"), ("cfg_scale", "4"), ("sampler", "Euler a")):
        yield f"{name}: {given.get(name, value)}"


def _by_section(
    name: str, sections: Sequence[Section], values: Sequence[str], sound: Sound, settings: Settings,
    given: Mapping[str, str], kinds: Sequence[Energy] | None = None,
) -> Iterator[str]:  # fmt: skip
    """Yield the keyframes of a setting, one for each section, with time, letter and length in comments."""
    if name in given:
        return
    lines: list[str] = []
    comments: list[str] = []
    for number, (section, value) in enumerate(zip(sections, values, strict=True)):
        beats = int(((sound.beats >= section.start - 0.05) & (sound.beats < section.end - 0.05)).sum())
        length = f"{beats} beats" if beats else f"{section.end - section.start:.0f} s"
        what = kinds[number].word if kinds is not None else length
        begin = max(section.start - settings.audio_start, 0)
        lines.append(f"  {f'section({number})' if number else '0'}: {value}")
        comments.append(f"{clock(begin)} {section.label}, {what}")
    width = max(43, *map(len, lines))
    yield ""
    yield _commented(f"{name}:", find_declaration(name).unit, width)
    yield from (_commented(line, comment, width) for line, comment in zip(lines, comments, strict=True))


def _commented(line: str, comment: str, width: int = 43) -> str:
    return f"{line.ljust(width)} # {comment}" if comment else line


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _levels(sound: Sound, sections: Sequence[Section]) -> list[int]:
    """Return how loud each section is: 0 to 2, beside the loudest one."""
    level = sound.levels["amp"].astype(np.float64) ** 2
    loud = []
    for section in sections:
        first, last = int(section.start * RATE), max(int(section.end * RATE), int(section.start * RATE) + 1)
        loud.append(float(np.sqrt(level[first:last].mean())) if first < len(level) else 0.0)
    most = max(loud, default=0.0) or 1.0
    return [int(np.digitize(each / most, (0.55, 0.85))) for each in loud]
