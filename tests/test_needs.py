"""Estimates of memory and time: near what was measured, and told where they matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deforum import needs, needs_behind
from deforum.build import prepare
from deforum.diffusion import resolve_model
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.families.load import load_model
from deforum.diffusion.memory import estimate_memory
from deforum.forecast import needs_of
from deforum.loading import load
from deforum.models import kept_graphs
from deforum.needs_behind import BEGINNING, BETWEEN, ENCODED, FLOW, LOOKED, OF_ONE_CORE, WRITTEN, work_behind
from deforum.rendering import check
from deforum.upscaling.models import seconds_of

EMBEDDED = {"device": "cpu", "precision": "fp32", "cadence": 1, "seed": 1, "finish": "none"}


@pytest.mark.parametrize(("side", "measured"), [(256, 1.06), (512, 1.15), (1024, 1.72), (1536, 2.32), (2048, 3.15)])
def test_memory_is_near_what_was_measured(side: int, measured: float) -> None:
    """The largest resident memory of processes that rendered two frames with the embedded model, in GB."""
    estimate = estimate_memory(resolve_model("embedded"), side, side)
    assert estimate is not None and estimate / 1e9 == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, False),
        ({"animation_mode": "Interpolation"}, True),  # several frames at once
        ({"animation_mode": "Interpolation", "batch_size": 1}, False),
        ({"animation_mode": "Interpolation", "max_frames": 1}, False),
    ],
)
def test_frames_that_are_diffused_at_once_take_more(changes: dict[str, object], more: bool) -> None:
    one = needs.memory(prepare(load(EMBEDDED).settings))
    other = needs.memory(prepare(load(EMBEDDED | changes).settings))
    assert one is not None and other is not None and (other > one) == more


def test_weights_are_counted_in_every_file_once(tmp_path: Path) -> None:
    """A folder with weights of both kinds, and of 16 bits, takes the memory of one."""
    import json
    import shutil

    import torch
    from safetensors.torch import save_file

    from deforum.embedded import DIFFUSION

    folder = tmp_path / "model"
    shutil.copytree(DIFFUSION, folder)
    plain = estimate_memory(resolve_model(str(folder)), 64, 64)
    torch.save({"w": torch.zeros(10**6)}, folder / "unet" / "diffusion_pytorch_model.bin")
    save_file({"w": torch.zeros(10**6)}, folder / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    assert estimate_memory(resolve_model(str(folder)), 64, 64) == plain
    half = estimate_memory(resolve_model(str(folder)), 64, 64, half=True)
    parameters = 0
    for file in (*folder.glob("*/*.safetensors"),):
        if "fp16" not in file.name:
            raw = file.read_bytes()
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            parameters += sum(_product(each["shape"]) for name, each in header.items() if name != "__metadata__")
    assert plain is not None and half is not None and plain - half == 2 * parameters > 10**7


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def test_a_size_that_does_not_fit_is_said_before_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(EMBEDDED | {"width": 8192, "height": 8192, "skip_video_creation": True}).settings
    monkeypatch.setattr(needs, "total_memory", lambda: 4 * 10**9)
    (note,) = (note for note in check(settings).notes if "memory" in note)
    assert note.startswith(
        "8192x8192: about 42 GB of memory, and this machine has 4.0 GB: the system will probably end"
    )
    assert note.endswith("choose a smaller size")
    # In tiles it fits.
    monkeypatch.setattr(needs, "total_memory", lambda: 16 * 10**9)
    (note,) = (note for note in check(settings).notes if "memory" in note)
    assert note.endswith(
        "this machine has 16 GB: frames are encoded and decoded in tiles (memory: lowest), which takes longer"
    )
    (note,) = (note for note in check(replace(settings, memory="low")).notes if "GB of memory" in note)
    assert note.endswith("choose a smaller size, or memory=lowest (about 7.8 GB)")
    assert not any("GB of memory" in note for note in check(replace(settings, memory="lowest")).notes)
    monkeypatch.setattr(needs, "total_memory", lambda: 64 * 10**9)
    assert not any("memory" in note for note in check(settings).notes)
    monkeypatch.setattr(needs, "total_memory", lambda: 0)  # not known
    assert not any("memory" in note for note in check(settings).notes)


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        # At strength 0.5: the seconds per frame measured, a hundredth of the start among them; frame 0 has all steps.
        ({"width": 160, "height": 160, "steps": 4}, 0.14),
        ({"width": 256, "height": 256, "steps": 4}, 0.18),
        ({"width": 512, "height": 512, "steps": 4}, 0.5),
        ({"width": 256, "height": 256, "steps": 4, "animation_mode": "3D", "depth_algorithm": "embedded"}, 0.24),
    ],
)
def test_times_are_near_what_was_measured(changes: dict[str, object], measured: float) -> None:
    settings = load(EMBEDDED | {"strength": 0.5, "max_frames": 100} | changes).settings
    seconds = needs.seconds_on_two_cores(prepare(settings))
    assert seconds is not None and seconds / 100 == pytest.approx(measured, rel=0.3)


@pytest.mark.parametrize("changes", [{"width": 2048, "height": 2048}, {"device": "cuda"}])
def test_no_time_is_given_where_none_was_measured(changes: dict[str, object]) -> None:
    assert needs.seconds_on_two_cores(prepare(load(EMBEDDED | changes).settings)) is None


def test_more_work_takes_longer() -> None:
    def seconds(**changes: object) -> float:
        return float(needs.work(prepare(load(EMBEDDED | changes).settings)).sum())

    usual = seconds()
    assert seconds(max_frames=240) == pytest.approx(2 * usual, rel=0.02)
    assert seconds(cadence=4) < usual / 2
    assert seconds(diffusion_redo=1) == pytest.approx(2 * usual, rel=0.02)
    assert seconds(animation_mode="Interpolation") > usual  # each frame from noise
    deep = {"animation_mode": "3D", "depth_algorithm": "embedded", "cadence": 4}
    assert usual / 2 > seconds(**deep) > seconds(**deep | {"use_depth_warping": False}) > seconds(cadence=4)


SIDE, PIXELS = 256, 256 * 256
DEEP = {"animation_mode": "3D", "depth_algorithm": "embedded"}


def work_of(**changes: object) -> list[float]:
    """The work of each frame at 256 px, where 10 steps of 20 are run."""
    usual = EMBEDDED | {"width": SIDE, "height": SIDE, "max_frames": 9, "steps": 20, "strength": 0.5}
    found: list[float] = needs.work(prepare(load(usual | changes).settings)).tolist()
    return found


@pytest.mark.parametrize(
    ("changes", "steps", "rows", "by_torch"),
    [
        ({}, 10, 2, False),
        ({"cfg_scale": 1}, 10, 1, False),
        ({"pag_scale": 3}, 10, 3, True),
        ({"cfg_scale": 1, "pag_scale": 3}, 10, 2, True),
        ({"freeu_b1": 1.2}, 10, 2, True),
        ({"cfg_scale": 1, "sampler": "Euler CFG++"}, 10, 2, False),  # it needs both
        ({"sampler": "Heun"}, 19, 2, False),
        ({"sampler": "DPM++ SDE Karras", "cfg_scale": 1}, 19, 1, False),
        ({"profile": "deforum"}, 11, 2, False),
        ({"profile": "deforum", "sampler": "DDIM"}, 9, 2, False),
    ],
)
def test_evaluations_of_the_network_are_counted(
    changes: dict[str, object], steps: int, rows: int, by_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_graphs, "is_supported", lambda: True)
    step = needs.STEP.each + needs.STEP.pixel * PIXELS * rows / 2 + by_torch * needs.BY_TORCH
    gained = 0 if "profile" in changes else needs.GAINED
    assert work_of(**changes)[1] == pytest.approx(needs.PAINTED.of(PIXELS) + gained + steps * step)


@pytest.mark.parametrize(
    ("changes", "first", "again"),
    [
        ({"hires_scale": 2}, 128, 10),
        ({"hires_scale": 2, "hires_steps": 10}, 128, 5),
        ({"hires_scale": 2, "hires_strength": 0.8}, 128, 4),
        ({"hires_scale": 1}, 0, 10),
        ({"hires_scale": "1: (0), 2: (1.5)"}, 0, 10),
    ],
)
def test_a_first_pass_at_a_smaller_size_is_counted(
    changes: dict[str, object], first: int, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 128 px there are too few cells for graphs."""
    monkeypatch.setattr(kept_graphs, "is_supported", lambda: True)
    expected = needs.PAINTED.of(PIXELS) + needs.GAINED + again * needs.STEP.of(PIXELS)
    if first:
        expected += needs.PAINTED.of(first**2) + 10 * (needs.STEP.of(first**2) + needs.BY_TORCH)
    assert work_of(**changes)[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("side", "changes", "measured"),
    [
        (192, {}, 0.21),
        (192, {"cfg_scale": 1}, 0.172),
        (192, {"pag_scale": 3}, 0.408),
        (192, {"pag_scale": 3, "cfg_scale": 1}, 0.352),
        (192, {"sampler": "Heun"}, 0.338),
        (192, {"hires_scale": 2}, 0.484),
        (192, {"hires_scale": 2, "hires_steps": 4}, 0.383),
        (320, {}, 0.38),
        (320, {"cfg_scale": 1}, 0.289),
        (320, {"pag_scale": 3}, 0.635),
    ],
)
def test_painted_frames_are_near_what_was_measured(
    side: int, changes: dict[str, object], measured: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds from painted frame to painted frame, on 2 cores of the machine of the table."""
    monkeypatch.setattr(kept_graphs, "is_supported", lambda: True)
    assert work_of(width=side, height=side, zoom=1.02, **changes)[1] == pytest.approx(measured, rel=0.2)


def test_in_betweens_take_what_their_cadence_does() -> None:
    """Between two painted frames they follow a flow that is found once; Deforum's fade, and look at depth each time."""
    painted, between, deep = work_of()[1], needs.IN_BETWEEN.of(PIXELS), needs.MOVED_DEEP.of(PIXELS)
    on_time = work_of(cadence=4)
    assert on_time[1:5] == pytest.approx([between] * 3 + [painted + needs.MEETING.of(PIXELS)])
    assert work_of(cadence=4, optical_flow_cadence="None")[4] == pytest.approx(painted)
    looked = needs.DEPTH.of(PIXELS)
    assert work_of(cadence=4, **DEEP)[1:5] == pytest.approx(
        [between + deep] * 3 + [painted + needs.MEETING.of(PIXELS) + deep + looked]
    )
    faded, old = needs.FADED.of(PIXELS), {"profile": "deforum", "cadence": 4}
    slab, looked = needs.MOVED_SLAB.of(PIXELS), needs.DEPTH_OF_SLAB.of(PIXELS)
    assert work_of(**old)[5:8] == pytest.approx([faded] * 3)
    assert work_of(**old, **DEEP)[5:8] == pytest.approx([faded + slab + looked] * 3)
    assert work_of(**old, **DEEP, use_depth_warping=False)[5:8] == pytest.approx([faded + slab] * 3)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 0),
        (["film"], BEGINNING + 10 * ENCODED.of(PIXELS)),
        (["frames"], BEGINNING + 10 * (WRITTEN.of(PIXELS) + ENCODED.of(PIXELS))),
        ([{"interpolate": 3}], BEGINNING + 9 * (FLOW.of(PIXELS) + 2 * BETWEEN.of(PIXELS))
         + 30 * (WRITTEN.of(PIXELS) + ENCODED.of(PIXELS))),
        ([{"upscale": {"factor": 2, "upscaler": "lanczos"}}, "grain"],
         BEGINNING + 10 * (2 * LOOKED.of(4 * PIXELS) + WRITTEN.of(4 * PIXELS) + ENCODED.of(4 * PIXELS))),
        ([{"upscale": {"factor": 2, "upscaler": "x4plus"}}],
         BEGINNING + 10 * (LOOKED.of(4 * PIXELS) + WRITTEN.of(4 * PIXELS) + ENCODED.of(4 * PIXELS)
                           + OF_ONE_CORE * seconds_of("x4plus", PIXELS))),
        (["finish"], BEGINNING + 10 * (needs.FINISHED[0].of(PIXELS) + WRITTEN.of(4 * PIXELS) + ENCODED.of(4 * PIXELS))),
    ],
)  # fmt: skip
def test_steps_behind_a_render_take_what_their_frames_do(steps: list[object], expected: float) -> None:
    settings = load(EMBEDDED | {"width": SIDE, "height": SIDE, "post": steps}).settings
    assert work_behind(settings, 10) == pytest.approx(expected)
    # Without films they are written alone.
    less = work_behind(replace(settings, skip_video_creation=True), 10)
    assert less < expected or steps in ([], ["film"])


@pytest.mark.parametrize(
    ("side", "times", "measured"), [(160, 2, 0.0293), (160, 4, 0.0564), (320, 2, 0.1017), (320, 4, 0.1578)]
)
def test_interpolating_is_near_what_was_measured(side: int, times: int, measured: float) -> None:
    """Seconds for each frame that goes in, on 2 cores of the machine of the table."""
    settings = load(EMBEDDED | {"width": side, "height": side, "post": [{"interpolate": times}]}).settings
    each = (work_behind(settings, 24) - work_behind(settings, 8)) / 16
    assert each == pytest.approx(measured, rel=0.2)


def test_the_user_s_own_engine_is_not_in_the_table(tmp_path: Path) -> None:
    engine = tmp_path / "mine.pt"
    engine.write_bytes(b"")
    settings = load(EMBEDDED | {"width": SIDE, "height": SIDE, "interpolate": 2}).settings
    assert needs_behind.is_in_table(settings)
    assert list(needs_behind.steps_of(settings)) == ["interpolate flow"]
    own = replace(settings, interpolator=str(engine))
    assert not needs_behind.is_in_table(own) and list(needs_behind.steps_of(own)) == [f"interpolate {engine}"]
    assert not needs_behind.is_in_table(replace(settings, device="cuda"))


@pytest.mark.parametrize("changes", [{}, {"animation_mode": "3D", "depth_algorithm": "embedded"}])
def test_a_render_begins_with_loading(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_graphs, "is_empty", lambda: False)
    short, prepared = (prepare(load(EMBEDDED | changes | {"max_frames": count}).settings) for count in (1, 120))
    start = needs.seconds_on_two_cores(short) or 0
    assert start > 1.5 and needs.start_on_two_cores(short) == needs.start_on_two_cores(prepared) < start
    whole = needs.start_on_two_cores(prepared) + needs.work(prepared).sum()
    assert needs.seconds_on_two_cores(prepared) == pytest.approx(whole)
    assert needs_of(prepared).seconds == pytest.approx(whole)


@pytest.mark.parametrize(
    ("changes", "makes"),
    [
        ({}, 2 * needs.MAKING),  # on a moving grid the latents have a margin
        ({"latent_grid": "fixed"}, needs.MAKING),
        ({"animation_mode": "3D", "depth_algorithm": "embedded"}, 2 * needs.MAKING + needs.MAKING_DEEP),
        ({"width": 64, "height": 64}, 0),
    ],
)
def test_the_first_run_makes_graphs(changes: dict[str, object], makes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(load(EMBEDDED | changes).settings)
    for is_supported, is_empty in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(kept_graphs, "is_empty", lambda is_empty=is_empty: is_empty)
        monkeypatch.setattr(kept_graphs, "is_supported", lambda is_supported=is_supported: is_supported)
        found = needs_of(prepared)
        assert found.making == pytest.approx(makes if is_supported and is_empty else 0)
        assert found.seconds == pytest.approx((needs.seconds_on_two_cores(prepared) or 0) + found.making)


def test_small_pictures_have_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the model itself decides it, which is loaded here."""
    model = load_model(resolve_model("embedded"), "cpu", "fp32")
    assert Autoencoder(model.vae).factor == needs.CELL
    monkeypatch.setattr(kept_graphs, "is_empty", lambda: True)
    monkeypatch.setattr(kept_graphs, "is_supported", lambda: True)
    for size, makes in (((128, 128), False), ((144, 160), False), ((160, 160), True), ((128, 208), True)):
        prepared = prepare(load(EMBEDDED | {"width": size[0], "height": size[1]}).settings)
        assert (needs.making_on_two_cores(prepared) > 0) == makes, size


@pytest.mark.parametrize(
    ("changes", "as_at"),
    [
        ({}, 0.35),  # disocclusion_strength
        ({"disocclusion_strength": 0.9}, 0.55),  # at most the frame's own
        ({"disocclusion": "far"}, 0.55),
        ({"profile": "deforum"}, 0.55),
        ({"use_depth_warping": False}, 0.55),
    ],
)
def test_what_comes_into_view_takes_its_own_steps(changes: dict[str, object], as_at: float) -> None:
    deep = EMBEDDED | {"animation_mode": "3D", "depth_algorithm": "embedded", "disocclusion": "repaint"} | changes
    painted, plain = (
        needs.work(prepare(load(deep | more).settings))[1]
        for more in ({"strength": 0.55}, {"strength": as_at, "disocclusion": "far"})
    )
    assert painted == pytest.approx(plain)


@pytest.mark.parametrize(
    ("count", "text"), [(940_000_000, "0.9 GB"), (9_960_000_000, "10 GB"), (42_000_000_000, "42 GB")]
)
def test_sizes_read_as_people_write_them(count: int, text: str) -> None:
    assert needs.gigabytes(count) == text


@pytest.mark.parametrize(
    ("changes", "more"), [({"finish": "none"}, 0), ({}, 1), ({"finish_look": "ink"}, 2), ({"profile": "deforum"}, 0)]
)
def test_finished_frames_take_more(changes: dict[str, object], more: int) -> None:
    sized = EMBEDDED | {"width": 256, "height": 256, "finish": "auto"} | changes
    plain, prepared = (prepare(load(given).settings) for given in (sized | {"finish": "none"}, sized))
    took = (needs.seconds_on_two_cores(prepared) or 0) - (needs.seconds_on_two_cores(plain) or 0)
    room = (needs.memory(prepared) or 0) - (needs.memory(plain) or 0)
    times = (0, *(each.of(256 * 256) for each in needs.FINISHED))
    assert took == pytest.approx(times[more] * 120 + (needs.START_FINISHER if more else 0))
    assert room == (0, *needs.BYTES_PER_FINISHED)[more] * 256 * 256
