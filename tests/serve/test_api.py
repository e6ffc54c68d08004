"""The REST API, asked over loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.serve.access import HEADERS, MOST_BYTES
from deforum.serve.running import Where
from deforum.serve.views import OpenedFile
from tests.helpers.command import say
from tests.helpers.serving import Client, serving, wait_for

pytest.importorskip("fastapi")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "output"


@pytest.fixture
def ask(runs: Path) -> Iterator[Client]:
    with serving(runs) as client:
        yield client


def test_a_run_from_its_settings_to_its_frames(ask: Client) -> None:
    id = ask.add(max_frames=5, batch_name="sea", width=64, height=64)
    assert ask.reaches(id, "finished")
    run = ask.run(id)
    assert (run["folder"], run["done"], run["total"], run["phase"], run["actions"]) == ("sea", 5, 5, "done", [])
    folder = ask("GET", "/api/folders/sea").json
    assert (folder["state"], folder["done"], folder["job"]) == ("finished", 5, id)
    assert folder["facts"]["fps"] == 15 and folder["times"] == {"diffuse": 250, "show": 125}
    assert "a note" in folder["notes"] and [each["what"] for each in folder["history"]] == ["began", "finished"]
    frames = ask("GET", "/api/folders/sea/frames").json
    assert [row[:2] for row in frames["frames"]] == [[index, index] for index in range(5)]
    version = frames["frames"][3][3]
    picture = ask("GET", f"/api/folders/sea/frames/3?v={version}")
    assert picture.headers["content-type"] == "image/png" and "immutable" in picture.headers["cache-control"]
    decoded = cv2.imdecode(np.frombuffer(picture.body, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert decoded is not None and (decoded == 27).all()
    assert ask("GET", "/api/folders/sea/frames/3?v=old").headers["cache-control"] == "no-cache"
    assert ask("GET", "/api/folders/sea/frames/9").status == 404
    assert "max_frames: 5" in ask("GET", "/api/folders/sea/settings").body.decode()
    assert [each["name"] for each in ask("GET", "/api/folders").json] == ["sea"]


def test_actions_and_their_refusal(ask: Client) -> None:
    assert ask("POST", "/api/queue/pause").json["is_paused"] is True
    first, second = ask.add(), ask.add()
    assert ask("POST", f"/api/runs/{first}/pause").json["state"] == "held"
    refused = ask("POST", f"/api/runs/{first}/pause")
    assert refused.status == 409 and "it takes resume or cancel" in refused.json["message"]
    assert ask("PUT", f"/api/runs/{second}/place", {"before": first}).status == 204
    assert [run["id"] for run in ask("GET", "/api/queue").json["runs"]] == [second, first]
    assert ask("DELETE", f"/api/runs/{first}").status == 409
    assert ask("POST", f"/api/runs/{first}/cancel").json["state"] == "cancelled"
    assert ask("DELETE", f"/api/runs/{first}").status == 204
    assert ask("GET", f"/api/runs/{first}").status == 404
    assert ask("POST", f"/api/runs/{second}/dance").status == 400
    assert ask("GET", "/health").json == {**ask("GET", "/health").json, "status": "ok", "queued": 1, "rendering": 0}


BAD = {
    "an unknown name": "zomm: 1\n",
    "a schedule": 'zoom: "0: (1), 30: (1 +)"\n',
    "several": "width: 63\nprompts: {0: a}\nsampler: Eulr\n",
    "no YAML": "prompts: {0: a\n",
    "a missing file": "init_image: nowhere.png\n",
    "a missing model": "model: nowhere.safetensors\n",
    "two colons": "zoom: 0: (1)\n",
    "control characters": 'batch_name: "\\e[31m"\nzomm: 1\n',
}


def test_check_says_what_the_command_says(ask: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for about, text in BAD.items():
        (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
        said = say(capsys, "check", "my.yaml", "-o", "output")
        answer = ask("POST", "/api/check", {"text": text, "name": "my.yaml"}).json
        assert said.status == 2 and not answer["good"], about
        notes = [f"my.yaml: {note}" for note in answer["notes"]]
        assert said.err.splitlines() == [*notes, *answer["text"].split("\n")], about
        assert all(problem["line"] for problem in answer["problems"]) or "missing" in about


def test_check_says_what_a_render_takes(ask: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "prompts: {0: a calm sea}\nsize: {width: 64, height: 64}\nmax_frames: 6\n"
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    said = say(capsys, "check", "my.yaml", "-o", "output")
    answer = ask("POST", "/api/check", {"text": text, "name": "my.yaml"}).json
    assert answer["good"] and answer["text"] == said.out.rstrip("\n")
    assert [f"my.yaml: {note}" for note in answer["notes"]] == said.err.splitlines()
    assert answer["facts"]["frames"] == 6
    said = say(capsys, "forecast", "my.yaml")
    lines = ask("POST", "/api/forecast", {"text": text, "name": "my.yaml"}).json["lines"]
    assert lines and all(line in said.out for line in lines)


def test_mistakes_are_refused_before_the_queue(ask: Client) -> None:
    answer = ask("POST", "/api/runs", {"text": "zomm: 1\n", "name": "my.yaml"})
    assert answer.status == 422 and answer.json["message"].startswith("my.yaml:1:1: unknown setting 'zomm'")
    assert answer.json["problems"][0]["where"] == "my.yaml:1:1"
    assert ask("GET", "/api/queue").json["runs"] == []
    for body in (b"{", b"[]", b'{"text": 1}', b'{"text": "", "more": 1}', b'"' + b"[" * 5000):
        assert ask("POST", "/api/runs", body).status == 400


def test_five_hundred_requests_at_once_lose_no_run(runs: Path) -> None:
    with serving(runs) as ask:
        ask("POST", "/api/queue/pause")
        with ThreadPoolExecutor(50) as pool:
            ids = list(pool.map(lambda number: ask.add(seed=number), range(500)))
        assert len(set(ids)) == 500
    with serving(runs) as ask:  # a server that is started again
        queue = ask("GET", "/api/queue").json
        assert {run["id"] for run in queue["runs"]} == set(ids) and queue["is_paused"]
        seeds = [ask("GET", f"/api/runs/{id}/settings").body.decode() for id in ids[:20]]
        assert all(f"seed: {number} " in text for number, text in enumerate(seeds))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(runs: Path) -> Path:
    """A file outside of the folder of runs, links to it, and a run beside."""
    runs.mkdir(parents=True)
    secret = runs.parent / "secret"
    (secret / "frames").mkdir(parents=True)
    for name in ("secret.yaml", "run.json", "settings.yaml"):
        (secret / name).write_text("secret")
    run = runs / "sea"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "linked.yaml").symlink_to(secret / "secret.yaml")
    (run / "linked").symlink_to(secret)
    (runs / "elsewhere").symlink_to(secret)
    (run / "good.yaml").write_text("good")
    return secret


OUTSIDE = (
    "sea/files/linked.yaml",
    "sea/files/..%2F..%2Fsecret%2Fsecret.yaml",
    "sea/files/../../secret/secret.yaml",
    "sea/linked/files/secret.yaml",
    "elsewhere/files/secret.yaml",
    "elsewhere/settings",
    "../secret/files/secret.yaml",
    "..%2Fsecret/files/secret.yaml",
    "%2e%2e/secret/settings",
    "sea/..%2F..%2Fsecret/settings",
    "sea/files/run.json",
    "sea/files/%00.yaml",
    "sea/files/C:%5Csecret.yaml",
    ".deforum_serve/files/queue.jsonl",
    "%2Fetc/files/passwd.yaml",
    "sea%0a/files/good.yaml",
)


def test_paths_outside_are_refused(outside: Path, runs: Path) -> None:
    with serving(runs) as ask:
        assert ask("GET", "/api/folders/sea/files/good.yaml").body == b"good"
        for path in OUTSIDE:
            answer = ask("GET", f"/api/folders/{path}")
            assert answer.status == 404 and answer.body != b"secret", path
        assert ask("GET", "/static/..%2Fapi.py").status == ask("GET", "/static/../api.py").status == 404


def test_other_origins_names_and_kinds_are_refused(ask: Client) -> None:
    assert ask("GET", "/", host=f"evil.example:{ask.port}").status == 421
    assert ask("POST", "/api/queue/pause", origin="http://evil.example").status == 403
    assert ask("POST", "/api/queue/pause", origin=f"http://127.0.0.1:{ask.port}").status == 200
    assert ask("POST", "/api/runs", b'{"text": ""}', content_type="text/plain").status == 415
    answer = ask("GET", "/")
    assert answer.status == 200 and HEADERS.items() <= answer.headers.items()


def test_bodies_over_the_limit_are_refused(ask: Client) -> None:
    answer = ask("POST", "/api/check", b"{}", content_length=str(MOST_BYTES + 1))
    assert answer.status == 413 and "16,777,216" in answer.json["message"]
    connection = HTTPConnection("127.0.0.1", ask.port, timeout=30)
    chunks = (b'{"text": "' if not number else b" " * 2**20 for number in range(18))
    connection.request("POST", "/api/check", chunks, {"content-type": "application/json"}, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    connection.close()
    answer = ask("POST", "/api/check", {"text": "x" * (4 * 2**20 + 1)})
    assert answer.status == 400 and "4194304" in answer.json["message"]


def test_with_a_token_settings_name_files_in_allowed_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    here, allowed, elsewhere = tmp_path / "here", tmp_path / "allowed", tmp_path / "elsewhere"
    for folder in (here, allowed, elsewhere):
        folder.mkdir()
        (folder / "a.png").write_bytes(picture)
    (here / "link.png").symlink_to(elsewhere / "a.png")
    where = Where(token="secret")

    def given(path: object) -> dict[str, str]:
        return {
            "text": f"init_image: {path}\nsize: {{width: 64, height: 64}}\n",
            "name": "here/my.yaml",
        }

    file = OpenedFile(here / "my.yaml")
    (here / "my.yaml").touch()
    monkeypatch.chdir(here)
    with serving(here / "output", where=where, file=file, folders=(allowed,)) as open_client:
        address = open_client.address
        assert open_client("GET", "/api/queue").status == 401 and open_client("GET", "/health").status == 200
        ask = Client(address, {"authorization": "Bearer secret"})
        ask("POST", "/api/queue/pause")
        for path, status in {
            "a.png": 201, allowed / "a.png": 201, elsewhere / "a.png": 422, "../elsewhere/a.png": 422,
            here / ".." / "elsewhere" / "a.png": 422, "link.png": 422, "~/a.png": 422, "/etc/passwd": 422,
        }.items():  # fmt: skip
            answer = ask("POST", "/api/runs", given(path))
            assert answer.status == status, (path, answer.body)
            assert "secret" not in answer.body.decode()
        page = Client(address)("GET", "/?token=secret")
        assert "HttpOnly" in page.headers["set-cookie"] and "SameSite=strict" in page.headers["set-cookie"]
        cookie = page.headers["set-cookie"].partition(";")[0]
        assert Client(address)("GET", "/api/queue", cookie=cookie).status == 200


# --- the file, events, docs -------------------------------------------------------------------------------------------


def test_the_opened_file_is_saved_unless_it_was_changed(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("seed: 1\n")
    with serving(runs, file=OpenedFile(path, ("seed=3",))) as ask:
        opened = ask("GET", "/api/file").json
        assert (opened["text"], opened["name"], opened["overrides"]) == ("seed: 1\n", str(path), ["seed=3"])
        saved = ask("PUT", "/api/file", {"text": "seed: 2\n", "sha256": opened["sha256"]})
        assert saved.status == 200 and path.read_text() == "seed: 2\n"
        again = ask("PUT", "/api/file", {"text": "seed: 4\n", "sha256": opened["sha256"]})
        assert again.status == 409 and path.read_text() == "seed: 2\n"
    with serving(runs) as ask:
        assert ask("PUT", "/api/file", {"text": "", "sha256": ""}).status == 404


def test_events_follow_the_queue_and_a_run(ask: Client) -> None:
    id = ask.add(max_frames=40, batch_name="sea")
    assert wait_for(lambda: ask("GET", "/api/folders/sea").status == 200)
    connection = HTTPConnection("127.0.0.1", ask.port, timeout=30)
    connection.request("GET", "/api/events?run=sea")
    stream = connection.getresponse()
    assert stream.headers["content-type"].startswith("text/event-stream")
    name, frames, states = "", set[int](), list[str]()
    while "finished" not in states or len(frames) < 40:
        line = stream.readline().decode()
        assert line, "the stream ended"
        line = line.strip()
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            told = json.loads(line.removeprefix("data: "))
            if name == "queue":
                states += [run["state"] for run in told["runs"] if run["id"] == id]
            elif name == "frames":
                indices = [row[0] for row in told["frames"]]
                assert not frames & set(indices)  # each frame is told once
                frames |= set(indices)
    assert frames == set(range(40)) and states[0] == "running"
    connection.close()


def test_a_run_of_another_process_is_followed_by_its_files(ask: Client, runs: Path) -> None:
    """Its record and ledger are written here, as a process without this server would."""
    id = ask.add(max_frames=3, batch_name="sea")
    assert ask.reaches(id, "finished")
    (runs / "sea").rename(runs / "other")
    folder = ask("GET", "/api/folders/other").json
    assert folder["job"] == "" and folder["done"] == 3
    ledger = runs / "other" / "frames.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(lines[0] + lines[1][:20])
    assert ask("GET", "/api/folders/other").json["done"] == 1
    ledger.write_text(lines[0] + lines[1])
    assert ask("GET", "/api/folders/other").json["done"] == 2
    ledger.write_text("not json\n" + '{"file": "../../x.png", "frame": 1, "sha256": "", "bytes": 1}\n' + lines[2])
    assert [row[0] for row in ask("GET", "/api/folders/other/frames").json["frames"]] == [2]


def test_the_api_describes_itself(ask: Client) -> None:
    told = ask("GET", "/openapi.json").json
    paths = set(told["paths"])
    assert {"/api/runs", "/api/check", "/api/events", "/deforum_api/batches", "/deforum_api/jobs/{id}"} <= paths
    assert all(operation["summary"] for path in told["paths"].values() for operation in path.values())
    assert ask("GET", "/docs").headers["content-type"].startswith("text/html")
