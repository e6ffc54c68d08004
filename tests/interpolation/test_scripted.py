"""Networks in TorchScript files: how they are called, what they return, and what is no such file."""

import re
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from deforum.errors import UserError
from deforum.interpolation import InterpolatorSource, load_interpolator, resolve_interpolator
from deforum.pixels.image import CPU
from tests.helpers.pictures import flat, off

FIRST, LAST = flat(0.2, 0.4, 0.0, 40), flat(0.6, 0.4, 1.0, 40)


class Film(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x0: torch.Tensor, x1: torch.Tensor, dt: torch.Tensor) -> torch.Tensor:
        assert dt.shape == (1, 1) and x0.shape[2] % 64 == 0 and x0.shape[3] % 64 == 0
        return (x0 + (x1 - x0) * dt) * self.scale


class Rife(nn.Module):
    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]]:
        assert timestep.shape == x[:, :1].shape
        a, b = x[:, :3], x[:, 3:6]
        return [x[:, :4]], timestep, [a, a + (b - a) * timestep]


class RifeNumber(nn.Module):
    def forward(self, x: torch.Tensor, timestep: float) -> dict[str, torch.Tensor]:
        return {"merged": x[:, :3] + (x[:, 3:] - x[:, :3]) * timestep}


class RifeStacked(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 7
        return x[:, :3] + (x[:, 3:6] - x[:, :3]) * x[:, 6:]


class Plane(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        assert time.shape == a[:, :1].shape
        return a + (b - a) * time


class Number(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, time: float) -> torch.Tensor:
        return a + (b - a) * time


class Middle(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.shape[1] == 3
        return (a + b) / 2


class MiddleStacked(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 6
        return (x[:, :3] + x[:, 3:]) / 2


class Reads(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", False, 3) + a


class Nothing(nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a.mean()


def scripted(network: nn.Module, folder: Path) -> Path:
    path = folder / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but what these files are made with
        torch.jit.script(network).save(str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("network", "form"),
    [
        (Film(), "film"), (Film().half(), "film"), (Rife(), "rife"), (RifeNumber(), "rife"), (RifeStacked(), "rife"),
        (Plane(), "plane"), (Number(), "number"), (Middle(), "middle"), (MiddleStacked(), "middle"),
    ],
)  # fmt: skip
def test_a_network_is_called_as_it_expects(network: nn.Module, form: str, told: bool, tmp_path: Path) -> None:
    source = resolve_interpolator(str(scripted(network, tmp_path)), form=form if told else "auto")
    assert "use only files that you trust" in source.says
    found = load_interpolator(source, CPU)(FIRST, LAST, [0.25, 0.5, 0.75])
    for time, image in zip((0.25, 0.5, 0.75), found, strict=True):
        assert image.dtype == torch.float32 and off(image, torch.lerp(FIRST, LAST, time)) < 0.2
        assert image.stride() == FIRST.stride()


def test_a_network_of_middles_comes_near_any_time(tmp_path: Path) -> None:
    engine = load_interpolator(resolve_interpolator(str(scripted(Middle(), tmp_path))), CPU)
    times = [step / 7 for step in range(1, 7)]
    found = [float(image[2].mean()) for image in engine(FIRST, LAST, times)]
    assert found == pytest.approx(times, abs=1 / 32) and found == sorted(found)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("film", "it makes no picture of two in any known form .*; set interpolator_inputs"),
        ("auto", "film: .*; rife: "),
    ],
)
def test_a_network_of_another_kind_is_refused(form: str, message: str, tmp_path: Path) -> None:
    source = resolve_interpolator(str(scripted(Nothing(), tmp_path)), form=form)
    with pytest.raises(UserError, match=message):
        load_interpolator(source, CPU)


def test_a_program_that_reads_files_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its program has from_file, which reaches for files"):
        load_interpolator(resolve_interpolator(str(scripted(Reads(), tmp_path))), CPU)


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_weights(path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, path)


def write_another_program(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("network/code/__torch__.py", "op_version_set = 1\n")


def write_large_program(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network/code/__torch__.py", b" " * 2**25)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_nothing, "not a TorchScript file"),
        (write_weights, "not a TorchScript file .*it has no program.*weights alone do not say"),
        (write_another_program, "not a TorchScript file"),
        (write_large_program, re.escape("expected at most 16,777,216 bytes")),
    ],
)
def test_what_is_no_torchscript_file(write, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "a.pt")
    with pytest.raises(UserError, match=message):
        load_interpolator(InterpolatorSource("file", path=tmp_path / "a.pt"), CPU)


def test_a_missing_file_has_its_place() -> None:
    with pytest.raises(
        UserError, match=r"s.yaml:3:1: film.pt: no such file; expected auto, flow, raft or a TorchScript"
    ):
        resolve_interpolator("film.pt", "s.yaml:3:1")
    with pytest.raises(UserError, match="RAFT needs weights"):
        resolve_interpolator("raft")
