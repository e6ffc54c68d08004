"""Estimates of memory and time: near what was measured, and told where they matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deforum import needs
from deforum.build import prepare
from deforum.diffusion import resolve_model
from deforum.diffusion.autoencoder import Autoencoder
from deforum.diffusion.families.load import load_model
from deforum.diffusion.memory import estimate_memory
from deforum.forecast import needs_of
from deforum.loading import load
from deforum.models import kept_graphs
from deforum.rendering import check

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
    old = {"profile": "deforum", "steps": 40}  # whose in-betweens are each looked at
    looks = (seconds(**deep | old) - seconds(cadence=4, **old)) / (seconds(**deep) - seconds(cadence=4))
    assert looks > 1.5


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
