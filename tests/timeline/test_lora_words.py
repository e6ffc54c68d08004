"""LoRAs named in prompts: what is taken out of the text, and what of a tag cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.errors import UserError
from deforum.features.table import timeline_of
from deforum.timeline.edits import When
from deforum.timeline.lora_words import LoraWord, join_loras, lora_faults, take_loras
from tests.helpers import STILL, settings_maker

EARLY, LATE = When(until=0.5), When(after=0.5)


@pytest.mark.parametrize(
    ("text", "plain", "words"),
    [
        ("a hill", "a hill", []),
        ("a <lora:ink> hill", "a  hill", [LoraWord("ink")]),
        ("<lora:ink:0.7>a", "a", [LoraWord("ink", 0.7, 0.7)]),
        ("<lora:ink:0.5:-0.8>", "", [LoraWord("ink", 0.5, -0.8)]),
        ("<lora:ink:0.5:0.8:4>", "", [LoraWord("ink", 0.5, 0.8, ranks=4)]),
        ("<lora:ink:unet=0.8>", "", [LoraWord("ink", 1.0, 0.8)]),
        ("<lora:ink:te=0.5>", "", [LoraWord("ink", 0.5, 0.5)]),
        ("<lora:ink:0.2:te=0.5:dyn=3>", "", [LoraWord("ink", 0.5, 0.5, ranks=3)]),
        ("<lora: my ink v1.2 : 1e-05 >", "", [LoraWord("my ink v1.2", 1e-05, 1e-05)]),
        ("<lora:ink:--.5>", "", [LoraWord("ink", 0.5, 0.5)]),
        ("<lora:ink:True>", "", [LoraWord("ink", 1.0, 1.0)]),
        ("<lyco:ink:0.4>", "", [LoraWord("ink", 0.4, 0.4)]),
        ("<lora:a:1> b <lora:c:2>", " b ", [LoraWord("a"), LoraWord("c", 2.0, 2.0)]),
        ("<lora:a:1><lora:b><lora:a:0.5>", "", [LoraWord("b"), LoraWord("a", 0.5, 0.5)]),
        ("<hypernet:x:1>a<cat>", "a<cat>", []),
        ("<lora:ink:heavy>", "", [LoraWord("ink")]),
        ("<lora:ink:1e9>", "", [LoraWord("ink")]),
        ("<lora:>", "", []),
        ("[<lora:ink:1>::0.5] a", "[::0.5] a", [LoraWord("ink", when=(EARLY,))]),
        ("[a:<lora:ink:0.3>b:0.5]", "[a:b:0.5]", [LoraWord("ink", 0.3, 0.3, when=(LATE,))]),
        ("[<lora:ink>|] [[<lora:ink>:3]::0.5]", "[|] [[:3]::0.5]",
         [LoraWord("ink", when=(When(turn=0, turns=2),)), LoraWord("ink", when=(EARLY, When(after=3)))]),
    ],
)  # fmt: skip
def test_words(text: str, plain: str, words: list[LoraWord]) -> None:
    assert take_loras(text) == (plain, tuple(words))
    for word in words:
        assert take_loras(str(word))[1] == (word,)


def test_steps_of_a_word() -> None:
    (word,) = take_loras("[[<lora:ink>|]::0.5]")[1]
    assert [word.acts(step, 8) for step in range(1, 9)] == [True, False, True, False] + [False] * 4


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("a <lora:ink:heavy>", 12, "the weight of a LoRA is 'heavy'; expected a number from -100 to 100"),
        ("a <lora:ink:0.5: 1e9>", 17, "the weight of a LoRA is '1e9'"),
        ("a <lora::0.5>", 8, "a LoRA without a name"),
        ("<lora:x:1:1:2.5>", 12, "the number of ranks of a LoRA is '2.5'; expected a whole number from 1"),
        ("<lora:x:1:1:1:1>", 14, "unknown part '1' of a LoRA"),
        ("<lora:x:vae=1>", 8, "unknown part 'vae=' of a LoRA"),
        ("`t/2` <lora:x:`sin(t) < 1`:inf>", 27, "the weight of a LoRA is 'inf'"),
        ("<lora:x:`t`:unet=`t/3`> <lyco:x:+1> <hypernet:x:no>", -1, ""),
    ],
)
def test_faults(text: str, column: int, says: str) -> None:
    found = list(lora_faults(text))
    assert [fault.column for fault in found] == ([] if column < 0 else [column])
    assert all(fault.message.startswith(says) for fault in found)


def test_blended_prompts_blend_their_loras() -> None:
    first, second = (LoraWord("ink", 1.0, 0.5), LoraWord("oil", 1.0, 1.0)), (LoraWord("ink", 0.5, 1.0),)
    joined = join_loras([(first, 0.75), (second, 0.25)])
    assert joined == (LoraWord("ink", 0.875, 0.625), LoraWord("oil", 0.75, 0.75))


def test_the_loras_of_a_frame(tmp_path: Path) -> None:
    make = settings_maker(tmp_path, STILL)
    prompts = "{0: 'a sea:2 a hill <lora:ink:`t/4`> --neg fog <lora:no:1>', 4: '<lora:oil:0.5:1> a hill'}"
    settings = make(prompts=prompts, max_frames=5, animation_mode="Interpolation", prompt_weighting="shares")
    frame = timeline_of(settings)[2]
    assert frame.loras == (LoraWord("ink", 0.25, 0.25), LoraWord("oil", 0.25, 0.5))
    assert [prompt.positive for prompt in frame.prompts] == ["a sea", "a hill", "a hill"]
    assert frame.prompts[0].negative == "fog"


def test_a_tag_that_cannot_be_read_is_shown_in_its_place(tmp_path: Path) -> None:
    make = settings_maker(tmp_path, STILL)
    with pytest.raises(UserError) as error:
        timeline_of(make(prompts="a hill <lora:ink:much>", max_frames=2))
    assert "prompts" in str(error.value)
    assert str(error.value).splitlines()[2].index("^") - 2 == len("a hill <lora:ink:")
