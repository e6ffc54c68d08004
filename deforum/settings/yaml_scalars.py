"""Single values as YAML."""

from __future__ import annotations

import json
import re

PLAIN = re.compile(r"[A-Za-z_./][\w./+-]*( [\w./+-]+)*")
NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def write_scalar(value: object) -> str:
    """Return a number, a text, true, false or null as YAML on one line."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case _:
            return quote(str(value))


def quote(text: str) -> str:
    """Return a text as a YAML scalar, in quotes if it needs them."""
    if PLAIN.fullmatch(text) and text.casefold() not in NOT_TEXT:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # YAML forbids some invisible characters that JSON allows.
    return re.sub("[^ -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]", _escape, quoted)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
