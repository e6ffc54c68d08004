"""Cut lists: 50 random timelines survive every format, and what editing programs write is understood."""

from __future__ import annotations

import io
import random
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from deforum.cut_lists.cut_list import Clip, CutList, Marker
from deforum.cut_lists.formats import FORMATS, format_of
from deforum.cut_lists.settings import from_settings, to_settings
from deforum.errors import UserError
from deforum.loading import load
from deforum.settings.options import Settings
from deforum.video.formats import exact_fps

otio: Any = pytest.importorskip("opentimelineio")
pycmx: Any = pytest.importorskip("pycmx")

RATES = (23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 12, 12.5, 15, 18, 47.5)
WORDS = (
    "a calm sea", "storm, (wild:1.2)", "night --neg fog, [blur]", "Nebel über Bäumen", "`t/2` \"stars\" & 'moon'",
    "a AND b :0.5",
)  # fmt: skip


def random_settings(number: int) -> Settings:
    """Make settings with prompts and keyframes at random frames, up to hours from the first frame."""
    chance = random.Random(number)
    count = chance.choice((1, 7, 120, 5000, 200_000))
    frames = sorted({0, *(chance.randrange(count) for _ in range(chance.randrange(6)))})
    keys = {frame: chance.choice(("1.02", "(0.98) step", "0.5+t/10", "-3")) for frame in frames}
    values = {
        "fps": RATES[number % len(RATES)],
        "max_frames": count,
        "prompts": {frame: f"{chance.choice(WORDS)} {frame}" for frame in frames},
        "translation_x": dict(sorted(({chance.randrange(count): "2.5"} | keys).items())),
        "sampler": {0: "Euler a", count // 2: "DDIM"} if count > 1 else "DDIM",
        "seed": 3,
    }
    return load(values, to_render=False).settings


@pytest.mark.parametrize("name", FORMATS)
def test_random_timelines_are_lossless(name: str) -> None:
    """Every frame comes back; the settings are those that the cut list was made of."""
    for number in range(50):
        settings = random_settings(number)
        cuts = from_settings(settings, name="film")
        text = FORMATS[name].write(cuts)
        assert format_of(text) == name
        found = FORMATS[name].read(text, "film", None if FORMATS[name].has_rate or name == "edl" else cuts.fps)
        assert (found.fps, found.num_frames) == (cuts.fps, cuts.num_frames), number
        assert found.clips == cuts.clips and found.markers == cuts.markers, number
        again, notes = to_settings(replace(found, settings=""))
        assert not notes and replace(again, seed=3) == settings, number


# --- as other programs read it ----------------------------------------------------------------------------------------


def seconds_of(timecode: str, fps: Fraction) -> float:
    """Return the time of a timecode by its definition: numbers are dropped each minute, but each tenth."""
    hours, minutes, seconds, frames = map(int, re.split("[:;]", timecode))
    whole = round(fps)
    count = ((hours * 60 + minutes) * 60 + seconds) * whole + frames
    if ";" in timecode:
        all_minutes = hours * 60 + minutes
        count -= whole // 15 * (all_minutes - all_minutes // 10)
    return float(count / fps)


@pytest.mark.parametrize("number", range(len(RATES)))
def test_other_programs_read_the_same_times(number: int) -> None:
    """By the libraries alone, within half a frame: OTIO's clips and markers, EDL's events and locators."""
    settings = random_settings(number + 13)
    cuts = from_settings(settings, name="film")
    half = 0.5 / float(cuts.fps)
    timeline = otio.adapters.read_from_string(FORMATS["otio"].write(cuts), "otio_json")
    film, prompts = timeline.tracks
    assert [clip.name for clip in prompts] == [clip.text for clip in cuts.clips]
    for clip, given in zip(prompts, cuts.clips, strict=True):
        place = clip.range_in_parent()
        assert abs(place.start_time.to_seconds() - given.start / cuts.fps) < half
        assert abs(place.end_time_exclusive().to_seconds() - given.end / cuts.fps) < half
    for marker, mark in zip(film[0].markers, cuts.markers, strict=True):
        assert (
            marker.name == mark.text and abs(marker.marked_range.start_time.to_seconds() - mark.frame / cuts.fps) < half
        )
    text = FORMATS["edl"].write(cuts)
    drops = exact_fps(settings.fps) in (Fraction(30000, 1001), Fraction(60000, 1001))
    assert ("FCM: DROP FRAME" in text) is drops and "FCM" in text
    rate = cuts.fps if cuts.fps >= 23 and cuts.fps.denominator in (1, 1001) else Fraction(25 if cuts.fps > 24 else 24)
    rate = Fraction(48) if cuts.fps == Fraction(95, 2) else rate
    hour = seconds_of(f"01:00:00{';' if drops else ':'}00", rate)
    events = list(pycmx.parse_cmx3600(io.StringIO(text)).events)
    for event, given in zip(events, cuts.clips, strict=True):
        [edit] = event.edits
        assert edit.clip_name == given.text
        assert abs(seconds_of(edit.record_in, rate) - hour - given.start / cuts.fps) < half
        assert abs(seconds_of(edit.record_out, rate) - hour - given.end / cuts.fps) < half
    marks = [found.groups() for event in events for each in event.statements
             if (found := re.fullmatch(r"LOC: (\S+) RED     (.*)", getattr(each, "text", "") or ""))]  # fmt: skip
    assert [words for _, words in marks] == [marker.text for marker in cuts.markers]
    assert all(abs(seconds_of(time, rate) - hour - marker.frame / cuts.fps) < half
               for (time, _), marker in zip(marks, cuts.markers, strict=True))  # fmt: skip


# --- what editing programs write --------------------------------------------------------------------------------------


def test_a_timeline_that_was_edited() -> None:
    """Clips of media from somewhere in it, a gap, a transition, a nested stack, and markers in many places."""
    time, stretch = otio.opentime.RationalTime, otio.opentime.TimeRange

    def clip(name: str, start: int, length: int, rate: float = 24) -> Any:
        return otio.schema.Clip(name, None, stretch(time(start, rate), time(length, rate)))

    sea, storm = clip("a sea", 1000, 48), clip("a storm", 7, 24)
    sea.markers.append(otio.schema.Marker("zoom: 1.1", stretch(time(1012, 24), time(1, 24))))
    storm.markers.append(otio.schema.Marker("note", stretch(time(19, 24), time(1, 24))))
    storm.markers[0].comment = "strength = 0.5"
    inner = otio.schema.Stack("nested", [otio.schema.Track("v", [clip("night", 0, 50, 25)])])
    track = otio.schema.Track("V1", [sea, otio.schema.Gap(duration=time(12, 24)), storm, inner])
    track.insert(3, otio.schema.Transition("d", "SMPTE_Dissolve", time(5, 24), time(5, 24)))
    sound = otio.schema.Track("A1", [clip("song.wav", 0, 9)], kind=otio.schema.TrackKind.Audio)
    timeline = otio.schema.Timeline("cut", global_start_time=time(86400, 24))
    timeline.tracks.extend([track, sound])
    timeline.tracks.markers.append(otio.schema.Marker("cfg_scale: 9", stretch(time(30, 24), time(1, 24))))
    timeline.tracks.markers.append(otio.schema.Marker("look here", stretch(time(31, 24), time(1, 24))))
    several = otio.schema.SerializableCollection("all", [timeline, otio.schema.Timeline("other")])
    cuts = FORMATS["otio"].read(several.to_json_string(), "cut.otio", None)
    assert (cuts.fps, cuts.num_frames) == (Fraction(24), 48 + 12 + 24 + 48)
    assert cuts.clips == (Clip(0, 48, "a sea"), Clip(60, 84, "a storm"), Clip(84, 132, "night"))
    assert cuts.markers == (Marker(12, "zoom: 1.1"), Marker(30, "cfg_scale: 9"), Marker(31, "look here"),
                            Marker(72, "strength = 0.5"))  # fmt: skip
    settings, notes = to_settings(cuts)
    assert settings.prompts == (("0", "a sea"), ("60", "a storm"), ("84", "night"))
    assert settings.params.zoom.text == "12: (1.1)" and settings.params.strength.text == "72: (0.5)"
    assert notes == ("there are 2 timelines in it; the first one is read",
                     "markers without a keyframe (such as zoom: 1.02) are left out: 'look here'")  # fmt: skip


def test_our_own_timeline_after_an_edit(tmp_path: Path) -> None:
    """A clip is trimmed and another one renamed; all other settings stay as they were."""
    settings = load(
        {"prompts": {0: "a", 10: "b", 20: "c"}, "max_frames": 30, "fps": 24, "cfg_scale": 5}, to_render=False
    ).settings
    timeline = otio.adapters.read_from_string(FORMATS["otio"].write(from_settings(settings, name="x")), "otio_json")
    film, prompts = timeline.tracks
    prompts[1].name = "a hill"
    prompts[0].source_range = otio.opentime.TimeRange(
        prompts[0].source_range.start_time, otio.opentime.RationalTime(4, 24)
    )
    film[0].source_range = otio.opentime.TimeRange(film[0].source_range.start_time, otio.opentime.RationalTime(24, 24))
    cuts = FORMATS["otio"].read(timeline.to_json_string(), "x.otio", None)
    assert cuts.settings
    again, _ = to_settings(cuts, settings)
    assert again.prompts == (("0", "a"), ("4", "a hill"), ("14", "c")) and again.max_frames == 24
    assert again.params == settings.params


FOREIGN_EDL = """\
TITLE: REEL 1
FCM: DROP FRAME

001  TAPE1    V     C        10:00:00:00 10:00:02:00 01:00:00:00 01:00:02:00
* FROM CLIP NAME:  SEA.MOV
* LOC: 01:00:01:00 CYAN    zoom: 1.05
002  BL       V     C        00:00:00:00 00:00:01:00 01:00:02:00 01:00:03:00
003  TAPE2    V     D    010 10:00:05:00 10:00:07:00 01:00:59:28 01:01:01:04
* FROM CLIP NAME:  STORM.MOV
* LOC: 01:01:00:02 RED
"""


def test_an_edl_of_another_program() -> None:
    """Drop frame with colons, black, a dissolve; the numbers 00 and 01 of a minute are not there."""
    cuts = FORMATS["edl"].read(FOREIGN_EDL, "reel.edl", None)
    assert cuts.fps == Fraction(30000, 1001)
    assert cuts.clips == (Clip(0, 60, "SEA.MOV"), Clip(1798, 1832, "STORM.MOV"))
    assert cuts.markers == (Marker(30, "zoom: 1.05"),)
    assert cuts.notes == ("an EDL does not say its frame rate: 29.97 is taken; give another one with fps=25",)
    assert FORMATS["edl"].read(FOREIGN_EDL.replace("DROP", "NON-DROP"), "", None).fps == 30
    given = FORMATS["edl"].read(FOREIGN_EDL.replace("DROP", "NON-DROP"), "", Fraction(60))
    assert given.clips[1].start == 59 * 60 + 28
    with pytest.raises(UserError, match="'01:00:59:28' is no timecode of 25 frames a second"):
        FORMATS["edl"].read(FOREIGN_EDL, "", Fraction(25))


def test_labels_of_a_person() -> None:
    text = "0,000000\t2,5\ta calm sea\n\\\t100\t200\n1.0\t1.0\tzoom: 1.1\n2.5\t4\ta storm\n4\t4\t\n"
    cuts = FORMATS["labels"].read(text, "labels.txt", Fraction(24))
    assert cuts.clips == (Clip(0, 60, "a calm sea"), Clip(60, 96, "a storm"))
    assert cuts.markers == (Marker(24, "zoom: 1.1"), Marker(96, ""))
    points = FORMATS["labels"].read("0\t0\ta sea\n2\t2\ta storm\n", "labels.txt", None)
    assert to_settings(points)[0].prompts == (("0", "a sea"), ("30", "a storm"))


def test_rates_above_those_of_timecode() -> None:
    cuts = CutList("x", Fraction(120), 9, (Clip(0, 9, "a"),))
    with pytest.raises(UserError, match="timecode counts at most 60 frames a second, and these are 120"):
        FORMATS["edl"].write(cuts)
    assert FORMATS["labels"].read(FORMATS["labels"].write(cuts), "x", Fraction(120)).clips == cuts.clips


# --- settings ---------------------------------------------------------------------------------------------------------


def test_prompts_around_the_timeline() -> None:
    settings = load(
        {"prompts": {-2: "early", 3: "a", "max_f-1": "b", 50: "late"}, "max_frames": 10}, to_render=False
    ).settings
    cuts = from_settings(settings, name="x")
    assert cuts.clips == (Clip(0, 8, "a"), Clip(8, 10, "b"))
    assert cuts.notes == ("prompts outside of the frames 0 to 9 are left out: those at -2, 50",)
    late = load({"prompts": {50: "late"}, "max_frames": 10}, to_render=False).settings
    assert from_settings(late, name="x").clips == (Clip(0, 10, "late"),)


SHOTS = """\
prompts: {0: a sea, 6: a storm}
max_frames: 20
fps: 24
zoom: {0: 1, 9: 1.1}
shots:
  - {name: one, to: 8}
  - {name: two, to: 14, prompts: night}
  - {name: three}
"""


@pytest.mark.parametrize("name", FORMATS)
def test_shots(tmp_path: Path, name: str) -> None:
    """Each with its own prompts and keyframes, in the frames of the film."""
    (tmp_path / "a.yaml").write_text(SHOTS, encoding="utf-8")
    settings = load(tmp_path / "a.yaml", to_render=False).settings
    cuts = from_settings(settings, name="x")
    assert cuts.clips == (Clip(0, 6, "a sea"), Clip(6, 8, "a storm"), Clip(8, 14, "night"), Clip(14, 20, "a storm"))
    assert cuts.markers == (Marker(0, "zoom: 1"), Marker(9, "zoom: 1.1"))
    assert cuts.shots == (Clip(0, 8, "one"), Clip(8, 14, "two"), Clip(14, 20, "three"))
    text = FORMATS[name].write(cuts)
    if name == "otio":
        film = otio.adapters.read_from_string(text, "otio_json").tracks[0]
        assert [(clip.name, clip.range_in_parent().start_time.value) for clip in film] == [
            ("one", 0), ("two", 8), ("three", 14),
        ]  # fmt: skip
        assert [marker.name for marker in film[1].markers] == ["zoom: 1.1"]
    else:
        assert text.count("shot: ") == 3
    found = FORMATS[name].read(text, "x", cuts.fps)
    assert found.clips == cuts.clips and set(cuts.markers) <= set(found.markers)
    again, notes = to_settings(found, settings)
    assert notes == () and again.shots == settings.shots and again.params.zoom == settings.params.zoom
    with pytest.raises(UserError, match="the settings have shots with frames of their own"):
        to_settings(found, replace(settings, shots=(replace(settings.shots[0], since="3"),)))


def test_the_first_frame_need_not_be_0() -> None:
    given = {"prompts": {0: "a", 12: "b"}, "max_frames": 20, "first_frame": 10, "zoom": {0: 1, 15: 2}}
    settings = load(given, to_render=False).settings
    cuts = from_settings(settings, name="x")
    assert (cuts.num_frames, cuts.clips) == (10, (Clip(0, 2, "a"), Clip(2, 10, "b")))
    assert cuts.markers == (Marker(5, "zoom: 2"),)
    again, _ = to_settings(cuts, settings)
    assert (again.prompts, again.max_frames, again.params.zoom.text) == ((("0", "a"), ("12", "b")), 20, "15: (2)")


def test_keyframes_of_control_units() -> None:
    unit = {"cn_1_enabled": True, "cn_1_model": "embedded", "cn_1_source": "init", "cn_1_weight": "0: (1), 5: (0.2)"}
    settings = load({"prompts": "a", "max_frames": 9, **unit}, to_render=False).settings
    cuts = from_settings(settings, name="x")
    assert cuts.markers == (Marker(0, "cn_1_weight: 1"), Marker(5, "cn_1_weight: 0.2"))
    moved = replace(cuts, markers=(Marker(2, "cn_1_weight: 1"), Marker(3, "cn_2_weight: 1")))
    again, notes = to_settings(moved, settings)
    assert again.control_units[0].weight.text == "2: (1)" and again.control_units[0].model == "embedded"
    assert notes == ("cn_2_weight: there is no such control unit in the settings; left out",)


def test_a_marker_that_cannot_be_read() -> None:
    with pytest.raises(UserError, match=r"(?s)film.otio, .*zoom.*quux"):
        to_settings(CutList("film.otio", Fraction(24), 9, markers=(Marker(0, "zoom: quux(1)"),)))
