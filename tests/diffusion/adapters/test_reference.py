"""Reference-only attention: rows see what was kept of the reference, and nothing changes at strength 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.reference import KEY, Bank, prepare
from deforum.diffusion.networks import read_part
from deforum.models.branches import adapting
from deforum.timeline.image_tracks import INIT, ReferenceWord
from tests.diffusion.tiny import build, frame, picture

Tensor = torch.Tensor


def evaluate(unet: Any, x: Tensor, reference: Tensor | None, share: list[float]) -> Tensor:
    text = torch.linspace(-1, 1, 2 * 7 * 32).view(2, 7, 32)
    bank = Bank(torch.tensor(share).view(-1, 1, 1))
    with torch.inference_mode(), adapting({} if reference is None else {KEY: bank}):
        if reference is not None:
            unet(reference, torch.tensor([500.0, 500.0]), text)
            bank.is_writing = False
        return unet(x, torch.tensor([500.0, 500.0]), text).sample  # type: ignore[no-any-return]


@pytest.mark.parametrize("whose", ["diffusers", "ours"])
def test_what_is_seen(whose: str, tmp_path: Path) -> None:
    tiny = build("sd1")
    unet: Any = tiny.unet
    if whose == "ours":
        folder = tiny.save_folder(tmp_path)
        unet = read_part(folder / "unet", "UNet2DConditionModel", torch.float32, None)
    torch.manual_seed(0)
    x, other = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16)
    plain = evaluate(unet, x, None, [])
    prepare(unet)
    assert torch.equal(evaluate(unet, x, None, []), plain)
    # An attention to the same cells twice is that to them once.
    assert (evaluate(unet, x, x, [1.0, 1.0]) - plain).abs().max() < 1e-5
    seen, first = evaluate(unet, x, other, [1.0, 1.0]), evaluate(unet, x, other, [1.0, 0.0])
    assert (seen - plain).abs().amax((1, 2, 3)).min() > 1e-4
    assert (first[0] - seen[0]).abs().max() < 1e-5 and (first[1] - plain[1]).abs().max() < 1e-5


def test_a_frame(tmp_path: Path) -> None:
    folder = build("sd1").save_folder(tmp_path / "model")
    seen = tmp_path / "a.png"
    Image.linear_gradient("L").convert("RGB").save(seen)
    given: Any = {"device": "cpu", "precision": "fp32", "exact_step_count": True}
    plain, with_it = (load_diffuser(resolve_model(str(folder)), sees_references=on, **given) for on in (False, True))

    def paint(diffuser: Any, word: ReferenceWord | None = None, init: Any = None) -> Tensor:
        init = picture() if init is None else init
        return diffuser(init, frame(reference=word), width=32, height=32)  # type: ignore[no-any-return]

    rests = paint(plain)
    assert torch.equal(paint(with_it), rests)
    assert torch.equal(paint(with_it, ReferenceWord(str(seen), 0.0, 0.5)), rests)
    by_init, by_picture = (paint(with_it, ReferenceWord(each, 1.0, 0.5)) for each in (INIT, str(seen)))
    faithful = paint(with_it, ReferenceWord(str(seen), 1.0, 1.0))
    made = [rests, by_init, by_picture, faithful]
    assert all((one - other).abs().max() > 1e-5 for k, one in enumerate(made) for other in made[:k])
    noise = with_it(None, frame(reference=ReferenceWord(INIT, 1.0, 0.5)), width=32, height=32)
    assert torch.equal(noise, plain(None, frame(), width=32, height=32))
