"""Names of samplers in all the spellings in use."""

from __future__ import annotations

import pytest

from deforum.diffusion import resolve_sampler, sampler_note
from deforum.diffusion.sampling.samplers import SAMPLERS, find_sampler
from deforum.diffusion.sampling.sigmas import GRIDS
from deforum.diffusion.sampling.solvers import SOLVERS
from deforum.errors import UserError
from tests.helpers.command import imported

A1111 = """Euler a;Euler;LMS;Heun;DPM2;DPM2 a;DPM++ 2S a;DPM++ 2M;DPM++ SDE;DPM++ 2M SDE;DPM++ 2M SDE Heun
DPM++ 2M SDE Heun Karras;DPM++ 2M SDE Heun Exponential;DPM++ 3M SDE;DPM++ 3M SDE Karras;DPM++ 3M SDE Exponential
DPM fast;DPM adaptive;LMS Karras;DPM2 Karras;DPM2 a Karras;DPM++ 2S a Karras;DPM++ 2M Karras;DPM++ SDE Karras
DPM++ 2M SDE Exponential;DPM++ 2M SDE Karras;DDIM;PLMS;UniPC;Restart""".replace("\n", ";").split(";")

CLOSEST = {"DPM fast", "DPM adaptive", "Restart"}


@pytest.mark.parametrize("name", A1111)
def test_every_name_of_the_web_ui_is_known(name: str) -> None:
    assert resolve_sampler(name) == name
    assert resolve_sampler(name.upper()) == name
    assert bool(sampler_note(name)) == (name in CLOSEST)
    assert "\n" not in sampler_note(name)


@pytest.mark.parametrize(
    ("said", "meant"),
    {
        "euler": "Euler",
        "k_euler": "Euler",
        "euler_ancestral": "Euler a",
        "k_euler_ancestral": "Euler a",
        "Euler_A": "Euler a",
        "EulerAncestralDiscreteScheduler": "Euler a",
        "EulerDiscreteScheduler": "Euler",
        "dpmpp_2m": "DPM++ 2M",
        "dpmpp_2m_karras": "DPM++ 2M Karras",
        "DPM++ 2M karras": "DPM++ 2M Karras",
        "dpm++2mkarras": "DPM++ 2M Karras",
        "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
        "dpmpp_sde": "DPM++ SDE",
        "dpmpp_2s_ancestral": "DPM++ 2S a",
        "dpmpp_2s_ancestral_karras": "DPM++ 2S a Karras",
        "dpm_2": "DPM2",
        "dpm_2_ancestral": "DPM2 a",
        "KDPM2AncestralDiscreteScheduler": "DPM2 a",
        "DPMSolverMultistepScheduler": "DPM++ 2M",
        "uni_pc": "UniPC",
        "uni_pc_bh2": "UniPC",
        "UniPCMultistepScheduler": "UniPC",
        "ddim": "DDIM",
        "klms": "LMS",
        "k_lms": "LMS",
        "pndm": "PLMS",
        "lcm": "LCM",
        "Euler SGM Uniform": "Euler SGM Uniform",
        "euler_sgm_uniform": "Euler SGM Uniform",
        "Euler Automatic": "Euler",
        "Euler Normal": "Euler",
        "DDIM DDIM Uniform": "DDIM",
        "heun exponential": "Heun Exponential",
        "euler trailing": "Euler SGM Uniform",
    }.items(),
)
def test_other_spellings(said: str, meant: str) -> None:
    assert resolve_sampler(said) == meant


def test_karras_changes_the_grid_and_nothing_else() -> None:
    plain, karras = find_sampler("DPM++ 2M"), find_sampler("DPM++ 2M Karras")
    assert (karras.solver, karras.grid, karras.eta) == (plain.solver, "karras", plain.eta)


def test_every_row_leads_to_a_solver_and_a_grid() -> None:
    for row in SAMPLERS:
        assert row.solver in SOLVERS
        assert row.grid in GRIDS
        assert resolve_sampler(row.name) == row.name
        for other in row.also:
            assert resolve_sampler(other) == row.name


@pytest.mark.parametrize(
    ("said", "meant"), [("Eulr a", "Euler a"), ("DPM++ 2N Karras", "DPM++ 2M Karras"), ("unipd", "UniPC")]
)
def test_an_unknown_name_offers_the_nearest(said: str, meant: str) -> None:
    with pytest.raises(UserError) as error:
        resolve_sampler(said)
    assert repr(said) in str(error.value)
    assert f"did you mean {meant!r}" in str(error.value)


def test_nothing_here_needs_torch() -> None:
    code = "from deforum.diffusion import resolve_sampler, resolve_model; resolve_sampler('k_euler')"
    assert not imported(code, "torch", "diffusers", "transformers", "cv2", "numpy")
