"""The command plot: files and names among its words, and where it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deforum.cli.plot import split
from tests.helpers.command import Say, imported, write
from tests.helpers.sounds import write_clicks


def titles(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0]
    return [plot["title"] for plot in json.loads(text)]


def rows(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0]
    return [row["name"] for row in json.loads(text)[0]["rows"]]


def test_a_page_in_the_current_folder(say: Say) -> None:
    said = say("plot", "a.yaml")
    assert (said.status, said.out) == (0, "a_plot.html\n")
    assert titles(Path("a_plot.html")) == ["a.yaml"]
    assert rows(Path("a_plot.html")) == ["translation_x", "strength"]
    said = say("plot", "a.yaml", "zoom", "strength_schedule", "zoom=1+t/9", "--json")  # an earlier plot is replaced
    assert json.loads(said.out.splitlines()[-1]) == {"event": "result", "status": 0, "output": "a_plot.html"}
    assert rows(Path("a_plot.html")) == ["zoom", "strength"]


def test_a_picture(say: Say) -> None:
    assert say("plot", "a.yaml", "-o", "p.png", "--theme", "dark").out == "p.png\n"
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    assert say("plot", "a.yaml", "-o", "p.png").status == 0


def test_a_theme_of_choice_and_the_standard_output(say: Say) -> None:
    said = say("plot", "a.yaml", "--theme", "dark", "-o", "-")
    assert said.status == 0
    assert said.out.startswith("<!doctype html>")
    assert '<main id="plot" class="dp" data-theme="dark">' in said.out


@pytest.mark.parametrize(
    ("words", "files", "names"),
    [
        ("a.yaml", ["a.yaml"], []),
        ("a.yaml zoom strength_schedule prompts", ["a.yaml"], ["zoom", "strength_schedule", "prompts"]),
        ("a.yaml b.yaml zoom", ["a.yaml", "b.yaml"], ["zoom"]),
        ("a.yaml zoom b.yaml a.yaml", ["a.yaml", "b.yaml"], ["zoom"]),
        ("a.yaml fov", ["a.yaml", "fov"], []),  # a file of that name
        ("a.yaml motion.zoom cn_1_weight loras", ["a.yaml"], ["motion.zoom", "cn_1_weight", "loras"]),
        ("a.yaml zoon", ["a.yaml"], ["zoon"]),
        ("a.yaml none.yaml", ["a.yaml", "none.yaml"], []),
        ("-", ["-"], []),
    ],
)
def test_files_and_names(say: Say, words: str, files: list[str], names: list[str]) -> None:
    write("b.yaml", "")
    write("fov", "")
    given = split(words.split())
    assert ([str(file) for file in given.files], list(given.names)) == (files, names)


def test_an_example_by_its_name(say: Say) -> None:
    assert split(["quickstart"]).files[0].name == "quickstart.yaml"
    assert say("plot", "a.yaml", "quickstart", "-q").status == 0
    assert titles(Path("a_plot.html")) == ["a.yaml", "quickstart.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.yaml", "none.yaml: no such file"),
        ("a.yaml zoon", "zoon: there is no such schedule; did you mean zoom?"),
        ("a.yaml max_frames", "max_frames: this is not a schedule; it is 10 in every frame"),
        ("a.yaml -o p.png --font a.yaml", "a.yaml: no font that can be read; expected a TrueType or OpenType file"),
        ("a.yaml -o a.yaml", "a.yaml: expected a name that ends in .html or .png"),
        ("a.yaml -o mine.html", "mine.html: already exists, and is not a plot; choose another one with -o, or add --"),
        ("a.yaml -o no/such/p.html", "no/such/p.html: cannot be written: No such file or directory"),
    ],
)
def test_mistakes(say: Say, words: str, message: str) -> None:
    write("mine.html", "<!doctype html>\n<p>mine")
    said = say("plot", *words.split())
    assert said.status == 2
    assert said.err.startswith(message)
    assert Path("mine.html").read_text() == "<!doctype html>\n<p>mine"


def test_shots_are_said_not_to_be_drawn(say: Say) -> None:
    write("film.yaml", "max_frames: 9\nshots: [{name: one, to: 4}, {name: two, zoom: 2}]\n")
    assert "shots: drawn are the settings of the whole film" in say("plot", "film.yaml").err


def test_a_sound_beside_the_file_lies_beneath(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    Path("film").mkdir()
    write_clicks(Path("film/clicks.wav"), seconds=6)
    write("film/a.yaml", "max_frames: 60\nfps: 12\naudio: clicks.wav\nzoom: 1+0.1*beat\n")
    assert say("plot", "film/a.yaml", "zoom", "beat", "-q").status == 0
    text = Path("a_plot.html").read_text(encoding="utf-8").partition('id="data">')[2].partition("</script>")[0]
    [plot] = json.loads(text)
    assert [row["name"] for row in plot["rows"]] == ["zoom", "beat"]
    assert (plot["sound"]["name"], plot["sound"]["bpm"]) == ("clicks.wav", pytest.approx(120, abs=0.5))


def test_a_seed_of_minus_1_is_said_to_be_drawn(say: Say) -> None:
    say("plot", "a.yaml", "seed=-1")
    assert '"seed_drawn":true' in Path("a_plot.html").read_text()


def test_drawing_a_page_loads_no_heavy_module(tmp_path: Path) -> None:
    write_to = tmp_path / "a.yaml"
    write_to.write_text("max_frames: 5\n")
    code = "from deforum.cli.main import main\nassert main(['plot', 'a.yaml', '-q']) == 0"
    assert imported(code, "torch", "cv2", "diffusers", "PIL", cwd=tmp_path) == set()
