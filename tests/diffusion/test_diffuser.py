"""The diffuser on tiny models: against diffusers' own pipelines, and what it promises of itself."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.model import Conditioning, Pull
from deforum.diffusion.faults import RenderError
from deforum.diffusion.guidance import guided, guided_and_not
from deforum.diffusion.noise import starting_noise
from deforum.diffusion.sampling.samplers import SAMPLERS
from deforum.errors import UserError
from deforum.timeline.frame import PromptRegion
from deforum.timeline.prompts import Prompt
from tests.diffusion.tiny import Tiny, build, frame, picture, tokenizers_of


def load(folder: Path, **options: Any) -> Diffuser:
    options = {"device": "cpu", "precision": "fp32", "exact_step_count": True} | options
    return load_diffuser(resolve_model(str(folder)), **options)


@pytest.fixture(scope="session")
def diffusers_of(folders: dict[str, Path]) -> dict[str, Diffuser]:
    return {family: load(folder) for family, folder in folders.items()}


@pytest.fixture
def sd1(diffusers_of: dict[str, Diffuser]) -> Diffuser:
    return diffusers_of["sd1"]


@contextmanager
def hooked(module: torch.nn.Module, hook: Any) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def show(diffuser: Diffuser, init: Any, on: Any, width: int = 32, height: int = 32) -> torch.Tensor:
    return diffuser(init, on, width=width, height=height)


PIPELINES = {
    ("sd1", True): diffusers.StableDiffusionImg2ImgPipeline,
    ("sd1", False): diffusers.StableDiffusionPipeline,
    ("sd2", True): diffusers.StableDiffusionImg2ImgPipeline,
    ("sd2", False): diffusers.StableDiffusionPipeline,
    ("sdxl", True): diffusers.StableDiffusionXLImg2ImgPipeline,
    ("sdxl", False): diffusers.StableDiffusionXLPipeline,
}
SCHEDULERS = {
    "DDIM": (diffusers.DDIMScheduler, {"set_alpha_to_one": True, "timestep_spacing": "leading", "steps_offset": 1}),
    "Euler Karras": (diffusers.EulerDiscreteScheduler, {"use_karras_sigmas": True}),
    "DPM++ 2M Karras": (diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("from_image", [True, False])
def test_same_picture_as_diffusers(
    family: str,
    from_image: bool,
    folders: dict[str, Path],
    diffusers_of: dict[str, Diffuser],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = PIPELINES[family, from_image].from_pretrained(
        folders[family],
        **tokenizers_of(family),
        **({} if family == "sdxl" else {"safety_checker": None, "feature_extractor": None}),
    )
    pipe.set_progress_bar_config(disable=True)
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    # The pipelines draw noise in many places; all of them through this function.
    module = __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    init = picture() if from_image else None
    ask: dict[str, Any] = {"width": 32, "height": 32}
    if init is not None:
        # The middle of what the encoder deems likely, where the pipelines would draw from it.
        latents = pipe.vae.encode(init[None] * 2 - 1).latent_dist.mode() * pipe.vae.config.scaling_factor
        # (The XL pipeline would take the size it tells the model from the latents.)
        sizes = {"original_size": (32, 32), "target_size": (32, 32)} if family == "sdxl" else {}
        ask = {"image": latents.detach(), "strength": 0.5, **sizes}
    config = pipe.scheduler.config
    for sampler, (cls, options) in SCHEDULERS.items():
        pipe.scheduler = cls.from_config(config, **options)
        with torch.inference_mode():
            theirs = pipe(
                prompt="a red house",
                negative_prompt="fog",
                num_inference_steps=6,
                guidance_scale=4.0,
                output_type="pt",
                **ask,
            ).images[0]
        on = frame(Prompt("a red house", "fog"), seed=5, sampler=sampler, steps=6, strength=0.5, cfg_scale=4)
        tolerance = 1e-4
        if sampler == "DPM++ 2M Karras":
            tolerance = 5e-3  # theirs tells the UNet whole times only
        elif sampler == "Euler Karras" and not from_image:
            tolerance = 2e-2  # theirs starts from noise * sigma, which is 0.2 % less than sqrt(sigma**2 + 1)
        assert torch.allclose(show(diffusers_of[family], init, on), theirs, atol=tolerance), sampler


@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_every_sampler_makes_a_picture_twice_the_same(name: str, sd1: Diffuser) -> None:
    on = frame(sampler=name, steps=4, ddim_eta=0.5)
    for init in (None, picture()):
        first = show(sd1, init, on)
        assert first.shape == (3, 32, 32) and first.dtype == torch.float32
        assert float(first.min()) >= 0 and float(first.max()) <= 1
        assert torch.equal(first, show(sd1, init, on))


def test_seeds_and_subseeds(sd1: Diffuser) -> None:
    one = show(sd1, None, frame(seed=1))
    assert not torch.equal(one, show(sd1, None, frame(seed=2)))
    assert torch.equal(one, show(sd1, None, frame(seed=1, subseed=9)))
    assert torch.equal(one, show(sd1, None, frame(seed=1, index=40)))  # a frame's number changes nothing by itself
    half = show(sd1, None, frame(seed=1, subseed=2, subseed_strength=0.5))
    assert not torch.equal(half, one)
    whole = show(sd1, None, frame(seed=1, subseed=2, subseed_strength=1.0))
    assert torch.allclose(whole, show(sd1, None, frame(seed=2)), atol=1e-4)


def test_subseed_noise_stays_noise() -> None:
    noise = starting_noise((4, 64, 64), frame(seed=1, subseed=2, subseed_strength=0.5), 8)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    one, other = (starting_noise((4, 8, 8), frame(seed=3, subseed=subseed), 8) for subseed in (4, 99))
    assert torch.equal(one, other)  # without a strength


@pytest.mark.parametrize(
    ("sampler", "strength", "evaluations", "first"),
    [
        ("DDIM", 0.65, 6, 301),
        ("PLMS", 0.65, 7, 301),  # its first step is evaluated twice
        ("UniPC", 0.65, 7, 301),
        ("DDIM Karras", 0.65, 8, None),
        ("DDIM", None, 19, 951),
    ],
)
def test_samplers_over_timesteps_evaluate_where_the_web_ui_does(
    folders: dict[str, Path], sampler: str, strength: float | None, evaluations: int, first: int | None
) -> None:
    web_ui = load(folders["sd1"], exact_step_count=False)
    times: list[float] = []
    with hooked(web_ui._model.unet, lambda module, given, *_: times.append(float(given[1].flatten()[0]))):
        init = None if strength is None else picture()
        show(web_ui, init, frame(strength=strength or 0.0, steps=20, sampler=sampler))
    assert len(times) == evaluations
    assert first is None or times[0] == pytest.approx(first, abs=0.01)


def test_a_frame_that_starts_empty_is_painted_from_latents_of_zero(sd1: Diffuser) -> None:
    noise, low, high = (
        show(sd1, None, frame(strength=strength, steps=10, starts_empty=empty))
        for strength, empty in ((0.9, False), (0.9, True), (0.2, True))
    )
    assert not torch.equal(noise, low) and not torch.equal(low, high)
    calls: list[int] = []
    with hooked(sd1._model.unet, lambda *_: calls.append(1)):
        show(sd1, None, frame(strength=0.7, steps=10, starts_empty=True))
    assert len(calls) == 3
    # With an init it changes nothing.
    given, empty = (show(sd1, picture(), frame(starts_empty=empty)) for empty in (False, True))
    assert torch.equal(given, empty)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_resized_seed_keeps_its_composition(strength: float) -> None:
    """Its noise is in the middle of a larger frame, or shows its middle in a smaller one."""
    on = frame(seed=5, subseed=6, subseed_strength=strength)
    plain = starting_noise((4, 8, 10), on, 8)
    wide = starting_noise((4, 12, 16), on, 8, (80, 64))
    assert torch.equal(wide[:, 2:10, 3:13], plain)
    assert float(wide[:, :, :3].std()) > 0.5 and not torch.equal(wide, starting_noise((4, 12, 16), on, 8))
    narrow = starting_noise((4, 8, 6), on, 8, (80, 64))
    assert torch.equal(narrow, plain[:, :, 2:8])
    mixed = starting_noise((4, 12, 6), on, 8, (80, 64))
    assert torch.equal(mixed[:, 2:10], plain[:, :, 2:8])
    assert torch.equal(starting_noise((4, 8, 10), on, 8, (80, 64)), plain)


def test_the_diffuser_draws_a_resized_seed(sd1: Diffuser) -> None:
    plain, resized = (
        sd1.diffuse_batch([None], [frame(steps=2)], width=32, height=32, seed_size=size)[0] for size in (None, (64, 16))
    )
    assert not torch.equal(plain, resized)


def test_strength_says_how_many_steps_are_run(sd1: Diffuser, folders: dict[str, Path]) -> None:
    web_ui = load(folders["sd1"], exact_step_count=False)
    for diffuser, expected in ((sd1, 7), (web_ui, 8)):
        calls: list[int] = []
        with hooked(diffuser._model.unet, lambda *_, calls=calls: calls.append(1)):
            show(diffuser, picture(), frame(strength=0.65, steps=20))
        assert len(calls) == expected
    with hooked(sd1._model.unet, lambda *_: calls.append(1)):
        calls.clear()
        show(sd1, picture(), frame(strength=1.0, steps=20))
        assert len(calls) == 1
        calls.clear()
        show(sd1, None, frame(strength=1.0, steps=20))
        assert len(calls) == 20


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_long_prompt_leaves_the_negative_one_alone_in_the_web_ui(family: str, folders: dict[str, Path]) -> None:
    """The prediction of the negative prompt, beside a prompt of one chunk, of two and of three."""
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    def negative_prediction(diffuser: Diffuser, words: int) -> torch.Tensor:
        with torch.inference_mode():
            pulls = diffuser._pulls(frame(Prompt("house " * words, "rain, fog")))
            assert [pull.is_negative for pull in pulls] == [True, False]
            alone = Conditioning((Pull(pulls[0].embedding, 1.0, True),), 1.0)
            return diffuser._model.denoiser([alone], 32, 32)(noise, 5.0)

    web_ui, filled = (load(folders[family], fills_prompts=fills) for fills in (False, True))
    short = negative_prediction(web_ui, 2)
    for words in (100, 200):
        assert torch.allclose(negative_prediction(web_ui, words), short, atol=1e-5)
    assert torch.allclose(negative_prediction(filled, 2), short, atol=1e-5)
    assert float((negative_prediction(filled, 100) - short).abs().max()) > 1e-4


def test_weights_of_negative_prompts_are_their_own(sd1: Diffuser) -> None:
    """The parts of `prompt_weighting`: two negative prompts beside one positive prompt."""
    parts = (Prompt("a house", "rain", 1.0, 0.25), Prompt("", "fog", 0.0, 0.75))
    with torch.inference_mode():
        negative, positive = sd1._pulls(frame(*parts))
        house, rain, fog = (sd1._prompts.encode(text, 1, frame=0).tokens for text in ("a house", "rain", "fog"))
    assert torch.equal(positive.embedding.tokens, house)
    assert torch.allclose(negative.embedding.tokens, rain * 0.25 + fog * 0.75, atol=1e-6)


def test_the_more_is_kept_the_nearer_to_the_init(sd1: Diffuser) -> None:
    init = picture()
    through = show(sd1, init, frame(strength=1.0, steps=1000, noise_multiplier=0.0))
    away = [float((show(sd1, init, frame(strength=s, steps=20)) - through).abs().mean()) for s in (0.9, 0.5, 0.0)]
    assert away[0] < away[1] < away[2]


def test_noise_multiplier_acts_on_pictures_only(sd1: Diffuser) -> None:
    init = picture()
    assert not torch.equal(show(sd1, init, frame()), show(sd1, init, frame(noise_multiplier=1.1)))
    assert torch.equal(show(sd1, None, frame()), show(sd1, None, frame(noise_multiplier=1.1)))


def batch_sizes(diffuser: Diffuser, on: Any) -> set[int]:
    sizes: set[int] = set()
    with hooked(diffuser._model.unet, lambda _m, given, _o: sizes.add(len(given[0]))):
        show(diffuser, None, on)
    return sizes


def test_guidance_is_evaluated_only_where_it_acts(sd1: Diffuser) -> None:
    assert batch_sizes(sd1, frame(cfg_scale=7)) == {2}
    assert batch_sizes(sd1, frame(cfg_scale=1)) == {1}
    assert batch_sizes(sd1, frame("a AND b", cfg_scale=7)) == {3}
    assert batch_sizes(sd1, frame("a :0.5 AND b :0.5", cfg_scale=1)) == {2}
    assert batch_sizes(sd1, frame(cfg_scale=0)) == {1}


def test_composition_of_one_thing_with_itself_is_that_thing(sd1: Diffuser) -> None:
    plain = show(sd1, None, frame("a red house"))
    assert torch.allclose(plain, show(sd1, None, frame("a red house :0.5 AND a red house :0.5")), atol=1e-4)
    halves = Prompt("a red house", "", 0.5), Prompt("a red house", "", 0.5)
    assert torch.allclose(plain, show(sd1, None, frame(*halves)), atol=1e-4)
    mixed = show(sd1, None, frame(Prompt("a red house", "", 0.5), Prompt("a AND b", "", 0.5)))
    assert not torch.allclose(plain, mixed, atol=1e-3)


def contexts(diffuser: Diffuser, init: Any, on: Any) -> list[torch.Tensor]:
    """The embeddings (B, tokens, width) of each evaluation."""
    seen: list[torch.Tensor] = []
    network = diffuser._model.unet
    handle = network.register_forward_pre_hook(
        lambda _m, given, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    try:
        show(diffuser, init, on)
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    ("sampler", "text", "negative", "shown"),
    [
        ("Euler", "[a hill:a sea:0.5]", "", "hhss"),
        ("Euler", "[a hill|a sea]", "", "hshs"),
        ("Euler", "[a hill:a sea:1]", "", "hsss"),
        ("Heun", "[a hill:a sea:2]", "", "hhhssss"),  # where it looks ahead, as in the step that begins there
        ("Euler", "a hill", "[fog:rain:0.25]", "hhhh"),
    ],
)
def test_prompts_change_during_the_steps(sd1: Diffuser, sampler: str, text: str, negative: str, shown: str) -> None:
    with torch.inference_mode():
        hill, sea, fog, rain = (
            sd1._prompts.encode(each, 1, frame=0).tokens for each in ("a hill", "a sea", "fog", "rain")
        )
    # From a picture with half of it kept, half of eight steps are run, and prompts count these.
    for init, steps in ((None, 4), (picture(), 8)):
        on = frame(Prompt(text, negative), sampler=sampler, steps=steps, strength=0.5)
        seen = contexts(sd1, init, on)
        assert len(seen) == len(shown)
        for i, (given, name) in enumerate(zip(seen, shown, strict=True)):
            assert torch.equal(given[1], {"h": hill, "s": sea}[name])
            if negative:
                assert torch.equal(given[0], rain if i else fog)
    assert len(contexts(sd1, None, frame(Prompt(text, negative), sampler=sampler, steps=4, cfg_scale=1))[0]) == 1


def test_in_the_web_ui_prompts_count_all_steps(folders: dict[str, Path]) -> None:
    web_ui = load(folders["sd1"], exact_step_count=False)
    seen = contexts(web_ui, None, frame("[a hill:a sea:0.5]", steps=6))
    assert [torch.equal(given[1], seen[0][1]) for given in seen] == [True] * 4 + [False] * 2
    seen = contexts(web_ui, picture(), frame("[a hill:a sea:0.5]", steps=20, strength=0.65))
    assert len(seen) == 8
    assert all(torch.equal(given[1], seen[0][1]) for given in seen)  # step 10 is not reached


def test_a_change_into_the_same_is_none(sd1: Diffuser) -> None:
    on = (frame(text, sampler="DPM++ 2M", steps=4) for text in ("a hill", "[a hill:a hill:0.5]", "[a hill|a hill]"))
    first, *others = (show(sd1, None, each) for each in on)
    assert all(torch.equal(first, each) for each in others)


def test_frames_whose_prompts_change_are_batched(sd1: Diffuser) -> None:
    texts = ("[a hill:a sea:0.5]", "[a house|the sea, " + "blue " * 80 + "]", "a [red|blue] house AND [fog::2]")
    frames = [frame(text, seed=i, index=i, steps=4) for i, text in enumerate(texts)]
    together = sd1.diffuse_batch([None] * 3, frames, width=32, height=32)
    for made, on in zip(together, frames, strict=True):
        assert torch.allclose(made, show(sd1, None, on), atol=1e-4)


def test_each_prompt_is_encoded_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand frames that blend from prompt to prompt, which change during the steps."""
    diffuser = load(folders["sd1"])
    read: list[str] = []
    compute = diffuser._prompts._compute
    monkeypatch.setattr(diffuser._prompts, "_compute", lambda text, *rest: (read.append(text), compute(text, *rest))[1])
    texts = [f"a hill {i}, [fog|rain]" for i in range(100)]
    with torch.inference_mode():
        for i in range(1000):
            first, share = divmod(i, 10)
            prompts = (
                Prompt(texts[first], "blur", 1 - share / 10), Prompt(texts[min(first + 1, 99)], "blur", share / 10)
            )  # fmt: skip
            diffuser._conditionings(frame(*prompts, index=i), 4, 4)
    assert len(read) == len(set(read)) == 201


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_guidance_rescale_is_that_of_diffusers(
    family: str, folders: dict[str, Path], diffusers_of: dict[str, Diffuser]
) -> None:
    pipe = PIPELINES[family, False].from_pretrained(
        folders[family],
        **tokenizers_of(family),
        **({} if family == "sdxl" else {"safety_checker": None, "feature_extractor": None}),
    )
    pipe.set_progress_bar_config(disable=True)
    cls, options = SCHEDULERS["DDIM"]
    pipe.scheduler = cls.from_config(pipe.scheduler.config, **options)
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    with torch.inference_mode():
        theirs = pipe(
            prompt="a red house", negative_prompt="fog", num_inference_steps=4, guidance_scale=9.0,
            guidance_rescale=0.7, output_type="pt", latents=noise, width=32, height=32,
        ).images[0]  # fmt: skip
    on: dict[str, Any] = {"seed": 5, "sampler": "DDIM", "steps": 4, "cfg_scale": 9}
    prompt = Prompt("a red house", "fog")
    diffuser = diffusers_of[family]
    ours, plain = (show(diffuser, None, frame(prompt, **on, guidance_rescale=share)) for share in (0.7, 0.0))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(plain, theirs, atol=1e-3)
    assert batch_sizes(diffuser, frame(prompt, **on, guidance_rescale=0.7)) == {2}
    unguided = (frame(prompt, **(on | {"cfg_scale": 1}), guidance_rescale=share) for share in (0.7, 0.0))
    assert torch.allclose(*(show(diffuser, None, each) for each in unguided), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", ["FreeU", "PAG"])
def test_free_u_and_perturbed_attention_are_those_of_diffusers(
    family: str, kind: str, folders: dict[str, Path], diffusers_of: dict[str, Diffuser]
) -> None:
    xl = "XL" if family == "sdxl" else ""
    cls = getattr(diffusers, f"StableDiffusion{xl}PAGPipeline" if kind == "PAG" else f"StableDiffusion{xl}Pipeline")
    named = {} if xl else {"safety_checker": None, "feature_extractor": None}
    pipe = cls.from_pretrained(folders[family], **tokenizers_of(family), **named)
    pipe.set_progress_bar_config(disable=True)
    scheduler, options = SCHEDULERS["DDIM"]
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **options)
    ask: dict[str, Any] = {}
    on: dict[str, Any] = {"seed": 5, "sampler": "DDIM", "steps": 4, "cfg_scale": 4}
    plain = dict(on)
    if kind == "FreeU":
        pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
        on |= {"freeu_b1": 1.5, "freeu_b2": 1.6, "freeu_s1": 0.9, "freeu_s2": 0.2}
    else:
        ask["pag_scale"], on["pag_scale"] = 3.0, 3.0
    noise = starting_noise((4, 16, 16), frame(seed=5), 2)[None]
    with torch.inference_mode():
        theirs = pipe(
            prompt="a red house", negative_prompt="fog", num_inference_steps=4, guidance_scale=4.0,
            output_type="pt", latents=noise, width=32, height=32, **ask,
        ).images[0]  # fmt: skip
    diffuser, prompt = diffusers_of[family], Prompt("a red house", "fog")
    ours, without = (show(diffuser, None, frame(prompt, **each)) for each in (on, plain))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(without, theirs, atol=1e-3)
    assert torch.equal(without, show(diffuser, None, frame(prompt, **plain)))  # nothing is left of it
    assert batch_sizes(diffuser, frame(prompt, **on)) == {3 if kind == "PAG" else 2}
    mixed = diffuser.diffuse_batch([None] * 2, [frame(prompt, **on), frame(prompt, **plain)], width=32, height=32)
    assert torch.allclose(mixed[0], ours, atol=1e-4) and torch.allclose(mixed[1], without, atol=1e-4)


def half(width: int = 32, height: int = 32) -> torch.Tensor:
    return (torch.arange(width) < width // 2).float().expand(height, width)


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M CFG++"])
def test_regions_are_blended_in_every_evaluation(sampler: str, sd1: Diffuser) -> None:
    """By definition: x0 is the region's under its mask, and that of the frame's prompt elsewhere."""
    on = frame(Prompt("the sea", "fog"), sampler=sampler, steps=2, cfg_scale=3)
    cat = PromptRegion(Prompt("a cat", "fog"), half())
    with_it, text = frame(Prompt("the sea", "fog"), sampler=sampler, steps=2, cfg_scale=3, regions=(cat,)), "a cat"
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    sides = torch.arange(16) < 8
    with torch.inference_mode():
        sea, both = (sd1._conditionings(each, 2, 2)[0] for each in (on, with_it))
        alone = sd1._conditionings(frame(Prompt(text, "fog"), sampler=sampler, steps=2, cfg_scale=3), 2, 2)[0]
        for make in (guided, guided_and_not):
            whole, part, mixed = (make(sd1._model, [each], 32, 32)(noise, 5.0) for each in (sea, alone, both))
            for w, p, m in zip(
                *(torch.stack(list(each)) if isinstance(each, tuple) else each[None] for each in (whole, part, mixed)),
                strict=True,
            ):
                assert torch.allclose(m, torch.where(sides, p, w), atol=1e-4)
    assert not torch.equal(show(sd1, None, on), show(sd1, None, with_it))


def test_masks_of_regions_share_what_they_both_cover(sd1: Diffuser) -> None:
    everywhere = torch.ones(32, 32)
    regions = tuple(PromptRegion(Prompt(text), everywhere) for text in ("a cat", "a cat"))
    one = show(sd1, None, frame("the sea", regions=regions))
    assert torch.allclose(one, show(sd1, None, frame("a cat")), atol=1e-4)
    # Grey in part: the frame's own prompt has the rest; the same prompt is the same picture.
    grey = PromptRegion(Prompt("the sea"), everywhere * 0.3)
    assert torch.allclose(
        show(sd1, None, frame("the sea", regions=(grey,))), show(sd1, None, frame("the sea")), atol=1e-4
    )


def test_a_region_costs_one_more_evaluation(sd1: Diffuser) -> None:
    cat = PromptRegion(Prompt("a cat"), half())
    assert batch_sizes(sd1, frame("the sea", cfg_scale=1, regions=(cat,))) == {2}
    assert batch_sizes(sd1, frame("the sea", cfg_scale=7, regions=(cat,))) == {4}


def test_regions_in_a_batch_and_while_prompts_change(sd1: Diffuser) -> None:
    cat = PromptRegion(Prompt("[a cat:a dog:0.5], " + "fur " * 80), half())
    frames = [
        frame("the sea", seed=1, steps=4, regions=(cat,)),
        frame("the sea", seed=2, steps=4),
        frame("a hill AND [fog|rain]", seed=3, steps=4, regions=(PromptRegion(Prompt("a house"), half()),)),
    ]
    together = sd1.diffuse_batch([None] * 3, frames, width=32, height=32)
    for made, on in zip(together, frames, strict=True):
        assert torch.allclose(made, show(sd1, None, on), atol=1e-4)


@pytest.mark.parametrize("sampler", ["Euler CFG++", "DDIM CFG++"])
def test_cfg_pp_takes_one_evaluation_of_both_prompts(sampler: str, sd1: Diffuser) -> None:
    for scale in (1, 7):
        assert batch_sizes(sd1, frame(sampler=sampler, cfg_scale=scale)) == {2}


def test_ddim_cfg_pp_guides_by_a_share_of_cfg_scale(sd1: Diffuser) -> None:
    """As in the web UI: 12.5 is 1, the prompt alone."""
    with torch.inference_mode():
        pulls = sd1._pulls(frame(sampler="DDIM CFG++", cfg_scale=12.5))
    assert [pull.weight for pull in pulls] == pytest.approx([0, 1])


def test_negative_prompts_and_long_ones(sd1: Diffuser) -> None:
    plain = show(sd1, None, frame(Prompt("a red house", "")))
    assert not torch.equal(plain, show(sd1, None, frame(Prompt("a red house", "fog, rain " * 60))))
    assert not torch.equal(plain, show(sd1, None, frame(Prompt("a red house " * 60, "fog"))))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_batch_gives_the_pictures_of_its_frames(family: str, diffusers_of: dict[str, Diffuser]) -> None:
    diffuser = diffusers_of[family]
    frames = [
        frame("a red house", seed=1, sampler="Euler a"),
        frame("the sea, " * 40, seed=2, sampler="Euler a", cfg_scale=7),
        frame("a AND b", seed=3, sampler="Euler a"),
        frame("a red house", seed=4, sampler="DDIM"),
    ]
    inits = [None, None, None, picture()]
    together = diffuser.diffuse_batch(inits, frames, width=32, height=32)
    alone = [show(diffuser, init, on) for init, on in zip(inits, frames, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("stage", ["the UNet", "the autoencoder (decoding)"])
def test_frames_beside_each_other_are_done_again_one_by_one(stage: str, folders: dict[str, Path]) -> None:
    """Threads share the model: none of them may change its precision under the others."""
    diffuser, frames = load(folders["sd1"], precision="fp16"), [frame(seed=i, index=i) for i in range(3)]
    inits, threads = [picture()] * 3, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with hooked(STAGES[stage](diffuser._model), nan_below_fp32):
            made = diffuser.diffuse_batch(inits, frames, width=32, height=32)
            alone = [show(diffuser, picture(), on) for on in frames]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(made, alone, strict=True))
    assert diffuser._model.unet.dtype == diffuser._model.vae.dtype == torch.float16


def test_a_batch_names_the_frame_that_cannot_be_made(sd1: Diffuser) -> None:
    frames = [frame(index=i, steps=1, seed=i) for i in range(3)]
    inits = [picture(), picture() * torch.nan, picture()]
    with pytest.raises(RenderError, match=r"frame 1: the autoencoder \(encoding\)"):
        sd1.diffuse_batch(inits, frames, width=32, height=32)


@pytest.mark.parametrize(("width", "height"), [(40, 24), (33, 47), (16, 56), (8, 8)])
@pytest.mark.parametrize("blocks", [2, 5])
def test_any_size_comes_back_as_it_was(
    width: int, height: int, blocks: int, sd1: Diffuser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    diffuser = sd1 if blocks == 2 else coarse(tmp_path_factory)
    for init in (None, picture(width, height)):
        made = show(diffuser, init, frame(steps=2), width, height)
        assert made.shape == (3, height, width)


_coarse: list[Diffuser] = []


def coarse(tmp_path_factory: pytest.TempPathFactory) -> Diffuser:
    """A model like the embedded one: 16 channels at a sixteenth of the size, v-prediction."""
    if not _coarse:
        model = build("sd1", vae_blocks=5, latent_channels=16)
        _coarse.append(load(model.save_folder(tmp_path_factory.mktemp("coarse"), prediction_type="v_prediction")))
    return _coarse[0]


def test_a_picture_belongs_to_who_asked_for_it(sd1: Diffuser) -> None:
    made = show(sd1, None, frame())
    made.mul_(0.5)  # an inference tensor would refuse
    assert made.permute(1, 2, 0).is_contiguous()
    assert not made.requires_grad


@pytest.mark.parametrize(("tiling", "wraps"), [("none", ()), ("x", (-1,)), ("y", (-2,)), ("both", (-1, -2))])
def test_tiling_has_no_edges(folders: dict[str, Path], tiling: Any, wraps: tuple[int, ...]) -> None:
    """Turned about by some latents, what goes through the model comes out turned about, and nothing else.

    In a direction that does not tile, it comes out differently.
    """
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    context = torch.zeros(1, 77, 32)
    diffuser = load(folders["sd1"], tiling=tiling)
    with torch.inference_mode():
        for run, step in (
            (lambda x: diffuser._model.unet(x, 500, encoder_hidden_states=context).sample, 4),
            (lambda x: diffuser._model.vae.decode(x).sample, 8),
        ):
            for direction in (-1, -2):
                turned = run(latents.roll(4, direction))
                difference = float((turned - run(latents).roll(step, direction)).abs().max())
                assert difference < 1e-4 if direction in wraps else difference > 1e-2


def nan_below_fp32(_module: Any, _given: Any, out: Any) -> Any:
    """What an overflow in fp16 does to a layer."""
    return out * torch.nan if out.dtype != torch.float32 else None


def always_nan(_module: Any, _given: Any, out: Any) -> Any:
    return out * torch.nan


STAGES = {
    "the text encoder": lambda model: model.text.encoders[0].model.final_layer_norm,
    "the UNet": lambda model: model.unet.conv_out,
    "the autoencoder (encoding)": lambda model: model.vae.encoder,
    "the autoencoder (decoding)": lambda model: model.vae.decoder,
}


@pytest.mark.parametrize("stage", STAGES)
def test_no_number_is_done_again_in_fp32(stage: str, folders: dict[str, Path], caplog: Any) -> None:
    diffuser = load(folders["sd1"], precision="fp16")
    part = STAGES[stage](diffuser._model)
    with caplog.at_level(logging.WARNING), hooked(part, nan_below_fp32):
        made = show(diffuser, picture(), frame(index=12))
    assert torch.isfinite(made).all()
    assert f"frame 12: {stage} gave NaN or Inf" in caplog.text and "in float16" in caplog.text
    assert diffuser._model.unet.dtype == diffuser._model.vae.dtype == torch.float16


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("stage", STAGES)
def test_no_number_at_all_is_an_error(stage: str, precision: str, folders: dict[str, Path]) -> None:
    diffuser = load(folders["sd1"], precision=precision)
    with hooked(STAGES[stage](diffuser._model), always_nan), pytest.raises(RenderError) as error:
        show(diffuser, picture(), frame(index=12))
    assert f"frame 12: {stage} gave NaN or Inf" in str(error.value)
    assert isinstance(error.value, UserError)


def test_the_evaluation_that_broke_is_named(sd1: Diffuser) -> None:
    calls: list[int] = []

    def third(_module: Any, _given: Any, out: Any) -> Any:
        calls.append(1)
        return out * torch.nan if len(calls) == 3 else None

    with hooked(sd1._model.unet.conv_out, third), pytest.raises(RenderError, match="at evaluation 3 of 6"):
        show(sd1, None, frame(steps=6))


def test_a_blank_picture_is_an_error_unless_it_came_in_blank(sd1: Diffuser) -> None:
    def white(_module: Any, _given: Any, out: Any) -> Any:
        return torch.full_like(out, 9.0)

    with hooked(sd1._model.vae.decoder, white):
        with pytest.raises(RenderError, match=r"the autoencoder \(decoding\) gave a picture of one colour"):
            show(sd1, picture(), frame())
        assert float(show(sd1, torch.ones(3, 32, 32), frame()).min()) == 1


def test_what_is_too_bright_everywhere_is_a_picture(sd1: Diffuser) -> None:
    """Few steps, much guidance, or a prompt for darkness may leave the range; nothing broke, and the film goes on."""
    with hooked(sd1._model.vae.decoder, lambda _module, _given, out: out + 9.0):
        assert float(show(sd1, picture(), frame()).min()) == 1


def test_blank_latents_are_the_unets_fault(folders: dict[str, Path]) -> None:
    diffuser = load(build("sd1").save_folder(folders["sd1"].parent / "flat", prediction_type="sample"))
    flat = lambda _m, _g, out: setattr(out, "sample", torch.arange(4.0).view(1, 4, 1, 1) * torch.ones_like(out.sample))  # noqa: E731
    with hooked(diffuser._model.unet, flat), pytest.raises(RenderError, match="the UNet gave a picture of one colour"):
        show(diffuser, None, frame())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_looks_the_same(precision: str, folders: dict[str, Path], sd1: Diffuser) -> None:
    reference = show(sd1, picture(), frame())
    diffuser = load(folders["sd1"], precision=precision)
    assert float((show(diffuser, picture(), frame()) - reference).abs().mean()) < 0.01
    # bf16 has too few digits for pictures: it would darken each frame a little.
    assert diffuser._model.vae.dtype == (torch.float32 if precision == "bf16" else torch.float16)


def test_an_autoencoder_that_overflows_in_fp16_stays_in_fp32(folders: dict[str, Path]) -> None:
    diffuser = load(folders["sdxl"], precision="fp16")
    assert diffuser._model.unet.dtype == torch.float16
    assert diffuser._model.vae.dtype == torch.float32


def test_memory_does_not_grow_with_frames(sd1: Diffuser) -> None:
    image = show(sd1, None, frame(steps=1))
    counts = []
    for seed in range(4):
        image = show(sd1, image, frame(seed=seed, steps=1))
        counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert counts[-1] == counts[1]


def test_the_global_generator_is_left_alone(sd1: Diffuser) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    show(sd1, picture(), frame(sampler="Euler a"))
    assert torch.equal(before, torch.get_rng_state())


def test_models_that_are_told_their_guidance(models: dict[str, Tiny], tmp_path: Path) -> None:
    """Latent consistency models read the guidance scale and need no second evaluation."""
    model = build("sd1")
    torch.manual_seed(0)
    model.unet = diffusers.UNet2DConditionModel.from_config(
        model.configs["unet/config.json"] | {"time_cond_proj_dim": 8}
    )
    torch.nn.init.normal_(model.unet.time_embedding.cond_proj.weight)
    diffuser = load(model.save_folder(tmp_path))
    assert batch_sizes(diffuser, frame(sampler="LCM", steps=4, cfg_scale=7)) == {1}
    low, high = (show(diffuser, None, frame(sampler="LCM", steps=4, cfg_scale=c)) for c in (2, 12))
    assert not torch.allclose(low, high, atol=1e-3)


def test_unknown_devices_and_precisions(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"precision is 'fp8'.*auto, fp32, bf16, fp16"):
        load(folders["sd1"], precision="fp8")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match=r"device is 'mps'.*there is:.*cpu"):
            load(folders["sd1"], device="mps")
    with pytest.raises(UserError, match="device is 'toaster'"):
        load(folders["sd1"], device="toaster")


@pytest.mark.parametrize(
    ("strength", "refines"),
    [(0.3, False), (0.35, False), (0.4, True), (0.45, True), (0.9, True)],
)
def test_refinement_where_it_is_seen(strength: float, refines: bool, folders: dict[str, Path]) -> None:
    """With little of the picture kept, noise covers the correction, and its decoding and encoding are left out."""
    diffuser, passes = load(folders["sd1"], vae_refinement=1, refine_from=0.4), []
    with hooked(diffuser._model.vae.decoder, lambda *_: passes.append(1)):
        show(diffuser, picture(), frame(steps=20, strength=strength))
    assert len(passes) == 1 + refines
