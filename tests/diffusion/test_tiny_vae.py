"""Tiny autoencoders in all the forms that they are published in, against diffusers' class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny as Theirs
from safetensors.torch import save_file

from deforum.build import prepare
from deforum.diffusion import load_diffuser, resolve_model
from deforum.diffusion.diffuser import Diffuser
from deforum.diffusion.families.tiny import check_likeness, load_tiny, with_tiny
from deforum.errors import UserError
from deforum.loading import load as load_settings
from tests.diffusion.tiny import build, frame, picture

FORMS = ("folder", "file", "pair folder", "encoder file", "decoder file")


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    torch.manual_seed(0)
    return Theirs().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose autoencoder shrinks by 8, as Stable Diffusion's does."""
    return build("sd1", vae_blocks=4).save_folder(tmp_path_factory.mktemp("eight"))


def own_names(theirs: Theirs, part: str) -> dict[str, torch.Tensor]:
    """TAESD's own names: layers by number, where the decoder's first layer has no weights."""
    made = {}
    for name, weight in getattr(theirs, part).state_dict().items():
        number, rest = name.removeprefix("layers.").split(".", 1)
        made[f"{int(number) + (part == 'decoder')}.{rest}"] = weight
    return made


def write(theirs: Theirs, form: str, folder: Path) -> Path:
    if form == "folder":
        theirs.save_pretrained(folder)
        return folder
    if form == "file":
        save_file(theirs.state_dict(), folder / "taesd.safetensors")
        return folder / "taesd.safetensors"
    for part in ("encoder", "decoder"):
        if form == "pair folder":
            save_file(own_names(theirs, part), folder / f"taesd_{part}.safetensors")
        else:
            torch.save(own_names(theirs, part), folder / f"taesd_{part}.pth")
    return folder if form == "pair folder" else folder / f"taesd_{form.split()[0]}.pth"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_diffusers_gives(form: str, theirs: Theirs, eight: Path, tmp_path: Path) -> None:
    path = write(theirs, form, tmp_path)
    source = with_tiny(resolve_model(str(eight)), str(path))
    ours = load_tiny(source.tiny_vae)
    pixels = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        latents = theirs.encode(pixels).latents
        assert torch.equal(ours.encode(pixels).latent_dist.mode(), latents) and latents.shape == (1, 4, 4, 6)
        assert torch.equal(ours.decode(latents * 3).sample, theirs.decode(latents * 3).sample)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.filterwarnings("ignore")
def test_a_frame(precision: str, theirs: Theirs, eight: Path, tmp_path: Path) -> None:
    source = with_tiny(resolve_model(str(eight)), str(write(theirs, "folder", tmp_path)))
    diffuser: Diffuser = load_diffuser(
        source, device="cpu", precision=precision, exact_step_count=True, vae_refinement=1
    )
    made = diffuser(picture(40, 32), frame(steps=2), width=40, height=32)
    assert made.shape == (3, 32, 40) and torch.isfinite(made).all()
    assert sum(weight.numel() for weight in diffuser._model.vae.parameters()) == 2_445_063
    assert diffuser._model.vae.dtype == (torch.float16 if precision == "fp16" else torch.float32)


def broken(theirs: Theirs, how: str, folder: Path) -> str:
    path = write(theirs, "decoder file" if how == "alone" else "file", folder)
    if how == "missing":
        return str(folder / "nothing")
    if how == "empty":
        (folder / "empty").mkdir()
        return str(folder / "empty")
    if how == "alone":
        (folder / "taesd_encoder.pth").unlink()
    if how == "a text":
        path = folder / "notes.txt"
        path.write_text("notes")
    if how == "another network":
        save_file({"conv.weight": torch.zeros(3)}, path)
    if how == "another form":
        Theirs(num_encoder_blocks=(1, 1, 1, 1)).save_pretrained(folder / "other")
        return str(folder / "other")
    if how == "other channels":
        save_file(Theirs(latent_channels=16).state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "no such file or folder; expected"),
        ("empty", "no weights in this folder"),
        ("alone", "taesd_encoder.pth: missing beside taesd_decoder.pth"),
        ("a text", "not a file of weights"),
        ("another network", "not the weights of a TAESD autoencoder"),
        ("another form", "not of TAESD's form"),
        ("other channels", "its latents have 16 channels at 1/8 of the size, and those of .* 4 at 1/8"),
    ],
)
def test_what_is_no_tiny_autoencoder(how: str, says: str, theirs: Theirs, eight: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as raised:
        with_tiny(resolve_model(str(eight)), broken(theirs, how, tmp_path))
    assert str(raised.value).startswith("tiny_vae: ")


def test_a_file_with_a_weight_missing_is_told_when_it_is_loaded(theirs: Theirs, tmp_path: Path) -> None:
    weights = theirs.state_dict()
    del weights["decoder.layers.3.conv.0.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"tiny_vae.*Missing key"):
        load_tiny((tmp_path / "part.safetensors",))


def test_check_finds_it_before_the_render(theirs: Theirs, tmp_path: Path) -> None:
    """The embedded model's latents are of another form."""
    path = write(theirs, "file", tmp_path)
    settings = load_settings({"prompts": "sea", "tiny_vae": str(path)}).settings
    with pytest.raises(UserError, match=r"tiny_vae: .*those of embedded"):
        prepare(settings)
    assert load_settings({"prompts": "sea"}).settings.tiny_vae is None


def test_one_of_another_model_is_told(theirs: Theirs, caplog: Any) -> None:
    class Own:
        """The same network under another name, and one whose latents are turned about."""

        def __init__(self, turned: bool) -> None:
            self.turned, self.dtype = turned, torch.float32

        def encode(self, pixels: torch.Tensor) -> Any:
            from types import SimpleNamespace

            latents = theirs.encode(pixels).latents
            return SimpleNamespace(
                latent_dist=SimpleNamespace(mode=lambda: latents.flip(-1) * -1 if self.turned else latents)
            )

    for turned in (False, True):
        with caplog.at_level(logging.WARNING):
            check_likeness(Own(False), Own(turned))
        assert ("false colours" in caplog.text) == turned
