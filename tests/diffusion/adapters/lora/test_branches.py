"""Every kind of weights in LoRA files: beside a layer, merged into it, and by the formula of its paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deforum.diffusion.adapters.lora.branches import Misfit, make_branch
from deforum.diffusion.adapters.lora.file import Layer, _kind_of
from deforum.models.branches import Branched, adapting, branch_off

Tensor = torch.Tensor
OUT, IN = 12, 8
CLOSE = 1e-5


def draw(*shape: int) -> Tensor:
    return torch.randn(shape) * 0.3


def down(k: int) -> Tensor:
    return draw(2, IN) if k == 0 else draw(2, IN, k, k)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("rskl,ro,si->oikl", core, a, b).contiguous()


def lengths(change: Callable[[dict[str, Tensor]], Tensor], by: int) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """A change whose result has the lengths of a dora_scale, along rows (0) or columns (1)."""

    def made(t: dict[str, Tensor], own: Tensor) -> Tensor:
        moved = own + change(t).view_as(own)
        norm = moved.transpose(0, by).flatten(1).norm(dim=1)
        shape = [1] * own.ndim
        shape[by] = -1
        scale = (t.get("dora", t.get("magnitude")).flatten() / norm).view(shape)  # type: ignore[union-attr]
        return moved * scale - own

    return made


def turned(t: dict[str, Tensor], own: Tensor) -> Tensor:
    blocks = t["oft_blocks"]
    skew = blocks - blocks.mT
    turns = [(torch.eye(len(q)) + q) @ torch.inverse(torch.eye(len(q)) - q) for q in skew]
    return torch.block_diag(*turns).T @ own.flatten(1) - own.flatten(1)


KINDS: dict[str, tuple[Callable[[int], dict[str, Tensor]], Callable[[dict[str, Tensor], Tensor], Tensor]]] = {
    "lora": (
        lambda k: {"up": draw(OUT, 2), "down": down(k), "alpha": torch.tensor(4.0)},
        lambda t, own: 2 * t["up"] @ t["down"].flatten(1),
    ),
    "lora, a core": (
        lambda k: {"up": draw(OUT, 2, 1, 1), "down": draw(2, IN, 1, 1), "mid": draw(2, 2, 3, 3)},
        lambda t, own: torch.einsum("orxy,rskl,simn->oikl", t["up"], t["mid"], t["down"]),
    ),
    "DoRA": (
        lambda k: {"up": draw(OUT, 2), "down": down(k), "dora": draw(OUT, 1).abs()},
        lengths(lambda t: t["up"] @ t["down"].flatten(1), 0),
    ),
    "DoRA of PEFT": (
        lambda k: {"up": draw(OUT, 2), "down": down(k),
                   "magnitude": draw(OUT) if k == 0 else draw(1, OUT, 1, 1)},
        lengths(lambda t: t["up"] @ t["down"].flatten(1), 0),
    ),
    "DoRA by columns": (
        lambda k: {"up": draw(OUT, 2), "down": down(k),
                   "dora": draw(1, IN, *[1] * (2 * (k > 0))).abs()},
        lengths(lambda t: t["up"] @ t["down"].flatten(1), 1),
    ),
    "LoHa": (
        lambda k: {"hada_w1_a": draw(OUT, 2), "hada_w1_b": draw(2, IN * max(k, 1) ** 2), "hada_w2_a": draw(OUT, 2),
                   "hada_w2_b": draw(2, IN * max(k, 1) ** 2), "alpha": torch.tensor(1.0)},
        lambda t, own: 0.5 * (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"]),
    ),
    "LoHa, cores": (
        lambda k: {"hada_w1_a": draw(2, OUT), "hada_w1_b": draw(2, IN), "hada_w2_a": draw(2, OUT),
                   "hada_w2_b": draw(2, IN), "hada_t1": draw(2, 2, 3, 3), "hada_t2": draw(2, 2, 3, 3)},
        lambda t, own: tucker(t["hada_t1"], t["hada_w1_a"], t["hada_w1_b"])
        * tucker(t["hada_t2"], t["hada_w2_a"], t["hada_w2_b"]),
    ),
    "LoHa with DoRA": (
        lambda k: {"hada_w1_a": draw(OUT, 2), "hada_w1_b": draw(2, IN * max(k, 1) ** 2), "hada_w2_a": draw(OUT, 2),
                   "hada_w2_b": draw(2, IN * max(k, 1) ** 2), "dora": draw(OUT, 1).abs()},
        lengths(lambda t: (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"]), 0),
    ),
    "LoKr, whole": (
        lambda k: {"lokr_w1": draw(3, 2), "lokr_w2": draw(4, 4, *[k] * 2 * (k > 0)), "alpha": torch.tensor(9.0)},
        lambda t, own: torch.kron(t["lokr_w1"].view(3, 2, *[1] * (t["lokr_w2"].ndim - 2)), t["lokr_w2"]),
    ),
    "LoKr, low rank": (
        lambda k: {"lokr_w1_a": draw(3, 2), "lokr_w1_b": draw(2, 2), "lokr_w2_a": draw(4, 2),
                   "lokr_w2_b": draw(2, 4 * max(k, 1) ** 2), "alpha": torch.tensor(1.0)},
        lambda t, own: 0.5 * torch.kron(
            (t["lokr_w1_a"] @ t["lokr_w1_b"]).view(3, 2, *[1] * (own.ndim - 2)),
            (t["lokr_w2_a"] @ t["lokr_w2_b"]).view(4, 4, *own.shape[2:]),
        ),
    ),
    "LoKr, a core": (
        lambda k: {"lokr_w1": draw(3, 2), "lokr_t2": draw(2, 2, 3, 3), "lokr_w2_a": draw(2, 4),
                   "lokr_w2_b": draw(2, 4)},
        lambda t, own: torch.kron(t["lokr_w1"].view(3, 2, 1, 1), tucker(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"])),
    ),
    "whole": (lambda k: {"diff": draw(OUT, IN) if k == 0 else draw(OUT, IN, k, k)}, lambda t, own: t["diff"]),
    "IA3, outputs": (
        lambda k: {"ia3": draw(OUT), "on_input": torch.tensor(False)},
        lambda t, own: own * t["ia3"].view(-1, *[1] * (own.ndim - 1)),
    ),
    "IA3, inputs": (
        lambda k: {"ia3": draw(IN), "on_input": torch.tensor(True)},
        lambda t, own: own * t["ia3"].view(1, -1, *[1] * (own.ndim - 2)),
    ),
    "IA3 of PEFT": (
        lambda k: {"ia3_l": draw(OUT, 1)}, lambda t, own: own * (t["ia3_l"].view(-1, *[1] * (own.ndim - 1)) - 1)
    ),
    "OFT": (lambda k: {"oft_blocks": draw(3, 4, 4)}, turned),
    "OFT, as it is": (
        lambda k: {"oft_diag": draw(3, 4, 4)},
        lambda t, own: torch.block_diag(*t["oft_diag"]).T @ own.flatten(1) - own.flatten(1),
    ),
}  # fmt: skip
LAYERS: dict[str, tuple[int, Callable[[], Any], Callable[[], Tensor]]] = {
    "linear": (0, lambda: nn.Linear(IN, OUT), lambda: draw(2, 5, IN)),
    "linear without a bias": (0, lambda: nn.Linear(IN, OUT, bias=False), lambda: draw(2, 5, IN)),
    "3x3": (3, lambda: nn.Conv2d(IN, OUT, 3, stride=2, padding=1), lambda: draw(2, IN, 6, 6)),
    "3x3, tiles": (3, lambda: nn.Conv2d(IN, OUT, 3, padding=1, padding_mode="circular"), lambda: draw(2, IN, 6, 6)),
    "1x1": (1, lambda: nn.Conv2d(IN, OUT, 1), lambda: draw(2, IN, 6, 6)),
}
CASES = [
    (kind, layer) for kind in KINDS for layer in LAYERS if "core" not in kind or layer.startswith("3x3")
]  # fmt: skip


@pytest.mark.parametrize(("kind", "layer"), CASES)
@pytest.mark.parametrize("factor", [1.0, 0.4, -0.7])
def test_a_layer_computes_what_its_changed_weight_would(kind: str, layer: str, factor: float) -> None:
    torch.manual_seed(0)
    size, make, given = LAYERS[layer]
    module, x = make().requires_grad_(False), given()
    tensors, formula = KINDS[kind][0](size), KINDS[kind][1]
    change = factor * formula(tensors, module.weight).reshape(module.weight.shape)
    want = (
        F.linear(x, module.weight + change, module.bias)
        if size == 0
        else module._conv_forward(x, module.weight + change, module.bias)
    )
    before = module(x)
    name = _kind_of(tensors)
    assert name is not None
    branch_off(module, "a", make_branch(module, Layer("layer", name, dict.fromkeys(tensors, "")), tensors, None))
    assert torch.equal(module(x), before) and isinstance(module, Branched)
    with adapting({"a": torch.tensor(factor)}):
        got, (changed, bias) = module(x), module.change("a")
    assert (got - want).abs().max() < CLOSE < (got - before).abs().max()
    assert changed is not None and (factor * changed.reshape(change.shape) - change).abs().max() < CLOSE
    assert bias is None


MISFITS: dict[str, tuple[dict[str, Tensor], str]] = {
    "other inputs": ({"up": draw(OUT, 2), "down": draw(2, IN + 1)}, "12 x 9, where the layer's weight is 12 x 8"),
    "other outputs": ({"up": draw(OUT + 1, 2), "down": draw(2, IN)}, "13 x 8, where the layer's weight is 12 x 8"),
    "other ranks": ({"up": draw(OUT, 3), "down": draw(2, IN)}, "different ranks"),
    "a convolution": ({"up": draw(OUT, 2), "down": draw(2, IN, 3, 3)}, "12 x 8 x 3 x 3"),
    "factors": ({"ia3": draw(5), "on_input": torch.tensor(True)}, "5 factors, where the layer has 8 inputs"),
    "rotations": ({"oft_blocks": draw(2, 4, 4)}, "2 rotations of 4 rows, where the layer has 12"),
    "butterflies": ({"oft_blocks": draw(2, 3, 4, 4)}, "BOFT"),
    "products": ({"lokr_w1": draw(2, 2), "lokr_w2": draw(4, 4)}, "8 x 8, where the layer's weight is 12 x 8"),
    "whole": ({"diff": draw(OUT, 3)}, "12 x 3"),
    "offsets": ({"diff_b": draw(3)}, "3 offsets, where the layer has 12"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_weights_that_do_not_fit_say_how(case: str) -> None:
    tensors, says = MISFITS[case]
    name = _kind_of(tensors)
    assert name is not None
    with pytest.raises(Misfit, match=says):
        make_branch(nn.Linear(IN, OUT), Layer("layer", name, {}), tensors, None)
