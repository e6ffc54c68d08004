"""Subtitles are written beside a run and read back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deforum.output.choice import Outputs
from deforum.timeline.prompts import Prompt
from tests.helpers.films import chart
from tests.output.runs import frame, open_run, write_run


def test_subtitles_show_the_chosen_fields_at_their_frames(tmp_path: Path) -> None:
    outputs = Outputs(films=(), subtitles=("seed", "zoom", "prompt"))
    with open_run(tmp_path / "sea", outputs, fps=23.976) as run:
        for index in range(3):
            run.write(frame(index, prompts=(Prompt("a -->\n\nb"),)), chart(index))
    entries = (tmp_path / "sea" / "sea.srt").read_text(encoding="utf-8").split("\n\n")
    assert entries[:2] == [
        "1\n00:00:00,000 --> 00:00:00,042\nseed: 1000; zoom: 1; prompt: a -> b",
        "2\n00:00:00,042 --> 00:00:00,083\nseed: 1001; zoom: 1.001; prompt: a -> b",
    ]


def test_equal_subtitles_share_an_entry(tmp_path: Path) -> None:
    with open_run(tmp_path / "sea", Outputs(films=(), subtitles=("prompt",)), fps=10) as run:
        for index in range(30):
            run.write(frame(index, prompts=(Prompt("sea" if index < 20 else "land"),)), chart(index))
    assert (tmp_path / "sea" / "sea.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:02,000\nprompt: sea\n\n2\n00:00:02,000 --> 00:00:03,000\nprompt: land\n\n"
    )


def test_subtitles_can_be_read_by_ffmpeg(tmp_path: Path) -> None:
    from deforum.video.ffmpeg import ffmpeg_path

    run = write_run(tmp_path / "sea", Outputs(films=(), subtitles=("seed", "prompt")))
    read = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(run.folder / "sea.srt"), "-f", "srt", "-"], capture_output=True
    )
    assert read.stdout.decode().count("-->") == 10 and not read.stderr
