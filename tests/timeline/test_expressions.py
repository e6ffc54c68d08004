"""Back-quoted expressions in prompts: found before a render, at every frame at which they act."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deforum.build import prepare
from deforum.errors import UserError
from deforum.loading import load
from deforum.timeline.prompts import fill_expressions, plain_number
from schedules import Variables

BASE = {"max_frames": 6, "cadence": 1, "seed": 1, "width": 64, "height": 64}
INF = "expected a finite number"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompts": {"0": "a", "4": "a (red:`sine(t)`)"}}, ["prompts, keyframe 4: unknown function 'sine'", "'sin'"]),
        ({"prompts": {"0": "a", "90": "`q`"}}, ["prompts, keyframe 90: unknown name 'q'"]),
        ({"prompts": {"-5": "`q`", "0": "a"}}, ["prompts, keyframe -5: unknown name 'q'"]),
        ({"prompts": "a --neg (b:`q`)"}, ["prompts, keyframe 0: unknown name 'q'"]),
        ({"prompts": "a", "negative_prompt": "--neg (b:`q`)"}, ["negative_prompt: unknown name 'q'"]),
        ({"positive_prompt": "(b:`q`)", "prompts": "a"}, ["positive_prompt: unknown name 'q'"]),
        ({"negative_prompt": "`q`"}, ["negative_prompt: unknown name 'q'"]),
        ({"prompts": {"0": "`1/t`"}}, [f"prompts, keyframe 0: the value is inf at frame 0; {INF}"]),
        ({"prompts": {"0": "`sqrt(3-t)`"}}, [f"prompts, keyframe 0: the value is nan at frame 4; {INF}"]),
        ({"prompts": {"0": "a", "2": "`1/(t-5)`"}}, [f"prompts, keyframe 2: the value is inf at frame 5; {INF}"]),
        ({"prompts": {"0": "a", "4": "`1/(t-2)`"}, "prompt_blend": "linear"}, [f"the value is inf at frame 2; {INF}"]),
        ({"prompts": {"0": "`1/(t-5)`", "3": "b"}}, []),
        ({"prompts": {"0": "`1/(t-1)`"}, "cadence": 2}, []),  # frame 1 is not diffused
        ({"prompts": {"0": "`1/(t-4)`"}, "cadence": 2}, ["the value is inf at frame 4"]),
        ({"prompts": {"0": "a", "9": "`1/(t-9)`"}}, []),  # it never acts
        ({"prompts": "(a:`t+`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": "(a:`9**9**9`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": f"(a:`{'9' * 400}`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": f"(a:`t*{'9' * 400}`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": "(a:`t**-1`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": f"(a:`{'(' * 3000}t`)"}, ["prompts, keyframe 0:"]),
        ({"prompts": "`` a `t` ` b"}, []),
    ],
)  # fmt: skip
def test_expressions_are_checked(tmp_path: Path, settings: dict[str, Any], says: list[str]) -> None:
    given = BASE | settings
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(given), encoding="utf-8")
    for source in (path, given):
        if not says:
            assert len(list(prepare(load(source).settings).timeline)) == 6
            continue
        with pytest.raises(UserError) as caught:
            load(source)
        assert all(part in str(caught.value) for part in says)


def test_settings_made_in_python_are_checked_too() -> None:
    settings = replace(load(BASE).settings, prompts=(("0", "a"), ("3", "`q`")), negative_prompt="`1/t`")
    with pytest.raises(UserError) as caught:
        prepare(settings)
    assert [problem.message.split("\n")[0] for problem in caught.value.problems] == [
        f"negative_prompt: the value is inf at frame 0; {INF}",
        "prompts, keyframe 3: unknown name 'q'; expected one of t, sec, s, max_f, fps, pi, e",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("prompts:\n  0: a calm sea\n  4: a (red:`sine(t)`)", "a.yaml:3:14: "),
        ("prompts: {0: a}\nnegative_prompt: '(b:`q`)'", "a.yaml:2:23: "),
        ("prompts: |\n  0: a\n  4: `q`", "a.yaml:1:10: "),
        ("animation_prompts: (`q`)", "a.yaml:1:22: animation_prompts, keyframe 0: "),
    ],
)
def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load("a.yaml")
    assert str(caught.value).startswith(place)


def test_deforums_profile_uses_weight_1_where_there_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(json.dumps({"animation_prompts": {"0": "(a:`1/t`)"}, "max_frames": 3}), encoding="utf-8")
    loaded = load(path, ["seed=1", "cadence=1"])
    (note,) = (line for line in loaded.report if "finite" in line)
    assert note.startswith("animation_prompts, keyframe 0: the value is inf at frame 0")
    assert note.endswith("1 is used there")
    assert [frame.prompts[0].positive for frame in prepare(loaded.settings).timeline] == ["(a:1)", "(a:1.0)", "(a:0.5)"]


@pytest.mark.parametrize(
    ("text", "want"),
    [("`sin(pi)`", "0.00000000000000012246467991473532"), ("`-1e-07`", "-0.0000001"), ("`t/4`", "0.5"), ("`t`", "2"),
     ("`t>1`", "True"), ("`1/(t-2)`", "1"), ("`sqrt(-t)`", "1"), ("`0.0*t`", "0.0"),
     ("`1e20*t`", "200000000000000000000.0")],
)  # fmt: skip
def test_numbers_are_written_without_exponents(text: str, want: str) -> None:
    assert fill_expressions(text, 2, 6, Variables(), plain_number) == want
