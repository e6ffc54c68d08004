"""The REST API: the queue, the folders of runs, and settings. Its OpenAPI page is /docs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette.sse import EventSourceResponse

from deforum import atomic
from deforum.errors import disk_error
from deforum.limits import SETTINGS_FILE
from deforum.output.ledger import digest
from deforum.serve import views
from deforum.serve.checking import Checked, check_text, foresee, order
from deforum.serve.events import events
from deforum.serve.jobs import NotNow, Unknown
from deforum.serve.plots import plot_of_run, plot_of_text
from deforum.serve.previews import Preview
from deforum.serve.turns import Turns
from deforum.serve.views import (
    FolderInList,
    FramesOfRun,
    RunInFolder,
    RunInQueue,
    Server,
    run_in_folder,
    run_in_queue,
)
from deforum.settings.declare import Declaration
from deforum.settings.document import read_text
from deforum.settings.options import DECLARATIONS
from deforum.settings.params import PARAMS
from deforum.settings.yaml_writer import write_value
from deforum.version import __version__

FILES = (".mp4", ".mov", ".mkv", ".webm", ".gif", ".webp", ".srt", ".yaml")
"""Endings of the files of a run that are served, besides frames."""
MOST_OVERRIDES = 1000
FOREVER = "private, max-age=31536000, immutable"


class Text(BaseModel):
    """Settings as a text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(
        max_length=SETTINGS_FILE.most, description="A settings file: YAML, or Deforum's JSON", examples=["seed: 7"]
    )
    name: str = Field(
        "settings.yaml", max_length=4096,
        description="The name of the file, for messages; paths in it start from its folder, else from the server's",
    )  # fmt: skip
    overrides: list[Annotated[str, Field(max_length=100_000)]] = Field(
        [], max_length=MOST_OVERRIDES, description="Changes to it, as on the command line", examples=[["seed=7"]]
    )


class Saved(BaseModel):
    """A new text of the settings file that the server was started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(max_length=SETTINGS_FILE.most)
    sha256: str = Field(description="Digest of the text that it replaces: a file that was changed meanwhile is kept")


class Place(BaseModel):
    """A place in the queue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before: str | None = Field(None, description="The id of the run before which it goes; null: to the end")


@dataclasses.dataclass(frozen=True)
class Message:
    message: str


@dataclasses.dataclass(frozen=True)
class Foreseen:
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Health:
    status: str
    version: str
    rendering: int
    queued: int


@dataclasses.dataclass(frozen=True)
class QueueNow:
    is_paused: bool
    runs: list[RunInQueue]


@dataclasses.dataclass(frozen=True)
class OpenedNow:
    """The settings file that the server was started with; empty without one."""

    name: str
    text: str
    sha256: str
    overrides: tuple[str, ...]
    can_be_saved: bool
    shown: str
    """The run that the server was started with."""


@dataclasses.dataclass(frozen=True)
class SettingFacts:
    """A setting, for help beside the editor."""

    name: str
    section: str
    help: str
    unit: str
    default: str
    expected: str
    choices: tuple[str, ...]
    varies: bool
    """Whether it takes a schedule."""


ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": Message, "description": "There is nothing of that name"},
    409: {"model": Message, "description": "Its state does not allow this"},
}


def router(server: Server) -> APIRouter:
    """Return the routes of the API."""
    api = APIRouter()
    queue, runs, forecasts = server.queue, server.runs, Turns()

    # --- the queue ---

    @api.get("/api/queue", tags=["queue"], summary="List the queue")
    def list_queue() -> QueueNow:
        now = queue.state
        return QueueNow(now.is_paused, [run_in_queue(server, job) for job in now.jobs.values()])

    @api.post("/api/queue/{action}", tags=["queue"], summary="Start no further run, or start them again")
    def ask_queue(action: Literal["pause", "resume"]) -> QueueNow:
        queue.pause_all(action == "pause")
        return list_queue()

    @api.post("/api/runs", status_code=201, tags=["queue"], summary="Put a run into the queue")
    def add_run(settings: Text) -> RunInQueue:
        """The settings are read first; with mistakes in them, the answer is 422 with the messages of `check`.

        Missing models and files are found when the run begins; `/api/check` finds them before.
        """
        (job,) = queue.add([order(settings.text, settings.name, settings.overrides, server.rules)])
        return run_in_queue(server, job)

    @api.get("/api/runs/{id}", tags=["queue"], summary="One run of the queue", responses=ERRORS)
    def one_run(id: str) -> RunInQueue:
        return run_in_queue(server, queue.state.job(id))

    @api.get(
        "/api/runs/{id}/settings", tags=["queue"], summary="The settings of a run of the queue",
        response_class=PlainTextResponse, responses=ERRORS,
    )  # fmt: skip
    def settings_of_run(id: str) -> PlainTextResponse:
        return PlainTextResponse(queue.settings_text(id))

    @api.post(
        "/api/runs/{id}/{action}", tags=["queue"], summary="Pause, resume or cancel a run of the queue",
        responses=ERRORS,
    )  # fmt: skip
    def ask_run(id: str, action: Literal["pause", "resume", "cancel"]) -> RunInQueue:
        """A run that renders pauses after its frame and frees its memory; one that is cancelled ends after its frame.

        A run that failed or was cancelled is resumed: it goes on where it stopped.
        """
        return run_in_queue(server, queue.ask(id, action))

    @api.put("/api/runs/{id}/place", status_code=204, tags=["queue"], summary="Move a run in the queue",
             responses=ERRORS)  # fmt: skip
    def move_run(id: str, place: Place) -> None:
        queue.move(id, place.before)

    @api.delete(
        "/api/runs/{id}", status_code=204, tags=["queue"], summary="Take a run that is over off the list",
        responses=ERRORS,
    )  # fmt: skip
    def forget_run(id: str) -> None:
        """Its folder stays."""
        queue.forget(id)

    # --- folders ---

    @api.get("/api/folders", tags=["folders"], summary="List the runs on the disk, the newest first")
    def list_folders() -> list[FolderInList]:
        return views.folders(server)

    @api.get("/api/folders/{name:path}/frames", tags=["folders"], summary="The frames of a run", responses=ERRORS)
    def list_frames(name: str) -> FramesOfRun:
        return views.frames_of(runs.view(name))

    @api.get(
        "/api/folders/{name:path}/frames/{index:int}", tags=["folders"], summary="The picture of a frame",
        response_class=FileResponse, responses=ERRORS,
    )  # fmt: skip
    def picture(name: str, index: int, v: str = "") -> FileResponse:
        """With the version of the frame as `v`, the answer may be kept for ever."""
        path = runs.picture(name, index)
        is_that = bool(v) and runs.view(name).frames[index].sha256.startswith(v)
        return FileResponse(path, headers={"cache-control": FOREVER if is_that else "no-cache"})

    @api.get("/api/folders/{name:path}/frames/{index:int}/facts", tags=["folders"],
             summary="The prompts of a frame", responses=ERRORS)  # fmt: skip
    def facts_of_frame(name: str, index: int) -> Mapping[str, object]:
        return views.facts_of(server, name, index)

    @api.get(
        "/api/folders/{name:path}/files/{file}", tags=["folders"], summary="A film, subtitles or settings of a run",
        response_class=FileResponse, responses=ERRORS,
    )  # fmt: skip
    def file(name: str, file: str) -> FileResponse:
        if not file.lower().endswith(FILES):
            raise Unknown(f"expected the name of a film, of subtitles or of settings, ending in {', '.join(FILES)}")
        return FileResponse(runs.file(name, file), headers={"cache-control": "no-cache"})

    @api.get(
        "/api/folders/{name:path}/settings", tags=["folders"], summary="The settings of a run",
        response_class=PlainTextResponse, responses=ERRORS,
    )  # fmt: skip
    def settings_of_folder(name: str) -> PlainTextResponse:
        return PlainTextResponse(runs.settings_text(name))

    @api.get("/api/folders/{name:path}/plot", tags=["folders"], summary="The schedules of a run, to be drawn",
             responses=ERRORS)  # fmt: skip
    def plot_of_folder(name: str) -> JSONResponse:
        return JSONResponse(plot_of_run(runs.view(name)))

    @api.get("/api/folders/{name:path}", tags=["folders"], summary="One run on the disk", responses=ERRORS)
    def one_folder(name: str) -> RunInFolder:
        return run_in_folder(server, name)

    # --- settings ---

    @api.post("/api/check", tags=["settings"], summary="Check settings as the command check does, with its words")
    def check(settings: Text) -> Checked:
        return check_text(settings.text, settings.name, settings.overrides, server.rules)

    @api.post("/api/forecast", tags=["settings"], summary="What a render of settings will be like", responses={
        409: {"model": Message, "description": "It was asked again meanwhile"}
    })  # fmt: skip
    def foresee_settings(settings: Text) -> Foreseen:
        """The lines of the command forecast. One is made at a time: that which was asked for last."""
        with forecasts.turn():
            return Foreseen(foresee(settings.text, settings.name, settings.overrides, server.rules))

    @api.post("/api/plot", tags=["settings"], summary="The schedules of settings, to be drawn")
    def plot(settings: Text) -> JSONResponse:
        return JSONResponse(plot_of_text(settings.text, settings.name, settings.overrides, server.rules))

    @api.post("/api/previews", tags=["settings"], summary="Make a film of the motion, without diffusion", responses={
        409: {"model": Message, "description": "A newer preview was asked for meanwhile"}
    })  # fmt: skip
    def make_preview(settings: Text) -> Preview:
        """One is made at a time; a newer one takes the place of one that is being made."""
        found = order(settings.text, settings.name, settings.overrides, server.rules)
        return server.previews.make(found, found.size)

    @api.get("/api/previews/{number}", tags=["settings"], summary="A film of the motion", response_class=FileResponse,
             responses={404: ERRORS[404]})  # fmt: skip
    def preview(number: int) -> FileResponse:
        return FileResponse(server.previews.file(number), headers={"cache-control": "no-cache"})

    @api.get("/api/settings", tags=["settings"], summary="Every setting, with its help")
    def list_settings() -> list[SettingFacts]:
        return _facts()

    @api.get("/api/file", tags=["settings"], summary="The settings file that the server was started with")
    def opened() -> OpenedNow:
        return _opened(server)

    @api.put("/api/file", tags=["settings"], summary="Save that file", responses={409: ERRORS[409]})
    def save(saved: Saved) -> OpenedNow:
        return _save(server, saved)

    # --- all ---

    @api.get("/api/events", tags=["events"], summary="Follow the queue and a run by server-sent events",
             response_class=EventSourceResponse)  # fmt: skip
    async def follow(
        run: Annotated[str, Query(max_length=1000, description="The folder of a run to follow as well")] = "",
    ) -> EventSourceResponse:
        """Events are `queue` (what changed in it), `run` (as `/api/folders/{name}`), `frames` (new ones, as
        `/api/folders/{name}/frames`) and `gone`, each with an object of JSON. The first ones tell all there is.
        """
        return EventSourceResponse(events(server, run), headers={"cache-control": "no-store"})

    @api.get("/health", tags=["server"], summary="Whether the server answers")
    def health() -> Health:
        states = [job.state for job in queue.state.jobs.values()]
        return Health("ok", __version__, sum(state in ("running", "pausing", "stopping") for state in states),
                      states.count("queued"))  # fmt: skip

    return api


def _facts() -> list[SettingFacts]:
    return [
        SettingFacts(
            name, each.section, each.help, each.unit, _default(each), each.expected, each.choices, name in PARAMS
        )
        for name, each in DECLARATIONS.items()
    ]


def _default(declaration: Declaration) -> str:
    default = declaration.default
    return default if isinstance(default, str) else write_value(default)


def _opened(server: Server) -> OpenedNow:
    if server.file is None:
        return OpenedNow("", "", "", (), False, server.shown)
    text = read_text(server.file.path)
    return OpenedNow(
        str(server.file.path), text, digest(text.encode("utf-8", "surrogatepass")), server.file.overrides, True,
        server.shown,
    )  # fmt: skip


def _save(server: Server, saved: Saved) -> OpenedNow:
    if server.file is None:
        raise Unknown("the server was started without a settings file; copy the text into a file of yours")
    if _opened(server).sha256 != saved.sha256:
        raise NotNow(f"{server.file.path} was changed meanwhile by something else; load it again")
    try:
        atomic.write(server.file.path.resolve(), saved.text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise disk_error(error, server.file.path) from error
    return _opened(server)
