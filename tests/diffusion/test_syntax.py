"""The prompt language: text in, weighted spans out."""

from __future__ import annotations

import pytest

from deforum.diffusion.prompts.syntax import (
    BREAK,
    Weighted,
    parse_attention,
    parse_composition,
    prompt_notes,
    strip_networks,
)

ATTENTION = {
    "": [("", 1.0)],
    "a cat": [("a cat", 1.0)],
    "a (cat)": [("a ", 1.0), ("cat", 1.1)],
    "a ((cat))": [("a ", 1.0), ("cat", 1.21)],
    "a [cat]": [("a ", 1.0), ("cat", 1 / 1.1)],
    "[[cat]]": [("cat", 1 / 1.21)],
    "(cat:1.3)": [("cat", 1.3)],
    "(cat: 1.3 )": [("cat", 1.3)],
    "(cat:-0.5)": [("cat", -0.5)],
    "(cat:.5)": [("cat", 0.5)],
    "(cat:0)": [("cat", 0.0)],
    "(cat:1.2246467991473532e-16)": [("cat", 1.2246467991473532e-16)],
    "(cat:-1E-05)": [("cat", -1e-05)],
    "(cat:5.e-1)": [("cat", 0.5)],
    "(cat:+.5)": [("cat", 0.5)],
    "(cat:--0.5)": [("cat", 0.5)],  # a sign before an expression
    "(cat:-+0.5)": [("cat", -0.5)],
    "(cat:True)": [("cat", 1.0)],
    "(cat:False) dog": [("cat", 0.0), (" dog", 1.0)],
    "(cat:inf)": [("cat", 1.0)],
    "(cat:-Infinity)": [("cat", 1.0)],
    "(cat:nan)": [("cat", 1.0)],
    "(cat:1e400)": [("cat", 1.0)],
    "(cat:1e4)": [("cat", 1.0)],
    f"(cat:{'9' * 400})": [("cat", 1.0)],
    "(cat:e-05)": [("cat:e-05", 1.1)],
    "(cat:info)": [("cat:info", 1.1)],
    "(" * 100 + "cat": [("cat", 1000.0)],
    "(a (b:2) c:1.5)": [("a ", 1.5), ("b", 3.0), (" c", 1.5)],
    "([a])": [("a", 1.0)],
    r"a \(b\)": [("a (b)", 1.0)],
    r"\[a\] \\": [("[a] \\", 1.0)],
    r"(a\):1.2)": [("a)", 1.2)],
    "(unclosed": [("unclosed", 1.1)],
    "((unclosed": [("unclosed", 1.21)],
    "unopened)": [("unopened)", 1.0)],
    "unopened]": [("unopened]", 1.0)],
    "(a]": [("a]", 1.1)],
    "[a:1.2)": [("a:1.2)", 1 / 1.1)],
    "16:9": [("16:9", 1.0)],
    "a:1.2)": [("a:1.2)", 1.0)],
    "(a:b)": [("a:b", 1.1)],
    "back\\slash": [("back\\slash", 1.0)],
    "()": [("", 1.0)],
    "a (house:1.0) b": [("a house b", 1.0)],
    "a (((house:1.3)) [on] a (hill:0.5), sun": [
        ("a ", 1.0),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun", 1.1),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "spans"), ATTENTION.items())
def test_attention(text: str, spans: list[tuple[str, float]]) -> None:
    parsed = parse_attention(text)
    assert [span.text for span in parsed] == [word for word, _ in spans]
    assert [span.weight for span in parsed] == pytest.approx([weight for _, weight in spans])


def test_break_begins_a_chunk() -> None:
    assert parse_attention("a BREAK b") == (Weighted("a", 1.0), BREAK, Weighted("b", 1.0))
    assert parse_attention("(a BREAK b:2)") == (Weighted("a", 2.0), BREAK, Weighted("b", 2.0))
    assert parse_attention("BREAKFAST") == (Weighted("BREAKFAST", 1.0),)
    assert parse_attention("a BREAK") == (Weighted("a", 1.0), BREAK)
    assert parse_attention("a\n BREAK  BREAK\tb ") == (Weighted("a", 1.0), BREAK, BREAK, Weighted("b ", 1.0))


COMPOSITION = {
    "a cat": [("a cat", 1.0)],
    "a AND b": [("a", 1.0), ("b", 1.0)],
    "a :0.3 AND b:-0.5 AND c": [("a", 0.3), ("b", -0.5), ("c", 1.0)],
    "cat:1.2 AND dog:0.4": [("cat", 1.2), ("dog", 0.4)],
    "(a:1.2) AND b": [("(a:1.2)", 1.0), ("b", 1.0)],
    "a AND b :1e-06": [("a", 1.0), ("b", 1e-06)],
    "a:-1E2 AND b: +.5 ": [("a", -100.0), ("b", 0.5)],
    "a:True AND b:False": [("a", 1.0), ("b", 0.0)],
    "a:inf AND b:nan AND c:1e400": [("a", 1.0), ("b", 1.0), ("c", 1.0)],
    "a AND b:c": [("a", 1.0), ("b:c", 1.0)],
    "aspect 16:9": [("aspect 16:9", 1.0)],
    "SAND AND LAND": [("SAND", 1.0), ("LAND", 1.0)],
    "AND": [("", 1.0), ("", 1.0)],
}


@pytest.mark.parametrize(("text", "spans"), COMPOSITION.items())
def test_composition(text: str, spans: list[tuple[str, float]]) -> None:
    assert [(span.text, span.weight) for span in parse_composition(text)] == spans


def test_what_does_not_act_is_said_and_taken_out() -> None:
    text = "a hill <hypernet:snow:0.7> [sun:moon:0.5]"
    (note,) = prompt_notes(text)
    assert "<hypernet:snow:0.7>" in note
    assert strip_networks(text) == "a hill  [sun:moon:0.5]"
    assert prompt_notes("[cat] (a:1.2) [b] a|b [c:d]") == ()


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("a <hypernet:x:1> <foo:bar>", (
            "<hypernet:x:1>, <foo:bar>: no effect: of extra networks, LoRAs are supported (<lora:name:weight>)",)),
        ("a <cat-toy>, <3", ("<cat-toy>: read as words: < and > only mark extra networks",)),
        ("[a|b] [:c:3] [(d:1.2)::.5] [a:[b]:7] [a:b:`t/9`]", ()),
        ("[a:b:50%] [a:[b:c:-1]:7] [c:d]", (
            "[a:b:50%], [b:c:-1]: read as words; expected a number of steps, or a share of them below 1, behind the "
            "last colon, as in [from:to:0.5]",)),
        ("(a:inf) (b:-nan) AND c:5000", (
            "weight inf, weight -nan, weight 5000: 1 is used instead; expected a number from -1000 to 1000, as in "
            "(word:1.2)",)),
        (f"<hyper:{'x' * 500}>", (
            f"<hyper:{'x' * 37}…{'x' * 14}>: no effect: of extra networks, LoRAs are supported (<lora:name:weight>)",)),
        ("a <lora:b:0.5> <lyco:c>", ()),
        ("a `t/2` b `sin(t) c\nd", (
            "`sin(t) c: read as words: an expression stands between two back-quotes on one line",)),
        ("(a:1e-3) <3 [b] c:9 (d:inform) `t` (e:`t/2`) ``", ()),
    ],
)  # fmt: skip
def test_notes(text: str, notes: tuple[str, ...]) -> None:
    assert prompt_notes(text) == notes


@pytest.mark.parametrize("piece", [" ", "(", "[", ":", ": ", "1", "(:", "[|", "<a:", "(a:-", "\\", "`", "BREAK ", "\n"])
def test_cost_grows_with_the_length(piece: str) -> None:
    """With a pattern whose cost grows with its square, each of these takes seconds to minutes."""
    text = piece * (10_000 // len(piece))
    for each in (text + "x", f"(a:{text}", f"a AND b:{text}c", text + "]" * len(text)):
        assert parse_attention(each)
        assert parse_composition(each)
        assert strip_networks(each)
        assert sum(map(len, prompt_notes(each))) < 1000


def test_hostile_text_ends() -> None:
    for text in (
        "(" * 5000,
        "[" * 3000 + "]" * 3000,
        "\\" * 5000,
        ":" * 5000,
        "(:" * 3000,
        "[|" * 3000,
        "a AND " * 999,
    ):
        assert parse_attention(text)
        assert parse_composition(text)
        prompt_notes(text)
