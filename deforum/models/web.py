"""Texts from web addresses that a settings file names; only where downloads are allowed, see `deforum.models.hub`."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException

from deforum.errors import UserError
from deforum.limits import Limit
from deforum.models.hub import may_download
from deforum.version import __version__
from schedules.quoting import cut

PATIENCE = 15
"""Seconds that a server may take to answer, and from one piece of its answer to the next."""
LONGEST = 120
"""Seconds that the whole answer may take."""
_PIECE = 2**16


def fetch(url: str, limit: Limit) -> bytes:
    """Return what a http or https address holds, by one request; redirects lead to http and https only.

    Raises UserError where downloads are not allowed, where it cannot be had, and where it is longer than `limit`.
    """
    if not may_download():
        what = "is not fetched without --allow-download; add that, or download it and give the file"
        raise UserError(f"{cut(url)} {what}")
    request = urllib.request.Request(url, headers={"User-Agent": f"deforum/{__version__}", "Accept": "*/*"})
    until = time.monotonic() + LONGEST
    read = bytearray()
    try:
        with _opener().open(request, timeout=PATIENCE) as answer:
            while piece := answer.read(_PIECE):
                read += piece
                limit.check(len(read), f"{cut(url)}: {limit.of}")
                if time.monotonic() > until:
                    raise TimeoutError(f"it takes more than {LONGEST} s")
    except (OSError, ValueError, HTTPException) as error:
        reason = cut(error.reason if isinstance(error, urllib.error.URLError) else error)
        raise UserError(
            f"{cut(url)} cannot be fetched ({reason or type(error).__name__}); download it and give the file"
        ) from None
    return bytes(read)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener without handlers for files, FTP and data addresses, to which a server may redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener
