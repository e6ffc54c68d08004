"""JSON as people edit it by hand."""

from __future__ import annotations

import json

import pytest

from deforum.errors import UserError
from deforum.settings.document import Mapping, Node, Scalar, Sequence
from deforum.settings.relaxed_json import parse_json


def plain(node: Node) -> object:
    """The same as dicts, lists and texts."""
    match node:
        case Mapping():
            return {key.text: plain(value) for key, value in node.entries}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        (' \ufeff{"a": 1, "b": -1.5e3, "c": true, "d": null}', {"a": "1", "b": "-1.5e3", "c": "true", "d": "null"}),
        ('{"a": {"0": "x", "1": [1, "y", {}]}}', {"a": {"0": "x", "1": ["1", "y", {}]}}),
        # beyond JSON
        ('{"a": 1,}', {"a": "1"}),
        ('{"a": [1, 2,],}', {"a": ["1", "2"]}),
        ("{“a”: “b”}", {"a": "b"}),
        ("{”a”: „b“, 'c': 'd'}", {"a": "b", "c": "d"}),
        ('{"a": "“b” it\'s"}', {"a": "“b” it's"}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": True, "b": False, "c": None}', {"a": "true", "b": "false", "c": "null"}),
        ('{ // one\n # two\n "a": 1 }', {"a": "1"}),
        ('{"a": .5, "b": 5., "c": +1}', {"a": ".5", "b": "5.", "c": "+1"}),
        # escapes
        (r'{"a": "\" \\ \/ \n \t \u00e9 \ud83d\ude00"}', {"a": '" \\ / \n \t é 😀'}),
        (r'{"a": "C:\x\y.png"}', {"a": r"C:\x\y.png"}),
    ],
)
def test_what_is_meant(text: str, expected: object) -> None:
    assert plain(parse_json(text, "a.txt")) == expected


def test_places() -> None:
    root = parse_json('{\n  "a": 1,\n  "b": {"c": "x\\ny"}\n}', "a.txt")
    (a, one), (b, inner) = root.entries
    assert [str(node.place) for node in (a, one, b, inner)] == ["a.txt:2:3", "a.txt:2:8", "a.txt:3:3", "a.txt:3:8"]
    assert isinstance(one, Scalar) and one.plain
    assert isinstance(inner, Mapping) and isinstance(inner.entries[0][1], Scalar) and not inner.entries[0][1].plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.txt:1:1: expected a value: a text in quotes, a number, true, false or null\n    \n    ^"),
        ("[1]", "a.txt:1:1: this is not a settings file; expected { and then names with values\n    [1]\n    ^"),
        ('{"a": 1\n "b": 2}',
         "a.txt:2:2: expected a comma, or the } that ends what begins at 1:1\n     \"b\": 2}\n     ^"),
        ('{"a" 1}', "a.txt:1:6: expected a colon behind 'a'\n    {\"a\" 1}\n         ^"),
        ('{"a": }',
         "a.txt:1:7: expected a value: a text in quotes, a number, true, false or null\n    {\"a\": }\n          ^"),
        ('{"a": yes}',
         "a.txt:1:7: expected a value: a text in quotes, a number, true, false or null\n    {\"a\": yes}\n          ^"),
        ('{"a": "b}', "a.txt:1:7: this quote is never closed\n    {\"a\": \"b}\n          ^"),
        ('{"a": 1} x', "a.txt:1:10: the file should end here\n    {\"a\": 1} x\n             ^"),
        ('{{}: 1}', "a.txt:1:2: expected a name in quotes\n    {{}: 1}\n     ^"),
        (r'{"a": "\u12"}',
         "a.txt:1:9: expected four hexadecimal digits behind \\u\n    {\"a\": \"\\u12\"}\n            ^"),
        ("[" * 100,
         "a.txt:1:22: this is nested too deeply for any setting; expected at most 20 levels\n    "
         + "[" * 100 + "\n    " + " " * 21 + "^"),
    ],
)  # fmt: skip
def test_errors(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_json(text, "a.txt")
    assert str(caught.value) == message


def test_json_is_json() -> None:
    value = {"a": ['\\ " / \n \u2028 \x7f é 😀', "", " "], "": {"b": "0: (1), 2: (3)"}}
    for ascii_only in (True, False):
        assert plain(parse_json(json.dumps(value, ensure_ascii=ascii_only), "a.txt")) == value
