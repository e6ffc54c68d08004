"""LoRA files of every layout, on networks of every family, do what their weights do when they are merged densely."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deforum.diffusion.adapters.lora.load import join
from deforum.errors import UserError
from deforum.models.branches import adapting
from tests.diffusion.adapters.lora.files import change_of, flat, layers_of, load, merged, pair, write
from tests.diffusion.tiny import Tiny, build, ldm_unet

Tensor = torch.Tensor
CLOSE = 1e-5
KOHYA, PEFT = (".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")
OLD = ("_lora.down.weight", "_lora.up.weight")


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Tiny:
    return build(request.param)


def of_unet(unet: Any, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, tokens = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 5, width, generator=generator)
    extra = {"text_embeds": torch.randn(1, 48, generator=generator), "time_ids": torch.full((1, 6), 64.0)}
    with torch.no_grad():
        return unet(x, 500, tokens, added_cond_kwargs=extra).sample  # type: ignore[no-any-return]


def of_text(encoder: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = encoder(torch.tensor([[49406, 320, 1125, 49407]]), output_hidden_states=True).hidden_states[-1]
    return found


def ldm(unet: Any, prefix: str, underscored: bool) -> Callable[[str], str]:
    def name(layer: str) -> str:
        original = ldm_unet(f"{layer}.weight", unet).removesuffix(".weight")
        return prefix + (flat(original) if underscored else original)

    return name


def attention_processor(layer: str) -> str:
    """The name of early diffusers: unet...attn1.processor.to_q, and to_out without a number."""
    head, _, tail = layer.rpartition("attn1." if "attn1." in layer else "attn2.")
    kind = "attn1" if "attn1." in layer else "attn2"
    return f"unet.{head}{kind}.processor.{tail.removesuffix('.0')}" if tail and head else f"unet.{layer}"


UNET_LAYOUTS: dict[str, tuple[Callable[[Any], Callable[[str], str]], tuple[str, str]]] = {
    "kohya": (lambda unet: lambda name: f"lora_unet_{flat(name)}", KOHYA),
    "kohya, original names": (lambda unet: ldm(unet, "lora_unet_", True), KOHYA),
    "original names": (lambda unet: ldm(unet, "diffusion_model.", False), PEFT),
    "diffusers": (lambda unet: lambda name: f"unet.{name}", PEFT),
    "diffusers, adapter named": (
        lambda unet: lambda name: f"unet.{name}", (".lora_A.default.weight", ".lora_B.default.weight")
    ),
    "PEFT": (lambda unet: lambda name: f"base_model.model.{name}", PEFT),
    "early diffusers": (lambda unet: attention_processor, OLD),
    "linear layers": (
        lambda unet: lambda name: f"unet.{name}", (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")
    ),
    "diffusers, points": (lambda unet: lambda name: f"unet.{name}", (".lora.down.weight", ".lora.up.weight")),
    "SimpleTuner": (lambda unet: lambda name: f"lycoris_{flat(name)}", KOHYA),
    "no prefix": (lambda unet: lambda name: name, PEFT),
}  # fmt: skip


@pytest.mark.parametrize("layout", UNET_LAYOUTS)
@pytest.mark.parametrize("fresh", ["sd1", "sdxl"], indirect=True)
def test_unets(fresh: Tiny, layout: str, tmp_path: Path) -> None:
    namer, ends = UNET_LAYOUTS[layout]
    path, width = tmp_path / "a.safetensors", fresh.unet.config.cross_attention_dim
    changes = write(path, fresh.unet, namer(fresh.unet), ends, alpha=ends == KOHYA)
    want = [of_unet(merged(fresh.unet, changes, factor), width) for factor in (0.0, 1.0, -0.4)]
    before = of_unet(fresh.unet, width)
    joined = join([path], fresh.unet, fresh.encoders)[path]
    assert (joined.in_network, joined.in_text) == (True, False)
    assert torch.equal(of_unet(fresh.unet, width), before) and torch.equal(before, want[0])
    for factor, expected in zip((1.0, -0.4), want[1:], strict=True):
        with adapting({joined.key: torch.tensor(factor)}):
            got = of_unet(fresh.unet, width)
        assert (got - expected).abs().max() < CLOSE < (got - before).abs().max()


TEXT_LAYOUTS: dict[str, tuple[tuple[str, ...], bool, tuple[str, str]]] = {
    "kohya": (("lora_te1_", "lora_te2_"), True, KOHYA),
    "kohya, one encoder": (("lora_te_",), True, KOHYA),
    "diffusers": (("text_encoder.", "text_encoder_2."), False, PEFT),
    "Comfy": (("text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer."), False, PEFT),
}  # fmt: skip
SOME: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "only the feed-forward layers": lambda name: "fc" in name,
    "only one layer's values": lambda name: name.endswith("layers.1.self_attn.v_proj"),
    "attention without its end": lambda name: "_proj" in name and "out_proj" not in name,
}


@pytest.mark.parametrize("some", SOME)
@pytest.mark.parametrize("layout", TEXT_LAYOUTS)
@pytest.mark.parametrize("inner", ["text_model.", ""])
def test_text_encoders_lose_no_layer_of_a_part_of_them(layout: str, some: str, inner: str, tmp_path: Path) -> None:
    prefixes, underscored, ends = TEXT_LAYOUTS[layout]
    tiny, path = build("sdxl"), tmp_path / "a.safetensors"
    weights: dict[str, Tensor] = {}
    want, before = [], [of_text(encoder) for encoder in tiny.encoders]
    for encoder, prefix in zip(tiny.encoders, prefixes, strict=False):
        changes = {}
        for seed, (name, layer) in enumerate(layers_of(encoder).items()):
            bare = name.removeprefix("text_model.")
            if "layers." not in name or not SOME[some](name):
                continue
            down, up = pair(layer.weight, seed)
            changes[name] = change_of(down, up) / 1.5
            full = inner + bare
            weights |= {
                prefix + (flat(full) if underscored else full) + end: each
                for end, each in zip(ends, (down, up), strict=True)
            }
        want.append(of_text(merged(encoder, changes)))
    save_file(weights, path)
    joined = join([path], tiny.unet, tiny.encoders)[path]
    assert (joined.in_network, joined.in_text) == (False, True)
    with adapting({joined.key: 1.0}):
        got = [of_text(encoder) for encoder in tiny.encoders]
    for each, expected in zip(got, want, strict=False):
        assert (each - expected).abs().max() < CLOSE
    assert all((each - old).abs().max() > 1e-3 for each, old in zip(got[: len(want)], before, strict=False))


def flux() -> Any:
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    return FluxTransformer2DModel(
        num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=12,
        pooled_projection_dim=6, in_channels=4, axes_dims_rope=(2, 2, 4), guidance_embeds=True,
    ).eval()  # fmt: skip


def of_flux(network: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return network(  # type: ignore[no-any-return]
            torch.randn(1, 6, 4, generator=generator), torch.randn(1, 5, 12, generator=generator),
            torch.randn(1, 6, generator=generator), torch.tensor([0.5]), torch.randn(6, 3), torch.zeros(5, 3),
            torch.tensor([3.0]), return_dict=False,
        )[0]  # fmt: skip


def sd3() -> Any:
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=6, out_channels=4,
        pos_embed_max_size=8,
    ).eval()  # fmt: skip


def of_sd3(network: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return network(  # type: ignore[no-any-return]
            torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 5, 12, generator=generator),
            torch.randn(1, 6, generator=generator), torch.tensor([500.0]), return_dict=False,
        )[0]  # fmt: skip


TRANSFORMERS = {"flux": (flux, of_flux), "sd3": (sd3, of_sd3)}


@pytest.mark.parametrize("family", TRANSFORMERS)
@pytest.mark.parametrize(
    ("prefix", "underscored"),
    [("transformer.", False), ("lora_transformer_", True), ("lycoris_", True), ("base_model.model.", False)],
)
def test_transformers_by_their_own_names(family: str, prefix: str, underscored: bool, tmp_path: Path) -> None:
    make, run = TRANSFORMERS[family]
    network, path = make(), tmp_path / "a.safetensors"
    ends = KOHYA if underscored else PEFT
    changes = write(path, network, lambda name: prefix + (flat(name) if underscored else name), ends, alpha=underscored)
    torch.manual_seed(1)
    want = run(merged(network, changes))
    joined = join([path], network, [])[path]
    torch.manual_seed(1)
    with adapting({joined.key: 1.0}):
        assert (run(network) - want).abs().max() < CLOSE


FUSED = {
    "flux": {
        "double_blocks.0.img_attn.qkv": [f"transformer_blocks.0.attn.to_{k}" for k in "qkv"],
        "double_blocks.0.txt_attn.qkv": [f"transformer_blocks.0.attn.add_{k}_proj" for k in "qkv"],
        "double_blocks.0.img_mlp.0": ["transformer_blocks.0.ff.net.0.proj"],
        "single_blocks.0.linear1": [
            *(f"single_transformer_blocks.0.attn.to_{k}" for k in "qkv"), "single_transformer_blocks.0.proj_mlp",
        ],
        "single_blocks.0.linear2": ["single_transformer_blocks.0.proj_out"],
        "single_blocks.0.modulation.lin": ["single_transformer_blocks.0.norm.linear"],
        "img_in": ["x_embedder"],
        "guidance_in.in_layer": ["time_text_embed.guidance_embedder.linear_1"],
    },
    "sd3": {
        "joint_blocks.0.x_block.attn.qkv": [f"transformer_blocks.0.attn.to_{k}" for k in "qkv"],
        "joint_blocks.1.context_block.attn.qkv": [f"transformer_blocks.1.attn.add_{k}_proj" for k in "qkv"],
        "joint_blocks.0.context_block.mlp.fc2": ["transformer_blocks.0.ff_context.net.2"],
        "joint_blocks.1.x_block.adaLN_modulation.1": ["transformer_blocks.1.norm1.linear"],
        "y_embedder.mlp.2": ["time_text_embed.text_embedder.linear_2"],
    },
}  # fmt: skip


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("prefix", ["lora_unet_", "diffusion_model."])
@pytest.mark.parametrize("kind", ["lora", "lokr", "hada", "diff"])
def test_transformers_by_the_names_of_the_original_code(family: str, prefix: str, kind: str, tmp_path: Path) -> None:
    make, run = TRANSFORMERS[family]
    network, path = make(), tmp_path / "a.safetensors"
    layers, weights, changes = layers_of(network), dict[str, Tensor](), dict[str, Tensor]()
    for seed, (original, names) in enumerate(FUSED[family].items()):
        whole = torch.cat([layers[name].weight for name in names])
        key = prefix + (flat(original) if prefix.endswith("_") else original)
        down, up = pair(whole, seed)
        if kind == "lora":
            change, parts = change_of(down, up) / 1.5, {".lora_A.weight": down, ".lora_B.weight": up}
        elif kind == "hada":
            change = (up @ down) ** 2
            parts = {".hada_w1_a": up, ".hada_w1_b": down, ".hada_w2_a": up.clone(), ".hada_w2_b": down.clone()}
        elif kind == "lokr":
            one, two = torch.randn(2, 2), torch.randn(len(whole) // 2, whole.shape[1] // 2) * 0.1
            change, parts = torch.kron(one, two), {".lokr_w1": one, ".lokr_w2": two}
        else:
            change = up @ down
            parts = {".diff": change.clone()}
        weights |= {key + end: each.contiguous() for end, each in parts.items()}
        changes |= dict(zip(names, change.split([len(layers[name].weight) for name in names]), strict=True))
    save_file(weights, path)
    torch.manual_seed(1)
    want = run(merged(network, changes))
    joined = join([path], network, [])[path]
    torch.manual_seed(1)
    with adapting({joined.key: 1.0}):
        got = run(network)
    assert (got - want).abs().max() < CLOSE < (got - run(merged(network, {}))).abs().max()


def test_flux_in_kohyas_names_is_as_diffusers_converts_it(tmp_path: Path) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers as convert

    weights: dict[str, Tensor] = {}
    for seed, (original, names) in enumerate(FUSED["flux"].items()):
        if original in ("img_in", "guidance_in.in_layer", "single_blocks.0.linear1"):  # its sizes are fixed there
            continue
        layers = layers_of(flux())
        down, up = pair(torch.cat([layers[name].weight for name in names]), seed)
        key = f"lora_unet_{flat(original)}"
        weights |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(4.0)}
    paths = [tmp_path / "kohya.safetensors", tmp_path / "diffusers.safetensors"]
    save_file(weights, paths[0])
    converted: dict[str, Tensor] = convert(load(paths[0]))  # type: ignore[no-untyped-call]
    save_file({name: each.clone().contiguous() for name, each in converted.items()}, paths[1])
    made = []
    for path in paths:
        network = flux()
        joined = join([path], network, [])[path]
        torch.manual_seed(1)
        with adapting({joined.key: 1.0}):
            made.append(of_flux(network))
    assert (made[0] - made[1]).abs().max() < CLOSE


def test_several_add_up(tmp_path: Path) -> None:
    tiny, paths = build("sd1"), [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    one = write(paths[0], tiny.unet, lambda name: f"unet.{name}", PEFT, alpha=False)
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    change = torch.ones(32, 32) * 0.01
    save_file({f"lora_unet_{flat(layer)}.diff": change}, paths[1])
    both = {name: 0.5 * each + (2 * change if name == layer else 0) for name, each in one.items()}
    want = of_unet(merged(tiny.unet, both), 32)
    joined = join(paths, tiny.unet, tiny.encoders)
    with adapting({joined[paths[0]].key: 0.5, joined[paths[1]].key: 2.0}):
        assert (of_unet(tiny.unet, 32) - want).abs().max() < CLOSE


def test_only_the_first_ranks(tmp_path: Path) -> None:
    tiny, path = build("sd1"), tmp_path / "a.safetensors"
    write(path, tiny.unet, lambda name: f"unet.{name}", PEFT, alpha=False)
    cut = {name: each[:1] if "lora_A" in name else each[:, :1] for name, each in load(path).items()}
    save_file({name: each.contiguous() for name, each in cut.items()}, tmp_path / "b.safetensors")
    joined = join([path, tmp_path / "b.safetensors"], tiny.unet, [])
    with adapting({f"{joined[path].key}:1": 1.0}):
        got = of_unet(tiny.unet, 32)
    with adapting({joined[tmp_path / "b.safetensors"].key: 1.0}):
        assert (got - of_unet(tiny.unet, 32)).abs().max() < CLOSE


@pytest.mark.parametrize(
    ("names", "shape", "says"),
    [
        (["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"], 768,
         "1 of its 1 layers do not fit this model (it seems to be made for Stable Diffusion 1.x)"),
        (["lora_unet_double_blocks_0_img_attn_qkv"], 32, "made for Flux: 1 of its 1 layers are not in this model"),
        (["lora_unet_down_blocks_7_attentions_0_proj_in", "lora_unet_x"], 32, "made for another family"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(names: list[str], shape: int, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights = {f"{name}.lora_down.weight": torch.ones(2, shape) for name in names}
    save_file(weights | {f"{name}.lora_up.weight": torch.ones(32, 2) for name in names}, path)
    tiny = build("sd1")
    with pytest.raises(UserError, match=str(path)) as caught:
        join([path], tiny.unet, tiny.encoders)
    assert says in str(caught.value) and names[0] in str(caught.value)


def test_a_few_layers_that_are_not_there_are_named_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny, path = build("sd1"), tmp_path / "a.safetensors"
    write(path, tiny.unet, lambda name: f"unet.{name}", PEFT, alpha=False)
    save_file(load(path) | {"unet.z.lora_A.weight": torch.ones(2, 2), "unet.z.lora_B.weight": torch.ones(2, 2)}, path)
    join([path], tiny.unet, [])
    assert "1 of its" in caplog.text and "unet.z" in caplog.text


def test_a_norm_and_a_bias_change(tmp_path: Path) -> None:
    tiny, path = build("sd1"), tmp_path / "a.safetensors"
    norm, layer = "down_blocks.0.resnets.0.norm1", "down_blocks.0.resnets.0.conv1"
    save_file(
        {f"lora_unet_{flat(norm)}.w_norm": torch.full((32,), 0.3),
         f"lora_unet_{flat(norm)}.b_norm": torch.full((32,), 0.1),
         f"lora_unet_{flat(layer)}.diff_b": torch.full((32,), 0.2)}, path,
    )  # fmt: skip
    made = merged(tiny.unet, {})
    modules: dict[str, nn.Module | Any] = dict(made.named_modules())
    modules[norm].weight.data += 0.5 * 0.3
    modules[norm].bias.data += 0.5 * 0.1
    modules[layer].bias.data += 0.5 * 0.2
    joined = join([path], tiny.unet, [])[path]
    with adapting({joined.key: 0.5}):
        assert (of_unet(tiny.unet, 32) - of_unet(made, 32)).abs().max() < CLOSE
