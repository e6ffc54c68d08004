"""Names of samplers in all the spellings in use."""

from __future__ import annotations

import pytest

from deforum.diffusion import resolve_sampler, sampler_note
from deforum.diffusion.sampling.samplers import MISSING_GRIDS, SAMPLERS, find_beginning, find_sampler, with_scheduler
from deforum.diffusion.sampling.sigmas import GRIDS
from deforum.diffusion.sampling.solvers import SOLVERS
from deforum.errors import UserError
from tests.helpers.command import imported

A1111 = """Euler a;Euler;LMS;Heun;DPM2;DPM2 a;DPM++ 2S a;DPM++ 2M;DPM++ SDE;DPM++ 2M SDE;DPM++ 2M SDE Heun
DPM++ 2M SDE Heun Karras;DPM++ 2M SDE Heun Exponential;DPM++ 3M SDE;DPM++ 3M SDE Karras;DPM++ 3M SDE Exponential
DPM fast;DPM adaptive;LMS Karras;DPM2 Karras;DPM2 a Karras;DPM++ 2S a Karras;DPM++ 2M Karras;DPM++ SDE Karras
DPM++ 2M SDE Exponential;DPM++ 2M SDE Karras;DDIM;PLMS;UniPC;Restart""".replace("\n", ";").split(";")


@pytest.mark.parametrize("name", A1111)
def test_every_name_of_the_web_ui_is_known(name: str) -> None:
    assert resolve_sampler(name) == name
    assert resolve_sampler(name.upper()) == name
    assert sampler_note(name) == ""


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
        # the web UI's own short names
        "k_euler_a": "Euler a",
        "k_dpm_2_a": "DPM2 a",
        "k_dpm_fast": "DPM fast",
        "k_dpm_ad": "DPM adaptive",
        "k_lms_ka": "LMS Karras",
        "k_dpm_2_ka": "DPM2 Karras",
        "k_dpm_2_a_ka": "DPM2 a Karras",
        "k_dpmpp_2s_a_ka": "DPM++ 2S a Karras",
        "k_dpmpp_2m_ka": "DPM++ 2M Karras",
        "k_dpmpp_sde_ka": "DPM++ SDE Karras",
        "k_dpmpp_2m_sde_ka": "DPM++ 2M SDE Karras",
        "k_dpmpp_2m_sde_exp": "DPM++ 2M SDE Exponential",
        "k_dpmpp_2m_sde_heun_ka": "DPM++ 2M SDE Heun Karras",
        "k_dpmpp_2m_sde_heun_exp": "DPM++ 2M SDE Heun Exponential",
        "k_dpmpp_3m_sde_ka": "DPM++ 3M SDE Karras",
        "k_dpmpp_3m_sde_exp": "DPM++ 3M SDE Exponential",
        # ComfyUI's, with a grid
        "dpmpp_2m_sde_gpu karras": "DPM++ 2M SDE Karras",
        "dpmpp_sde_gpu_karras": "DPM++ SDE Karras",
        "dpmpp_3m_sde_gpu sgm_uniform": "DPM++ 3M SDE SGM Uniform",
        "dpmpp_2m_sde_heun_gpu exponential": "DPM++ 2M SDE Heun Exponential",
        "DPM++ 2M DDIM": "DPM++ 2M DDIM Uniform",
        "DPM++ 2M Uniform": "DPM++ 2M",
        "Euler Polyexponential": "Euler Exponential",
        # what the web UI's scheduler Automatic stands for
        "DPM++ 2M Automatic": "DPM++ 2M Karras",
        "DPM++ SDE Automatic": "DPM++ SDE Karras",
        "DPM++ 2S a Automatic": "DPM++ 2S a Karras",
        "DPM2 Automatic": "DPM2 Karras",
        "DPM2 a Automatic": "DPM2 a Karras",
        "DPM++ 2M SDE Automatic": "DPM++ 2M SDE Exponential",
        "DPM++ 2M SDE Heun Automatic": "DPM++ 2M SDE Heun Exponential",
        "DPM++ 3M SDE Automatic": "DPM++ 3M SDE Exponential",
        "Restart Automatic": "Restart",
        "Heun Automatic": "Heun",
        "DDIM Automatic": "DDIM",
        "er_sde": "ER SDE",
        "er_sde_beta": "ER SDE Beta",
        "res_multistep": "RES Multistep",
        "res_multistep_ancestral": "RES Multistep a",
        "res_multistep_cfg_pp": "RES Multistep CFG++",
        "euler_cfg_pp": "Euler CFG++",
        "euler_ancestral_cfg_pp": "Euler a CFG++",
        "dpmpp_2m_cfg_pp": "DPM++ 2M CFG++",
        "dpmpp_2s_ancestral_cfg_pp": "DPM++ 2S a CFG++",
        "DPM++ 2M CFG++ Karras": "DPM++ 2M CFG++ Karras",
        "DDIM CFG++": "DDIM CFG++",
        "ipndm": "IPNDM",
        "ipndm_v": "IPNDM_V",
        "deis": "DEIS",
        "euler kl_optimal": "Euler KL Optimal",
        "euler linear_quadratic": "Euler Linear Quadratic",
        "DPM++ 2M Align Your Steps": "DPM++ 2M Align Your Steps",
        "DPM++ 2M AYS": "DPM++ 2M Align Your Steps",
        "DPM++ 2M Align Your Steps 11": "DPM++ 2M Align Your Steps",
        "DPM++ 2M Align Your Steps 32": "DPM++ 2M Align Your Steps 32",
        "DPM++ 2M Align Your Steps GITS": "DPM++ 2M GITS",
        "Euler Turbo": "Euler Turbo",
        "euler bong_tangent": "Euler Bong Tangent",
        "Euler Karras Exponential": "Euler Karras Exponential",
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
    ("name", "scheduler", "joined", "note"),
    [
        ("Euler", "Karras", "Euler Karras", "sampler and scheduler became Euler Karras"),
        ("dpmpp_2m_sde_gpu", "karras", "DPM++ 2M SDE Karras", "sampler and scheduler became DPM++ 2M SDE Karras"),
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras", "sampler and scheduler became DPM++ 2M Karras"),
        ("DPM++ 2M", "DDIM", "DPM++ 2M DDIM Uniform", "sampler and scheduler became DPM++ 2M DDIM Uniform"),
        ("euler_ancestral", "Automatic", "euler_ancestral", ""),
        ("Euler", "normal", "Euler", ""),
        ("Euler", "None", "Euler", ""),
        ("Euler", "", "Euler", ""),
        ("DPM++ 2M SDE Karras", "exponential", "DPM++ 2M SDE Karras", ""),
        ("DDIM", "Automatic", "DDIM", ""),
        ("DDIM", "Karras", "DDIM", "scheduler Karras has no effect on DDIM, as in the web UI"),
        ("PLMS", "Exponential", "PLMS", "scheduler Exponential has no effect on PLMS, as in the web UI"),
        ("UniPC", "SGM Uniform", "UniPC", "scheduler SGM Uniform has no effect on UniPC, as in the web UI"),
        ("DPM++ 2M", "Beta", "DPM++ 2M Beta", "sampler and scheduler became DPM++ 2M Beta"),
        ("dpmpp_2m", "kl_optimal", "DPM++ 2M KL Optimal", "sampler and scheduler became DPM++ 2M KL Optimal"),
        ("Euler", "Align Your Steps GITS", "Euler GITS", "sampler and scheduler became Euler GITS"),
        ("DPM++ 2M", "my_own", "DPM++ 2M",
         "the noise schedule my_own is not here; DPM++ 2M runs on its usual noise levels (Normal)"),
        ("LCM", "beta57", "LCM", "the noise schedule beta57 is not here; LCM runs on its usual noise levels"),
    ],
)  # fmt: skip
def test_sampler_and_scheduler_as_two_settings(name: str, scheduler: str, joined: str, note: str) -> None:
    assert with_scheduler(name, scheduler) == (joined, note)


@pytest.mark.parametrize("grid", MISSING_GRIDS)
def test_a_noise_schedule_that_is_not_here_keeps_the_sampler(grid: str) -> None:
    for name in (f"DPM++ 2M {grid}", f"dpmpp_2m_{grid.lower().replace(' ', '_')}"):
        row = find_sampler(name)
        assert (row.name, row.solver, row.grid) == ("DPM++ 2M", "dpmpp_2m", "normal")
        assert row.note == f"the noise schedule {grid} is not here; DPM++ 2M runs on its usual noise levels (Normal)"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("HeunPP2", "HeunPP2 is run as Heun, the closest here"),
        ("HeunPP2 Karras", "HeunPP2 Karras is run as Heun Karras, the closest here"),
        ("HeunPP2 Simple", "HeunPP2 Simple is run as Heun Simple, the closest here"),
        ("DPM adaptive", ""),
        ("Restart", ""),
        ("Euler Karras", ""),
    ],
)
def test_a_note_names_the_grid_that_is_used(name: str, note: str) -> None:
    assert sampler_note(name) == note


@pytest.mark.parametrize(
    ("unknown", "beginning"),
    [
        ("dpmpp_2m_alt", "DPM++ 2M"),
        ("euler_ancestral_rf", "Euler a"),
        ("DPM++ 2M my levels", "DPM++ 2M"),
        ("gradient_estimation", ""),
        ("", ""),
    ],
)
def test_an_unknown_name_that_begins_with_a_sampler(unknown: str, beginning: str) -> None:
    assert find_beginning(unknown) == beginning


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
