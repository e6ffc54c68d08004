"""Prompt editing: the text of each step."""

from __future__ import annotations

import pytest

from deforum.timeline.edits import DEEPEST, Edit, When, parse_edits, read_moment, text_at, walk_texts


@pytest.mark.parametrize(
    ("text", "texts"),
    {
        "a cat": ["a cat"] * 4,
        "a [cat:dog:0.5]": ["a cat", "a cat", "a dog", "a dog"],
        "a [cat:dog:3]": ["a cat", "a cat", "a cat", "a dog"],
        "a [cat:dog: .25 ]": ["a cat", "a dog", "a dog", "a dog"],
        "a [cat:dog:5e-1]": ["a cat", "a cat", "a dog", "a dog"],
        "a [cat:dog:0]": ["a dog"] * 4,
        "a [cat:dog:1]": ["a cat", "a dog", "a dog", "a dog"],
        "a [cat:dog:1.0]": ["a cat"] * 4,  # the share of all steps
        "a [cat:dog:2.9]": ["a cat", "a cat", "a dog", "a dog"],
        "a [cat:dog:9]": ["a cat"] * 4,
        "a [cat:dog:0.1]": ["a dog"] * 4,  # no whole step
        "a[ cat:0.5]": ["a", "a", "a cat", "a cat"],
        "a[: cat:0.5]": ["a", "a", "a cat", "a cat"],
        "a[ cat::0.5]": ["a cat", "a cat", "a", "a"],
        "[16:9]": [""] * 4,  # adds 16 after 9 steps
        "[a|b]": ["a", "b", "a", "b"],
        "[a|b|c] d": ["a d", "b d", "c d", "a d"],
        "[a|] d": ["a d", " d", "a d", " d"],
        "[|]": [""] * 4,
        "[a:b|c]": ["a:b", "c", "a:b", "c"],
        "[a:[b:c:3]:1]": ["a", "b", "b", "c"],
        "[[a|b]:c:0.5]": ["a", "b", "c", "c"],
        "[a|[b:c:2]]": ["a", "b", "a", "c"],
        "([a:b:2]:1.3)": ["(a:1.3)", "(a:1.3)", "(b:1.3)", "(b:1.3)"],
        "[(a:1.2):(b:0.5):2]": ["(a:1.2)", "(a:1.2)", "(b:0.5)", "(b:0.5)"],
        "[(a|b)|c]": ["(a|b)", "c", "(a|b)", "c"],
        "[[a:b:2]]": ["[a]", "[a]", "[b]", "[b]"],  # weaker attention to an edit
        "[photo 16:9:drawing:2]": ["photo 16:9", "photo 16:9", "drawing", "drawing"],
        "[cat]": ["[cat]"] * 4,
        "[a:b]": ["[a:b]"] * 4,
        "[a:b:c]": ["[a:b:c]"] * 4,
        "[a:b:-0.5]": ["[a:b:-0.5]"] * 4,
        "a:b:0.5]": ["a:b:0.5]"] * 4,
        "[a:b:0.5": ["[a:b:0.5"] * 4,
        "a|b": ["a|b"] * 4,
        "(a|b)": ["(a|b)"] * 4,
        r"\[a:b:2]": [r"\[a:b:2]"] * 4,
        r"[a\:b:c:2]": [r"a\:b", r"a\:b", "c", "c"],
        r"[a\|b|c]": [r"a\|b", "c", r"a\|b", "c"],
        r"[:\(:b:2]": [r":\(", r":\(", "b", "b"],
        "[a (b:c:2]": ["[a (b:c:2]"] * 4,  # the colon is within a bracket
        "[a (b|c|2": ["[a (b|c|2"] * 4,
        "[a) b:c:2]": ["a) b", "a) b", "c", "c"],
        "[<lora:x:1>::2] a": ["<lora:x:1> a", "<lora:x:1> a", " a", " a"],
        "[a AND b:c:2]": ["a AND b", "a AND b", "c", "c"],
        "": [""] * 4,
    }.items(),
)
def test_the_text_of_each_step(text: str, texts: list[str]) -> None:
    assert [text_at(text, step, 4) for step in range(1, 5)] == texts


@pytest.mark.parametrize(
    ("text", "moment"),
    {"0.5": 0.5, "1": 1, "1.0": 1.0, "1.": 1.0, "20": 20, "0": 0, "0.0": 0, "7.9": 7, "1e99": 10**9}.items(),
)
def test_moments(text: str, moment: float) -> None:
    read = read_moment(text)
    assert (read, type(read)) == (moment, type(moment))


def test_a_share_of_the_steps_is_not_lost_to_rounding() -> None:
    assert When(until=0.29).holds(29, 100)
    assert not When(until=0.29).holds(30, 100)
    assert When(after=0.7).holds(8, 10)


@pytest.mark.parametrize("text", ["[a:b:0.5]", "[a|b|c]", "[[a|b]:[c:d:3]:2]", "[x::4]"])
def test_an_edit_is_written_as_it_is_read(text: str) -> None:
    for shown, whens in walk_texts(parse_edits(text)):
        for when in reversed(whens):
            shown = when.around(shown)
        for step in range(1, 9):
            inner = "".join(
                part
                for part, conditions in walk_texts(parse_edits(text))
                if conditions == whens and all(when.holds(step, 8) for when in whens)
            )
            assert text_at(shown, step, 8) == inner


@pytest.mark.parametrize("piece", ["[", "]", "[a:", ":1]", "[a|", "|]", "(", "[(", "<a:", "\\", "[a:b:1]", "[[a|b]:"])
def test_cost_grows_with_the_length(piece: str) -> None:
    """With nested copies or searches, each of these takes seconds to minutes."""
    text = piece * (20_000 // len(piece))
    for each in (text, text + ":1]" * len(text), text + "]" * len(text)):
        parse_edits.cache_clear()
        assert len(text_at(each, 1, 4)) <= len(each)


def test_brackets_are_read_to_a_depth() -> None:
    (edit,) = parse_edits("[a|" * DEEPEST + "]" * DEEPEST)
    assert isinstance(edit, Edit)
    assert text_at("[a|" * 60 + "]" * 60, 1, 2) == "a"
    assert text_at("[a:" * 60 + "b" + ":0]" * 60, 1, 2) == "[a:" * 10 + "b" + ":0]" * 10
