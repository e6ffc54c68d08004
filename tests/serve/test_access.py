"""Who may ask the server. Each row is an attack, or what must go on working beside it."""

from __future__ import annotations

import pytest

from deforum.serve.access import COOKIE, Access

HERE = Access("127.0.0.1")
LOCAL = {"host": "127.0.0.1:7860"}
OPEN = Access("0.0.0.0", token="secret", names=("films.example",))
REMOTE = {"host": "192.168.1.7:7860"}
JSON = {"content-type": "application/json", "content-length": "2"}


@pytest.mark.parametrize(
    ("access", "method", "headers", "status"),
    [
        (HERE, "GET", LOCAL, None),
        (HERE, "GET", {"host": "localhost:7860"}, None),
        (HERE, "GET", {"host": "[::1]:7860"}, None),
        (HERE, "GET", {"host": "LOCALHOST.:7860"}, None),
        # DNS rebinding: a website's name that was made to point to this computer.
        (HERE, "GET", {"host": "evil.example:7860"}, 421),
        (HERE, "GET", {"host": "127.0.0.1.evil.example"}, 421),
        (HERE, "GET", {"host": "192.168.1.7:7860"}, 421),
        (HERE, "GET", {"host": "evil.example@127.0.0.1"}, 421),
        (HERE, "GET", {"host": ""}, 421),
        (HERE, "GET", {}, 421),
        # Pages of other origins, another port of this computer included.
        (HERE, "POST", {**LOCAL, **JSON, "origin": "http://127.0.0.1:7860"}, None),
        (HERE, "POST", {**LOCAL, **JSON, "origin": "http://evil.example"}, 403),
        (HERE, "POST", {**LOCAL, **JSON, "origin": "http://127.0.0.1:8000"}, 403),
        (HERE, "POST", {**LOCAL, **JSON, "origin": "http://localhost:7860"}, 403),
        (HERE, "POST", {**LOCAL, **JSON, "origin": "null"}, 403),
        (HERE, "GET", {**LOCAL, "origin": "http://evil.example"}, 403),
        (HERE, "DELETE", {**LOCAL, "origin": "http://evil.example"}, 403),
        (HERE, "GET", {**LOCAL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),  # <img src=...>
        (HERE, "GET", {**LOCAL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, None),  # a link
        (HERE, "POST", {**LOCAL, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),  # a form
        # A form can send no JSON.
        (HERE, "POST", {**LOCAL, "content-type": "text/plain", "content-length": "2"}, 415),
        (HERE, "POST", {**LOCAL, "content-type": "text/plain", "transfer-encoding": "chunked"}, 415),
        (HERE, "PUT", {**LOCAL, "content-length": "2"}, 415),
        (HERE, "POST", {**LOCAL, "content-length": "0"}, None),
        # The token.
        (OPEN, "GET", REMOTE, 401),
        (OPEN, "GET", {**REMOTE, "authorization": "Bearer secret"}, None),
        (OPEN, "GET", {**REMOTE, "authorization": "bearer  secret"}, None),
        (OPEN, "GET", {**REMOTE, "authorization": "Basic secret"}, 401),
        (OPEN, "GET", {**REMOTE, "authorization": "Bearer secre"}, 401),
        (OPEN, "GET", {**REMOTE, "authorization": "Bearer \xe9"}, 401),
        (OPEN, "GET", {**REMOTE, "cookie": f"a=b; {COOKIE}=secret"}, None),
        (OPEN, "GET", {**REMOTE, "cookie": f"{COOKIE}="}, 401),
        (OPEN, "GET", {"host": "films.example", "authorization": "Bearer secret"}, None),
        (OPEN, "GET", {"host": "evil.example", "authorization": "Bearer secret"}, 421),
        (OPEN, "GET", {**REMOTE, "cookie": f"{COOKIE}=secret", "origin": "http://evil.example"}, 403),
    ],
)
def test_who_is_answered(access: Access, method: str, headers: dict[str, str], status: int | None) -> None:
    refused = access.refuse(method, "/api/queue", headers)
    assert (None if refused is None else refused[0]) == status
    assert refused is None or "secret" not in refused[1]


def test_the_token_in_an_address() -> None:
    assert OPEN.refuse("GET", "/", REMOTE, "token=secret") is None
    assert OPEN.refuse("GET", "/", REMOTE, "token=other") is not None
    assert OPEN.refuse("GET", "/health", REMOTE) is None
