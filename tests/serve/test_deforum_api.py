"""A client of Deforum's batch words, written as such clients are: post, poll the jobs, take the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.serving import Client, serving, wait_for

pytest.importorskip("fastapi")

SETTINGS: dict[str, Any] = {
    "W": 64, "H": 64, "max_frames": 4, "animation_mode": "2D", "prompts": {"0": "a calm sea"}, "seed": 7,
    "zoom": "0: (1.02)", "batch_name": "old", "sampler": "Euler a", "steps": 4, "strength_schedule": "0: (0.65)",
}  # fmt: skip
FIELDS = {
    "id", "status", "phase", "error_type", "phase_progress", "started_at", "last_updated", "execution_time",
    "update_interval_time", "updates", "message", "outdir", "timestring", "deforum_settings", "options_overrides",
}  # fmt: skip


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path / "output") as client:
        yield client


def job_of(ask: Client, id: str) -> Any:
    answer = ask("GET", f"/deforum_api/jobs/{quote(id)}")
    assert answer.status == 200
    return answer.json


def test_a_batch_is_rendered(ask: Client, tmp_path: Path) -> None:
    posted = ask("POST", "/deforum_api/batches", {"deforum_settings": SETTINGS, "options_overrides": {"x": 1}})
    assert posted.status == 202 and posted.json["message"] == "Job(s) accepted"
    batch, (id,) = posted.json["batch_id"], posted.json["job_ids"]
    assert id == f"{batch}-0"
    job = job_of(ask, id)
    assert set(job) == FIELDS and job["status"] == "ACCEPTED" and job["phase"] in ("QUEUED", "PREPARING", "GENERATING")
    assert wait_for(lambda: job_of(ask, id)["status"] != "ACCEPTED")
    job = job_of(ask, id)
    assert (job["status"], job["phase"], job["phase_progress"], job["error_type"]) == ("SUCCEEDED", "DONE", 1.0, "NONE")
    assert job["outdir"] == str(tmp_path / "output" / "old") and len(job["timestring"]) == 14
    assert job["deforum_settings"] == SETTINGS and job["options_overrides"] == {"x": 1} and job["updates"] > 4
    assert job["started_at"] <= job["last_updated"] and job["execution_time"] > 0
    assert len(list(Path(job["outdir"], "frames").glob("*.png"))) == 4
    assert ask("GET", "/deforum_api/batches").json == {batch: [id]}
    assert [each["id"] for each in ask("GET", f"/deforum_api/batches/{quote(batch)}").json] == [id]
    assert list(ask("GET", "/deforum_api/jobs").json) == [id]


def test_one_job_that_cannot_be_rendered_does_not_stop_the_others(ask: Client) -> None:
    wrong = SETTINGS | {"zoom": "0: (1 +"}
    posted = ask("POST", "/deforum_api/batches", {"deforum_settings": [SETTINGS, wrong, SETTINGS]}).json
    first, second, third = posted["job_ids"]
    assert posted["job_ids"] == [f"{posted['batch_id']}-{place}" for place in range(3)]
    failed = job_of(ask, second)
    assert (failed["status"], failed["phase"], failed["error_type"]) == ("FAILED", "DONE", "TERMINAL")
    assert "zoom" in failed["message"] and failed["deforum_settings"] == wrong
    assert wait_for(lambda: job_of(ask, third)["status"] == "SUCCEEDED")
    assert job_of(ask, first)["status"] == "SUCCEEDED"
    listed = [each["id"] for each in ask("GET", f"/deforum_api/batches/{quote(posted['batch_id'])}").json]
    assert sorted(listed) == [first, second, third]


def test_jobs_and_batches_are_cancelled(ask: Client) -> None:
    long = SETTINGS | {"max_frames": 1000}
    posted = ask("POST", "/deforum_api/batches", {"deforum_settings": [long, long, long]}).json
    first, second, third = posted["job_ids"]
    assert wait_for(lambda: job_of(ask, first)["phase"] == "GENERATING")
    answer = ask("DELETE", f"/deforum_api/jobs/{quote(second)}")
    assert answer.status == 200 and answer.json["id"] == second
    assert job_of(ask, second)["status"] == "CANCELLED"
    answer = ask("DELETE", f"/deforum_api/batches/{quote(posted['batch_id'])}")
    assert answer.json["ids"] == [first, third]
    assert wait_for(lambda: job_of(ask, first)["status"] == job_of(ask, third)["status"] == "CANCELLED")
    assert ask("DELETE", f"/deforum_api/jobs/{quote(first)}").json["message"].startswith("Job is over already")


OTHERS: tuple[tuple[str, str, Any, int], ...] = (
    ("POST", "batches", {}, 400),
    ("POST", "batches", {"deforum_settings": "text"}, 400),
    ("POST", "batches", {"deforum_settings": []}, 422),
    ("POST", "batches", {"deforum_settings": [1]}, 400),
    ("POST", "batches", {"deforum_settings": {}, "settings_overrides": {}, "options_overrides": None}, 202),
    ("GET", "batches/batch(1)", None, 404),
    ("DELETE", "batches/batch(1)", None, 404),
    ("GET", "jobs/batch(1)-0", None, 404),
    ("DELETE", "jobs/batch(1)-0", None, 404),
)


def test_what_is_answered_to_other_requests(ask: Client) -> None:
    for method, path, body, status in OTHERS:
        answer = ask(method, f"/deforum_api/{quote(path)}", body)
        assert answer.status == status, (method, path, body, answer.body)
        assert status < 400 or answer.json["message"]


def test_the_checkpoint_of_the_options_is_the_model(ask: Client) -> None:
    options = {"sd_model_checkpoint": "embedded", "CLIP_stop_at_last_layers": 2}
    posted = ask("POST", "/deforum_api/batches", {"deforum_settings": SETTINGS, "options_overrides": options}).json
    (id,) = posted["job_ids"]
    assert wait_for(lambda: job_of(ask, id)["status"] == "SUCCEEDED")
    text = ask("GET", f"/api/runs/{quote(id)}/settings").body.decode()
    assert "profile: deforum" in text and "max_frames: 4" in text
