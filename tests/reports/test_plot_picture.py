"""The picture of a plot: its size, its colours, and where the curves are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deforum.loading import load
from deforum.reports.plot.picture import LEFT, RIGHT, SCALE, brief, draw_picture, duration
from deforum.reports.plot.theme import HUES, THEMES, Theme
from deforum.reports.plot.timeline import Plot, Soundtrack, plot_of
from deforum.reports.tabulate import look


def plot(folder: Path, text: str, *names: str, sound: Soundtrack | None = None) -> Plot:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    settings = load(folder / "a.yaml", to_render=False).settings
    return plot_of(settings, look(settings), names, title="a.yaml", sound=sound)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(picture: np.ndarray, color: str) -> np.ndarray:
    """Return where a picture has a colour: (H, W)."""
    return np.abs(picture - np.asarray(list(bytes.fromhex(color[1:])))).max(axis=2) < 24


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_curve_is_where_its_values_are(tmp_path: Path, theme: Theme) -> None:
    found = plot(tmp_path, "max_frames: 100\nseed: 1\ncadence: 1\nangle: '0: (0), 99: (9)'\n", "angle")
    picture = pixels(draw_picture([found], theme))
    assert picture.shape[1] == 2800
    assert tuple(picture[2, 2]) == tuple(bytes.fromhex(THEMES[theme]["bg"][1:]))
    blue = near(picture, THEMES[theme]["blue"])
    blue[: int(picture.shape[0] * 0.55)] = False  # the prompt's edge
    blue[-100:] = False  # the legend

    def height(frame: float) -> float:
        x = round((LEFT + (frame + 0.5) / 100 * (RIGHT - LEFT)) * SCALE)
        return float(np.flatnonzero(blue[:, x]).mean())

    quarter, half, most = height(25), height(50), height(75)
    assert half - most == pytest.approx(quarter - half, abs=1.5)
    assert quarter - half == pytest.approx(25 / 99 * 44 * SCALE, abs=1.5)


def test_several_plots_lie_over_each_other(tmp_path: Path) -> None:
    one = plot(tmp_path, "max_frames: 30\nseed: 1\nangle: t\n")
    other = plot(tmp_path, "max_frames: 60\nseed: 1\nangle: 9-t/9\n")
    picture = pixels(draw_picture([one, other]))
    assert all(near(picture, THEMES["light"][hue]).sum() > 1000 for hue in HUES[:2])


@pytest.mark.parametrize(
    "text",
    [
        "max_frames: 1\nseed: 1\n",
        "max_frames: 30\nseed: 1\nprompts: {0: '', 3: '\u202e \u65e5\u672c', 9: \"a\\nb\"}\nprompt_blend: linear\n",
        "max_frames: 9000\nseed: -1\nseed_behavior: random\nangle: sin(t)\nsampler: '0: (Euler a), 9: (DDIM)'\n",
    ],
)
def test_runs_of_all_kinds_can_be_drawn(tmp_path: Path, text: str) -> None:
    assert pixels(draw_picture([plot(tmp_path, text)])).std() > 1


def test_the_soundtrack_lies_beneath(tmp_path: Path) -> None:
    wave = np.abs(np.sin(np.arange(500) / 20))
    sound = Soundtrack("a.wav", 120, tuple(np.arange(0.0, 30.0, 7.5)), (0.0,), ((0.0, "A"),), -wave, wave, 0, 30)
    text = "max_frames: 30\nseed: 1\nangle: t\n"
    silent, loud = (pixels(draw_picture([plot(tmp_path, text, sound=each)])) for each in (None, sound))
    assert loud.shape[0] == silent.shape[0] + (42 + 64 + 22) * SCALE
    pink = np.asarray(list(bytes.fromhex(THEMES["light"]["pink"][1:])))
    tinted = np.abs(loud - (0.6 * pink + 0.4 * 255)).max(axis=2) < 4
    assert tinted.sum() > 20_000


@pytest.mark.parametrize(
    ("value", "span", "text"),
    [
        (3.99997, 8.0, "4"),
        (50.0004, 20.0, "50"),
        (200.3512, 0.7, "200.351"),
        (0.0253, 0.01, "0.0253"),
        (1.21e-6, 0.008, "0"),
        (-1e-9, 2.0, "0"),
        (7.0, 0.0, "7"),
        (0.1234567, 0.0, "0.123457"),
        (-1e6, 1.0, "-1000000"),
    ],
)
def test_numbers_of_axes(value: float, span: float, text: str) -> None:
    assert brief(value, span) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (3.3333, "3.33 s"), (59.5, "59.5 s"), (245.0, "4:05"), (6666.67, "1:51:06.67")]
)
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text
