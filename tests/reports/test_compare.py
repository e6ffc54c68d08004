"""Two settings files, compared by what they do in each frame."""

from __future__ import annotations

import pytest

from tests.helpers.command import DEFORUM_FILE, LOOKED_AT, Said, Say, write


def difference(say: Say, change: str) -> list[str]:
    """Compare a.yaml with itself after a change (old text -> new text, or a line more); give the lines printed."""
    old, arrow, new = change.partition(" -> ")
    assert not arrow or old in LOOKED_AT
    write("b.yaml", LOOKED_AT.replace(old, new) if arrow else f"{LOOKED_AT}{change}\n")
    said = say("diff", "a.yaml", "b.yaml", "-q")
    lines = said.out.splitlines()
    assert said.err == "" and said.status == (0 if lines == ["a.yaml and b.yaml render the same"] else 1)
    return lines[1:]


@pytest.mark.parametrize(
    "change",
    [
        "t/4 -> 0.25*t",
        "t/4 -> 0.25*t + (t == 0)",  # frame 0 is not moved
        "zoom: 1 -> zoom: {0: 1}",
        '"0: (0.5), 9: (0.95)" -> "0: (0.3), 2: (0.6), 9: (0.95)"',  # frame 0 starts from noise
        '"0: (0.5), 9: (0.95)" -> "0: (0.5), 3: (0.65), 5: (0.75), 9: (0.95)"',
        "strength -> strength_schedule",
        "a calm sea --neg fog -> a  calm sea --neg  fog",
        "{0: a calm sea --neg fog, 6: a storm} -> {0: a calm sea --neg fog, 5: a storm}",  # frame 5 is not diffused
        "fov: 90",
        "perspective_flip_theta: 3",
        "perlin_octaves: 2\nnoise_type: perlin\nnoise: 0",
        "sampler: euler_ancestral",
        "sampler: '0: (Euler a), 5: (DDIM), 6: (Euler a)'",
        "ddim_eta: 0.5",
        "seed_iter_n: 1",
        "prompt_blend: hold",
        "width: 256",  # native to the embedded model
        "antiblur_amount: 0.1",
    ],
)
def test_equal_in_effect(change: str, say: Say) -> None:
    if "noise: 0" in change:
        write("a.yaml", LOOKED_AT + "noise: 0\n")
    assert difference(say, change) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ("zoom: 1 -> zoom: 1.5", ["zoom: 1 | 1.5 factor/frame"]),
        ("t/4 -> max(t/4, 2)", ["translation_x: from frame 1 on, at 7 of 9 frames; most at frame 1: 0.25 | 2 "
                                "px/frame (3D: 1/200 scene unit)"]),
        ("(0.95) -> (0.5)", ["strength: from frame 2 on, at 4 of 4 diffused frames; most at frame 8: 0.9 | 0.5 "
                             "share"]),
        ("init_strength: 0.3", []),
        ("width: 512", ["width: 256 | 512"]),
        ("max_frames: 10 -> max_frames: 8", [
            "max_frames: 10 | 8 (compared up to frame 7)",
            # Where its second keyframe is no longer on the timeline, a curve does not go there.
            "strength: from frame 2 on, at 3 of 3 diffused frames; most at frame 6: 0.8 | 0.5 share",
        ]),
        ("6: a storm -> 4: a storm", ["prompt, frame 4: a calm sea | a storm", "negative prompt, frame 4: fog | "]),
        ("seed: 7 -> seed: 8", ["seed: from frame 0 on, at 5 of 5 diffused frames: 7 | 8"]),
        ("seed: 7 -> seed: -1", ["seed: 7 | drawn by chance"]),
        ("seed_behavior: fixed", ["seed: from frame 2 on, at 4 of 5 diffused frames: 8 | 7"]),
        ("sampler: DDIM", ["sampler, frames 0 to 8: Euler a | DDIM"]),
        ("profile: deforum", ["profile: corrected | deforum", "width: 256 | 512", "height: 256 | 512"]),
        ("batch_name: x", ['batch_name: "Deforum_{timestring}" | x']),
    ],
)  # fmt: skip
def test_differences(change: str, lines: list[str], say: Say) -> None:
    assert difference(say, change) == lines


def test_what_differs_without_effect_is_named(say: Say) -> None:
    write(
        "b.yaml",
        LOOKED_AT + "perspective_flip_theta: 3\ncrf: 30\nvideo_format: webm\nadd_soundtrack: Init Video\n"
        "soundtrack_path: a.mp3\n",
    )
    said = say("diff", "a.yaml", "b.yaml")
    assert said.out.splitlines() == [
        "a.yaml | b.yaml",
        "video_format: h264 | webm",
        "crf: 17 | 30",
        "add_soundtrack: auto | Init Video",
        "different, but without effect in both: soundtrack_path, perspective_flip_theta",
    ]


def test_an_old_file_and_its_yaml_render_the_same(say: Say) -> None:
    write("old.txt", DEFORUM_FILE)
    assert say("convert", "old.txt", "-q").status == 0
    assert say("diff", "old.txt", "old.yaml", "-q") == Said(0, "old.txt and old.yaml render the same\n", "")
