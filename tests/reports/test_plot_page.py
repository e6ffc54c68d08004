"""The page of a plot in a real browser: what it shows, how it is moved, and that strangers' texts stay texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from deforum.loading import load
from deforum.reports.plot.page import write_page
from deforum.reports.plot.theme import THEMES
from deforum.reports.plot.timeline import Soundtrack, plot_of
from deforum.reports.tabulate import as_json, look, tabulate
from tests.helpers.browser import DESK, PHONE, Watched, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXT = """\
max_frames: 120
fps: 12
seed: 7
animation_mode: 2D
cadence: 3
prompt_blend: linear
prompts: {0: a calm sea --neg fog, 60: "a storm (wind:`1+t/100`)", 90: night}
strength: "0: (0.5), 60: (0.95) ease-in-out, 119: (0.5)"
translation_x: "0: (4*sin(t/9))"
zoom: "0: (1.02), 40: (1.04) step, 80: (1)"
angle: 0
noise: "0.02+0.01*cos(t/5)"
sampler: "0: (Euler a), 50: (DDIM)"
"""

HOSTILE = (
    "</script><script>window.broken=1</script><img src=http://x.test/y onerror=window.broken=1>&lt;b&gt;\u202e\u2028"
)

Show = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Show:
    """Open the page of settings, written as YAML."""

    def show(*texts: str, **window: int | bool) -> AbstractContextManager[Watched]:
        plots = []
        for number, text in enumerate(texts or (TEXT,)):
            (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
            settings = load(tmp_path / f"{number}.yaml", to_render=False).settings
            plots.append(plot_of(settings, look(settings), title=f"film {number}"))
        page = tmp_path / "plot.html"
        page.write_text(write_page(plots), encoding="utf-8")
        return opened(browser, page.as_uri(), **window)  # type: ignore[arg-type]

    return show


def value(page: Page, lane: str) -> str:
    return page.inner_text(f'[data-name="{lane}"] .dp-value')


def frame(page: Page) -> int:
    return int(page.get_attribute(".dp-slider", "aria-valuenow") or -1)


def range_of(page: Page) -> tuple[int, int]:
    """Return the first and the last frame number that the ruler has."""
    numbers = [int(text) for text in page.locator(".dp-frame").all_text_contents()]
    return numbers[0], numbers[-1]


def settle(page: Page) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def x_of(page: Page, index: int, frames: int = 120) -> float:
    """Return where the centre of a frame is on the screen, while all frames are in view."""
    box = page.locator('[data-name="painted"] .dp-place').bounding_box()
    assert box is not None
    return box["x"] + box["width"] * (index + 0.5) / frames


@pytest.mark.parametrize(("width", "touch"), [(DESK, False), (PHONE, True)])
@pytest.mark.parametrize("dark", [False, True])
def test_what_is_shown(show: Show, width: int, touch: bool, dark: bool) -> None:
    with show(width=width, touch=touch, dark=dark) as watched:
        page = watched.page
        assert page.title() == "film 0"
        assert page.inner_text("h1") == "film 0"
        facts = page.locator(".dp-facts li").all_inner_texts()
        assert facts == ["120 frames", "12 fps", "10 s", "2D", "painted every 3 frames", "seed 7"]
        names = page.locator(".dp-lane").evaluate_all("all => all.map(each => each.dataset.name)")
        assert names == ["prompt", "seed", "painted", "zoom", "translation_x", "strength", "sampler", "noise"]
        assert page.locator(".dp-section").all_inner_texts() == ["MOTION", "DIFFUSION", "FEEDBACK"]
        assert page.inner_text('[data-name="translation_x"] .dp-unit') == "px/frame (3D: 1/200 scene unit)"
        assert page.locator(".dp-band").all_inner_texts() == ["a calm sea", "a storm (wind:`1+t/100`)", "night"]
        assert page.locator(".dp-run-text").all_text_contents()[-2:] == ["Euler a", "DDIM"]
        # Keyframes: a diamond for each number in the schedule, a circle for each expression.
        marks = page.get_attribute('[data-name="strength"] .dp-marks-number', "d") or ""
        assert marks.count("M") == 3
        assert page.locator('[data-name="translation_x"] .dp-marks-expression').count() == 1
        painted = page.get_attribute('[data-name="painted"] .dp-painted-mark', "d")
        assert painted is not None and painted.count("M") == 40
        # Nothing is wider than the window, and the colours are those of the reader's choice.
        assert page.evaluate("document.documentElement.scrollWidth") == width
        ground = page.evaluate("getComputedStyle(document.querySelector('.dp')).backgroundColor")
        assert ground == ("rgb(18, 21, 26)" if dark else "rgb(255, 255, 255)")
        beside = page.locator('[data-name="zoom"]').evaluate(
            "lane => lane.querySelector('.dp-place').offsetLeft > lane.querySelector('.dp-label').offsetLeft"
        )
        assert beside is (width == DESK), "labels stand above what is drawn on a phone"
        assert watched.requests == []


def test_hover_shows_what_values_prints(show: Show, tmp_path: Path) -> None:
    with show() as watched:
        page = watched.page
        settings = load(tmp_path / "0.yaml", to_render=False).settings
        names = ("zoom", "translation_x", "strength", "noise", "sampler", "seed", "diffused", "prompt")
        table = as_json(tabulate(settings, look(settings), names, range(120)))
        box = page.locator('[data-name="noise"] .dp-place').bounding_box()
        assert box is not None
        for index in (0, 1, 37, 59, 60, 75, 119):
            page.mouse.move(x_of(page, index), box["y"] + 20)
            assert frame(page) == index
            for name in ("zoom", "translation_x", "strength", "noise"):
                assert float(value(page, name)) == float(f"{table[name][index]:.6g}"), (name, index)
            assert page.inner_text(".dp-tip") == value(page, "noise")
            assert (value(page, "sampler"), value(page, "seed")) == (table["sampler"][index], str(table["seed"][index]))
            assert value(page, "painted") == ("painted" if table["diffused"][index] else "in-between")
            assert page.inner_text(".dp-positive") == table["prompt"][index]
            assert page.inner_text(".dp-read-frame") == f"Frame {index}"
        # The dot is on the curve: at the top for the greatest value.
        page.mouse.move(x_of(page, 60), box["y"] + 20)
        assert float(page.get_attribute('[data-name="strength"] .dp-dot', "cy") or 0) == 8


def test_keys(show: Show) -> None:
    with show() as watched:
        page = watched.page
        for key, expected in [
            ("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10), ("]", 40), ("]", 60), ("[", 40),
            (".", 42), (",", 39), ("End", 119), ("ArrowRight", 119), ("Home", 0), ("ArrowLeft", 0),
        ]:  # fmt: skip
            page.keyboard.press(key)
            assert frame(page) == expected, key
        assert page.get_attribute(".dp-slider", "aria-valuetext") == "frame 0, 0.00 s, painted"
        for _ in range(3):
            page.keyboard.press("+")
        settle(page)
        assert range_of(page) == (0, 14)
        page.keyboard.press("End")  # the view follows
        settle(page)
        assert range_of(page)[1] == 119 or range_of(page)[0] > 100
        page.keyboard.press("0")
        settle(page)
        assert range_of(page)[0] == 0
        page.keyboard.press("/")
        page.keyboard.type("tran")
        assert page.locator(".dp-curve:visible").count() == 1
        page.keyboard.press("Escape")
        assert page.locator(".dp-curve:visible").count() == 4
        page.focus('[data-name="zoom"] button')
        page.keyboard.press("Enter")
        assert page.inner_text('[data-name="zoom"] code') == "0: (1.02), 40: (1.04) step, 80: (1)"


def test_drag_and_wheel_zoom(show: Show) -> None:
    with show() as watched:
        page = watched.page
        box = page.locator('[data-name="zoom"] .dp-place').bounding_box()
        assert box is not None
        page.mouse.move(x_of(page, 40), box["y"] + 20)
        page.mouse.down()
        page.mouse.move(x_of(page, 60), box["y"] + 20, steps=3)
        assert page.locator(".dp-selection").is_visible()
        page.mouse.up()
        settle(page)
        assert range_of(page) == (40, 58)
        points = page.get_attribute('[data-name="zoom"] .dp-point', "d")
        assert points is not None, "every frame has its point where there is room"
        page.mouse.dblclick(box["x"] + 300, box["y"] + 20)
        settle(page)
        assert range_of(page) == (0, 110)
        page.keyboard.down("Control")
        page.mouse.wheel(0, -240)
        page.keyboard.up("Control")
        settle(page)
        assert range_of(page)[1] - range_of(page)[0] < 110
        page.click(".dp-fit")
        settle(page)
        assert range_of(page) == (0, 110)


def test_touch(show: Show) -> None:
    with show(width=PHONE, touch=True) as watched:
        page = watched.page
        box = page.locator('[data-name="zoom"] .dp-place').bounding_box()
        assert box is not None
        page.touchscreen.tap(x_of(page, 80), box["y"] + 20)
        assert (frame(page), value(page, "zoom")) == (80, "1")
        session = page.context.new_cdp_session(page)

        def fingers(kind: str, *xs: float) -> None:
            points = [{"x": x, "y": box["y"] + 20, "id": number} for number, x in enumerate(xs)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", 150, 250)
        fingers("touchMove", 100, 300)
        fingers("touchEnd")
        settle(page)
        first, last = range_of(page)
        assert 20 < first < last < 100


def test_several_files_lie_over_each_other(show: Show) -> None:
    other = "max_frames: 60\nfps: 12\nseed: 3\nzoom: 1\nprompts: {0: a hill}\nstrength: '0: (0.1), 59: (0.3)'\n"
    with show(TEXT, other) as watched:
        page = watched.page
        assert page.locator("h1").all_inner_texts() == ["film 0", "film 1"]
        for shape in (".dp-curve-line", ".dp-dot"):
            colors = page.locator(f'[data-name="strength"] {shape}').evaluate_all(
                "all => all.map(each => getComputedStyle(each).getPropertyValue('--c'))"
            )
            assert colors == [THEMES["light"]["blue"], THEMES["light"]["violet"]]
        page.keyboard.press("Shift+ArrowRight")
        values = page.locator('[data-name="strength"] .dp-value').all_inner_texts()
        assert [float(text) for text in values] == [0.575, 0.133898]
        page.keyboard.press("End")
        assert page.locator('[data-name="strength"] .dp-value').all_inner_texts() == ["0.5", "–"]
        assert page.locator('[data-name="prompt · film 1"] .dp-band').all_inner_texts() == ["a hill"]


def test_frames_that_are_not_rendered_are_faded(show: Show) -> None:
    with show(f"{TEXT}first_frame: 30\n") as watched:
        page = watched.page
        assert page.locator(".dp-facts li").first.inner_text() == "frames 30 to 119"
        settle(page)
        assert frame(page) == 30
        box, ruler = page.locator(".dp-before").bounding_box(), page.locator(".dp-ruler").bounding_box()
        assert box is not None and ruler is not None
        assert box["width"] == pytest.approx(ruler["width"] / 4, abs=0.2)


def test_beats_and_waveform_lie_beneath(browser: Browser, tmp_path: Path) -> None:
    settings = load({"max_frames": 60, "seed": 1, "angle": "t"}, to_render=False).settings
    wave = np.linspace(0, 1, 600)
    sound = Soundtrack("song.wav", 122.5, (4.0, 14.5, 25.0, 70.0), (4.0,), ((0, "A"), (30, "B")), -wave, wave, 0, 60)
    (tmp_path / "plot.html").write_text(write_page([plot_of(settings, look(settings), sound=sound)]), encoding="utf-8")
    with opened(browser, (tmp_path / "plot.html").as_uri()) as watched:
        page = watched.page
        assert page.locator(".dp-lane").last.get_attribute("data-name") == "song.wav"
        assert page.locator(".dp-section").last.inner_text() == "SOUND"
        for lane in ("angle", "song.wav"):  # beats run through all lanes
            lines = page.locator(f'[data-name="{lane}"] .dp-beat')
            assert [(lines.nth(i).get_attribute("d") or "").count("M") for i in range(2)] == [3, 1]
        assert page.inner_text('[data-name="song.wav"] .dp-unit') == "122.5 bpm · 4 beats"
        assert page.locator('[data-name="song.wav"] .dp-run-text').all_text_contents() == ["A", "B"]
        shape = page.locator(".dp-wave").evaluate("wave => [wave.getBBox().width, wave.getBBox().height]")
        assert shape[0] == pytest.approx(page.locator(".dp-ruler").evaluate("it => it.clientWidth"), rel=0.01)
        assert shape[1] == pytest.approx(56, abs=1)
        for _ in range(14):
            page.keyboard.press("ArrowRight")
        assert value(page, "song.wav") == "beat 2"


def test_texts_of_strangers_stay_texts(show: Show) -> None:
    text = TEXT.replace("a calm sea --neg fog", json.dumps(HOSTILE))
    with show(text) as watched:
        page = watched.page
        assert page.locator(".dp-band").first.text_content() == HOSTILE.strip()
        assert page.evaluate("window.broken") is None
        assert page.locator("img, script[src], link[href^=http]").count() == 0
        assert watched.requests == []


def test_a_page_allows_itself_no_request_and_no_other_script(show: Show) -> None:
    with show() as watched:
        page = watched.page
        policy = page.get_attribute('meta[http-equiv="Content-Security-Policy"]', "content") or ""
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy and "http" not in re.sub("data:", "", policy)
        found = page.evaluate("fetch('data:,x').then(() => 'sent', () => 'refused')")
        assert found == "refused"
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'window.broken=1'}))"
        )
        assert page.evaluate("window.broken") is None
        watched.faults.clear()  # the refusals


def test_pages_of_others_move_the_cursor(show: Show) -> None:
    with show() as watched:
        page = watched.page
        found = page.evaluate("""() => {
            const data = JSON.parse(document.getElementById("data").textContent), told = [];
            const place = document.getElementById("plot");
            const plot = drawPlot(place, data[0], {onCursor: frame => told.push(frame)});
            plot.setCursor(50);
            const state = plot.state();
            place.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
            plot.setView(40, 59);
            const view = plot.state();
            plot.setData({...data[0], title: "next"});
            const title = place.querySelector("h1").textContent, cursor = plot.state().cursor;
            plot.destroy();
            drawPlot(place, data[0], {title: false});
            const titles = place.querySelectorAll("h1").length;
            place.replaceChildren();
            return {titles, told, state, view, title, cursor, rest: place.children.length};
        }""")
        assert found == {
            "titles": 0,
            "told": [51],
            "state": {"cursor": 50, "first": 0, "last": 119},
            "view": {"cursor": 51, "first": 40, "last": 59},
            "title": "next",
            "cursor": 51,
            "rest": 0,
        }
