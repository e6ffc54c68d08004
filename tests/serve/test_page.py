"""The live page in a real browser: frames, queue, editor, at the width of a desk and of a phone, by keyboard too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deforum.serve.views import OpenedFile
from tests.helpers.browser import DESK, PHONE, opened
from tests.helpers.command import say
from tests.helpers.serving import Client, serving, wait_for

pytest.importorskip("fastapi")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GOOD = 'prompts: {0: a calm sea}\nsize: {width: 64, height: 64}\nmax_frames: 6\nzoom: "1+t/100"\n'
WIDTHS = pytest.mark.parametrize("width", [DESK, PHONE])
DESK_FIRST = pytest.mark.parametrize("width", [DESK, pytest.param(PHONE, marks=pytest.mark.long)])


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(GOOD, encoding="utf-8")
    with serving(tmp_path / "output", file=OpenedFile(Path("my.yaml"))) as client:
        yield client


def ready(page: Page) -> Page:
    page.wait_for_selector("body[data-ready=true]")
    return page


def type_over(page: Page, text: str) -> None:
    page.focus("#text")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def found(page: Page) -> list[str]:
    """Return what the editor says of a text, as lines of `check`."""
    notes = page.locator("#edit-notes li").all_text_contents()
    problems = "\n".join(page.locator("#problems pre").all_text_contents())
    return [*(f"my.yaml: {note}" for note in notes), *problems.split("\n")]


def shown(page: Page) -> int:
    """Return the frame whose picture is shown."""
    found = re.search(r"/frames/(\d+)", page.get_attribute("#picture", "src") or "")
    return int(found[1]) if found else -1


@WIDTHS
def test_a_run_is_followed_and_scrubbed_by_keyboard(browser: Browser, ask: Client, width: int) -> None:
    id = ask.add(max_frames=60, batch_name="sea", width=64, height=64, zoom="1+t/100")
    assert wait_for(lambda: ask.run(id)["done"] > 0)
    ask("POST", f"/api/runs/{id}/pause")  # so that it is not finished before the page is there
    assert ask.reaches(id, "paused")
    with opened(browser, f"{ask.address}#view=watch", width=width, touch=width == PHONE) as watched:
        page = ready(watched.page)
        page.wait_for_selector("#picture:not([hidden])")
        assert page.is_checked("#live") and page.inner_text("#run-name") == "sea"
        first = shown(page)
        ask("POST", f"/api/runs/{id}/resume")
        assert wait_for(lambda: shown(page) > first), "it follows the newest frame"
        assert ask.reaches(id, "finished")
        page.locator("#run-state", has_text="finished").wait_for()
        assert wait_for(lambda: shown(page) == 59)
        assert page.inner_text("#run-frames") == "60 / 60" and page.get_attribute("#run-meter", "aria-valuenow") == "60"
        assert "diffuse" in page.inner_text("#times") and "250 ms" in page.inner_text("#times")
        assert "64×64" in page.inner_text("#run-facts") or "128×128" in page.inner_text("#run-facts")
        page.focus("#stage")
        for key, frame in {"Home": 0, "ArrowRight": 1, "Shift+ArrowRight": 11, "ArrowLeft": 10, "End": 59}.items():
            page.keyboard.press(key)
            assert wait_for(lambda frame=frame: shown(page) == frame), key  # type: ignore[misc]
            assert page.input_value("#scrub") == str(frame) and f"frame {frame} of 60" in page.inner_text("#where")
        page.keyboard.press("Home")
        assert not page.is_checked("#live")
        page.focus("#scrub")
        page.keyboard.press("ArrowRight")
        assert wait_for(lambda: shown(page) == 1)
        page.wait_for_selector("#plot .dp-slider")
        assert page.get_attribute("#plot .dp-slider", "aria-valuenow") == "1", "the cursor of the plot goes along"
        page.focus("#plot .dp-slider")
        page.keyboard.press("End")
        assert wait_for(lambda: shown(page) == 59), "and the frame goes with the cursor"
        page.focus("#stage")
        page.keyboard.press("Home")
        page.keyboard.press(" ")
        assert page.get_attribute("#play", "aria-label") == "Stop" and wait_for(lambda: shown(page) > 2)
        page.keyboard.press(" ")
        assert page.get_attribute("#play", "aria-label") == "Play"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing lies beside the window"
        assert all(url.startswith(ask.address) for url in watched.requests)


@DESK_FIRST
def test_the_queue_is_asked(browser: Browser, ask: Client, width: int) -> None:
    with opened(browser, f"{ask.address}#view=watch", width=width) as watched:
        page = ready(watched.page)
        slow, other = ask.add(max_frames=1000, batch_name="slow"), ask.add(max_frames=3, batch_name="other")
        if width == PHONE:
            page.click("#tab-queue")
            page.locator("#queue-count", has_text="2").wait_for()
        row = page.locator(f'#queue [data-id="{slow}"]')
        row.get_by_role("button", name="Pause slow").click()
        assert ask.reaches(slow, "paused") and ask.reaches(other, "finished")
        row.get_by_role("button", name="Resume slow").focus()
        page.keyboard.press("Enter")
        assert ask.reaches(slow, "running")
        row.get_by_role("button", name="Cancel slow").click()
        assert ask.reaches(slow, "cancelled")
        page.locator(f'#queue [data-id="{slow}"][data-state=cancelled]').wait_for()
        row.get_by_role("button", name="Forget slow").click()
        row.wait_for(state="detached")
        page.click("#queue-pause")
        page.wait_for_selector("#queue-pause[aria-pressed=true]")
        assert ask("GET", "/api/queue").json["is_paused"] is True
        ask.add()
        later = ask.add()
        page.locator(f'#queue [data-id="{later}"]').get_by_role("button", name="Move settings.yaml up").click()
        assert wait_for(lambda: [run["id"] for run in ask("GET", "/api/queue").json["runs"]][-2] == later)
        page.locator('#folders [data-name="other"] button').click()
        page.wait_for_selector("#picture:not([hidden])")
        assert page.evaluate("document.body.dataset.view") == "watch" and page.inner_text("#run-name") == "other"


MISTAKES = (
    'prompts: {0: a}\nzoom: "0: (1), 30: (1 +)"\nzomm: 1\nwidth: 63\n',
    "prompts: {0: a\n",
    "init_image: <img src=x onerror=alert(1)>\n",
)


@WIDTHS
def test_the_editor_says_what_check_says(
    browser: Browser, ask: Client, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(browser, ask.address, width=width) as watched:
        page = ready(watched.page)
        assert page.evaluate("document.body.dataset.view") == "edit" and page.input_value("#text") == GOOD
        page.wait_for_selector("#verdict[data-state=good]")
        said = say(capsys, "check", "my.yaml", "-o", "output")
        assert page.inner_text("#good") == said.out.strip()
        page.locator("#edit-plot .dp-lane[data-name=zoom]").wait_for()
        page.locator("#forecast li", has_text="6 frames").wait_for()
        for text in MISTAKES:
            type_over(page, text)
            page.wait_for_selector("#verdict[data-state=bad]")
            Path("my.yaml").write_text(text, encoding="utf-8")
            said = say(capsys, "check", "my.yaml", "-o", "output")
            assert wait_for(lambda said=said: found(page) == said.err.splitlines()), (found(page), said.err)  # type: ignore[misc]
            assert page.is_disabled("#render")
        type_over(page, MISTAKES[0])
        page.wait_for_selector(".gutter .bad")
        assert wait_for(lambda: page.locator(".gutter .bad").all_text_contents() == ["2", "3", "4"])
        assert page.locator(".marks .wrong").nth(1).inner_text() == "zomm"
        page.keyboard.press("Control+Home")
        page.keyboard.press("F8")
        place = "(() => { const t = document.getElementById('text'); return t.value.slice(0, t.selectionStart); })()"
        assert page.evaluate(place).count("\n") == 1
        page.keyboard.press("F8")
        assert page.evaluate(place).endswith("\n") and page.evaluate(place).count("\n") == 2
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@DESK_FIRST
def test_a_run_is_started_from_the_editor(browser: Browser, ask: Client, width: int) -> None:
    with opened(browser, ask.address, width=width) as watched:
        page = ready(watched.page)
        page.focus("#text")
        page.keyboard.press("Control+End")
        page.keyboard.type("seed_beh")
        page.keyboard.press("Control+ ")
        assert page.locator(".names li").all_text_contents() == ["seed_behavior"]
        page.keyboard.press("Enter")
        page.keyboard.type("fixed")
        page.keyboard.press("Enter")
        page.keyboard.type("motion:")
        page.keyboard.press("Enter")
        page.keyboard.type("angle: 1")
        text = page.input_value("#text")
        assert text == f"{GOOD}seed_behavior: fixed\nmotion:\n  angle: 1"
        assert "angle" in page.inner_text("#hint") and "degrees" in page.inner_text("#hint")
        assert page.is_visible("#dirty")
        page.keyboard.press("Control+s")
        page.wait_for_selector("#dirty", state="hidden")
        assert Path("my.yaml").read_text() == text
        page.wait_for_selector("#verdict[data-state=good]")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#picture:not([hidden])")
        assert page.evaluate("document.body.dataset.view") == "watch"
        page.locator("#run-state", has_text="finished").wait_for()
        page.get_by_role("button", name="Edit its settings").click()
        assert wait_for(
            lambda: "seed_behavior: fixed" in page.input_value("#text") and "max_frames: 6" in page.input_value("#text")
        )
        page.locator("#file-name", has_text="settings.yaml").wait_for()
        assert page.is_hidden("#save")


def test_the_motion_is_previewed(browser: Browser, ask: Client) -> None:
    with opened(browser, ask.address) as watched:
        page = ready(watched.page)
        page.wait_for_selector("#verdict[data-state=good]")
        page.focus("#text")
        page.keyboard.press("Control+m")
        film = page.locator("#preview-place video, #preview-place a").first
        film.wait_for(timeout=60_000)
        answer = ask("GET", str(film.get_attribute("src") or film.get_attribute("href")))
        assert answer.headers["content-type"] == "video/mp4" and answer.body[4:8] == b"ftyp"
        type_over(page, "animation_mode: 3D\nuse_mask: true\n")
        page.click("#preview")
        assert wait_for(lambda: "mask" in page.inner_text("#preview-place")), page.inner_text("#preview-place")
        watched.faults.clear()  # the browser notes the answer 422


def test_light_dark_and_the_views_by_keyboard(browser: Browser, ask: Client) -> None:
    grounds = []
    for dark in (False, True):
        with opened(browser, f"{ask.address}#view=watch", dark=dark) as watched:
            page = ready(watched.page)
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.className") == "skip"
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowRight")
            assert page.evaluate("document.activeElement.id") == "tab-edit" and page.is_visible("#text")
            page.keyboard.press("ArrowLeft")
            assert page.is_visible("#stage") and page.is_hidden("#text")
            page.keyboard.press("?")
            assert page.is_visible("#help")
            page.keyboard.press("Escape")
            assert page.is_hidden("#help")
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 21, 26)"]


def test_texts_of_strangers_stay_texts(browser: Browser, ask: Client, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=window.broken=1>"
    id = ask.add(max_frames=2, batch_name="sea", prompts=json.dumps({"0": hostile}))
    assert ask.reaches(id, "finished")
    record = tmp_path / "output" / "sea" / "run.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps({**told, "notes": [hostile], "origin": hostile}))
    with opened(browser, f"{ask.address}#view=watch") as watched:
        page = ready(watched.page)
        page.wait_for_selector("#picture:not([hidden])")
        assert wait_for(lambda: hostile in page.inner_text("#prompt"))
        assert hostile in page.inner_text("#run-facts") and hostile in (page.text_content("#run-notes") or "")
        assert page.evaluate("window.broken") is None


def test_a_lost_server_is_said_and_found_again(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "output") as ask:
        port = ask.port
        context = opened(browser, f"{ask.address}#view=watch")
        watched = context.__enter__()
        page = ready(watched.page)
        page.wait_for_selector("#link[data-state=open]")
    page.wait_for_selector("#link[data-state=lost]")
    from deforum.serve.running import Where

    with serving(tmp_path / "output", where=Where(port=port)) as ask:
        page.wait_for_selector("#link[data-state=open]", timeout=15000)
        watched.faults.clear()  # of the requests in between
        context.__exit__(None, None, None)


def test_the_page_of_the_api_needs_no_other_server(browser: Browser, ask: Client) -> None:
    with opened(browser, f"{ask.address}docs") as watched:
        page = ready(watched.page)
        assert page.locator(".operation").count() > 20
        page.get_by_role("link", name="Put a batch of runs into the queue").click()
        operation = page.locator("#post--deforum_api-batches")
        assert "deforum_settings" in operation.inner_text() and "curl -X POST" in operation.inner_text()
        assert all(url.startswith(ask.address) for url in watched.requests)
