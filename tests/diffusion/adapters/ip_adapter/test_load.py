"""IP-Adapters of every kind, in the form of the real files, give what diffusers' own classes give."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.adapters.ip_adapter.file import read_file
from deforum.diffusion.adapters.ip_adapter.load import Pictured, blended, inputs_of, join
from deforum.diffusion.networks import read_part
from deforum.diffusion.networks.packed import PackedUNet
from deforum.errors import UserError
from deforum.models import packing
from deforum.models.branches import adapting
from deforum.timeline.image_tracks import ImageWord
from tests.diffusion.adapters.ip_adapter.files import photograph, vision, weights_of
from tests.diffusion.tiny import Tiny, build, frame, picture

Tensor = torch.Tensor
CLOSE = 1e-4
KINDS = ("plain", "plus", "full")


def of_diffusers(tiny: Tiny, weights: dict[str, Tensor], encoder: Path, seen: Path, x: Tensor, text: Tensor) -> Tensor:
    """The UNet's output by diffusers' pipeline for two rows, without a picture and with it, at scale 0.6."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    nested = {
        part: {name.removeprefix(f"{part}."): each for name, each in weights.items() if name.startswith(part)}
        for part in ("image_proj", "ip_adapter")
    }
    unet = copy.deepcopy(tiny.unet)
    unet._load_ip_adapter_weights([nested], low_cpu_mem_usage=False)
    pipeline = StableDiffusionPipeline(
        vae=tiny.vae, text_encoder=None, tokenizer=None, unet=unet, scheduler=None, safety_checker=None,
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(encoder), requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_ip_adapter_scale(0.6)
    with torch.no_grad():
        embeds = pipeline.prepare_ip_adapter_image_embeds([Image.open(seen)], None, torch.device("cpu"), 1, True)
        extra = {"image_embeds": embeds, "text_embeds": torch.ones(2, 48), "time_ids": torch.full((2, 6), 64.0)}
        return unet(x, 500, text, added_cond_kwargs=extra).sample  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_equal_to_diffusers(kind: str, family: str, tmp_path: Path) -> None:
    tiny = build(family)
    path, encoder, seen = tmp_path / "ip.safetensors", vision(tmp_path / "vision"), photograph(tmp_path / "a.png")
    weights = weights_of(kind, tiny.unet)
    save_file(weights, path)
    x, text = torch.randn(2, 4, 16, 16), torch.randn(2, 7, tiny.unet.config.cross_attention_dim)
    want = of_diffusers(tiny, weights, encoder, seen, x, text)
    extra = {"text_embeds": torch.ones(2, 48), "time_ids": torch.full((2, 6), 64.0)}

    def run(unet: Any, adapter: Pictured | None) -> Tensor:
        tokens = text
        if adapter is not None:
            pictures = [blended(adapter, [(seen, 1.0)], negative=negative) for negative in (True, False)]
            tokens = torch.cat([text, torch.stack(pictures)], dim=1)
        with torch.no_grad(), adapting({} if adapter is None else inputs_of([(adapter, 0.6)], torch.device("cpu"))):
            return unet(x, 500, tokens, added_cond_kwargs=extra).sample  # type: ignore[no-any-return]

    plain = run(tiny.unet, None)
    [adapter] = join([(path, encoder)], tiny.unet)
    assert adapter.file.kind == kind
    assert torch.equal(run(tiny.unet, None), plain)
    assert (run(tiny.unet, adapter) - want).abs().max() < CLOSE < (want - plain).abs().max()


@pytest.mark.skipif(not packing.is_supported(), reason="torch without oneDNN")
def test_our_own_unet_and_its_packed_form(tmp_path: Path) -> None:
    tiny = build("sd1")
    weights, folder = weights_of("plain", tiny.unet), tiny.save_folder(tmp_path / "model")
    save_file(weights, tmp_path / "ip.safetensors")
    pair = [(tmp_path / "ip.safetensors", vision(tmp_path / "vision"))]
    seen = photograph(tmp_path / "a.png")
    own: Any = read_part(folder / "unet", "UNet2DConditionModel", torch.float32, None)
    own = own.requires_grad_(False).to(memory_format=torch.channels_last)
    x, text, time = torch.randn(2, 4, 16, 16), torch.randn(2, 7, 32), torch.tensor([500.0, 500.0])
    with torch.inference_mode():
        plain = own(x, time, text).sample
        [adapter], [theirs] = join(pair, own), join(pair, tiny.unet)
        tokens = torch.cat([text, adapter.tokens(seen)[0].expand(2, -1, -1)], dim=1)
        packed = PackedUNet(own)
        assert torch.equal(own(x, time, text).sample, plain) and (packed(x, time, text) - plain).abs().max() < CLOSE
        with adapting(inputs_of([(adapter, 0.5)], torch.device("cpu"))):
            want = tiny.unet(x, time, tokens).sample
            assert (own(x, time, tokens).sample - want).abs().max() < CLOSE
            assert (packed(x, time, tokens) - want).abs().max() < CLOSE < (want - plain).abs().max()
    assert theirs.key == adapter.key


def test_nested_tables_as_the_origin_publishes_them(tmp_path: Path) -> None:
    tiny, encoder, seen = build("sd1"), vision(tmp_path / "vision"), photograph(tmp_path / "a.png")
    weights = weights_of("plus", tiny.unet)
    nested = {part: {name.removeprefix(f"{part}."): each for name, each in weights.items() if name.startswith(part)}
              for part in ("image_proj", "ip_adapter")}  # fmt: skip
    save_file(weights, tmp_path / "ip.safetensors")
    torch.save(nested, tmp_path / "ip.bin")
    pairs = [(tmp_path / name, encoder) for name in ("ip.safetensors", "ip.bin")]
    one, other = (join([pair], copy.deepcopy(tiny.unet))[0].tokens(seen) for pair in pairs)
    assert all(torch.equal(*each) for each in zip(one, other, strict=True))
    face = {"image_proj": {"proj.0.weight": torch.ones(1, 1)}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(1, 1)}}
    torch.save(face, tmp_path / "face.bin")
    with pytest.raises(UserError, match="FaceID"):
        read_file(tmp_path / "face.bin")


def test_a_frame_at_scale_0_is_painted_as_without(tmp_path: Path) -> None:
    tiny = build("sd1")
    save_file(weights_of("plus", tiny.unet), tmp_path / "ip.safetensors")
    pair = (tmp_path / "ip.safetensors", vision(tmp_path / "vision"))
    folder, seen = tiny.save_folder(tmp_path / "model"), str(photograph(tmp_path / "a.png"))
    given: Any = {"device": "cpu", "precision": "fp32", "exact_step_count": True}
    plain, with_it = (load_diffuser(resolve_model(str(folder)), ip_adapters=pairs, **given) for pairs in ((), (pair,)))

    def paint(diffuser: Any, *images: ImageWord) -> Tensor:
        return diffuser(picture(), frame(images=images), width=32, height=32)  # type: ignore[no-any-return]

    rests = paint(plain)
    assert torch.equal(paint(with_it), rests)
    assert torch.equal(paint(with_it, ImageWord(0, ((seen, 1.0),), 0.0)), rests)
    acts = paint(with_it, ImageWord(0, ((seen, 1.0),), 0.8))
    assert (acts - rests).abs().max() > 1e-3
    assert (paint(with_it, ImageWord(0, ((seen, 0.5), (seen, 0.5)), 0.8)) - acts).abs().max() < CLOSE


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    tiny, path, encoder = build("sd1"), tmp_path / "ip.safetensors", vision(tmp_path / "vision")
    weights = weights_of("plain", tiny.unet)
    cases = [
        ({name: each for name, each in weights.items() if "ip_adapter.3." not in name}, "attentions to the prompt"),
        (weights | {"ip_adapter.1.to_k_ip.weight": torch.ones(32, 7)}, "32 x 7, where the model has 32 x 32"),
        ({**weights, "image_proj.proj.weight": torch.ones(128, 9)}, "gives 40 numbers, and ip.safetensors reads 9"),
    ]
    for broken, says in cases:
        save_file(broken, path)
        with pytest.raises(UserError, match=says):
            join([(path, encoder)], tiny.unet)
    save_file(weights, path)
    with pytest.raises(UserError, match="not an image encoder"):
        join([(path, tmp_path)], tiny.unet)
    save_file({"image_proj.proj.0.weight": torch.ones(1, 1), "ip_adapter.1.to_k_ip.weight": torch.ones(1, 1)}, path)
    with pytest.raises(UserError, match="FaceID"):
        read_file(path)
    save_file({"model.x": torch.ones(1)}, path)
    with pytest.raises(UserError, match="not an IP-Adapter"):
        read_file(path)
