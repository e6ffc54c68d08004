"""What a frame makes the host wait for, on a pretended card: one read of its faults, beside the picture's own copy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from deforum.animation import filters
from deforum.build import Animation, LoadedModel, assemble, build, load_model, prepare
from deforum.diffusion.families import load as families
from deforum.diffusion.faults import RenderError
from deforum.going import levels
from deforum.models import device, room
from deforum.models.kept import KeptModels
from deforum.models.transfer import Arriving
from deforum.pixels.image import CPU, to_bytes
from tests.helpers import ROOT, settings_maker
from tests.helpers.card import CARD, Card, OnCard, Wait, at_once
from tests.helpers.pictures import texture

Changes = dict[str, object]

PLAIN: Changes = {
    "width": 64, "height": 64, "max_frames": 4, "seed": 11, "steps": 1, "batch_size": 1,
    "prompts": '{0: "a", 2: "b (c:1.2)"}',
}  # fmt: skip
FLAT: Changes = {"zoom": "1.02 + 0.01*sin(t)", "angle": 3, "translation_x": "2*cos(t)"}
DEEP: Changes = {
    "animation_mode": "3D", "translation_z": 20, "translation_x": "6*sin(t)", "rotation_3d_y": 1.5, "fov": "60 + 2*t",
}  # fmt: skip
MASK: Changes = {"use_mask": True, "mask_file": "mask.png", "full_res_mask": False, "strength": 0.6}
CLIP: Changes = {"video_init_path": ROOT / "examples" / "clips" / "valley.mp4", "extract_to_frame": 3}

RUNS: dict[str, Changes] = {
    "2D, each frame painted": FLAT | {"cadence": 1},
    "2D, cadence 3": FLAT | {"cadence": 3},
    "3D, each frame painted": DEEP | {"cadence": 1},
    "3D, cadence 3, stretched": DEEP | {"cadence": 3, "disocclusion": "stretch"},
    "2D of Deforum's profile": FLAT | {"profile": "deforum", "color_coherence": "LAB"},
    "3D of Deforum's profile": DEEP | {"profile": "deforum", "cadence": 2},
    "HSV, Perlin noise": FLAT | {"color_coherence": "HSV", "noise_type": "perlin", "cadence": 2},
    "RGB, white noise": FLAT | {"color_coherence": "RGB", "noise_type": "uniform", "cadence": 1},
    "a prompt of its own in each frame": FLAT | {"prompts": '{0: "a `t`"}'},
    "a mask that follows the camera": FLAT | MASK | {"mask_follows_camera": True, "init_image": "init.png"},
    "a mask, filled": DEEP | MASK | {"fill": "fill"},
    "echo": DEEP | {"echo_amount": 0.3},
    "symmetry": FLAT | {"symmetry": "kaleidoscope"},
    "a clip, mixed in": FLAT | CLIP
    | {"hybrid_composite": "Normal", "hybrid_comp_mask_type": "Difference", "hybrid_comp_mask_equalize": "Both"},
    "a clip, painted over": CLIP | {"animation_mode": "Video Input"},
    "prompts, without pictures": {"animation_mode": "Interpolation"},
}  # fmt: skip
"""Runs that read once per painted frame."""

WHOLE = "2D, cadence 3"
"""The run whose networks are computed operation by operation; in the others each is one, as with CUDA graphs."""

VISITS: dict[str, tuple[Changes, int]] = {
    "the number of steps depends on the holes": (DEEP | {"disocclusion": "repaint"}, 2),
    "the region depends on the mask": (FLAT | MASK | {"full_res_mask": True}, 2),
    "each pass is read": (FLAT | {"diffusion_redo": 1}, 2),
    "places of noise are shared out on the host": (DEEP | {"noise_follows_camera": True, "cadence": 1}, 2),
    "flow by OpenCV": (FLAT | {"optical_flow_cadence": "DIS Medium", "cadence": 3}, 3),
}
"""Runs that wait more often, and how often in a painted frame: see docs/speed.md."""


@pytest.fixture(scope="module")
def models() -> KeptModels:
    """Models on the card, for all runs."""
    return KeptModels()


@pytest.fixture
def animation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: KeptModels) -> Callable[[Changes], Animation]:
    """Build animations on the card; to be called, and rendered, within `Card`."""
    monkeypatch.chdir(tmp_path)
    for module in (families, device):
        monkeypatch.setattr(module, "choose_device", lambda name: CARD)
    monkeypatch.setattr(families, "choose_dtype", lambda name, device, on_cards: torch.float32)
    monkeypatch.setattr(families, "CudaRecord", lambda: None)  # it has no graphs
    monkeypatch.setattr(room, "_ROOMS", {})
    monkeypatch.setattr(room, "free_on", lambda device: 0)  # not known
    cv2.imwrite("init.png", to_bytes(texture(4)))
    cv2.imwrite("mask.png", np.pad(np.full((30, 30), 255, np.uint8), 17))

    def on_card(changes: Changes) -> Animation:
        prepared = prepare(settings_maker(tmp_path, PLAIN)(**changes))
        model = load_model(prepared, models)
        network = diffusion(model.painter)
        for part in () if changes is RUNS[WHOLE] else (network.unet, network.vae.encoder, network.vae.decoder):
            monkeypatch.setattr(part, "forward", at_once(part))
        return assemble(prepared, LoadedModel(model.painter, CARD, model.cell), models)

    return on_card


def diffusion(painter: Any) -> Any:
    """Return the model of a painter that `load_model` made."""
    return painter.func.__self__._model


def rendered(animation: Callable[[Changes], Animation], changes: Changes) -> tuple[list[list[Wait]], list[np.ndarray]]:
    """Render a run on the card: what each frame waited for, and its levels."""
    waits, copies = [], []
    with Card() as card:
        made = animation(changes)
        card.take()
        for _, picture in made.frames():
            copy = levels(picture, 8)
            assert isinstance(picture, OnCard) and isinstance(copy, Arriving)
            waits.append(card.take())
            copies.append(copy)
        assert card.copies == len(made.timeline)
        return waits, [copy.pixels() for copy in copies]


@pytest.mark.parametrize("name", RUNS)
def test_a_frame_waits_once(name: str, animation: Callable[[Changes], Animation]) -> None:
    waits, pictures = rendered(animation, RUNS[name])
    for frame, each in enumerate(waits):
        assert len(each) <= 1, (frame, each)
    assert sum(map(len, waits)) >= 2 and len(pictures) == 4  # the count counts


def test_the_gain_of_motion_is_measured_without_a_wait(animation: Callable[[Changes], Animation]) -> None:
    with Card() as card:
        made = animation(FLAT | {"cadence": 1, "max_frames": 7, "init_image": "init.png", "strength": 0.9})
        waits = []
        for _ in made.frames():
            waits.append(card.take())
        assert card.copies == 3  # measured at frames 3, 4 and 5, each read at the frame after it
    assert max(map(len, waits[1:])) == 1  # the first one brings the model to the card


@pytest.mark.parametrize("name", VISITS)
def test_what_visits_the_host(name: str, animation: Callable[[Changes], Animation]) -> None:
    changes, most = VISITS[name]
    waits, _ = rendered(animation, changes)
    assert max(map(len, waits)) == most, waits


@pytest.mark.parametrize("changes", [FLAT | {"cadence": 2}, DEEP | {"cadence": 1}], ids=["2D", "3D"])
def test_pictures_are_those_of_the_cpu(
    changes: Changes, animation: Callable[[Changes], Animation], tmp_path: Path
) -> None:
    """But for rounding, and for the conversion to LAB, where OpenCV is off by up to 0.6 levels."""
    _, pictures = rendered(animation, changes)
    with pytest.MonkeyPatch.context() as patch:
        for module in (families, device):
            patch.setattr(module, "choose_device", lambda name: CPU)
        run = build(prepare(settings_maker(tmp_path, PLAIN)(**changes)))
        for (frame, expected), ours in zip(run.frames(), pictures, strict=True):
            off = np.abs(to_bytes(expected).astype(int) - ours)
            print(frame.index, off.mean(), off.max())
            assert off.mean() < 1.5, frame.index


def test_noise_is_drawn_while_the_frame_before_is_painted(
    animation: Callable[[Changes], Animation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but that of the first frame that has some, and of no frame twice."""
    threads: list[str] = []
    drawn = filters.perlin_noise

    def noted(*args: Any, **kwargs: Any) -> torch.Tensor:
        threads.append(threading.current_thread().name)
        return drawn(*args, **kwargs)

    monkeypatch.setattr(filters, "perlin_noise", noted)
    rendered(
        animation,
        FLAT | {"noise_type": "perlin", "cadence": 1, "max_frames": 6, "noise": {0: 0.1, 4: 0}, "motion_gain": "off"},
    )
    assert [name.startswith("noise ahead") for name in threads] == [False, True, True]


def test_a_faulty_frame_is_done_again_in_fp32(
    animation: Callable[[Changes], Animation], models: KeptModels, caplog: pytest.LogCaptureFixture
) -> None:
    """The frame costs a second reading, and is the one of float32; its precision is as before."""
    with Card() as card:
        made = animation(FLAT | {"max_frames": 2, "cadence": 1})
        unet = diffusion(made.stages.painting.painter).unet
        sound = [picture for _, picture in made.frames()]
        unet.to(torch.float64)  # a precision that is not float32; its results are made faulty

        def spoil(module: object, given: tuple[torch.Tensor, ...], made: Any) -> None:
            if given[0].dtype != torch.float32 or is_lost:
                made.sample.fill_(float("nan"))

        is_lost, hook = False, unet.register_forward_hook(spoil)
        try:
            card.take()
            again, waits = [], []
            for _, picture in made.frames():
                again.append(picture)
                waits.append(card.take())
            assert unet.dtype == torch.float64
            is_lost = True
            with pytest.raises(
                RenderError, match=r"^frame 0: the UNet gave NaN or Inf at evaluation 1 of 1, in fp32 as well; expected"
            ):
                next(made.frames())
            assert unet.dtype == torch.float64
        finally:
            hook.remove()
            unet.to(torch.float32)
        assert all(torch.equal(a.host, b.host) for a, b in zip(sound, again, strict=True))  # type: ignore[attr-defined]
    assert [len(each) for each in waits] == [2, 2]
    assert "frame 1: the UNet gave NaN or Inf at evaluation 1 of 1 in float64; doing it again in fp32" in caplog.text
