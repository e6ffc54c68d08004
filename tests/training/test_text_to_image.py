"""What is shipped of a training: the mean of its weights and those that it went on from."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

import deforum.embedded
from training.text_to_image import Model, average_with, build_text_encoder, build_unet

TOKENIZER = CLIPTokenizer.from_pretrained(Path(deforum.embedded.__file__).parent / "diffusion" / "tokenizer")


def _model(seed: int) -> Model:
    torch.manual_seed(seed)
    model = Model(build_text_encoder(TOKENIZER, 48, 1), build_unet(4, (16, 32), 48))
    for parameter in model.parameters():  # also those that start as zeros
        torch.nn.init.normal_(parameter)
    return model.requires_grad_(False)


def _weights(model: Model) -> Tensor:
    """All that is shipped, in one row."""
    return torch.cat([p.flatten() for part in (model.unet, model.text_encoder) for p in part.parameters()])


@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_a_mean_takes_its_share_of_what_was_learned(tmp_path: Path, share: float) -> None:
    before, learned = _model(1), _model(2)
    before.unet.save_pretrained(tmp_path / "unet")
    before.text_encoder.save_pretrained(tmp_path / "text_encoder")
    wanted = share * _weights(learned) + (1 - share) * _weights(before)
    assert not torch.allclose(_weights(learned), _weights(before), atol=0.1)
    average_with(learned, tmp_path, share)
    assert torch.allclose(_weights(learned), wanted, atol=1e-5)
