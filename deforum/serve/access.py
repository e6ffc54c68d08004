"""Who may ask: the Host and Origin of a request, the token, and the size of its body.

A page of any website can send requests to a server on this computer, by its address or, after a name of the website was
made to point here (DNS rebinding), under that name. So every request has to name this server as its Host, and none may
come from another origin. Other users of this computer can reach it; a token keeps them out, and is always needed where
other computers can.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "deforum_token"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/health",)
"""Answered without a token, for containers and load balancers."""
READING = ("GET", "HEAD", "OPTIONS")
MOST_BYTES = 16 * 2**20
"""Of a request's body: four settings files of the largest size."""
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer."""


@dataclass(frozen=True)
class Access:
    """The rules of one server."""

    host: str
    """The address that it listens on."""
    token: str = ""
    names: tuple[str, ...] = ()
    """Names under which it may be asked, besides addresses."""
    most_bytes: int = MOST_BYTES

    def refuse(self, method: str, path: str, headers: Mapping[str, str], query: str = "") -> tuple[int, str] | None:
        """Return the status and message with which a request is refused; None where it is answered."""
        host = headers.get("host", "")
        name = _name_of(host)
        if not self._is_own(name):
            return 421, "this server is not known under the name in Host; ask it by its address, or see --host-name"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return 403, "requests from pages of other origins are refused"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            method not in READING or headers.get("sec-fetch-mode") != "navigate"
        ):
            return 403, "requests from pages of other origins are refused"
        if method not in READING and _kind_of(headers) != "application/json" and _has_body(headers):
            return 415, "expected a body of type application/json"
        if self.token and path not in OPEN_PATHS and not self._has_token(headers, query):
            return (
                401,
                "a token is needed: open the address that the server printed, or send Authorization: Bearer TOKEN",
            )
        return None

    def _is_own(self, name: str) -> bool:
        if name in self.names or name == self.host or name in LOOPBACK:
            return True
        return self.host not in LOOPBACK and _is_address(name)

    def _has_token(self, headers: Mapping[str, str], query: str) -> bool:
        return any(hmac.compare_digest(each.encode(), self.token.encode()) for each in _tokens(headers, query))


def token_in(query: str) -> str:
    """Return the token in the query of an address; "" if there is none."""
    return dict(parse_qsl(query)).get("token", "")


def _tokens(headers: Mapping[str, str], query: str) -> list[str]:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    found = [bearer.strip()] if scheme.lower() == "bearer" else []
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        cookies = SimpleCookie()
    found += [cookies[COOKIE].value] if COOKIE in cookies else []
    return [*found, token_in(query)]


def _name_of(host: str) -> str:
    """Return the name or address in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") if re.fullmatch(r"[\w.:\[\]-]+", host) else ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _kind_of(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class Gate:
    """ASGI middleware that answers only what `Access` allows, with HEADERS."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        refused = self.access.refuse(scope["method"], scope["path"], headers, query)
        most = self.access.most_bytes
        length = headers.get("content-length", "0")
        if refused is None and (not length.isdecimal() or int(length) > most):
            refused = 413, f"the body has {length[:20]} bytes; expected at most {most:,}"
        read, is_begun = 0, False

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLarge
            return message

        async def told(message: Message) -> None:
            nonlocal is_begun
            if read > most and not is_begun:
                raise _TooLarge  # in place of what the application makes of a body that it could not read
            if message["type"] == "http.response.start":
                is_begun = True
                message["headers"] = _with_headers(message["headers"])
            await send(message)

        if refused is None:
            try:
                await self.app(scope, limited, told)
                return
            except _TooLarge:
                if is_begun:
                    raise
                refused = 413, f"the body has more than {most:,} bytes"
        status, message = refused
        body = json.dumps({"message": message}).encode()
        kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            kind.append((b"www-authenticate", b"Bearer"))
        if status == 413:
            kind.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": _with_headers(kind)})
        await send({"type": "http.response.body", "body": body})


def _with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    known = {name for name, _ in given}
    added = ((name.encode(), value.encode()) for name, value in HEADERS.items())
    return [*given, *(each for each in added if each[0] not in known)]


class _TooLarge(Exception):
    """A body without its length has more bytes than are read."""
