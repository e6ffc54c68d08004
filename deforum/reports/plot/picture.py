"""Plots as a picture, PNG: what the page shows of all frames at once. Drawn by Pillow, so that no browser is needed."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import floor, log10
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.reports.plot.theme import HUES, SECTION_HUES, THEMES, TINT, Theme, mix
from deforum.reports.plot.timeline import Curve, Plot, Prompts, Soundtrack, Track
from schedules.quoting import printable

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SOFTWARE = "deforum plot"
"""What the file says of its program, by which a plot is known."""
WIDTH = 1400
"""px of the layout."""
SCALE = 2
"""px of the picture to a px of the layout."""
FINER = 2
"""Curves are drawn so many times larger, then made smaller, for smooth edges."""
MARGIN, LABEL, GUTTER, PAD = 28.0, 280.0, 50.0, 8.0
CURVE, RUN, BAND, SOUND, SECTION = 60.0, 26.0, 38.0, 64.0, 42.0
"""Heights of lanes."""
SECTIONS = 22.0
"""Height of the sections of a sound."""
LEFT, RIGHT = MARGIN + LABEL, WIDTH - MARGIN

Point = tuple[float, float]
Points = Sequence[Point]
Place = Callable[[float], float]
"""The y of a value, in px."""


def draw_picture(plots: Sequence[Plot], theme: Theme = "light", font: str = "") -> bytes:
    """Return a PNG of one plot, or of several laid over each other, 2800 px wide.

    `font`: a file for the letters; "": a plain font, for other than Latin letters one of the system's (`FALLBACKS`).
    Raises UserError for a font that cannot be read.
    """
    from PIL.PngImagePlugin import PngInfo

    lanes = list(_lanes(plots))
    top = 30.0 + 46 * len(plots) + 14
    height = top + 34 + sum(lane.height for lane in lanes) + 56
    sheet = Sheet.of(height, theme, font, max(plot.num_frames for plot in plots))
    _head(sheet, plots)
    _ruler(sheet, top, plots[0].fps)
    y = top + 34
    for lane in lanes:
        lane.draw(sheet, y)
        sheet.line([(MARGIN, y + lane.height), (RIGHT, y + lane.height)], "line")
        y += lane.height
    sheet.fade(top + 34, y, min(plot.first for plot in plots))
    _legend(sheet, y + 22, has_beats=any(plot.sound and plot.sound.beats for plot in plots))
    out, info = io.BytesIO(), PngInfo()
    info.add_text("Software", SOFTWARE)
    sheet.image.save(out, "PNG", pnginfo=info, compress_level=6)
    return out.getvalue()


# --- a sheet to draw on -----------------------------------------------------------------------------------------------


FALLBACKS = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "Arial Unicode.ttf", "YuGothR.ttc", "msyh.ttc",
    "DejaVuSans.ttf",
)  # fmt: skip
"""Files of fonts with many letters, on Linux, macOS and Windows, that are looked for in the folders of the system."""
_LATIN = re.compile(r"[\x20-\u024f\u2010-\u2026\u2212]*")


@cache
def _font(size: float, path: str, is_latin: bool) -> FreeTypeFont:
    """Load a font. Raises UserError where `path` is none."""
    from PIL import ImageFont

    if path:
        try:
            return ImageFont.truetype(path, size)
        except OSError:
            what = "no font that can be read; expected a TrueType or OpenType file"
            raise UserError(f"{path}: {what}") from None
    if not is_latin:
        for name in FALLBACKS:
            with contextlib.suppress(OSError):
                return ImageFont.truetype(name, size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@dataclass
class Sheet:
    """A picture that is drawn on in px of the layout; colours are names of the theme, or #rrggbb."""

    image: Image
    theme: Theme
    font: str
    frames: int

    @staticmethod
    def of(height: float, theme: Theme, font: str, frames: int) -> Sheet:
        from PIL import Image as Drawing

        size = (WIDTH * SCALE, round(height * SCALE))
        return Sheet(Drawing.new("RGB", size, THEMES[theme]["bg"]), theme, font, frames)

    def color(self, name: str) -> str:
        return name if name.startswith("#") else THEMES[self.theme][name]

    def tint(self, hue: str) -> str:
        return mix(self.color(hue), self.color("bg"), TINT[self.theme])

    def x(self, frame: float) -> float:
        """Return the left edge of a frame; its centre is that of frame + 0.5."""
        return LEFT + frame / self.frames * (RIGHT - LEFT)

    def text(
        self, x: float, y: float, text: str, size: float = 13, color: str = "ink", anchor: str = "ls", room: float = 1e6
    ) -> float:
        """Write one line, cut where it is wider than `room`; return its width. Letters stand on `y`."""
        from PIL import ImageDraw

        line = printable(" ".join(text.split()))
        font = _font(size * SCALE, self.font, _LATIN.fullmatch(line) is not None)
        while line and font.getlength(line) > room * SCALE:
            line = line.removesuffix("…")[: -max(1, len(line) // 12)].rstrip() + "…"
            if line == "…":
                return 0.0
        ImageDraw.Draw(self.image).text((x * SCALE, y * SCALE), line, fill=self.color(color), font=font, anchor=anchor)
        return float(font.getlength(line)) / SCALE

    def box(self, left: float, top: float, right: float, bottom: float, color: str, radius: float = 0) -> None:
        from PIL import ImageDraw

        corners = [round(each * SCALE) for each in (left, top, right, bottom)]
        corners[2:] = max(corners[2] - 1, corners[0]), max(corners[3] - 1, corners[1])
        ImageDraw.Draw(self.image).rounded_rectangle(corners, radius * SCALE, self.color(color))

    def line(self, points: Points, color: str, width: float = 1.0) -> None:
        from PIL import ImageDraw

        ImageDraw.Draw(self.image).line(
            [(x * SCALE, y * SCALE) for x, y in points], self.color(color), max(round(width * SCALE), 1)
        )

    def dashed(self, points: Points, color: str) -> None:
        """Draw a horizontal or vertical line in dashes."""
        (x0, y0), (x1, y1) = points
        length = max(x1 - x0, y1 - y0)
        for start in np.arange(0, length, 5.0):
            a, b = start / length, min(start + 2, length) / length
            self.line([(x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))], color)

    def fade(self, top: float, bottom: float, first: int) -> None:
        """Fade the frames before `first`, which are not rendered."""
        from PIL import Image as Drawing

        if first > 0:
            left, right = round((LEFT - 6) * SCALE), round(self.x(first) * SCALE)
            corners = left, round(top * SCALE), right, round(bottom * SCALE)
            part = self.image.crop(corners)
            self.image.paste(Drawing.blend(part, Drawing.new("RGB", part.size, self.color("bg")), 0.65), corners)

    def smooth(self, top: float, height: float) -> Smooth:
        """Return a place to draw smooth shapes on, from LEFT - PAD to RIGHT + PAD."""
        return Smooth(self, top, height)


@dataclass(frozen=True)
class Smooth:
    """A part of a sheet where shapes have smooth edges."""

    sheet: Sheet
    top: float
    height: float

    def polygon(self, points: Points, color: str, opacity: float = 1.0) -> None:
        self._shape([points], color, opacity, None)

    def polygons(self, shapes: Iterable[Points], color: str) -> None:
        self._shape(shapes, color, 1.0, None)

    def curve(self, points: Points, color: str, width: float) -> None:
        self._shape([points], color, 1.0, width)

    def _shape(self, shapes: Iterable[Points], color: str, opacity: float, width: float | None) -> None:
        from PIL import Image as Drawing
        from PIL import ImageDraw

        by = SCALE * FINER
        size = (round((RIGHT - LEFT + 2 * PAD) * by), round(self.height * by))
        mask = Drawing.new("L", size)
        draw = ImageDraw.Draw(mask)
        for points in shapes:
            moved = [((x - LEFT + PAD) * by, (y - self.top) * by) for x, y in points]
            if width is None:
                draw.polygon(moved, fill=round(255 * opacity))
            else:
                draw.line(moved, 255, round(width * by), joint="curve")
        if not mask.getbbox():
            return
        corner = round((LEFT - PAD) * SCALE), round(self.top * SCALE)
        self.sheet.image.paste(self.sheet.color(color), corner, mask.reduce(FINER))


# --- lanes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lane:
    """A row of the picture."""

    height: float

    def draw(self, sheet: Sheet, y: float) -> None:
        """Draw the row, from `y` down."""
        raise NotImplementedError


def _lanes(plots: Sequence[Plot]) -> Iterator[Lane]:
    many = len(plots) > 1
    for plot in plots:
        suffix = f" · {plot.title}" if many else ""
        yield PromptLane(BAND, f"prompt{suffix}", plot.prompts, plot.num_frames)
        if plot.seeds:
            ranks = {seed: rank for rank, seed in enumerate(dict.fromkeys(plot.seeds))}
            runs = [(frame, str(seed), ranks[seed]) for frame, seed in zip(plot.painted, plot.seeds, strict=True)]
            yield RunLane(RUN, f"seed{suffix}", runs, plot.num_frames)
        yield PaintedLane(RUN, f"painted{suffix}", plot)
    rows: dict[str, list[tuple[int, Curve | Track]]] = {}
    for index, plot in enumerate(plots):
        for row in plot.rows:
            rows.setdefault(row.name, []).append((index, row))
    sections = list(dict.fromkeys(row.section for plot in plots for row in plot.rows))
    for section in sections:
        yield SectionLane(SECTION, section.replace("_", " ") or "general")
        for same in rows.values():
            if same[0][1].section != section:
                continue
            curves = [(index, row) for index, row in same if isinstance(row, Curve)]
            if curves:
                yield CurveLane(CURVE, curves, plots)
            for index, row in same:
                if isinstance(row, Track):
                    words = [(frame, text, sum(text.encode("utf-8", "replace"))) for frame, text in row.texts.runs()]
                    name = f"{row.name} · {plots[index].title}" if many else row.name
                    yield RunLane(RUN, name, words, plots[index].num_frames)
    if any(plot.sound for plot in plots) and "sound" not in sections:
        yield SectionLane(SECTION, "sound")
    for plot in plots:
        if plot.sound is not None:
            yield SoundLane(SOUND + (SECTIONS if plot.sound.sections else 0), plot.sound)


@dataclass(frozen=True)
class SectionLane(Lane):
    name: str

    def draw(self, sheet: Sheet, y: float) -> None:
        sheet.text(MARGIN, y + self.height - 9, self.name.upper(), 11, "muted")


@dataclass(frozen=True)
class PromptLane(Lane):
    name: str
    prompts: Prompts
    frames: int

    def draw(self, sheet: Sheet, y: float) -> None:
        sheet.text(MARGIN, y + 24, self.name, room=LABEL - 18)
        bands = self.prompts.bands
        ends = [*(band.first for band in bands[1:]), self.frames]
        for number, (band, end) in enumerate(zip(bands, ends, strict=True)):
            left, right = sheet.x(band.first), sheet.x(min(end, self.frames))
            if band.first >= self.frames or right - left < 0.5:
                continue
            hue, following = HUES[number % len(HUES)], HUES[(number + 1) % len(HUES)]
            if self.prompts.blend and number + 1 < len(bands):
                whole = sheet.x(end) - left
                for x in np.arange(left, right, 1 / SCALE):
                    share = (x - left) / whole
                    sheet.box(x, y + 6, x + 1 / SCALE, y + 32, mix(sheet.tint(following), sheet.tint(hue), share))
            else:
                sheet.box(left, y + 6, right, y + 32, sheet.tint(hue), 3)
            if right - left >= 8:
                sheet.box(left, y + 6, left + 2, y + 32, hue)
            sheet.text(left + 10, y + 23, band.positive or "(no prompt)", 12, room=right - left - 16)


@dataclass(frozen=True)
class RunLane(Lane):
    """Texts or numbers that are held: (first frame, text, number of its colour)."""

    name: str
    runs: Sequence[tuple[int, str, int]]
    frames: int

    def draw(self, sheet: Sheet, y: float) -> None:
        sheet.text(MARGIN, y + 17, self.name, room=LABEL - 18)
        edge = 0.0
        for (first, text, rank), end in zip(self.runs, [*(run[0] for run in self.runs[1:]), self.frames], strict=True):
            left, right = sheet.x(first), sheet.x(end)
            if right - edge < 0.5:
                continue
            gap = 1 if right - left > 6 else 0
            hue = HUES[(rank + 3 * (rank // len(HUES))) % len(HUES)]
            sheet.box(left, y + 4, right - gap, y + 22, sheet.tint(hue))
            edge = right
            if right - left > 24:
                sheet.text(left + 6, y + 17, text or "–", 11, room=right - left - 10)


@dataclass(frozen=True)
class PaintedLane(Lane):
    name: str
    plot: Plot

    def draw(self, sheet: Sheet, y: float) -> None:
        sheet.text(MARGIN, y + 17, self.name, room=LABEL - 170)
        sheet.text(LEFT - 18, y + 17, pace_words(self.plot), 12, "muted", "rs")
        step = (RIGHT - LEFT) / sheet.frames
        if step * self.plot.num_frames / len(self.plot.painted) < 3:
            color = mix(sheet.color("paint"), sheet.color("bg"), 0.45)
            sheet.box(LEFT, y + 10, sheet.x(self.plot.num_frames), y + 16, color)
            return
        wide = min(max(step - 1, 1.5), 7.0)
        for frame in self.plot.painted:
            centre = sheet.x(frame + 0.5)
            sheet.box(centre - wide / 2, y + 9, centre + wide / 2, y + 17, "paint")


@dataclass(frozen=True)
class CurveLane(Lane):
    """A curve, or those of several files."""

    rows: Sequence[tuple[int, Curve]]
    plots: Sequence[Plot]

    def draw(self, sheet: Sheet, y: float) -> None:
        _, first = self.rows[0]
        room = LABEL - GUTTER - 12
        sheet.text(MARGIN, y + 27, first.name, room=room)
        unit = f"without effect: {first.idle}" if first.idle else first.unit
        sheet.text(MARGIN, y + 43, unit, 11, "muted", room=room)
        low = min(float(row.values.min()) for _, row in self.rows)
        high = max(float(row.values.max()) for _, row in self.rows)
        span = high - low

        def at(value: float) -> float:
            return y + (PAD + (high - value) / span * (self.height - 2 * PAD) if span else self.height / 2)

        for value in (high, low) if span else (low,):
            sheet.text(LEFT - 7, at(value), brief(value, span), 10, "muted", "rm")
        guides(sheet, self.plots, y, self.height)
        if low < 0 < high:
            sheet.dashed([(LEFT, at(0)), (RIGHT, at(0))], "strong")
        smooth = sheet.smooth(y, self.height)
        for index, row in self.rows:
            hue = HUES[index % len(HUES)] if len(self.plots) > 1 else SECTION_HUES.get(row.section, "blue")
            points = line_of(row.values, sheet, at)
            if len(self.plots) == 1:
                base = at(0) if low <= 0 <= high and span else y + self.height - PAD / 2
                smooth.polygon([*points, (points[-1][0], base), (points[0][0], base)], hue, 0.1)
            smooth.curve(points, hue, 1.6)
            self._marks(sheet, smooth, row, hue, at)

    def _marks(self, sheet: Sheet, smooth: Smooth, row: Curve, hue: str, at: Place) -> None:
        marks = [mark for mark in row.marks if mark.frame < len(row.values)]
        xs = [-99.0, *(sheet.x(mark.frame + 0.5) for mark in marks), 1e6]
        numbers: list[Point] = []
        expressions: list[Point] = []
        crowded: list[Point] = []
        drawn = -99.0
        for mark, (before, x, following) in zip(marks, zip(xs, xs[1:], xs[2:], strict=False), strict=True):
            if x - drawn < 2:
                continue
            drawn, is_crowded = x, min(x - before, following - x) < 10
            kind = crowded if is_crowded else expressions if mark.is_expression else numbers
            kind.append((x, at(float(row.values[mark.frame]))))
        smooth.polygons([diamond(*place, 2.8) for place in crowded], hue)
        smooth.polygons([circle(*place, 4.3) for place in expressions], hue)
        smooth.polygons([circle(*place, 2.7) for place in expressions], "bg")
        smooth.polygons([diamond(*place, 5.2) for place in numbers], "bg")
        smooth.polygons([diamond(*place, 4.3) for place in numbers], hue)


@dataclass(frozen=True)
class SoundLane(Lane):
    sound: Soundtrack

    def draw(self, sheet: Sheet, y: float) -> None:
        sound = self.sound
        sheet.text(MARGIN, y + 27, sound.name or "sound", room=LABEL - 18)
        sheet.text(MARGIN, y + 43, sound_words(sound), 11, "muted")
        ends = [*(first for first, _ in sound.sections[1:]), sound.last]
        for (first, name), end in zip(sound.sections, ends, strict=True):
            left, right = sheet.x(max(first, 0.0)), sheet.x(min(end, sheet.frames))
            if right > left:
                sheet.box(left, y + 4, right - 1, y + 20, sheet.tint(HUES[sum(name.encode()) % len(HUES)]))
                sheet.text(left + 6, y + 16, name, 11, room=right - left - 10)
        top = y + (SECTIONS if sound.sections else 0)
        for places, share in ((sound.beats, 0.3), (sound.bars, 0.8)):
            color = mix(sheet.color("pink"), sheet.color("bg"), share)
            for place in places:
                if 0 <= place < sheet.frames:
                    sheet.line([(sheet.x(place), top), (sheet.x(place), y + self.height)], color, 0.5)
        self._wave(sheet, top, y + self.height - top)

    def _wave(self, sheet: Sheet, y: float, height: float) -> None:
        sound, middle, scale = self.sound, y + height / 2, height / 2 - 4
        frames = np.linspace(sound.first, sound.last, len(sound.low))
        inside = (frames >= 0) & (frames <= sheet.frames)
        step = max(1, int(inside.sum() / ((RIGHT - LEFT) * SCALE)))
        xs = [sheet.x(frame) for frame in frames[inside][::step]]
        if len(xs) < 2:
            return
        starts = np.arange(0, int(inside.sum()), step)
        tops = np.maximum.reduceat(sound.high[inside], starts)
        bottoms = np.minimum.reduceat(sound.low[inside], starts)
        outline = [(x, middle - float(top) * scale) for x, top in zip(xs, tops, strict=True)]
        under = [(x, middle - float(low) * scale + 0.5) for x, low in zip(xs, bottoms, strict=True)]
        sheet.smooth(y, height).polygon([*outline, *reversed(under)], "pink", 0.6)


# --- parts ------------------------------------------------------------------------------------------------------------


def line_of(values: NDArray[np.float64], sheet: Sheet, at: Place) -> list[Point]:
    """Return the line through a curve; where many frames share a px, it goes through their extremes."""
    count, room = len(values), round((RIGHT - LEFT) * SCALE)
    if count == 1:
        return [(LEFT, at(float(values[0]))), (RIGHT, at(float(values[0])))]
    indices = np.arange(count)
    if count > 2 * room:
        parts = [part for part in np.array_split(indices, room) if len(part)]
        pairs = [sorted({int(part[values[part].argmin()]), int(part[values[part].argmax()])}) for part in parts]
        indices = np.asarray(sorted({0, count - 1, *(i for pair in pairs for i in pair)}))
    return [(sheet.x(i + 0.5), at(float(values[i]))) for i in indices]


def brief(value: float, span: float) -> str:
    """Write a number of an axis, in steps of a hundredth to a thousandth of `span`."""
    if not span:
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    rounded = round(value, min(max(2 - floor(log10(span)), 0), 12))
    return str(int(rounded)) if rounded.is_integer() else repr(rounded)


def duration(seconds: float) -> str:
    """Write a time: 3.33 s or 4:05."""
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest:05.2f}".removesuffix(".00")


def frames_words(plot: Plot) -> str:
    """Return how many frames there are, or which ones are rendered."""
    if plot.first:
        return f"frames {plot.first} to {plot.num_frames - 1}"
    return f"{plot.num_frames} frames" if plot.num_frames > 1 else "1 frame"


def pace_words(plot: Plot) -> str:
    """Return which frames are painted."""
    match plot.cadence:
        case 0:
            return f"{len(plot.painted)} frames painted"
        case 1:
            return "every frame painted"
        case cadence:
            return f"painted every {cadence} frames"


def sound_words(sound: Soundtrack) -> str:
    """Return what is said of a sound: its tempo and number of beats."""
    return f"{sound.bpm:.4g} bpm · {len(sound.beats)} beats" if sound.beats else "no beats"


def diamond(x: float, y: float, size: float) -> Points:
    return [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]


def circle(x: float, y: float, radius: float) -> Points:
    turns = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return [(x + radius * float(np.cos(turn)), y + radius * float(np.sin(turn))) for turn in turns]


def guides(sheet: Sheet, plots: Sequence[Plot], y: float, height: float) -> None:
    """Draw what runs through all lanes: beats, and where prompts begin."""
    for plot in plots:
        edge = -9.0
        for beat in plot.sound.beats if plot.sound else ():
            x = sheet.x(beat)
            if 0 <= beat < sheet.frames and x - edge >= 3:
                sheet.line([(x, y), (x, y + height)], mix(sheet.color("pink"), sheet.color("bg"), 0.25), 0.5)
                edge = x
        edge = -9.0
        for band in plot.prompts.bands[1:]:
            x = sheet.x(band.first)
            if band.first < plot.num_frames and x - edge >= 8:
                sheet.dashed([(x, y), (x, y + height)], "strong")
                edge = x


def _head(sheet: Sheet, plots: Sequence[Plot]) -> None:
    for number, plot in enumerate(plots):
        y, left = 30.0 + 46 * number, MARGIN
        if len(plots) > 1:
            sheet.box(left, y + 3, left + 12, y + 15, HUES[number % len(HUES)], 3)
            left += 20
        sheet.text(left, y + 16, plot.title or "Timeline", 20, room=RIGHT - left)
        facts = [
            frames_words(plot),
            f"{plot.fps:g} fps",
            duration((plot.num_frames - plot.first) / plot.fps),
            plot.mode,
            "×".join(map(str, plot.size)) if plot.size else "",
            pace_words(plot),
            f"seed drawn (shown: {plot.seed})" if plot.is_seed_drawn else f"seed {plot.seed}",
        ]
        sheet.text(left, y + 36, "  ·  ".join(filter(None, facts)), 13, "muted")


def _ruler(sheet: Sheet, top: float, fps: float) -> None:
    rough = sheet.frames / ((RIGHT - LEFT) / 84)
    power = 10 ** int(np.floor(np.log10(max(rough, 1))))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    for frame in range(0, sheet.frames, step):
        x = sheet.x(frame + 0.5)
        sheet.line([(x, top + 20), (x, top + 34)], "strong")
        if x + 40 < RIGHT:
            sheet.text(x + 4, top + 14, str(frame), 11)
            sheet.text(x + 4, top + 29, duration(frame / fps), 9.5, "muted")
    sheet.line([(MARGIN, top + 34), (RIGHT, top + 34)], "strong")


def _legend(sheet: Sheet, y: float, *, has_beats: bool) -> None:
    x = LEFT
    smooth = sheet.smooth(y - 12, 24)
    kinds = {"number": "keyframe", "expression": "keyframe with an expression", "painted": "painted frame",
             "cut": "a prompt begins", **({"beat": "beat"} if has_beats else {})}  # fmt: skip
    for kind, words in kinds.items():
        match kind:
            case "number":
                smooth.polygon(diamond(x + 4, y, 4.3), "blue")
            case "expression":
                smooth.polygon(circle(x + 4, y, 4.3), "blue")
                smooth.polygon(circle(x + 4, y, 2.7), "bg")
            case "painted":
                sheet.box(x + 2, y - 4, x + 6, y + 5, "paint")
            case "beat":
                sheet.line([(x + 4, y - 6), (x + 4, y + 6)], mix(sheet.color("pink"), sheet.color("bg"), 0.5))
            case _:
                sheet.dashed([(x + 4, y - 6), (x + 4, y + 7)], "muted")
        x += 14 + sheet.text(x + 14, y + 4, words, 12, "muted") + 20
