"""Previews: their frames are the warps of a render that paints nothing, labelled, and they go into films and pipes."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.animation.depth_camera import DepthCamera
from deforum.animation.painter import Painting, each
from deforum.animation.stages import Stages
from deforum.cli import main as cli
from deforum.errors import UserError
from deforum.loading import load
from deforum.models.kept import KeptModels
from deforum.pixels.image import from_bytes, to_bytes
from deforum.preview.cards import CEILING, FLOOR, HALF_WIDTH, draw_card, draw_room
from deforum.preview.labels import Labels, size_of_text
from deforum.preview.plan import plan_preview
from deforum.preview.play import DrawnDepthCamera, stages_for
from deforum.preview.scale import scaled, scaled_curves, with_fewer_steps
from deforum.preview.show import plan_draft, preview_frames
from deforum.preview.streams import FORMATS, write_stream
from deforum.rendering import frames
from deforum.settings.options import Settings
from deforum.timeline.timeline import Timeline
from deforum.video.ffmpeg import count_frames, ffmpeg_path
from tests.helpers import keeping

WIDTH, HEIGHT = 96, 64
MODEL_MISSING = "no-such-model.safetensors"
FLAT = {"angle": "2*sin(t)", "zoom": 1.03, "translation_x": "t-3", "translation_y": 1.5}
DEEP = {
    "animation_mode": "3D",
    "translation_z": 3,
    "translation_x": "2*sin(t)",
    "rotation_3d_y": 0.7,
    "rotation_3d_z": 1,
}


def settings_of(**changes: object) -> Settings:
    usual = {"width": WIDTH, "height": HEIGHT, "max_frames": 6, "cadence": 1, "seed": 3, "zoom": 1,
             "prompts": {0: "a sea", 4: "a hill"}, "finish": "none"}  # fmt: skip
    return load(usual | changes).settings


def pictures(settings: Settings, **chosen: Any) -> list[np.ndarray]:
    return [pixels for _, pixels in preview_frames(plan_preview(settings, **chosen), plain=True)]


# --- the motion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("border", ["replicate", "wrap"])
@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("motion", [FLAT, DEEP], ids=["2D", "3D"])
def test_frames_are_the_warps_of_a_render_that_paints_nothing(
    motion: dict[str, object], profile: str, border: str, tmp_path: Path
) -> None:
    """The render itself, with its own model loaded, but for the painting and the filters around it."""
    card = tmp_path / "card.png"
    cv2.imwrite(str(card), draw_card(WIDTH, HEIGHT)[..., ::-1])
    padding = "reflection" if border == "wrap" else "border"
    settings = settings_of(
        **motion, profile=profile, border=border, padding_mode=padding, init_image=str(card), strength=1
    )

    def unpainted(stages: Stages) -> Stages:
        painting = Painting(each(keeping(torch.zeros(3, HEIGHT, WIDTH))))
        return replace(stages, painting=painting, before=(), after=(), palette=lambda moment, moved, painted: None)

    rendered = [pixels for _, pixels in frames(settings, change=unpainted, models=MODELS)]
    shown = pictures(settings, picture="init", depth="set" if motion is DEEP else "auto")
    assert len(shown) == len(rendered) == 6
    for one, other in zip(shown, rendered, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    moved = [np.abs(one.astype(int) - other).mean() for one, other in pairwise(shown)]
    assert min(moved) > 1, "nothing moves"


MODELS = KeptModels()
"""Loaded once."""


@pytest.mark.parametrize("profile", ["corrected", "deforum"])
@pytest.mark.parametrize("cadence", [1, 3])
@pytest.mark.parametrize("motion", [FLAT, DEEP], ids=["2D", "3D"])
def test_frames_follow_the_camera_step_by_step(motion: dict[str, object], cadence: int, profile: str) -> None:
    """Painted frames are moved from the painted one before; those between too, at once, or (Deforum) by each step."""
    plan = plan_preview(settings_of(**motion, profile=profile, cadence=cadence, max_frames=7), depth="auto")
    shown = [pixels for _, pixels in preview_frames(plan, plain=True)]
    stages = stages_for(plan, KeptModels())
    levels = draw_room(WIDTH, HEIGHT, 70)[0] if motion is DEEP else draw_card(WIDTH, HEIGHT)
    camera, picture = stages.camera, from_bytes(levels)
    assert np.array_equal(shown[0], levels)
    way = None
    for index in range(1, 7):
        frame = plan.timeline[index]
        if way is None:
            camera = camera.look(picture, plan.timeline[index - 1])
        step, camera = camera.move(frame)
        way = step if way is None else camera.joined(way, step)
        seen = way(picture)
        assert np.abs(shown[index].astype(int) - to_bytes(seen)).max() <= 1, index
        if index % cadence == 0 or profile == "deforum":
            picture, way = seen, None


def test_a_drawn_depth_moves_with_its_picture() -> None:
    plan = plan_preview(settings_of(animation_mode="3D", translation_z=0, translation_x=20, rotation_3d_z=5))
    camera = stages_for(plan, KeptModels()).camera
    levels, inverse = draw_room(WIDTH, HEIGHT, 70)
    before = camera.look(from_bytes(levels), plan.timeline[0])
    warp, after = before.move(plan.timeline[1])
    carried = after.within(DrawnDepthCamera)
    assert carried is not None and torch.equal(carried.inverse, warp(torch.from_numpy(inverse)[None])[0])
    assert (carried.inverse - torch.from_numpy(inverse)).abs().max() > 0.05
    seen = after.look(warp(from_bytes(levels)), plan.timeline[1]).within(DepthCamera)
    assert seen is not None and seen.model is not None
    assert torch.equal(seen.model(torch.zeros(3, 1, 1), 1), carried.inverse)


@pytest.mark.parametrize(("cadence", "renewed"), [(1, {0, 4, 8}), (3, {0, 6, 9})])
def test_a_picture_begins_anew(cadence: int, renewed: set[int]) -> None:
    shown = pictures(settings_of(zoom=1.1, cadence=cadence, max_frames=10), renew=4)
    assert {index for index, each in enumerate(shown) if np.array_equal(each, draw_card(WIDTH, HEIGHT))} == renewed


def test_a_picture_that_is_soon_gone_is_told() -> None:
    settings = settings_of(zoom=1.05, max_frames=60)
    assert plan_preview(settings).notes == (
        "from frame 24 on less than a tenth of the picture is left, as nothing is painted: --renew 24 begins it anew",
    )
    assert plan_preview(settings, renew=20).notes == plan_preview(settings_of(zoom=1.002, max_frames=60)).notes == ()


@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_a_smaller_preview_has_the_same_motion(mode: str) -> None:
    """Its pictures are those of the whole one, reduced."""
    settings = settings_of(
        width=192, height=128, animation_mode=mode, translation_x=8, translation_y=4, zoom=1.01, translation_z=4
    )
    whole, small = (
        pictures(settings, picture="card", **FLAT_DEPTH[mode]),
        pictures(settings, picture="card", scale=0.5, **FLAT_DEPTH[mode]),
    )
    assert small[-1].shape == (64, 96, 3)
    reduced = cv2.resize(whole[-1], (96, 64), interpolation=cv2.INTER_AREA)
    still = cv2.resize(whole[0], (96, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - small[-1]).mean() < 0.35 * np.abs(still.astype(int) - small[-1]).mean()


FLAT_DEPTH = {"2D": {}, "3D": {"depth": "none"}}


def test_masks_are_drawn(tmp_path: Path) -> None:
    """Also where the masked part is painted at full size, which a preview does not do."""
    width, height = 256, 192
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    settings = settings_of(
        use_mask=True,
        mask_file=str(tmp_path / "mask.png"),
        max_frames=2,
        full_res_mask=True,
        width=width,
        height=height,
    )
    plan = plan_preview(settings)
    plain, drawn = ([pixels for _, pixels in preview_frames(plan, plain=each)] for each in (True, False))
    assert np.array_equal(plain[0], draw_card(width, height)) and np.array_equal(plain[1], plain[0])
    one, other = plain[1][height // 2], drawn[1][height // 2]  # between the labels
    middle = width // 2
    assert np.abs(other[: middle - 2] - 0.4 * one[: middle - 2]).max() <= 1
    assert np.array_equal(other[middle + 2 :], one[middle + 2 :])
    assert (np.abs(other[middle - 1 : middle + 1] - (255, 51, 178.5)).max(1) <= 1).any(), "no outline"


def test_a_clip_moves_the_picture() -> None:
    """Hybrid video: by the clip's flow, with the clip laid over it; and frames of a clip are read as they are."""
    example = Path(__file__).parents[2] / "examples"
    small = ["width=96", "height=56", "max_frames=3"]
    hybrid = pictures(load(example / "hybrid.yaml", [*small, "hybrid_composite=None"]).settings, picture="card")
    assert np.array_equal(hybrid[0], draw_card(96, 56)) and np.abs(hybrid[2].astype(int) - hybrid[0]).mean() > 1
    film = pictures(load(example / "stylise_clip.yaml", [*small, "clip_feedback=0"]).settings)
    assert np.abs(film[0].astype(int) - draw_card(96, 56)).mean() > 20
    assert 0.1 < np.abs(film[1].astype(int) - film[0]).mean() < 20


def test_shots_follow_each_other() -> None:
    """Each begins with its picture, and its frames have the numbers of the film."""
    shots = [{"name": "sea", "to": 2}, {"name": "port", "to": 5, "translation_x": 8}, {"name": "deep", "to": 6,
              "animation_mode": "3D"}]  # fmt: skip
    settings = settings_of(shots=shots)
    plan = plan_preview(settings)
    shown = list(preview_frames(plan, plain=True))
    assert [frame.index for frame, _ in shown] == list(plan.place) == list(range(6))
    card = draw_card(WIDTH, HEIGHT)
    assert [np.array_equal(pixels, card) for _, pixels in shown] == [True, True, True, False, False, False]
    assert np.array_equal(shown[3][1][:, 8:], card[:, :-8])
    assert np.array_equal(shown[5][1], draw_room(WIDTH, HEIGHT, 70)[0])
    draft = plan_draft(settings, 1)
    assert (draft.names, draft.starts, draft.place) == (("sea", "port", "deep"), (0, 2, 5), range(6))


def test_a_preview_begins_at_the_first_frame() -> None:
    shown = list(preview_frames(plan_preview(settings_of(first_frame=2, translation_x=8)), plain=True))
    assert [frame.index for frame, _ in shown] == [2, 3, 4, 5]
    assert np.array_equal(shown[0][1], draw_card(WIDTH, HEIGHT))


@pytest.mark.parametrize(
    ("settings", "chosen", "message"),
    [
        ({}, {"picture": "init"}, "init_image is not set"),
        ({}, {"depth": "embedded"}, "2D has no depth"),
        ({"model": MODEL_MISSING}, {"picture": "painted"}, MODEL_MISSING),
        ({"animation_mode": "3D", "depth_algorithm": "zoe"}, {"depth": "set"}, "zoe"),
    ],
)
def test_what_is_missing_is_said(settings: dict[str, object], chosen: dict[str, Any], message: str, home: Path) -> None:
    with pytest.raises(UserError, match=message):
        plan_preview(settings_of(**settings), **chosen)


def test_a_missing_model_or_depth_model_is_no_hindrance(home: Path) -> None:
    settings = settings_of(model=MODEL_MISSING, width=None, height=None, animation_mode="3D", depth_algorithm="zoe")
    plan = plan_preview(settings, picture="card")
    assert plan.settings.size == (512, 512) and plan.found["depth"].name == "embedded"
    assert [note.partition(":")[0] for note in plan.notes] == ["size", plan.notes[1].partition(":")[0]]
    assert "the embedded depth model stands in" in plan.notes[1]
    assert plan_preview(settings).notes == plan.notes[:1]  # a room has its own depth


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_the_room_is_as_deep_as_its_walls_are_far() -> None:
    levels, inverse = draw_room(201, 161, 90)  # at 90 degrees half of the width is as far as it is wide
    x = (np.arange(201) + 0.25) * 2 / 201 - 1
    y = (np.arange(161) + 0.25) * 2 / 201 - 161 / 201
    ratio = inverse / inverse[-1, 100] * (y[-1] / FLOOR)
    assert 1 / ratio[80, 0] == pytest.approx(HALF_WIDTH / abs(x[0]), rel=1e-3)
    assert 1 / ratio[0, 100] == pytest.approx(CEILING / y[0], rel=1e-3)
    assert 1 / ratio[150, 100] == pytest.approx(FLOOR / y[150], rel=1e-3)
    assert inverse.max() == 1 and inverse.min() > 0 and levels.shape == (161, 201, 3)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (1920, 1080), (96, 200)])
def test_labels_are_legible_and_fit(width: int, height: int) -> None:
    prompt = "a very long prompt of a wide sea under heavy clouds, painted in oil, with ships and rocks " * 3
    settings = settings_of(prompts={0: prompt}, width=width, height=height, strength=0.375)
    timeline = plan_preview(settings).timeline
    labels, ground = Labels(timeline, width, height, range(6)), np.full((height, width, 3), 128, np.uint8)
    frame = timeline[2]
    assert labels.lines(frame, 2) == ("frame 2 / 5", "0:00.13", "seed 5", "strength 0.375", "painted")
    drawn = labels.draw(ground, frame, 2)
    assert (ground == 128).all(), "the frame itself was changed"
    letters = drawn.min(-1) > 200
    rows = np.flatnonzero(letters.any(1))
    size = size_of_text(width, height)
    assert size >= 11 and rows[0] < size and rows[-1] >= height - 1.5 * size
    assert not letters[:, -2:].any(), "cut off at the right"
    assert (drawn[height // 2] == 128).all() or height < 150 or width < 150
    assert letters.sum() / letters.size < 0.25


def test_labels_tell_what_is_painted_and_blended() -> None:
    timeline = plan_preview(settings_of(cadence=2, prompt_blend="linear")).timeline
    labels = Labels(timeline, WIDTH, HEIGHT, range(6), "port")
    assert [labels.lines(frame, frame.index)[-1] for frame in timeline] == ["painted", "in-between"] * 3
    assert labels.lines(timeline[0], 12)[:3] == ("frame 12 / 5", "0:00.80", "port")
    assert labels.prompt(timeline[0]) == "a sea"
    assert labels.prompt(timeline[1]) == "75 % a sea  |  25 % a hill"
    assert labels.prompt(timeline[5]) == "a hill"


# --- drafts -----------------------------------------------------------------------------------------------------------


def test_a_draft_has_the_frames_seeds_and_motion_of_the_render() -> None:
    settings = settings_of(
        width=256, height=192, seed=-1, steps="0: (20), 3: (40)", strength=0.6, translation_x=6, cadence=2
    )
    settings = replace(settings, seed=12)
    [whole], [draft] = plan_draft(settings, 1).chains, plan_draft(settings, 4).chains
    assert draft.settings.size == (64, 64) and not draft.settings.finishes
    assert (draft.timeline.keys, draft.timeline.seeds) == (whole.timeline.keys, whole.timeline.seeds)
    assert draft.timeline[3].params.steps == 10 and draft.timeline[0].params.steps == 5
    assert draft.timeline[1].params.translation_x == 6 * 64 / 256
    with pytest.raises(UserError, match=r"expected 1\.\.16"):
        plan_draft(settings, 17)


def test_a_draft_never_loses_all_of_its_steps() -> None:
    timeline = plan_preview(settings_of(steps=8, strength="0: (0), 5: (1)")).timeline
    fewer = with_fewer_steps(timeline, 1 / 8).curves
    run = fewer.steps * (1 - timeline.curves.strength)
    assert (fewer.steps <= 8).all() and (run[:-1] >= 0.99).all() and run[-1] == 0


def test_lengths_in_px_are_scaled_and_those_of_a_scene_are_not() -> None:
    def both(mode: str) -> tuple[Settings, Timeline]:
        settings = settings_of(width=200, height=104, animation_mode=mode, translation_x=10, mask_overlay_blur=4)
        return scaled(settings, 0.5), scaled_curves(plan_preview(settings).timeline, settings, 0.5)

    settings, timeline = both("2D")
    assert settings.size == (96, 64) and settings.mask_overlay_blur == 2  # sides are multiples of 8, at least 64
    assert timeline[1].params.translation_x == 4.8
    assert both("3D")[1][1].params.translation_x == 10


# --- films and pipes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(32, 24), (33, 25)])
def test_a_player_reads_the_stream(width: int, height: int) -> None:
    shown = [np.full((height, width, 3), (200, 40 * number, 90), np.uint8) for number in range(3)]
    stream = io.BytesIO()
    assert write_stream(shown, "y4m", Fraction(24000, 1001), stream)
    command = [ffmpeg_path(), "-v", "error", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True).stdout
    even = height + height % 2, width + width % 2
    read = np.frombuffer(decoded, np.uint8).reshape(3, *even, 3)
    assert all(
        np.abs(one[:height, :width].astype(int) - other).max() <= 4 for one, other in zip(read, shown, strict=True)
    )
    raw = io.BytesIO()
    write_stream(shown, "raw", Fraction(12), raw)
    assert raw.getvalue() == b"".join(each.tobytes() for each in shown)
    assert FORMATS["raw"].player(width, height, Fraction(12)).endswith(f"-video_size {width}x{height} -framerate 12 -")


def test_a_reader_that_goes_ends_the_stream() -> None:
    class Closed(io.BytesIO):
        def write(self, written: Any) -> int:
            raise BrokenPipeError

    assert not write_stream([np.zeros((2, 2, 3), np.uint8)], "y4m", Fraction(12), Closed())


SMALL = ["width=64", "height=64", "max_frames=3", "cadence=1", "seed=1", "--progress", "none"]


def test_the_command_makes_a_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["preview", "quickstart", *SMALL, "-o", str(tmp_path)]) == 0
    told = capsys.readouterr()
    film = Path(told.out.strip())
    assert film == tmp_path / "quickstart_preview.mp4" and count_frames(film) == 3
    assert "3 frames in" in told.err
    assert cli.main(["preview", "quickstart", *SMALL, "-o", str(tmp_path / "a.webm"), "-q", "--json"]) == 0
    assert '"video": "' in capsys.readouterr().out and count_frames(tmp_path / "a.webm") == 3
    assert cli.main(["preview", "quickstart", *SMALL, "-o", str(tmp_path / "a.webm")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_the_command_writes_into_a_pipe(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["preview", "quickstart", *SMALL, "-o", "-", "--plain", "--format", "raw"]) == 0
    written = capsysbinary.readouterr().out
    assert len(written) == 3 * 64 * 64 * 3
    assert np.array_equal(np.frombuffer(written[: 64 * 64 * 3], np.uint8).reshape(64, 64, 3), draw_card(64, 64))


def test_a_draft_is_painted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["width=128", "height=128", "steps=4", "max_frames=2", "cadence=1", "--progress", "none"]
    assert cli.main(["preview", "quickstart", *small, "--draft", "2", "-o", str(tmp_path)]) == 0
    film = Path(capsys.readouterr().out.strip())
    assert film.name == "quickstart_draft.mp4"
    video = cv2.VideoCapture(str(film))
    done, picture = video.read()
    assert done and picture.shape == (64, 64, 3) and picture[28:40].std() > 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--draft", "2", "--picture", "card"], "leave out --picture"),
        (["--scale", "2"], r"expected a share of the frame's size"),
        (["--renew", "-1"], "expected a number of frames"),
        (["-o", "-", "--format", "webm"], "a pipe takes y4m or raw"),
        (["--format", "raw"], "is for pipes"),
        (["--format", "h263"], "expected one of h264"),
        (["-o", "-", "--json"], "both write to the standard output"),
        (["-o", "film.txt"], "no film has this ending"),
        (["-o", "film.mp4", "--format", "webm"], r"webm is written into \.webm"),
        (["seed=1,2", "-o", "film.mp4"], "there are 2 previews"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["preview", "quickstart", *SMALL, *words]) == 2
    said = capsys.readouterr()
    assert re.search(message, said.err) and len(said.err.splitlines()) == 1
    assert not said.out.strip() or "--json" in words
