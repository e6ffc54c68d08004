"""LoRAs of the setting on the timeline, together with those of prompts."""

from __future__ import annotations

from typing import Any

from deforum.features.table import timeline_of
from deforum.loading import load
from deforum.timeline.edits import When
from deforum.timeline.lora_words import LoraWord


def frames(**settings: Any) -> Any:
    return timeline_of(load({"max_frames": 5, "seed": 1, **settings}, to_render=False).settings)


def test_weights_follow_their_schedules() -> None:
    timeline = frames(
        loras=[{"lora": "ink", "weight": "0: (0), 4: (1)", "text_encoder": 0.5}, {"lora": "b", "weight": -1}]
    )
    assert [timeline[index].loras for index in (0, 2)] == [
        (LoraWord("ink", 0.5, 0.0), LoraWord("b", -1, -1)), (LoraWord("ink", 0.5, 0.5), LoraWord("b", -1, -1))
    ]  # fmt: skip


def test_without_a_weight_for_the_text_it_is_that_of_the_network() -> None:
    assert frames(loras={"ink": "0: (0), 4: (1)"})[1].loras == (LoraWord("ink", 0.25, 0.25),)


def test_shares_of_steps() -> None:
    timeline = frames(loras=[{"lora": "ink", "start": "0: (0), 4: (0.5)", "end": 0.75}])
    assert timeline[0].loras[0].when == (When(until=0.75),)
    assert timeline[4].loras[0].when == (When(after=0.5, until=0.75),)
    assert [timeline[4].loras[0].acts(step, 8) for step in range(1, 9)] == [False] * 4 + [True] * 2 + [False] * 2


def test_those_of_prompts_add_to_them() -> None:
    timeline = frames(loras={"ink": 0.5}, prompts={0: "a <lora:ink:`t/4`:1> <lora:other:0.1>"})
    assert timeline[2].loras == (LoraWord("ink", 1.0, 1.5), LoraWord("other", 0.1, 0.1))
