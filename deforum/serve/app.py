"""The application: the API, Deforum's words, the page, behind the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from deforum.errors import UserError
from deforum.reports.plot.page import script, stylesheet
from deforum.serve import api, deforum_api
from deforum.serve.access import COOKIE, Access, Gate, token_in
from deforum.serve.jobs import NotNow, Unknown
from deforum.serve.views import Server
from deforum.version import __version__
from schedules import ScheduleError
from schedules.quoting import cut

PAGE = Path(__file__).parent / "page"
ABOUT = """\
The queue of runs, the folders of runs, and settings of a server of `deforum serve`.

Bodies are JSON. Errors have the status 4xx and an object with a `message`.
"""


def application(server: Server, access: Access) -> ASGIApp:
    """Return the ASGI application of a server."""
    app = FastAPI(title="Deforum, done right", description=ABOUT, version=__version__, docs_url=None, redoc_url=None)
    app.include_router(api.router(server))
    app.include_router(deforum_api.router(server))
    for name, kind, text in (("plot.css", "text/css", stylesheet()), ("plot.js", "text/javascript", script())):
        app.add_route(f"/static/{name}", _text(text, kind), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=PAGE), name="static")

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> FileResponse:
        return _page("index.html", request, access)

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> FileResponse:
        return _page("docs.html", request, access)

    @app.exception_handler(UserError)
    @app.exception_handler(ScheduleError)
    async def user_error(request: Request, error: Exception) -> JSONResponse:
        status = 404 if isinstance(error, Unknown) else 409 if isinstance(error, NotNow) else 422
        problems = error.problems if isinstance(error, UserError) else ()
        told = [{"message": each.message, "where": each.where} for each in problems]
        return JSONResponse({"message": str(error), "problems": told}, status)

    @app.exception_handler(RequestValidationError)
    async def wrong_body(request: Request, error: RequestValidationError) -> JSONResponse:
        # Bodies that are no JSON, or lack what is needed: Deforum's clients expect 400.
        return JSONResponse({"message": "\n".join(map(_in_words, error.errors()[:20]))}, 400)

    @app.exception_handler(HTTPException)
    async def other_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"message": str(error.detail)}, error.status_code, error.headers)

    return Gate(app, access)


def _text(text: str, kind: str) -> Callable[[Request], Response]:
    return lambda request: Response(text, media_type=kind, headers={"cache-control": "no-cache"})


def _in_words(error: Mapping[str, Any]) -> str:
    """Return one error of a body or query as a line."""
    place: Sequence[object] = error.get("loc", ())
    where = ".".join(str(part) for part in place if part != "body")
    return cut(f"{where}: {error.get('msg')}" if where else error.get("msg"), 300)


def _page(name: str, request: Request, access: Access) -> FileResponse:
    """Answer a page; a token in its address is kept as a cookie, so that the page's requests have it."""
    response = FileResponse(PAGE / name, headers={"cache-control": "no-cache"})
    if access.token and token_in(request.url.query):
        response.set_cookie(COOKIE, access.token, httponly=True, samesite="strict", max_age=7 * 24 * 3600)
    return response
