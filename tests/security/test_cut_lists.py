"""Cut lists as a stranger might send them: each row is an attack, with why it is there."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deforum.cli.main import main
from deforum.cut_lists.formats import FORMATS, format_of
from deforum.cut_lists.settings import to_settings
from deforum.errors import UserError
from tests.security.fuzz import MOST_CPU, attempt, limited, mutated

pytest.importorskip("opentimelineio")
pytest.importorskip("pycmx")


def timeline(**changes: object) -> str:
    """Make a timeline of one clip as JSON."""
    time = {"OTIO_SCHEMA": "RationalTime.1", "rate": 24, "value": 0}
    stretch = {"OTIO_SCHEMA": "TimeRange.1", "start_time": time, "duration": time | {"value": 48}}
    clip = {"OTIO_SCHEMA": "Clip.1", "name": "a sea", "source_range": stretch, "markers": [], "metadata": {}} | changes
    track = {"OTIO_SCHEMA": "Track.1", "kind": "Video", "name": "prompts", "children": [clip], "metadata": {}}
    stack = {"OTIO_SCHEMA": "Stack.1", "children": [track], "metadata": {}}
    return json.dumps({"OTIO_SCHEMA": "Timeline.1", "name": "x", "metadata": {}, "tracks": stack})


def at(rate: float, value: float) -> dict[str, object]:
    time = {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": value}
    return {"source_range": {"OTIO_SCHEMA": "TimeRange.1", "start_time": time | {"value": 0}, "duration": time}}


EVENT = "001  AX       V     C        00:00:00:00 00:00:01:00 01:00:00:00 01:00:01:00\n* FROM CLIP NAME: a\n"

ATTACKS = [
    # (suffix, text, what the message says, why)
    (".otio", '{"OTIO_SCHEMA": "Timeline.1", "metadata": ' + "[" * 1_000_000, "nested too deeply", "the library ends"),
    (".otio", '{"OTIO_SCHEMA": "Timeline.1"', "no timeline", "cut off"),
    (".otio", '{"OTIO_SCHEMA": "Timeline.99"}', "no timeline", "a version to come"),
    (".otio", '{"OTIO_SCHEMA": "Clip.1"}', "expected a timeline; this is Clip", "another object"),
    (".otio", '{"OTIO_SCHEMA": "Nope.1"}', "expected a timeline", "an unknown object"),
    (".otio", timeline(**at(24, 1e300)), "expected at most 1,000,000 frames", "a length without end"),
    (".otio", timeline(**at(0, 48)), "no frame rate", "division by zero"),
    (".otio", timeline(**at(-24, 48)), "no frame rate", "time that goes back"),
    (".otio", timeline(**at(1e9, 48)), "no frame rate", "a rate that no film has"),
    (".otio", timeline(source_range=None), "no place on the timeline", "a clip without length"),
    (".otio", timeline(name="\x1b[31mred"), "", "escape sequences command a terminal"),
    (".otio", timeline(metadata={"deforum": 7}), "", "metadata of another form"),
    (".otio", timeline(metadata={"deforum": {"prompt": ["a"]}}), "", "the same"),
    (".otio", json.dumps({**json.loads(timeline()), "metadata": {"deforum": {"settings": "output: /tmp/elsewhere"}}}),
     "not below the current folder", "settings within choose a folder"),
    (".otio", "x" * (2**24 + 1), "at most 16,777,216 bytes", "read into memory as a whole"),
    (".edl", "TITLE: x\n", "no events", "nothing in it"),
    (".edl", EVENT.replace("01:00:01:00", "99:99:99:99"), "no timecode", "numbers that are none"),
    (".edl", re.sub(" +", "  ", EVENT), "a.edl:1: this event is not in the columns", "events that are left out unsaid"),
    (".edl", EVENT * 20_001, "at most 20,000 clips", "events without end"),
    (".edl", EVENT * 9_000, "more than 50 events in a row have one number", "the library takes the square of the time"),
    (".edl", EVENT + "* LOC: 01:00:00:00 RED zoom: __import__('os')", "zoom", "an expression is no program"),
    (".txt", "0\t1e9\ta", "is no label", "no number of Audacity's"),
    (".txt", "0\t99999999999\ta", "expected at most 1,000,000 frames", "a length without end"),
    (".txt", "0\t1\ta\n" * 20_001, "at most 20,000 clips", "labels without end"),
    (".txt", "0\t1\ta\n\x1b[31m\n", r"\x1b[31m", "escape sequences command a terminal"),
    (".txt", "0\t1\t" + "a" * 200_001, "at most 200,000 characters", "patterns run over every text"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "text", "says", "why"), ATTACKS, ids=[f"{n}" for n in range(len(ATTACKS))])
def test_a_cut_list_of_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    suffix: str, text: str, says: str, why: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"a{suffix}"
    file.write_text(text, encoding="utf-8")
    with limited(MOST_CPU):
        status = main(["timeline", str(file)])
    said = capsys.readouterr()
    assert status == (2 if says else 0), said.err
    assert says in said.err, why
    assert "\x1b" not in said.err + said.out and "Traceback" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_cut_lists_at_random() -> None:
    """Mutated good ones end in settings, or in a message."""
    label = "0.0\t2.0\ta sea\n1.0\t1.0\tzoom: 1.1\n"
    good = (timeline(), "TITLE: x\nFCM: DROP FRAME\n\n" + EVENT, label)

    def act(text: str) -> Callable[[], object]:
        def read() -> Any:
            kind = format_of(text)
            if kind is None:
                raise UserError("no cut list")
            return to_settings(FORMATS[kind].read(text, "x", None))

        return read

    rng = random.Random(5)
    found = [attempt("cut list", text, act(text)) for text in (mutated(rng, rng.choice(good)) for _ in range(300))]
    assert not [each for each in found if each is not None]
