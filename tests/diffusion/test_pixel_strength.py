"""Diffusion with a strength for each pixel, on tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.pixel_strength import MaskFill, Paint, cell_steps, hold, smear
from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.sigmas import visit
from deforum.diffusion.sampling.solvers import SOLVERS
from deforum.diffusion.sampling.steps import count_steps
from deforum.diffusion.sampling.walk import Walk
from tests.diffusion.noise_levels import SCHEDULE, crooked
from tests.diffusion.tiny import frame, picture

FILLS: tuple[MaskFill, ...] = ("original", "fill", "latent noise", "latent nothing")


@pytest.fixture(scope="session")
def diffusers_of(folders: dict[str, Path]) -> dict[str, Diffuser]:
    """SD 1 in the three kinds of prediction."""
    return {
        kind: load_diffuser(
            resolve_model(str(folders["sd1"]), prediction=kind), device="cpu", precision="fp32", exact_step_count=True
        )
        for kind in ("epsilon", "v_prediction", "sample")
    }


@pytest.fixture
def diffuser(diffusers_of: dict[str, Diffuser]) -> Diffuser:
    return diffusers_of["epsilon"]


def left_half(inside: float, outside: float = 1.0, size: int = 32) -> torch.Tensor:
    """A strength that is `inside` in the left half."""
    strength = torch.full((size, size), outside)
    strength[:, : size // 2] = inside
    return strength


# --- counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_cells_count_steps_as_frames_do(exact: bool) -> None:
    for steps in (1, 7, 20, 100):
        for share in (0.0, 0.1, 0.3, 0.65, 0.7, 0.99):
            counted = cell_steps(torch.full((16, 16), share), 8, steps, exact=exact)
            assert counted.unique().tolist() == [count_steps(steps, share, exact=exact)], (steps, share)
    assert cell_steps(torch.ones(16, 16), 8, 20, exact=exact).unique().tolist() == [0]


def test_one_pixel_to_be_painted_paints_its_cell() -> None:
    strength = torch.ones(20, 28)  # no multiple of 8: the last row and column of cells are cut off
    strength[19, 27], strength[8, 7] = 0.5, 0.25
    expected = torch.zeros(3, 4, dtype=torch.long)
    expected[2, 3], expected[1, 0] = 10, 15
    assert torch.equal(cell_steps(strength, 8, 20, exact=True), expected)


# --- solvers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_every_solver_holds_what_may_not_begin(name: str) -> None:
    row = find_sampler(name)
    sigmas = visit(SCHEDULE, row.grid, 8, skip_penultimate=row.skip_penultimate)
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn((2, 1, 4, 4, 4), generator=generator)
    steps = torch.tensor([0, 2, 5, 8]).expand(4, 4)
    keep = hold(latents, noise, [steps], sigmas)
    seen: list[tuple[float, torch.Tensor]] = []

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        x = keep(x, sigma)
        seen.append((sigma, x))
        return crooked(x, sigma)

    draw = torch.Generator().manual_seed(1)
    walk = Walk(denoise, sigmas, lambda: torch.randn(latents.shape, generator=draw), 1.0, SCHEDULE, keep)
    end = SOLVERS[row.solver](latents + noise * sigmas[0], walk)
    assert torch.equal(end[..., 0], latents[..., 0])
    assert ((end[..., 1:] - latents[..., 1:]).abs().amax((0, 1, 2)) > 1e-3).all()
    for sigma, x in seen:
        for column, count in enumerate(steps[0].tolist()):
            begins = sigmas[8 - count]
            at_init = torch.equal(x[..., column], (latents + noise * sigma)[..., column])
            assert at_init == (sigma > begins * 0.9999), (sigma, column)  # (levels on the way are rounded)


# --- the diffuser -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_the_same_strength_everywhere_is_the_frames_own(name: str, diffuser: Diffuser) -> None:
    init, plain = picture(), frame(sampler=name, strength=0.5, noise_multiplier=1.1)
    other = frame(sampler=name, strength=0.9, noise_multiplier=1.1)
    paint = Paint(torch.full((32, 32), 0.5))
    expected = diffuser(init, plain, width=32, height=32)
    assert torch.equal(diffuser(init, other, width=32, height=32, paint=paint), expected)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_kept_latents_are_the_inits(kind: str, diffusers_of: dict[str, Diffuser]) -> None:
    diffuser, decoded = diffusers_of[kind], []
    decode = diffuser._door.decode

    def look(latents: torch.Tensor, *rest: int, may_be_blank: bool) -> list[torch.Tensor]:
        decoded.append(latents)
        return decode(latents, *rest, may_be_blank=may_be_blank)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffuser._door, "decode", look)
        for sampler in ("Euler", "DPM++ 2M", "DPM++ 3M SDE", "UniPC"):
            on = frame(sampler=sampler, steps=8)
            diffuser(picture(), on, width=32, height=32, paint=Paint(left_half(0.2)))
    with torch.inference_mode():
        init = diffuser._door.encode([picture()], 0)
    for latents in decoded:
        assert torch.equal(latents[..., 8:], init[..., 8:])
        assert (latents[..., :8] - init[..., :8]).abs().mean() > 0.01


def test_lower_strength_changes_more(diffuser: Diffuser) -> None:
    init = picture()
    ramp = torch.linspace(0, 1, 32).expand(32, 32)
    shown = diffuser(init, frame(steps=16), width=32, height=32, paint=Paint(ramp))
    through = diffuser._door.decode(diffuser._door.encode([init], 0), 32, 32, 0, may_be_blank=True)[0]
    change = (shown - through).abs().mean((0, 1))
    assert change[:8].mean() > 2 * change[-8:].mean()


def test_nothing_to_paint_is_the_init_itself(diffuser: Diffuser) -> None:
    init = picture()
    for fill in FILLS:
        assert torch.equal(diffuser(init, frame(), width=32, height=32, paint=Paint(torch.ones(32, 32), fill)), init)


def test_without_an_init_a_paint_is_not_read(diffuser: Diffuser) -> None:
    expected = diffuser(None, frame(), width=32, height=32)
    assert torch.equal(diffuser(None, frame(), width=32, height=32, paint=Paint(left_half(0.2))), expected)


def test_frames_of_a_batch_have_their_own_paints(diffuser: Diffuser) -> None:
    inits = [picture(), picture().flip(2), picture().flip(1), picture()]
    frames = [frame(seed=i, steps=6, strength=0.5) for i in range(4)]
    turned = left_half(0.5).T.contiguous()
    paints = [Paint(left_half(0.5)), None, Paint(turned, "latent noise"), Paint(left_half(0.1))]
    together = diffuser.diffuse_batch(inits, frames, width=32, height=32, paints=paints)
    for shown, init, on, paint in zip(together, inits, frames, paints, strict=True):
        alone = diffuser(init, on, width=32, height=32, paint=paint)
        assert torch.allclose(shown, alone, atol=1e-5)


def test_fills_differ_inside_and_hide_the_picture(diffuser: Diffuser) -> None:
    """What stood under the mask is not to be seen any more with any fill but original."""
    one, other = picture(), picture()
    other[:, :, :16] = 1 - other[:, :, :16]
    apart = {}
    for fill in FILLS:
        shown = [
            diffuser(init, frame(steps=8), width=32, height=32, paint=Paint(left_half(0.4), fill))
            for init in (one, other)
        ]
        apart[fill] = float((shown[0] - shown[1]).abs()[:, :, :8].mean())
    assert apart["fill"] == 0
    # (The autoencoder normalises over the whole picture, so that the latents outside know a little of what is inside.)
    assert max(apart["latent noise"], apart["latent nothing"]) < apart["original"] / 3


# --- smearing ---------------------------------------------------------------------------------------------------------


def test_smear_keeps_what_is_outside_and_goes_on_with_it_inside() -> None:
    image = picture(40, 30)
    masked = torch.zeros(30, 40, dtype=torch.bool)
    masked[10:20, 12:29] = True
    filled = smear(image.masked_fill(masked, 0), masked)
    assert torch.equal(filled[:, ~masked], image[:, ~masked])
    # The picture is a ramp: what is smeared in lies between the values around.
    around = image[:, 8:22, 10:31]
    low, high = around.amin((1, 2), keepdim=True), around.amax((1, 2), keepdim=True)
    inside = filled[:, 10:20, 12:29]
    assert bool(((inside >= low) & (inside <= high)).all())


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 1), (33, 64)])
def test_smear_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(height, width, dtype=torch.bool)
    assert torch.allclose(smear(image, everything), image.mean((1, 2), keepdim=True).expand_as(image))
    all_but_one = everything.clone()
    all_but_one[0, 0] = False
    assert torch.allclose(smear(image, all_but_one), image[:, :1, :1].expand_as(image), atol=1e-6)
