"""What a schedule of texts means."""

from __future__ import annotations

import pytest

from schedules import ScheduleError, Variables, parse_text

V = Variables(seed=7, fps=10)


@pytest.mark.parametrize(
    "text, want",
    [
        ('0: ("Euler a"), 2: ("DDIM")', ["Euler a", "Euler a", "DDIM", "DDIM"]),
        ("0:(Euler), 2:(Heun)", ["Euler", "Euler", "Heun", "Heun"]),
        ("2:(Heun), 0:(Euler)", ["Euler", "Euler", "Heun", "Heun"]),
        ("0:(a), 2:(b), 2:(c)", ["a", "a", "c", "c"]),
        ("0:(a), 4:(b), -1:(c)", ["a", "a", "a", "a"]),
        ('0:("A"), "max_f-1":("B")', ["A", "A", "B", "B"]),
        ('0:("model (v1).ckpt")', ["model (v1).ckpt"] * 4),
        ("0:(model (v1).ckpt)", ["model (v1).ckpt"] * 4),
        ('0:("!({video_mask})")', ["!({video_mask})"] * 4),
        ("0:({human_mask} & (a | b)), 2: (a) & (b)", ["{human_mask} & (a | b)"] * 2 + ["(a) & (b)"] * 2),
        ('0:("C:/masks/a.png")', ["C:/masks/a.png"] * 4),
        (r"0:(C:\x.ckpt), 1: D:\y.ckpt", [r"C:\x.ckpt", r"D:\y.ckpt", r"D:\y.ckpt", r"D:\y.ckpt"]),
        ('0:("a, b"), 2:(c, d)', ["a, b", "a, b", "c, d", "c, d"]),
        ('0:("a, 5: b) (c")', ["a, 5: b) (c"] * 4),
        ('0:("  DDIM  "), 2:( "LMS" )', ["  DDIM  ", "  DDIM  ", "LMS", "LMS"]),
        ("0:( Euler )", ["Euler"] * 4),
        ('0:("say ""hi""")', ['say "hi"'] * 4),
        ('0:("a" | "b")', ['"a" | "b"'] * 4),
        ("0:(it's), 2:(b)", ["it's", "it's", "b", "b"]),
        ('0:("")', [""] * 4),
        # a number or nothing keeps the text before, a number in quotes is a text
        ('0:("x"), 1:(5), 2:("y")', ["x", "x", "y", "y"]),
        ('0:("x"), 1:(), 3:("5")', ["x", "x", "x", "5"]),
        # unpaired, as Deforum reads it
        ("0:(a, 2:(b)", ["a", "a", "b", "b"]),
        # extensions
        ('2:("x")', ["x"] * 4),
        ('0:("x"), 0.2s:("y"),', ["x", "x", "y", "y"]),
        ("Euler a", ["Euler a"] * 4),
        ('"C:/x.ckpt"', ["C:/x.ckpt"] * 4),
        ("a, b", ["a, b"] * 4),
        ({0: "Euler a", "max_f": 'say "hi", (you): 5'}, ["Euler a"] * 3 + ['say "hi", (you): 5']),
        ({0: "x", 1: 5, 2: "5"}, ["x", "x", "5", "5"]),
    ],
)
def test_texts(text: object, want: list[str]) -> None:
    schedule = parse_text(text)  # type: ignore[arg-type]
    assert list(schedule.sample(4, V)) == want
    assert parse_text(schedule.text) == schedule


@pytest.mark.parametrize(
    "text, want",
    [
        ('0:("model (v1).ckpt")', ["model v1.ckpt"] * 4),
        ('0:("C:/masks/a.png")', ["C"] * 4),
        ('0:( "LMS" )', [" LMS "] * 4),
        ('0:("x"), 1:("5")', ["x"] * 4),
        ({0: "a (b)"}, ["a b"] * 4),
    ],
)
def test_deforum_stripping(text: object, want: list[str]) -> None:
    assert list(parse_text(text).sample(4, V, deforum_stripping=True)) == want  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text, column, told",
    [
        ("", 0, "nothing here"),
        ('0:("x"), y', 9, "no ':'"),
        ('0:("x), 5', 3, 'unmatched "'),
        ("0:(x, 5", 2, "unmatched ("),
        ('mx_f:("x")', 0, "unknown name 'mx_f'"),
        ("C:/x.ckpt", 0, "unknown name 'C'"),
        ("0:(512)", 2, "expected a text"),
        ("2:(512)", 2, "expected a text"),
        ("512", 0, "expected a text"),
        ('4:("x")', 2, "no keyframe is on the timeline"),
        (5, 0, "no text"),
        (None, 0, "no text"),
    ],
)
def test_mistakes(text: object, column: int, told: str) -> None:
    with pytest.raises(ScheduleError, match="sampler") as caught:
        parse_text(text, name="sampler").sample(4, V)  # type: ignore[arg-type]
    assert told in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize("mapping", [{}, {0: None}, {0: True}, {0: ["x"]}])
def test_mistakes_in_mappings(mapping: object) -> None:
    with pytest.raises(ScheduleError, match="sampler"):
        parse_text(mapping, name="sampler")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "same", "notes"),
    [
        ('0: ("Euler a") 30: ("DDIM")', '0: ("Euler a"), 30: ("DDIM")', 1),
        ('0: ("Euler a")\n30: ("DDIM"), 40: (LMS); 50: (Heun)',
         '0: ("Euler a"), 30: ("DDIM"), 40: (LMS), 50: (Heun)', 2),
        ('0: ("a (b) 30: (c)")', '0: ("a (b) 30: (c)")', 0),
        ("0: ((a) 30: (b))", "0: ((a) 30: (b))", 0),
        ("0: (a) 30: b", "0: (a) 30: b", 0),
    ],
)  # fmt: skip
def test_a_missing_comma_is_read_and_said(text: str, same: str, notes: int) -> None:
    schedule = parse_text(text)
    assert schedule == parse_text(same) and len(schedule.notes) == notes
