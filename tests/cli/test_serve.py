"""The command serve: what it is given, and a run from the page's API to its film."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deforum.cli.main import parse
from deforum.cli.serve import PORT, _chosen
from tests.helpers.command import SEA, Say
from tests.helpers.serving import serving, wait_for


def test_what_is_shown_and_where_runs_go(say: Say, tmp_path: Path) -> None:
    run = tmp_path / "films" / "sea"
    (run / "frames").mkdir(parents=True)
    record = {
        "format": 1, "deforum": "", "origin": "", "source_sha256": "", "asked": "", "total": 1, "is_changed": False,
        "parts": [{"since": 0, "settings": ""}], "inputs": [], "packages": {}, "device": "", "threads": 0,
        "machine": "", "notes": [], "history": [], "films": [],
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(record))
    (run / "settings.yaml").touch()

    def chosen(*words: str) -> tuple[Path, str, object]:
        runs, shown, file = _chosen(parse(["serve", *words])[1])
        return runs, shown, None if file is None else (file.path, file.overrides)

    assert chosen() == (Path("output"), "", None)
    assert chosen("-o", "films") == (Path("films"), "", None)
    assert chosen("films") == (Path("films"), "", None)
    assert chosen("films/sea") == chosen("films/sea/frames") == (tmp_path / "films", "sea", None)
    assert chosen("films/sea", "-o", ".") == (tmp_path, "films/sea", None)
    assert chosen("a.yaml", "seed=3") == (Path("output"), "", (Path("a.yaml"), ("seed=3",)))
    assert chosen("a.yaml", "-o", "films") == (Path("films"), "", (Path("a.yaml"), ()))
    assert chosen("quickstart")[2] is not None
    assert parse(["serve"])[1].port == PORT == 7860


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.yaml", "b.yaml"], "serve takes one run or one settings file"),
        (["none.yaml"], "none.yaml: no such file"),
        (["seed=3"], "changes a settings file; give one"),
        (["a.yaml", "--at-once", "0"], "--at-once 0: expected at least 1"),
        (["a.yaml", "--port", "99999"], "expected a port of 0 to 65535"),
        (["a.yaml", "--port", "0", "--host", "192.0.2.1"], "192.0.2.1, port 0"),
    ],
)
def test_what_cannot_be_served(words: list[str], said: str, say: Say) -> None:
    pytest.importorskip("fastapi")
    Path("b.yaml").touch()
    answer = say("serve", *words)
    assert answer.status == 2 and said in answer.err


def test_without_its_packages_it_says_which(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    answer = say("serve", "a.yaml")
    assert answer.status == 2 and "pip install 'deforum-renderer[serve]'" in answer.err
    assert answer.err.count("\n") == 1


def test_the_address_is_printed_and_a_token_where_it_is_needed(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    assert say("serve", "--port", "0").out.startswith("http://127.0.0.1:")
    assert "?token=" in say("serve", "--port", "0", "--host", "0.0.0.0").out
    monkeypatch.setenv("DEFORUM_TOKEN", "abc")
    assert say("serve", "--port", "0").out.rstrip().endswith("/?token=abc")


def test_a_run_is_rendered_paused_and_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real program, in a process of its own."""
    pytest.importorskip("fastapi")
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / "output", real=True) as ask:
        assert ask("POST", "/api/runs", {"text": SEA, "name": "sea.yaml"}).status == 201
        assert wait_for(lambda: ask.run("1")["folder"] == "sea")
        ask("POST", "/api/runs/1/pause")
        assert ask.reaches("1", "paused", "finished")
        if ask.run("1")["state"] == "paused":
            assert ask.run("1")["done"] < 6
            ask("POST", "/api/runs/1/resume")
        assert ask.reaches("1", "finished")
        folder = ask("GET", "/api/folders/sea").json
        assert (folder["done"], folder["films"], folder["origin"]) == (
            6,
            ["sea.mp4"],
            "1.yaml (from sea.yaml) with output=output",
        )
        assert set(folder["times"]) >= {"diffuse", "write"}
        film = ask("GET", "/api/folders/sea/files/sea.mp4")
        assert film.headers["content-type"] == "video/mp4" and film.body[4:8] == b"ftyp"
        facts = ask("GET", "/api/folders/sea/frames/3/facts").json
        assert facts["prompt"] == "a calm sea"
        record = json.loads((tmp_path / "output" / "sea" / "run.json").read_text())
        assert [each["what"] for each in record["history"]] in (
            ["began", "paused", "resumed", "finished"], ["began", "finished"]
        )  # fmt: skip
