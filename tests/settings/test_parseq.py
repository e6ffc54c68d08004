"""Parseq manifests: what they give, who wins, and what is wrong with one, told with its place."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deforum.errors import UserError
from deforum.limits import MANIFEST, Limit
from deforum.loading import Loaded, load
from deforum.models import web
from deforum.models.hub import downloads
from deforum.reports.tabulate import look
from deforum.settings.options import Settings
from deforum.settings.parseq import find
from deforum.settings.parseq.manifest import read_manifest
from deforum.settings.read import dump
from deforum.timeline.timeline import Timeline
from tests.helpers.manifests import rendered, text_of
from tests.security.fuzz import MOST_CPU, limited

REAL = Path(os.environ.get("DEFORUM_REAL") or Path(__file__).parents[3] / "shared" / "real")
PUBLIC = REAL / "settings" / "parseq-manifest.json"
PLAIN = {"prompts": {0: "a sea"}, "seed": 3, "zoom": 1}


def taken(manifest: str, overrides: Sequence[str] = (), **settings: object) -> Loaded:
    return load({**PLAIN, "parseq_manifest": manifest, **settings}, overrides)


def seen(manifest: str, overrides: Sequence[str] = (), **settings: object) -> Timeline:
    return look(taken(manifest, overrides, **settings).settings)


def curve(timeline: Timeline, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = getattr(timeline.curves, name)
    return found


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLIC.is_file(), reason=f"{PUBLIC} does not exist; DEFORUM_REAL names its folder")
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
def test_the_public_manifest_gives_its_own_values(profile: str) -> None:
    frames = json.loads(PUBLIC.read_text(encoding="utf-8"))["rendered_frames"]
    timeline = seen(str(PUBLIC), profile=profile)
    assert (len(timeline), timeline.fps, timeline.cadence) == (11, 60, 2)
    assert curve(timeline, "angle").tolist() == [frame["angle_delta"] for frame in frames]
    assert curve(timeline, "subseed").tolist() == [frame["subseed"] for frame in frames]
    assert curve(timeline, "subseed_strength").tolist() == [frame["subseed_strength"] for frame in frames]
    assert timeline.seeds == (55, 55, 55, 55, 55, 56)  # of every other frame, without the fraction
    assert {(each.positive, each.negative) for frame in timeline for each in frame.prompts} == {
        ("Parseq prompt!", "neg parseq prompt!")
    }
    as_is = seen(str(PUBLIC), profile=profile, parseq_use_deltas=False)
    assert curve(as_is, "angle").tolist() == [frame["angle"] for frame in frames]


GIVES = [
    # field, setting, values of the field, values of the setting
    ("fov", "fov", [70, 60, 50], None),
    ("near", "near", [100, 120, 90], None),
    ("noise", "noise", [0, 0.1, 0.2], None),
    ("strength", "strength", [0.5, 0.6, 0.7], None),
    ("strength", "image_strength", [0.5, 0.6, 0.7], None),
    ("contrast", "contrast", [1, 1.5, 1], None),
    ("scale", "cfg_scale", [5, 6, 7], None),
    ("antiblur_amount", "antiblur_amount", [0, 1, 0.5], None),
    ("antiblur_kernel", "antiblur_kernel", [5, 7, 8], [5, 7, 9]),
    ("noise_multiplier", "noise_multiplier", [1, 1.1, 1.2], None),
    ("clipskip", "clip_skip", [0, 1, 2], [1, 1, 2]),  # 0, which Parseq begins with, is the last layer
    ("transform_center_x", "transform_center_x", [0.5, 0.2, 0], None),
    ("hybrid_comp_alpha", "hybrid_comp_alpha", [1, 0.5, 0], None),
    ("cadence_flow_factor", "cadence_flow_factor", [1, 2, 3], None),
    ("guided_blendFactorMax", "blend_factor_max", [0.3, 0.4, 0.5], None),
    ("guided_tweening_frames", "tweening_frames", [20, 10, 5], None),
    ("perspective_flip_fv", "perspective_flip_fv", [50, 60, 70], None),
    ("steps_schedule", "steps", [10, 12, 14], None),
    ("echo_amount", "echo_amount", [0, 0.5, 1], None),
    ("translation_x", "translation_x", [5, 8, 6], [5, 3, -2]),
    ("rotation_3d_y", "rotation_3d_y", [0, 1, 3], [0, 1, 2]),
    ("perspective_flip_theta", "perspective_flip_theta", [0, 10, 10], [0, 10, 0]),
]


@pytest.mark.parametrize(("field", "name", "values", "expected"), GIVES, ids=[f"{f} {n}" for f, n, *_ in GIVES])
def test_a_field_gives_a_setting(field: str, name: str, values: list[float], expected: list[float] | None) -> None:
    found = curve(seen(text_of({field: values}), profile="deforum"), name)
    np.testing.assert_allclose(found, values if expected is None else expected, rtol=1e-12)
    assert curve(seen(text_of({field: values})), name).tolist() == found.tolist()


def test_control_units_texts_and_the_flip() -> None:
    manifest = rendered({"cn_1_weight": [1, 0.5, 0], "cn_2_weight": [1, 1, 1], "perspective_flip_phi": [0, 3, 3]})
    for frame, sampler in zip(manifest["rendered_frames"], ("Euler", "Euler", "DDIM"), strict=True):
        frame["sampler_schedule"] = sampler
    unit = {"cn_1_enabled": True, "cn_1_model": "embedded", "cn_1_source": "init"}
    given = {"parseq_manifest": json.dumps(manifest), **unit}
    settings = load({**PLAIN, **given}).settings
    timeline = look(settings)
    weight = settings.control_units[0].weight.sample(3, timeline.variables)
    assert weight.tolist() == [1, 0.5, 0] and len(settings.control_units) == 1
    assert timeline.samplers == ("Euler", "Euler", "DDIM")
    assert settings.enable_perspective_flip
    # Deforum sets a switch there that it does not read.
    assert not load({**PLAIN, **given, "profile": "deforum"}).settings.enable_perspective_flip


ZOOM = [1.0, 1.5, 3.0, 3.0, 0.5]


def test_zoom_by_profile() -> None:
    """Deforum adds the change to 1; corrected, the picture is as large as the curve says, times its first value."""
    manifest = text_of({"zoom": ZOOM})
    np.testing.assert_allclose(curve(seen(manifest, profile="deforum"), "zoom")[1:], [1.5, 2.5, 1, -1.5])
    factors = curve(seen(manifest), "zoom")
    np.testing.assert_allclose(np.cumprod(factors[1:]), np.asarray(ZOOM[1:]) / ZOOM[0])
    assert curve(seen(manifest, parseq_use_deltas=False), "zoom").tolist() == ZOOM
    crossing = curve(seen(text_of({"zoom": [1, 0, -1, 2]})), "zoom")
    assert np.isfinite(crossing).all() and crossing[2:].tolist() == [0.01, 4]  # no ratio: as Parseq writes it


def test_reversed() -> None:
    """Changes are as they stand, one frame earlier; the value at which a curve begins is no motion."""
    manifest = text_of({"zoom": ZOOM, "translation_x": [10, 11, 13, 16, 20]}, is_reversed=True)
    loaded = taken(manifest, profile="deforum")
    assert curve(look(loaded.settings), "translation_x").tolist() == [-4, -3, -2, -1, -10]
    np.testing.assert_allclose(curve(look(loaded.settings), "zoom"), [1 / -1.5, 1, 1 / 2.5, 1 / 1.5, 1])
    assert any("the last frame is moved by it" in line for line in loaded.report)
    assert any("meant to be played backwards" in line for line in loaded.report)
    assert loaded.settings.parseq is not None and loaded.settings.parseq.is_reversed
    timeline = seen(manifest)
    assert curve(timeline, "translation_x").tolist() == [-4, -3, -2, -1, 0]
    np.testing.assert_allclose(curve(timeline, "zoom"), [3.0 / 0.5, 1, 1.5 / 3, 1 / 1.5, 1])


def test_prompts_are_as_they_stand() -> None:
    """Complete, so that no other text joins them; nothing blends them; back-quotes and AND keep their meaning."""
    prompts = ["a `t` --neg fog", "a `t` --neg fog", "b :0.25 AND c :0.75", "b :0.25 AND c :0.75"]
    timeline = seen(text_of({}, prompts), positive_prompt="oil", negative_prompt="blur", animation_mode="Interpolation")
    texts = [[(each.positive, each.negative, each.weight) for each in frame.prompts] for frame in timeline]
    both = ("b :0.25 AND c :0.75", "", 1.0)
    assert texts == [[("a 0", "fog", 1.0)], [("a 1", "fog", 1.0)], [both], [both]]


def test_a_run_longer_or_shorter_than_the_manifest() -> None:
    manifest = text_of({"fov": [60, 65, 70]})
    longer = taken(manifest, ["max_frames=5", "animation_mode=3D"])
    assert curve(look(longer.settings), "fov").tolist() == [60, 65, 70, 70, 70]
    assert "from frame 3 on its last values are held" in longer.report[0]
    assert curve(seen(manifest, ["max_frames=2"]), "fov").tolist() == [60, 65]


# --- who wins ---------------------------------------------------------------------------------------------------------


def test_the_manifest_wins_over_the_file_and_says_so() -> None:
    manifest = text_of({"strength": [0.5, 0.6], "angle": [0, 1]}, ["a", "b"], output_fps=30, cadence=3)
    report = taken(manifest, strength=0.7, fps=12, animation_mode="2D").report
    assert report == (
        "parseq_manifest: 2 frames, of which it manages angle, strength, image_strength, prompts",
        "max_frames: 120 became 2, by the manifest",
        "fps: 12 became 30, by the manifest",
        "cadence: 2 became 3, by the manifest",
        "the manifest's values act, and not those that are given (parseq_except keeps these): prompts, strength",
    )


def test_the_person_who_renders_wins_over_the_manifest() -> None:
    """And the run that is recorded renders the same again."""
    manifest = text_of({"strength": [0.5, 0.6], "seed": [5, 6], "noise": [0, 0.1]}, output_fps=30)
    loaded = taken(manifest, ["strength=0.25", "seed=9", "fps=24", "max_frames=1"], cadence=1)
    assert loaded.settings.parseq_except.split() == ["strength", "seed_behavior", "seed_schedule", "subseed",
                                                     "subseed_strength"]  # fmt: skip
    for settings in (loaded.settings, load_text(dump(loaded.settings)).settings):
        timeline = look(settings)
        assert curve(timeline, "strength").tolist() == [0.25] and curve(timeline, "noise").tolist() == [0]
        assert (timeline.seeds, timeline.fps, len(timeline)) == ((9,), 24, 1)
        assert settings == loaded.settings
    assert loaded.report[0] == (
        "what you ask for acts, and not the manifest's values: strength, seed_behavior, seed_schedule, subseed, "
        "subseed_strength"
    )
    assert taken(manifest, ["noise_multiplier=1"]).settings.parseq_except == ""


def load_text(text: str) -> Loaded:
    from deforum.loading import load_text

    return load_text(text, name="settings.yaml")


def test_settings_that_are_excepted_keep_their_values() -> None:
    manifest = text_of({"strength": [0.5, 0.6], "noise": [0, 0.1]}, ["a", "b"])
    timeline = seen(manifest, parseq_except="strength_schedule, prompts", strength=0.3)
    assert curve(timeline, "strength").tolist() == [0.3, 0.3] and curve(timeline, "noise").tolist() == [0, 0.1]
    assert timeline[1].prompts[0].positive == "a sea"
    with pytest.raises(UserError, match=r"there is no setting 'stregth'; did you mean strength\?"):
        taken(manifest, parseq_except="stregth")


def test_overrides_can_be_off() -> None:
    timeline = seen(text_of({"noise": [0, 0.1]}, cadence=3), parseq_non_schedule_overrides=False, max_frames=4, fps=9)
    assert (len(timeline), timeline.fps, timeline.cadence) == (4, 9, 2)


def test_values_out_of_range_are_put_up_with() -> None:
    loaded = taken(text_of({"strength": [0.5, 1.2]}, output_fps=5000))
    assert curve(look(loaded.settings), "strength").tolist() == [0.5, 1]
    assert "strength is 1.2 at frame 1; expected 0..1 (share); the nearest valid value is used" in loaded.report
    assert "fps: the manifest has 5000, which is out of range; expected 0.1..1000; it stays 15" in loaded.report


def test_fields_that_give_nothing_are_told() -> None:
    manifest = rendered({"translation_z": [10, 11, 12], "prompt_weight_1": [1, 1, 1], "mood": [1, 2, 3]})
    manifest["rendered_frames"][0] |= {"angle": 5}
    manifest["rendered_frames"][1] |= {"angle": 5}
    manifest["rendered_frames"][2] |= {"angle": 5}
    report = taken(json.dumps(manifest)).report
    assert "parseq_manifest: without effect in 2D mode: translation_z" in report
    assert "parseq_manifest: in the manifest, and not used here: angle" in report  # there is no angle_delta
    assert "parseq_manifest: in the manifest, and no setting of this renderer: mood" in report
    [start] = [line for line in taken(json.dumps(manifest), animation_mode="3D").report if "begins" in line]
    assert start == (
        "translation_z: the change at frame 0, 10, is where the curve begins in Parseq, and no motion; frame 0 is not "
        "moved by it"
    )


def test_a_file_of_deforum(tmp_path: Path) -> None:
    """Its switches act on the manifest too, but for that of the subseed; and it renders the same as YAML."""
    manifest = text_of({"clipskip": [2, 3], "seed": [5, 5.5], "noise_multiplier": [1.1, 1.2]})
    old = {"prompts": {"0": "a"}, "parseq_manifest": manifest, "fetched_parseq_manifest_summary": "{}"}
    (tmp_path / "a.txt").write_text(json.dumps(old | {"enable_noise_multiplier_scheduling": True}), encoding="utf-8")
    settings = load(tmp_path / "a.txt").settings
    timeline = look(settings)
    assert curve(timeline, "clip_skip").tolist() == [1, 1]  # enable_clipskip_scheduling is off
    assert curve(timeline, "noise_multiplier").tolist() == [1.1, 1.2]
    assert curve(timeline, "subseed_strength").tolist() == [0, 0.5]
    again = load_text(dump(settings)).settings
    assert again == settings and np.array_equal(curve(look(again), "clip_skip"), [1, 1])


def test_keyframes_of_the_document() -> None:
    manifest = rendered({"noise": [0, 0, 0, 0, 0]})
    manifest["keyframes"] = [{"frame": 0}, {"frame": 1, "info": "x"}, {"frame": 4}]
    for is_reversed, keyframes in ((False, (0, 1, 4)), (True, (0, 3, 4))):
        parseq = taken(json.dumps(manifest | {"reverseRender": is_reversed})).settings.parseq
        assert parseq is not None and parseq.keyframes == keyframes


# --- where it is ------------------------------------------------------------------------------------------------------


def test_a_file_beside_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.json").write_text(text_of({"noise": [0, 0.1]}), encoding="utf-8-sig")
    (tmp_path / "a.yaml").write_text("prompts: a\nparseq_manifest: m.json\n", encoding="utf-8")
    settings = load(tmp_path / "a.yaml").settings
    assert settings.parseq_manifest == str(tmp_path / "m.json") and len(look(settings)) == 2
    kept = load(tmp_path / "a.yaml", to_render=False).settings
    assert kept.parseq_manifest == "m.json" and len(look(kept)) == 2
    (tmp_path / "m.json").unlink()
    with pytest.raises(UserError, match=r"a.yaml:2:18: parseq_manifest: there is no file 'm.json' \(looked in"):
        load(tmp_path / "a.yaml")
    loose = load(tmp_path / "a.yaml", to_render=False)
    assert len(look(loose.settings)) == 120 and "its values are left out here" in loose.report[0]


def test_a_long_manifest_in_the_settings_is_kept_short() -> None:
    """Deforum's files hold it whole; a run writes its settings into every frame."""
    moves = [index * 1.1 for index in range(2000)]
    curves = {"noise": [index / 10_000 for index in range(2000)], "translation_x": moves, "mood": [0.123456789] * 2000}
    text = text_of(curves, is_reversed=True)
    settings = taken(text, profile="deforum").settings
    assert len(text) > 200_000 and len(settings.parseq_manifest) < len(text) / 2
    again = load_text(dump(settings)).settings
    assert again.params == settings.params and again == settings
    assert again.parseq == settings.parseq


def test_a_mapping_is_told_to_be_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("parseq_manifest: {rendered_frames: []}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"in quotes where it begins with \{"):
        load(tmp_path / "a.yaml")


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """Serve on this machine alone; give the address and the list of requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answering(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_an_address_is_fetched_where_that_is_allowed() -> None:
    """Once: what it gives stands in the settings from then on."""
    with served(answering(text_of({"noise": [0, 0.1]}).encode())) as (address, asked):
        with pytest.raises(UserError, match=f"{address}/m is not fetched without --allow-download"):
            taken(f"{address}/m")
        assert len(look(load({"parseq_manifest": f"{address}/m"}, to_render=False).settings)) == 120
        assert asked == []
        loaded = load({**PLAIN, "parseq_manifest": f" {address}/m"}, allow_download=True)
        assert asked == ["/m"]
    assert curve(look(load_text(dump(loaded.settings)).settings), "noise").tolist() == [0, 0.1]
    assert loaded.report[0].startswith(f"fetched {address}/m, ")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering(status=404), "HTTP Error 404|Not Found"),
        (answering(status=302, Location="file:///etc/passwd"), "cannot be fetched"),
        (answering(status=302, Location="ftp://127.0.0.1/x"), "unknown url type: ftp"),
        (answering(status=302, Location="/again"), "redirect"),
        (answering(b"<html>"), "expected a JSON object"),
        (answering(b"1" * 2000), "at most 1,000 bytes"),
    ],
)
def test_what_an_address_may_not_answer(
    answer: Callable[[BaseHTTPRequestHandler], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MANIFEST", Limit(1000, MANIFEST.unit, MANIFEST.of))
    with served(answer) as (address, asked), pytest.raises(UserError, match=says):
        load({"parseq_manifest": address}, allow_download=True)
    assert len(asked) <= 12


def test_a_server_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LONGEST", 0)
    never = pytest.raises(UserError, match="it takes more than 0 s")
    with served(answering(b" " * 100)) as (address, _), downloads(allowed=True), never:
        web.fetch(address, MANIFEST)


def test_a_run_keeps_its_manifest(tmp_path: Path) -> None:
    """Whatever becomes of the file; its frames name the file where the manifest is long."""
    file = tmp_path / "m.json"
    file.write_text(text_of({"noise": [index / 10_000 for index in range(1000)]}), encoding="utf-8")
    settings = taken(str(file)).settings
    kept = find.embedded(settings)
    file.unlink()
    again = load_text(dump(kept)).settings
    assert again == kept == find.embedded(again) and again.params == settings.params
    assert find.without_embedded(again) == settings
    short = find.embedded(taken(text_of({"noise": [0, 1]})).settings)
    assert find.without_embedded(short) == short


def test_settings_that_were_not_loaded(tmp_path: Path) -> None:
    """A program may make settings of its own: the manifest is read when they are prepared."""
    from deforum.build import prepare

    (tmp_path / "m.json").write_text(text_of({"noise": [0, 0.1]}), encoding="utf-8")
    prepared = prepare(Settings(parseq_manifest=str(tmp_path / "m.json"), seed=1))
    assert len(prepared.timeline) == 2 and prepared.notes[0].startswith("parseq_manifest: 2 frames")


# --- faults -----------------------------------------------------------------------------------------------------------


def changed(**changes: object) -> str:
    return json.dumps(rendered({"noise": [0, 0.1, 0.2]}) | changes, indent=1)


def with_frames(change: Callable[[list[dict[str, Any]]], object]) -> str:
    manifest = rendered({"noise": [0, 0.1, 0.2], "zoom": [1, 1, 1]})
    change(manifest["rendered_frames"])
    return json.dumps(manifest, indent=1)


FAULTS: Mapping[str, tuple[str, str]] = {
    "nothing": ("{}", "there are no rendered_frames in it; expected a manifest, as Parseq renders it"),
    "a list": ("[]", "this is a list; expected the JSON object"),
    "no JSON": ("{'rendered_frames': []}", "m:1:2: parseq_manifest: expected a name in quotes"),
    "cut off": (text_of({"noise": [0, 1]})[:-300], "m:1:"),
    "more behind it": (text_of({"noise": [0, 1]}) + "x", "the manifest should end here"),
    "a comma too many": ('{"rendered_frames": [{"frame": 0},]}', "a value is missing between the comma and ]"),
    "half a document": (
        changed(rendered_frames=None, keyframes=None),
        "this is a Parseq document without rendered_frames",
    ),
    "a document": (changed(rendered_frames=None, keyframes=[]), "a document needs two keyframes to be rendered"),
    "no frames": (changed(rendered_frames=[]), "rendered_frames is empty; render the document in Parseq"),
    "a frame that is none": (changed(rendered_frames=[7]), "record 0: a number; expected an object"),
    "no number": (changed(rendered_frames=[{"noise": 1}]), "record 0: there is no frame number"),
    "half a frame": (changed(rendered_frames=[{"frame": 0.5}]), "record 0: 0.5 is not frame number"),
    "later begin": (with_frames(lambda frames: frames.pop(0)), "rendered_frames begin at frame 1; expected 0"),
    "a hole": (with_frames(lambda frames: frames.pop(1)), "there is no frame 1; frames have to follow each other"),
    "twice": (with_frames(lambda frames: frames.append(frames[1])), "frame 1 is given more than once"),
    "a missing value": (with_frames(lambda frames: frames[1].pop("noise")), "frame 1: there is no 'noise'"),
    "null": (with_frames(lambda frames: frames[2].update(zoom_delta=None)), "frame 2: there is no 'zoom_delta'"),
    "a text": (with_frames(lambda frames: frames[1].update(noise="1")), "frame 1: 'noise' is '1'; expected a number"),
    "not finite": (with_frames(lambda frames: frames[1].update(noise=float("nan"))), "frame 1: 'noise' is nan"),
    "too large": (with_frames(lambda frames: frames[1].update(noise=10**400)), "frame 1: 'noise' is inf"),
    "managed": (changed(managedFields=["noise", "fov"]), "managedFields has 'fov', and its first frame has no value"),
    "half a letter": (changed(rendered_frames=[{"frame": 0, "deforum_prompt": "a \ud83d"}]), "half of a surrogate"),
    "deep": ('{"a": ' + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_told(name: str) -> None:
    text, says = FAULTS[name]
    with pytest.raises(UserError) as caught:
        read_manifest(text, "m")
    assert says in str(caught.value)
    assert str(caught.value).startswith("m:")


def test_the_place_of_a_fault(tmp_path: Path) -> None:
    text = with_frames(lambda frames: frames[1].pop("noise"))
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    line = text[: text.index('"frame": 1')].count("\n")
    with pytest.raises(UserError, match=rf"m\.json:{line}:3: parseq_manifest: frame 1"):
        taken(str(tmp_path / "m.json"))


def test_no_more_than_a_few_faults_are_told() -> None:
    with pytest.raises(UserError) as caught:
        read_manifest(
            changed(rendered_frames=[{"frame": index, "a": None if index else 1} for index in range(99)]), "m"
        )
    assert len(caught.value.problems) == 5


def test_a_long_manifest_takes_no_more_than_its_share_of_time() -> None:
    """Every frame with a prompt of its own."""
    frames = ",".join(f'{{"frame":{index},"zoom":1,"deforum_prompt":"a {index}"}}' for index in range(60_000))
    with limited(MOST_CPU):
        found = read_manifest('{"rendered_frames":[' + frames + "]}", "m")
    assert found.num_frames == 60_000 and found.texts["deforum_prompt"][-1] == "a 59999"


def test_deforum_takes_the_last_of_equal_frames() -> None:
    text = with_frames(lambda frames: frames.append(frames[1] | {"noise": 0.5}))
    loaded = taken(text, profile="deforum")
    assert curve(look(loaded.settings), "noise").tolist() == [0, 0.5, 0.2]
    assert "frame 1 is given more than once: the last one counts, as in Deforum" in loaded.report[1]


def test_a_manifest_with_little_in_it() -> None:
    """Versions differ; what is there counts."""
    loaded = taken('{"rendered_frames": [{"frame": 0, "noise": 0.5}]}')
    assert curve(look(loaded.settings), "noise").tolist() == [0.5]
    assert "parseq_manifest: it has no options: fps and cadence are those of the settings" in loaded.report


def test_curves_are_exact_and_short() -> None:
    values = [0.1, 0.1, 0.1, 0.1, 1 / 3, 1 / 3, 1 / 3, 0.7]
    settings = taken(text_of({"noise": values})).settings
    assert curve(look(settings), "noise").tolist() == values
    assert [keyframe.key.text for keyframe in settings.params.noise.keyframes] == ["0", "3", "4", "6", "7"]
    assert len(taken(text_of({"noise": [0.5] * 9})).settings.params.noise.keyframes) == 1
